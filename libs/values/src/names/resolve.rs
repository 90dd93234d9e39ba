//! Looking names up among the exports of a component.

use super::version::Versioned;
use super::{FunctionName, FunctionRef};
use crate::{Export, FunctionType, ResourceMode, Type, Value, json, wave};

/// An exported function that a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedFunction {
    /// The export name of its interface; `None` for a function of the world.
    pub interface: Option<String>,
    /// Its core name, such as `[method]counter.inc`.
    pub name: String,
    /// Its signature; for a drop that the metadata does not list, one made up from the resource.
    pub typ: FunctionType,
}

impl FunctionName {
    /// Finds the function among the exports of a component.
    ///
    /// The interface is taken by its exact name if there is one; otherwise a version may be left
    /// out where only one is exported, and a semver compatible one may stand in. A method that
    /// does not exist may be a static function.
    pub fn resolve(&self, exports: &[Export]) -> Result<ResolvedFunction, String> {
        let Some(interface) = &self.interface else {
            let functions: Vec<&FunctionType> = exports.iter().filter_map(world_function).collect();
            return find(&self.function, &functions, None)
                .ok_or_else(|| format!("could not load function {}", tried(&self.function)));
        };
        let (name, functions) = find_interface(interface, exports)?;
        find(&self.function, &functions, Some(name)).ok_or_else(|| {
            let function = tried(&self.function);
            format!("could not load function {function} for interface {interface}")
        })
    }
}

fn world_function(export: &Export) -> Option<&FunctionType> {
    match export {
        Export::Function(function) => Some(function),
        Export::Instance { .. } => None,
    }
}

type Interface<'a> = (&'a str, Vec<&'a FunctionType>);

fn find_interface<'a>(wanted: &str, exports: &'a [Export]) -> Result<Interface<'a>, String> {
    let interfaces = exports.iter().filter_map(|export| match export {
        Export::Instance { name, functions } => Some((name.as_str(), functions)),
        Export::Function(_) => None,
    });
    let name = choose_interface(wanted, interfaces.clone().map(|(name, _)| name))?;
    // A component may list one interface in several parts.
    let functions = interfaces.filter(|(other, _)| *other == name).flat_map(|(_, list)| list);
    Ok((name, functions.collect()))
}

fn choose_interface<'a>(
    wanted: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<&'a str, String> {
    let names: Vec<&str> = names.collect();
    if let Some(exact) = names.iter().find(|name| **name == wanted) {
        return Ok(exact);
    }
    let versioned = Versioned::new(wanted);
    let same_base: Vec<&str> =
        names.into_iter().filter(|name| Versioned::new(name).base == versioned.base).collect();
    let error = || format!("could not load exports for interface {wanted}");
    match versioned.version {
        Some(version) => same_base
            .into_iter()
            .filter_map(|name| Some((Versioned::new(name).version?, name)))
            .filter(|(candidate, _)| candidate.compatible(&version))
            .max()
            .map(|(_, name)| name)
            .ok_or_else(error),
        None if wanted.contains('@') => Err(error()),
        None => match same_base.as_slice() {
            [] => Err(error()),
            [only] => Ok(only),
            several => Err(format!("{}: name one of {}", error(), several.join(", "))),
        },
    }
}

/// The core names that were looked for.
fn tried(function: &FunctionRef) -> String {
    match function.static_alternative() {
        Some(alternative) => format!("{} or {}", function.core_name(), alternative.core_name()),
        None => function.core_name(),
    }
}

fn find(
    function: &FunctionRef,
    functions: &[&FunctionType],
    interface: Option<&str>,
) -> Option<ResolvedFunction> {
    let named = |function: &FunctionRef| {
        let name = function.core_name();
        functions.iter().find(|typ| typ.name == name).map(|typ| (*typ).clone())
    };
    let alternative = || function.static_alternative().as_ref().and_then(named);
    let typ = named(function).or_else(alternative).or_else(|| drop_type(function, functions))?;
    Some(ResolvedFunction { interface: interface.map(str::to_owned), name: typ.name.clone(), typ })
}

