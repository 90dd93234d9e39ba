//! Sockets: connections that are held between invocations, and everything that can be asked of them.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, features: ["network-error-code"], inline: r#"
package test:networking;

interface api {
    /// Addresses as texts, in the order in which the host gives them.
    resolve: func(name: string) -> result<list<string>, string>;
    /// Connects to an IPv4 address, sends the text, and returns what comes back until as many bytes have come.
    tcp-echo: func(address: tuple<u8, u8, u8, u8>, port: u16, text: string) -> result<string, string>;
    /// Connects to a port of the loopback address and keeps the connection.
    connect: func(port: u16) -> result<_, string>;
    /// Sends a line on the connection that is kept, and returns the line that comes back.
    ask: func(line: string) -> result<string, string>;
    /// Reads lines and does as they say until one says `end`; returns what was done. Keeps the connection.
    obey: func() -> result<list<string>, string>;
    /// What each call of the connection that is kept says: `ok`, or its error.
    try-all: func() -> list<tuple<string, string>>;
    /// Skips, splices, flushes and writes zeroes on the connection that is kept; the other side sends back what it gets.
    streams: func() -> result<list<string>, string>;
    /// Sets and reads every option of a TCP and of a UDP socket.
    options: func() -> result<list<string>, string>;
    /// Listens on a port of the loopback address; returns the port.
    listen: func() -> result<u16, string>;
    /// Waits for a connection and reads all that comes from it.
    accept: func() -> result<string, string>;
    /// Binds a UDP socket to a free port of the loopback address and keeps it; returns the port.
    udp-bind: func() -> result<u16, string>;
    /// Sends a datagram from the socket that is kept to a port of the loopback address, and returns the one that comes back.
    udp-ask: func(port: u16, text: string) -> result<string, string>;
    /// As `udp-ask`, connected to the port.
    udp-ask-connected: func(port: u16, text: string) -> result<string, string>;
    /// Opens sockets until one is refused, or as many are open; returns how many, and the error. All are closed again.
    open-many: func(most: u32) -> tuple<u32, string>;
}

world guest {
    import wasi:clocks/monotonic-clock@0.2.0;
    import wasi:random/random@0.2.0;
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
use std::cell::RefCell;
use std::fmt::Debug;
use wasi::io::streams::{InputStream, OutputStream, StreamError};
use wasi::sockets::instance_network::instance_network;
use wasi::sockets::ip_name_lookup::resolve_addresses;
use wasi::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, network_error_code,
};
use wasi::sockets::tcp::{ShutdownType, TcpSocket};
use wasi::sockets::tcp_create_socket::create_tcp_socket;
use wasi::sockets::udp::{OutgoingDatagram, UdpSocket};
use wasi::sockets::udp_create_socket::create_udp_socket;

struct Networking;
export!(Networking);

type Outcome<T = ()> = Result<T, String>;

/// The streams come first: they end before their socket.
struct Connection {
    input: InputStream,
    output: OutputStream,
    socket: TcpSocket,
}

thread_local! {
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
    static LISTENER: RefCell<Option<TcpSocket>> = const { RefCell::new(None) };
    static UDP: RefCell<Option<UdpSocket>> = const { RefCell::new(None) };
}

fn text(e: ErrorCode) -> String {
    e.name().to_owned()
}

/// The name of the code of a stream's error.
fn stream_text(e: StreamError) -> String {
    match e {
        StreamError::Closed => "closed".into(),
        StreamError::LastOperationFailed(e) => {
            network_error_code(&e).map_or_else(|| e.to_debug_string(), text)
        }
    }
}

fn v4(address: (u8, u8, u8, u8), port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })
}

fn loopback(port: u16) -> IpSocketAddress {
    v4((127, 0, 0, 1), port)
}

fn port_of(address: IpSocketAddress) -> u16 {
    match address {
        IpSocketAddress::Ipv4(a) => a.port,
        IpSocketAddress::Ipv6(a) => a.port,
    }
}

