//! `wasi:sockets`. Names are looked up once, and the addresses recorded. Connections are not
//! durable: what the guest saw of them is recorded, call by call, so that it is replayed as it was;
//! but after a replay the sockets are not there. Every later use of one is answered with
//! `connection-reset`, as if the other side had gone, and the guest goes on from there.

mod codes;
mod lookup;
mod streams;
mod tcp;
mod udp;

use super::{functions, wasi};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use crate::network::{Reach, Refusal};
use codes::{Outcome, code_of_error, text_of};
use emet_oplog::{CallKind, LogLevel};
use emet_values::Wit;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p2::{Pollable, SocketResult};
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{WasiCtxBuilder, async_trait};

/// Most sockets that a worker may hold, so that it cannot use up the descriptors of the process
/// (docs/limits.md).
const MAX_SOCKETS: usize = 256;

/// What the worker has of the network.
#[derive(Default)]
pub(crate) struct Connections {
    /// Streams of TCP connections, by their place in the table.
    inputs: HashSet<u32>,
    /// As `inputs`, of the other direction.
    outputs: HashSet<u32>,
    /// Sockets that are open.
    open: usize,
    /// What the network policy has refused and nobody was told of yet.
    refusal: Arc<Mutex<Option<Refusal>>>,
}

/// A socket or a stream of datagrams as the guest holds it.
pub(super) struct Held<T> {
    /// Place of the real one; none: it was lost with an earlier life of the worker.
    live: Option<u32>,
    family: IpAddressFamily,
    of: PhantomData<fn() -> T>,
}

impl<T> Held<T> {
    fn new(live: Option<Resource<T>>, family: IpAddressFamily) -> Self
    where
        T: 'static,
    {
        Self { live: live.map(|resource| resource.rep()), family, of: PhantomData }
    }
}

/// What is lost does not keep anybody waiting.
#[async_trait]
impl<T: 'static> Pollable for Held<T> {
    async fn ready(&mut self) {}
}

/// One call of something that is held: its recorded outcome; or what the real one answers, which is
/// recorded.
macro_rules! call {
    ($ctx:ident, $function:expr, $request:expr, $held:expr, |$real:ident| $act:expr) => {
        match $ctx.journal.replay($function).await? {
            Some(outcome) => {
                $ctx.lose($held)?;
                outcome
            }
            None => {
                $ctx.before_socket_call($function).await?;
                let outcome = match $ctx.real($held)? {
                    Some($real) => $crate::host::sockets::codes::recordable($act)?,
                    None => Err("connection-reset".to_owned()),
                };
                $ctx.after_socket_call($function, $request, &outcome).await?;
                outcome
            }
        }
    };
}
use call;

/// Defines the calls of a resource that take and give plain values.
macro_rules! plain_calls {
    ($linker:ident, $package:literal, $interface:literal, $real:ty, $host:ident, {
        $($name:literal => $method:ident($($arg:ident: $ty:ty)?) -> $ok:ty;)*
    }) => {
        const PLAIN: &[&dyn HostFnInfo] =
            &[$(&HostFn::<($($ty,)?), Outcome<$ok>>::read_remote(concat!($package, stringify!($method)))),*];

        fn add_plain($linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
            functions!($linker, &wasi($interface), {
                $($name => |ctx, held: Resource<Held<$real>> $(, $arg: $ty)?| {
                    const CALL: HostFn<($($ty,)?), Outcome<$ok>> = HostFn::read_remote(concat!($package, stringify!($method)));
                    let outcome = call!(ctx, &CALL, ($($arg,)?), &held, |real| $host::$method(&mut ctx.sockets(), real $(, $arg)?));
                    Ok((given(outcome),))
                };)*
            });
            Ok(())
        }
    };
}
use plain_calls;

/// Addresses are recorded as text.
fn text_of_address(address: IpSocketAddress) -> String {
    SocketAddr::from(address).to_string()
}

fn address_of(text: &str) -> Result<IpSocketAddress, String> {
    text.parse::<SocketAddr>()
        .map(IpSocketAddress::from)
        .map_err(|_| text_of(ErrorCode::Unknown).to_owned())
}

