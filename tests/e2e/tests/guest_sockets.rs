//! Sockets: names are looked up once; connections obey the network policy. They are not durable: a
//! worker that is rebuilt finds every one reset, and what it did with them is replayed as it was.

#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use emet_client::ClientError;
use emet_e2e::{Failure, Server, Web};
use emet_model::{UpdateMode, WorkerId, WorkerStatus};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

fn function(name: &str) -> String {
    format!("test:networking/api.{{{name}}}")
}

/// A worker of the component `networking`.
struct Guest<'a> {
    server: &'a Server,
    worker: &'a WorkerId,
}

impl Guest<'_> {
    async fn call(&self, name: &str, params: Value) -> Result<Value, ClientError> {
        self.server.call(self.worker, &function(name), params).await
    }

    /// The `ok` side of the result.
    async fn ok(&self, name: &str, params: Value) -> Result<Value, Failure> {
        let answer = self.call(name, params).await?;
        answer.get("ok").cloned().ok_or_else(|| format!("{name}: {answer}").into())
    }

    async fn is_reset(&self, name: &str, params: Value) -> Result<(), Failure> {
        assert_eq!(self.call(name, params).await?, json!({ "err": "connection-reset" }), "{name}");
        Ok(())
    }
}

fn guest<'a>(server: &'a Server, worker: &'a WorkerId) -> Guest<'a> {
    Guest { server, worker }
}

/// Neither did the guest fail nor did its replay diverge.
async fn no_attempt_failed(server: &Server, worker: &WorkerId) -> Result<(), Failure> {
    let found = server.search(worker, "error").await?;
    let failed: Vec<_> = found.iter().filter(|entry| entry["type"] == "Error").collect();
    assert!(failed.is_empty(), "{failed:?}");
    Ok(())
}

