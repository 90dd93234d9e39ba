//! Clients that call until they are told to stop.

use crate::history::{Call, History, Outcome};
use crate::{Cluster, Failure, READY};
use emet_api::{InvokeParameters, Target};
use emet_client::Client;
use emet_model::{ComponentId, IdempotencyKey, WorkerId};
use emet_shard_map::RoutingTable;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const ADD: &str = "test:counter/api.{add}";

/// What the clients do.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// How many clients, each with a worker of its own.
    pub clients: usize,
    /// Pause of a client between its calls.
    pub pause: Duration,
    /// How long one attempt of a call may take.
    pub attempt: Duration,
    /// How long a call is repeated under its key before it counts as hanging.
    pub patience: Duration,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            clients: 24,
            pause: Duration::from_millis(100),
            attempt: Duration::from_secs(40),
            patience: Duration::from_secs(60),
        }
    }
}

/// Clients at work.
pub struct Load {
    workers: Vec<WorkerId>,
    began: Instant,
    stop: watch::Sender<bool>,
    clients: Vec<JoinHandle<Vec<Call>>>,
}

/// The worker of a client, at the executor of its turn: so that every executor has workers, whatever
/// their names hash to.
fn worker_of(
    cluster: &Cluster,
    table: &RoutingTable,
    component: ComponentId,
    client: usize,
) -> Result<WorkerId, Failure> {
    let turn = client.checked_rem(cluster.executors.len()).ok_or("there is no executor")?;
    let workers = (0..).map(|n| WorkerId::new(component, format!("counter-{client}-{n}")));
    let mut here = workers.filter(|w| cluster.owner_in(table, w).is_ok_and(|owner| owner == turn));
    here.next().ok_or_else(|| "an executor owns nothing".into())
}

impl Load {
    /// Uploads the counter, makes a worker for every client, and lets the clients begin. They take
    /// the worker services in turn.
    pub async fn start(cluster: &Cluster, options: &LoadOptions) -> Result<Self, Failure> {
        let component = cluster.upload("counter").await?;
        let table = cluster.table().await?;
        let (stop, stopped) = watch::channel(false);
        let began = Instant::now();
        let (mut workers, mut clients) = (Vec::new(), Vec::new());
        for number in 0..options.clients {
            let worker = worker_of(cluster, &table, component, number)?;
            let services = (0..cluster.services.len())
                .map(|n| cluster.client((n + number) % cluster.services.len()));
            let client = One {
                services: services.collect::<Result<_, _>>()?,
                target: target(&worker),
                number,
                began,
                options: options.clone(),
            };
            // The worker is loaded, so that the load begins evenly.
            client.first().await?;
            clients.push(tokio::spawn(client.run(stopped.clone())));
            workers.push(worker);
        }
        Ok(Self { workers, began, stop, clients })
    }

    /// The clients whose workers an executor owns, as soon as it owns some and nothing moves.
    pub async fn clients_of(
        &self,
        cluster: &mut Cluster,
        executor: usize,
    ) -> Result<Vec<usize>, Failure> {
        let started = Instant::now();
        while started.elapsed() < READY {
            // An executor that a busy machine kept from its heartbeats may own other workers now.
            cluster.ready().await?;
            let table = cluster.table().await?;
            let owned = |worker| cluster.owner_in(&table, worker).is_ok_and(|o| o == executor);
            let clients = self.workers.iter().zip(0..).filter(|(worker, _)| owned(worker));
            let clients: Vec<usize> = clients.map(|(_, client)| client).collect();
            if !clients.is_empty() {
                return Ok(clients);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err("an executor owns no worker of a client".into())
    }

    /// The time on the clock of the history.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Lets every client finish its call, and collects what they recorded.
    pub async fn finish(self) -> Result<History, Failure> {
        self.stop.send_replace(true);
        let mut history = History::default();
        for client in self.clients {
            history.calls.extend(client.await?);
        }
        Ok(history)
    }
}

fn target(worker: &WorkerId) -> Target {
    Target { component_id: worker.component_id, worker_name: Some(worker.worker_name.clone()) }
}

/// One client.
struct One {
    services: Vec<Client>,
    target: Target,
    number: usize,
    began: Instant,
    options: LoadOptions,
}

impl One {
    /// A call that changes nothing: it adds zero.
    async fn first(&self) -> Result<(), Failure> {
        let (outcome, _) = self.attempts(0, "first").await;
        match outcome {
            Outcome::Sum(0) => Ok(()),
            other => {
                Err(format!("the worker of client {} does not answer: {other:?}", self.number)
                    .into())
            }
        }
    }

    async fn run(self, stopped: watch::Receiver<bool>) -> Vec<Call> {
        let mut calls = Vec::new();
        for number in 1.. {
            if *stopped.borrow() {
                break;
            }
            let sent = self.began.elapsed();
            let (outcome, attempts) =
                self.attempts(number, &format!("{}-{number}", self.number)).await;
            let answered = self.began.elapsed();
            let hangs = matches!(outcome, Outcome::GaveUp(_));
            calls.push(Call { client: self.number, number, sent, answered, attempts, outcome });
            if hangs {
                break;
            }
            tokio::time::sleep(self.options.pause).await;
        }
        calls
    }

    /// Sends a call, and again under the same key, to the other services too, until it is answered.
    async fn attempts(&self, add: u64, key: &str) -> (Outcome, u32) {
        let call = emet_client::Call {
            function: ADD.to_owned(),
            parameters: InvokeParameters::Json(vec![json!(add)]),
            idempotency_key: Some(IdempotencyKey(key.to_owned())),
        };
        let started = Instant::now();
        let mut why = String::new();
        for (attempt, client) in (1..).zip(self.services.iter().cycle()) {
            if started.elapsed() > self.options.patience {
                return (Outcome::GaveUp(why), attempt - 1);
            }
            match tokio::time::timeout(
                self.options.attempt,
                client.invoke_and_await(&self.target, &call),
            )
            .await
            {
                Ok(Ok(typed)) => {
                    let value = serde_json::to_value(&typed).unwrap_or_default();
                    return match value.pointer("/value/0").and_then(serde_json::Value::as_u64) {
                        Some(sum) => (Outcome::Sum(sum), attempt),
                        None => (Outcome::GaveUp(format!("not a sum: {value}")), attempt),
                    };
                }
                Ok(Err(error)) => why = error.to_string(),
                Err(_) => why = format!("no answer within {:?}", self.options.attempt),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (Outcome::GaveUp(why), 0)
    }
}
