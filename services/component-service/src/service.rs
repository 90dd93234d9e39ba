//! The component service over the stores.

use crate::analysis::analyse;
use crate::archive::{self, Content};
use async_trait::async_trait;
use bytes::Bytes;
use emet_api::{ComponentError, Components, NewComponent};
use emet_model::{
    CheckpointSupport, Component, ComponentId, ComponentVersion, InitialFile, Timestamp,
    VersionedComponentId,
};
use emet_storage::{Batch, BlobStore, KvStore};
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Name to component id.
const NAMES: &str = "names{components}";
/// Component id and version to metadata.
const VERSIONS: &str = "versions{components}";
/// Rows read at a time.
const PAGE: usize = 1000;
/// Longest name of a component, in bytes (docs/limits.md).
const MAX_NAME: usize = 200;

/// A version that was just stored, for whoever compiles it.
pub type Uploaded = VersionedComponentId;

/// Stores versions of components.
pub struct ComponentService {
    kv: Arc<dyn KvStore>,
    blobs: Arc<dyn BlobStore>,
    /// Told of every stored version.
    uploads: mpsc::UnboundedSender<Uploaded>,
    /// Latest versions, as far as known here.
    latest: RwLock<HashMap<ComponentId, Arc<Component>>>,
}

fn internal(error: impl std::fmt::Display) -> ComponentError {
    ComponentError::Internal(error.to_string())
}

fn version_key(id: ComponentId, version: ComponentVersion) -> Vec<u8> {
    [id.0.as_bytes().as_slice(), &version.to_be_bytes()].concat()
}

/// Named by its content: of two processes that store the same version at the same time one loses,
/// and must not have replaced the binary of the other.
fn wasm_key(component: &Component) -> String {
    format!(
        "components/{}/{}.wasm",
        component.versioned_component_id.component_id, component.wasm_digest
    )
}

fn file_key(hash: &str) -> String {
    format!("files/{hash}")
}

fn not_found() -> ComponentError {
    ComponentError::NotFound("Component not found".into())
}

fn parse(record: &[u8]) -> Result<Component, ComponentError> {
    serde_json::from_slice(record).map_err(internal)
}

fn now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

impl ComponentService {
    /// A service over the stores; the receiver hears of every version that was stored.
    pub fn new(
        kv: Arc<dyn KvStore>,
        blobs: Arc<dyn BlobStore>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Uploaded>) {
        let (uploads, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { kv, blobs, uploads, latest: RwLock::new(HashMap::new()) }), receiver)
    }

    async fn id_of(&self, name: &str) -> Result<Option<ComponentId>, ComponentError> {
        let found = self.kv.get(NAMES, name.as_bytes()).await.map_err(internal)?;
        found.map(|bytes| Uuid::from_slice(&bytes).map(ComponentId).map_err(internal)).transpose()
    }

    /// The versions whose keys have a prefix, after a key if one is given.
    async fn scan(
        &self,
        prefix: &[u8],
        mut after: Option<Vec<u8>>,
    ) -> Result<Vec<Component>, ComponentError> {
        let mut out = Vec::new();
        loop {
            let page =
                self.kv.scan(VERSIONS, prefix, after.as_deref(), PAGE).await.map_err(internal)?;
            after = page.last().map(|(key, _)| key.clone());
            let read = page.len();
            for (_, record) in page {
                out.push(parse(&record)?);
            }
            if read < PAGE {
                return Ok(out);
            }
        }
    }

    /// The latest version. Another process may have stored a newer one than this one knows, so
    /// the store is asked for what follows it.
    async fn latest(&self, id: ComponentId) -> Result<Arc<Component>, ComponentError> {
        let known = self.latest.read().get(&id).cloned();
        let after = known.as_ref().map(|c| version_key(id, c.versioned_component_id.version));
        let Some(newest) = self.scan(id.0.as_bytes(), after).await?.pop() else {
            return known.ok_or_else(not_found);
        };
        let newest = Arc::new(newest);
        self.latest.write().insert(id, newest.clone());
        Ok(newest)
    }

    /// Stores binary and files, then the metadata that makes the version visible.
    async fn store(
        &self,
        mut component: Component,
        wasm: Bytes,
        files: Vec<Content>,
        batch: Batch,
    ) -> Result<Option<Component>, ComponentError> {
        let id = component.versioned_component_id;
        for (file, content) in files {
            self.blobs
                .put_if_absent(&file_key(&file.key), content.into())
                .await
                .map_err(internal)?;
        }
        self.blobs.put(&wasm_key(&component), wasm).await.map_err(internal)?;
        component.created_at = Some(now());
        let record = serde_json::to_vec(&component).map_err(internal)?;
        let key = version_key(id.component_id, id.version);
        let batch = batch.if_absent(VERSIONS, key.clone()).put(VERSIONS, key, record);
        if !self.kv.apply(batch).await.map_err(internal)? {
            return Ok(None);
        }
        self.latest.write().insert(id.component_id, Arc::new(component.clone()));
        // Nobody listening means that nobody compiles ahead: the first worker does.
        let _ = self.uploads.send(id);
        Ok(Some(component))
    }
}

