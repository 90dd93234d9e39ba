//! `emet doctor`: is the server there and well?

use crate::context::Context;
use crate::failure::Failure;
use serde::Serialize;

/// The outcome of one check.
#[derive(Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    details: String,
}

impl Check {
    fn new<E: std::fmt::Display>(check: &'static str, outcome: Result<String, E>) -> Self {
        match outcome {
            Ok(details) => Self { check, ok: true, details },
            Err(error) => Self { check, ok: false, details: error.to_string() },
        }
    }
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let client = &context.client;
    let version = client.version().await.map(|info| match info.emet_version {
        Some(version) => format!("emet {version}, API {}", info.version),
        None => format!("not an Emet server; API {}", info.version),
    });
    let mut checks = vec![Check::new("server", version)];
    if checks.iter().all(|check| check.ok) {
        let ready = match client.health().await {
            Ok(health) if health.not_ready.is_empty() => Ok("every part is ready".to_owned()),
            Ok(health) => Err(format!("not ready: {}", health.not_ready.join(", "))),
            Err(error) => Err(error.to_string()),
        };
        checks.push(Check::new("health", ready));
        let components = client.components(None).await;
        let components = components.map(|all| format!("{} component versions", all.len()));
        checks.push(Check::new("components", components));
    }
    let failed = checks.iter().filter(|check| !check.ok).count();
    context.out.show(&checks, || report(client.base_url(), &checks))?;
    if failed == 0 {
        return Ok(());
    }
    let failure = Failure::new(format!("{failed} of {} checks failed", checks.len()));
    Err(failure.help(
        "'emet server' starts a server here; --url or EMET_URL name another one; a server that \
         is starting becomes ready within seconds",
    ))
}

fn report(url: &str, checks: &[Check]) -> String {
    let lines = checks.iter().map(|check| {
        let mark = if check.ok { "ok    " } else { "FAILED" };
        format!("{mark}  {:<10}  {}", check.check, check.details)
    });
    std::iter::once(format!("checking {url}")).chain(lines).collect::<Vec<_>>().join("\n")
}
