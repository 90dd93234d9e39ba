//! A node that dies at any append to an oplog, before or after it is written, and is started
//! again, arrives where a node arrives that never died: the same answers, the same effects.

use emet_crash::{Backend, Disk, Failure, Limits, Moment, Outcome, Scenario, Step};
use emet_model::UpdateMode;
use serde_json::json;
use std::collections::BTreeMap;

/// How many requests to the world outside may be repeated by one crash: those under way, of which a
/// scenario has at most two at once, are sent again (idempotence mode is on unless the guest turns
/// it off).
const REPEATED: u64 = 2;

fn extra(found: &BTreeMap<String, u64>, expected: &BTreeMap<String, u64>) -> Option<u64> {
    if found.keys().ne(expected.keys()) {
        return None;
    }
    let pairs = found.iter().zip(expected);
    pairs.map(|((_, found), (_, expected))| found.checked_sub(*expected)).sum()
}

fn check(scenario: &Scenario, crash: (u64, Moment), outcome: &Outcome, expected: &Outcome) {
    assert_eq!(
        outcome.answers, expected.answers,
        "{}: answers after a crash {crash:?}",
        scenario.name
    );
    let extra = extra(&outcome.effects, &expected.effects);
    let (found, wanted) = (&outcome.effects, &expected.effects);
    assert!(
        extra.is_some_and(|n| n <= REPEATED),
        "{}: effects after a crash {crash:?}: {found:?}, not {wanted:?}",
        scenario.name
    );
}

async fn crash_everywhere(scenario: Scenario) -> Result<(), Failure> {
    let disk = Disk::new(Backend::Memory)?;
    let expected = scenario.run(&disk, Backend::Memory, None).await?;
    assert!(expected.appends > 0, "{}: nothing was recorded", scenario.name);
    for at in 1..=expected.appends {
        for moment in [Moment::Before, Moment::After] {
            let outcome = scenario.run(&disk, Backend::Memory, Some((at, moment))).await?;
            check(&scenario, (at, moment), &outcome, &expected);
        }
    }
    // The embedded store decides and stores by itself; what is after an append is the harder half.
    for at in (1..=expected.appends).step_by(3) {
        let outcome = scenario.run(&disk, Backend::Embedded, Some((at, Moment::After))).await?;
        check(&scenario, (at, Moment::After), &outcome, &expected);
    }
    Ok(())
}

fn scenario(name: &'static str, guests: &[&'static str], steps: Vec<Step>) -> Scenario {
    Scenario {
        name,
        guests: guests.iter().map(|g| vec![*g]).collect(),
        steps,
        limits: Limits::default(),
    }
}

