//! `tcp` and `tcp-create-socket`.

use super::codes::{Outcome, given, recordable};
use super::{Held, address_of, call, functions, plain_calls, text_of_address, wasi};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p2::bindings::sockets::tcp::{HostTcpSocket, ShutdownType};
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket::Host as _;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, Network, TcpSocket, subscribe};
use wasmtime_wasi::sockets::WasiSocketsView;

const CREATE: HostFn<bool, Outcome<()>> =
    HostFn::read_remote("sockets::tcp_create_socket::create_tcp_socket");
const START_BIND: HostFn<String, Outcome<()>> = HostFn::read_remote("sockets::tcp::start_bind");
const START_CONNECT: HostFn<String, Outcome<()>> =
    HostFn::write_remote("sockets::tcp::start_connect");
const FINISH_CONNECT: HostFn<(), Outcome<()>> = HostFn::read_remote("sockets::tcp::finish_connect");
const START_LISTEN: HostFn<(), Outcome<()>> = HostFn::write_remote("sockets::tcp::start_listen");
const ACCEPT: HostFn<(), Outcome<()>> = HostFn::read_remote("sockets::tcp::accept");
const LOCAL_ADDRESS: HostFn<(), Outcome<String>> =
    HostFn::read_remote("sockets::tcp::local_address");
const REMOTE_ADDRESS: HostFn<(), Outcome<String>> =
    HostFn::read_remote("sockets::tcp::remote_address");
const IS_LISTENING: HostFn<(), Outcome<bool>> = HostFn::read_remote("sockets::tcp::is_listening");
const SHUTDOWN: HostFn<String, Outcome<()>> = HostFn::write_remote("sockets::tcp::shutdown");

pub(super) const FUNCTIONS: [&[&dyn HostFnInfo]; 2] = [
    &[
        &CREATE,
        &START_BIND,
        &START_CONNECT,
        &FINISH_CONNECT,
        &START_LISTEN,
        &ACCEPT,
        &LOCAL_ADDRESS,
        &REMOTE_ADDRESS,
        &IS_LISTENING,
        &SHUTDOWN,
    ],
    PLAIN,
];

type Held_ = Resource<Held<TcpSocket>>;
type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);
type Given<T> = Result<T, ErrorCode>;

impl WorkerCtx {
    async fn create_tcp(&mut self, family: IpAddressFamily) -> wasmtime::Result<Given<Held_>> {
        let mut made = None;
        let outcome = match self.journal.replay(&CREATE).await? {
            Some(outcome) => outcome,
            None => {
                let created = match self.connections.room() {
                    Ok(()) => self.sockets().create_tcp_socket(family),
                    Err(full) => Err(full),
                };
                let outcome = recordable(created.map(|socket| made = Some(socket)))?;
                self.after_socket_call(&CREATE, is_ipv6(family), &outcome).await?;
                outcome
            }
        };
        match outcome {
            Ok(()) => Ok(Ok(self.hold_tcp(made, family)?)),
            Err(text) => Ok(given(Err(text))),
        }
    }

    fn hold_tcp(
        &mut self,
        live: Option<Resource<TcpSocket>>,
        family: IpAddressFamily,
    ) -> wasmtime::Result<Held_> {
        self.connections.open += 1;
        Ok(self.table.push(Held::new(live, family))?)
    }

    async fn finish_connect(&mut self, held: Held_) -> wasmtime::Result<Given<Streams>> {
        let ctx = self;
        let mut made = None;
        let outcome = call!(ctx, &FINISH_CONNECT, (), &held, |real| {
            HostTcpSocket::finish_connect(&mut ctx.sockets(), real)
                .map(|streams| made = Some(streams))
        });
        match outcome {
            Ok(()) => Ok(Ok(ctx.hold_streams(&held, made)?)),
            Err(text) => Ok(given(Err(text))),
        }
    }

    async fn accept(
        &mut self,
        held: Held_,
    ) -> wasmtime::Result<Given<(Held_, Resource<DynInputStream>, Resource<DynOutputStream>)>> {
        let ctx = self;
        let mut made = None;
        let outcome = call!(ctx, &ACCEPT, (), &held, |real| match ctx.connections.room() {
            Ok(()) => HostTcpSocket::accept(&mut ctx.sockets(), real)
                .map(|accepted| made = Some(accepted)),
            Err(full) => Err(full),
        });
        if let Err(text) = outcome {
            return Ok(given(Err(text)));
        }
        let family = ctx.table.get(&held)?.family;
        let (socket, streams) = match made {
            Some((socket, input, output)) => (Some(socket), Some((input, output))),
            None => (None, None),
        };
        let socket = ctx.hold_tcp(socket, family)?;
        let (input, output) = ctx.hold_streams(&socket, streams)?;
        Ok(Ok((socket, input, output)))
    }
}

fn is_ipv6(family: IpAddressFamily) -> bool {
    matches!(family, IpAddressFamily::Ipv6)
}

fn text_of_shutdown(how: ShutdownType) -> &'static str {
    match how {
        ShutdownType::Receive => "receive",
        ShutdownType::Send => "send",
        ShutdownType::Both => "both",
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("sockets/tcp-create-socket"), {
        "create-tcp-socket" => |ctx, family: IpAddressFamily| Ok((ctx.create_tcp(family).await?,));
    });
    add_connecting(linker)?;
    add_state(linker)?;
    add_plain(linker)?;
    linker.instance(&wasi("sockets/tcp"))?.resource(
        "tcp-socket",
        ResourceType::host::<Held<TcpSocket>>(),
        |mut store, rep| {
            let ctx = store.data_mut();
            ctx.connections.open = ctx.connections.open.saturating_sub(1);
            ctx.let_go::<TcpSocket>(rep)
        },
    )
}

