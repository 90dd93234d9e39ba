//! What a component binary contains, read without compiling it.

use crate::types::Translator;
use emet_model::{
    ComponentMetadata, LinearMemory, ProducerField, Producers, VersionedName, incoming_http,
};
use emet_values::{Export, FunctionType};
use wasmparser::component_types::{ComponentEntityType, ComponentInstanceTypeId};
use wasmparser::types::Types;
use wasmparser::{Encoding, KnownCustom, Parser, Payload, Validator, WasmFeatures};

/// Size of a page of linear memory in bytes.
const PAGE: u64 = 65536;

/// Reads a binary; every reason why it cannot be used.
pub(crate) fn analyse(wasm: &[u8]) -> Result<ComponentMetadata, String> {
    check_encoding(wasm)?;
    let features = WasmFeatures::default() | WasmFeatures::COMPONENT_MODEL;
    let types = Validator::new_with_features(features)
        .validate_all(wasm)
        .map_err(|e| format!("not a valid component: {e}"))?;
    let (memories, producers) = sections(wasm)?;
    let mut exports = exports(wasm, &types)?;
    if incoming_http::handler(&exports).is_some() {
        exports.push(incoming_http::export());
    }
    Ok(ComponentMetadata { exports, producers, memories, dynamic_linking: Default::default() })
}

fn check_encoding(wasm: &[u8]) -> Result<(), String> {
    if wasm.is_empty() {
        return Err("the upload is empty".into());
    }
    match Parser::new(0).parse(wasm, true) {
        Ok(wasmparser::Chunk::Parsed { payload: Payload::Version { encoding: Encoding::Component, .. }, .. }) => Ok(()),
        Ok(wasmparser::Chunk::Parsed { payload: Payload::Version { encoding: Encoding::Module, .. }, .. }) => {
            Err("this is a core module, not a component; make a component of it with `wasm-tools component new`".into())
        }
        _ => Err("this is not WebAssembly".into()),
    }
}

fn exports(wasm: &[u8], types: &Types) -> Result<Vec<Export>, String> {
    let types = types.as_ref();
    let mut translator = Translator::new(types);
    let mut exports = Vec::new();
    for name in export_names(wasm)? {
        match types.component_item_for_export(&name).map(|item| item.ty) {
            Some(ComponentEntityType::Func(id)) => {
                exports.push(Export::Function(translator.function(&name, id)?))
            }
            Some(ComponentEntityType::Instance(id)) => {
                exports.push(Export::Instance {
                    functions: functions(&mut translator, types, id)?,
                    name,
                });
            }
            _ => {}
        }
    }
    Ok(exports)
}

fn functions(
    translator: &mut Translator<'_>,
    types: wasmparser::types::TypesRef<'_>,
    id: ComponentInstanceTypeId,
) -> Result<Vec<FunctionType>, String> {
    let instance = types.get(id).ok_or("an exported instance has no type")?;
    let mut functions = Vec::new();
    for (name, item) in &instance.exports {
        if let ComponentEntityType::Func(id) = item.ty {
            functions.push(translator.function(name, id)?);
        }
    }
    Ok(functions)
}

/// Names of the exports of the outermost component, in order.
fn export_names(wasm: &[u8]) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(|e| e.to_string())? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    names.push(export.map_err(|e| e.to_string())?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

fn sections(wasm: &[u8]) -> Result<(Vec<LinearMemory>, Vec<Producers>), String> {
    let (mut memories, mut producers) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(|e| e.to_string())? {
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory.map_err(|e| e.to_string())?;
                    let bytes = |pages: u64| pages.saturating_mul(PAGE);
                    memories.push(LinearMemory {
                        initial: bytes(memory.initial),
                        maximum: memory.maximum.map(bytes),
                    });
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Producers(reader) = section.as_known() {
                    // A damaged custom section has no meaning for the component: it is left out.
                    producers.extend(read_producers(reader).ok());
                }
            }
            _ => {}
        }
    }
    Ok((memories, producers))
}

fn read_producers(reader: wasmparser::ProducersSectionReader<'_>) -> wasmparser::Result<Producers> {
    let mut fields = Vec::new();
    for field in reader {
        let field = field?;
        let mut values = Vec::new();
        for value in field.values {
            let value = value?;
            values.push(VersionedName {
                name: value.name.to_owned(),
                version: value.version.to_owned(),
            });
        }
        fields.push(ProducerField { name: field.name.to_owned(), values });
    }
    Ok(Producers { fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_binaries_get_a_clear_reason() {
        assert!(analyse(b"").unwrap_err().contains("empty"));
        assert!(analyse(b"hello").unwrap_err().contains("not WebAssembly"));
        let module = wat::parse_str("(module)").unwrap();
        assert!(analyse(&module).unwrap_err().contains("core module"));
        let component = wat::parse_str("(component (core module (memory 1)))").unwrap();
        assert!(analyse(&component[..component.len() - 3]).is_err());
    }

    #[test]
    fn memories_and_exports_are_found() {
        let component = wat::parse_str(
            r#"(component
                (core module $m (memory 2 3) (func (export "f") (param i32) (result i32) local.get 0))
                (core instance $i (instantiate $m))
                (func $f (param "n" u32) (result u32) (canon lift (core func $i "f")))
                (instance $api (export "double" (func $f)))
                (export "test:x/api@1.0.0" (instance $api))
                (export "plain" (func $f)))"#,
        )
        .unwrap();
        let metadata = analyse(&component).unwrap();
        assert_eq!(
            metadata.memories,
            [LinearMemory { initial: 2 * PAGE, maximum: Some(3 * PAGE) }]
        );
        assert!(
            matches!(&metadata.exports[0], Export::Instance { name, functions } if name == "test:x/api@1.0.0" && functions[0].name == "double")
        );
        assert!(
            matches!(&metadata.exports[1], Export::Function(f) if f.name == "plain" && f.params.len() == 1)
        );
    }
}
