//! `blobstore`: containers as a whole, and objects from one container to another.

use super::super::functions;
use super::super::values::Stored;
use super::{Container, NO_CONTAINER, NO_OBJECT, ObjectId, marker_key, object_key, objects_prefix};
use crate::WorkerCtx;
use crate::log::HostFn;
use bytes::Bytes;
use emet_storage::BlobStore;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use wasmtime::component::{Linker, Resource};

type Pair = (String, String);

/// The response of the first two is the container's time of creation.
pub(super) const CREATE_CONTAINER: HostFn<String, Result<u64, String>> =
    HostFn::write_remote("golem blobstore::blobstore::create_container");
pub(super) const GET_CONTAINER: HostFn<String, Result<u64, String>> =
    HostFn::read_remote("golem blobstore::blobstore::get_container");
pub(super) const DELETE_CONTAINER: HostFn<String, Result<(), String>> =
    HostFn::write_remote("golem blobstore::blobstore::delete_container");
pub(super) const CONTAINER_EXISTS: HostFn<String, Result<bool, String>> =
    HostFn::read_remote("golem blobstore::blobstore::container_exists");
pub(super) const COPY_OBJECT: HostFn<(Pair, Pair), Result<(), String>> =
    HostFn::write_remote("golem blobstore::blobstore::copy_object");
pub(super) const MOVE_OBJECT: HostFn<(Pair, Pair), Result<(), String>> =
    HostFn::write_remote("golem blobstore::blobstore::move_object");

const BLOBSTORE: &str = "wasi:blobstore/blobstore";

/// When a container was created; none if there is no such container.
async fn created_at(blobs: &dyn BlobStore, container: &str) -> Stored<Option<u64>> {
    let marker = blobs.get(&marker_key(container)?).await?;
    Ok(marker.map(|text| {
        std::str::from_utf8(&text).ok().and_then(|t| t.parse().ok()).unwrap_or_default()
    }))
}

