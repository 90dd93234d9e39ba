//! The blob store.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:blobstore;

interface api {
    use wasi:blobstore/types.{container-metadata, object-metadata};

    create-container: func(name: string) -> result<string, string>;
    get-container: func(name: string) -> result<string, string>;
    delete-container: func(name: string) -> result<_, string>;
    container-exists: func(name: string) -> result<bool, string>;
    container-info: func(name: string) -> result<container-metadata, string>;
    write-data: func(container: string, object: string, data: list<u8>) -> result<_, string>;
    /// Writes an object of so many bytes.
    write-size: func(container: string, object: string, bytes: u64) -> result<_, string>;
    /// Bytes from `start` up to but not including `end`.
    get-data: func(container: string, object: string, start: u64, end: u64) -> result<list<u8>, string>;
    /// The same through the stream.
    get-data-async: func(container: string, object: string, start: u64, end: u64) -> result<list<u8>, string>;
    /// Sorted; read in pages of this size.
    list-objects: func(container: string, page: u64) -> result<list<string>, string>;
    has-object: func(container: string, object: string) -> result<bool, string>;
    object-info: func(container: string, object: string) -> result<object-metadata, string>;
    delete-object: func(container: string, object: string) -> result<_, string>;
    delete-objects: func(container: string, objects: list<string>) -> result<_, string>;
    /// Names are (container, object).
    copy-object: func(src: tuple<string, string>, dest: tuple<string, string>) -> result<_, string>;
    move-object: func(src: tuple<string, string>, dest: tuple<string, string>) -> result<_, string>;
    clear: func(container: string) -> result<_, string>;
}

world guest {
    import wasi:blobstore/blobstore;
    import wasi:blobstore/container;
    import wasi:blobstore/types;
    export api;
}
"# });

use exports::test::blobstore::api::Guest;
use wasi::blobstore::blobstore as store;
use wasi::blobstore::container::Container;
use wasi::blobstore::types::{ContainerMetadata, ObjectId, ObjectMetadata, OutgoingValue};
use wasi::io::streams::StreamError;

struct BlobStore;
export!(BlobStore);

type Outcome<T = ()> = Result<T, String>;

fn open(name: &str) -> Outcome<Container> {
    store::get_container(name)
}

fn id((container, object): (String, String)) -> ObjectId {
    ObjectId { container, object }
}

impl Guest for BlobStore {
    fn write_size(container: String, object: String, bytes: u64) -> Outcome {
        let container = open(&container)?;
        let value = OutgoingValue::new_outgoing_value();
        let stream = value.outgoing_value_write_body().map_err(|()| "no stream")?;
        let piece = [7; 4096];
        for start in (0..bytes).step_by(piece.len()) {
            let length = (piece.len() as u64).min(bytes - start) as usize;
            stream.blocking_write_and_flush(&piece[..length]).map_err(|e| match e {
                StreamError::LastOperationFailed(e) => e.to_debug_string(),
                StreamError::Closed => "closed".into(),
            })?;
        }
        drop(stream);
        container.write_data(&object, &value)
    }

    fn create_container(name: String) -> Outcome<String> {
        store::create_container(&name)?.name()
    }

    fn get_container(name: String) -> Outcome<String> {
        open(&name)?.name()
    }

    fn delete_container(name: String) -> Outcome {
        store::delete_container(&name)
    }

    fn container_exists(name: String) -> Outcome<bool> {
        store::container_exists(&name)
    }

    fn container_info(name: String) -> Outcome<ContainerMetadata> {
        open(&name)?.info()
    }

    fn write_data(container: String, object: String, data: Vec<u8>) -> Outcome {
        let value = OutgoingValue::new_outgoing_value();
        let body = value.outgoing_value_write_body().map_err(|()| "no body")?;
        // The largest piece that a stream has to take at once.
        for chunk in data.chunks(4096) {
            body.blocking_write_and_flush(chunk).map_err(|e| format!("{e:?}"))?;
        }
        drop(body);
        open(&container)?.write_data(&object, &value)
    }

    fn get_data(container: String, object: String, start: u64, end: u64) -> Outcome<Vec<u8>> {
        open(&container)?.get_data(&object, start, end)?.incoming_value_consume_sync()
    }

    fn get_data_async(container: String, object: String, start: u64, end: u64) -> Outcome<Vec<u8>> {
        let value = open(&container)?.get_data(&object, start, end)?;
        let stream = value.incoming_value_consume_async()?;
        let mut bytes = Vec::new();
        loop {
            match stream.blocking_read(1000) {
                Ok(more) => bytes.extend(more),
                Err(StreamError::Closed) => return Ok(bytes),
                Err(StreamError::LastOperationFailed(e)) => return Err(e.to_debug_string()),
            }
        }
    }

    fn list_objects(container: String, page: u64) -> Outcome<Vec<String>> {
        let names = open(&container)?.list_objects()?;
        let mut all = Vec::new();
        loop {
            let (more, end) = names.read_stream_object_names(page)?;
            all.extend(more);
            if end {
                all.sort();
                return Ok(all);
            }
        }
    }

    fn has_object(container: String, object: String) -> Outcome<bool> {
        open(&container)?.has_object(&object)
    }

    fn object_info(container: String, object: String) -> Outcome<ObjectMetadata> {
        open(&container)?.object_info(&object)
    }

    fn delete_object(container: String, object: String) -> Outcome {
        open(&container)?.delete_object(&object)
    }

    fn delete_objects(container: String, objects: Vec<String>) -> Outcome {
        open(&container)?.delete_objects(&objects)
    }

    fn copy_object(src: (String, String), dest: (String, String)) -> Outcome {
        store::copy_object(&id(src), &id(dest))
    }

    fn move_object(src: (String, String), dest: (String, String)) -> Outcome {
        store::move_object(&id(src), &id(dest))
    }

    fn clear(container: String) -> Outcome {
        open(&container)?.clear()
    }
}
