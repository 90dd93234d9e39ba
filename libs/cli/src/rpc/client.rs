//! The client interface of a component, as WIT: what another component imports to call it, and the
//! host links (`dynamicLinking`). Types are written out again, since only their shape matters.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType,
    ComponentFuncTypeId, ComponentInstanceTypeId, ComponentValType, ResourceId,
};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{PrimitiveValType, Validator, WasmFeatures};

/// The client interface of a component.
pub(super) struct Client {
    /// The package, such as `shop:cart-client`.
    pub(super) package: String,
    /// The full name of the interface.
    pub(super) interface: String,
    /// Its text.
    pub(super) text: String,
    /// Resource to exported interface, for `dynamicLinking`.
    pub(super) targets: BTreeMap<String, String>,
}

/// Writes the client interface of a component with these exports; the reason why there is none.
pub(super) fn client(
    wasm: &[u8],
    exports: &[String],
    component_name: &str,
) -> Result<Client, String> {
    let features = WasmFeatures::default() | WasmFeatures::COMPONENT_MODEL;
    let types: Types =
        Validator::new_with_features(features).validate_all(wasm).map_err(|e| e.to_string())?;
    let types = types.as_ref();
    let mut writer = Writer {
        types,
        names: HashMap::new(),
        resources: HashMap::new(),
        written: BTreeMap::new(),
        futures: BTreeMap::new(),
        body: String::new(),
    };
    let mut targets = BTreeMap::new();
    let mut world = Vec::new();
    let mut package = None;
    for name in exports {
        match types.component_item_for_export(name).map(|item| item.ty) {
            Some(ComponentEntityType::Func(id)) => world.push((name.as_str(), id)),
            // Snapshots and HTTP handlers are called by the host.
            Some(ComponentEntityType::Instance(id))
                if !["wasi:", "golem:"].iter().any(|ours| name.starts_with(ours)) =>
            {
                package =
                    package.or_else(|| name.split_once('/').map(|(package, _)| package.to_owned()));
                writer.interface(name, id, &mut targets)?;
            }
            _ => {}
        }
    }
    if world.is_empty() && targets.is_empty() {
        return Err("it exports nothing that can be called".into());
    }
    let package = package.unwrap_or_else(|| {
        if component_name.contains(':') {
            component_name.to_owned()
        } else {
            format!("component:{component_name}")
        }
    });
    let name = package.split_once(':').map_or(package.as_str(), |(_, name)| name).to_owned();
    if !world.is_empty() {
        writer.stub(&format!("{name}-world"), &[], &world)?;
    }
    let package = format!("{package}-client");
    Ok(Client {
        interface: format!("{package}/{name}-client"),
        text: writer.finish(&package, &name),
        package,
        targets,
    })
}

struct Writer<'a> {
    types: TypesRef<'a>,
    /// Names of the types that have one.
    names: HashMap<ComponentDefinedTypeId, String>,
    /// Names of the resources.
    resources: HashMap<ResourceId, String>,
    /// Definitions of named types.
    written: BTreeMap<String, String>,
    /// Resources of results under way: the type that `get` returns.
    futures: BTreeMap<String, String>,
    body: String,
}

/// A function and its type.
type Function<'f> = (&'f str, ComponentFuncTypeId);

