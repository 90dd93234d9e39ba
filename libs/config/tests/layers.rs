//! The layers of the configuration: built in, file, environment, flag.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use clap::{CommandFactory, Parser, Subcommand};
use emet_config::{ConfigError, Format, HumanDuration, Roles, Size};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(name = "emet")]
struct Cli {
    #[arg(long, global = true, default_value = "http://localhost:9881")]
    url: String,
    #[command(subcommand)]
    command: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    Server(Server),
    Executor(Executor),
    Client,
}

#[derive(Debug, clap::Args)]
struct Server {
    #[arg(long, env = "EMET_TEST_DATA_DIR", default_value = ".emet")]
    data_dir: PathBuf,
    #[arg(long, default_value_t = 1000)]
    max_loaded: u32,
    #[arg(long, default_value = "10s")]
    suspend_after: HumanDuration,
    #[arg(long)]
    memory: Option<Size>,
    #[arg(long, value_delimiter = ',')]
    network_deny: Vec<String>,
    #[arg(long)]
    durable: bool,
}

#[derive(Debug, clap::Args)]
struct Executor {
    #[arg(long)]
    redis: String,
    #[arg(long, default_value_t = 1000)]
    max_loaded: u32,
}

fn roles() -> Roles {
    Roles::new(Cli::command(), &["server", "executor"])
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn parse(text: &str, arguments: &[&str]) -> Result<Cli, ConfigError> {
    let file = file(text);
    let path = file.path().to_str().unwrap().to_owned();
    let (role, rest) = arguments.split_first().unwrap();
    let line = ["emet", role, "--config", &path].into_iter().chain(rest.iter().copied());
    let matches = roles().parse(line.map(OsString::from))?;
    Ok(<Cli as clap::FromArgMatches>::from_arg_matches(&matches)?)
}

fn server(text: &str, arguments: &[&str]) -> Server {
    let arguments: Vec<&str> = ["server"].into_iter().chain(arguments.iter().copied()).collect();
    match parse(text, &arguments).unwrap().command {
        Role::Server(server) => server,
        other => panic!("{other:?}"),
    }
}

fn refusal(text: &str) -> String {
    let error = parse(text, &["server"]).unwrap_err().to_string();
    let start = error.find(':').unwrap();
    error[start..].to_owned()
}

#[test]
fn a_file_is_stronger_than_built_in_defaults_and_weaker_than_flags() {
    let text = "max-loaded = 2_000\nsuspend-after = \"1h30m\"\nmemory = \"4GiB\"\ndurable = true\n\
                network-deny = [\"10.0.0.0/8\", \"192.168.0.0/16\"]\n";
    let given = server(text, &["--max-loaded", "5"]);
    assert_eq!(given.max_loaded, 5);
    assert_eq!(given.suspend_after.to_string(), "1h30m");
    assert_eq!(given.memory, Some(Size(4 << 30)));
    assert_eq!(given.network_deny, ["10.0.0.0/8", "192.168.0.0/16"]);
    assert!(given.durable);
    assert_eq!(given.data_dir, PathBuf::from(".emet"));
    let plain = server("", &[]);
    assert_eq!((plain.max_loaded, plain.memory, plain.durable), (1000, None, false));
}

#[test]
fn the_environment_stands_between_file_and_flags() {
    // A variable of this process would be seen by the tests beside this one: a child has it.
    if std::env::var_os("EMET_TEST_DATA_DIR").is_none() {
        let this = std::env::current_exe().unwrap();
        let status = std::process::Command::new(this)
            .args(["--exact", "the_environment_stands_between_file_and_flags"])
            .env("EMET_TEST_DATA_DIR", "/from/environment")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let text = "data-dir = \"/from/file\"\n";
    assert_eq!(server(text, &[]).data_dir, PathBuf::from("/from/environment"));
    assert_eq!(server(text, &["--data-dir", "/from/flag"]).data_dir, PathBuf::from("/from/flag"));
}

#[test]
fn a_table_is_for_one_role_and_stronger_than_the_top() {
    let text = "max-loaded = 1\nredis = \"redis://a\"\n[executor]\nmax-loaded = 2\n";
    assert_eq!(server(text, &[]).max_loaded, 1);
    match parse(text, &["executor"]).unwrap().command {
        // A required option may come from the file.
        Role::Executor(executor) => {
            assert_eq!((executor.redis.as_str(), executor.max_loaded), ("redis://a", 2))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_nobody_knows_is_refused_with_its_line_and_the_nearest_name() {
    assert_eq!(
        refusal("\nmax_loaded = 1\n"),
        ":2: unknown key 'max_loaded'; did you mean 'max-loaded'?"
    );
    assert_eq!(
        refusal("[servr]\nmax-loaded = 1\n"),
        ":2: [servr] is not a role; did you mean 'server'?"
    );
    assert!(refusal("zzz = 1\n").contains("'emet config schema' lists the known ones"));
    // Known to another role, in the table of this one.
    assert!(refusal("[server]\nredis = \"x\"\n").starts_with(":2: unknown key 'redis'"));
    // Options of the client are none of a role.
    assert!(refusal("url = \"http://x\"\n").contains("unknown key 'url'"));
    assert!(refusal("config = \"x\"\n").contains("unknown key 'config'"));
}

#[test]
fn wrong_values_are_refused_with_their_line() {
    assert!(
        refusal("max-loaded = \"many\"\n").starts_with(":1: max-loaded = \"many\": invalid digit"),
        "{}",
        refusal("max-loaded = \"many\"\n")
    );
    assert!(
        refusal("\n\nsuspend-after = \"soon\"\n")
            .starts_with(":3: suspend-after = \"soon\": 'soon' is not a duration")
    );
    assert_eq!(refusal("max-loaded = [1, 2]\n"), ":1: max-loaded takes one value");
    assert!(refusal("data-dir = 2020-01-01\n").contains("cannot be a value"));
    assert!(refusal("[server.more]\na = 1\n").contains("do not nest"));
    assert!(refusal("max-loaded = \n").starts_with(":1: "));
    let flag = parse("max-loaded = 7\n", &["server", "--max-loaded", "many"]).unwrap_err();
    assert!(matches!(flag, ConfigError::Usage(_)), "{flag}");
    let missing = roles().parse(["emet", "server", "--config", "/no/such/file"]).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read /no/such/file: "));
}

#[test]
fn the_effective_tree_names_the_source_of_each_value() {
    let file = file(
        "max-loaded = 3\nnetwork-deny = [\"10.0.0.0/8\"]\n[executor]\nredis = \"redis://u:p@h/0\"\n",
    );
    let path = file.path().to_str().unwrap().to_owned();
    let arguments = ["--config", &path, "--suspend-after", "2s"].map(OsString::from);
    let shown = roles().show("server", &arguments, Format::Json).unwrap();
    let tree: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let option = |name: &str| tree["options"][name].clone();
    assert_eq!(
        option("max-loaded"),
        serde_json::json!({"value": 3, "source": format!("file {path}:1")})
    );
    assert_eq!(
        option("suspend-after"),
        serde_json::json!({"value": "2s", "source": "flag --suspend-after"})
    );
    assert_eq!(option("data-dir")["source"], "default");
    assert_eq!(option("memory"), serde_json::json!({"value": null, "source": "not set"}));
    let toml = roles().show("executor", &arguments[..2], Format::Toml).unwrap();
    assert!(!toml.contains("u:p"), "{toml}");
    // What is shown as a file gives the same options when it is read.
    let shown = roles().show("server", &arguments, Format::Toml).unwrap();
    let again = server(&shown, &[]);
    assert_eq!((again.max_loaded, again.suspend_after.to_string().as_str()), (3, "2s"));
}

#[test]
fn the_schema_lists_every_option_with_its_type() {
    let schema = roles().schema();
    assert_eq!(schema["additionalProperties"], false);
    let properties = &schema["properties"];
    assert_eq!(properties["max-loaded"]["type"], "integer");
    assert_eq!(properties["max-loaded"]["default"], 1000);
    assert_eq!(properties["durable"]["type"], "boolean");
    assert_eq!(properties["network-deny"]["anyOf"][1]["type"], "array");
    assert_eq!(properties["executor"]["properties"]["redis"]["type"], "string");
    assert!(properties["executor"]["properties"].get("data-dir").is_none());
    assert!(properties["data-dir"]["description"].as_str().unwrap().contains("EMET_TEST_DATA_DIR"));
    assert!(properties.get("url").is_none());
}
