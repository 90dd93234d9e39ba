//! Promises.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:promise;

interface api {
    use golem:api/host@0.2.0.{promise-id};

    create: func() -> promise-id;
    await: func(id: promise-id) -> list<u8>;
    poll: func(id: promise-id) -> option<list<u8>>;
    complete: func(id: promise-id, data: list<u8>) -> bool;
    delete: func(id: promise-id);
    /// Creates a promise, prints its index in the log and waits for it.
    create-and-await: func() -> list<u8>;
    /// Creates a promise, completes it with the data and awaits it.
    complete-own: func(data: list<u8>) -> list<u8>;
}

world guest {
    import golem:api/host@0.2.0;
    import golem:api/host@1.1.5;
    export api;
}
"# });

use exports::test::promise::api::Guest;
use golem::api0_2_0::host as v0;
use golem::api1_1_5::host as v1;

struct Promise;
export!(Promise);

// The two versions of the package have types of their own.
fn newer(id: &v0::PromiseId) -> v1::PromiseId {
    let uuid = &id.worker_id.component_id.uuid;
    v1::PromiseId {
        worker_id: v1::WorkerId {
            component_id: v1::ComponentId {
                uuid: v1::Uuid { high_bits: uuid.high_bits, low_bits: uuid.low_bits },
            },
            worker_name: id.worker_id.worker_name.clone(),
        },
        oplog_idx: id.oplog_idx,
    }
}

impl Guest for Promise {
    fn create() -> v0::PromiseId {
        v0::create_promise()
    }

    fn await_(id: v0::PromiseId) -> Vec<u8> {
        v0::await_promise(&id)
    }

    fn poll(id: v0::PromiseId) -> Option<Vec<u8>> {
        v1::poll_promise(&newer(&id))
    }

    fn complete(id: v0::PromiseId, data: Vec<u8>) -> bool {
        v0::complete_promise(&id, &data)
    }

    fn delete(id: v0::PromiseId) {
        v0::delete_promise(&id);
    }

    fn create_and_await() -> Vec<u8> {
        let id = v0::create_promise();
        println!("waiting for {}", id.oplog_idx);
        let data = v0::await_promise(&id);
        println!("got {} bytes", data.len());
        data
    }

    fn complete_own(data: Vec<u8>) -> Vec<u8> {
        let id = v0::create_promise();
        assert!(v0::complete_promise(&id, &data));
        v0::await_promise(&id)
    }
}