impl Writer<'_> {
    fn interface(
        &mut self,
        full_name: &str,
        id: ComponentInstanceTypeId,
        targets: &mut BTreeMap<String, String>,
    ) -> Result<(), String> {
        let instance = self.types.get(id).ok_or("an exported interface has no type")?;
        let mut functions: Vec<(String, ComponentFuncTypeId)> = Vec::new();
        let mut resources = BTreeSet::new();
        for (name, item) in &instance.exports {
            match item.ty {
                ComponentEntityType::Func(id) => functions.push((name.clone(), id)),
                ComponentEntityType::Type { created: ComponentAnyTypeId::Defined(id), .. } => {
                    drop(self.names.insert(id, name.clone()))
                }
                ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(id), .. } => {
                    self.resources.insert(id.resource(), name.clone());
                    resources.insert(name.clone());
                }
                _ => {}
            }
        }
        let own = full_name
            .rsplit('/')
            .next()
            .map_or(full_name, |last| last.split('@').next().unwrap_or(last));
        let mut add = |resource: &str| match targets
            .insert(resource.to_owned(), full_name.to_owned())
        {
            None => Ok(()),
            Some(other) => Err(format!(
                "both {other} and {full_name} have to be called through a resource named {resource}"
            )),
        };
        let plain: Vec<Function<'_>> = functions
            .iter()
            .filter(|(n, _)| !n.starts_with('['))
            .map(|(n, id)| (n.as_str(), *id))
            .collect();
        if !plain.is_empty() {
            add(own)?;
            self.stub(own, &[], &plain)?;
        }
        for resource in resources {
            add(&resource)?;
            let constructor =
                functions.iter().find(|(n, _)| *n == format!("[constructor]{resource}"));
            let given =
                constructor.map(|(_, id)| self.params(*id, 0)).transpose()?.unwrap_or_default();
            let prefix = format!("[method]{resource}.");
            let methods: Vec<Function<'_>> = functions
                .iter()
                .filter_map(|(n, id)| Some((n.strip_prefix(&prefix)?, *id)))
                .collect();
            self.stub(&resource, &given, &methods)?;
        }
        Ok(())
    }

    /// A resource through which functions are called. Methods do not name their resource again.
    fn stub(
        &mut self,
        name: &str,
        constructor: &[String],
        functions: &[Function<'_>],
    ) -> Result<(), String> {
        let location = std::iter::once("location: uri")
            .chain(constructor.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(", ");
        let mut text =
            format!("\n    resource {} {{\n        constructor({location});\n", escape(name));
        for (function, id) in functions {
            let is_method = self
                .types
                .get(*id)
                .and_then(|f| f.params.first())
                .is_some_and(|(n, _)| n.as_str() == "self");
            let params = self.params(*id, usize::from(is_method))?;
            let result =
                self.types.get(*id).and_then(|f| f.result).map(|ty| self.value(ty)).transpose()?;
            let later = match &result {
                None => String::new(),
                Some(ty) => format!(" -> {}", self.future(name, function, ty)),
            };
            let now = result.map(|ty| format!(" -> {ty}")).unwrap_or_default();
            let at = params
                .iter()
                .cloned()
                .chain(["scheduled-for: datetime".to_owned()])
                .collect::<Vec<_>>()
                .join(", ");
            let params = params.join(", ");
            let _ = writeln!(text, "        blocking-{function}: func({params}){now};");
            let _ = writeln!(text, "        {}: func({params}){later};", escape(function));
            let _ =
                writeln!(text, "        schedule-{function}: func({at}) -> cancellation-token;");
        }
        text.push_str("    }\n");
        self.body.push_str(&text);
        Ok(())
    }

    /// The resource of a result under way. Two functions of one name with different results get one each.
    fn future(&mut self, stub: &str, function: &str, ty: &str) -> String {
        let short = format!("future-{function}-result");
        let name = match self.futures.get(&short) {
            Some(other) if other != ty => format!("future-{stub}-{function}-result"),
            _ => short,
        };
        self.futures.insert(name.clone(), ty.to_owned());
        name
    }

    fn params(&mut self, id: ComponentFuncTypeId, skip: usize) -> Result<Vec<String>, String> {
        let params = self.types.get(id).ok_or("a function has no type")?.params.clone();
        params
            .iter()
            .skip(skip)
            .map(|(name, ty)| Ok(format!("{}: {}", escape(name), self.value(*ty)?)))
            .collect()
    }

    fn value(&mut self, ty: ComponentValType) -> Result<String, String> {
        match ty {
            ComponentValType::Primitive(primitive) => primitive_name(primitive).map(str::to_owned),
            ComponentValType::Type(id) => self.defined(id),
        }
    }

    fn defined(&mut self, id: ComponentDefinedTypeId) -> Result<String, String> {
        let Some(name) = self.names.get(&id).cloned() else { return self.shape(id, None) };
        let text = self.shape(id, Some(&name))?;
        match self.written.insert(name.clone(), text.clone()) {
            Some(other) if other != text => {
                Err(format!("two interfaces have different types named {name}"))
            }
            _ => Ok(escape(&name)),
        }
    }

    /// The type itself. Records, variants, enums and flags exist only with a name.
    fn shape(&mut self, id: ComponentDefinedTypeId, name: Option<&str>) -> Result<String, String> {
        let ty = self.types.get(id).ok_or("a type is missing")?.clone();
        let named = |keyword: &str| {
            name.map(|name| format!("{keyword} {}", escape(name)))
                .ok_or_else(|| format!("a {keyword} has no name"))
        };
        let list = |names: Vec<String>| format!(" {{ {} }}", names.join(", "));
        let alias = |text: String| {
            name.map_or_else(|| text.clone(), |name| format!("type {} = {text};", escape(name)))
        };
        Ok(match ty {
            ComponentDefinedType::Record(record) => {
                let fields = record
                    .fields
                    .iter()
                    .map(|(n, t)| Ok(format!("{}: {}", escape(n), self.value(*t)?)));
                named("record")? + &list(fields.collect::<Result<_, String>>()?)
            }
            ComponentDefinedType::Variant(variant) => {
                let mut cases = Vec::new();
                for (case, content) in &variant.cases {
                    let payload = content.ty.map(|t| self.value(t)).transpose()?;
                    cases.push(
                        payload.map_or_else(|| escape(case), |p| format!("{}({p})", escape(case))),
                    );
                }
                named("variant")? + &list(cases)
            }
            ComponentDefinedType::Flags(names) => {
                named("flags")? + &list(names.iter().map(|n| escape(n)).collect())
            }
            ComponentDefinedType::Enum(names) => {
                named("enum")? + &list(names.iter().map(|n| escape(n)).collect())
            }
            ComponentDefinedType::Primitive(primitive) => {
                alias(primitive_name(primitive)?.to_owned())
            }
            ComponentDefinedType::List { element, .. } => {
                alias(format!("list<{}>", self.value(element)?))
            }
            ComponentDefinedType::Option { ty, .. } => {
                alias(format!("option<{}>", self.value(ty)?))
            }
            ComponentDefinedType::Tuple(tuple) => {
                let items =
                    tuple.types.iter().map(|t| self.value(*t)).collect::<Result<Vec<_>, _>>()?;
                alias(format!("tuple<{}>", items.join(", ")))
            }
            ComponentDefinedType::Result { ok, err, .. } => {
                let (ok, err) = (
                    ok.map(|t| self.value(t)).transpose()?,
                    err.map(|t| self.value(t)).transpose()?,
                );
                alias(match (ok, err) {
                    (None, None) => "result".into(),
                    (Some(ok), None) => format!("result<{ok}>"),
                    (ok, Some(err)) => format!("result<{}, {err}>", ok.as_deref().unwrap_or("_")),
                })
            }
            ComponentDefinedType::Own(id) => alias(self.resource(id.resource())?),
            ComponentDefinedType::Borrow(id) => {
                alias(format!("borrow<{}>", self.resource(id.resource())?))
            }
            other => return Err(format!("{other:?} cannot be passed between workers")),
        })
    }

    fn resource(&self, id: ResourceId) -> Result<String, String> {
        self.resources
            .get(&id)
            .map(|name| escape(name))
            .ok_or_else(|| "a resource of another component cannot be passed on".into())
    }

    fn finish(self, package: &str, name: &str) -> String {
        let mut text = format!(
            "// Made by `emet rpc wit`: imported to call the component, linked by the host.\npackage {package};\n\n"
        );
        let _ = writeln!(text, "interface {name}-client {{");
        text.push_str("    use golem:rpc/types@0.1.3.{cancellation-token, uri};\n");
        text.push_str("    use wasi:clocks/wall-clock@0.2.0.{datetime};\n    use wasi:io/poll@0.2.0.{pollable};\n");
        for definition in self.written.values() {
            let _ = write!(text, "\n    {definition}\n");
        }
        for (name, ty) in &self.futures {
            let _ = write!(
                text,
                "\n    resource {name} {{\n        subscribe: func() -> pollable;\n        get: func() -> option<{ty}>;\n    }}\n"
            );
        }
        text.push_str(&self.body);
        text.push_str("}\n");
        text
    }
}

fn primitive_name(primitive: PrimitiveValType) -> Result<&'static str, String> {
    Ok(match primitive {
        PrimitiveValType::Bool => "bool",
        PrimitiveValType::S8 => "s8",
        PrimitiveValType::U8 => "u8",
        PrimitiveValType::S16 => "s16",
        PrimitiveValType::U16 => "u16",
        PrimitiveValType::S32 => "s32",
        PrimitiveValType::U32 => "u32",
        PrimitiveValType::S64 => "s64",
        PrimitiveValType::U64 => "u64",
        PrimitiveValType::F32 => "f32",
        PrimitiveValType::F64 => "f64",
        PrimitiveValType::Char => "char",
        PrimitiveValType::String => "string",
        other => return Err(format!("{other:?} cannot be passed between workers")),
    })
}

