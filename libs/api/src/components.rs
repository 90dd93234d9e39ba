//! The component service.

use async_trait::async_trait;
use bytes::Bytes;
use emet_model::{
    Component, ComponentId, ComponentType, ComponentVersion, DynamicLinkedInstance, FilePermissions,
};
use std::collections::BTreeMap;

/// The content of an upload.
#[derive(Clone, Debug, Default)]
pub struct NewComponent {
    /// The component binary.
    pub wasm: Bytes,
    /// Durable or ephemeral; an update without it keeps the previous type.
    pub component_type: Option<ComponentType>,
    /// Initial files: a zip archive and the permissions of paths in it (read-only where not named).
    /// Without both, an update keeps the previous files.
    pub files: Option<(Bytes, Vec<(String, FilePermissions)>)>,
    /// Imports linked to other components.
    pub dynamic_linking: BTreeMap<String, DynamicLinkedInstance>,
}

/// Why a request to the component service failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComponentError {
    /// The name is taken.
    #[error("Component already exists: {0}")]
    AlreadyExists(ComponentId),
    /// No such component or version.
    #[error("{0}")]
    NotFound(String),
    /// The upload cannot be used; every reason.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The upload is larger than the limit (docs/limits.md).
    #[error("{0}")]
    LimitExceeded(String),
    /// A failure of the service.
    #[error("{0}")]
    Internal(String),
}

/// Stores versions of components (services spec 6).
#[async_trait]
pub trait Components: Send + Sync + 'static {
    /// Stores version 0 of a new component.
    async fn create(&self, name: String, upload: NewComponent)
    -> Result<Component, ComponentError>;
    /// Stores the next version of a component.
    async fn update(
        &self,
        id: ComponentId,
        upload: NewComponent,
    ) -> Result<Component, ComponentError>;
    /// Every version of every component, or of the one with a name; by component, then version.
    async fn list(&self, name: Option<&str>) -> Result<Vec<Component>, ComponentError>;
    /// Every version of a component, ascending; empty for an unknown one.
    async fn versions(&self, id: ComponentId) -> Result<Vec<Component>, ComponentError>;
    /// One version, or the latest.
    async fn get(
        &self,
        id: ComponentId,
        version: Option<ComponentVersion>,
    ) -> Result<Component, ComponentError>;
    /// The binary of one version, or of the latest.
    async fn download(
        &self,
        id: ComponentId,
        version: Option<ComponentVersion>,
    ) -> Result<Bytes, ComponentError>;
    /// The content of an initial file of a version, by its key.
    async fn file(
        &self,
        id: ComponentId,
        version: ComponentVersion,
        key: &str,
    ) -> Result<Bytes, ComponentError>;
}