/// Drops are part of every resource, whether or not the metadata lists them.
fn drop_type(function: &FunctionRef, functions: &[&FunctionType]) -> Option<FunctionType> {
    let (FunctionRef::Drop(res) | FunctionRef::IndexedDrop { res, .. }) = function else {
        return None;
    };
    let resource_id = functions.iter().find_map(|typ| resource_id(typ, res))?;
    let handle = Type::Handle { resource_id, mode: ResourceMode::Owned };
    Some(FunctionType {
        name: function.core_name(),
        params: vec![("self".to_owned(), handle)],
        results: Vec::new(),
    })
}

/// Which resource this is, as told by its constructor or one of its methods.
fn resource_id(function: &FunctionType, res: &str) -> Option<u64> {
    let of_type = |typ: &Type| match typ {
        Type::Handle { resource_id, .. } => Some(*resource_id),
        _ => None,
    };
    if function.name.strip_prefix("[constructor]") == Some(res) {
        let (_, result) = function.results.first()?;
        // A constructor may also return a result of the handle.
        return match result {
            Type::Result { ok: Some(ok), .. } => of_type(ok),
            other => of_type(other),
        };
    }
    let (owner, _) = function.name.strip_prefix("[method]")?.split_once('.')?;
    if owner == res { of_type(&function.params.first()?.1) } else { None }
}