/// Sends back every byte it gets, and keeps what came on each connection.
struct Echo {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let echo = Self { port: listener.local_addr()?.port(), heard: Arc::default() };
        let heard = echo.heard.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (number, heard) = (heard.lock().len(), heard.clone());
                heard.lock().push(String::new());
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        heard.lock()[number].push_str(&String::from_utf8_lossy(&buffer[..count]));
                        if stream.write_all(&buffer[..count]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(echo)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up_once_and_addresses_refused_by_the_policy() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--network-deny", "127.0.0.0/8"]).await?;
    let worker = WorkerId::new(server.upload("networking").await?, "w");
    let found =
        server.call_keyed(&worker, &function("resolve"), json!(["localhost"]), Some("r")).await?;
    assert!(found["ok"].as_array().is_some_and(|a| !a.is_empty()), "{found}");
    assert_eq!(server.search(&worker, "resolve_addresses").await?.len(), 1);
    let echo = Echo::start().await?;
    let refused = guest(&server, &worker)
        .call("tcp-echo", json!([[127, 0, 0, 1], echo.port, "hello"]))
        .await?;
    assert_eq!(refused, json!({ "err": "access-denied" }));
    guest(&server, &worker).ok("udp-bind", json!([])).await?;
    let refused = guest(&server, &worker).call("udp-ask", json!([echo.port, "hello"])).await?;
    assert_eq!(refused, json!({ "err": "access-denied" }));
    let refused = guest(&server, &worker).call("listen", json!([])).await?;
    assert_eq!(refused, json!({ "err": "access-denied" }));
    let told = server.search(&worker, "\"rule 127.0.0.0/8\"").await?;
    assert!(
        told.len() == 3 && told.iter().all(|e| e["context"] == "network"),
        "the guest's log tells the rule: {told:?}"
    );
    assert!(server.log().contains("127.0.0.0/8"), "the operator is told, too");
    server.crash().await?;
    assert_eq!(
        server.call_keyed(&worker, &function("resolve"), json!(["localhost"]), Some("r")).await?,
        found
    );
    let unknown = guest(&server, &worker).call("resolve", json!(["no such name"])).await?;
    assert!(unknown.get("err").is_some(), "{unknown}");
    assert!(echo.heard.lock().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_a_component_hold_for_it_alone() -> Result<(), Failure> {
    let rules = [
        "--network-deny",
        "127.0.0.0/8",
        "--network-allow",
        "networking=127.0.0.1",
        "--network-deny",
        "networking=::/0",
    ];
    let server = Server::start_with(&rules).await?;
    let (web, echo) = (Web::counting().await?, Echo::start().await?);
    let worker = WorkerId::new(server.upload("networking").await?, "w");
    let said =
        guest(&server, &worker).ok("tcp-echo", json!([[127, 0, 0, 1], echo.port, "hello"])).await?;
    assert_eq!(said, json!("hello"));
    let refused = guest(&server, &worker)
        .call("tcp-echo", json!([[127, 0, 0, 2], echo.port, "hello"]))
        .await?;
    assert_eq!(refused, json!({ "err": "access-denied" }));
    let other = WorkerId::new(server.upload("http").await?, "w");
    let refused = server.call(&other, "test:http/api.{get}", json!([web.url("/")])).await?;
    assert!(refused["err"].as_str().is_some_and(|e| e.contains("Prohibited")), "{refused}");
    drop(server);

    let server = Server::start_with(&["--network-deny", "http=127.0.0.0/8"]).await?;
    let worker = WorkerId::new(server.upload("networking").await?, "w");
    guest(&server, &worker).ok("tcp-echo", json!([[127, 0, 0, 1], echo.port, "hello"])).await?;
    let other = WorkerId::new(server.upload("http").await?, "w");
    // As an address and as a name.
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}/", web.port());
        let refused = server.call(&other, "test:http/api.{get}", json!([url])).await?;
        assert!(
            refused["err"].as_str().is_some_and(|e| e.contains("Prohibited")),
            "{host}: {refused}"
        );
    }
    let told = server.search(&other, "\"rule http=127.0.0.0/8\"").await?;
    assert!(!told.is_empty(), "the guest's log tells the rule");
    assert!(server.log().contains("http=127.0.0.0/8"), "the operator is told, too");
    assert_eq!(web.seen().len(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_reset_by_a_kill_and_the_guest_goes_on() -> Result<(), Failure> {
    // The system binds a socket to the unspecified address by itself: that reaches nobody.
    let mut server = Server::start_with(&["--network-deny", "0.0.0.0/8"]).await?;
    let worker = WorkerId::new(server.upload("networking").await?, "w");
    let echo = Echo::start().await?;
    guest(&server, &worker).ok("connect", json!([echo.port])).await?;
    assert_eq!(guest(&server, &worker).ok("ask", json!(["one"])).await?, json!("one"));
    server.crash().await?;
    guest(&server, &worker).is_reset("ask", json!(["two"])).await?;
    let tried = guest(&server, &worker).call("try-all", json!([])).await?;
    let tried: Vec<(String, String)> = serde_json::from_value(tried)?;
    assert!(
        tried.len() > 10 && tried.iter().all(|(_, said)| said == "connection-reset"),
        "{tried:?}"
    );
    guest(&server, &worker).ok("connect", json!([echo.port])).await?;
    assert_eq!(guest(&server, &worker).ok("ask", json!(["three"])).await?, json!("three"));
    // The second time both connections, and the resets between them, are replayed.
    server.crash().await?;
    guest(&server, &worker).is_reset("ask", json!(["four"])).await?;
    assert_eq!(*echo.heard.lock(), ["one\n", "three\n"]);
    assert_eq!(server.client.worker(&worker).await?.status, WorkerStatus::Idle);
    no_attempt_failed(&server, &worker).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_decides_by_what_it_read_decides_the_same_again() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let worker = WorkerId::new(server.upload("networking").await?, "w");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    guest(&server, &worker).ok("connect", json!([port])).await?;
    let mut stream = BufReader::new(listener.accept().await?.0);
    async fn order(stream: &mut BufReader<TcpStream>, order: &str) -> Result<(), Failure> {
        stream.get_mut().write_all(format!("{order}\n").as_bytes()).await?;
        let mut done = String::new();
        stream.read_line(&mut done).await?;
        assert_eq!(done, "done\n");
        Ok(())
    }
    let obey =
        async |key| server.call_keyed(&worker, &function("obey"), json!([]), Some(key)).await;
    let first = {
        let orders = async {
            for wanted in ["time", "random", "poll", "nothing", "random"] {
                order(&mut stream, wanted).await?;
            }
            stream.get_mut().write_all(b"end\n").await?;
            Ok::<_, Failure>(())
        };
        let (first, ordered) = tokio::join!(obey("first"), orders);
        ordered?;
        first?
    };
    assert_eq!(first["ok"].as_array().map(Vec::len), Some(5), "{first}");
    // A second conversation is cut off in the middle.
    server.send(&worker, &function("obey"), json!([])).await?;
    order(&mut stream, "random").await?;
    order(&mut stream, "time").await?;
    server.crash().await?;
    server.settle(&worker, WorkerStatus::Idle).await?;
    let completed = server.search(&worker, "exportedfunctioncompleted").await?;
    let last = completed.last().map(|entry| entry["response"].to_string()).unwrap_or_default();
    assert!(last.contains("connection-reset"), "{last}");
    assert_eq!(
        server.call_keyed(&worker, &function("obey"), json!([]), Some("first")).await?,
        first
    );
    no_attempt_failed(&server, &worker).await?;
    guest(&server, &worker).is_reset("ask", json!(["more"])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn eviction_and_update_reset_connections() -> Result<(), Failure> {
    let server = Server::start_with(&["--max-loaded", "1"]).await?;
    let id = server.upload("networking").await?;
    let (worker, other) = (WorkerId::new(id, "w"), WorkerId::new(id, "other"));
    let echo = Echo::start().await?;
    guest(&server, &worker).ok("connect", json!([echo.port])).await?;
    assert_eq!(guest(&server, &worker).ok("ask", json!(["one"])).await?, json!("one"));
    // There is room for one worker only.
    guest(&server, &other).ok("resolve", json!(["localhost"])).await?;
    guest(&server, &worker).is_reset("ask", json!(["two"])).await?;
    guest(&server, &worker).ok("connect", json!([echo.port])).await?;
    let version = server.update(id, "networking").await?;
    server.client.update_worker(&worker, UpdateMode::Automatic, version).await?;
    guest(&server, &worker).is_reset("ask", json!(["three"])).await?;
    assert_eq!(server.client.worker(&worker).await?.component_version, version);
    assert_eq!(*echo.heard.lock(), ["one\n", ""]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_come_back_until_a_kill() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let worker = WorkerId::new(server.upload("networking").await?, "w");
    let echo = UdpSocket::bind("127.0.0.1:0").await?;
    let port = echo.local_addr()?.port();
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while let Ok((count, from)) = echo.recv_from(&mut buffer).await {
            drop(echo.send_to(&buffer[..count], from).await);
        }
    });
    let own = guest(&server, &worker).ok("udp-bind", json!([])).await?;
    assert!(own.as_u64().is_some_and(|port| port > 0), "{own}");
    assert_eq!(guest(&server, &worker).ok("udp-ask", json!([port, "one"])).await?, json!("one"));
    assert_eq!(
        guest(&server, &worker).ok("udp-ask-connected", json!([port, "two"])).await?,
        json!("two")
    );
    server.crash().await?;
    guest(&server, &worker).is_reset("udp-ask", json!([port, "three"])).await?;
    guest(&server, &worker).ok("udp-bind", json!([])).await?;
    assert_eq!(guest(&server, &worker).ok("udp-ask", json!([port, "four"])).await?, json!("four"));
    no_attempt_failed(&server, &worker).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_listens_accepts_until_a_kill() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let worker = WorkerId::new(server.upload("networking").await?, "w");
    let port = guest(&server, &worker).ok("listen", json!([])).await?;
    let port = port.as_u64().and_then(|port| u16::try_from(port).ok()).ok_or("no port")?;
    let client = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"from outside").await?;
        stream.shutdown().await?;
        Ok::<_, Failure>(())
    };
    let (accepted, sent) =
        tokio::join!(async { guest(&server, &worker).ok("accept", json!([])).await }, client);
    sent?;
    assert_eq!(accepted?, json!("from outside"));
    server.crash().await?;
    guest(&server, &worker).is_reset("accept", json!([])).await?;
    guest(&server, &worker).ok("listen", json!([])).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_options_do_what_they_say() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let worker = WorkerId::new(server.upload("networking").await?, "w");
    let echo = Echo::start().await?;
    guest(&server, &worker).ok("connect", json!([echo.port])).await?;
    let streams = guest(&server, &worker).ok("streams", json!([])).await?;
    assert_eq!(streams, json!(["true", "456789", "[0, 0, 0, 0, 0]", "abc", "closed"]));
    let options = guest(&server, &worker).ok("options", json!([])).await?;
    let text = options.to_string();
    for part in [
        "keep-alive true",
        "idle 20000000000",
        "interval 10000000000",
        "count 3",
        "hops 7",
        "udp hops 8",
        "udp remote invalid-state",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("receives false") && !text.contains("sends false"), "{text}");
    // All of it is replayed.
    server.crash().await?;
    guest(&server, &worker).is_reset("ask", json!(["x"])).await?;
    no_attempt_failed(&server, &worker).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_opens_no_more_sockets_than_its_share() -> Result<(), Failure> {
    let server = Server::start().await?;
    let worker = WorkerId::new(server.upload("networking").await?, "w");
    for _ in 0..2 {
        let opened = guest(&server, &worker).call("open-many", json!([10_000])).await?;
        assert_eq!(opened, json!([256, "new-socket-limit"]), "they were closed in between");
    }
    Ok(())
}
