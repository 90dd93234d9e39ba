//! What is done with workers, step by step, whatever happens to the node.

use crate::{Backend, Disk, Failure, Limits, Moment, Node, World};
use emet_api::Workers;
use emet_model::{ComponentId, PromiseId, UpdateMode, WorkerError, WorkerId, WorkerStatus};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest time that one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One step. Workers are written as `guest/name`. In parameters, a text `$urn:guest/name` stands
/// for the worker's URN and `{port}` for the port of the world outside.
#[derive(Clone, Debug)]
pub enum Step {
    /// An awaited invocation; its key is the number of the step.
    Call(&'static str, &'static str, Value),
    /// An awaited call of another worker, which must succeed; how, depends on the crash.
    Delivered(&'static str, &'static str, Value),
    /// So many invocations of the worker have completed, no matter who made them.
    Completed(&'static str, usize),
    /// The same without looking at the answer, for functions whose failure is part of the scenario.
    Attempt(&'static str, &'static str, Value),
    /// An invocation that is not awaited.
    Send(&'static str, &'static str, Value),
    /// An update to a version.
    Update(&'static str, u64, UpdateMode),
    /// Completes the promise whose id an earlier step, given by its number, has returned.
    Complete(usize, &'static [u8]),
    /// Stops the node in an orderly way, and starts it again.
    Stop,
    /// Waits until the worker has nothing to do.
    Settle(&'static str),
}

/// A scenario: its components, by name, each with its versions, and what is done.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, for messages.
    pub name: &'static str,
    /// Components: the first guest of each is version 0 and names it.
    pub guests: Vec<Vec<&'static str>>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Of the node.
    pub limits: Limits,
}

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Answers by step, as text; those of [`Step::Attempt`] and promises are left out.
    pub answers: BTreeMap<usize, String>,
    /// Requests that reached the world outside.
    pub effects: BTreeMap<String, u64>,
    /// Appends to oplogs until the end, if the node did not die.
    pub appends: u64,
}

/// A run of a scenario: the node of the moment and what outlives it.
struct Run<'a> {
    scenario: &'a Scenario,
    disk: Disk,
    node: Node,
    world: World,
    components: BTreeMap<&'static str, ComponentId>,
    answers: BTreeMap<usize, Value>,
    deaths: u32,
}

impl Scenario {
    /// Runs the scenario on empty stores; the node dies once, at the append given, or not at all.
    pub async fn run(
        &self,
        shared: &Disk,
        backend: Backend,
        crash: Option<(u64, Moment)>,
    ) -> Result<Outcome, Failure> {
        let disk = shared.fresh(backend)?;
        let node = Node::start(&disk, self.limits, crash)?;
        let mut components = BTreeMap::new();
        for versions in &self.guests {
            let [first, later @ ..] = versions.as_slice() else {
                return Err("a component without versions".into());
            };
            let id = node.upload(first).await?;
            for guest in later {
                node.update(id, guest).await?;
            }
            components.insert(*first, id);
        }
        let world = World::start().await?;
        let mut run = Run {
            scenario: self,
            disk,
            node,
            world,
            components,
            answers: BTreeMap::new(),
            deaths: 0,
        };
        for number in 0..self.steps.len() {
            run.step(number)
                .await
                .map_err(|e| format!("{}, crash {crash:?}, step {number}: {e}", self.name))?;
        }
        run.finish().await.map_err(|e| format!("{}, crash {crash:?}: {e}", self.name).into())
    }
}

impl Run<'_> {
    async fn step(&mut self, number: usize) -> Result<(), Failure> {
        let Some(step) = self.scenario.steps.get(number).cloned() else { return Ok(()) };
        match step {
            Step::Call(worker, function, parameters) => {
                let answer = self.call(worker, function, parameters, number).await?;
                let answer = answer.map_err(|e| format!("{function}: {e}"))?;
                self.answers.insert(number, answer);
            }
            Step::Delivered(worker, function, parameters) => {
                let answer = self.call(worker, function, parameters, number).await?;
                let answer = answer.map_err(|e| format!("{function}: {e}"))?;
                if answer.get("ok").is_none() {
                    return Err(format!("{function} answered {answer}").into());
                }
            }
            Step::Completed(worker, count) => self.completed(worker, count).await?,
            Step::Attempt(worker, function, parameters) => {
                drop(self.call(worker, function, parameters, number).await?)
            }
            Step::Send(worker, function, parameters) => {
                self.send(worker, function, parameters, number).await?
            }
            Step::Update(worker, version, mode) => self.update(worker, version, mode).await?,
            Step::Complete(promise, data) => self.complete(promise, data).await?,
            Step::Settle(worker) => self.settle(worker).await?,
            Step::Stop => self.stop().await?,
        }
        Ok(())
    }

