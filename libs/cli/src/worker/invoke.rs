//! `emet worker invoke` and `invoke-and-await`.

use crate::context::Context;
use crate::failure::Failure;
use crate::functions;
use crate::output::results;
use crate::resolve::split;
use emet_api::Target;
use emet_client::Call;
use emet_model::IdempotencyKey;
use serde_json::json;

pub(super) const EXAMPLES: &str = r#"Examples:
  emet worker invoke-and-await shop:cart/cart-7 add-item '{sku: "A-1", qty: 2}'
  emet worker invoke-and-await shop:cart cart-7 'shop:cart/api.{checkout}' eu 3
  emet worker invoke-and-await shop:cart/cart-7 'counter("a").inc' 1
  emet worker invoke shop:mailer/- send --json '["ann@example.org", {"urgent": true}]'

The function is COMPONENT's full name for it, or its name alone where that is unambiguous.
Arguments are WAVE, one for each parameter; a string needs no quotes. The worker - is a fresh one.
Calls with the same --idempotency-key take effect once."#;

/// An invocation.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// COMPONENT/WORKER (or the two apart), the function, and its arguments.
    #[arg(required = true, num_args = 2.., allow_negative_numbers = true,
          value_names = ["COMPONENT/WORKER", "FUNCTION", "ARGUMENT"])]
    words: Vec<String>,
    /// All arguments as a JSON array, instead of WAVE.
    #[arg(long, value_name = "ARRAY")]
    json: Option<String>,
    /// Key of the invocation.
    #[arg(long, short = 'k', value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// An invocation ready to be sent.
struct Prepared {
    target: Target,
    call: Call,
}

async fn prepare(context: &Context, args: Args) -> Result<Prepared, Failure> {
    // A slash after the package's colon, or any slash, ends the component in the first word.
    let apart = args.words.first().is_some_and(|first| split(std::slice::from_ref(first)).is_err());
    let (worker, rest) = args.words.split_at(if apart { 2 } else { 1 });
    let Some((function, arguments)) = rest.split_first() else {
        return Err(Failure::usage("the name of the function is missing")
            .help("emet worker invoke-and-await COMPONENT/WORKER FUNCTION [ARGUMENT]…"));
    };
    let (component_id, worker_name) = context.target(worker).await?;
    let component = context.component_of(component_id, worker_name.as_deref()).await?;
    let function = functions::find(function, &component.metadata.exports)?;
    let parameters = match &args.json {
        Some(_) if !arguments.is_empty() => {
            return Err(Failure::usage("give the arguments as WAVE or with --json, not both"));
        }
        Some(text) => function.json_arguments(text)?,
        None => function.wave_arguments(arguments)?,
    };
    let idempotency_key = args.idempotency_key.map(IdempotencyKey);
    let call = Call { function: function.name, parameters, idempotency_key };
    Ok(Prepared { target: Target { component_id, worker_name }, call })
}

pub(super) async fn invoke_and_await(context: &Context, args: Args) -> Result<(), Failure> {
    let Prepared { target, call } = prepare(context, args).await?;
    let result = context.client.invoke_and_await(&target, &call).await?;
    if result.value == emet_values::Value::Tuple(Vec::new()) {
        return context.out.done(&result, "done");
    }
    context.out.show(&result, || results(&result))
}

pub(super) async fn invoke(context: &Context, args: Args) -> Result<(), Failure> {
    let mut prepared = prepare(context, args).await?;
    // With a key of its own the invocation can be followed and cancelled.
    let key = prepared.call.idempotency_key.get_or_insert_with(IdempotencyKey::random).clone();
    context.client.invoke(&prepared.target, &prepared.call).await?;
    context.out.done(&json!({"idempotencyKey": key}), &format!("accepted, idempotency key {key}"))
}
