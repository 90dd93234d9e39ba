//! `container`: the objects of one container.

use super::super::functions;
use super::super::values::{Failure, IncomingValue, OutgoingValue, Stored, add_resource};
use super::containers::ensure_container;
use super::{
    Container, ContainerMetadata, MAX_OBJECT, NO_OBJECT, ObjectMetadata, object_key, objects_prefix,
};
use crate::WorkerCtx;
use crate::log::HostFn;
use emet_storage::BlobStore;
use std::collections::VecDeque;
use std::sync::Arc;
use wasmtime::component::{Linker, Resource};

type Object = (String, String);

pub(super) const GET_DATA: HostFn<(String, String, u64, u64), Result<Vec<u8>, String>> =
    HostFn::read_remote("golem blobstore::container::get_data");
pub(super) const WRITE_DATA: HostFn<(String, String, u64), Result<(), String>> =
    HostFn::write_remote("golem blobstore::container::write_data");
pub(super) const LIST_OBJECTS: HostFn<String, Result<Vec<String>, String>> =
    HostFn::read_remote("golem blobstore::container::list_object");
pub(super) const DELETE_OBJECT: HostFn<Object, Result<(), String>> =
    HostFn::write_remote("golem blobstore::container::delete_object");
pub(super) const DELETE_OBJECTS: HostFn<(String, Vec<String>), Result<(), String>> =
    HostFn::write_remote("golem blobstore::container::delete_objects");
pub(super) const HAS_OBJECT: HostFn<Object, Result<bool, String>> =
    HostFn::read_remote("golem blobstore::container::has_object");
/// The response is the time of creation and the size.
pub(super) const OBJECT_INFO: HostFn<Object, Result<(u64, u64), String>> =
    HostFn::read_remote("golem blobstore::container::object_info");
pub(super) const CLEAR: HostFn<String, Result<(), String>> =
    HostFn::write_remote("golem blobstore::container::clear");

const CONTAINER: &str = "wasi:blobstore/container";

/// Most objects that a listing holds (docs/limits.md).
const MAX_LISTED: usize = 100_000;

/// The rest of a listing.
struct ObjectNames(VecDeque<String>);

impl ObjectNames {
    /// Takes the next names, as many as there are; true when there were fewer than that.
    fn take(&mut self, count: u64) -> (Vec<String>, bool) {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let names: Vec<String> = self.0.drain(..wanted.min(self.0.len())).collect();
        let ran_out = names.len() < wanted;
        (names, ran_out)
    }
}

async fn read(
    blobs: Arc<dyn BlobStore>,
    key: Stored<String>,
    start: u64,
    end: u64,
) -> Stored<Vec<u8>> {
    let key = key?;
    let size = blobs.head(&key).await?.ok_or_else(|| Failure::from(NO_OBJECT))?.size;
    let (start, end) = (start.min(size), end.min(size));
    if end.saturating_sub(start) > MAX_OBJECT as u64 {
        return Err(Failure::Guest(format!("more than {MAX_OBJECT} bytes in one read")));
    }
    if start >= end {
        return Ok(Vec::new());
    }
    let data = blobs.get_range(&key, start, end).await?;
    data.map(|d| d.to_vec()).ok_or_else(|| NO_OBJECT.into())
}

async fn list(blobs: Arc<dyn BlobStore>, container: &str) -> Stored<Vec<String>> {
    let prefix = objects_prefix(container)?;
    let found = blobs.list(&prefix, None, MAX_LISTED + 1).await?;
    if found.len() > MAX_LISTED {
        return Err(Failure::Guest(format!("more than {MAX_LISTED} objects in the container")));
    }
    Ok(found
        .into_iter()
        .filter_map(|(key, _)| key.strip_prefix(&prefix).map(str::to_owned))
        .collect())
}

async fn delete(blobs: Arc<dyn BlobStore>, keys: Stored<Vec<String>>) -> Stored<()> {
    for key in keys? {
        blobs.delete(&key).await?;
    }
    Ok(())
}

