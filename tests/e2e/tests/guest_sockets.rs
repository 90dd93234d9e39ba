//! Sockets: names are looked up once; connections obey the network policy. They are not durable.

use emet_e2e::{Failure, Server};
use emet_model::WorkerId;
use serde_json::json;

fn function(name: &str) -> String {
    format!("test:networking/api.{{{name}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up_once_and_addresses_refused_by_the_policy() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--network-deny", "127.0.0.0/8"]).await?;
    let worker = WorkerId::new(server.upload("networking").await?, "w");
    let found =
        server.call_keyed(&worker, &function("resolve"), json!(["localhost"]), Some("r")).await?;
    assert!(found["ok"].as_array().is_some_and(|a| !a.is_empty()), "{found}");
    assert_eq!(server.search(&worker, "resolve_addresses").await?.len(), 1);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let refused =
        server.call(&worker, &function("tcp-echo"), json!([[127, 0, 0, 1], port, "hello"])).await?;
    assert!(refused["err"].as_str().is_some_and(|e| e.contains("access-denied")), "{refused}");
    server.crash().await?;
    assert_eq!(
        server.call_keyed(&worker, &function("resolve"), json!(["localhost"]), Some("r")).await?,
        found
    );
    let unknown = server.call(&worker, &function("resolve"), json!(["no such name"])).await?;
    assert!(unknown.get("err").is_some(), "{unknown}");
    Ok(())
}
