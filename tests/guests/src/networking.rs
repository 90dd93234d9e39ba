//! Sockets.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:networking;

interface api {
    /// Addresses as texts, in the order in which the host gives them.
    resolve: func(name: string) -> result<list<string>, string>;
    /// Connects to an IPv4 address, sends the text, and returns what comes back until as many bytes have come.
    tcp-echo: func(address: tuple<u8, u8, u8, u8>, port: u16, text: string) -> result<string, string>;
    /// Binds a UDP socket to a free port of the loopback address; returns the port.
    udp-bind: func() -> result<u16, string>;
}

world guest {
    import wasi:sockets/instance-network@0.2.0;
    import wasi:sockets/ip-name-lookup@0.2.0;
    import wasi:sockets/network@0.2.0;
    import wasi:sockets/tcp@0.2.0;
    import wasi:sockets/tcp-create-socket@0.2.0;
    import wasi:sockets/udp@0.2.0;
    import wasi:sockets/udp-create-socket@0.2.0;
    export api;
}
"# });

use exports::test::networking::api::Guest;
use wasi::sockets::instance_network::instance_network;
use wasi::sockets::ip_name_lookup::resolve_addresses;
use wasi::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress,
};
use wasi::sockets::tcp_create_socket::create_tcp_socket;
use wasi::sockets::udp_create_socket::create_udp_socket;

struct Networking;
export!(Networking);

fn text(e: ErrorCode) -> String {
    format!("{e:?}")
}

fn v4(address: (u8, u8, u8, u8), port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })
}

impl Guest for Networking {
    fn resolve(name: String) -> Result<Vec<String>, String> {
        let stream = resolve_addresses(&instance_network(), &name).map_err(text)?;
        stream.subscribe().block();
        let mut all = Vec::new();
        loop {
            match stream.resolve_next_address() {
                Ok(Some(IpAddress::Ipv4((a, b, c, d)))) => all.push(format!("{a}.{b}.{c}.{d}")),
                Ok(Some(IpAddress::Ipv6(v6))) => all.push(format!("{v6:?}")),
                Ok(None) => return Ok(all),
                Err(ErrorCode::WouldBlock) => stream.subscribe().block(),
                Err(e) => return Err(text(e)),
            }
        }
    }

    fn tcp_echo(address: (u8, u8, u8, u8), port: u16, sent: String) -> Result<String, String> {
        let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(text)?;
        socket.start_connect(&instance_network(), v4(address, port)).map_err(text)?;
        let (input, output) = loop {
            socket.subscribe().block();
            match socket.finish_connect() {
                Ok(streams) => break streams,
                Err(ErrorCode::WouldBlock) => {}
                Err(e) => return Err(text(e)),
            }
        };
        output.blocking_write_and_flush(sent.as_bytes()).map_err(|e| format!("{e:?}"))?;
        let mut back = Vec::new();
        while back.len() < sent.len() {
            back.extend(input.blocking_read(4096).map_err(|e| format!("{e:?}"))?);
        }
        Ok(String::from_utf8_lossy(&back).into_owned())
    }

    fn udp_bind() -> Result<u16, String> {
        let socket = create_udp_socket(IpAddressFamily::Ipv4).map_err(text)?;
        socket.start_bind(&instance_network(), v4((127, 0, 0, 1), 0)).map_err(text)?;
        socket.subscribe().block();
        socket.finish_bind().map_err(text)?;
        match socket.local_address().map_err(text)? {
            IpSocketAddress::Ipv4(a) => Ok(a.port),
            IpSocketAddress::Ipv6(a) => Ok(a.port),
        }
    }
}