/// Makes sure that a container exists; gives its time of creation.
pub(super) async fn ensure_container(blobs: &dyn BlobStore, container: &str) -> Stored<u64> {
    if let Some(created) = created_at(blobs, container).await? {
        return Ok(created);
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    if blobs.put_if_absent(&marker_key(container)?, Bytes::from(now.to_string())).await? {
        return Ok(now);
    }
    Ok(created_at(blobs, container).await?.unwrap_or(now))
}

async fn copy(blobs: &dyn BlobStore, from: &ObjectId, to: &ObjectId) -> Stored<()> {
    let (from_key, to_key) =
        (object_key(&from.container, &from.object)?, object_key(&to.container, &to.object)?);
    if blobs.head(&from_key).await?.is_none() {
        return Err(NO_OBJECT.into());
    }
    if from_key == to_key {
        return Ok(());
    }
    ensure_container(blobs, &to.container).await?;
    if blobs.copy(&from_key, &to_key).await? { Ok(()) } else { Err(NO_OBJECT.into()) }
}

/// Copies, then deletes. An object that is moved to itself stays.
async fn rename(blobs: &dyn BlobStore, from: &ObjectId, to: &ObjectId) -> Stored<()> {
    copy(blobs, from, to).await?;
    if (&from.container, &from.object) != (&to.container, &to.object) {
        blobs.delete(&object_key(&from.container, &from.object)?).await?;
    }
    Ok(())
}

/// The objects go first: a container that is created anew must not find them.
async fn delete_container(blobs: Arc<dyn BlobStore>, container: String) -> Stored<()> {
    blobs.delete_prefix(&objects_prefix(&container)?).await?;
    blobs.delete(&marker_key(&container)?).await?;
    Ok(())
}

fn pair(id: &ObjectId) -> Pair {
    (id.container.clone(), id.object.clone())
}

impl WorkerCtx {
    fn open_container(
        &mut self,
        name: String,
        created: Result<u64, String>,
    ) -> wasmtime::Result<Result<Resource<Container>, String>> {
        match created {
            Ok(created_at) => Ok(Ok(self.table.push(Container { name, created_at })?)),
            Err(text) => Ok(Err(text)),
        }
    }

    async fn blob_create_container(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<Container>, String>> {
        let (blobs, wanted) = (self.node.blobs.clone(), name.clone());
        let act = async move { ensure_container(blobs.as_ref(), &wanted).await };
        let created = self.stored_write(&CREATE_CONTAINER, name.clone(), act).await?;
        self.open_container(name, created)
    }

    async fn blob_get_container(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<Container>, String>> {
        let (blobs, wanted) = (self.node.blobs.clone(), name.clone());
        let act = async move {
            created_at(blobs.as_ref(), &wanted).await?.ok_or_else(|| NO_CONTAINER.into())
        };
        let created = self.stored_read(&GET_CONTAINER, name.clone(), act).await?;
        self.open_container(name, created)
    }

    async fn blob_delete_container(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<(), String>> {
        let act = delete_container(self.node.blobs.clone(), name.clone());
        self.stored_write(&DELETE_CONTAINER, name, act).await
    }

    async fn blob_container_exists(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<bool, String>> {
        let (blobs, wanted) = (self.node.blobs.clone(), name.clone());
        let act = async move { Ok(created_at(blobs.as_ref(), &wanted).await?.is_some()) };
        self.stored_read(&CONTAINER_EXISTS, name, act).await
    }

    async fn blob_copy_object(
        &mut self,
        from: ObjectId,
        to: ObjectId,
    ) -> wasmtime::Result<Result<(), String>> {
        let (blobs, request) = (self.node.blobs.clone(), (pair(&from), pair(&to)));
        self.stored_write(
            &COPY_OBJECT,
            request,
            async move { copy(blobs.as_ref(), &from, &to).await },
        )
        .await
    }

    async fn blob_move_object(
        &mut self,
        from: ObjectId,
        to: ObjectId,
    ) -> wasmtime::Result<Result<(), String>> {
        let (blobs, request) = (self.node.blobs.clone(), (pair(&from), pair(&to)));
        self.stored_write(
            &MOVE_OBJECT,
            request,
            async move { rename(blobs.as_ref(), &from, &to).await },
        )
        .await
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, BLOBSTORE, {
        "create-container" => |ctx, name: String| Ok((ctx.blob_create_container(name).await?,));
        "get-container" => |ctx, name: String| Ok((ctx.blob_get_container(name).await?,));
        "delete-container" => |ctx, name: String| Ok((ctx.blob_delete_container(name).await?,));
        "container-exists" => |ctx, name: String| Ok((ctx.blob_container_exists(name).await?,));
        "copy-object" => |ctx, from: ObjectId, to: ObjectId| Ok((ctx.blob_copy_object(from, to).await?,));
        "move-object" => |ctx, from: ObjectId, to: ObjectId| Ok((ctx.blob_move_object(from, to).await?,));
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use emet_storage::memory::MemoryBlob;

    fn id(container: &str, object: &str) -> ObjectId {
        ObjectId { container: container.to_owned(), object: object.to_owned() }
    }

    #[tokio::test]
    async fn objects_move_and_containers_go_with_their_content() {
        let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlob::default());
        let first = ensure_container(blobs.as_ref(), "a").await.ok().unwrap();
        assert_eq!(ensure_container(blobs.as_ref(), "a").await.ok(), Some(first));
        let key = object_key("a", "x").ok().unwrap();
        blobs.put(&key, Bytes::from_static(b"1")).await.unwrap();
        assert!(rename(blobs.as_ref(), &id("a", "x"), &id("a", "x")).await.is_ok());
        assert!(rename(blobs.as_ref(), &id("a", "x"), &id("b", "y")).await.is_ok());
        assert_eq!(blobs.get(&key).await.unwrap(), None);
        assert!(created_at(blobs.as_ref(), "b").await.ok().unwrap().is_some());
        assert!(copy(blobs.as_ref(), &id("a", "x"), &id("b", "z")).await.is_err());
        assert!(delete_container(blobs.clone(), "b".to_owned()).await.is_ok());
        assert_eq!(blobs.get(&object_key("b", "y").ok().unwrap()).await.unwrap(), None);
        assert_eq!(created_at(blobs.as_ref(), "b").await.ok(), Some(None));
    }
}
