//! Random sequences of everything that can be asked of workers, with crashes in between, against a
//! small model of what must come out. Real components on memory stores; a crash drops the whole
//! executor, at whatever it is doing, and starts another one over the same stores.
//!
//! `EMET_SEED=n` runs one sequence, `EMET_STEPS=n` makes it longer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod node;

use emet_api::{Invocation, InvokeParameters, RevertTarget, Target, Workers};
use emet_model::{
    ComponentId, IdempotencyKey, UpdateMode, UpdateRecord, WorkerError, WorkerId, WorkerMetadata,
    WorkerStatus,
};
use emet_values::Value;
use node::{Node, Stores};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const ADD: &str = "test:counter/api.{add}";
/// A call that outlasts every test: its worker is busy until it is interrupted or reverted.
const SLOW_ADD: &str = "test:counter/api.{slow-add}";
const FOREVER_MS: u64 = 3_600_000;
const VERSIONS: u64 = 3;
const STEPS: u64 = 60;
const SEEDS: u64 = 6;

/// A generator whose sequence depends on nothing but its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// An invocation that was started and not taken back: what was before it.
#[derive(Clone, Debug)]
struct Started {
    key: String,
    value_before: u64,
    version_before: u64,
}

/// What a worker must be.
#[derive(Clone, Debug, Default)]
struct Model {
    value: u64,
    version: u64,
    history: Vec<Started>,
    results: BTreeMap<String, u64>,
    queue: Vec<String>,
    busy: bool,
    interrupted: bool,
    failed: bool,
}

impl Model {
    fn start(&mut self, key: &str) {
        self.history.push(Started {
            key: key.to_owned(),
            value_before: self.value,
            version_before: self.version,
        });
    }

    /// Forgets the last `n` invocations and everything after the first of them.
    fn revert(&mut self, n: usize) -> bool {
        if n == 0 || n > self.history.len() {
            return false;
        }
        let cut = self.history.len() - n;
        for started in self.history.split_off(cut).into_iter().rev() {
            (self.value, self.version) = (started.value_before, started.version_before);
            self.results.remove(&started.key);
        }
        self.queue.clear();
        (self.busy, self.interrupted, self.failed) = (false, false, false);
        true
    }
}

struct Run {
    seed: u64,
    step: u64,
    random: Random,
    stores: Stores,
    node: Option<Node>,
    component: ComponentId,
    /// Whether waiting gives a worker's memory up at once, or never.
    suspends: bool,
    models: BTreeMap<String, Model>,
    keys: u64,
}

