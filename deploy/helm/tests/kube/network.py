"""The network of the pods: a bridge, cluster addresses of Services, and DNS."""
import asyncio
import itertools
import random
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Coroutine

NODE = "10.244.0.1"
DNS = "10.96.0.10"
DOMAIN = "cluster.local"
# Names of links are never used twice: those of an ended pod go some time after it.
LINKS = itertools.count()


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


class Network:
    """Owns the bridge `pods` of this network namespace, and hands out addresses."""

    def __init__(self) -> None:
        ip("link", "set", "lo", "up")
        ip("link", "add", "pods", "type", "bridge")
        ip("addr", "add", f"{NODE}/16", "dev", "pods")
        ip("addr", "add", f"{DNS}/32", "dev", "pods")
        ip("link", "set", "pods", "up")
        self._pods = 1
        self._services = 10
        self._loop = asyncio.new_event_loop()
        self._servers = []
        self._connections: set[asyncio.Task] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def connect(self, pid: int) -> str:
        """Gives the network namespace of a process an address on the bridge."""
        self._pods += 1
        address = f"10.244.{self._pods >> 8}.{self._pods & 255}"
        link = f"veth{next(LINKS)}"
        ip("link", "add", link, "master", "pods", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        ip("link", "set", link, "up")
        inside = ("nsenter", "--net", "--target", str(pid), "ip")
        for arguments in (("addr", "add", f"{address}/16", "dev", "eth0"), ("link", "set", "eth0", "up"),
                          ("route", "add", "default", "via", NODE)):
            subprocess.run([*inside, *arguments], check=True)
        return address

    def cluster_address(self) -> str:
        """A new address of a Service."""
        self._services += 1
        address = f"10.96.0.{self._services}"
        ip("addr", "add", f"{address}/32", "dev", "pods")
        return address

    def forward(self, address: str, port: int, endpoints: Callable[[], list[tuple[str, int]]]) -> None:
        """Leads connections to one of the endpoints that there are when the connection is made."""
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there_reader, there_writer = await asyncio.open_connection(*random.choice(endpoints()))
            except (IndexError, OSError):
                # No endpoint: as a Service without ready pods, refuse.
                writer.transport.abort()
                return
            await asyncio.gather(pipe(reader, there_writer), pipe(there_reader, writer))

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # The loop itself holds tasks weakly.
            task = self._loop.create_task(serve(reader, writer))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

        self._servers.append(self._run(asyncio.start_server(accept, address, port)))

    def serve_dns(self, lookup: Callable[[str], list[str] | None]) -> None:
        transport, _ = self._run(self._loop.create_datagram_endpoint(lambda: Dns(lookup), (DNS, 53)))
        self._servers.append(transport)

    def _run(self, task: Coroutine):
        return asyncio.run_coroutine_threadsafe(task, self._loop).result()

    def close(self) -> None:
        async def close() -> None:
            for server in self._servers:
                server.close()
            for task in self._connections:
                task.cancel()
            # Sockets are closed, and tasks end, in the loop's next round.
            await asyncio.sleep(0.05)

        self._run(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        ip("link", "del", "pods")


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


class Dns(asyncio.DatagramProtocol):
    """Answers A queries: addresses of a name; none for a name that does not exist."""

    def __init__(self, lookup: Callable[[str], list[str] | None]):
        self.lookup = lookup

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, query: bytes, client: tuple) -> None:
        self.transport.sendto(answer(query, self.lookup), client)


def answer(query: bytes, lookup: Callable[[str], list[str] | None]) -> bytes:
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1:at + 1 + length].decode())
        at += 1 + length
    question = query[12:at + 5]
    (kind,) = struct.unpack(">H", query[at + 1:at + 3])
    addresses = lookup(".".join(labels).lower())
    records = [
        # The name by reference, type A, class IN, 1 second, 4 bytes.
        struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(address)
        for address in addresses or [] if kind == 1
    ]
    status = 0x8580 if addresses is not None else 0x8583
    return query[:2] + struct.pack(">HHHHH", status, 1, len(records), 0, 0) + question + b"".join(records)
