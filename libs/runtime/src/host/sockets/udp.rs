//! `udp` and `udp-create-socket`.

use super::codes::{Outcome, given, recordable};
use super::{Held, address_of, call, functions, plain_calls, text_of_address, wasi};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p2::bindings::sockets::udp::{
    HostIncomingDatagramStream, HostOutgoingDatagramStream, HostUdpSocket, IncomingDatagram,
    IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream,
};
use wasmtime_wasi::p2::bindings::sockets::udp_create_socket::Host as _;
use wasmtime_wasi::p2::{Network, UdpSocket, subscribe};
use wasmtime_wasi::sockets::WasiSocketsView;

/// Data and the address of the other side.
type Datagram = (Vec<u8>, String);

const CREATE: HostFn<bool, Outcome<()>> =
    HostFn::read_remote("sockets::udp_create_socket::create_udp_socket");
const START_BIND: HostFn<String, Outcome<()>> = HostFn::read_remote("sockets::udp::start_bind");
const STREAM: HostFn<Option<String>, Outcome<()>> = HostFn::read_remote("sockets::udp::stream");
const LOCAL_ADDRESS: HostFn<(), Outcome<String>> =
    HostFn::read_remote("sockets::udp::local_address");
const REMOTE_ADDRESS: HostFn<(), Outcome<String>> =
    HostFn::read_remote("sockets::udp::remote_address");
const RECEIVE: HostFn<u64, Outcome<Vec<Datagram>>> = HostFn::read_remote("sockets::udp::receive");
const CHECK_SEND: HostFn<(), Outcome<u64>> = HostFn::read_remote("sockets::udp::check_send");
const SEND: HostFn<u64, Outcome<u64>> = HostFn::write_remote("sockets::udp::send");

pub(super) const FUNCTIONS: [&[&dyn HostFnInfo]; 2] = [
    &[&CREATE, &START_BIND, &STREAM, &LOCAL_ADDRESS, &REMOTE_ADDRESS, &RECEIVE, &CHECK_SEND, &SEND],
    PLAIN,
];

type Socket = Resource<Held<UdpSocket>>;
type Incoming = Resource<Held<IncomingDatagramStream>>;
type Outgoing = Resource<Held<OutgoingDatagramStream>>;
type Given<T> = Result<T, ErrorCode>;

impl WorkerCtx {
    async fn create_udp(&mut self, family: IpAddressFamily) -> wasmtime::Result<Given<Socket>> {
        let mut made = None;
        let outcome = match self.journal.replay(&CREATE).await? {
            Some(outcome) => outcome,
            None => {
                let created = match self.connections.room() {
                    Ok(()) => self.sockets().create_udp_socket(family).await,
                    Err(full) => Err(full),
                };
                let outcome = recordable(created.map(|socket| made = Some(socket)))?;
                self.after_socket_call(&CREATE, matches!(family, IpAddressFamily::Ipv6), &outcome)
                    .await?;
                outcome
            }
        };
        if let Err(text) = outcome {
            return Ok(given(Err(text)));
        }
        self.connections.open += 1;
        Ok(Ok(self.table.push(Held::new(made, family))?))
    }

    async fn datagrams(
        &mut self,
        held: Socket,
        remote: Option<IpSocketAddress>,
    ) -> wasmtime::Result<Given<(Incoming, Outgoing)>> {
        let ctx = self;
        let mut made = None;
        let outcome = call!(ctx, &STREAM, remote.map(text_of_address), &held, |real| {
            HostUdpSocket::stream(&mut ctx.sockets(), real, remote)
                .await
                .map(|streams| made = Some(streams))
        });
        if let Err(text) = outcome {
            return Ok(given(Err(text)));
        }
        let family = ctx.table.get(&held)?.family;
        let (incoming, outgoing) = made.unzip();
        let incoming = ctx.table.push_child(Held::new(incoming, family), &held)?;
        let outgoing = ctx.table.push_child(Held::new(outgoing, family), &held)?;
        Ok(Ok((incoming, outgoing)))
    }

    async fn receive(
        &mut self,
        held: Incoming,
        most: u64,
    ) -> wasmtime::Result<Given<Vec<IncomingDatagram>>> {
        let ctx = self;
        let outcome = call!(ctx, &RECEIVE, most, &held, |real| {
            let received = HostIncomingDatagramStream::receive(&mut ctx.sockets(), real, most);
            received.map(|all| {
                all.into_iter()
                    .map(|d| (d.data, text_of_address(d.remote_address)))
                    .collect::<Vec<_>>()
            })
        });
        let datagrams = outcome.and_then(|all| {
            let given = all.into_iter().map(|(data, from)| {
                Ok(IncomingDatagram { data, remote_address: address_of(&from)? })
            });
            given.collect::<Outcome<Vec<_>>>()
        });
        Ok(given(datagrams))
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("sockets/udp-create-socket"), {
        "create-udp-socket" => |ctx, family: IpAddressFamily| Ok((ctx.create_udp(family).await?,));
    });
    add_socket(linker)?;
    add_streams(linker)?;
    add_plain(linker)?;
    add_drops(linker)
}

