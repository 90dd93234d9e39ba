//! `wasi:sockets`: names are looked up once, and the addresses recorded.

use super::values::add_resource;
use super::{functions, wasi};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use std::collections::VecDeque;
use std::net::IpAddr;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{Host as _, HostResolveAddressStream as _};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress};
use wasmtime_wasi::p2::{DynPollable, Network, Pollable, SocketError, subscribe};
use wasmtime_wasi::sockets::WasiSocketsView;

/// All addresses as text, or the name of an error code.
type Addresses = Result<Vec<String>, String>;

const RESOLVE: HostFn<String, Addresses> = HostFn::read_remote("sockets::ip_name_lookup::resolve_addresses");

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] = &[&RESOLVE];

/// The addresses that the guest has not asked for yet.
struct NameLookup(VecDeque<IpAddr>);

#[async_trait]
impl Pollable for NameLookup {
    async fn ready(&mut self) {}
}

/// The text that is recorded for a code. A lookup fails with one of these only.
fn text_of_code(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::AccessDenied => "access-denied",
        ErrorCode::InvalidArgument => "invalid-argument",
        ErrorCode::NameUnresolvable => "name-unresolvable",
        ErrorCode::TemporaryResolverFailure => "temporary-resolver-failure",
        ErrorCode::PermanentResolverFailure => "permanent-resolver-failure",
        _ => "unknown",
    }
}

fn code_from_text(text: &str) -> ErrorCode {
    match text {
        "access-denied" => ErrorCode::AccessDenied,
        "invalid-argument" => ErrorCode::InvalidArgument,
        "name-unresolvable" => ErrorCode::NameUnresolvable,
        "temporary-resolver-failure" => ErrorCode::TemporaryResolverFailure,
        "permanent-resolver-failure" => ErrorCode::PermanentResolverFailure,
        _ => ErrorCode::Unknown,
    }
}