fn state() -> Scenario {
    let w = "counter/w";
    scenario(
        "state",
        &["counter"],
        vec![
            Step::Call(w, "test:counter/api.{add}", json!([3])),
            Step::Call(w, "test:counter/api.{slow-add}", json!([4, 20])),
            Step::Call(w, "test:counter/api.{counter(\"x\").inc-by}", json!([2])),
            Step::Send(w, "test:counter/api.{add}", json!([5])),
            Step::Call(w, "test:counter/api.{counter(\"x\").get-value}", json!([])),
            Step::Call(w, "test:counter/api.{get}", json!([])),
            Step::Call(w, "test:counter/api.{live-counters}", json!([])),
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn state_in_memory_and_resources() -> Result<(), Failure> {
    crash_everywhere(state()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_invocation_stays_failed() -> Result<(), Failure> {
    let w = "counter/w";
    crash_everywhere(scenario(
        "failure",
        &["counter"],
        vec![
            Step::Call(w, "test:counter/api.{add}", json!([3])),
            Step::Attempt(w, "fail-if", json!([true])),
            Step::Attempt(w, "test:counter/api.{add}", json!([1])),
            Step::Call("counter/other", "test:counter/api.{add}", json!([1])),
        ],
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn files() -> Result<(), Failure> {
    let w = "files/w";
    crash_everywhere(scenario(
        "files",
        &["files"],
        vec![
            Step::Call(w, "test:files/api.{create-dir}", json!(["/d"])),
            Step::Call(w, "test:files/api.{write-file}", json!(["/d/a", "one"])),
            Step::Call(w, "test:files/api.{append}", json!(["/d/a", " two"])),
            Step::Call(w, "test:files/api.{hard-link}", json!(["/d/a", "/d/b"])),
            Step::Call(w, "test:files/api.{symlink}", json!(["a", "/d/c"])),
            Step::Call(w, "test:files/api.{rename}", json!(["/d/a", "/d/z"])),
            Step::Call(w, "test:files/api.{read-file}", json!(["/d/b"])),
            Step::Call(w, "test:files/api.{list-dir}", json!(["/d"])),
        ],
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_that_fail_jumps_and_keys() -> Result<(), Failure> {
    let w = "durability/w";
    crash_everywhere(scenario(
        "durability",
        &["durability"],
        vec![
            // A crash within the region repeats the region, so its number of attempts may differ.
            Step::Attempt(w, "test:durability/api.{atomic-region}", json!([])),
            Step::Call(w, "test:durability/api.{step}", json!([4])),
            Step::Call("durability/jump", "test:durability/api.{jump}", json!([])),
            Step::Call("durability/v", "test:durability/api.{step}", json!([1])),
            Step::Call("durability/v", "test:durability/api.{idempotence}", json!([true])),
        ],
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_objects() -> Result<(), Failure> {
    let (k, b) = ("keyvalue/w", "blobstore/w");
    crash_everywhere(scenario(
        "key-value data and objects",
        &["keyvalue", "blobstore"],
        vec![
            Step::Call(k, "test:keyvalue/api.{set}", json!(["crash-bucket", "a", [1, 2]])),
            Step::Call(k, "test:keyvalue/api.{get}", json!(["crash-bucket", "a"])),
            Step::Call(k, "test:keyvalue/api.{delete}", json!(["crash-bucket", "a"])),
            Step::Call(k, "test:keyvalue/api.{exists}", json!(["crash-bucket", "a"])),
            Step::Call(b, "test:blobstore/api.{create-container}", json!(["crash-container"])),
            Step::Call(
                b,
                "test:blobstore/api.{write-data}",
                json!(["crash-container", "o", [7, 8, 9]]),
            ),
            Step::Call(b, "test:blobstore/api.{get-data}", json!(["crash-container", "o", 0, 3])),
            Step::Call(b, "test:blobstore/api.{delete-container}", json!(["crash-container"])),
        ],
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn promises_and_sleep() -> Result<(), Failure> {
    let w = "promise/w";
    crash_everywhere(scenario(
        "promises",
        &["promise", "clocks"],
        vec![
            Step::Call(w, "test:promise/api.{create}", json!([])),
            Step::Send(w, "test:promise/api.{await}", json!(["$answer:0"])),
            Step::Complete(0, b"done"),
            Step::Settle(w),
            Step::Call(w, "test:promise/api.{await}", json!(["$answer:0"])),
            Step::Send("clocks/w", "test:clocks/api.{std-sleep-ms}", json!([1100])),
            Step::Settle("clocks/w"),
        ],
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_the_world_outside() -> Result<(), Failure> {
    let w = "http/w";
    crash_everywhere(scenario(
        "http",
        &["http"],
        vec![
            Step::Call(
                w,
                "test:http/api.{post}",
                json!(["http://127.0.0.1:{port}/post", ["one ", "two"]]),
            ),
            Step::Call(
                w,
                "test:http/api.{get-skipping}",
                json!(["http://127.0.0.1:{port}/chunks/5", 3]),
            ),
            Step::Call(
                w,
                "test:http/api.{two-overlapping}",
                json!(["http://127.0.0.1:{port}/first", "http://127.0.0.1:{port}/second"]),
            ),
        ],
    ))
    .await
}

fn calls() -> Scenario {
    let w = "rpc-caller/w";
    scenario(
        "rpc",
        &["rpc-caller", "counter"],
        vec![
            Step::Call(w, "test:rpc-caller/api.{add}", json!(["$urn:counter/a", 1])),
            Step::Call(w, "test:rpc-caller/api.{add-later}", json!(["$urn:counter/a", 10])),
            Step::Call(w, "test:rpc-caller/api.{add-async}", json!(["$urn:counter/b", 100])),
            Step::Call(w, "test:rpc-caller/api.{counter}", json!(["$urn:counter/c", "x"])),
            Step::Settle("counter/a"),
            Step::Call("counter/a", "test:counter/api.{get}", json!([])),
            Step::Call("counter/b", "test:counter/api.{get}", json!([])),
            Step::Call("counter/c", "test:counter/api.{live-counters}", json!([])),
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_between_workers() -> Result<(), Failure> {
    crash_everywhere(calls()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_transactions() -> Result<(), Failure> {
    let steps = |mode, version| {
        let w = "update-v1/w";
        vec![
            Step::Call(w, "test:update/api.{f1}", json!([5, 0])),
            Step::Call(w, "test:update/api.{f2}", json!([])),
            Step::Update(w, version, mode),
            Step::Settle(w),
            Step::Call(w, "test:update/api.{f2}", json!([])),
            Step::Call(w, "test:update/api.{version}", json!([])),
            Step::Call(w, "test:update/api.{f3}", json!([])),
        ]
    };
    let automatic = vec![vec!["update-v1", "update-v2"]];
    crash_everywhere(Scenario {
        name: "automatic update",
        guests: automatic,
        steps: steps(UpdateMode::Automatic, 1),
        limits: Limits::default(),
    })
    .await?;
    crash_everywhere(manual_updates()).await
}

fn manual_updates() -> Scenario {
    let w = "update-v2/w";
    let steps = vec![
        Step::Call(w, "test:update/api.{f1}", json!([5, 0])),
        Step::Update(w, 1, UpdateMode::Manual),
        Step::Settle(w),
        Step::Call(w, "test:update/api.{f2}", json!([])),
        Step::Call(w, "test:update/api.{version}", json!([])),
        Step::Update(w, 2, UpdateMode::Manual),
        Step::Settle(w),
        Step::Call(w, "test:update/api.{f2}", json!([])),
        Step::Call(w, "test:update/api.{version}", json!([])),
    ];
    let guests = vec![vec!["update-v2", "update-v4", "update-v5"]];
    Scenario { name: "manual updates", guests, steps, limits: Limits::default() }
}

/// The same with workers that drop their history whenever they have nothing else to do.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_drop_their_history() -> Result<(), Failure> {
    for mut scenario in [state(), manual_updates()] {
        scenario.limits.drop_history_after = Some(4);
        crash_everywhere(scenario).await?;
    }
    Ok(())
}
