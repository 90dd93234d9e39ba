//! Workers call workers on a node that dies at any append to the oplog of either: the effect of
//! every call is counted once, and its result arrives.

use emet_crash::{Backend, Disk, Failure, Limits, Moment, Scenario, Step};
use emet_model::UpdateMode;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use std::time::Duration;

const W: &str = "rpc-caller/w";
const GET: &str = "test:counter/api.{get}";

/// Runs at the same time of a scenario that mostly waits.
const AT_ONCE: usize = 8;

/// The node dies after each append, and before some: what is stored before an append is mostly what
/// was stored after the one before it. Nothing happens outside, so nothing may differ.
async fn crash_everywhere(scenario: Scenario) -> Result<(), Failure> {
    crash_everywhere_at_once(scenario, 1).await
}

/// As [`crash_everywhere`], so many crashes at the same time, each on a disk of its own.
async fn crash_everywhere_at_once(scenario: Scenario, at_once: usize) -> Result<(), Failure> {
    let disk = Disk::new(Backend::Memory)?;
    let (scenario, disk) = (&scenario, &disk);
    let expected = scenario.run(disk, Backend::Memory, None).await?;
    assert!(expected.appends > 0, "{}: nothing was recorded", scenario.name);
    let crashes = (1..=expected.appends)
        .flat_map(|at| {
            let before = (at % 3 == 1).then_some(Moment::Before);
            before.into_iter().chain([Moment::After]).map(move |moment| (at, moment))
        })
        .map(async |(at, moment)| {
            let outcome = scenario.run(disk, Backend::Memory, Some((at, moment))).await?;
            assert_eq!(
                outcome.answers, expected.answers,
                "{}: after a crash at {at}, {moment:?}",
                scenario.name
            );
            Ok::<_, Failure>(())
        });
    futures::stream::iter(crashes).buffer_unordered(at_once).try_collect().await
}

fn scenario(name: &'static str, guests: &[&[&'static str]], steps: Vec<Step>) -> Scenario {
    Scenario {
        name,
        guests: guests.iter().map(|g| g.to_vec()).collect(),
        steps,
        limits: Limits::default(),
    }
}

fn counter(worker: &'static str) -> Step {
    Step::Call(worker, GET, json!([]))
}

