//! One function for each thing the platform's interfaces offer to a component. See README.md.

wit_bindgen::generate!({
    world: "demo:snippets/snippets",
    path: [
        "../../wit/deps/wasi-io-0.2.0",
        "../../wit/deps/wasi-clocks-0.2.0",
        "../../wit/deps/golem-rpc-0.1.0",
        "../../wit/deps/golem-api-0.2.0",
        "../../wit/deps/wasi-keyvalue-0.1.0",
        "../../wit/deps/wasi-blobstore",
        "../../wit/deps/wasi-logging",
        "wit",
    ],
    generate_all,
});

use exports::demo::snippets::api::Guest;
use golem::api::host::*;
use wasi::blobstore::blobstore::create_container;
use wasi::keyvalue::{eventual, types::Bucket};
use wasi::logging::logging::{Level, log};

struct Snippets;
export!(Snippets);

impl Guest for Snippets {
    fn idempotency_key() -> Uuid {
        generate_idempotency_key()
    }

    fn self_metadata() -> WorkerMetadata {
        get_self_metadata()
    }

    fn worker_metadata_of(worker_id: WorkerId) -> Option<WorkerMetadata> {
        get_worker_metadata(&worker_id)
    }

    fn idle_workers(component_id: ComponentId, precise: bool) -> Vec<WorkerMetadata> {
        let idle = WorkerPropertyFilter::Status(WorkerStatusFilter {
            comparator: FilterComparator::Equal,
            value: WorkerStatus::Idle,
        });
        // Any of (all of (conditions)).
        let filter = WorkerAnyFilter { filters: vec![WorkerAllFilter { filters: vec![idle] }] };
        let getter = GetWorkers::new(component_id, Some(&filter), precise);
        let mut workers = Vec::new();
        while let Some(page) = getter.get_next() {
            workers.extend(page);
        }
        workers
    }

    fn update(worker_id: WorkerId, target_version: u64) {
        update_worker(&worker_id, target_version, UpdateMode::Automatic);
    }

    fn set_value(bucket: String, key: String, value: String) {
        let bucket = Bucket::open_bucket(&bucket).unwrap();
        let outgoing = wasi::keyvalue::types::OutgoingValue::new_outgoing_value();
        outgoing.outgoing_value_write_body_sync(value.as_bytes()).unwrap();
        eventual::set(&bucket, &key, &outgoing).unwrap();
    }

    fn get_value(bucket: String, key: String) -> Option<String> {
        let bucket = Bucket::open_bucket(&bucket).unwrap();
        let incoming = eventual::get(&bucket, &key).unwrap()?;
        Some(String::from_utf8(incoming.incoming_value_consume_sync().unwrap()).unwrap())
    }

    fn write_blob(container: String, object: String, data: Vec<u8>) {
        let container = create_container(&container).unwrap();
        let outgoing = wasi::blobstore::types::OutgoingValue::new_outgoing_value();
        let body = outgoing.outgoing_value_write_body().unwrap();
        for chunk in data.chunks(4096) {
            body.blocking_write_and_flush(chunk).unwrap();
        }
        drop(body);
        container.write_data(&object, &outgoing).unwrap();
    }

    fn read_blob(container: String, object: String) -> Vec<u8> {
        let container = create_container(&container).unwrap();
        let size = container.object_info(&object).unwrap().size;
        container.get_data(&object, 0, size).unwrap().incoming_value_consume_sync().unwrap()
    }

    fn log_message(message: String) {
        log(Level::Info, "snippets", &message);
    }
}