/// Words that WIT uses itself are written with a percent sign.
fn escape(name: &str) -> String {
    const KEYWORDS: [&str; 41] = [
        "as",
        "async",
        "bool",
        "borrow",
        "char",
        "constructor",
        "enum",
        "export",
        "f32",
        "f64",
        "flags",
        "from",
        "func",
        "future",
        "import",
        "include",
        "interface",
        "list",
        "option",
        "own",
        "package",
        "record",
        "resource",
        "result",
        "s16",
        "s32",
        "s64",
        "s8",
        "static",
        "stream",
        "string",
        "tuple",
        "type",
        "u16",
        "u32",
        "u64",
        "u8",
        "use",
        "variant",
        "with",
        "world",
    ];
    if KEYWORDS.contains(&name) { format!("%{name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(guest: &str, exports: &[&str]) -> Client {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../../tests/guests/prebuilt/{guest}.wasm"));
        let exports: Vec<String> = exports.iter().map(|e| (*e).to_owned()).collect();
        client(&std::fs::read(path).unwrap(), &exports, guest).unwrap()
    }

    #[test]
    fn the_client_of_a_counter_has_all_forms_of_its_functions() {
        let client = of("counter", &["test:counter/api", "world-add", "fail-if"]);
        assert_eq!(client.interface, "test:counter-client/counter-client");
        assert_eq!(client.targets.get("counter").map(String::as_str), Some("test:counter/api"));
        for part in [
            "resource api {\n        constructor(location: uri);",
            "blocking-add: func(n: u64) -> u64;",
            "        add: func(n: u64) -> future-add-result;",
            "schedule-add: func(n: u64, scheduled-for: datetime) -> cancellation-token;",
            "constructor(location: uri, name: string);",
            "        inc-by: func(n: u64);",
            "resource counter-world {",
            "        fail-if: func(fail: bool);",
        ] {
            assert!(client.text.contains(part), "{part} is not in\n{}", client.text);
        }
    }

    #[test]
    fn named_types_are_written_out() {
        let client = of("kitchen", &["test:kitchen/api"]);
        for part in [
            "record point { x: s32, y: s32 }",
            "variant shape { empty, circle(f64)",
            "enum color {",
            "flags access {",
            "shape: shape",
        ] {
            assert!(client.text.contains(part), "{part} is not in\n{}", client.text);
        }
    }

    #[test]
    fn what_has_no_exports_has_no_client() {
        assert!(client(b"nothing", &[], "x").is_err());
    }
}
