//! Every test component and example, whatever language it is written in: the state that its workers
//! have, the state restored from a checkpoint and the state after a replay of the whole log are the
//! same, byte by byte.

use emet_client::Upload;
use emet_e2e::{Failure, Server};
use emet_model::{ComponentId, DynamicLinkedInstance, WorkerId};
use emet_values::{Export, FunctionType, Type};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// A value of a type; none where one cannot be made up.
fn sample(typ: &Type, seed: u64) -> Option<Value> {
    Some(match typ {
        Type::Bool => json!(seed % 2 == 1),
        Type::F32 | Type::F64 => json!(seed as f64 + 0.5),
        Type::Char => json!(97 + seed),
        Type::String => json!(format!("text-{seed}")),
        Type::List(inner) => json!([sample(inner, seed)?, sample(inner, seed + 1)?]),
        Type::Option(inner) => sample(inner, seed)?,
        Type::Result { ok: Some(ok), .. } => json!({"ok": sample(ok, seed)?}),
        Type::Result { ok: None, .. } => json!({"ok": null}),
        Type::Tuple(types) => {
            Value::Array(types.iter().map(|t| sample(t, seed)).collect::<Option<_>>()?)
        }
        Type::Record(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, t)| Some((name.clone(), sample(t, seed)?)))
                .collect::<Option<_>>()?,
        ),
        Type::Variant(cases) => {
            let (name, payload) = cases.first()?;
            json!({name: payload.as_ref().map_or(Some(Value::Null), |t| sample(t, seed))?})
        }
        Type::Enum(names) => json!(names.first()?),
        Type::Flags(names) => json!([names.first()?]),
        Type::Handle { .. } => return None,
        _ => json!(seed),
    })
}

/// Names of parameters that say which worker is to be called.
const CALLED: &[&str] = &["uri", "first", "second"];

/// Full names and sample parameters of the functions that can be called just so; those that call
/// workers call one of a component.
fn calls(exports: &[Export], seed: u64, called: ComponentId) -> Vec<(String, Value)> {
    let parameter = |(name, typ): &(String, Type)| match typ {
        Type::String if CALLED.contains(&name.as_str()) => {
            Some(json!(WorkerId::new(called, name.as_str()).urn()))
        }
        other => sample(other, seed),
    };
    let call = |name: String, function: &FunctionType| {
        let parameters = function.params.iter().map(parameter).collect::<Option<Vec<Value>>>()?;
        (!function.name.starts_with('[')).then_some((name, Value::Array(parameters)))
    };
    let named = exports.iter().flat_map(|export| match export {
        Export::Function(function) => vec![call(function.name.clone(), function)],
        Export::Instance { name, .. } if name.starts_with("golem:http/incoming-handler") => {
            let request = json!({
                "method": { "POST": null }, "scheme": { "HTTP": null }, "authority": "example.test",
                "path-and-query": format!("/status/20{seed}"), "headers": [["x-a", b"1"]],
                "body-and-trailers": { "body": b"text", "trailers": null },
            });
            vec![Some(("golem:http/incoming-handler.{handle}".to_owned(), json!([request])))]
        }
        Export::Instance { name, functions } => functions
            .iter()
            .map(|function| call(format!("{name}.{{{}}}", function.name), function))
            .collect(),
    });
    named.flatten().collect()
}

/// Waits, fails on purpose, or stops the worker.
const NOT_CALLED: &[&str] = &[
    "with-retry",
    "timeout",
    "await",
    "sleep",
    "fail",
    "exit",
    "interrupt",
    "update",
    "delete",
    "wait",
    "spin",
    "recurse",
    "suspend",
    "revert",
    "jump",
];

/// One misbehaves on purpose; two are the parts of `composed-caller` and do nothing alone.
const LEFT_OUT: &[&str] = &["hostile.wasm", "counter-stub.wasm", "stub-caller.wasm"];

/// Examples that are too large to be checked in: taken in if they were built.
const OPTIONAL: &[&str] =
    &["py-tasks/build/tasks.wasm", "ts-cart/build/cart.wasm", "ts-saga/build/saga.wasm"];

