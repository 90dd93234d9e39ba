//! Functions and their arguments as they are typed on the command line.

use crate::failure::Failure;
use crate::suggest;
use emet_api::InvokeParameters;
use emet_values::{
    Export, FunctionName, FunctionType, ResolvedFunction, Type, TypedValue, Value, json, wave,
};

/// A function that was found, and the name that the server knows it by.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) parameters: Vec<(String, Type)>,
}

/// Finds a function by its full name, or by its name alone where only one export has it.
pub(crate) fn find(text: &str, exports: &[Export]) -> Result<Function, Failure> {
    if let Some(function) = resolve(text, exports) {
        return Ok(function);
    }
    let interfaces = exports.iter().filter_map(|export| match export {
        Export::Instance { name, .. } => Some(name),
        Export::Function(_) => None,
    });
    let mut found: Vec<Function> =
        interfaces.filter_map(|name| resolve(&format!("{name}.{{{text}}}"), exports)).collect();
    found.dedup_by(|a, b| a.name == b.name);
    match (found.pop(), found.as_slice()) {
        (Some(only), []) => Ok(only),
        (Some(last), others) => {
            let names = others.iter().map(|f| f.name.as_str()).chain([last.name.as_str()]);
            Err(Failure::new(format!("several interfaces have a function {text}"))
                .help(format!("name one: {}", names.collect::<Vec<_>>().join(" or "))))
        }
        (None, _) => Err(unknown(text, exports)),
    }
}

fn resolve(text: &str, exports: &[Export]) -> Option<Function> {
    let name = FunctionName::parse(text).ok()?;
    let ResolvedFunction { typ, .. } = name.resolve(exports).ok()?;
    let mut parameters = typ.params;
    // The arguments of an indexed resource name it; its handle is not passed.
    let has_self = typ.name.starts_with("[method]") || typ.name.starts_with("[drop]");
    if name.function.index().is_some() && has_self && !parameters.is_empty() {
        parameters.remove(0);
    }
    Some(Function { name: name.to_string(), parameters })
}

fn unknown(text: &str, exports: &[Export]) -> Failure {
    let failure = Failure::new(format!("the component exports no function {text}"));
    let (short, full): (Vec<String>, Vec<String>) = names(exports).into_iter().unzip();
    let all = if text.contains(".{") { full } else { short };
    match suggest::hint(text, all.iter().map(String::as_str)) {
        Some(hint) => failure.help(hint),
        None => failure.help("it exports no functions at all"),
    }
}

/// Short and full names of all functions.
pub(crate) fn names(exports: &[Export]) -> Vec<(String, String)> {
    signatures(exports).into_iter().map(|(short, full, _)| (short, full)).collect()
}

/// Short name, full name and type of all functions.
pub(crate) fn signatures(exports: &[Export]) -> Vec<(String, String, &FunctionType)> {
    let of_interface = |interface: &str, function| {
        let short = readable(function);
        let full = format!("{interface}.{{{short}}}");
        (short, full, function)
    };
    let each = exports.iter().flat_map(|export| match export {
        Export::Function(function) => {
            vec![(function.name.clone(), function.name.clone(), function)]
        }
        Export::Instance { name, functions } => {
            functions.iter().map(|function| of_interface(name, function)).collect()
        }
    });
    each.collect()
}

/// `[method]counter.inc` as people write it.
fn readable(function: &FunctionType) -> String {
    let name = &function.name;
    if let Some(resource) = name.strip_prefix("[constructor]") {
        return format!("{resource}.new");
    }
    if let Some(resource) = name.strip_prefix("[drop]") {
        return format!("{resource}.drop");
    }
    let plain = name.strip_prefix("[method]").or_else(|| name.strip_prefix("[static]"));
    plain.unwrap_or(name).to_owned()
}

/// `(name: type, …) -> type`
pub(crate) fn signature(function: &FunctionType) -> String {
    let parameters = function.params.iter().map(|(name, typ)| format!("{name}: {typ}"));
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let results: Vec<String> = function.results.iter().map(|(_, typ)| typ.to_string()).collect();
    match results.as_slice() {
        [] => format!("({parameters})"),
        results => format!("({parameters}) -> {}", results.join(", ")),
    }
}

impl Function {
    fn wrong_count(&self, given: usize) -> Failure {
        let wanted = self.parameters.iter().map(|(name, typ)| format!("{name}: {typ}"));
        let wanted = wanted.collect::<Vec<_>>().join(", ");
        let count = self.parameters.len();
        let expected = if count == 1 { "1 argument".into() } else { format!("{count} arguments") };
        let failure = Failure::usage(format!("{} takes {expected}, got {given}", self.name));
        if count == 0 { failure } else { failure.help(format!("they are ({wanted})")) }
    }

