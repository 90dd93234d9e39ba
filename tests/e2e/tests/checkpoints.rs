//! Checkpoints: whatever a worker has done, its state, the state restored from a checkpoint and the
//! state after a replay of the whole log are the same; and a checkpoint that is damaged, foreign or
//! of a history that was taken back is not used.

use emet_api::RevertTarget;
use emet_e2e::{Failure, Server};
use emet_model::{ComponentId, UpdateMode, UpdateRecord, WorkerId};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::time::Duration;

const ALWAYS: &[&str] = &["--checkpoints", "always"];
const ADD: &str = "test:counter/api.{add}";
const GET: &str = "test:counter/api.{get}";

/// Compares and gives the index of the checkpoint that was compared too.
async fn verify(server: &Server, worker: &WorkerId) -> Result<Option<u64>, Failure> {
    let found = server.client.verify_worker(worker).await?;
    if let Some(reason) = found.not_compared {
        return Err(format!("{worker} was not compared: {reason}").into());
    }
    if !found.equal {
        return Err(format!("{worker} differs: {:#?}\n{}", found.differences, server.log()).into());
    }
    Ok(found.checkpoint)
}

/// A bank with resources of its own, and two tellers that hold some of them between calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_composed_component_is_restored_part_by_part() -> Result<(), Failure> {
    let mut server = Server::start_with(ALWAYS).await?;
    let wasm = wat::parse_str(include_str!("../../guests/bank.wat"))?;
    let upload = emet_client::Upload { wasm: wasm.into(), ..Default::default() };
    let component = server.client.create_component("bank", upload).await?;
    assert!(component.checkpoints.is_some_and(|c| c.supported));
    let worker = WorkerId::new(component.versioned_component_id.component_id, "w");
    let account = "test:bank/api.{[constructor]account}";
    let deposit = "test:bank/api.{[method]account.deposit}";
    let closed = "test:bank/api.{closed}";
    // Handles take turns, so a handle table that is not what it was shows at once.
    for (function, parameter, answer) in [
        ("keep", 100, 1),
        ("second-keep", 50, 1),
        ("keep", 200, 2),
        ("add", 5, 205),
        ("second-add", 1, 51),
        ("keep", 300, 1),
        ("add", 5, 305),
    ] {
        let found = server.call(&worker, function, json!([parameter])).await?;
        assert_eq!(found, json!(answer), "{function}({parameter})");
    }
    let made = server.call(&worker, account, json!([7])).await?;
    assert_eq!(server.call(&worker, deposit, json!([made, 3])).await?, json!(10));
    assert!(verify(&server, &worker).await?.is_some());
    server.crash().await?;
    for (function, parameters, answer) in [
        (deposit, json!([made, 1]), 11),
        ("kept", json!([]), 3),
        ("second-kept", json!([]), 1),
        ("add", json!([5]), 310),
        (closed, json!([]), 2),
        ("second-keep", json!([1]), 2),
        (closed, json!([]), 3),
        ("second-keep", json!([1]), 1),
    ] {
        let found = server.call(&worker, function, parameters).await?;
        assert_eq!(found, json!(answer), "{function}");
    }
    server.call(&worker, "test:bank/api.{[drop]account}", json!([made])).await?;
    assert_eq!(server.call(&worker, closed, json!([])).await?, json!(5));
    assert!(verify(&server, &worker).await?.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_keep_their_identity() -> Result<(), Failure> {
    let mut server = Server::start_with(ALWAYS).await?;
    let id = server.upload("counter").await?;
    let worker = WorkerId::new(id, "r");
    for name in ["a", "b"] {
        server
            .call(&worker, &format!("test:counter/api.{{counter(\"{name}\").inc-by}}"), json!([2]))
            .await?;
    }
    let made =
        server.call(&worker, "test:counter/api.{[constructor]counter}", json!(["c"])).await?;
    server.call(&worker, "test:counter/api.{[method]counter.inc-by}", json!([made, 5])).await?;
    verify(&server, &worker).await?;
    server.crash().await?;
    assert_eq!(
        server.call(&worker, "test:counter/api.{[method]counter.get-value}", json!([made])).await?,
        json!(5)
    );
    assert_eq!(
        server.call(&worker, "test:counter/api.{counter(\"a\").get-value}", json!([])).await?,
        json!(2)
    );
    server.call(&worker, "test:counter/api.{counter(\"b\").drop}", json!([])).await?;
    assert_eq!(
        server.call(&worker, "test:counter/api.{live-counters}", json!([])).await?,
        json!(2)
    );
    verify(&server, &worker).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_restored_with_their_times() -> Result<(), Failure> {
    let mut server = Server::start_with(ALWAYS).await?;
    let id = server.upload("files").await?;
    let worker = WorkerId::new(id, "f");
    for (function, parameters) in [
        ("create-dir", json!(["/d"])),
        ("write-file", json!(["/d/a.txt", "hello"])),
        ("symlink", json!(["a.txt", "/d/l"])),
        (
            "set-times",
            json!(["/d/a.txt", 1_600_000_000_000_000_007u64, 1_500_000_000_000_000_005u64]),
        ),
    ] {
        server.call(&worker, &format!("test:files/api.{{{function}}}"), parameters).await?;
    }
    let before = server.call(&worker, "test:files/api.{info}", json!(["/d/a.txt"])).await?;
    let checkpoint = verify(&server, &worker).await?;
    assert!(checkpoint.is_some());
    server.crash().await?;
    assert_eq!(server.call(&worker, "test:files/api.{info}", json!(["/d/a.txt"])).await?, before);
    assert_eq!(
        server.call(&worker, "test:files/api.{read-link}", json!(["/d/l"])).await?,
        json!({"ok": "a.txt"})
    );
    assert_eq!(server.client.read_file(&worker, "/d/l").await?.as_ref(), b"hello");
    Ok(())
}

/// Files of the checkpoints of all workers of a component.
fn checkpoint_files(server: &Server, id: ComponentId) -> Result<Vec<PathBuf>, Failure> {
    server.objects(&["checkpoints", &id.to_string()])
}

/// Makes the checksum right again.
fn seal(checkpoint: &mut Vec<u8>) {
    checkpoint.truncate(checkpoint.len() - 32);
    let checksum = Sha256::digest(&checkpoint);
    checkpoint.extend_from_slice(&checksum);
}

/// Changes a stored checkpoint.
type Spoil = fn(&mut Vec<u8>);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_checkpoint_costs_only_time() -> Result<(), Failure> {
    let mut server = Server::start_with(ALWAYS).await?;
    let id = server.upload("counter").await?;
    let (worker, other) = (WorkerId::new(id, "w"), WorkerId::new(id, "other"));
    for n in 1..=5 {
        server.call(&worker, ADD, json!([n])).await?;
        server.call(&other, ADD, json!([100 * n])).await?;
    }
    let spoil: [(&str, Spoil); 7] = [
        ("it is of another release", |bytes| {
            bytes[8] += 1;
            seal(bytes);
        }),
        ("it is of another binary", |bytes| {
            let hex = |window: &[u8]| window.iter().all(u8::is_ascii_hexdigit);
            let digest = bytes.windows(64).position(hex).unwrap();
            bytes[digest] = if bytes[digest] == b'0' { b'1' } else { b'0' };
            seal(bytes);
        }),
        ("a flipped bit", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }),
        ("the end is missing", |bytes| bytes.truncate(bytes.len() - 7)),
        ("only the start is there", |bytes| bytes.truncate(9)),
        ("nothing is there", Vec::clear),
        ("something else is there", |bytes| {
            *bytes = b"this is no checkpoint, but long enough to be taken for one".to_vec()
        }),
    ];
    for (what, spoil) in spoil {
        server.kill()?;
        let files = checkpoint_files(&server, id)?;
        assert!(!files.is_empty());
        for file in files {
            let mut bytes = std::fs::read(&file)?;
            spoil(&mut bytes);
            std::fs::write(&file, bytes)?;
        }
        server.restart().await?;
        assert_eq!(server.call(&worker, GET, json!([])).await?, json!(15), "{what}");
        assert_eq!(server.call(&other, GET, json!([])).await?, json!(1500), "{what}");
    }
    // A whole and sound checkpoint, but of the other worker.
    server.kill()?;
    let files = checkpoint_files(&server, id)?;
    let (first, last) = (std::fs::read(&files[0])?, std::fs::read(&files[files.len() - 1])?);
    std::fs::write(&files[0], &last)?;
    std::fs::write(&files[files.len() - 1], &first)?;
    server.restart().await?;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(15));
    assert_eq!(server.call(&other, GET, json!([])).await?, json!(1500));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_life_is_not_used() -> Result<(), Failure> {
    let mut server = Server::start_with(ALWAYS).await?;
    let id = server.upload("counter").await?;
    let worker = WorkerId::new(id, "w");
    for _ in 0..3 {
        server.call_keyed(&worker, ADD, json!([10]), None).await?;
    }
    server.call_keyed(&worker, ADD, json!([10]), Some("k")).await?;
    // They are written in the background: only a dead server leaves them alone.
    server.kill()?;
    let saved: Vec<(PathBuf, Vec<u8>)> = checkpoint_files(&server, id)?
        .into_iter()
        .map(|path| std::fs::read(&path).map(|bytes| (path, bytes)))
        .collect::<Result<_, _>>()?;
    assert!(!saved.is_empty());
    server.restart().await?;
    server.client.delete_worker(&worker).await?;
    assert_eq!(checkpoint_files(&server, id)?, Vec::<PathBuf>::new(), "they go with the worker");
    // The key was used in the other life only.
    assert_eq!(server.call_keyed(&worker, ADD, json!([1]), Some("k")).await?, json!(1));
    for _ in 0..5 {
        server.call(&worker, ADD, json!([1])).await?;
    }
    server.kill()?;
    for path in checkpoint_files(&server, id)? {
        std::fs::remove_file(path)?;
    }
    for (path, bytes) in saved {
        std::fs::create_dir_all(path.parent().ok_or("no directory")?)?;
        std::fs::write(path, bytes)?;
    }
    server.restart().await?;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(6));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn results_put_aside_are_found_again() -> Result<(), Failure> {
    let mut server = Server::start_with(ALWAYS).await?;
    let id = server.upload("counter").await?;
    let worker = WorkerId::new(id, "w");
    assert_eq!(server.call_keyed(&worker, ADD, json!([7]), Some("first")).await?, json!(7));
    for _ in 0..5 {
        server.call(&worker, ADD, json!([1])).await?;
    }
    assert_eq!(
        server.call_keyed(&worker, ADD, json!([7]), Some("first")).await?,
        json!(7),
        "while it is in memory"
    );
    server.crash().await?;
    assert_eq!(
        server.call_keyed(&worker, ADD, json!([7]), Some("first")).await?,
        json!(7),
        "after a crash"
    );
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(12));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_leads_behind_checkpoints() -> Result<(), Failure> {
    let mut server = Server::start_with(ALWAYS).await?;
    let id = server.upload("counter").await?;
    let worker = WorkerId::new(id, "w");
    for n in 1..=6 {
        server.call_keyed(&worker, ADD, json!([n]), Some(&format!("k{n}"))).await?;
    }
    server
        .client
        .revert_worker(&worker, RevertTarget::RevertLastInvocations { number_of_invocations: 4 })
        .await?;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(3));
    verify(&server, &worker).await?;
    // A key whose invocation was taken back is free again; one before it is not.
    assert_eq!(server.call_keyed(&worker, ADD, json!([10]), Some("k5")).await?, json!(13));
    assert_eq!(server.call_keyed(&worker, ADD, json!([10]), Some("k2")).await?, json!(3));
    server.crash().await?;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(13));
    assert_eq!(server.call_keyed(&worker, ADD, json!([10]), Some("k5")).await?, json!(13));
    verify(&server, &worker).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_leads_behind_checkpoints() -> Result<(), Failure> {
    let mut server = Server::start_with(ALWAYS).await?;
    let id = server.upload("durability").await?;
    let worker = WorkerId::new(id, "w");
    let api = |function: &str| format!("test:durability/api.{{{function}}}");
    for n in 0..3 {
        server.call(&worker, &api("step"), json!([n])).await?;
    }
    let jumped = server.call(&worker, &api("jump"), json!([])).await?;
    server.call(&worker, &api("set-idempotence-mode"), json!([false])).await.ok();
    server
        .call(&worker, &api("set-persistence-level"), json!(["persist-remote-side-effects"]))
        .await
        .ok();
    let level = server.call(&worker, &api("get-persistence-level"), json!([])).await?;
    verify(&server, &worker).await?;
    server.crash().await?;
    assert_eq!(server.call(&worker, &api("get-persistence-level"), json!([])).await?, level);
    assert!(jumped.is_number());
    verify(&server, &worker).await?;
    Ok(())
}