    /// Asks every answered call again, on a node started anew: the answers must be the same.
    async fn finish(mut self) -> Result<Outcome, Failure> {
        let appends = self.node.log().appends();
        self.restart().await?;
        let steps = self.scenario.steps.clone();
        for (number, step) in steps.into_iter().enumerate() {
            if let (Step::Call(worker, function, parameters), Some(before)) =
                (step, self.answers.get(&number).cloned())
            {
                let again = self
                    .call(worker, function, parameters, number)
                    .await?
                    .map_err(|e| format!("asked again: {e}"))?;
                if again != before {
                    return Err(format!(
                        "step {number} was answered {before}, and {again} when asked again"
                    )
                    .into());
                }
            }
        }
        // Ids of components differ from run to run.
        let comparable = self.answers.iter().filter(|(_, answer)| promise_of(answer).is_none());
        let answers = comparable.map(|(number, answer)| (*number, answer.to_string())).collect();
        let effects = self.world.counts();
        self.node.end().await;
        Ok(Outcome { answers, effects, appends })
    }

    async fn restart(&mut self) -> Result<(), Failure> {
        self.deaths += 1;
        if self.deaths > 2 {
            return Err("the node died more often than it was told to".into());
        }
        self.node.log().settled().await;
        let next = Node::start(&self.disk, self.scenario.limits, None)?;
        std::mem::replace(&mut self.node, next).end().await;
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        self.node.workers().shutdown().await;
        self.node = Node::start(&self.disk, self.scenario.limits, None)?;
        Ok(())
    }

    fn worker(&self, text: &str) -> Result<WorkerId, Failure> {
        let (guest, name) = text.split_once('/').ok_or("a worker is written guest/name")?;
        let id = self
            .components
            .get(guest)
            .ok_or_else(|| format!("{guest} is no component of the scenario"))?;
        Ok(WorkerId::new(*id, name))
    }

    fn filled(&self, parameters: &Value) -> Result<Vec<Value>, Failure> {
        let Value::Array(items) = self.fill(parameters)? else {
            return Err("parameters are an array".into());
        };
        Ok(items)
    }

