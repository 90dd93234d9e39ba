//! The commands as a user runs them, against the API over services that answer by names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../../../services/worker-service/tests/common/mod.rs"]
mod common;

use common::{Fake, ID};
use std::process::{Command, Output};
use std::sync::Arc;

struct Server {
    url: String,
    fake: Arc<Fake>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start() -> Self {
        Self::start_with(emet_worker_service::Auth::off())
    }

    fn start_with(auth: emet_worker_service::Auth) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let fake = Arc::new(Fake::default());
        let state = emet_worker_service::AppState { auth, ..common::state(&fake, Vec::new()) };
        let router = emet_worker_service::router(state);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, fake, _runtime: runtime }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_emet-cli"));
        command.args(arguments).env("EMET_URL", &self.url).output().unwrap()
    }

    /// What a success prints.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a failure with an exit code prints.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn components_are_listed_by_their_latest_version() {
    let server = Server::start();
    let table = server.ok(&["component", "list"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(lines[0].starts_with("NAME       VERSION  ID"), "{table}");
    assert!(lines[1].starts_with(&format!("shop:cart  1        {ID}")), "{table}");
    let all: serde_json::Value =
        serde_json::from_str(&server.ok(&["component", "list", "--all", "-o", "json"])).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert!(
        server
            .ok(&["component", "get", "shop:cart", "-o", "yaml"])
            .contains("componentName: shop:cart")
    );
}

#[test]
fn tokens_are_made_used_and_revoked() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "bootstrap-0123456789abcdef0123456789\n").unwrap();
    let path = file.path().to_str().unwrap();
    let bootstrap = emet_config::Secret::read(file.path()).unwrap();
    let kv = Arc::new(emet_storage::memory::MemoryKv::new());
    let tokens = emet_worker_service::Tokens::new(kv, Some(&bootstrap));
    let server = Server::start_with(emet_worker_service::Auth::required(Arc::new(tokens)));
    let refused = server.fails(1, &["component", "list"]);
    assert!(
        refused.contains("needs a token") && refused.contains("emet explain unauthorized"),
        "{refused}"
    );
    let token = server.ok(&[
        "token",
        "create",
        "ci",
        "--scope",
        "read",
        "--expires",
        "1h",
        "--token-file",
        path,
    ]);
    let own = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(own.path(), &token).unwrap();
    let own = own.path().to_str().unwrap();
    server.ok(&["component", "list", "--token-file", own]);
    let refused = server.fails(1, &["token", "list", "--token-file", own]);
    assert!(refused.contains("'ci'") && refused.contains("emet explain forbidden"), "{refused}");
    let listed = server.ok(&["token", "list", "--token-file", path, "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert!(listed[0]["expiresAt"].is_string());
    server.ok(&["token", "revoke", listed[0]["id"].as_str().unwrap(), "--token-file", path]);
    assert!(server.fails(1, &["component", "list", "--token-file", own]).contains("not valid"));
}

#[test]
fn uploads_and_downloads() {
    let server = Server::start();
    let wasm = std::env::temp_dir().join(format!("emet-cli-{}.wasm", std::process::id()));
    std::fs::write(&wasm, b"\0asm").unwrap();
    let file = wasm.to_str().unwrap();
    let added = server.ok(&["component", "add", "shop:cart", file, "--type", "ephemeral"]);
    assert!(added.starts_with("name:       shop:cart\n"), "{added}");
    server.ok(&["component", "update", "shop:cart", file]);
    let types: Vec<_> =
        server.fake.uploads.lock().unwrap().iter().map(|(_, up)| up.component_type).collect();
    assert_eq!(types, [Some(emet_model::ComponentType::Ephemeral), None]);
    assert_eq!(server.ok(&["component", "download", "shop:cart", "-"]), "\0asm");
    std::fs::remove_file(&wasm).unwrap();
    let taken = server.fails(1, &["component", "add", "taken", "/dev/null"]);
    assert!(
        taken.contains("already exists") && taken.contains("component update taken"),
        "{taken}"
    );
}

#[test]
fn workers_are_named_in_one_word_or_two_and_components_by_name_or_id() {
    let server = Server::start();
    let by_id = format!("{ID}/a");
    for words in [&["shop:cart/a"][..], &["shop:cart", "a"], &[&by_id]] {
        let got = server.ok(&[&["worker", "get"], words].concat());
        assert!(got.starts_with("worker:     a\n"), "{got}");
    }
    assert!(server.ok(&["worker", "list", "shop:cart"]).starts_with("WORKER  STATUS"));
    server.ok(&["worker", "add", "shop:cart/a", "--arg", "-v", "--env", "A=b=c"]);
    assert_eq!(server.fake.last(), r#"create ["-v"] {"A": "b=c"} a"#);
    for (command, asked) in [
        ("interrupt", "interrupt false a"),
        ("simulated-crash", "interrupt true a"),
        ("resume", "resume a"),
        ("delete", "delete a"),
    ] {
        server.ok(&["worker", command, "shop:cart/a"]);
        assert_eq!(server.fake.last(), asked);
    }
}

#[test]
fn functions_are_found_by_their_short_names() {
    let server = Server::start();
    fn invoke<'a>(args: &[&'a str]) -> Vec<&'a str> {
        [&["worker", "invoke-and-await"], args].concat()
    }
    let result = server.ok(&invoke(&["shop:cart/a", "add-item", "A-1", "-2"]));
    assert_eq!(result, "17\n");
    let asked = server.fake.last();
    assert!(asked.contains("shop:cart/api.{add-item}"), "{asked}");
    assert!(asked.contains("String(\"A-1\")") && asked.contains("S32(-2)"), "{asked}");
    server.ok(&invoke(&["shop:cart", "a", "add-item", "--json", "[\"A\", 1]", "-k", "key"]));
    assert!(server.fake.last().contains("Some(IdempotencyKey(\"key\"))"));
    server.ok(&["worker", "invoke", "shop:cart/-", "run"]);
    let json = server.ok(&invoke(&["shop:cart/a", "run", "-o", "json"]));
    assert!(json.contains("\"value\": [\n      17\n    ]") || json.contains("17"), "{json}");
    let misspelt = server.fails(1, &invoke(&["shop:cart/a", "ad-item", "1"]));
    assert!(misspelt.contains("did you mean add-item?"), "{misspelt}");
    let wrong = server.fails(2, &invoke(&["shop:cart/a", "add-item", "A", "x"]));
    assert!(wrong.contains("argument qty") && wrong.contains("help:"), "{wrong}");
    assert!(server.fails(2, &invoke(&["shop:cart/a", "add-item"])).contains("takes 2 arguments"));
}

