//! Every metric, in the order in which they are printed (docs/operations/metrics.md).

use super::{Counter, Family, Fixed, Gauge, Histogram, LATENCY, Metric, SIZES};

/// All of them.
pub static ALL: &[&dyn Metric] = &[
    &HTTP_REQUESTS,
    &HTTP_SECONDS,
    &HTTP_IN_FLIGHT,
    &AUTH_REFUSALS,
    &GRPC_REQUESTS,
    &GRPC_SECONDS,
    &WORKERS_ACTIVE,
    &WORKERS_LOADED,
    &QUEUED,
    &MEMORY_USED,
    &MEMORY_LIMIT,
    &INVOCATIONS,
    &INVOCATION_SECONDS,
    &LOADS,
    &LOAD_SECONDS,
    &REPLAYED_ENTRIES,
    &CHECKPOINTS,
    &CHECKPOINT_SECONDS,
    &CHECKPOINT_BYTES,
    &CHECKPOINT_LOADS,
    &VERIFICATIONS,
    &DROPPED_ENTRIES,
    &HOST_CALLS,
    &RETRIES,
    &SUSPENSIONS,
    &EVICTIONS,
    &COMMITS,
    &COMMIT_ENTRIES,
    &COMMIT_SECONDS,
    &COMMIT_GROUP,
    &STORE_SECONDS,
    &STORE_FAILURES,
    &TIMERS_FIRED,
    &TIMER_LAG_SECONDS,
    &PROMISES,
    &COMPILING,
    &COMPILATIONS,
    &COMPILE_SECONDS,
    &SHARDS_HELD,
    &EXECUTORS,
    &SHARDS_UNOWNED,
    &SHARDS_MOVING,
    &SHARD_MAP_VERSION,
    &MANAGER_LEADS,
    &MANAGER_TERM,
];

// The REST API.

/// Requests that were answered.
pub static HTTP_REQUESTS: Family<Counter> = Family::new(
    "emet_http_requests_total",
    "Requests to the REST API that were answered",
    &["method", "route", "status"],
);
/// Time until the head of an answer.
pub static HTTP_SECONDS: Family<Histogram> = Family::new(
    "emet_http_request_seconds",
    "Time from a request's head to the head of its answer",
    &["route"],
);
/// Requests that are being answered.
pub static HTTP_IN_FLIGHT: Gauge =
    Gauge::new("emet_http_requests_in_flight", "Requests that are being answered");
/// Requests without sufficient credentials.
pub static AUTH_REFUSALS: Family<Counter> = Family::new(
    "emet_auth_refusals_total",
    "Requests refused for their credentials: missing, bad, or insufficient",
    &["reason"],
);

// Between services.

/// Calls that were answered.
pub static GRPC_REQUESTS: Family<Counter> = Family::new(
    "emet_grpc_requests_total",
    "gRPC calls that this process has answered, by the status known when the answer began",
    &["method", "code"],
);
/// Time until the head of an answer.
pub static GRPC_SECONDS: Family<Histogram> = Family::new(
    "emet_grpc_request_seconds",
    "Time from the head of a gRPC call to the head of its answer",
    &["method"],
);

// Workers.

/// Workers with an actor.
pub static WORKERS_ACTIVE: Gauge = Gauge::new("emet_workers_active", "Workers with an actor");
/// Workers in memory.
pub static WORKERS_LOADED: Gauge = Gauge::new("emet_workers_loaded", "Workers in memory");
/// Accepted invocations that have not started.
pub static QUEUED: Gauge = Gauge::new(
    "emet_invocations_queued",
    "Accepted invocations of active workers that have not started",
);
/// Memory in use.
pub static MEMORY_USED: Gauge =
    Gauge::new("emet_memory_used_bytes", "Linear memory of loaded workers");
/// Memory that may be used.
pub static MEMORY_LIMIT: Gauge =
    Gauge::new("emet_memory_limit_bytes", "Linear memory that workers may use together");
/// Attempts to execute an invocation, by how they ended.
pub static INVOCATIONS: Family<Counter> = Family::new(
    "emet_invocations_total",
    "Attempts to execute an invocation: completed, suspended, interrupted, restarted, exited, or failed",
    &["outcome"],
);
/// Time of an attempt that completed.
pub static INVOCATION_SECONDS: Histogram = Histogram::new(
    "emet_invocation_seconds",
    "Time of an attempt that completed, from its start to its durable result",
    LATENCY,
);
/// Attempts to bring a worker into memory.
pub static LOADS: Family<Counter> = Family::new(
    "emet_worker_loads_total",
    "Attempts to bring a worker into memory, by how they ended; the invocation it was executing goes on in it",
    &["outcome"],
);
/// Time of them.
pub static LOAD_SECONDS: Histogram = Histogram::new(
    "emet_worker_load_seconds",
    "Time of an attempt to bring a worker into memory, with replay and what goes on in it",
    LATENCY,
);
/// Oplog entries consumed by replay.
pub static REPLAYED_ENTRIES: Counter =
    Counter::new("emet_replayed_entries_total", "Oplog entries consumed by replay");
/// Checkpoints of workers.
pub static CHECKPOINTS: Family<Counter> = Family::new(
    "emet_checkpoints_total",
    "Checkpoints that were due: written, put off because the worker could not be saved then, or failed",
    &["outcome"],
);
/// Time in which a worker does nothing else.
pub static CHECKPOINT_SECONDS: Histogram = Histogram::new(
    "emet_checkpoint_seconds",
    "Time that reading its state for a checkpoint held a worker up",
    LATENCY,
);
/// Their size.
pub static CHECKPOINT_BYTES: Counter =
    Counter::new("emet_checkpoint_bytes_total", "Bytes of checkpoints that were written");
