"""A's side of the relay under measurement: asks the proxy for tunnels, fills them with bytes, or makes one after the
other.

    python near.py '{"rpc_port": …, "ca": …, "certificate": …, "key": …}'
    → {"work": "stream", "port": null or …, "connections": 8, "seconds": 2}     ← {"bytes": …, "seconds": …, …}
    → {"work": "pairs", "callers": 16, "seconds": 2}                            ← {"pairs": …, "seconds": …, …}
    → {"work": "hold", "connections": 2000}                                     ← {"seconds": …}
    → {"work": "release"}                                                       ← {}

``stream`` loads as iperf3 does: the same block of 128 KiB again and again, with nothing in between. With ``light`` it
sends a file again and again instead, out of the page cache (sendfile), which copies nothing. A ``port`` is connected to
as it is; without one, the connections are tunnels. With a ``hello`` (base64), each connection to a port begins with it,
and waits for the other side's first byte: TLS passthrough looks at the hello only.
"""

import base64
import json
import os
import select
import socket
import ssl
import struct
import sys
import tempfile
import time
from collections.abc import Callable

from workers import Json, allow_many_files, http_length, serve

BLOCK = bytes(128 * 1024)
FILE_BYTES = 4 * 1024 * 1024
ANSWER_SECONDS = 30.0
FROZEN = struct.pack("ll", 1, 0)
"""A second (struct timeval) without a byte taken is an error."""

Send = Callable[[socket.socket], int]
ENTRY = {"name": "hd-1", "groups": ["health-departments"], "channels": [{"type": "grpc_client", "settings": None}]}


