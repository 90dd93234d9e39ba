//! Descriptions of durable host functions.

use emet_oplog::CallKind;
use emet_values::{Type, Wit};
use std::marker::PhantomData;

/// A durable host function: its recorded name, what it does, and what is recorded of it. Every
/// one is a constant beside its implementation; [`crate::host::describe`] finds them by name.
pub struct HostFn<Req, Resp> {
    /// The recorded name: part of the stored format (guest spec 7, names column).
    pub name: &'static str,
    /// What it does to the world.
    pub kind: CallKind,
    /// Recorded also where reads of local state are not: it tells the order of events, which what
    /// follows in the log depends on.
    pub tells_order: bool,
    /// Asked again, it gives the same answer: the answer need not be durable before the guest goes
    /// on, only before the next effect (law L2).
    pub same_again: bool,
    types: PhantomData<fn(Req) -> Resp>,
}

impl<Req: Wit, Resp: Wit> HostFn<Req, Resp> {
    /// A description.
    pub const fn new(name: &'static str, kind: CallKind) -> Self {
        Self { name, kind, tells_order: false, same_again: false, types: PhantomData }
    }

    /// Reads which of several events came first.
    pub const fn read_order(name: &'static str) -> Self {
        Self { tells_order: true, ..Self::new(name, CallKind::ReadLocal) }
    }

    /// Reads local state.
    pub const fn read_local(name: &'static str) -> Self {
        Self::new(name, CallKind::ReadLocal)
    }

    /// Changes local state.
    pub const fn write_local(name: &'static str) -> Self {
        Self::new(name, CallKind::WriteLocal)
    }

    /// Reads external state.
    pub const fn read_remote(name: &'static str) -> Self {
        Self::new(name, CallKind::ReadRemote)
    }

    /// Changes external state.
    pub const fn write_remote(name: &'static str) -> Self {
        Self::new(name, CallKind::WriteRemote)
    }

    /// Changes external state, at a place that tells repetitions from new requests and keeps what
    /// it answered.
    pub const fn write_once(name: &'static str) -> Self {
        Self { same_again: true, ..Self::write_remote(name) }
    }

    /// Is one call of several that together change external state.
    pub const fn batched(name: &'static str) -> Self {
        Self::new(name, CallKind::WriteRemoteBatched)
    }
}

/// What can be said of a host function without knowing its Rust types.
pub trait HostFnInfo: Sync {
    /// The recorded name.
    fn name(&self) -> &'static str;
    /// Type of the recorded request.
    fn request(&self) -> Type;
    /// Type of the recorded response.
    fn response(&self) -> Type;
}

impl<Req: Wit, Resp: Wit> HostFnInfo for HostFn<Req, Resp> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn request(&self) -> Type {
        Req::wit_type()
    }
    fn response(&self) -> Type {
        Resp::wit_type()
    }
}