fn add_connecting(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("sockets/tcp"), {
        "[method]tcp-socket.start-bind" => |ctx, held: Held_, network: Resource<Network>, address: IpSocketAddress| {
            let outcome = call!(ctx, &START_BIND, text_of_address(address), &held, |real| {
                HostTcpSocket::start_bind(&mut ctx.sockets(), real, network, address).await
            });
            Ok((given(outcome),))
        };
        "[method]tcp-socket.start-connect" => |ctx, held: Held_, network: Resource<Network>, address: IpSocketAddress| {
            let outcome = call!(ctx, &START_CONNECT, text_of_address(address), &held, |real| {
                HostTcpSocket::start_connect(&mut ctx.sockets(), real, network, address)
            });
            Ok((given(outcome),))
        };
        "[method]tcp-socket.finish-connect" => |ctx, held: Held_| Ok((ctx.finish_connect(held).await?,));
        "[method]tcp-socket.start-listen" => |ctx, held: Held_| {
            let outcome = call!(ctx, &START_LISTEN, (), &held, |real| HostTcpSocket::start_listen(&mut ctx.sockets(), real).await);
            Ok((given(outcome),))
        };
        "[method]tcp-socket.accept" => |ctx, held: Held_| Ok((ctx.accept(held).await?,));
        "[method]tcp-socket.shutdown" => |ctx, held: Held_, how: ShutdownType| {
            let outcome = call!(ctx, &SHUTDOWN, text_of_shutdown(how).to_owned(), &held, |real| {
                HostTcpSocket::shutdown(&mut ctx.sockets(), real, how)
            });
            Ok((given(outcome),))
        };
    });
    Ok(())
}

fn add_state(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("sockets/tcp"), {
        "[method]tcp-socket.local-address" => |ctx, held: Held_| {
            let outcome = call!(ctx, &LOCAL_ADDRESS, (), &held, |real| {
                HostTcpSocket::local_address(&mut ctx.sockets(), real).map(text_of_address)
            });
            Ok((given(outcome.and_then(|text| address_of(&text))),))
        };
        "[method]tcp-socket.remote-address" => |ctx, held: Held_| {
            let outcome = call!(ctx, &REMOTE_ADDRESS, (), &held, |real| {
                HostTcpSocket::remote_address(&mut ctx.sockets(), real).map(text_of_address)
            });
            Ok((given(outcome.and_then(|text| address_of(&text))),))
        };
        "[method]tcp-socket.is-listening" => |ctx, held: Held_| {
            let outcome = call!(ctx, &IS_LISTENING, (), &held, |real| Ok(HostTcpSocket::is_listening(&mut ctx.sockets(), real)?));
            // What is lost does not listen.
            Ok((outcome.unwrap_or(false),))
        };
        "[method]tcp-socket.address-family" => |ctx, held: Held_| Ok((ctx.table.get(&held)?.family,));
        "[method]tcp-socket.subscribe" => |ctx, held: Held_| {
            Ok((match ctx.real(&held)? {
                Some(real) => HostTcpSocket::subscribe(&mut ctx.sockets(), real)?,
                None => subscribe(&mut ctx.table, held)?,
            },))
        };
    });
    Ok(())
}

plain_calls!(linker, "sockets::tcp::", "sockets/tcp", TcpSocket, HostTcpSocket, {
    "[method]tcp-socket.finish-bind" => finish_bind() -> ();
    "[method]tcp-socket.finish-listen" => finish_listen() -> ();
    "[method]tcp-socket.set-listen-backlog-size" => set_listen_backlog_size(value: u64) -> ();
    "[method]tcp-socket.keep-alive-enabled" => keep_alive_enabled() -> bool;
    "[method]tcp-socket.set-keep-alive-enabled" => set_keep_alive_enabled(value: bool) -> ();
    "[method]tcp-socket.keep-alive-idle-time" => keep_alive_idle_time() -> u64;
    "[method]tcp-socket.set-keep-alive-idle-time" => set_keep_alive_idle_time(value: u64) -> ();
    "[method]tcp-socket.keep-alive-interval" => keep_alive_interval() -> u64;
    "[method]tcp-socket.set-keep-alive-interval" => set_keep_alive_interval(value: u64) -> ();
    "[method]tcp-socket.keep-alive-count" => keep_alive_count() -> u32;
    "[method]tcp-socket.set-keep-alive-count" => set_keep_alive_count(value: u32) -> ();
    "[method]tcp-socket.hop-limit" => hop_limit() -> u8;
    "[method]tcp-socket.set-hop-limit" => set_hop_limit(value: u8) -> ();
    "[method]tcp-socket.receive-buffer-size" => receive_buffer_size() -> u64;
    "[method]tcp-socket.set-receive-buffer-size" => set_receive_buffer_size(value: u64) -> ();
    "[method]tcp-socket.send-buffer-size" => send_buffer_size() -> u64;
    "[method]tcp-socket.set-send-buffer-size" => set_send_buffer_size(value: u64) -> ();
});