    /// Arguments given as WAVE texts; a string may be given without its quotes.
    pub(crate) fn wave_arguments(&self, texts: &[String]) -> Result<InvokeParameters, Failure> {
        if texts.len() != self.parameters.len() {
            return Err(self.wrong_count(texts.len()));
        }
        let each = self.parameters.iter().zip(texts);
        let values = each.map(|((name, typ), text)| {
            let value = parse(typ, text).map_err(|reason| {
                Failure::usage(format!("argument {name}: {reason}"))
                    .help(format!("it is a {typ}, written in WAVE; or give all with --json '[…]'"))
            })?;
            Ok(TypedValue::new(typ.clone(), value))
        });
        values.collect::<Result<_, Failure>>().map(InvokeParameters::Typed)
    }

    /// Arguments given as one JSON array.
    pub(crate) fn json_arguments(&self, text: &str) -> Result<InvokeParameters, Failure> {
        let values: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|error| {
            Failure::usage(format!("--json is not a JSON array: {error}"))
                .help("one element for each argument, such as --json '[1, \"two\"]'")
        })?;
        if values.len() != self.parameters.len() {
            return Err(self.wrong_count(values.len()));
        }
        let mut errors = Vec::new();
        let mut typed = Vec::new();
        for ((name, typ), value) in self.parameters.iter().zip(&values) {
            match json::decode(typ, value) {
                Ok(value) => typed.push(TypedValue::new(typ.clone(), value)),
                Err(all) => errors.extend(all.iter().map(|e| format!("argument {name}: {e}"))),
            }
        }
        if errors.is_empty() {
            return Ok(InvokeParameters::Typed(typed));
        }
        Err(Failure::usage(errors.join("\n")))
    }
}

fn parse(typ: &Type, text: &str) -> Result<Value, String> {
    if *typ == Type::String && !text.trim_start().starts_with('"') {
        return Ok(Value::String(text.to_owned()));
    }
    wave::parse(typ, text).map_err(|error| format!("{text}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, params: Vec<(&str, Type)>) -> FunctionType {
        let params = params.into_iter().map(|(name, typ)| (name.to_owned(), typ)).collect();
        FunctionType { name: name.into(), params, results: vec![(None, Type::U64)] }
    }

    fn exports() -> Vec<Export> {
        let handle = Type::Handle { resource_id: 0, mode: emet_values::ResourceMode::Borrowed };
        let functions = vec![
            function("add-item", vec![("sku", Type::String), ("qty", Type::U32)]),
            function("[constructor]counter", vec![("name", Type::String)]),
            function("[method]counter.inc", vec![("self", handle), ("by", Type::U64)]),
        ];
        let other = vec![function("size", vec![])];
        vec![
            Export::Instance { name: "shop:cart/api".into(), functions },
            Export::Instance { name: "shop:cart/a".into(), functions: other.clone() },
            Export::Instance { name: "shop:cart/b".into(), functions: other },
            Export::Function(function("run", vec![])),
        ]
    }

    #[test]
    fn short_names_stand_for_the_only_function_of_that_name() {
        for (text, name) in [
            ("add-item", "shop:cart/api.{add-item}"),
            ("shop:cart/api.{add-item}", "shop:cart/api.{add-item}"),
            ("counter.inc", "shop:cart/api.{counter.inc}"),
            ("run", "run"),
        ] {
            assert_eq!(find(text, &exports()).unwrap().name, name);
        }
    }

    #[test]
    fn indexed_methods_take_no_handle() {
        let found = find("counter(\"a\").inc", &exports()).unwrap();
        assert_eq!(found.parameters, [("by".to_owned(), Type::U64)]);
    }

    #[test]
    fn ambiguous_and_misspelt_names_are_refused_with_a_hint() {
        let ambiguous = find("size", &exports()).unwrap_err();
        assert!(format!("{ambiguous:?}").contains("shop:cart/a.{size} or shop:cart/b.{size}"));
        let misspelt = find("ad-item", &exports()).unwrap_err();
        assert!(format!("{misspelt:?}").contains("did you mean add-item?"));
    }

    #[test]
    fn arguments_are_wave_and_strings_need_no_quotes() {
        let add = find("add-item", &exports()).unwrap();
        let expected = InvokeParameters::Typed(vec![
            TypedValue::new(Type::String, Value::String("A 1".into())),
            TypedValue::new(Type::U32, Value::U32(2)),
        ]);
        for sku in ["A 1", "\"A 1\""] {
            assert_eq!(add.wave_arguments(&[sku.into(), "2".into()]).unwrap(), expected);
        }
        assert_eq!(add.json_arguments("[\"A 1\", 2]").unwrap(), expected);
        assert!(add.wave_arguments(&["A".into()]).is_err());
        assert!(add.wave_arguments(&["A".into(), "two".into()]).is_err());
        let both = add.json_arguments("[1, -2]").unwrap_err();
        assert!(both.what().contains("argument sku") && both.what().contains("argument qty"));
    }
}
