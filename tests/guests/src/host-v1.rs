//! What the host interface of the 1.1 line has beyond that of 1.0.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:host-v1;

interface api {
    use golem:api/host@1.1.5.{component-id, promise-id, retry-policy, revert-worker-target, worker-id};

    get-retry-policy: func() -> retry-policy;
    set-retry-policy: func(policy: retry-policy);
    create-promise: func() -> promise-id;
    poll-promise: func(id: promise-id) -> option<list<u8>>;
    fork-worker: func(source: worker-id, target: worker-id, cut-off: u64);
    revert-worker: func(worker: worker-id, target: revert-worker-target);
    resolve-component-id: func(reference: string) -> option<component-id>;
    resolve-worker-id: func(reference: string, name: string) -> option<worker-id>;
    resolve-worker-id-strict: func(reference: string, name: string) -> option<worker-id>;
    worker-uri: func(worker: worker-id) -> string;
    self-id: func() -> worker-id;
    get-oplog-index: func() -> u64;
    /// A number kept in memory, to see what a revert or a fork has kept.
    add: func(n: u64) -> u64;
    /// Names of the entries of a worker's log.
    oplog: func(worker: worker-id, start: u64) -> list<string>;
    /// Indexes of the entries that a query finds.
    search: func(worker: worker-id, query: string) -> list<u64>;
    /// Starts a span with an attribute in the current one, and returns both spans' ids and the trace's.
    span: func(name: string) -> tuple<string, string, string>;
    trace-headers: func() -> list<tuple<string, string>>;
    /// A random number made durable through the durability interface.
    durable-random: func() -> u64;
}

world guest {
    import golem:api/host@1.1.5;
    import golem:api/oplog@1.1.5;
    import golem:api/context@1.1.5;
    import golem:durability/durability@1.2.0;
    import wasi:random/random@0.2.0;
    export api;
}
"# });

use exports::test::host_v1::api::Guest;
use golem::api1_1_5::context::{self, AttributeValue};
use golem::api1_1_5::host::{self, *};
use golem::api1_1_5::oplog::{GetOplog, OplogEntry, SearchOplog, WrappedFunctionType};
use golem::durability::durability;
use std::cell::Cell;

struct HostV1;
export!(HostV1);

thread_local!(static TOTAL: Cell<u64> = const { Cell::new(0) });

fn name(entry: &OplogEntry) -> String {
    // The case's name, without what is in it.
    let text = match entry {
        OplogEntry::ImportedFunctionInvoked(p) => {
            return format!("imported-function-invoked {}", p.function_name);
        }
        OplogEntry::ExportedFunctionInvoked(p) => {
            return format!("exported-function-invoked {}", p.function_name);
        }
        OplogEntry::Create(_) => "create",
        OplogEntry::ExportedFunctionCompleted(_) => "exported-function-completed",
        OplogEntry::Suspend(_) => "suspend",
        OplogEntry::Error(_) => "error",
        OplogEntry::NoOp(_) => "no-op",
        OplogEntry::Jump(_) => "jump",
        OplogEntry::Interrupted(_) => "interrupted",
        OplogEntry::Exited(_) => "exited",
        OplogEntry::ChangeRetryPolicy(_) => "change-retry-policy",
        OplogEntry::BeginAtomicRegion(_) => "begin-atomic-region",
        OplogEntry::EndAtomicRegion(_) => "end-atomic-region",
        OplogEntry::BeginRemoteWrite(_) => "begin-remote-write",
        OplogEntry::EndRemoteWrite(_) => "end-remote-write",
        OplogEntry::PendingWorkerInvocation(_) => "pending-worker-invocation",
        OplogEntry::PendingUpdate(_) => "pending-update",
        OplogEntry::SuccessfulUpdate(_) => "successful-update",
        OplogEntry::FailedUpdate(_) => "failed-update",
        OplogEntry::GrowMemory(_) => "grow-memory",
        OplogEntry::CreateResource(_) => "create-resource",
        OplogEntry::DropResource(_) => "drop-resource",
        OplogEntry::DescribeResource(_) => "describe-resource",
        OplogEntry::Log(_) => "log",
        OplogEntry::Restart(_) => "restart",
        OplogEntry::ActivatePlugin(_) => "activate-plugin",
        OplogEntry::DeactivatePlugin(_) => "deactivate-plugin",
        OplogEntry::Revert(_) => "revert",
        OplogEntry::CancelInvocation(_) => "cancel-invocation",
        OplogEntry::StartSpan(_) => "start-span",
        OplogEntry::FinishSpan(_) => "finish-span",
        OplogEntry::SetSpanAttribute(_) => "set-span-attribute",
    };
    text.to_owned()
}