#[test]
fn histories_files_and_promises() {
    let server = Server::start();
    let oplog = server.ok(&["worker", "oplog", "shop:cart/a"]);
    assert_eq!(oplog.lines().count(), 2, "{oplog}");
    assert!(oplog.starts_with("     1  2024-10-20T23:42:04.333Z  NoOp"), "{oplog}");
    assert_eq!(server.ok(&["worker", "oplog", "shop:cart/a", "-n", "1"]).lines().count(), 1);
    server.ok(&["worker", "revert", "shop:cart/a", "--last", "2"]);
    server.ok(&["worker", "fork", "shop:cart/a", "b", "--at", "5"]);
    assert_eq!(server.fake.last(), "fork b 5 a");
    server.ok(&["worker", "cancel", "shop:cart/a", "-k", "key"]);
    server.ok(&["worker", "update", "shop:cart/a", "--to", "latest", "-m", "manual"]);
    assert_eq!(server.fake.last(), "update Manual 1 a");
    assert_eq!(server.ok(&["worker", "files", "cat", "shop:cart/a", "/a.txt"]), "hello");
    assert!(server.ok(&["worker", "files", "ls", "shop:cart/a"]).starts_with("NAME"));
    assert_eq!(
        server.ok(&["promise", "complete", "shop:cart/a", "5", "--data", "hi"]),
        "completed\n"
    );
    assert_eq!(server.ok(&["worker", "connect", "shop:cart/a"]), "hi\n");
}

#[test]
fn failures_say_what_to_do() {
    let server = Server::start();
    let unknown = server.fails(1, &["worker", "list", "shop:crat"]);
    assert!(unknown.contains("no component called shop:crat"), "{unknown}");
    assert!(unknown.contains("did you mean shop:cart?"), "{unknown}");
    let missing = server.fails(1, &["worker", "get", "shop:cart/missing"]);
    assert!(missing.contains("help:  emet explain worker-not-found"), "{missing}");
    let failed = server.fails(1, &["worker", "resume", "shop:cart/failed", "-o", "json"]);
    let failed: serde_json::Value = serde_json::from_str(&failed).unwrap();
    assert_eq!(failed["help"][0], "emet explain previous-invocation-failed");
    assert!(server.fails(2, &["worker", "get", "shop:cart"]).contains("COMPONENT/WORKER"));
    assert!(
        server.fails(2, &["worker", "list", "shop:cart", "-f", "x"]).contains("Invalid filter")
    );
    server.fails(2, &["worker", "nonsense"]);
    let nobody = server.fails(1, &["component", "list", "--url", "http://127.0.0.1:1"]);
    assert!(nobody.contains("emet server"), "{nobody}");
}

#[test]
fn the_client_helps_itself() {
    let server = Server::start();
    assert!(server.ok(&["doctor"]).contains("ok      health      every part is ready"));
    assert!(server.ok(&["explain", "worker-not-found"]).starts_with("# WorkerNotFound"));
    assert!(server.ok(&["explain"]).lines().count() > 30);
    assert!(server.ok(&["completions", "bash"]).contains("emet"));
    assert!(server.ok(&["worker", "invoke", "--help"]).contains("Examples:"));
    let doctor = server.run(&["doctor", "--url", "http://127.0.0.1:1"]);
    assert_eq!(doctor.status.code(), Some(1));
}

#[test]
fn every_page_of_the_documentation_can_be_explained() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    files.sort();
    let pages: Vec<String> = emet_cli::PAGES.iter().map(|(name, _)| format!("{name}.md")).collect();
    assert_eq!(pages, files);
}