/// What loads started from.
pub static CHECKPOINT_LOADS: Family<Counter> = Family::new(
    "emet_checkpoint_loads_total",
    "Loads of workers that have checkpoints: from one, or from the log because none could be used",
    &["outcome"],
);
/// Comparisons with a replay.
pub static VERIFICATIONS: Family<Counter> = Family::new(
    "emet_verifications_total",
    "Workers compared with a replay of their history: equal, different, or not compared",
    &["outcome"],
);
/// Histories that were not kept.
pub static DROPPED_ENTRIES: Counter = Counter::new(
    "emet_oplog_dropped_entries_total",
    "Oplog entries that were dropped because a base stands for them",
);
/// Durable host calls.
pub static HOST_CALLS: Fixed<10> = Fixed::new(
    "emet_host_calls_total",
    "Durable host calls of guests, by kind, live or replayed",
    &["kind", "mode"],
    [
        "kind=\"read-local\",mode=\"live\",",
        "kind=\"read-local\",mode=\"replayed\",",
        "kind=\"write-local\",mode=\"live\",",
        "kind=\"write-local\",mode=\"replayed\",",
        "kind=\"read-remote\",mode=\"live\",",
        "kind=\"read-remote\",mode=\"replayed\",",
        "kind=\"write-remote\",mode=\"live\",",
        "kind=\"write-remote\",mode=\"replayed\",",
        "kind=\"write-remote-batched\",mode=\"live\",",
        "kind=\"write-remote-batched\",mode=\"replayed\",",
    ],
);
/// Failed attempts that are tried again.
pub static RETRIES: Counter =
    Counter::new("emet_retries_total", "Failed attempts of workers that are tried again");
/// Workers that gave their memory up to wait.
pub static SUSPENSIONS: Counter = Counter::new(
    "emet_suspensions_total",
    "Workers that gave their memory up to wait for something",
);
/// Idle workers that gave their memory up to others.
pub static EVICTIONS: Counter =
    Counter::new("emet_evictions_total", "Idle workers that gave their memory up to others");

// Storage.

/// Durable appends.
pub static COMMITS: Counter = Counter::new("emet_oplog_commits_total", "Durable appends to oplogs");
/// Entries of them.
pub static COMMIT_ENTRIES: Histogram =
    Histogram::new("emet_oplog_commit_entries", "Entries in one append to an oplog", SIZES);
/// Time of them.
pub static COMMIT_SECONDS: Histogram = Histogram::new(
    "emet_oplog_commit_seconds",
    "Time of an append to an oplog, until it is durable",
    LATENCY,
);
/// Requests that share a durable write.
pub static COMMIT_GROUP: Histogram = Histogram::new(
    "emet_store_commit_group",
    "Requests that one durable write of the embedded store, or one round trip to Redis, carried",
    SIZES,
);
/// Operations of the stores.
pub static STORE_SECONDS: Family<Histogram> = Family::new(
    "emet_store_seconds",
    "Time of an operation of the log, key-value or blob store",
    &["store", "operation"],
);
/// Operations of the stores that failed.
pub static STORE_FAILURES: Family<Counter> = Family::new(
    "emet_store_failures_total",
    "Operations of a store that failed, refusals by an epoch or index included",
    &["store", "operation"],
);

// Timers and promises.

/// Timers that were carried out.
pub static TIMERS_FIRED: Family<Counter> = Family::new(
    "emet_timers_fired_total",
    "Timers that came due: done, refused for good, or to be tried again",
    &["outcome"],
);
/// How late they were.
pub static TIMER_LAG_SECONDS: Histogram = Histogram::new(
    "emet_timer_lag_seconds",
    "How long after its time a timer was carried out",
    LATENCY,
);
/// Promises.
pub static PROMISES: Family<Counter> =
    Family::new("emet_promises_total", "Promises created and completed", &["event"]);

// Components.

/// Component versions being compiled.
pub static COMPILING: Gauge = Gauge::new("emet_compiling", "Component versions being compiled");
/// Compilations after an upload.
pub static COMPILATIONS: Family<Counter> = Family::new(
    "emet_compilations_total",
    "Component versions prepared after their upload: done or failed",
    &["outcome"],
);
/// Time of them.
pub static COMPILE_SECONDS: Histogram = Histogram::new(
    "emet_compile_seconds",
    "Time to prepare a component version after its upload",
    LATENCY,
);

// The cluster.

/// Shards of an executor.
pub static SHARDS_HELD: Gauge =
    Gauge::new("emet_shards_held", "Shards whose workers this executor runs");
/// Executors of the cluster.
pub static EXECUTORS: Gauge =
    Gauge::new("emet_executors", "Executors, as this shard manager or worker service knows them");
/// Shards without an owner.
pub static SHARDS_UNOWNED: Gauge = Gauge::new(
    "emet_shards_unowned",
    "Shards that no executor owns, as this shard manager or worker service knows them",
);
/// Shards on their way.
pub static SHARDS_MOVING: Gauge =
    Gauge::new("emet_shards_moving", "Shards that wait to be handed over");
/// Version of the shard map.
pub static SHARD_MAP_VERSION: Gauge =
    Gauge::new("emet_shard_map_version", "Version of the shard map that this process knows");
/// Leadership.
pub static MANAGER_LEADS: Gauge =
    Gauge::new("emet_manager_leads", "Whether this shard manager leads: 1 or 0");
/// Term of the group.
pub static MANAGER_TERM: Gauge = Gauge::new(
    "emet_manager_term",
    "Term of the group of shard managers, which rises with every election",
);