fn caller(function: &'static str, parameters: serde_json::Value) -> Step {
    Step::Call(W, function, parameters)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_the_background() -> Result<(), Failure> {
    let steps = vec![
        caller("test:rpc-caller/api.{add-async}", json!(["$urn:counter/a", 1])),
        caller(
            "test:rpc-caller/api.{add-both}",
            json!(["$urn:counter/a", "$urn:counter/b", 10, 30]),
        ),
        caller("test:rpc-caller/api.{fan-out}", json!(["$urn:counter/f-", 3, 5])),
        Step::Completed("counter/a", 2),
        Step::Completed("counter/b", 1),
        Step::Completed("counter/f-2", 1),
        counter("counter/a"),
        counter("counter/b"),
        counter("counter/f-0"),
        counter("counter/f-1"),
        counter("counter/f-2"),
    ];
    crash_everywhere(scenario("async", &[&["rpc-caller"], &["counter"]], steps)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_an_answer() -> Result<(), Failure> {
    let steps = vec![
        caller("test:rpc-caller/api.{add-later}", json!(["$urn:counter/a", 1])),
        caller("test:rpc-caller/api.{add-later}", json!(["$urn:counter/a", 10])),
        caller("test:rpc-caller/api.{add-later}", json!(["$urn:counter/a", 100])),
        Step::Settle("counter/a"),
        Step::Completed("counter/a", 3),
        counter("counter/a"),
    ];
    crash_everywhere(scenario("invoke", &[&["rpc-caller"], &["counter"]], steps)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn scheduled_calls_and_cancelled_ones() -> Result<(), Failure> {
    let s = "rpc-scheduler/s";
    let steps = vec![
        Step::Call(
            s,
            "test:rpc-scheduler/api.{add-in-cancelable}",
            json!(["$urn:counter/never", 3, 4]),
        ),
        Step::Call(s, "test:rpc-scheduler/api.{cancel}", json!([0])),
        Step::Call(s, "test:rpc-scheduler/api.{add-in}", json!(["$urn:counter/soon", 3, 0])),
        // Due after what was cancelled, and late enough that a slow machine cancels in time.
        Step::Call(s, "test:rpc-scheduler/api.{add-in}", json!(["$urn:counter/later", 4, 4])),
        Step::Completed("counter/soon", 1),
        Step::Completed("counter/later", 1),
        counter("counter/soon"),
        counter("counter/later"),
        counter("counter/never"),
        Step::Completed("counter/never", 1),
    ];
    let scenario = scenario("schedule", &[&["rpc-scheduler"], &["counter"]], steps);
    crash_everywhere_at_once(scenario, AT_ONCE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_that_fails_and_retries() -> Result<(), Failure> {
    let d = "durability/d";
    let steps = vec![
        Step::Delivered(
            W,
            "test:rpc-caller/api.{call}",
            json!(["$urn:durability/d", "test:durability/api.{fails-n-times}", [2]]),
        ),
        Step::Completed(d, 1),
        Step::Delivered(
            W,
            "test:rpc-caller/api.{call}",
            json!(["$urn:durability/d", "test:durability/api.{fails-n-times}", [0]]),
        ),
        Step::Completed(d, 2),
        Step::Call(d, "test:durability/api.{step}", json!([2])),
    ];
    crash_everywhere(scenario("retries", &[&["rpc-caller"], &["durability"]], steps)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_that_is_updated_meanwhile() -> Result<(), Failure> {
    let t = "update-v1/t";
    let steps = vec![
        Step::Call(t, "test:update/api.{f3}", json!([])),
        Step::Send(
            W,
            "test:rpc-caller/api.{call}",
            json!(["$urn:update-v1/t", "test:update/api.{f1}", [5, 100]]),
        ),
        Step::Update(t, 1, UpdateMode::Automatic),
        Step::Settle(W),
        Step::Settle(t),
        Step::Completed(W, 1),
        Step::Completed(t, 2),
        Step::Call(t, "test:update/api.{f3}", json!([])),
        Step::Call(t, "test:update/api.{version}", json!([])),
    ];
    crash_everywhere(scenario("update", &[&["rpc-caller"], &["update-v1", "update-v2"]], steps))
        .await
}

/// Also what a node does that is told to stop is no answer to a call.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_while_workers_wait() -> Result<(), Failure> {
    let slow = |worker: &'static str, n: u64| {
        Step::Send(
            worker,
            "test:rpc-caller/api.{call}",
            json!(["$urn:counter/a", "test:counter/api.{slow-add}", [n, 150]]),
        )
    };
    let steps = vec![
        slow(W, 1),
        slow("rpc-caller/x", 10),
        counter("counter/other"),
        Step::Stop,
        Step::Settle(W),
        Step::Settle("rpc-caller/x"),
        Step::Completed("counter/a", 2),
        counter("counter/a"),
    ];
    let scenario = scenario("stop", &[&["rpc-caller"], &["counter"]], steps);
    let disk = Disk::new(Backend::Memory)?;
    for _ in 0..5 {
        let outcome = scenario.run(&disk, Backend::Memory, None).await?;
        assert_eq!(outcome.answers.into_values().collect::<Vec<_>>(), ["0", "11"]);
    }
    Ok(())
}

/// There is room for one worker: whoever calls is suspended, and whoever has answered is evicted.
#[tokio::test(flavor = "multi_thread")]
async fn callers_and_callees_that_are_evicted_meanwhile() -> Result<(), Failure> {
    let steps = vec![
        caller("test:rpc-caller/api.{add}", json!(["$urn:counter/a", 1])),
        caller("test:rpc-caller/api.{ping-pong}", json!(["$urn:counter/a", "$urn:counter/b", 2])),
        caller(
            "test:rpc-caller/api.{add-both}",
            json!(["$urn:counter/a", "$urn:counter/b", 10, 20]),
        ),
        caller(
            "test:rpc-caller/api.{relay}",
            json!([["$urn:rpc-caller/x", "$urn:rpc-caller/y", "$urn:counter/a"]]),
        ),
        Step::Completed("counter/a", 5),
        Step::Completed("counter/b", 3),
        counter("counter/a"),
        counter("counter/b"),
    ];
    let mut scenario = scenario("eviction", &[&["rpc-caller"], &["counter"]], steps);
    // Too long to be waited for: it is the want of room that suspends.
    scenario.limits =
        Limits { max_loaded: 1, suspend_after: Duration::from_secs(3600), ..Limits::default() };
    crash_everywhere(scenario).await
}