impl WorkerCtx {
    fn container_name(&self, container: &Resource<Container>) -> wasmtime::Result<String> {
        Ok(self.table.get(container)?.name.clone())
    }

    fn container_info(
        &self,
        container: &Resource<Container>,
    ) -> wasmtime::Result<ContainerMetadata> {
        let Container { name, created_at } = self.table.get(container)?;
        Ok(ContainerMetadata { name: name.clone(), created_at: *created_at })
    }

    async fn blob_get_data(
        &mut self,
        container: Resource<Container>,
        object: String,
        start: u64,
        end: u64,
    ) -> wasmtime::Result<Result<Resource<IncomingValue>, String>> {
        let container = self.container_name(&container)?;
        let act = read(self.node.blobs.clone(), object_key(&container, &object), start, end);
        match self.stored_read(&GET_DATA, (container, object, start, end), act).await? {
            Ok(data) => Ok(Ok(self.table.push(IncomingValue::new(data))?)),
            Err(text) => Ok(Err(text)),
        }
    }

    async fn blob_write_data(
        &mut self,
        container: Resource<Container>,
        object: String,
        value: Resource<OutgoingValue>,
    ) -> wasmtime::Result<Result<(), String>> {
        let (container, blobs) = (self.container_name(&container)?, self.node.blobs.clone());
        let data = self.table.get(&value)?.bytes();
        let request = (container.clone(), object.clone(), data.len() as u64);
        let act = async move {
            let key = object_key(&container, &object)?;
            // It may have been deleted since it was opened.
            ensure_container(blobs.as_ref(), &container).await?;
            Ok(blobs.put(&key, data).await?)
        };
        self.stored_write(&WRITE_DATA, request, act).await
    }

    async fn blob_list_objects(
        &mut self,
        container: Resource<Container>,
    ) -> wasmtime::Result<Result<Resource<ObjectNames>, String>> {
        let (container, blobs) = (self.container_name(&container)?, self.node.blobs.clone());
        let request = container.clone();
        match self
            .stored_read(&LIST_OBJECTS, request, async move { list(blobs, &container).await })
            .await?
        {
            Ok(names) => Ok(Ok(self.table.push(ObjectNames(names.into()))?)),
            Err(text) => Ok(Err(text)),
        }
    }

    async fn blob_delete_object(
        &mut self,
        container: Resource<Container>,
        object: String,
    ) -> wasmtime::Result<Result<(), String>> {
        let container = self.container_name(&container)?;
        let act =
            delete(self.node.blobs.clone(), object_key(&container, &object).map(|key| vec![key]));
        self.stored_write(&DELETE_OBJECT, (container, object), act).await
    }

    async fn blob_delete_objects(
        &mut self,
        container: Resource<Container>,
        objects: Vec<String>,
    ) -> wasmtime::Result<Result<(), String>> {
        let container = self.container_name(&container)?;
        let keys = objects.iter().map(|object| object_key(&container, object)).collect();
        let act = delete(self.node.blobs.clone(), keys);
        self.stored_write(&DELETE_OBJECTS, (container, objects), act).await
    }

    async fn blob_has_object(
        &mut self,
        container: Resource<Container>,
        object: String,
    ) -> wasmtime::Result<Result<bool, String>> {
        let (container, blobs) = (self.container_name(&container)?, self.node.blobs.clone());
        let key = object_key(&container, &object);
        let act = async move { Ok(blobs.head(&key?).await?.is_some()) };
        self.stored_read(&HAS_OBJECT, (container, object), act).await
    }

    async fn blob_object_info(
        &mut self,
        container: Resource<Container>,
        object: String,
    ) -> wasmtime::Result<Result<ObjectMetadata, String>> {
        let (container, blobs) = (self.container_name(&container)?, self.node.blobs.clone());
        let key = object_key(&container, &object);
        let act = async move {
            let info = blobs.head(&key?).await?.ok_or_else(|| Failure::from(NO_OBJECT))?;
            Ok((info.modified_ms, info.size))
        };
        let info = self.stored_read(&OBJECT_INFO, (container.clone(), object.clone()), act).await?;
        Ok(info.map(|(created_at, size)| ObjectMetadata {
            name: object,
            container,
            created_at,
            size,
        }))
    }