fn connect(address: IpSocketAddress) -> Outcome<Connection> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(text)?;
    socket.start_connect(&instance_network(), address).map_err(text)?;
    let (input, output) = loop {
        socket.subscribe().block();
        match socket.finish_connect() {
            Ok(streams) => break streams,
            Err(ErrorCode::WouldBlock) => {}
            Err(e) => return Err(text(e)),
        }
    };
    Ok(Connection { input, output, socket })
}

fn with_connection<T>(act: impl FnOnce(&Connection) -> Outcome<T>) -> Outcome<T> {
    CONNECTION.with_borrow(|c| act(c.as_ref().ok_or("there is no connection")?))
}

fn read_line(input: &InputStream) -> Outcome<String> {
    let mut line = Vec::new();
    loop {
        let byte = input.blocking_read(1).map_err(stream_text)?;
        match byte.first() {
            Some(b'\n') => return Ok(String::from_utf8_lossy(&line).into_owned()),
            Some(byte) => line.push(*byte),
            None => {}
        }
    }
}

fn bound_udp() -> Outcome<UdpSocket> {
    let socket = create_udp_socket(IpAddressFamily::Ipv4).map_err(text)?;
    socket.start_bind(&instance_network(), loopback(0)).map_err(text)?;
    socket.subscribe().block();
    socket.finish_bind().map_err(text)?;
    Ok(socket)
}

fn exchange(
    socket: &UdpSocket,
    sent: &str,
    connected: Option<u16>,
    to: Option<u16>,
) -> Outcome<String> {
    let (incoming, outgoing) = socket.stream(connected.map(loopback)).map_err(text)?;
    if connected.is_some() {
        socket.remote_address().map_err(text)?;
    }
    outgoing.subscribe().block();
    if outgoing.check_send().map_err(text)? == 0 {
        return Err("nothing may be sent".into());
    }
    let datagram =
        OutgoingDatagram { data: sent.as_bytes().to_vec(), remote_address: to.map(loopback) };
    outgoing.send(&[datagram]).map_err(text)?;
    loop {
        incoming.subscribe().block();
        if let Some(datagram) = incoming.receive(1).map_err(text)?.pop() {
            return Ok(String::from_utf8_lossy(&datagram.data).into_owned());
        }
    }
}

fn said<T>(name: &str, result: Result<T, ErrorCode>) -> (String, String) {
    (name.to_owned(), result.map_or_else(text, |_| "ok".to_owned()))
}

fn shown<T: Debug>(name: &str, result: Result<T, ErrorCode>) -> Outcome<String> {
    result.map(|value| format!("{name} {value:?}")).map_err(|e| format!("{name}: {}", text(e)))
}

