//! `wasi:blobstore` (guest spec 7.9): containers of objects that all workers share.

mod containers;
mod objects;

use super::functions;
use super::values::{Failure, IncomingValue, OutgoingValue, Stored, add_resource};
use crate::WorkerCtx;
use crate::log::HostFnInfo;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource};

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] = &[
    &containers::CREATE_CONTAINER,
    &containers::GET_CONTAINER,
    &containers::DELETE_CONTAINER,
    &containers::CONTAINER_EXISTS,
    &containers::COPY_OBJECT,
    &containers::MOVE_OBJECT,
    &objects::GET_DATA,
    &objects::WRITE_DATA,
    &objects::LIST_OBJECTS,
    &objects::DELETE_OBJECT,
    &objects::DELETE_OBJECTS,
    &objects::HAS_OBJECT,
    &objects::OBJECT_INFO,
    &objects::CLEAR,
];

const TYPES: &str = "wasi:blobstore/types";

/// Longest name of a container, in bytes (docs/limits.md).
const MAX_CONTAINER_NAME: usize = 256;
/// Longest name of an object, in bytes (docs/limits.md).
const MAX_OBJECT_NAME: usize = 1024;
/// Largest object that is written, and largest part that is read, in bytes (docs/limits.md).
const MAX_OBJECT: usize = 64 << 20;

const NO_CONTAINER: &str = "Container not found";
const NO_OBJECT: &str = "Object does not exist";

/// A container that existed when it was opened.
struct Container {
    name: String,
    created_at: u64,
}

#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
struct ContainerMetadata {
    name: String,
    #[component(name = "created-at")]
    created_at: u64,
}

#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
struct ObjectMetadata {
    name: String,
    container: String,
    #[component(name = "created-at")]
    created_at: u64,
    size: u64,
}

#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
struct ObjectId {
    container: String,
    object: String,
}

fn check_name(what: &str, name: &str, most: usize) -> Stored<()> {
    match name.len() {
        0 => Err(Failure::Guest(format!("the {what} name is empty"))),
        length if length > most => {
            Err(Failure::Guest(format!("the {what} name is longer than {most} bytes")))
        }
        _ => Ok(()),
    }
}

/// A container's name as one segment of a key.
fn segment(container: &str) -> Stored<String> {
    check_name("container", container, MAX_CONTAINER_NAME)?;
    Ok(container.replace('%', "%25").replace('/', "%2F"))
}

/// Key of the object that tells that a container exists, and since when.
fn marker_key(container: &str) -> Stored<String> {
    Ok(format!("user/containers/{}", segment(container)?))
}

/// What the keys of a container's objects begin with.
fn objects_prefix(container: &str) -> Stored<String> {
    Ok(format!("user/objects/{}/", segment(container)?))
}

/// Key of an object.
fn object_key(container: &str, object: &str) -> Stored<String> {
    check_name("object", object, MAX_OBJECT_NAME)?;
    Ok(objects_prefix(container)? + object)
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, TYPES, {
        "[static]outgoing-value.new-outgoing-value" => |ctx| Ok((ctx.table.push(OutgoingValue::new(MAX_OBJECT))?,));
        "[method]outgoing-value.outgoing-value-write-body" => |ctx, value: Resource<OutgoingValue>| {
            Ok((Result::<_, ()>::Ok(ctx.value_body(&value)?),))
        };
        "[method]incoming-value.incoming-value-consume-sync" => |ctx, value: Resource<IncomingValue>| {
            Ok((Result::<_, String>::Ok(ctx.consume_value(&value)?.to_vec()),))
        };
        "[method]incoming-value.incoming-value-consume-async" => |ctx, value: Resource<IncomingValue>| {
            Ok((Result::<_, String>::Ok(ctx.stream_value(&value)?),))
        };
        "[method]incoming-value.size" => |ctx, value: Resource<IncomingValue>| Ok((ctx.value_size(&value)?,));
    });
    add_resource::<OutgoingValue>(linker, TYPES, "outgoing-value")?;
    add_resource::<IncomingValue>(linker, TYPES, "incoming-value")?;
    containers::add(linker)?;
    objects::add(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_containers_are_apart() {
        let at = |container, object| object_key(container, object).ok().unwrap();
        assert_eq!(at("c", "x/y"), "user/objects/c/x/y");
        assert_ne!(at("a/b", "c"), at("a", "b/c"));
        assert_ne!(at("a/b", "c"), at("a%2Fb", "c"));
        assert!(object_key("", "x").is_err());
        assert!(object_key("c", "").is_err());
        assert!(object_key("c", &"x".repeat(MAX_OBJECT_NAME + 1)).is_err());
    }
}
