//! Histories that are dropped (docs/checkpoints.md): the log begins late, and nothing is missed but what
//! needs the old entries, which is refused with a reason.

use emet_api::RevertTarget;
use emet_e2e::{Failure, Server};
use emet_model::{ComponentId, UpdateMode, UpdateRecord, WorkerId, WorkerStatus};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ADD: &str = "test:counter/api.{add}";
const GET: &str = "test:counter/api.{get}";
/// Entries that are dropped at a time; a call has two.
const EVERY: u64 = 20;
/// Longest time until a history is dropped.
const PATIENCE: Duration = Duration::from_secs(60);

/// Options of a server whose workers of a component drop their history.
fn dropping<'a>(component: &'a str, checkpoints: &'a str) -> [&'a str; 6] {
    ["--drop-history", component, "--drop-history-after", "20", "--checkpoints", checkpoints]
}

/// Index of the first entry of a worker's log.
async fn first(server: &Server, worker: &WorkerId) -> Result<u64, Failure> {
    let page = server.client.oplog(worker, 1, 1).await?;
    Ok(page.entries.first().ok_or("there are no entries")?.oplog_index)
}

/// Waits until a log begins at an index or later; gives where it begins.
async fn dropped(server: &Server, worker: &WorkerId, least: u64) -> Result<u64, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let first = first(server, worker).await?;
        if first >= least {
            return Ok(first);
        }
        if Instant::now() > until {
            return Err(format!("the log begins at {first}\n{}", server.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Adds 1 to n, each with its own key; the answers are checked.
async fn add_all(server: &Server, worker: &WorkerId, n: u64) -> Result<(), Failure> {
    for n in 1..=n {
        let answer = server.call_keyed(worker, ADD, json!([n]), Some(&format!("k{n}"))).await?;
        assert_eq!(answer, json!(n * (n + 1) / 2), "k{n}\n{}", server.log());
    }
    Ok(())
}

/// A worker of the counter that has dropped its history, after so many calls.
async fn counter(server: &Server, calls: u64) -> Result<WorkerId, Failure> {
    let worker = WorkerId::new(server.upload("counter").await?, "w");
    add_all(server, &worker, calls).await?;
    dropped(server, &worker, EVERY).await?;
    Ok(worker)
}

fn objects(server: &Server, kind: &str, id: ComponentId) -> Result<Vec<PathBuf>, Failure> {
    server.objects(&[kind, &id.to_string()])
}

fn lose_checkpoints(server: &Server, id: ComponentId) -> Result<(), Failure> {
    let files = objects(server, "checkpoints", id)?;
    Ok(files.into_iter().try_for_each(std::fs::remove_file)?)
}

/// Waits until there is one base: the one that is needed, after older ones have gone.
async fn one_base(server: &Server, id: ComponentId) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    while objects(server, "bases", id)?.len() != 1 {
        if Instant::now() > until {
            return Err(format!("{:?}", objects(server, "bases", id)?).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn verify(server: &Server, worker: &WorkerId) -> Result<(), Failure> {
    let found = server.client.verify_worker(worker).await?;
    if found.equal { Ok(()) } else { Err(format!("{found:?}\n{}", server.log()).into()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_is_not_missed() -> Result<(), Failure> {
    for mode in ["on", "always"] {
        goes_on_without_its_history(&dropping("all", mode)).await?;
    }
    Ok(())
}

async fn goes_on_without_its_history(arguments: &[&str]) -> Result<(), Failure> {
    let mut server = Server::start_with(arguments).await?;
    let worker = counter(&server, 25).await?;
    let id = worker.component_id;
    let begins = first(&server, &worker).await?;
    let page = server.client.oplog(&worker, 1, 100).await?;
    let indexes: Vec<u64> = page.entries.iter().map(|e| e.oplog_index).collect();
    assert_eq!(indexes, (begins..=page.last_index).collect::<Vec<_>>(), "dense to the end");
    let found = server.client.search_oplog(&worker, "add", None, 100).await?.entries;
    assert!(found.iter().all(|e| e.oplog_index >= begins) && !found.is_empty());
    let metric = server.metric("emet_oplog_dropped_entries_total").await?;
    assert!(metric >= Some(19.0), "{metric:?}");
    verify(&server, &worker).await?;
    server.crash().await?;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(325));
    add_all(&server, &worker, 25).await?;
    verify(&server, &worker).await?;

    // Without any checkpoint, and then without the machinery of checkpoints, there is the base.
    server.kill()?;
    lose_checkpoints(&server, id)?;
    server.restart().await?;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(325));
    add_all(&server, &worker, 30).await?;
    dropped(&server, &worker, begins + EVERY).await?;
    one_base(&server, id).await?;
    server.kill()?;
    server.set_arguments(&["--checkpoints", "off", "--drop-history", "all"]);
    server.restart().await?;
    add_all(&server, &worker, 40).await?;
    server.crash().await?;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(820));
    add_all(&server, &worker, 40).await?;
    one_base(&server, id).await?;

    server.client.delete_worker(&worker).await?;
    assert_eq!(objects(&server, "bases", id)?, Vec::<PathBuf>::new(), "they go with the worker");
    assert_eq!(server.call_keyed(&worker, ADD, json!([7]), Some("k1")).await?, json!(7));
    assert_eq!(first(&server, &worker).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_named_drop_their_history() -> Result<(), Failure> {
    let server = Server::start_with(&dropping("counter", "on")).await?;
    let other = WorkerId::new(server.upload("update-v4").await?, "w");
    for n in 0..25 {
        server.call(&other, "test:update/api.{f1}", json!([n, 0])).await?;
    }
    counter(&server, 25).await?;
    assert_eq!(first(&server, &other).await?, 1);
    assert_eq!(objects(&server, "bases", other.component_id)?, Vec::<PathBuf>::new());
    Ok(())
}

/// A worker that is never idle drops its history between two invocations; what waits is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_a_queue_drops_its_history_too() -> Result<(), Failure> {
    let mut server = Server::start_with(&dropping("all", "on")).await?;
    let worker = WorkerId::new(server.upload("counter").await?, "w");
    server.send(&worker, "test:counter/api.{slow-add}", json!([0, 500])).await?;
    for n in 1..=60u64 {
        server.send_keyed(&worker, ADD, json!([n]), Some(&format!("k{n}"))).await?;
    }
    let last = server.call_keyed(&worker, ADD, json!([60]), Some("k60")).await?;
    assert_eq!(last, json!(1830));
    dropped(&server, &worker, 3 * EVERY).await?;
    server.crash().await?;
    add_all(&server, &worker, 60).await?;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(1830));
    verify(&server, &worker).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_old_entries_is_refused() -> Result<(), Failure> {
    let server = Server::start_with(&dropping("all", "on")).await?;
    let worker = counter(&server, 13).await?;
    let begins = first(&server, &worker).await?;
    let revert = async |target| server.client.revert_worker(&worker, target).await;
    let to = |last_oplog_index| RevertTarget::RevertToOplogIndex { last_oplog_index };
    let last =
        |number_of_invocations| RevertTarget::RevertLastInvocations { number_of_invocations };
    let fork = WorkerId::new(worker.component_id, "fork");
    for refused in [
        revert(to(2)).await,
        revert(to(begins - 1)).await,
        revert(last(13)).await,
        server.client.fork_worker(&worker, "fork", begins + 1).await,
    ] {
        let error = refused.err().ok_or("it was not refused")?.to_string();
        assert!(error.contains(&format!("before entry {begins} was dropped")), "{error}");
    }
    assert!(server.client.worker(&fork).await.is_err(), "nothing was made by half");
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(91));
    // GET is an invocation, too.
    revert(last(2)).await?;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(78));
    assert_eq!(server.call_keyed(&worker, ADD, json!([13]), Some("k13")).await?, json!(91));
    assert_eq!(server.call_keyed(&worker, ADD, json!([1]), Some("k1")).await?, json!(1));
    revert(to(begins)).await?;
    let calls = (begins - 1) / 2;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(calls * (calls + 1) / 2));
    verify(&server, &worker).await
}

/// Go's runtime begins with random numbers and times: the entries that its initialisation is repeated
/// with are in the base.
#[tokio::test(flavor = "multi_thread")]
async fn an_initialisation_that_deals_with_the_host_is_repeated() -> Result<(), Failure> {
    for mode in ["on", "always"] {
        let mut server = Server::start_with(&dropping("all", mode)).await?;
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/prebuilt/go-tally.wasm.zst");
        let wasm = zstd::decode_all(std::fs::File::open(path)?)?;
        let upload = emet_client::Upload { wasm: wasm.into(), ..Default::default() };
        let component = server.client.create_component("tally", upload).await?;
        let id = component.versioned_component_id.component_id;
        let worker = WorkerId::new(id, "w");
        let call = |function: &str| format!("demo:tally/api.{{{function}}}");
        let mut least = EVERY;
        for round in 1..=3 {
            for n in 1..=12u64 {
                let times = server.call(&worker, &call("add"), json!([n])).await?;
                assert_eq!(times, json!(round), "{n}\n{}", server.log());
            }
            least = dropped(&server, &worker, least).await? + EVERY;
            verify(&server, &worker).await?;
            server.kill()?;
            if round > 1 {
                lose_checkpoints(&server, id)?;
            }
            server.restart().await?;
            assert_eq!(server.call(&worker, &call("count"), json!([12])).await?, json!(round));
            verify(&server, &worker).await?;
        }
    }
    Ok(())
}

async fn updated(
    server: &Server,
    worker: &WorkerId,
    count: usize,
) -> Result<UpdateRecord, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let updates = server.client.worker(worker).await?.updates;
        let ended = updates.iter().filter(|u| !matches!(u, UpdateRecord::PendingUpdate { .. }));
        if let Some(last) = ended.clone().next_back().filter(|_| ended.count() == count) {
            return Ok(last.clone());
        }
        if Instant::now() > until {
            return Err(format!("{updates:?}\n{}", server.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_update_needs_no_history_an_automatic_one_does() -> Result<(), Failure> {
    let mut server = Server::start_with(&dropping("all", "on")).await?;
    let id = server.upload("update-v4").await?;
    let worker = WorkerId::new(id, "u");
    let call = |function: &str| format!("test:update/api.{{{function}}}");
    for n in 1..=12 {
        server.call(&worker, &call("f1"), json!([n, 0])).await?;
    }
    dropped(&server, &worker, EVERY).await?;
    let (next, latest) =
        (server.update(id, "update-v5").await?, server.update(id, "update-v4").await?);
    server.client.update_worker(&worker, UpdateMode::Automatic, next).await?;
    match updated(&server, &worker, 1).await? {
        UpdateRecord::FailedUpdate { details: Some(details), .. } => {
            assert!(details.starts_with("Automatic update failed: "), "{details}");
            assert!(
                details.contains("manual update") && details.contains("was dropped"),
                "{details}"
            );
        }
        other => return Err(format!("{other:?}").into()),
    }
    assert_eq!(server.call(&worker, &call("f3"), json!([])).await?, json!(12));

    server.client.update_worker(&worker, UpdateMode::Manual, next).await?;
    let record = updated(&server, &worker, 2).await?;
    assert!(matches!(record, UpdateRecord::SuccessfulUpdate { .. }), "{record:?}");
    assert_eq!(server.client.worker(&worker).await?.component_version, next);
    server.crash().await?;
    let state = server.call(&worker, &call("f3"), json!([])).await?;
    assert_eq!(state, json!(12));
    verify(&server, &worker).await?;
    // An automatic one needs only what came after the snapshot, as long as that is there.
    server.client.update_worker(&worker, UpdateMode::Automatic, latest).await?;
    let record = updated(&server, &worker, 3).await?;
    assert!(matches!(record, UpdateRecord::SuccessfulUpdate { .. }), "{record:?}");
    assert_eq!(server.call(&worker, &call("f3"), json!([])).await?, state);

    // The next base is one of the new version.
    let begins = first(&server, &worker).await?;
    for n in 1..=15 {
        server.call(&worker, &call("f1"), json!([n, 0])).await?;
    }
    dropped(&server, &worker, begins + EVERY).await?;
    server.crash().await?;
    assert_eq!(server.call(&worker, &call("f3"), json!([])).await?, json!(15));
    assert_eq!(server.client.worker(&worker).await?.component_version, latest);
    verify(&server, &worker).await
}

/// Makes the checksum right again.
fn seal(base: &mut Vec<u8>) {
    base.truncate(base.len() - 32);
    let checksum = Sha256::digest(&base);
    base.extend_from_slice(&checksum);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_cannot_be_used_stops_its_worker_and_loses_nothing() -> Result<(), Failure> {
    let mut server = Server::start_with(&dropping("all", "on")).await?;
    let worker = counter(&server, 13).await?;
    let id = worker.component_id;
    server.kill()?;
    lose_checkpoints(&server, id)?;
    let path = objects(&server, "bases", id)?.pop().ok_or("there is no base")?;
    let sound = std::fs::read(&path)?;
    let spoil: [(&str, fn(&mut Vec<u8>)); 4] = [
        ("it has form 2, and this release reads form 1", |bytes| {
            bytes[8] += 1;
            seal(bytes);
        }),
        ("it needs rewriting 9", |bytes| {
            let text = b"rewriting ";
            let at = bytes.windows(text.len()).position(|w| w == text).unwrap() + text.len();
            bytes[at] = b'9';
            seal(bytes);
        }),
        ("its checksum is wrong", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }),
        ("it is too short", Vec::clear),
    ];
    for (reason, spoil) in spoil {
        let mut bytes = sound.clone();
        spoil(&mut bytes);
        std::fs::write(&path, &bytes)?;
        server.restart().await?;
        let error = server.call(&worker, GET, json!([])).await.err().ok_or("it was loaded")?;
        let text = error.to_string();
        assert!(text.contains("Failed to resume worker"), "{text}");
        // The S3 server of a cluster notices itself what was done to its files.
        let refused = text.contains(reason) || text.contains("object I/O failed");
        assert!(refused && text.contains("history-dropped"), "{reason}: {text}");
        assert!(first(&server, &worker).await? > 1, "the entries can be looked at");
        assert_eq!(server.call_keyed(&worker, ADD, json!([3]), Some("k3")).await?, json!(6));
        let other = WorkerId::new(id, "other");
        assert!(server.call(&other, ADD, json!([1])).await.is_ok(), "others are not concerned");
        server.kill()?;
        assert_eq!(std::fs::read(&path)?, bytes, "nothing is overwritten");
    }
    std::fs::write(&path, &sound)?;
    server.restart().await?;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(91));
    server.kill()?;
    lose_checkpoints(&server, id)?;
    std::fs::remove_file(&path)?;
    server.restart().await?;
    let error = server.call(&worker, GET, json!([])).await.err().ok_or("it was loaded")?;
    assert!(error.to_string().contains("is missing"), "{error}");
    server.client.delete_worker(&worker).await?;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_records_nothing_at_times_keeps_its_history() -> Result<(), Failure> {
    let mut server = Server::start_with(&dropping("all", "on")).await?;
    let worker = WorkerId::new(server.upload("durability").await?, "w");
    let call = |function: &str| format!("test:durability/api.{{{function}}}");
    for level in ["persist-nothing", "smart"] {
        server.call(&worker, &call("set-persistence-level"), json!([level])).await?;
    }
    for _ in 0..40 {
        server.call(&worker, &call("get-idempotence-mode"), json!([])).await?;
    }
    let until = Instant::now() + PATIENCE;
    let not_compared = "emet_verifications_total{outcome=\"not-compared\"}";
    while server.metric(not_compared).await?.is_none_or(|count| count < 1.0) {
        assert!(Instant::now() < until, "it was looked at");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(first(&server, &worker).await?, 1);
    server.crash().await?;
    server.call(&worker, &call("get-idempotence-mode"), json!([])).await?;
    Ok(())
}

/// Counts its calls, and jumps.
const JUMPER: &str = r#"(component
  (import "golem:api/host@1.1.5" (instance $host
    (export "set-oplog-index" (func (param "oplog-idx" u64)))))
  (core func $jump (canon lower (func $host "set-oplog-index")))
  (core module $m
    (import "host" "jump" (func $jump (param i64)))
    (global $calls (mut i64) (i64.const 0))
    (func (export "jump") (param i64) (call $jump (local.get 0)))
    (func (export "count") (result i64)
      (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
      (global.get $calls)))
  (core instance $i (instantiate $m
    (with "host" (instance (export "jump" (func $jump))))))
  (func $jump-to (param "to" u64) (canon lift (core func $i "jump")))
  (func $count (result u64) (canon lift (core func $i "count")))
  (instance $api (export "jump" (func $jump-to)) (export "count" (func $count)))
  (export "test:jumper/api" (instance $api)))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_cannot_jump_into_what_was_dropped() -> Result<(), Failure> {
    let mut server = Server::start_with(&dropping("all", "on")).await?;
    let upload = emet_client::Upload { wasm: wat::parse_str(JUMPER)?.into(), ..Default::default() };
    let component = server.client.create_component("jumper", upload).await?;
    let worker = WorkerId::new(component.versioned_component_id.component_id, "w");
    let count =
        async |server: &Server| server.call(&worker, "test:jumper/api.{count}", json!([])).await;
    for n in 1..=11u64 {
        assert_eq!(count(&server).await?, json!(n));
    }
    let begins = dropped(&server, &worker, EVERY).await?;
    let jump = server.call(&worker, "test:jumper/api.{jump}", json!([begins - 2])).await;
    let error = jump.err().ok_or("it jumped")?.to_string();
    assert!(error.contains(&format!("before entry {begins} was dropped")), "{error}");
    server.settle(&worker, WorkerStatus::Failed).await?;
    // What failed can be taken back, since it is there.
    let last = RevertTarget::RevertLastInvocations { number_of_invocations: 1 };
    server.client.revert_worker(&worker, last).await?;
    assert_eq!(count(&server).await?, json!(12));
    server.crash().await?;
    assert_eq!(count(&server).await?, Value::from(13));
    Ok(())
}