/// Reads an upload in a thread of its own: it may be large.
async fn read_upload(
    id: VersionedComponentId,
    name: &str,
    upload: &NewComponent,
) -> Result<(Component, Option<Vec<Content>>), ComponentError> {
    let (wasm, files) = (upload.wasm.clone(), upload.files.clone());
    let read = tokio::task::spawn_blocking(move || {
        let metadata = analyse(&wasm).map_err(|reason| {
            ComponentError::Invalid(vec![format!("Invalid component: {reason}")])
        })?;
        let checkpoints = checkpoint_support(&wasm)?;
        let digest: String = Sha256::digest(&wasm).iter().map(|b| format!("{b:02x}")).collect();
        let files = files
            .map(|(archive, permissions)| archive::unpack(&archive, &permissions))
            .transpose()?;
        Ok((metadata, checkpoints, digest, files))
    });
    let (mut metadata, checkpoints, wasm_digest, files) = read.await.map_err(internal)??;
    metadata.dynamic_linking = upload.dynamic_linking.clone();
    let component = Component {
        versioned_component_id: id,
        component_name: name.to_owned(),
        component_size: upload.wasm.len() as u64,
        metadata,
        created_at: None,
        component_type: upload.component_type.unwrap_or_default(),
        files: files.iter().flatten().map(|(file, _)| file.clone()).collect::<Vec<InitialFile>>(),
        wasm_digest,
        installed_plugins: Vec::new(),
        checkpoints: Some(checkpoints),
    };
    Ok((component, files))
}

/// Whether the state of workers can be saved; names that this takes are refused.
fn checkpoint_support(wasm: &[u8]) -> Result<CheckpointSupport, ComponentError> {
    if let Some(name) = emet_checkpoint::reserved_name(wasm) {
        let reason = format!(
            "Invalid component: the name {name} is reserved; names must not start with {}",
            emet_checkpoint::PREFIX
        );
        return Err(ComponentError::Invalid(vec![reason]));
    }
    // Which resources the host can make again does not matter for this answer.
    Ok(match emet_checkpoint::rewrite(wasm, &[]) {
        emet_checkpoint::Verdict::Supported { .. } => {
            CheckpointSupport { supported: true, reason: None }
        }
        emet_checkpoint::Verdict::Refused(reason) => {
            CheckpointSupport { supported: false, reason: Some(reason) }
        }
    })
}

#[async_trait]
impl Components for ComponentService {
    async fn create(
        &self,
        name: String,
        upload: NewComponent,
    ) -> Result<Component, ComponentError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(ComponentError::Invalid(vec![format!(
                "Invalid component name: it must have 1 to {MAX_NAME} bytes"
            )]));
        }
        if let Some(id) = self.id_of(&name).await? {
            return Err(ComponentError::AlreadyExists(id));
        }
        let id = VersionedComponentId { component_id: ComponentId(Uuid::new_v4()), version: 0 };
        let (component, files) = read_upload(id, &name, &upload).await?;
        let uuid = Bytes::copy_from_slice(id.component_id.0.as_bytes());
        let batch =
            Batch::new().if_absent(NAMES, name.as_bytes()).put(NAMES, name.as_bytes(), uuid);
        match self.store(component, upload.wasm, files.unwrap_or_default(), batch).await? {
            Some(component) => Ok(component),
            None => Err(ComponentError::AlreadyExists(
                self.id_of(&name).await?.unwrap_or(id.component_id),
            )),
        }
    }

    async fn update(
        &self,
        id: ComponentId,
        upload: NewComponent,
    ) -> Result<Component, ComponentError> {
        loop {
            let previous = self.latest(id).await?;
            let next = VersionedComponentId {
                component_id: id,
                version: previous.versioned_component_id.version + 1,
            };
            let (mut component, files) =
                read_upload(next, &previous.component_name, &upload).await?;
            if upload.component_type.is_none() {
                component.component_type = previous.component_type;
            }
            if files.is_none() {
                component.files.clone_from(&previous.files);
            }
            if let Some(stored) = self
                .store(component, upload.wasm.clone(), files.unwrap_or_default(), Batch::new())
                .await?
            {
                return Ok(stored);
            }
            // Somebody else stored this version meanwhile: take the next one.
            self.latest.write().remove(&id);
        }
    }

    async fn list(&self, name: Option<&str>) -> Result<Vec<Component>, ComponentError> {
        match name {
            None => self.scan(&[], None).await,
            Some(name) => match self.id_of(name).await? {
                Some(id) => self.versions(id).await,
                None => Ok(Vec::new()),
            },
        }
    }

    async fn versions(&self, id: ComponentId) -> Result<Vec<Component>, ComponentError> {
        self.scan(id.0.as_bytes(), None).await
    }

    async fn get(
        &self,
        id: ComponentId,
        version: Option<ComponentVersion>,
    ) -> Result<Component, ComponentError> {
        match version {
            None => self.latest(id).await.map(|c| (*c).clone()),
            Some(version) => {
                let found =
                    self.kv.get(VERSIONS, &version_key(id, version)).await.map_err(internal)?;
                parse(&found.ok_or_else(not_found)?)
            }
        }
    }

    async fn download(
        &self,
        id: ComponentId,
        version: Option<ComponentVersion>,
    ) -> Result<Bytes, ComponentError> {
        let component = self.get(id, version).await.map_err(|error| match (error, version) {
            (ComponentError::NotFound(_), None) => {
                ComponentError::NotFound(format!("Unknown component id: {id}"))
            }
            (ComponentError::NotFound(_), Some(version)) => {
                ComponentError::NotFound(format!("Unknown component id or version: {id}#{version}"))
            }
            (other, _) => other,
        })?;
        let wasm = self.blobs.get(&wasm_key(&component)).await.map_err(internal)?;
        wasm.ok_or_else(|| internal("the binary of the component is missing"))
    }

    async fn file(
        &self,
        id: ComponentId,
        version: ComponentVersion,
        key: &str,
    ) -> Result<Bytes, ComponentError> {
        let component = self.get(id, Some(version)).await?;
        let missing = || ComponentError::NotFound(format!("Component file not found: {key}"));
        component.files.iter().find(|f| f.key == key).ok_or_else(missing)?;
        self.blobs.get(&file_key(key)).await.map_err(internal)?.ok_or_else(missing)
    }
}
