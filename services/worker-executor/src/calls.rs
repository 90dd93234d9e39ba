//! Checks of a call before anything of it is recorded.

use emet_api::InvokeParameters;
use emet_model::{Component, WorkerError};
use emet_values::{
    FunctionName, FunctionRef, ResolvedFunction, Type, Value, check, check_type, json,
};

/// Finds the function and types the parameters; the parameters come back as one tuple.
pub(crate) fn check_call(
    component: &Component,
    function: &str,
    parameters: InvokeParameters,
) -> Result<Value, WorkerError> {
    let resolved = resolve(component, function)?;
    let types: Vec<&Type> = parameter_types(function, &resolved);
    let given = match &parameters {
        InvokeParameters::Typed(values) => values.len(),
        InvokeParameters::Json(values) => values.len(),
        InvokeParameters::Values(values) => values.len(),
    };
    if given != types.len() {
        return Err(WorkerError::ParamTypeMismatch {
            details: format!("expected {}, got {given} parameters", types.len()),
        });
    }
    let checked: Vec<Result<Value, Vec<String>>> = match parameters {
        InvokeParameters::Typed(values) => {
            types.iter().zip(values).map(|(ty, v)| typed(ty, v)).collect()
        }
        InvokeParameters::Json(values) => {
            types.iter().zip(values).map(|(ty, v)| json::decode(ty, &v)).collect()
        }
        InvokeParameters::Values(values) => {
            types.iter().zip(values).map(|(ty, v)| checked(ty, v)).collect()
        }
    };
    let mut values = Vec::with_capacity(checked.len());
    let mut errors = Vec::new();
    for (index, result) in checked.into_iter().enumerate() {
        match result {
            Ok(value) => values.push(value),
            Err(mismatches) => {
                errors.extend(mismatches.into_iter().map(|m| format!("parameter {index}: {m}")))
            }
        }
    }
    if errors.is_empty() {
        Ok(Value::Tuple(values))
    } else {
        Err(WorkerError::ParamTypeMismatch { details: errors.join("; ") })
    }
}

fn typed(expected: &Type, given: emet_values::TypedValue) -> Result<Value, Vec<String>> {
    let mismatches = check_type(expected, &given.typ);
    if mismatches.is_empty() { checked(expected, given.value) } else { Err(mismatches) }
}

fn checked(expected: &Type, value: Value) -> Result<Value, Vec<String>> {
    let mismatches = check(expected, &value);
    if mismatches.is_empty() { Ok(value) } else { Err(mismatches) }
}

/// Finds an exported function.
pub(crate) fn resolve(
    component: &Component,
    function: &str,
) -> Result<ResolvedFunction, WorkerError> {
    let name = FunctionName::parse(function).map_err(WorkerError::invalid)?;
    name.resolve(&component.metadata.exports).map_err(WorkerError::invalid)
}

/// The types of the parameters a caller gives: the handle of an indexed resource is not among them.
fn parameter_types<'a>(function: &str, resolved: &'a ResolvedFunction) -> Vec<&'a Type> {
    let name = FunctionName::parse(function);
    let types = resolved.typ.params.iter().map(|(_, ty)| ty);
    match name.map(|n| n.function) {
        Ok(FunctionRef::IndexedConstructor { .. } | FunctionRef::IndexedDrop { .. }) => Vec::new(),
        Ok(FunctionRef::IndexedMethod { .. }) if resolved.name.starts_with("[method]") => {
            types.skip(1).collect()
        }
        _ => types.collect(),
    }
}