/// Names and sockets for a worker, as far as it may reach.
pub(crate) fn allow(wasi: &mut WasiCtxBuilder, reach: Arc<Reach>) -> Connections {
    let connections = Connections::default();
    let refusal = connections.refusal.clone();
    wasi.allow_ip_name_lookup(true).allow_tcp(true).allow_udp(true).socket_addr_check(
        move |address, purpose| {
            let refused = reach.refuses(address.ip()).filter(|_| is_checked(purpose));
            let allowed = refused.is_none();
            // Of what comes in the guest knows nothing: there is nobody to tell.
            if let (Some(refused), false) =
                (refused, matches!(purpose, SocketAddrUse::TcpAccept | SocketAddrUse::UdpReceive))
            {
                *refusal.lock() = Some(refused);
            }
            Box::pin(async move { allowed })
        },
    );
    connections
}

/// The policy is about whom a guest talks to. Binding alone reaches nobody, and the system does it
/// for every connection.
fn is_checked(purpose: SocketAddrUse) -> bool {
    !matches!(purpose, SocketAddrUse::TcpBind | SocketAddrUse::UdpBind)
}

impl Connections {
    /// Whether one more socket may be opened.
    fn room(&self) -> SocketResult<()> {
        if self.open < MAX_SOCKETS { Ok(()) } else { Err(ErrorCode::NewSocketLimit.into()) }
    }
}

impl WorkerCtx {
    /// The real one of what is held, if it is there.
    fn real<T: 'static>(
        &mut self,
        held: &Resource<Held<T>>,
    ) -> wasmtime::Result<Option<Resource<T>>> {
        Ok(self.table.get(held)?.live.map(Resource::new_borrow))
    }

    /// Part of the history of what is held is in the log and was not repeated: the real one, if
    /// this life has made it, is not in the state that the guest knows.
    fn lose<T: Send + 'static>(&mut self, held: &Resource<Held<T>>) -> wasmtime::Result<()> {
        if let Some(live) = self.table.get_mut(held)?.live.take() {
            // Pollables of it may be left; then it ends with them and the worker.
            drop(self.table.delete(Resource::<T>::new_own(live)));
        }
        Ok(())
    }

    /// What others see must not depend on what could be lost (law L2). The call is not announced:
    /// after a failure it is not repeated, since the socket is gone.
    async fn before_socket_call<Req, Resp>(
        &mut self,
        function: &HostFn<Req, Resp>,
    ) -> wasmtime::Result<()> {
        if function.kind == CallKind::WriteRemote { self.journal.flush().await } else { Ok(()) }
    }

    async fn after_socket_call<Req: Wit + Send, T: Wit + Clone + Send + Sync>(
        &mut self,
        function: &HostFn<Req, Outcome<T>>,
        request: Req,
        outcome: &Outcome<T>,
    ) -> wasmtime::Result<()> {
        self.tell_refusal().await?;
        self.journal.record(function, request, outcome).await
    }

    /// Tells guest and operator which rule of the network policy has refused what.
    async fn tell_refusal(&mut self) -> wasmtime::Result<()> {
        let Some(refusal) = self.connections.refusal.lock().take() else { return Ok(()) };
        tracing::warn!(worker = %self.worker, address = %refusal.address, rule = %refusal.rule, "the network policy refused a connection of a guest");
        self.log(LogLevel::Warn, "network", &refusal.to_string()).await
    }

    /// Takes what is held out of the table, and the real one with it.
    fn let_go<T: Send + 'static>(&mut self, rep: u32) -> wasmtime::Result<()> {
        match self.table.delete(Resource::<Held<T>>::new_own(rep))?.live {
            Some(live) => drop(self.table.delete(Resource::<T>::new_own(live))?),
            None => return Ok(()),
        }
        Ok(())
    }
}

pub(super) fn recorded() -> impl Iterator<Item = &'static &'static dyn HostFnInfo> {
    [lookup::FUNCTIONS, streams::FUNCTIONS]
        .into_iter()
        .chain(tcp::FUNCTIONS)
        .chain(udp::FUNCTIONS)
        .flatten()
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    lookup::add(linker)?;
    tcp::add(linker)?;
    udp::add(linker)?;
    functions!(linker, &wasi("sockets/network"), {
        "network-error-code" => |ctx, error: Resource<wasmtime::Error>| Ok((code_of_error(ctx.table.get(&error)?),));
    });
    Ok(())
}