class Proxy:
    """One kept HTTPS connection to the proxy's JSON-RPC server."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        plain = socket.create_connection(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = context.wrap_socket(plain, server_hostname="public-proxy-1.ga")
        self.sock.setblocking(False)
        self._answer = bytearray()
        params = {"to": "hd-2", "channel": "grpc_server", "_client": {"name": "hd-1", "entry": ENTRY}}
        body = json.dumps({"jsonrpc": "2.0", "method": "requestConnection", "params": params, "id": "1"}).encode()
        head = "POST /jsonrpc HTTP/1.1\r\nHost: proxy\r\nContent-Type: application/json\r\n"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def ask(self) -> None:
        self._answer.clear()
        self.sock.sendall(self._request)

    def offer(self) -> tuple[int, bytes] | None:
        """Port and token, if the answer is there."""
        try:
            while part := self.sock.recv(1 << 16):
                self._answer += part
            raise ConnectionResetError("the proxy closed the connection")
        except ssl.SSLWantReadError:
            pass
        length = http_length(self._answer)
        if not 0 <= length <= len(self._answer):
            return None
        result = json.loads(self._answer[self._answer.index(b"\r\n\r\n") + 4 :])["result"]
        return int(result["endpoint"].rpartition(":")[2]), base64.b64decode(result["token"])

    def wait_for_offer(self) -> tuple[int, bytes]:
        self.ask()
        while (offer := self.offer()) is None:
            select.select([self.sock], [], [], 10.0)
        return offer


def tunnel(port: int, first: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(first)
    return sock


class Near:
    """Everything this process does."""

    def __init__(self, rpc_port: int, ca: str, certificate: str, key: str) -> None:
        self._port = rpc_port
        self._context = ssl.create_default_context(cafile=ca)
        self._context.load_cert_chain(certificate, key)
        self._proxies: list[Proxy] = []
        self._held: list[socket.socket] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this process lives
        self._file.write(bytes(FILE_BYTES))
        self._file.flush()

    def handle(self, work: str, **options: object) -> Json:
        answer: Json = getattr(self, work)(**options)
        return answer

    def _proxy(self, number: int = 0) -> Proxy:
        while len(self._proxies) <= number:
            self._proxies.append(Proxy(self._context, self._port))
        return self._proxies[number]

    def _forget_proxies(self) -> None:
        for proxy in self._proxies:
            proxy.sock.close()
        self._proxies.clear()

    # Throughput

    def stream(
        self,
        connections: int,
        seconds: float,
        port: int | None = None,
        warm_up: float = 0.3,
        hello: str = "",
        light: bool = False,
    ) -> Json:
        self._forget_proxies()  # it may be another process by now
        send = self._send_file if light else self._send_block
        socks = [self._connect(port, base64.b64decode(hello)) for _ in range(connections)]
        try:
            warm = self._pump(socks, warm_up, send)
            begin, cpu = time.perf_counter(), time.process_time()
            sent = self._pump(socks, seconds, send)
            took, cpu = time.perf_counter() - begin, time.process_time() - cpu
        finally:
            for sock in socks:
                sock.close()
        return {"bytes": sent, "bytes_in_all": warm + sent, "seconds": took, "cpu_seconds": cpu}

    def _send_block(self, sock: socket.socket) -> int:
        return sock.send(BLOCK)

    def _send_file(self, sock: socket.socket) -> int:
        return os.sendfile(sock.fileno(), self._file.fileno(), 0, FILE_BYTES)

    def _connect(self, port: int | None, hello: bytes = b"") -> socket.socket:
        if port is None:
            return tunnel(*self._proxy().wait_for_offer())
        sock = tunnel(port, hello)
        if hello:
            sock.settimeout(ANSWER_SECONDS)
            if not sock.recv(1):
                raise ConnectionResetError("nobody answers the hello")
        return sock

    def _pump(self, socks: list[socket.socket], seconds: float, send: Send) -> int:
        until = time.perf_counter() + seconds
        if len(socks) == 1:
            return self._pump_one(socks[0], until, send)
        poll = select.epoll()
        by_fd = {sock.fileno(): sock for sock in socks}
        for fd, sock in by_fd.items():
            sock.setblocking(False)
            poll.register(fd, select.EPOLLOUT)
        sent = 0
        while time.perf_counter() < until:
            for fd, _ in poll.poll(0.1):
                try:
                    sent += send(by_fd[fd])
                except BlockingIOError:
                    continue
        poll.close()
        return sent

    def _pump_one(self, sock: socket.socket, until: float, send: Send) -> int:
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, FROZEN)
        sent = 0
        while time.perf_counter() < until:
            sent += send(sock)
        return sent

    # Set-ups

    def pairs(self, callers: int, seconds: float, warm_up: float = 0.3) -> Json:
        """Request, the proxy's own call, two dials, one byte there and back, close; and again."""
        poll = select.epoll()
        waiting: dict[int, tuple[Proxy, socket.socket | None, float]] = {}
        for number in range(callers):
            proxy = self._proxy(number)
            poll.register(proxy.sock.fileno(), select.EPOLLIN)
            self._begin(proxy, waiting)
        self._drive(poll, waiting, time.perf_counter() + warm_up)
        begin, cpu = time.perf_counter(), time.process_time()
        taken = self._drive(poll, waiting, begin + seconds)
        took, cpu = time.perf_counter() - begin, time.process_time() - cpu
        self._drive(poll, waiting, time.perf_counter() + 5.0, again=False)
        poll.close()
        taken.sort()
        middle = taken[len(taken) // 2] * 1000 if taken else 0.0
        return {"pairs": len(taken), "seconds": took, "median_ms": middle, "cpu_seconds": cpu}

    def _begin(self, proxy: Proxy, waiting: dict[int, tuple[Proxy, socket.socket | None, float]]) -> None:
        waiting[proxy.sock.fileno()] = proxy, None, time.perf_counter()
        proxy.ask()

    def _drive(
        self,
        poll: select.epoll,
        waiting: dict[int, tuple[Proxy, socket.socket | None, float]],
        until: float,
        *,
        again: bool = True,
    ) -> list[float]:
        taken: list[float] = []
        while waiting and (now := time.perf_counter()) < until:
            for fd, _ in poll.poll(until - now):
                proxy, far, began = waiting[fd]
                if far is None:
                    offer = proxy.offer()
                    if offer is not None:
                        del waiting[fd]
                        sock = tunnel(offer[0], offer[1] + b"?")
                        waiting[sock.fileno()] = proxy, sock, began
                        poll.register(sock.fileno(), select.EPOLLIN)
                else:
                    if far.recv(1) != b"?":
                        raise ConnectionResetError("the tunnel ended before its first byte")
                    taken.append(time.perf_counter() - began)
                    del waiting[fd]
                    poll.unregister(fd)
                    far.close()
                    if again:
                        self._begin(proxy, waiting)
        return taken

    # Idle tunnels

    def hold(self, connections: int) -> Json:
        begin = time.perf_counter()
        self._held += [self._connect(None) for _ in range(connections)]
        return {"seconds": time.perf_counter() - begin}

    def release(self) -> Json:
        for sock in self._held:
            sock.close()
        self._held.clear()
        return {}


if __name__ == "__main__":
    allow_many_files()
    serve(Near(**json.loads(sys.argv[1])).handle)
