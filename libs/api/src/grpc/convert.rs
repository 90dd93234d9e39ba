//! Between the messages of `emet.workers.v1` and the types of the trait.

use super::proto::workers as wire;
use super::status::malformed;
use crate::{Caller, FileContent, Invocation, InvokeParameters, Target};
use emet_model::{ComponentId, IdempotencyKey, WorkerError, WorkerId};
use emet_values::{TypedValue, Value, binary};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

/// Conversions of what arrives; it may be malformed.
pub(super) type Parsed<T> = Result<T, Status>;

pub(super) fn json<T: Serialize>(value: &T) -> Parsed<bytes::Bytes> {
    serde_json::to_vec(value).map(Into::into).map_err(|e| Status::internal(e.to_string()))
}

pub(super) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Parsed<T> {
    serde_json::from_slice(bytes).map_err(malformed)
}

/// A missing message field.
pub(super) fn required<T>(field: Option<T>, name: &str) -> Parsed<T> {
    field.ok_or_else(|| malformed(format!("{name} is missing")))
}

pub(super) fn component_id(text: &str) -> Parsed<ComponentId> {
    text.parse().map_err(malformed)
}

pub(super) fn worker_to_wire(worker: &WorkerId) -> wire::WorkerId {
    wire::WorkerId {
        component_id: worker.component_id.to_string(),
        name: worker.worker_name.clone(),
    }
}

pub(super) fn worker(wire: Option<wire::WorkerId>) -> Parsed<WorkerId> {
    let wire = required(wire, "worker")?;
    Ok(WorkerId::new(component_id(&wire.component_id)?, wire.name))
}

/// A failure as part of a reply. It has a JSON form: the REST API shows it.
pub(super) fn failure(error: &WorkerError) -> wire::Failure {
    wire::Failure { error_json: serde_json::to_vec(error).unwrap_or_default().into() }
}

pub(super) fn parse_failure(failure: &wire::Failure) -> WorkerError {
    serde_json::from_slice(&failure.error_json).unwrap_or_else(|e| {
        WorkerError::unknown(format!("the executor sent an error that cannot be read: {e}"))
    })
}

pub(super) fn pairs<'a>(
    pairs: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Vec<wire::Pair> {
    pairs
        .into_iter()
        .map(|(name, value)| wire::Pair { name: name.clone(), value: value.clone() })
        .collect()
}

pub(super) fn parse_pairs(pairs: Vec<wire::Pair>) -> Vec<(String, String)> {
    pairs.into_iter().map(|pair| (pair.name, pair.value)).collect()
}

pub(super) fn typed_value(typed: &TypedValue) -> wire::TypedValue {
    wire::TypedValue {
        r#type: binary::encode_type(&typed.typ).into(),
        value: binary::encode(&typed.value).into(),
    }
}

