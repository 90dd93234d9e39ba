//! Where workers are, and that callers find them there, while executors come and go.

use emet_api::{InvokeParameters, Target};
use emet_client::Call;
use emet_model::{IdempotencyKey, WorkerId};
use emet_test_cluster::{Cluster, Failure, Load, LoadOptions, Options};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

async fn call(
    cluster: &Cluster,
    service: usize,
    worker: &WorkerId,
    function: &str,
    parameters: Value,
) -> Result<Value, Failure> {
    let parameters = match parameters {
        Value::Array(values) => values,
        other => vec![other],
    };
    let target =
        Target { component_id: worker.component_id, worker_name: Some(worker.worker_name.clone()) };
    let call = Call {
        function: function.to_owned(),
        parameters: InvokeParameters::Json(parameters),
        idempotency_key: None,
    };
    let typed = cluster.client(service)?.invoke_and_await(&target, &call).await?;
    Ok(serde_json::to_value(&typed)?.pointer("/value/0").cloned().unwrap_or_default())
}

/// Nothing fails in most of these tests: a lease so long that a busy machine keeps nobody from it.
fn patient(executors: usize) -> Options {
    Options { executors, lease: Duration::from_secs(20), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_all_executors_answer_through_every_service() -> Result<(), Failure> {
    let cluster = Cluster::start(patient(3)).await?;
    let component = cluster.upload("counter").await?;
    let mut owners = BTreeSet::new();
    for n in 0..30u64 {
        let worker = WorkerId::new(component, format!("w{n}-{}", n * 7919));
        owners.insert(cluster.owner(&worker).await?);
        for (service, expected) in [(0, n), (1, 2 * n)] {
            assert_eq!(
                call(&cluster, service, &worker, "test:counter/api.{add}", json!([n])).await?,
                json!(expected)
            );
        }
    }
    assert_eq!(owners.len(), 3, "thirty workers are on all three executors");
    let status = cluster.status().await?;
    let shares: Vec<u32> = status.executors.iter().map(|e| e.shards).collect();
    assert!(
        shares.iter().all(|share| (341..=342).contains(share)),
        "1024 shards are spread evenly: {shares:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn enumeration_lists_the_workers_of_all_executors_once() -> Result<(), Failure> {
    let cluster = Cluster::start(patient(3)).await?;
    let component = cluster.upload("counter").await?;
    let mut expected = BTreeSet::new();
    for n in 0..30u64 {
        let worker = WorkerId::new(component, format!("listed-{}", n * 104_729));
        call(&cluster, 0, &worker, "test:counter/api.{add}", json!([1])).await?;
        expected.insert(worker.worker_name);
    }
    let (mut found, mut cursor, client) = (Vec::new(), None, cluster.client(1)?);
    loop {
        let request = emet_api::rest::WorkersMetadataRequest {
            filter: None,
            cursor,
            count: Some(7),
            precise: Some(true),
        };
        let page = client.find_workers(component, &request).await?;
        found.extend(page.workers.into_iter().map(|w| w.worker_id.worker_name));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), expected.len(), "every worker is listed once");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    Ok(())
}

/// A joining executor takes its share, a leaving one hands its on, and no call fails or is repeated
/// by its client meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn executors_join_and_leave_without_a_failed_call() -> Result<(), Failure> {
    let mut cluster = Cluster::start(patient(2)).await?;
    let load = Load::start(&cluster, &LoadOptions::default()).await?;
    let before = cluster.table().await?;
    cluster.add_executor()?;
    cluster.ready().await?;
    let after = cluster.table().await?;
    let owner =
        |table: &emet_shard_map::RoutingTable, shard| table.owner(shard).map(|m| m.executor);
    let moved = (0..1024).filter(|shard| owner(&before, *shard) != owner(&after, *shard)).count();
    assert!(
        (341..=342).contains(&moved),
        "the newcomer took its share and nothing else moved: {moved}"
    );
    let leaving = cluster.executors.first_mut().ok_or("no executor")?;
    leaving.terminate(Duration::from_secs(40)).await?;
    cluster.ready().await?;
    let history = load.finish().await?;
    assert_eq!(history.violations(), Vec::<String>::new(), "{}", cluster.logs());
    let repeated = history.calls.iter().filter(|c| c.attempts > 1).count();
    assert_eq!(repeated, 0, "the cluster repeats calls, not its clients: {}", cluster.logs());
    println!("joining and leaving: {}", history.figures(|_| true).ok_or("no calls")?);
    Ok(())
}

/// A worker that is stopped in the middle of a call goes on at the executor that takes it over, and
/// its caller gets the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_survives_the_executor_that_ran_it() -> Result<(), Failure> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let component = cluster.upload("counter").await?;
    let worker = WorkerId::new(component, "slow");
    let owner = cluster.owner(&worker).await?;
    let client = cluster.client(0)?;
    let target = Target { component_id: component, worker_name: Some("slow".into()) };
    let slow = Call {
        function: "test:counter/api.{slow-add}".into(),
        parameters: InvokeParameters::Json(vec![json!(5), json!(1500)]),
        idempotency_key: Some(IdempotencyKey("slow-key".into())),
    };
    let calling = tokio::spawn(async move { client.invoke_and_await(&target, &slow).await });
    // The call is in its middle when the worker says that it runs.
    let watcher = cluster.client(1)?;
    while watcher.worker(&worker).await.map(|w| w.status).ok()
        != Some(emet_model::WorkerStatus::Running)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.executors.get_mut(owner).ok_or("no owner")?.kill()?;
    let answer = serde_json::to_value(calling.await??)?;
    assert_eq!(answer.pointer("/value/0"), Some(&json!(5)));
    assert_ne!(cluster.owner(&worker).await?, owner);
    assert_eq!(call(&cluster, 1, &worker, "test:counter/api.{get}", json!([])).await?, json!(5));
    Ok(())
}

/// A connection over which requests are sent one after the other.
struct KeptAlive(BufStream<TcpStream>);

impl KeptAlive {
    async fn open(address: &str) -> Result<Self, Failure> {
        Ok(Self(BufStream::new(TcpStream::connect(address).await?)))
    }

    /// Asks something that is always answered, and whether the answer ends the connection; an error if
    /// there is none.
    async fn ends(&mut self) -> Result<bool, Failure> {
        self.0.write_all(b"GET /version HTTP/1.1\r\nhost: emet\r\n\r\n").await?;
        self.0.flush().await?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head).await? == 0 {
                return Err(format!("closed instead of an answer: {head:?}").into());
            }
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.ok_or("no length")?.parse()?];
        self.0.read_exact(&mut body).await?;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        Ok(head.contains("connection: close"))
    }
}

/// A worker service that stops says so in its answers before it closes connections, so that no
/// request is lost on one that was idle.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_service_that_stops_answers_on_connections_that_are_open() -> Result<(), Failure> {
    let mut cluster = Cluster::start(patient(1)).await?;
    let service = cluster.services.first_mut().ok_or("no worker service")?;
    let mut busy = KeptAlive::open(&service.address()).await?;
    let mut idle = KeptAlive::open(&service.address()).await?;
    let mut unused = KeptAlive::open(&service.address()).await?;
    assert!(!busy.ends().await? && !idle.ends().await?);
    service.signal("TERM")?;
    while !busy.ends().await? {}
    assert!(idle.ends().await? && unused.ends().await?, "{}", service.log_tail());
    // Now nothing keeps it.
    service.terminate(Duration::from_secs(10)).await
}
