//! The file system of a worker: rebuilt by replay with everything that a guest can see of it.

use emet_client::Upload;
use emet_e2e::{Failure, Server, guest};
use emet_model::{FilePermissions, WorkerId};
use serde_json::{Value, json};
use std::io::Write;

fn function(name: &str) -> String {
    format!("test:files/api.{{{name}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn times_links_renames_and_removals_are_the_same_after_a_kill() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let worker = WorkerId::new(server.upload("files").await?, "f");
    for (name, params) in [
        ("create-dir", json!(["/d"])),
        ("write-file", json!(["/d/a.txt", "hello"])),
        ("append", json!(["/d/a.txt", " world"])),
        ("hard-link", json!(["/d/a.txt", "/d/b.txt"])),
        ("symlink", json!(["a.txt", "/d/link"])),
        ("write-file", json!(["/gone.txt", "x"])),
        ("remove", json!(["/gone.txt"])),
        ("create-dir", json!(["/e"])),
        ("rename", json!(["/d/b.txt", "/e/c.txt"])),
        ("write-file", json!(["/t.txt", "times"])),
        (
            "set-times",
            json!(["/t.txt", 1_700_000_000_000_000_123u64, 1_600_000_000_000_000_000u64]),
        ),
        ("write-file", json!(["/s.txt", "0123456789"])),
        ("set-size", json!(["/s.txt", 4])),
    ] {
        let done = server.call(&worker, &function(name), params.clone()).await?;
        assert!(done.get("ok").is_some(), "{name} {params}: {done}");
    }
    let questions = [
        ("info", json!(["/d/a.txt"])),
        ("info", json!(["/e/c.txt"])),
        ("info", json!(["/t.txt"])),
        ("read-file", json!(["/s.txt"])),
        ("read-file", json!(["/d/link"])),
        ("read-link", json!(["/d/link"])),
        ("list-dir", json!(["/d"])),
        ("list-dir", json!(["/"])),
        ("exists", json!(["/gone.txt"])),
        ("read-file", json!(["/missing"])),
    ];
    // Reading changes the time of access once; after that it stays.
    ask(&server, &worker, &questions).await?;
    let before = ask(&server, &worker, &questions).await?;
    assert_eq!(
        before[2].pointer("/ok"),
        Some(&json!([5, 1_700_000_000_000_000_123u64, 1_600_000_000_000_000_000u64]))
    );
    assert_eq!(before[5].pointer("/ok"), Some(&json!("a.txt")));
    server.crash().await?;
    assert_eq!(ask(&server, &worker, &questions).await?, before);
    // The hard link is still the same file.
    server.call(&worker, &function("append"), json!(["/e/c.txt", "!"])).await?;
    assert_eq!(
        server.call(&worker, &function("read-file"), json!(["/d/a.txt"])).await?,
        json!({ "ok": "hello world!" })
    );
    assert_eq!(server.client.read_file(&worker, "/e/c.txt").await?.as_ref(), b"hello world!");
    Ok(())
}

async fn ask(
    server: &Server,
    worker: &WorkerId,
    questions: &[(&str, Value)],
) -> Result<Vec<Value>, Failure> {
    let mut answers = Vec::new();
    for (name, params) in questions {
        answers.push(server.call(worker, &function(name), params.clone()).await?);
    }
    Ok(answers)
}

fn archive(files: &[(&str, &str)]) -> Result<Vec<u8>, Failure> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default())?;
        zip.write_all(content.as_bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn initial_files_are_there_and_read_only_ones_stay_as_they_are() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let files = archive(&[("data/ro.txt", "fixed"), ("rw.txt", "first")])?;
    let permissions = vec![
        ("/rw.txt".to_owned(), FilePermissions::ReadWrite),
        ("/data/ro.txt".to_owned(), FilePermissions::ReadOnly),
    ];
    let upload = Upload {
        wasm: guest("files")?.into(),
        files: Some((files.into(), permissions)),
        ..Default::default()
    };
    let id = server
        .client
        .create_component("with-files", upload)
        .await?
        .versioned_component_id
        .component_id;
    let worker = WorkerId::new(id, "w");
    assert_eq!(
        server.call(&worker, &function("read-file"), json!(["/data/ro.txt"])).await?,
        json!({ "ok": "fixed" })
    );
    for (name, params) in [
        ("write-file", json!(["/data/ro.txt", "x"])),
        ("append", json!(["/data/ro.txt", "x"])),
        ("set-size", json!(["/data/ro.txt", 0])),
        ("remove", json!(["/data/ro.txt"])),
        ("rename", json!(["/data/ro.txt", "/moved"])),
        ("set-times", json!(["/data/ro.txt", 1, 1])),
    ] {
        let refused = server.call(&worker, &function(name), params).await?;
        assert!(refused.get("err").is_some(), "{name} is refused: {refused}");
    }
    server.call(&worker, &function("append"), json!(["/rw.txt", " second"])).await?;
    server.crash().await?;
    assert_eq!(
        server.call(&worker, &function("read-file"), json!(["/rw.txt"])).await?,
        json!({ "ok": "first second" })
    );
    assert_eq!(
        server.call(&worker, &function("read-file"), json!(["/data/ro.txt"])).await?,
        json!({ "ok": "fixed" })
    );
    Ok(())
}