pub(super) fn parse_typed_value(wire: &wire::TypedValue) -> Parsed<TypedValue> {
    let typ = binary::decode_type(&wire.r#type).map_err(malformed)?;
    let value = binary::decode(&wire.value).map_err(malformed)?;
    Ok(TypedValue { typ, value })
}

fn parameters(parameters: &InvokeParameters) -> Parsed<wire::Parameters> {
    use wire::parameters::Form;
    let form = match parameters {
        InvokeParameters::Typed(values) => {
            Form::Typed(wire::TypedValues { values: values.iter().map(typed_value).collect() })
        }
        InvokeParameters::Json(values) => Form::Json(json(values)?),
        InvokeParameters::Values(values) => {
            Form::Values(binary::encode(&Value::Tuple(values.clone())).into())
        }
    };
    Ok(wire::Parameters { form: Some(form) })
}

fn parse_parameters(wire: wire::Parameters) -> Parsed<InvokeParameters> {
    use wire::parameters::Form;
    Ok(match required(wire.form, "form of the parameters")? {
        Form::Typed(typed) => InvokeParameters::Typed(
            typed.values.iter().map(parse_typed_value).collect::<Parsed<_>>()?,
        ),
        Form::Json(bytes) => InvokeParameters::Json(parse_json(&bytes)?),
        Form::Values(bytes) => match binary::decode(&bytes).map_err(malformed)? {
            Value::Tuple(values) => InvokeParameters::Values(values),
            _ => return Err(malformed("the parameters are no tuple")),
        },
    })
}

/// An invocation of a named worker.
pub(super) fn invocation(target: &Target, invocation: &Invocation) -> Parsed<wire::InvokeRequest> {
    let name = target.worker_name.as_ref();
    let name = name.ok_or_else(|| {
        Status::internal("the worker's name has to be chosen before the call is sent")
    })?;
    let given = invocation.idempotency_key.clone();
    let key_is_new = invocation.key_is_new || given.is_none();
    let key = given.unwrap_or_else(IdempotencyKey::random);
    let caller = invocation.caller.as_ref().map(|caller| wire::Caller {
        worker: Some(worker_to_wire(&caller.worker_id)),
        args: caller.args.clone(),
        env: pairs(caller.env.iter().map(|(n, v)| (n, v))),
    });
    Ok(wire::InvokeRequest {
        worker: Some(wire::WorkerId {
            component_id: target.component_id.to_string(),
            name: name.clone(),
        }),
        function: invocation.function.clone(),
        parameters: Some(parameters(&invocation.parameters)?),
        idempotency_key: key.0,
        key_is_new,
        trace: pairs(invocation.trace.iter().map(|(n, v)| (n, v))),
        caller,
    })
}

pub(super) fn parse_invocation(wire: wire::InvokeRequest) -> Parsed<(Target, Invocation)> {
    let worker = worker(wire.worker)?;
    let caller = match wire.caller {
        None => None,
        Some(caller) => Some(Caller {
            worker_id: self::worker(caller.worker)?,
            args: caller.args,
            env: parse_pairs(caller.env),
        }),
    };
    let invocation = Invocation {
        function: wire.function,
        parameters: parse_parameters(required(wire.parameters, "parameters")?)?,
        idempotency_key: Some(IdempotencyKey(wire.idempotency_key)),
        key_is_new: wire.key_is_new,
        trace: parse_pairs(wire.trace),
        caller,
    };
    Ok((
        Target { component_id: worker.component_id, worker_name: Some(worker.worker_name) },
        invocation,
    ))
}

pub(super) fn found<T>(content: &FileContent<T>) -> wire::Found {
    match content {
        FileContent::Found(_) => wire::Found::Yes,
        FileContent::NotFound => wire::Found::No,
        FileContent::WrongKind => wire::Found::WrongKind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emet_values::Type;
    use uuid::Uuid;

    #[test]
    fn invocations_round_trip() {
        let target = Target {
            component_id: ComponentId(Uuid::from_u128(1)),
            worker_name: Some("w:/ä".into()),
        };
        let typed = TypedValue { typ: Type::U32, value: Value::U32(7) };
        for parameters in [
            InvokeParameters::Typed(vec![typed]),
            InvokeParameters::Json(vec![serde_json::json!({"a": [1, null]})]),
            InvokeParameters::Values(vec![Value::String("x".into()), Value::Bool(true)]),
            InvokeParameters::Values(Vec::new()),
        ] {
            let invocation = Invocation {
                function: "a:b/c.{d}".into(),
                parameters,
                idempotency_key: Some(IdempotencyKey("k".into())),
                key_is_new: true,
                trace: vec![("traceparent".into(), "00".into())],
                caller: Some(Caller {
                    worker_id: WorkerId::new(ComponentId(Uuid::from_u128(2)), "caller"),
                    args: vec!["a".into()],
                    env: vec![("A".into(), "B".into())],
                }),
            };
            let wire = super::invocation(&target, &invocation).unwrap();
            assert_eq!(parse_invocation(wire).unwrap(), (target.clone(), invocation));
        }
    }

    #[test]
    fn failures_round_trip() {
        for error in [
            WorkerError::ShardingNotReady,
            WorkerError::runtime("trap"),
            WorkerError::Unavailable { details: "x".into() },
            WorkerError::Interrupted { recover_immediately: true },
        ] {
            assert_eq!(parse_failure(&failure(&error)), error);
        }
    }
}
