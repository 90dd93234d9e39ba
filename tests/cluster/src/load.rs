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
const ADD_OF_ANOTHER: &str = "test:rpc-caller/api.{add}";
/// Of so many clients one lets a worker call its counter.
const CALLERS: usize = 4;

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
    /// The workers that the calls of each client go through.
    workers: Vec<Vec<WorkerId>>,
    counters: ComponentId,
    began: Instant,
    stop: watch::Sender<bool>,
    clients: Vec<JoinHandle<Vec<Call>>>,
}

/// Where workers are made.
struct Places<'a> {
    cluster: &'a Cluster,
    table: RoutingTable,
    counters: ComponentId,
    callers: ComponentId,
}

impl Places<'_> {
    /// A worker of a client, at the executor whose turn it is: so that every executor has workers,
    /// whatever their names hash to.
    fn worker(
        &self,
        component: ComponentId,
        client: usize,
        turn: usize,
    ) -> Result<WorkerId, Failure> {
        let executors = self.cluster.executors.len();
        let turn = turn.checked_rem(executors).ok_or("there is no executor")?;
        let workers = (0..).map(|n| WorkerId::new(component, format!("{client}-{n}")));
        let here = |w: &WorkerId| self.cluster.owner_in(&self.table, w).is_ok_and(|o| o == turn);
        let mut workers = workers.filter(here);
        workers.next().ok_or_else(|| "an executor owns nothing".into())
    }

    /// The counter of a client, after the worker that calls it, on another executor if there is one.
    fn workers(&self, client: usize) -> Result<Vec<WorkerId>, Failure> {
        let counter = self.worker(self.counters, client, client)?;
        if !client.is_multiple_of(CALLERS) {
            return Ok(vec![counter]);
        }
        Ok(vec![self.worker(self.callers, client, client + 1)?, counter])
    }
}

impl Load {
    /// Makes a counter for every client, some of which are called by other workers, and lets the
    /// clients begin. They take the worker services in turn.
    pub async fn start(cluster: &Cluster, options: &LoadOptions) -> Result<Self, Failure> {
        let (counters, callers) =
            (cluster.upload("counter").await?, cluster.upload("rpc-caller").await?);
        let places = Places { cluster, table: cluster.table().await?, counters, callers };
        let (stop, stopped) = watch::channel(false);
        let began = Instant::now();
        let (mut workers, mut clients) = (Vec::new(), Vec::new());
        for number in 0..options.clients {
            let path = places.workers(number)?;
            let services = (0..cluster.services.len())
                .map(|n| cluster.client((n + number) % cluster.services.len()));
            let client = One {
                services: services.collect::<Result<_, _>>()?,
                path: path.clone(),
                number,
                began,
                options: options.clone(),
            };
            // The worker is loaded, so that the load begins evenly.
            client.first().await?;
            clients.push(tokio::spawn(client.run(stopped.clone())));
            workers.push(path);
        }
        Ok(Self { workers, counters, began, stop, clients })
    }

    /// The component of the counters.
    pub fn counters(&self) -> ComponentId {
        self.counters
    }

    /// The clients of whose workers an executor owns one, as soon as there are some and nothing moves.
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
            let clients = self.workers.iter().zip(0..).filter(|(path, _)| path.iter().any(owned));
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
    /// Its counter, or a worker that calls it and then the counter.
    path: Vec<WorkerId>,
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

    fn call(&self, add: u64, key: &str) -> Option<(Target, emet_client::Call)> {
        let (function, parameters) = match self.path.as_slice() {
            [_, counter] => (ADD_OF_ANOTHER, vec![json!(counter.urn()), json!(add)]),
            _ => (ADD, vec![json!(add)]),
        };
        let call = emet_client::Call {
            function: function.to_owned(),
            parameters: InvokeParameters::Json(parameters),
            idempotency_key: Some(IdempotencyKey(key.to_owned())),
        };
        Some((target(self.path.first()?), call))
    }

    /// Sends a call, and again under the same key, to the other services too, until it is answered.
    async fn attempts(&self, add: u64, key: &str) -> (Outcome, u32) {
        let (target, call) = match self.call(add, key) {
            Some(call) => call,
            None => return (Outcome::GaveUp("there is no worker".to_owned()), 0),
        };
        let started = Instant::now();
        let mut why = String::new();
        for (attempt, client) in (1..).zip(self.services.iter().cycle()) {
            if started.elapsed() > self.options.patience {
                return (Outcome::GaveUp(why), attempt - 1);
            }
            match tokio::time::timeout(
                self.options.attempt,
                client.invoke_and_await(&target, &call),
            )
            .await
            {
                Ok(Ok(typed)) => {
                    let value = serde_json::to_value(&typed).unwrap_or_default();
                    let sum = value.pointer("/value/0/ok").or_else(|| value.pointer("/value/0"));
                    return match sum.and_then(serde_json::Value::as_u64) {
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