async fn updated(server: &Server, worker: &WorkerId) -> Result<UpdateRecord, Failure> {
    for _ in 0..400 {
        let updates = server.client.worker(worker).await?.updates;
        if let Some(last) =
            updates.last().filter(|u| !matches!(u, UpdateRecord::PendingUpdate { .. }))
        {
            return Ok(last.clone());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Err("the update did not end".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_of_another_version_are_not_used() -> Result<(), Failure> {
    let mut server = Server::start_with(ALWAYS).await?;
    let id = server.upload("update-v2").await?;
    let worker = WorkerId::new(id, "u");
    for n in 0..4 {
        server.call(&worker, "test:update/api.{f1}", json!([n, 0])).await?;
    }
    let before = server.call(&worker, "test:update/api.{version}", json!([])).await?;
    let target = server.update(id, "update-v4").await?;
    server.client.update_worker(&worker, UpdateMode::Manual, target).await?;
    let record = updated(&server, &worker).await?;
    assert!(matches!(record, UpdateRecord::SuccessfulUpdate { .. }), "{record:?}");
    let metadata = server.client.worker(&worker).await?;
    let version = server.call(&worker, "test:update/api.{version}", json!([])).await?;
    assert_eq!(metadata.component_version, target);
    assert_ne!(version, before);
    server.crash().await?;
    assert_eq!(server.call(&worker, "test:update/api.{version}", json!([])).await?, version);
    assert_eq!(server.client.worker(&worker).await?.component_version, metadata.component_version);
    verify(&server, &worker).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_can_be_switched_off_and_on_again() -> Result<(), Failure> {
    let mut server = Server::start_with(ALWAYS).await?;
    let worker = WorkerId::new(server.upload("counter").await?, "w");
    let mut total = 0;
    for mode in ["always", "off", "always", "on", "off"] {
        server.kill()?;
        server.set_arguments(&["--checkpoints", mode]);
        server.restart().await?;
        for n in 1..=5 {
            total += n;
            assert_eq!(server.call(&worker, ADD, json!([n])).await?, json!(total), "{mode}");
        }
        if mode != "off" {
            verify(&server, &worker).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_is_not_replayed() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--checkpoints", "on"]).await?;
    let id = server.upload("counter").await?;
    let worker = WorkerId::new(id, "long");
    let calls = 600;
    for _ in 0..calls {
        server.call(&worker, ADD, json!([1])).await?;
    }
    // The checkpoint is written in the background.
    let mut checkpoint = None;
    for _ in 0..200 {
        checkpoint = verify(&server, &worker).await?;
        if checkpoint.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    // Two entries a call. One is taken every 1024 entries at least; on a slow machine also sooner,
    // after the guest has run for long enough.
    assert!(checkpoint.is_some_and(|index| index + 1024 >= 2 * calls), "{checkpoint:?}");
    server.crash().await?;
    assert_eq!(server.call(&worker, GET, json!([])).await?, json!(calls));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_workers_are_compared_in_the_background() -> Result<(), Failure> {
    let server = Server::start_with(&["--verify-every", "20ms", "--checkpoints", "on"]).await?;
    let worker = WorkerId::new(server.upload("counter").await?, "w");
    server.call(&worker, ADD, json!([1])).await?;
    let compared = async |outcome: &str| {
        let series = format!("emet_verifications_total{{outcome=\"{outcome}\"}}");
        Ok::<f64, Failure>(server.metric(&series).await?.unwrap_or_default())
    };
    for _ in 0..400 {
        assert_eq!(compared("different").await?, 0.0, "{}", server.log());
        if compared("equal").await? > 1.0 {
            assert_eq!(server.call(&worker, GET, json!([])).await?, json!(1));
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Err(format!("nothing was compared\n{}", server.log()).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_names_are_refused() -> Result<(), Failure> {
    let server = Server::start().await?;
    let text = r#"(component (import "emet-checkpoint-save" (func)))"#;
    let upload =
        emet_client::Upload { wasm: text.as_bytes().to_vec().into(), ..Default::default() };
    // The text format is no binary; the binary of the same component is.
    assert!(server.client.create_component("text", upload).await.is_err());
    let binary: &[u8] =
        b"\0asm\x0d\0\x01\0\x07\x05\x01\x40\0\x01\0\x0a\x19\x01\0\x14emet-checkpoint-save\x01\0";
    let upload = emet_client::Upload { wasm: binary.to_vec().into(), ..Default::default() };
    let error =
        server.client.create_component("reserved", upload).await.err().ok_or("it was accepted")?;
    assert!(error.to_string().contains("reserved"), "{error}");
    Ok(())
}