impl Guest for Networking {
    fn resolve(name: String) -> Outcome<Vec<String>> {
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

    fn tcp_echo(address: (u8, u8, u8, u8), port: u16, sent: String) -> Outcome<String> {
        let Connection { input, output, socket: _socket } = connect(v4(address, port))?;
        output.blocking_write_and_flush(sent.as_bytes()).map_err(stream_text)?;
        let mut back = Vec::new();
        while back.len() < sent.len() {
            back.extend(input.blocking_read(4096).map_err(stream_text)?);
        }
        drop((input, output));
        Ok(String::from_utf8_lossy(&back).into_owned())
    }

    fn connect(port: u16) -> Outcome {
        CONNECTION.set(None);
        CONNECTION.set(Some(connect(loopback(port))?));
        Ok(())
    }

    fn ask(line: String) -> Outcome<String> {
        with_connection(|c| {
            let line = format!("{line}\n");
            c.output.blocking_write_and_flush(line.as_bytes()).map_err(stream_text)?;
            read_line(&c.input)
        })
    }

    fn obey() -> Outcome<Vec<String>> {
        with_connection(|c| {
            let mut done = Vec::new();
            loop {
                let order = read_line(&c.input)?;
                match order.as_str() {
                    "end" => return Ok(done),
                    "time" => done.push(format!("time {}", wasi::clocks::monotonic_clock::now())),
                    "random" => {
                        done.push(format!("random {}", wasi::random::random::get_random_u64()))
                    }
                    "poll" => done.push(format!("poll {}", c.input.subscribe().ready())),
                    other => done.push(other.to_owned()),
                }
                c.output.blocking_write_and_flush(b"done\n").map_err(stream_text)?;
            }
        })
    }

    fn try_all() -> Vec<(String, String)> {
        let tried = with_connection(|c| {
            c.input.subscribe().block();
            c.output.subscribe().block();
            c.socket.subscribe().block();
            let said_stream = |name: &str, result: Result<(), StreamError>| {
                (name.to_owned(), result.map_or_else(stream_text, |()| "ok".to_owned()))
            };
            Ok(vec![
                said_stream("read", c.input.read(1).map(drop)),
                said_stream("blocking-read", c.input.blocking_read(1).map(drop)),
                said_stream("skip", c.input.skip(1).map(drop)),
                said_stream("check-write", c.output.check_write().map(drop)),
                said_stream("write", c.output.blocking_write_and_flush(b"x")),
                said_stream("flush", c.output.flush()),
                said("local-address", c.socket.local_address()),
                said("remote-address", c.socket.remote_address()),
                said("hop-limit", c.socket.hop_limit()),
                said("set-hop-limit", c.socket.set_hop_limit(9)),
                said("finish-connect", c.socket.finish_connect()),
                said("accept", c.socket.accept()),
                said("shutdown", c.socket.shutdown(ShutdownType::Both)),
            ])
        });
        tried.unwrap_or_else(|e| vec![("connection".into(), e)])
    }

    fn streams() -> Outcome<Vec<String>> {
        with_connection(|c| {
            let permit = c.output.check_write().map_err(stream_text)?;
            c.output.write(b"0123456789").map_err(stream_text)?;
            c.output.flush().map_err(stream_text)?;
            c.output.blocking_flush().map_err(stream_text)?;
            let mut left = 4;
            while left > 0 {
                left -= c.input.blocking_skip(left).map_err(stream_text)?;
            }
            let mut read = String::new();
            while read.len() < 6 {
                c.input.subscribe().block();
                read.push_str(&String::from_utf8_lossy(&c.input.read(6).map_err(stream_text)?));
            }
            c.output.check_write().map_err(stream_text)?;
            c.output.write_zeroes(2).map_err(stream_text)?;
            c.output.blocking_write_zeroes_and_flush(3).map_err(stream_text)?;
            let mut zeroes = Vec::new();
            while zeroes.len() < 5 {
                zeroes.extend(c.input.blocking_read(5).map_err(stream_text)?);
            }
            // What comes back is sent again, and comes back once more.
            c.output.blocking_write_and_flush(b"abc").map_err(stream_text)?;
            let mut spliced = 0;
            while spliced < 3 {
                spliced += c.output.blocking_splice(&c.input, 3 - spliced).map_err(stream_text)?;
            }
            let mut again = String::new();
            while again.len() < 3 {
                again.push_str(&String::from_utf8_lossy(
                    &c.input.blocking_read(3).map_err(stream_text)?,
                ));
            }
            c.socket.shutdown(ShutdownType::Send).map_err(text)?;
            let end = c.input.blocking_read(1).map_err(stream_text).err().unwrap_or_default();
            Ok(vec![(permit > 0).to_string(), read, format!("{zeroes:?}"), again, end])
        })
    }

    fn options() -> Outcome<Vec<String>> {
        let tcp = create_tcp_socket(IpAddressFamily::Ipv4).map_err(text)?;
        let udp = bound_udp()?;
        tcp.set_keep_alive_enabled(true).map_err(text)?;
        tcp.set_keep_alive_idle_time(20_000_000_000).map_err(text)?;
        tcp.set_keep_alive_interval(10_000_000_000).map_err(text)?;
        tcp.set_keep_alive_count(3).map_err(text)?;
        tcp.set_hop_limit(7).map_err(text)?;
        tcp.set_receive_buffer_size(100_000).map_err(text)?;
        tcp.set_send_buffer_size(100_000).map_err(text)?;
        tcp.set_listen_backlog_size(5).map_err(text)?;
        udp.set_unicast_hop_limit(8).map_err(text)?;
        udp.set_receive_buffer_size(100_000).map_err(text)?;
        udp.set_send_buffer_size(100_000).map_err(text)?;
        Ok(vec![
            shown("keep-alive", tcp.keep_alive_enabled())?,
            shown("idle", tcp.keep_alive_idle_time())?,
            shown("interval", tcp.keep_alive_interval())?,
            shown("count", tcp.keep_alive_count())?,
            shown("hops", tcp.hop_limit())?,
            format!("receives {}", tcp.receive_buffer_size().map_err(text)? >= 100_000),
            format!("sends {}", tcp.send_buffer_size().map_err(text)? >= 100_000),
            format!("{:?} {}", tcp.address_family(), tcp.is_listening()),
            shown("udp hops", udp.unicast_hop_limit())?,
            format!("udp receives {}", udp.receive_buffer_size().map_err(text)? >= 100_000),
            format!("udp sends {}", udp.send_buffer_size().map_err(text)? >= 100_000),
            format!(
                "{:?} {}",
                udp.address_family(),
                port_of(udp.local_address().map_err(text)?) > 0
            ),
            format!("udp remote {}", udp.remote_address().err().map(text).unwrap_or_default()),
        ])
    }

    fn listen() -> Outcome<u16> {
        let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(text)?;
        socket.start_bind(&instance_network(), loopback(0)).map_err(text)?;
        socket.finish_bind().map_err(text)?;
        socket.start_listen().map_err(text)?;
        socket.finish_listen().map_err(text)?;
        let port = port_of(socket.local_address().map_err(text)?);
        LISTENER.set(Some(socket));
        Ok(port)
    }

    fn accept() -> Outcome<String> {
        LISTENER.with_borrow(|listener| {
            let listener = listener.as_ref().ok_or("nothing listens")?;
            let (_socket, input, _output) = loop {
                match listener.accept() {
                    Ok(accepted) => break accepted,
                    Err(ErrorCode::WouldBlock) => listener.subscribe().block(),
                    Err(e) => return Err(text(e)),
                }
            };
            let mut all = Vec::new();
            loop {
                match input.blocking_read(1000) {
                    Ok(bytes) => all.extend(bytes),
                    Err(StreamError::Closed) => break,
                    Err(e) => return Err(stream_text(e)),
                }
            }
            drop((input, _output));
            Ok(String::from_utf8_lossy(&all).into_owned())
        })
    }

    fn udp_bind() -> Outcome<u16> {
        let socket = bound_udp()?;
        let port = port_of(socket.local_address().map_err(text)?);
        UDP.set(Some(socket));
        Ok(port)
    }

    fn udp_ask(port: u16, sent: String) -> Outcome<String> {
        UDP.with_borrow(|socket| {
            exchange(socket.as_ref().ok_or("there is no socket")?, &sent, None, Some(port))
        })
    }

    fn udp_ask_connected(port: u16, sent: String) -> Outcome<String> {
        UDP.with_borrow(|socket| {
            exchange(socket.as_ref().ok_or("there is no socket")?, &sent, Some(port), None)
        })
    }

    fn open_many(most: u32) -> (u32, String) {
        let mut open = Vec::new();
        while (open.len() as u32) < most {
            match create_tcp_socket(IpAddressFamily::Ipv4) {
                Ok(socket) => open.push(socket),
                Err(e) => return (open.len() as u32, text(e)),
            }
        }
        (open.len() as u32, String::new())
    }
}