    async fn blob_clear(
        &mut self,
        container: Resource<Container>,
    ) -> wasmtime::Result<Result<(), String>> {
        let (container, blobs) = (self.container_name(&container)?, self.node.blobs.clone());
        let prefix = objects_prefix(&container);
        let act = async move { Ok(blobs.delete_prefix(&prefix?).await?) };
        self.stored_write(&CLEAR, container, act).await
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, CONTAINER, {
        "[method]container.name" => |ctx, container: Resource<Container>| Ok((Result::<_, String>::Ok(ctx.container_name(&container)?),));
        "[method]container.info" => |ctx, container: Resource<Container>| Ok((Result::<_, String>::Ok(ctx.container_info(&container)?),));
        "[method]container.get-data" => |ctx, container: Resource<Container>, object: String, start: u64, end: u64| {
            Ok((ctx.blob_get_data(container, object, start, end).await?,))
        };
        "[method]container.write-data" => |ctx, container: Resource<Container>, object: String, value: Resource<OutgoingValue>| {
            Ok((ctx.blob_write_data(container, object, value).await?,))
        };
        "[method]container.list-objects" => |ctx, container: Resource<Container>| Ok((ctx.blob_list_objects(container).await?,));
        "[method]container.delete-object" => |ctx, container: Resource<Container>, object: String| {
            Ok((ctx.blob_delete_object(container, object).await?,))
        };
        "[method]container.delete-objects" => |ctx, container: Resource<Container>, objects: Vec<String>| {
            Ok((ctx.blob_delete_objects(container, objects).await?,))
        };
        "[method]container.has-object" => |ctx, container: Resource<Container>, object: String| {
            Ok((ctx.blob_has_object(container, object).await?,))
        };
        "[method]container.object-info" => |ctx, container: Resource<Container>, object: String| {
            Ok((ctx.blob_object_info(container, object).await?,))
        };
        "[method]container.clear" => |ctx, container: Resource<Container>| Ok((ctx.blob_clear(container).await?,));
        "[method]stream-object-names.read-stream-object-names" => |ctx, names: Resource<ObjectNames>, count: u64| {
            Ok((Result::<_, String>::Ok(ctx.table.get_mut(&names)?.take(count)),))
        };
        "[method]stream-object-names.skip-stream-object-names" => |ctx, names: Resource<ObjectNames>, count: u64| {
            let (skipped, ran_out) = ctx.table.get_mut(&names)?.take(count);
            Ok((Result::<_, String>::Ok((skipped.len() as u64, ran_out)),))
        };
    });
    add_resource::<Container>(linker, CONTAINER, "container")?;
    add_resource::<ObjectNames>(linker, CONTAINER, "stream-object-names")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use emet_storage::memory::MemoryBlob;

    #[test]
    fn a_listing_tells_its_end_when_it_ran_out() {
        let mut names = ObjectNames(["a", "b", "c"].map(str::to_owned).into());
        assert_eq!(names.take(2), (vec!["a".to_owned(), "b".to_owned()], false));
        assert_eq!(names.take(1), (vec!["c".to_owned()], false));
        assert_eq!(names.take(1), (vec![], true));
    }

    #[tokio::test]
    async fn ranges_are_clamped() {
        let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlob::default());
        blobs.put("user/objects/c/x", Bytes::from_static(b"0123456789")).await.unwrap();
        let part = |start, end| read(blobs.clone(), object_key("c", "x"), start, end);
        assert_eq!(part(2, 5).await.ok().unwrap(), b"234");
        assert_eq!(part(8, u64::MAX).await.ok().unwrap(), b"89");
        assert_eq!(part(10, 12).await.ok().unwrap(), b"");
        assert_eq!(part(7, 3).await.ok().unwrap(), b"");
        assert!(read(blobs.clone(), object_key("c", "y"), 0, 1).await.is_err());
    }
}
