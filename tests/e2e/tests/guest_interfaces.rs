//! What programs seldom call: the functions that the guests of the other tests leave out. A crash in
//! the middle of each test lets the whole history be replayed.

use emet_client::Upload;
use emet_e2e::{Failure, Server, guest};
use emet_model::{ComponentType, WorkerId, WorkerStatus};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn start() -> Result<(Server, WorkerId), Failure> {
    let server = Server::start().await?;
    let worker = WorkerId::new(server.upload("interfaces").await?, "w");
    Ok((server, worker))
}

/// Calls a function before a crash, and after it with the same key and with another one.
async fn three_times(
    server: &mut Server,
    worker: &WorkerId,
    name: &str,
    params: Value,
) -> Result<[Value; 2], Failure> {
    let function = format!("test:interfaces/api.{{{name}}}");
    let first = server.call_keyed(worker, &function, params.clone(), Some(name)).await?;
    server.crash().await?;
    assert_eq!(server.call_keyed(worker, &function, params.clone(), Some(name)).await?, first);
    let again = server.call(worker, &function, params).await?;
    assert_eq!(server.client.worker(worker).await?.status, WorkerStatus::Idle);
    Ok([first, again])
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_have_attributes_chains_and_parents() -> Result<(), Failure> {
    let (mut server, worker) = start().await?;
    let expected = json!({ "ok": [
        "started true",
        "parent true",
        r#"a Some("3")"#,
        r#"b None Some("2")"#,
        r#"own ["a", "name"] all ["a", "b", "name"]"#,
        r#"chain ["3", "1"]"#,
        r#"chains ["a [\"3\", \"1\"]", "b [\"2\"]", "name [\"inner\", \"outer\", \"invoke-exported-function\"]"]"#,
        "forwards true false",
    ] });
    let told = three_times(&mut server, &worker, "context", json!([])).await?;
    assert_eq!(told, [expected.clone(), expected]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_librarys_operation_with_typed_values_is_read_back() -> Result<(), Failure> {
    let (mut server, worker) = start().await?;
    let number = server.call(&worker, "test:interfaces/api.{typed-operation}", json!([])).await?;
    server.crash().await?;
    assert_eq!(
        server.call(&worker, "test:interfaces/api.{last-operation}", json!([])).await?,
        number
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_their_streams_over_the_raw_interface() -> Result<(), Failure> {
    let (mut server, worker) = start().await?;
    let files = json!({ "ok": [
        "written 10", "read 3456 false", "rest 89 false", "modified Some(1000000)", "same true false", "no-entry",
    ] });
    let told = three_times(&mut server, &worker, "files", json!([])).await?;
    assert_eq!(told, [files.clone(), files]);
    let streams = json!({ "ok": ["skipped 2", "spliced 5", r#""cdefg\0\0\0""#] });
    let told = three_times(&mut server, &worker, "streams", json!([])).await?;
    assert_eq!(told, [streams.clone(), streams]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_http_in_memory() -> Result<(), Failure> {
    let (mut server, worker) = start().await?;
    let [told, again] = three_times(&mut server, &worker, "http-objects", json!([])).await?;
    assert_eq!(told, again);
    let text = told.to_string();
    for part in [
        "1 true 2 false",
        "HeaderError::InvalidSyntax",
        "Method::Put",
        "Scheme::Http",
        "host:1",
        "/path?q",
        "1 HeaderError::Immutable",
        "Some(1) Some(2) Some(3)",
        "418 0",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_has_its_code() -> Result<(), Failure> {
    let (mut server, worker) = start().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            drop(stream.read(&mut request).await);
            drop(
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nnot 100 bytes")
                    .await,
            );
        }
    });
    let [told, again] = three_times(&mut server, &worker, "body-error", json!([url])).await?;
    assert_eq!(told, again);
    let code = told["ok"].as_str().unwrap_or_default();
    assert!(code.starts_with("ErrorCode::"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_objects_can_be_skipped() -> Result<(), Failure> {
    let (mut server, worker) = start().await?;
    let listed = json!({ "ok": ["a", "d", "e", "skipped 2 false", "skipped 0 true", "size 2"] });
    let told = three_times(&mut server, &worker, "objects", json!(["c"])).await?;
    assert_eq!(told, [listed.clone(), listed]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn insecure_bytes_are_recorded_and_uuids_are_what_they_say() -> Result<(), Failure> {
    let (mut server, worker) = start().await?;
    let [bytes, others] = three_times(&mut server, &worker, "insecure-bytes", json!([32])).await?;
    assert!(bytes.as_array().map(Vec::len) == Some(32) && bytes != others, "{bytes} {others}");
    let text = "01234567-89ab-cdef-0123-456789abcdef";
    let told = three_times(&mut server, &worker, "uuid", json!([text])).await?;
    assert_eq!(told, [json!({ "ok": text }), json!({ "ok": text })]);
    let wrong = server.call(&worker, "test:interfaces/api.{uuid}", json!(["nonsense"])).await?;
    assert!(wrong.get("err").is_some(), "{wrong}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_an_ephemeral_component_is_made_for_a_call() -> Result<(), Failure> {
    let (mut server, worker) = start().await?;
    let upload = Upload {
        wasm: guest("counter")?.into(),
        component_type: Some(ComponentType::Ephemeral),
        ..Default::default()
    };
    let target = server
        .client
        .create_component("ephemeral", upload)
        .await?
        .versioned_component_id
        .component_id;
    let (high, low) = target.0.as_u64_pair();
    let params = json!([[high, low], "test:counter/api.{get}"]);
    let [first, again] = three_times(&mut server, &worker, "call-ephemeral", params).await?;
    assert!(first["ok"].as_str().is_some_and(|text| text.contains("PrimU64(0)")), "{first}");
    assert_eq!(first, again);
    Ok(())
}
