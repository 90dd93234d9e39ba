//! Types of `golem:api/host`, the same in all versions but for the retry policy.

use emet_model::{
    Comparator, ComponentId, PromiseId, RetryPolicy, StringComparator, Timestamp, UpdateMode,
    WorkerFilter, WorkerId, WorkerMetadata, WorkerStatus,
};
use emet_oplog::PersistenceLevel;
use std::time::Duration;
use uuid::Uuid;
use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WitUuid {
    #[component(name = "high-bits")]
    pub(crate) high_bits: u64,
    #[component(name = "low-bits")]
    pub(crate) low_bits: u64,
}

impl From<Uuid> for WitUuid {
    fn from(uuid: Uuid) -> Self {
        let (high_bits, low_bits) = uuid.as_u64_pair();
        Self { high_bits, low_bits }
    }
}

impl From<WitUuid> for Uuid {
    fn from(uuid: WitUuid) -> Self {
        Self::from_u64_pair(uuid.high_bits, uuid.low_bits)
    }
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WitComponentId {
    uuid: WitUuid,
}

impl From<ComponentId> for WitComponentId {
    fn from(id: ComponentId) -> Self {
        Self { uuid: id.0.into() }
    }
}

impl From<WitComponentId> for ComponentId {
    fn from(id: WitComponentId) -> Self {
        Self(id.uuid.into())
    }
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WitWorkerId {
    #[component(name = "component-id")]
    component_id: WitComponentId,
    #[component(name = "worker-name")]
    worker_name: String,
}

impl From<WorkerId> for WitWorkerId {
    fn from(id: WorkerId) -> Self {
        Self { component_id: id.component_id.into(), worker_name: id.worker_name }
    }
}

impl From<WitWorkerId> for WorkerId {
    fn from(id: WitWorkerId) -> Self {
        Self::new(id.component_id.into(), id.worker_name)
    }
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WitPromiseId {
    #[component(name = "worker-id")]
    worker_id: WitWorkerId,
    #[component(name = "oplog-idx")]
    oplog_idx: u64,
}

impl From<PromiseId> for WitPromiseId {
    fn from(id: PromiseId) -> Self {
        Self { worker_id: id.worker_id.into(), oplog_idx: id.oplog_idx }
    }
}

impl From<WitPromiseId> for PromiseId {
    fn from(id: WitPromiseId) -> Self {
        Self { worker_id: id.worker_id.into(), oplog_idx: id.oplog_idx }
    }
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WitUri {
    pub(crate) value: String,
}

/// The policy of `golem:api@0.2.x`: without jitter.
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct RetryPolicy02 {
    #[component(name = "max-attempts")]
    max_attempts: u32,
    #[component(name = "min-delay")]
    min_delay: u64,
    #[component(name = "max-delay")]
    max_delay: u64,
    multiplier: f64,
}

/// The policy of `golem:api@1.x`.
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct RetryPolicy11 {
    #[component(name = "max-attempts")]
    max_attempts: u32,
    #[component(name = "min-delay")]
    min_delay: u64,
    #[component(name = "max-delay")]
    max_delay: u64,
    multiplier: f64,
    #[component(name = "max-jitter-factor")]
    max_jitter_factor: Option<f64>,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl From<RetryPolicy> for RetryPolicy02 {
    fn from(p: RetryPolicy) -> Self {
        let (min_delay, max_delay) = (nanos(p.min_delay), nanos(p.max_delay));
        Self { max_attempts: p.max_attempts, min_delay, max_delay, multiplier: p.multiplier }
    }
}

impl From<RetryPolicy02> for RetryPolicy {
    fn from(p: RetryPolicy02) -> Self {
        Self {
            max_attempts: p.max_attempts,
            min_delay: Duration::from_nanos(p.min_delay),
            max_delay: Duration::from_nanos(p.max_delay),
            multiplier: p.multiplier,
            max_jitter_factor: None,
        }
    }
}

impl From<RetryPolicy> for RetryPolicy11 {
    fn from(p: RetryPolicy) -> Self {
        Self {
            max_attempts: p.max_attempts,
            min_delay: nanos(p.min_delay),
            max_delay: nanos(p.max_delay),
            multiplier: p.multiplier,
            max_jitter_factor: p.max_jitter_factor,
        }
    }
}

impl From<RetryPolicy11> for RetryPolicy {
    fn from(p: RetryPolicy11) -> Self {
        let without = RetryPolicy02 {
            max_attempts: p.max_attempts,
            min_delay: p.min_delay,
            max_delay: p.max_delay,
            multiplier: p.multiplier,
        };
        Self { max_jitter_factor: p.max_jitter_factor, ..without.into() }
    }
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum WitLevel {
    #[component(name = "persist-nothing")]
    Nothing,
    #[component(name = "persist-remote-side-effects")]
    RemoteSideEffects,
    #[component(name = "smart")]
    Smart,
}

impl From<WitLevel> for PersistenceLevel {
    fn from(level: WitLevel) -> Self {
        match level {
            WitLevel::Nothing => Self::Nothing,
            WitLevel::RemoteSideEffects => Self::RemoteSideEffects,
            WitLevel::Smart => Self::Smart,
        }
    }
}

impl From<PersistenceLevel> for WitLevel {
    fn from(level: PersistenceLevel) -> Self {
        match level {
            PersistenceLevel::Nothing => Self::Nothing,
            PersistenceLevel::RemoteSideEffects => Self::RemoteSideEffects,
            PersistenceLevel::Smart => Self::Smart,
        }
    }
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "values are made by lifting from the guest")]
pub(crate) enum WitUpdateMode {
    #[component(name = "automatic")]
    Automatic,
    #[component(name = "snapshot-based")]
    SnapshotBased,
}

impl From<WitUpdateMode> for UpdateMode {
    fn from(mode: WitUpdateMode) -> Self {
        match mode {
            WitUpdateMode::Automatic => Self::Automatic,
            WitUpdateMode::SnapshotBased => Self::Manual,
        }
    }
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "values are made by lifting from the guest")]
pub(crate) enum WitComparator {
    #[component(name = "equal")]
    Equal,
    #[component(name = "not-equal")]
    NotEqual,
    #[component(name = "greater-equal")]
    GreaterEqual,
    #[component(name = "greater")]
    Greater,
    #[component(name = "less-equal")]
    LessEqual,
    #[component(name = "less")]
    Less,
}

impl From<WitComparator> for Comparator {
    fn from(comparator: WitComparator) -> Self {
        match comparator {
            WitComparator::Equal => Self::Equal,
            WitComparator::NotEqual => Self::NotEqual,
            WitComparator::GreaterEqual => Self::GreaterEqual,
            WitComparator::Greater => Self::Greater,
            WitComparator::LessEqual => Self::LessEqual,
            WitComparator::Less => Self::Less,
        }
    }
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "values are made by lifting from the guest")]
pub(crate) enum WitStringComparator {
    #[component(name = "equal")]
    Equal,
    #[component(name = "not-equal")]
    NotEqual,
    #[component(name = "like")]
    Like,
    #[component(name = "not-like")]
    NotLike,
}

impl From<WitStringComparator> for StringComparator {
    fn from(comparator: WitStringComparator) -> Self {
        match comparator {
            WitStringComparator::Equal => Self::Equal,
            WitStringComparator::NotEqual => Self::NotEqual,
            WitStringComparator::Like => Self::Like,
            WitStringComparator::NotLike => Self::NotLike,
        }
    }
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum WitStatus {
    #[component(name = "running")]
    Running,
    #[component(name = "idle")]
    Idle,
    #[component(name = "suspended")]
    Suspended,
    #[component(name = "interrupted")]
    Interrupted,
    #[component(name = "retrying")]
    Retrying,
    #[component(name = "failed")]
    Failed,
    #[component(name = "exited")]
    Exited,
}

impl From<WorkerStatus> for WitStatus {
    fn from(status: WorkerStatus) -> Self {
        match status {
            WorkerStatus::Running => Self::Running,
            WorkerStatus::Idle => Self::Idle,
            WorkerStatus::Suspended => Self::Suspended,
            WorkerStatus::Interrupted => Self::Interrupted,
            WorkerStatus::Retrying => Self::Retrying,
            WorkerStatus::Failed => Self::Failed,
            WorkerStatus::Exited => Self::Exited,
        }
    }
}

impl From<WitStatus> for WorkerStatus {
    fn from(status: WitStatus) -> Self {
        match status {
            WitStatus::Running => Self::Running,
            WitStatus::Idle => Self::Idle,
            WitStatus::Suspended => Self::Suspended,
            WitStatus::Interrupted => Self::Interrupted,
            WitStatus::Retrying => Self::Retrying,
            WitStatus::Failed => Self::Failed,
            WitStatus::Exited => Self::Exited,
        }
    }
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct NameFilter {
    comparator: WitStringComparator,
    value: String,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct StatusFilter {
    comparator: WitComparator,
    value: WitStatus,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct NumberFilter {
    comparator: WitComparator,
    value: u64,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct EnvFilter {
    name: String,
    comparator: WitStringComparator,
    value: String,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum PropertyFilter {
    #[component(name = "name")]
    Name(NameFilter),
    #[component(name = "status")]
    Status(StatusFilter),
    #[component(name = "version")]
    Version(NumberFilter),
    #[component(name = "created-at")]
    CreatedAt(NumberFilter),
    #[component(name = "env")]
    Env(EnvFilter),
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct AllFilter {
    filters: Vec<PropertyFilter>,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct AnyFilter {
    filters: Vec<AllFilter>,
}

impl From<PropertyFilter> for WorkerFilter {
    fn from(filter: PropertyFilter) -> Self {
        match filter {
            PropertyFilter::Name(f) => {
                Self::Name { comparator: f.comparator.into(), value: f.value }
            }
            PropertyFilter::Status(f) => {
                Self::Status { comparator: f.comparator.into(), value: f.value.into() }
            }
            PropertyFilter::Version(f) => {
                Self::Version { comparator: f.comparator.into(), value: f.value }
            }
            PropertyFilter::CreatedAt(f) => {
                Self::CreatedAt { comparator: f.comparator.into(), value: Timestamp(f.value) }
            }
            PropertyFilter::Env(f) => {
                Self::Env { name: f.name, comparator: f.comparator.into(), value: f.value }
            }
        }
    }
}

impl From<AnyFilter> for WorkerFilter {
    fn from(filter: AnyFilter) -> Self {
        let all = |all: AllFilter| Self::And {
            filters: all.filters.into_iter().map(Self::from).collect(),
        };
        Self::Or { filters: filter.filters.into_iter().map(all).collect() }
    }
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WitWorkerMetadata {
    #[component(name = "worker-id")]
    worker_id: WitWorkerId,
    args: Vec<String>,
    env: Vec<(String, String)>,
    status: WitStatus,
    #[component(name = "component-version")]
    component_version: u64,
    #[component(name = "retry-count")]
    retry_count: u64,
}

emet_values::wit_record! {
    /// Worker metadata as it is recorded.
    pub(crate) struct RecordedMetadata {
        component_high: u64,
        component_low: u64,
        worker_name: String,
        args: Vec<String>,
        env: Vec<(String, String)>,
        status: u8,
        component_version: u64,
        retry_count: u64,
    }
}

impl From<WorkerMetadata> for RecordedMetadata {
    fn from(m: WorkerMetadata) -> Self {
        let (component_high, component_low) = m.worker_id.component_id.0.as_u64_pair();
        Self {
            component_high,
            component_low,
            worker_name: m.worker_id.worker_name,
            args: m.args,
            env: m.env.into_iter().collect(),
            status: m.status.number(),
            component_version: m.component_version,
            retry_count: m.retry_count,
        }
    }
}

impl From<RecordedMetadata> for WitWorkerMetadata {
    fn from(m: RecordedMetadata) -> Self {
        let component = ComponentId(Uuid::from_u64_pair(m.component_high, m.component_low));
        Self {
            worker_id: WorkerId::new(component, m.worker_name).into(),
            args: m.args,
            env: m.env,
            status: WorkerStatus::from_number(m.status).unwrap_or(WorkerStatus::Idle).into(),
            component_version: m.component_version,
            retry_count: m.retry_count,
        }
    }
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum WitRevertTarget {
    #[component(name = "revert-to-oplog-index")]
    ToOplogIndex(u64),
    #[component(name = "revert-last-invocations")]
    LastInvocations(u64),
}
