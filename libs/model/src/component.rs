//! Components and their versions, as the REST API shows them (services spec 1.11).

use crate::{ComponentId, ComponentVersion, Timestamp};
use emet_values::Export;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A component at one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionedComponentId {
    /// The component.
    pub component_id: ComponentId,
    /// Its version.
    pub version: ComponentVersion,
}

impl fmt::Display for VersionedComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.component_id, self.version)
    }
}

/// Whether workers of a component keep state between invocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ComponentType {
    /// State is kept and survives everything.
    #[default]
    Durable,
    /// Every invocation starts from the component's initial state.
    Ephemeral,
}

/// What a worker may do with an initial file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilePermissions {
    /// Reading only.
    #[default]
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

/// A file that every worker of a component version finds in its file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InitialFile {
    /// Hash of the content: the key in the blob store.
    pub key: String,
    /// Absolute, normalised path in the worker.
    pub path: String,
    /// What the worker may do with it.
    pub permissions: FilePermissions,
}

/// One linear memory of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearMemory {
    /// Initial size in bytes.
    pub initial: u64,
    /// Maximum size in bytes, if declared.
    pub maximum: Option<u64>,
}

/// A field of the producers section of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerField {
    /// `language`, `processed-by` or `sdk`.
    pub name: String,
    /// The tools.
    pub values: Vec<VersionedName>,
}

/// A tool and its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionedName {
    /// Name of the tool.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The producers section of one module of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producers {
    /// Its fields.
    pub fields: Vec<ProducerField>,
}

/// How an imported interface is linked to other components (`dynamicLinking` of an upload).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum DynamicLinkedInstance {
    /// The host implements the client interface by calls to other workers.
    #[serde(rename_all = "camelCase")]
    WasmRpc {
        /// Resource name to exported interface of the target component.
        target_interface_name: BTreeMap<String, String>,
    },
}

/// What is known of a component version from its binary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentMetadata {
    /// Exported functions and interfaces.
    pub exports: Vec<Export>,
    /// Tools that made the binary.
    pub producers: Vec<Producers>,
    /// Linear memories.
    pub memories: Vec<LinearMemory>,
    /// Imports that are linked to other components.
    #[serde(default)]
    pub dynamic_linking: BTreeMap<String, DynamicLinkedInstance>,
}

/// One version of a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Component and version.
    pub versioned_component_id: VersionedComponentId,
    /// Name given at creation, unique.
    pub component_name: String,
    /// Size of the binary in bytes.
    pub component_size: u64,
    /// What the binary contains.
    pub metadata: ComponentMetadata,
    /// When this version was uploaded.
    pub created_at: Option<Timestamp>,
    /// Durable or ephemeral.
    pub component_type: ComponentType,
    /// Files each worker starts with.
    pub files: Vec<InitialFile>,
    /// SHA-256 of the binary, in hex.
    #[serde(default)]
    pub wasm_digest: String,
    /// Always empty: plugins are not offered.
    #[serde(default)]
    pub installed_plugins: Vec<String>,
    /// Whether the state of its workers can be saved (docs/checkpoints.md). Not part of the original
    /// API; unknown for versions that an older release has stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<CheckpointSupport>,
}

/// Whether the state of a component's workers can be saved, so that they recover without a replay
/// of their whole history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointSupport {
    /// Whether it can.
    pub supported: bool,
    /// What the component uses that cannot be saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Component {
    /// Sum of the initial sizes of all memories, in bytes.
    pub fn initial_memory(&self) -> u64 {
        self.metadata.memories.iter().map(|m| m.initial).sum()
    }
}