impl Guest for HostV1 {
    fn get_retry_policy() -> RetryPolicy {
        host::get_retry_policy()
    }

    fn set_retry_policy(policy: RetryPolicy) {
        host::set_retry_policy(policy);
    }

    fn create_promise() -> PromiseId {
        host::create_promise()
    }

    fn poll_promise(id: PromiseId) -> Option<Vec<u8>> {
        host::poll_promise(&id)
    }

    fn fork_worker(source: WorkerId, target: WorkerId, cut_off: u64) {
        host::fork_worker(&source, &target, cut_off);
    }

    fn revert_worker(worker: WorkerId, target: RevertWorkerTarget) {
        host::revert_worker(&worker, target);
    }

    fn resolve_component_id(reference: String) -> Option<ComponentId> {
        host::resolve_component_id(&reference)
    }

    fn resolve_worker_id(reference: String, name: String) -> Option<WorkerId> {
        host::resolve_worker_id(&reference, &name)
    }

    fn resolve_worker_id_strict(reference: String, name: String) -> Option<WorkerId> {
        host::resolve_worker_id_strict(&reference, &name)
    }

    fn worker_uri(worker: WorkerId) -> String {
        host::worker_uri(&worker).value
    }

    fn self_id() -> WorkerId {
        host::get_self_metadata().worker_id
    }

    fn get_oplog_index() -> u64 {
        host::get_oplog_index()
    }

    fn add(n: u64) -> u64 {
        TOTAL.set(TOTAL.get() + n);
        TOTAL.get()
    }

    fn oplog(worker: WorkerId, start: u64) -> Vec<String> {
        let pages = GetOplog::new(&worker, start);
        std::iter::from_fn(|| pages.get_next()).flatten().map(|e| name(&e)).collect()
    }

    fn search(worker: WorkerId, query: String) -> Vec<u64> {
        let pages = SearchOplog::new(&worker, &query);
        std::iter::from_fn(|| pages.get_next()).flatten().map(|(index, _)| index).collect()
    }

    fn span(name: String) -> (String, String, String) {
        let before = context::current_context();
        let span = context::start_span(&name);
        span.set_attribute("made-by", &AttributeValue::String("test".to_owned()));
        let now = context::current_context();
        let ids = (now.span_id(), before.span_id(), now.trace_id());
        span.finish();
        ids
    }

    fn trace_headers() -> Vec<(String, String)> {
        context::current_context().trace_context_headers()
    }

    fn durable_random() -> u64 {
        let kind = WrappedFunctionType::ReadLocal;
        durability::observe_function_call("test", "durable-random");
        let begin = durability::begin_durable_function(kind);
        let value = if durability::current_durable_execution_state().is_live {
            // What the operation itself does is not recorded: a recovery reads back the outcome only.
            let level = host::get_oplog_persistence_level();
            host::set_oplog_persistence_level(PersistenceLevel::PersistNothing);
            let value = wasi::random::random::get_random_u64();
            host::set_oplog_persistence_level(level);
            durability::persist_durable_function_invocation(
                "test::durable-random",
                &[],
                &value.to_be_bytes(),
                kind,
            );
            value
        } else {
            let read = durability::read_persisted_durable_function_invocation();
            assert_eq!(read.function_name, "test::durable-random");
            u64::from_be_bytes(read.response.try_into().unwrap())
        };
        durability::end_durable_function(kind, begin, false);
        value
    }
}