/// Types the raw arguments of an indexed name by the parameters of the constructor.
///
/// Each argument is WAVE text; where that fails, JSON is tried. Equal arguments give equal
/// values, however they are spelled, so these values (and not the texts) make the index key.
pub fn indexed_params(
    params: &[String],
    constructor: &FunctionType,
) -> Result<Vec<Value>, Vec<String>> {
    let expected = &constructor.params;
    if params.len() != expected.len() {
        let (n, m) = (expected.len(), params.len());
        return Err(vec![format!("expected {n}, got {m} parameters")]);
    }
    let mut values = Vec::with_capacity(params.len());
    let mut errors = Vec::new();
    for (text, (name, typ)) in params.iter().zip(expected) {
        match indexed_param(text, typ) {
            Ok(value) => values.push(value),
            Err(error) => errors.push(format!("parameter {name}: {error}")),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}

fn indexed_param(text: &str, typ: &Type) -> Result<Value, String> {
    if typ.contains_handle() {
        return Err("a resource whose constructor takes handles cannot be indexed".to_owned());
    }
    let wave_error = match wave::parse(typ, text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    match serde_json::from_str(text).map(|json| json::decode(typ, &json)) {
        Ok(Ok(value)) => Ok(value),
        // It is JSON by its looks, so that is what the author should hear about.
        Ok(Err(errors)) if text.starts_with(['{', '[']) => Err(errors.join("; ")),
        _ => Err(wave_error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{FunctionName, indexed_params};
    use crate::{Export, FunctionType, ResourceMode, Type, Value};

    fn function(name: &str, params: &[(&str, Type)], result: Option<Type>) -> FunctionType {
        FunctionType {
            name: name.into(),
            params: params.iter().map(|(name, typ)| ((*name).into(), typ.clone())).collect(),
            results: result.map(|typ| (None, typ)).into_iter().collect(),
        }
    }

    fn handle(mode: ResourceMode) -> Type {
        Type::Handle { resource_id: 3, mode }
    }

    fn exports() -> Vec<Export> {
        let own = || Some(handle(ResourceMode::Owned));
        let functions = vec![
            function("f", &[], None),
            function("[constructor]counter", &[("name", Type::String)], own()),
            function("[method]counter.inc", &[("self", handle(ResourceMode::Borrowed))], None),
            function("[static]counter.merge", &[], None),
        ];
        let instance =
            |name: &str| Export::Instance { name: name.into(), functions: functions.clone() };
        vec![
            Export::Function(function("run", &[], None)),
            instance("a:b/api@1.2.0"),
            instance("a:b/two@1.0.0"),
            instance("a:b/two@1.3.0"),
            instance("a:b/two@2.0.0"),
            instance("plain"),
        ]
    }

    fn resolve(text: &str) -> Result<(Option<String>, String), String> {
        let resolved = FunctionName::parse(text)?.resolve(&exports())?;
        assert_eq!(resolved.name, resolved.typ.name);
        Ok((resolved.interface, resolved.name))
    }

    fn found(interface: &str, name: &str) -> Result<(Option<String>, String), String> {
        Ok((Some(interface.into()), name.into()))
    }

    #[test]
    fn functions_are_found_by_their_core_names() {
        assert_eq!(resolve("run"), Ok((None, "run".into())));
        assert_eq!(resolve("a:b.{run}"), Ok((None, "run".into())));
        assert_eq!(resolve("plain.{f}"), found("plain", "f"));
        assert_eq!(resolve("plain.{counter.new}"), found("plain", "[constructor]counter"));
        assert_eq!(resolve("plain.{counter(1).inc}"), found("plain", "[method]counter.inc"));
        assert_eq!(resolve("plain.{counter.merge}"), found("plain", "[static]counter.merge"));
        assert_eq!(resolve("plain.{counter(1).merge}"), found("plain", "[static]counter.merge"));
    }

    #[test]
    fn drops_need_not_be_listed() {
        let resolved =
            FunctionName::parse("plain.{counter.drop}").unwrap().resolve(&exports()).unwrap();
        assert_eq!(resolved.name, "[drop]counter");
        assert_eq!(resolved.typ.params, [("self".into(), handle(ResourceMode::Owned))]);
        assert!(resolve("plain.{other.drop}").is_err());
    }

    #[test]
    fn versions_are_matched() {
        assert_eq!(resolve("a:b/api@1.2.0.{f}"), found("a:b/api@1.2.0", "f"));
        assert_eq!(resolve("a:b/api.{f}"), found("a:b/api@1.2.0", "f"));
        assert_eq!(resolve("a:b/api@1.0.0.{f}"), found("a:b/api@1.2.0", "f"));
        assert_eq!(resolve("a:b/two@1.0.0.{f}"), found("a:b/two@1.0.0", "f"));
        assert_eq!(resolve("a:b/two@1.1.0.{f}"), found("a:b/two@1.3.0", "f"));
        assert!(resolve("a:b/api@2.0.0.{f}").is_err());
        let error = resolve("a:b/two.{f}").unwrap_err();
        assert!(error.starts_with("could not load exports for interface a:b/two: name one of"));
    }

    #[test]
    fn errors_are_those_clients_know() {
        for (text, error) in [
            ("go", "could not load function go"),
            ("a:b/c.{f}", "could not load exports for interface a:b/c"),
            ("plain.{g}", "could not load function g for interface plain"),
            (
                "plain.{counter.go}",
                "could not load function [method]counter.go or [static]counter.go \
                 for interface plain",
            ),
        ] {
            assert_eq!(resolve(text).unwrap_err(), error);
        }
    }

    #[test]
    fn index_arguments_are_typed() {
        let record = Type::Record(vec![("f".into(), Type::option(Type::U8))]);
        let typ = function("[constructor]r", &[("a", Type::String), ("b", record)], None);
        let params = |a: &str, b: &str| indexed_params(&[a.into(), b.into()], &typ);
        let expected =
            vec![Value::String("x".into()), Value::Record(vec![Value::some(Value::U8(1))])];
        assert_eq!(params("\"x\"", "{f: some(1)}"), Ok(expected.clone()));
        assert_eq!(params("\"x\"", "{ f: 1 }"), Ok(expected.clone()));
        assert_eq!(params("\"x\"", "{\"f\": 1}"), Ok(expected));
        assert_eq!(
            params("x", "{\"f\": true}"),
            Err(vec![
                "parameter a: at offset 0: expected string".into(),
                "parameter b: in $.f expected u8, got bool true".into()
            ])
        );
        let short = indexed_params(&[], &typ).unwrap_err();
        assert_eq!(short, ["expected 2, got 0 parameters"]);
    }
}
