//! `wasi:sockets`: names are looked up once, and the addresses recorded.

use super::values::add_resource;
use super::{functions, wasi};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use std::collections::VecDeque;
use std::net::IpAddr;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{
    Host as _, HostResolveAddressStream as _,
};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress};
use wasmtime_wasi::p2::{DynPollable, Network, Pollable, SocketError, subscribe};
use wasmtime_wasi::sockets::WasiSocketsView;

/// All addresses as text, or the name of an error code.
type Addresses = Result<Vec<String>, String>;

const RESOLVE: HostFn<String, Addresses> =
    HostFn::read_remote("sockets::ip_name_lookup::resolve_addresses");

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

fn ip_addr(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}

impl WorkerCtx {
    /// Looks a name up and waits for all of its addresses.
    async fn look_up(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Vec<String>, SocketError> {
        let stream = self.sockets().resolve_addresses(network, name)?;
        self.table.get_mut(&stream)?.ready().await;
        let mut addresses = Vec::new();
        let end = loop {
            match self.sockets().resolve_next_address(Resource::new_borrow(stream.rep())) {
                Ok(Some(address)) => addresses.push(ip_addr(address).to_string()),
                Ok(None) => break Ok(addresses),
                Err(error) => break Err(error),
            }
        };
        self.table.delete(stream)?;
        end
    }

    async fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> wasmtime::Result<Result<Resource<NameLookup>, ErrorCode>> {
        let addresses = match self.journal.replay(&RESOLVE).await? {
            Some(addresses) => addresses,
            None => {
                self.before_waiting().await?;
                let addresses = match self.look_up(network, name.clone()).await {
                    Ok(addresses) => Ok(addresses),
                    Err(error) => Err(text_of_code(error.downcast()?).to_owned()),
                };
                self.journal.record(&RESOLVE, name, &addresses).await?;
                addresses
            }
        };
        match addresses {
            Ok(addresses) => {
                let addresses = addresses.iter().filter_map(|a| a.parse().ok()).collect();
                Ok(Ok(self.table.push(NameLookup(addresses))?))
            }
            Err(code) => Ok(Err(code_from_text(&code))),
        }
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    let interface = wasi("sockets/ip-name-lookup");
    functions!(linker, &interface, {
        "resolve-addresses" => |ctx, network: Resource<Network>, name: String| Ok((ctx.resolve_addresses(network, name).await?,));
        "[method]resolve-address-stream.resolve-next-address" => |ctx, lookup: Resource<NameLookup>| {
            let next = ctx.table.get_mut(&lookup)?.0.pop_front();
            Ok((Result::<_, ErrorCode>::Ok(next.map(IpAddress::from)),))
        };
        "[method]resolve-address-stream.subscribe" => |ctx, lookup: Resource<NameLookup>| {
            let pollable: Resource<DynPollable> = subscribe(&mut ctx.table, lookup)?;
            Ok((pollable,))
        };
    });
    add_resource::<NameLookup>(linker, &interface, "resolve-address-stream")
}