fn number(value: &emet_values::TypedValue) -> u64 {
    match &value.value {
        Value::Tuple(items) => match items.as_slice() {
            [Value::U64(n)] => *n,
            other => panic!("not one number: {other:?}"),
        },
        other => panic!("not a tuple: {other:?}"),
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let stores = Stores::default();
        let suspends = seed % 2 == 1;
        let node = Node::start(&stores, suspends);
        let component = node.upload("counter", VERSIONS);
        let random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        Self {
            seed,
            step: 0,
            random,
            stores,
            node: Some(node),
            component,
            suspends,
            models: BTreeMap::new(),
            keys: 0,
        }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    fn id(&self, name: &str) -> WorkerId {
        WorkerId::new(self.component, name)
    }

    fn new_key(&mut self) -> String {
        self.keys += 1;
        format!("k{}", self.keys)
    }

    fn ask<T>(&self, request: impl AsyncFnOnce(&dyn Workers) -> T) -> T {
        let executor = self.node().executor.clone();
        self.node().block_on(async move { request(executor.as_ref()).await })
    }

    fn invocation(function: &str, parameters: Vec<Value>, key: &str) -> Invocation {
        Invocation {
            function: function.to_owned(),
            parameters: InvokeParameters::Values(parameters),
            idempotency_key: Some(IdempotencyKey(key.to_owned())),
            key_is_new: false,
            trace: Vec::new(),
            caller: None,
        }
    }

    fn call(
        &self,
        name: &str,
        function: &str,
        parameters: Vec<Value>,
        key: &str,
    ) -> Result<u64, WorkerError> {
        let target = Target { component_id: self.component, worker_name: Some(name.to_owned()) };
        let invocation = Self::invocation(function, parameters, key);
        self.ask(async |w| w.invoke_and_await(target, invocation).await).map(|v| number(&v))
    }

    fn send(
        &self,
        name: &str,
        function: &str,
        parameters: Vec<Value>,
        key: &str,
    ) -> Result<(), WorkerError> {
        let target = Target { component_id: self.component, worker_name: Some(name.to_owned()) };
        let invocation = Self::invocation(function, parameters, key);
        self.ask(async |w| w.invoke(target, invocation).await)
    }

    fn metadata(&self, name: &str) -> Result<WorkerMetadata, WorkerError> {
        let id = self.id(name);
        self.ask(async |w| w.metadata(id).await)
    }

    fn expected_status(&self, model: &Model) -> WorkerStatus {
        match model {
            Model { failed: true, .. } => WorkerStatus::Failed,
            Model { interrupted: true, .. } => WorkerStatus::Interrupted,
            Model { busy: true, .. } if self.suspends => WorkerStatus::Suspended,
            Model { busy: true, .. } => WorkerStatus::Running,
            _ => WorkerStatus::Idle,
        }
    }

    /// Waits until a worker is what the model says, or fails.
    fn settle(&self, name: &str, what: &str) {
        let started = Instant::now();
        let model = self.models.get(name);
        loop {
            let found = self.metadata(name);
            let settled = match (&found, model) {
                (Err(WorkerError::WorkerNotFound { .. }), None) => true,
                (Ok(m), Some(model)) => {
                    let pending =
                        m.updates.iter().any(|u| matches!(u, UpdateRecord::PendingUpdate { .. }));
                    m.status == self.expected_status(model)
                        && m.component_version == model.version
                        && m.pending_invocation_count == model.queue.len() as u64
                        && !pending
                }
                _ => false,
            };
            if settled {
                return;
            }
            let waited = started.elapsed() > Duration::from_secs(20);
            assert!(
                !waited,
                "seed {} step {}: after {what}, {name} is\n{found:?}\nand not\n{model:?}",
                self.seed, self.step
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The enumeration shows what single requests show.
    fn check_listing(&self) {
        let component = self.component;
        let mut cursor = None;
        let mut listed = Vec::new();
        loop {
            let page = self.ask(async |w| w.list(component, None, cursor, 2, true).await).unwrap();
            listed.extend(page.workers);
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        let mut names: Vec<&str> =
            listed.iter().map(|m| m.worker_id.worker_name.as_str()).collect();
        names.sort_unstable();
        let expected: Vec<&str> = self.models.keys().map(String::as_str).collect();
        assert_eq!(names, expected, "seed {} step {}", self.seed, self.step);
        for metadata in &listed {
            let model = &self.models[&metadata.worker_id.worker_name];
            assert_eq!(
                metadata.status,
                self.expected_status(model),
                "seed {} step {}",
                self.seed,
                self.step
            );
        }
    }

    fn crash(&mut self, graceful: bool) {
        let node = self.node.take().unwrap();
        node.stop(graceful);
        self.node = Some(Node::start(&self.stores, self.suspends));
    }

    fn step(&mut self) {
        let name = ["a", "b", "c"][self.random.below(3) as usize].to_owned();
        let choice = self.random.below(100);
        let what = match choice {
            0..=24 => self.add(&name),
            25..=32 => self.repeat(&name),
            33..=42 => self.slow(&name),
            43..=46 => self.fail(&name),
            47..=54 => self.interrupt(&name),
            55..=62 => self.resume(&name),
            63..=70 => self.update(&name),
            71..=74 => self.update_by_snapshot(&name),
            75..=81 => self.revert(&name),
            82..=86 => self.cancel(&name),
            87..=88 => self.delete(&name),
            89..=95 => {
                self.crash(false);
                "crash".to_owned()
            }
            96..=97 => {
                self.crash(true);
                "shutdown".to_owned()
            }
            _ => self.add_with_a_failing_store(&name),
        };
        for name in ["a", "b", "c"] {
            self.settle(name, &what);
        }
        if self.random.below(4) == 0 {
            self.check_listing();
        }
        self.step += 1;
    }

    fn model(&mut self, name: &str) -> &mut Model {
        self.models
            .entry(name.to_owned())
            .or_insert_with(|| Model { version: VERSIONS - 1, ..Model::default() })
    }

    fn refused(&self, what: &str, outcome: Result<impl std::fmt::Debug, WorkerError>) {
        assert!(
            outcome.is_err(),
            "seed {} step {}: {what} was not refused: {outcome:?}",
            self.seed,
            self.step
        );
    }

    fn add(&mut self, name: &str) -> String {
        let (key, n) = (self.new_key(), self.random.below(1000));
        let what = format!("add {n} ({key}) to {name}");
        let model = self.model(name).clone();
        if model.failed {
            let outcome = self.call(name, ADD, vec![Value::U64(n)], &key);
            assert!(
                matches!(outcome, Err(WorkerError::PreviousInvocationFailed { .. })),
                "{what}: {outcome:?}"
            );
        } else if model.busy {
            self.send(name, ADD, vec![Value::U64(n)], &key).unwrap();
            let model = self.model(name);
            model.queue.push(key);
            model.interrupted = false;
        } else {
            let value = self.call(name, ADD, vec![Value::U64(n)], &key).unwrap();
            self.added(name, &key, n, value, &what);
        }
        what
    }

    fn added(&mut self, name: &str, key: &str, n: u64, value: u64, what: &str) {
        let (seed, step) = (self.seed, self.step);
        let model = self.model(name);
        model.start(key);
        model.value += n;
        model.results.insert(key.to_owned(), model.value);
        assert_eq!(value, model.value, "seed {seed} step {step}: {what}");
    }

    /// A store that fails once: the caller repeats with the same key, and it takes effect once.
    fn add_with_a_failing_store(&mut self, name: &str) -> String {
        if self.models.get(name).is_none_or(|m| m.busy || m.failed) {
            return "nothing".into();
        }
        let (key, n) = (self.new_key(), self.random.below(1000));
        let what = format!("add {n} ({key}) to {name} on a failing store");
        self.stores.log.faults().fail_next();
        let first = self.call(name, ADD, vec![Value::U64(n)], &key);
        self.stores.log.faults().clear();
        let value = first.or_else(|_| self.call(name, ADD, vec![Value::U64(n)], &key)).unwrap();
        self.added(name, &key, n, value, &what);
        what
    }

    fn repeat(&mut self, name: &str) -> String {
        let known: Vec<(String, u64)> =
            self.models.get(name).into_iter().flat_map(|m| m.results.clone()).collect();
        if known.is_empty() {
            return "nothing".into();
        }
        let (key, result) = known[self.random.below(known.len() as u64) as usize].clone();
        let again = self.call(name, ADD, vec![Value::U64(77)], &key);
        assert_eq!(again, Ok(result), "seed {} step {}: {key} again", self.seed, self.step);
        format!("repeat {key} of {name}")
    }

    fn slow(&mut self, name: &str) -> String {
        let model = self.model(name).clone();
        let key = self.new_key();
        if model.busy || model.failed {
            // A model that was just made stands for a worker that does not exist yet.
            return "nothing".into();
        }
        self.send(name, SLOW_ADD, vec![Value::U64(1), Value::U64(FOREVER_MS)], &key).unwrap();
        let model = self.model(name);
        model.start(&key);
        model.busy = true;
        format!("slow call ({key}) of {name}")
    }

    fn fail(&mut self, name: &str) -> String {
        if self.models.get(name).is_none_or(|m| m.busy || m.failed) {
            return "nothing".into();
        }
        let key = self.new_key();
        let target = Target { component_id: self.component, worker_name: Some(name.to_owned()) };
        let invocation = Self::invocation("fail-if", vec![Value::Bool(true)], &key);
        let outcome = self.ask(async |w| w.invoke_and_await(target, invocation).await);
        assert!(matches!(outcome, Err(WorkerError::RuntimeError { .. })), "{outcome:?}");
        let model = self.model(name);
        model.start(&key);
        model.failed = true;
        format!("failing call ({key}) of {name}")
    }

    fn interrupt(&mut self, name: &str) -> String {
        let recover = self.random.below(2) == 0;
        let id = self.id(name);
        self.ask(async |w| w.interrupt(id, recover).await).unwrap();
        let suspends = self.suspends;
        if let Some(model) = self.models.get_mut(name).filter(|m| m.busy && !m.interrupted) {
            model.interrupted = suspends || !recover;
        }
        format!("interrupt of {name}, recovering: {recover}")
    }

    fn resume(&mut self, name: &str) -> String {
        let id = self.id(name);
        let outcome = self.ask(async |w| w.resume(id).await);
        let suspends = self.suspends;
        let what = format!("resume of {name}");
        match self.models.get_mut(name) {
            Some(model) if !model.failed && (!model.busy || model.interrupted || suspends) => {
                model.interrupted = false;
                assert_eq!(outcome, Ok(()), "{what}");
            }
            _ => self.refused(&what, outcome),
        }
        what
    }

    /// All versions are the same component, so an update succeeds wherever the worker can run.
    fn update(&mut self, name: &str) -> String {
        let target = self.random.below(VERSIONS + 1);
        let id = self.id(name);
        let outcome = self.ask(async |w| w.update(id, UpdateMode::Automatic, target).await);
        let what = format!("update of {name} to {target}");
        match self.models.get_mut(name) {
            Some(model) if target != model.version && target < VERSIONS => {
                assert_eq!(outcome, Ok(()), "{what}");
                if !model.failed {
                    model.version = target;
                    model.interrupted = false;
                }
            }
            _ => self.refused(&what, outcome),
        }
        what
    }

    /// The component saves no snapshots: the update fails, and nothing else happens.
    fn update_by_snapshot(&mut self, name: &str) -> String {
        let idle = self.models.get(name).is_some_and(|m| !m.busy && !m.failed);
        if !idle {
            return "nothing".into();
        }
        let target = (self.models[name].version + 1) % VERSIONS;
        let id = self.id(name);
        self.ask(async |w| w.update(id, UpdateMode::Manual, target).await).unwrap();
        format!("manual update of {name}")
    }

    fn revert(&mut self, name: &str) -> String {
        let n = self.random.below(4);
        let target = RevertTarget::RevertLastInvocations { number_of_invocations: n };
        let id = self.id(name);
        let outcome = self.ask(async |w| w.revert(id, target).await);
        let what = format!("revert of the last {n} of {name}");
        match self.models.get_mut(name).is_some_and(|m| m.revert(n as usize)) {
            true => assert_eq!(outcome, Ok(()), "{what}"),
            false => self.refused(&what, outcome),
        }
        what
    }

    fn cancel(&mut self, name: &str) -> String {
        let Some(model) = self.models.get(name).cloned() else { return "nothing".into() };
        let all: Vec<String> = model
            .queue
            .iter()
            .cloned()
            .chain(model.results.keys().cloned())
            .chain(["never".to_owned()])
            .collect();
        let key = all[self.random.below(all.len() as u64) as usize].clone();
        let id = self.id(name);
        let outcome = self.ask(async |w| w.cancel(id, IdempotencyKey(key.clone())).await);
        let what = format!("cancel {key} of {name}");
        if model.queue.contains(&key) {
            assert_eq!(outcome, Ok(true), "{what}");
            self.model(name).queue.retain(|k| *k != key);
        } else if model.results.contains_key(&key) {
            assert_eq!(outcome, Ok(false), "{what}");
        } else {
            self.refused(&what, outcome);
        }
        what
    }

    fn delete(&mut self, name: &str) -> String {
        let id = self.id(name);
        self.ask(async |w| w.delete(id).await).unwrap();
        self.models.remove(name);
        format!("deletion of {name}")
    }

    /// What is left in the end is what the model says.
    fn finish(mut self) {
        self.crash(false);
        for (name, model) in self.models.clone() {
            self.settle(&name, "the end");
            if !model.busy && !model.failed {
                let value = self.call(&name, ADD, vec![Value::U64(0)], "end").unwrap();
                assert_eq!(value, model.value, "seed {}: {name}", self.seed);
            }
        }
        if let Some(node) = self.node.take() {
            node.stop(false);
        }
    }
}

#[test]
fn whatever_is_asked_and_whenever_it_crashes_workers_are_what_they_must_be() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let steps = number("EMET_STEPS").unwrap_or(STEPS);
    let seeds = match number("EMET_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS,
    };
    for seed in seeds {
        println!("seed {seed}: EMET_SEED={seed} repeats it");
        let mut run = Run::new(seed);
        for _ in 0..steps {
            run.step();
        }
        run.finish();
    }
}