/// All built test components and examples, by their names.
fn prebuilt() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut all = Vec::new();
    for dir in ["tests/guests/prebuilt", "examples/prebuilt"] {
        for entry in std::fs::read_dir(root.join(dir))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".wasm") && !LEFT_OUT.contains(&name.as_str()) {
                all.push((name, std::fs::read(&path)?));
            } else if name.ends_with(".wasm.zst") {
                all.push((name, zstd::decode_all(std::fs::File::open(&path)?)?));
            }
        }
    }
    for file in OPTIONAL {
        let name = file.replace('/', "-");
        match std::fs::read(root.join("examples").join(file)) {
            Ok(wasm) => all.push((name, wasm)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("{name}: was not built, so it is left out");
            }
            Err(error) => return Err(error.into()),
        }
    }
    all.sort();
    Ok(all)
}

/// What components that call others are linked with.
fn links() -> BTreeMap<String, DynamicLinkedInstance> {
    let link = |client: &str, targets: [(&str, &str); 2]| {
        let targets = targets.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        (client.to_owned(), DynamicLinkedInstance::WasmRpc { target_interface_name: targets })
    };
    let counter = "test:counter/api";
    [
        link("test:counter-client/stub-guest", [("api", counter), ("counter", counter)]),
        link(
            "shop:saga-client/saga-client",
            [("stock", "shop:saga/stock"), ("account", "shop:saga/account")],
        ),
    ]
    .into()
}

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Calls a function of a worker; false if it does not return a result soon.
async fn try_call(server: &Server, worker: &WorkerId, function: &str, parameters: Value) -> bool {
    let call = server.call(worker, function, parameters);
    matches!(tokio::time::timeout(PATIENCE, call).await, Ok(Ok(_)))
}

/// Whether a call returns a result and leaves a worker that can be compared: one that holds
/// nothing open, and has not switched recording off.
async fn is_compared(
    server: &Server,
    worker: &WorkerId,
    (function, parameters): (&str, Value),
) -> Result<bool, Failure> {
    if !try_call(server, worker, function, parameters).await {
        return Ok(false);
    }
    let found = server.client.verify_worker(worker).await?;
    match found.not_compared {
        Some(reason) => eprintln!("{function}: {reason}"),
        None if !found.equal => {
            return Err(format!("{function}: {:#?}\n{}", found.differences, server.log()).into());
        }
        None => return Ok(true),
    }
    Ok(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_component_is_restored_to_what_a_replay_gives() -> Result<(), Failure> {
    let server = Server::start_with(&["--checkpoints", "always"]).await?;
    let called_component = server.upload("counter").await?;
    for (number, (file, wasm)) in prebuilt()?.into_iter().enumerate() {
        let name = format!("c{number}-{}", file.split('.').next().unwrap_or_default());
        let upload = Upload { wasm: wasm.into(), dynamic_linking: links(), ..Default::default() };
        let component = server.client.create_component(&name, upload).await?;
        assert!(
            component.checkpoints.as_ref().is_some_and(|c| c.supported),
            "{name}: {:?}",
            component.checkpoints
        );
        let id = component.versioned_component_id.component_id;
        // Large ones are compiled for longer than a call may take.
        server.create(&WorkerId::new(id, "first"), &[]).await?;
        let mut functions = Vec::new();
        for (function, parameters) in calls(&component.metadata.exports, 1, called_component) {
            let plain = function.rsplit('{').next().unwrap_or_default();
            if NOT_CALLED.iter().any(|word| plain.contains(word)) {
                continue;
            }
            let alone = WorkerId::new(id, format!("alone-{}", functions.len()));
            let compared = is_compared(&server, &alone, (&function, parameters)).await;
            if compared.map_err(|e| format!("{name}: {e}"))? {
                functions.push(function);
            }
            server.client.delete_worker(&alone).await?;
        }
        let worker = WorkerId::new(id, "all");
        let mut called = 0;
        for seed in 1..3 {
            for (function, parameters) in calls(&component.metadata.exports, seed, called_component)
            {
                if functions.contains(&function)
                    && try_call(&server, &worker, &function, parameters).await
                {
                    called += 1;
                }
            }
        }
        assert!(called > 0, "{name}: no function can be called just so");
        let found = server.client.verify_worker(&worker).await?;
        assert!(found.equal, "{name}: {found:?}\n{}", server.log());
        assert!(
            found.checkpoint.is_some(),
            "{name}: no checkpoint after {called} calls of {functions:?}\n{}",
            server.log()
        );
        eprintln!("{name}: {called} calls of {functions:?}, checkpoint at {:?}", found.checkpoint);
    }
    Ok(())
}