    fn fill(&self, value: &Value) -> Result<Value, Failure> {
        Ok(match value {
            Value::String(text) => match text.strip_prefix("$urn:") {
                Some(worker) => Value::String(self.worker(worker)?.urn()),
                None => match text.strip_prefix("$answer:") {
                    Some(number) => {
                        self.answers.get(&number.parse()?).cloned().unwrap_or(Value::Null)
                    }
                    None => Value::String(text.replace("{port}", &self.world.port.to_string())),
                },
            },
            Value::Array(items) => {
                Value::Array(items.iter().map(|v| self.fill(v)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let filled = fields.iter().map(|(k, v)| Ok((k.clone(), self.fill(v)?)));
                Value::Object(filled.collect::<Result<_, Failure>>()?)
            }
            other => other.clone(),
        })
    }

    async fn call(
        &mut self,
        worker: &str,
        function: &str,
        parameters: Value,
        key: usize,
    ) -> Result<Result<Value, WorkerError>, Failure> {
        let worker = self.worker(worker)?;
        let parameters = self.filled(&parameters)?;
        let key = key.to_string();
        loop {
            let call = self.node.call(&worker, function, &parameters, &key);
            let Ok(answer) = tokio::time::timeout(PATIENCE, call).await else {
                return Err(format!(
                    "{function} was not answered; {}",
                    self.describe(&worker).await
                )
                .into());
            };
            match answer {
                Some(answer) => return Ok(answer),
                None => self.restart().await?,
            }
        }
    }

    /// What there is to see of a worker that does not answer.
    async fn describe(&self, worker: &WorkerId) -> String {
        let log = self.node.log();
        let metadata = tokio::time::timeout(
            Duration::from_secs(1),
            self.node.workers().metadata(worker.clone()),
        )
        .await;
        let entries =
            emet_runtime::log::read_entries(self.disk.log().as_ref(), worker, 1, 1000).await;
        format!(
            "death {} of the node, dead: {}, appends: {}, {metadata:?}, {entries:#?}",
            self.deaths,
            log.is_dead(),
            log.appends()
        )
    }

    async fn send(
        &mut self,
        worker: &str,
        function: &str,
        parameters: Value,
        key: usize,
    ) -> Result<(), Failure> {
        let worker = self.worker(worker)?;
        let parameters = self.filled(&parameters)?;
        loop {
            match self.node.send(&worker, function, &parameters, &key.to_string()).await {
                Some(accepted) => return Ok(accepted?),
                None => self.restart().await?,
            }
        }
    }

    async fn completed(&mut self, worker: &str, count: usize) -> Result<(), Failure> {
        let worker = self.worker(worker)?;
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.node.completed(&worker).await {
                Some(Ok(found)) if found == count => return Ok(()),
                // What is shown to be done is durable a little later.
                Some(Ok(found)) if found < count && tokio::time::Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(2)).await
                }
                Some(found) => {
                    return Err(format!(
                        "{worker} has completed {found:?} invocations, not {count}"
                    )
                    .into());
                }
                None => self.restart().await?,
            }
        }
    }

    async fn update(
        &mut self,
        worker: &str,
        version: u64,
        mode: UpdateMode,
    ) -> Result<(), Failure> {
        let worker = self.worker(worker)?;
        loop {
            let answer =
                self.node.alive(self.node.workers().update(worker.clone(), mode, version)).await;
            match answer {
                Some(Ok(())) => return Ok(()),
                // A request that was accepted just before the crash.
                Some(Err(WorkerError::InvalidRequest { details }))
                    if details.contains("already") =>
                {
                    return Ok(());
                }
                Some(Err(error)) => return Err(error.into()),
                None => self.restart().await?,
            }
        }
    }

    async fn complete(&mut self, step: usize, data: &'static [u8]) -> Result<(), Failure> {
        let id = self.answers.get(&step).ok_or("no promise was returned")?;
        let (worker, index) = promise_of(id).ok_or("the answer is no promise")?;
        let promise = PromiseId { worker_id: worker, oplog_idx: index };
        loop {
            let done = self
                .node
                .workers()
                .complete_promise(promise.clone(), bytes::Bytes::from_static(data));
            match self.node.alive(done).await {
                Some(completed) => return completed.map(drop).map_err(Into::into),
                None => self.restart().await?,
            }
        }
    }

    async fn settle(&mut self, worker: &str) -> Result<(), Failure> {
        let worker = self.worker(worker)?;
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.node.alive(self.node.workers().metadata(worker.clone())).await {
                Some(Ok(m))
                    if m.status == WorkerStatus::Idle && m.pending_invocation_count == 0 =>
                {
                    return Ok(());
                }
                Some(Ok(m)) if tokio::time::Instant::now() > until => {
                    return Err(format!("{worker} is {}", m.status).into());
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                None => self.restart().await?,
            }
        }
    }
}

/// The promise in a guest's answer.
fn promise_of(id: &Value) -> Option<(WorkerId, u64)> {
    let uuid = id.pointer("/worker-id/component-id/uuid")?;
    let (high, low) = (uuid.get("high-bits")?.as_u64()?, uuid.get("low-bits")?.as_u64()?);
    let id_bits = u128::from(high) << 64 | u128::from(low);
    let component: ComponentId = format!("{id_bits:032x}").parse().ok()?;
    let name = id.pointer("/worker-id/worker-name")?.as_str()?;
    Some((WorkerId::new(component, name), id.get("oplog-idx")?.as_u64()?))
}