fn add_socket(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("sockets/udp"), {
        "[method]udp-socket.start-bind" => |ctx, held: Socket, network: Resource<Network>, address: IpSocketAddress| {
            let outcome = call!(ctx, &START_BIND, text_of_address(address), &held, |real| {
                HostUdpSocket::start_bind(&mut ctx.sockets(), real, network, address).await
            });
            Ok((given(outcome),))
        };
        "[method]udp-socket.stream" => |ctx, held: Socket, remote: Option<IpSocketAddress>| Ok((ctx.datagrams(held, remote).await?,));
        "[method]udp-socket.local-address" => |ctx, held: Socket| {
            let outcome = call!(ctx, &LOCAL_ADDRESS, (), &held, |real| {
                HostUdpSocket::local_address(&mut ctx.sockets(), real).map(text_of_address)
            });
            Ok((given(outcome.and_then(|text| address_of(&text))),))
        };
        "[method]udp-socket.remote-address" => |ctx, held: Socket| {
            let outcome = call!(ctx, &REMOTE_ADDRESS, (), &held, |real| {
                HostUdpSocket::remote_address(&mut ctx.sockets(), real).map(text_of_address)
            });
            Ok((given(outcome.and_then(|text| address_of(&text))),))
        };
        "[method]udp-socket.address-family" => |ctx, held: Socket| Ok((ctx.table.get(&held)?.family,));
        "[method]udp-socket.subscribe" => |ctx, held: Socket| {
            Ok((match ctx.real(&held)? {
                Some(real) => HostUdpSocket::subscribe(&mut ctx.sockets(), real)?,
                None => subscribe(&mut ctx.table, held)?,
            },))
        };
    });
    Ok(())
}

fn add_streams(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("sockets/udp"), {
        "[method]incoming-datagram-stream.receive" => |ctx, held: Incoming, most: u64| Ok((ctx.receive(held, most).await?,));
        "[method]incoming-datagram-stream.subscribe" => |ctx, held: Incoming| {
            Ok((match ctx.real(&held)? {
                Some(real) => HostIncomingDatagramStream::subscribe(&mut ctx.sockets(), real)?,
                None => subscribe(&mut ctx.table, held)?,
            },))
        };
        "[method]outgoing-datagram-stream.check-send" => |ctx, held: Outgoing| {
            let outcome = call!(ctx, &CHECK_SEND, (), &held, |real| HostOutgoingDatagramStream::check_send(&mut ctx.sockets(), real));
            Ok((given(outcome),))
        };
        "[method]outgoing-datagram-stream.send" => |ctx, held: Outgoing, datagrams: Vec<OutgoingDatagram>| {
            let outcome = call!(ctx, &SEND, datagrams.len() as u64, &held, |real| {
                HostOutgoingDatagramStream::send(&mut ctx.sockets(), real, datagrams.clone())
            });
            Ok((given(outcome),))
        };
        "[method]outgoing-datagram-stream.subscribe" => |ctx, held: Outgoing| {
            Ok((match ctx.real(&held)? {
                Some(real) => HostOutgoingDatagramStream::subscribe(&mut ctx.sockets(), real)?,
                None => subscribe(&mut ctx.table, held)?,
            },))
        };
    });
    Ok(())
}

plain_calls!(linker, "sockets::udp::", "sockets/udp", UdpSocket, HostUdpSocket, {
    "[method]udp-socket.finish-bind" => finish_bind() -> ();
    "[method]udp-socket.unicast-hop-limit" => unicast_hop_limit() -> u8;
    "[method]udp-socket.set-unicast-hop-limit" => set_unicast_hop_limit(value: u8) -> ();
    "[method]udp-socket.receive-buffer-size" => receive_buffer_size() -> u64;
    "[method]udp-socket.set-receive-buffer-size" => set_receive_buffer_size(value: u64) -> ();
    "[method]udp-socket.send-buffer-size" => send_buffer_size() -> u64;
    "[method]udp-socket.set-send-buffer-size" => set_send_buffer_size(value: u64) -> ();
});

fn add_drops(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(&wasi("sockets/udp"))?;
    interface.resource(
        "udp-socket",
        ResourceType::host::<Held<UdpSocket>>(),
        |mut store, rep| {
            let ctx = store.data_mut();
            ctx.connections.open = ctx.connections.open.saturating_sub(1);
            ctx.let_go::<UdpSocket>(rep)
        },
    )?;
    interface.resource(
        "incoming-datagram-stream",
        ResourceType::host::<Held<IncomingDatagramStream>>(),
        |mut store, rep| store.data_mut().let_go::<IncomingDatagramStream>(rep),
    )?;
    // What was handed over to be sent is sent before the stream ends.
    interface.resource_async(
        "outgoing-datagram-stream",
        ResourceType::host::<Held<OutgoingDatagramStream>>(),
        |mut store, rep| {
            Box::new(async move {
                let ctx = store.data_mut();
                match ctx.table.delete(Resource::<Held<OutgoingDatagramStream>>::new_own(rep))?.live
                {
                    Some(live) => {
                        HostOutgoingDatagramStream::drop(
                            &mut ctx.sockets(),
                            Resource::new_own(live),
                        )
                        .await
                    }
                    None => Ok(()),
                }
            })
        },
    )
}
