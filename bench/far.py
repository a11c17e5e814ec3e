"""B's side of the relay under measurement, and the proxy's EPS server, in one process driven by epoll.

As the EPS server it answers ``_connectionRequest`` like B's server would: dial the relay, show the token, answer. What
then comes through the tunnel is read and thrown away (iperf3's way of receiving: 128 KiB at a time into one buffer),
or sent back, or waited for. A plain listener takes the same bytes without a relay. In mode ``greet`` each connection
gets one byte first, which shows the other side that its way is open to the end; the rest is as in ``sink``. In mode
``discard`` the kernel throws the bytes away without copying them to anybody (MSG_TRUNC, tcp(7)). With ``writes_twice``
the EPS server behaves as many small HTTP servers do, Python's own among them: head and body in two writes, without
TCP_NODELAY, so that the second waits until the first is acknowledged.

    python far.py '{"rpc_port": …, "plain_port": …, "ca": …, "certificate": …, "key": …}'
    → {"mode": "sink" | "discard" | "echo" | "greet", "writes_twice": …}    ← {"bytes": …}
"""

import base64
import json
import select
import socket
import ssl
import sys
import threading
from collections.abc import Callable

from workers import Json, allow_many_files, http_length, serve

BLOCK = 128 * 1024
"""iperf3's default for TCP."""

DISCARD = 1024 * 1024


class Far:
    """Everything this process does."""

    def __init__(self, rpc_port: int, plain_port: int, ca: str, certificate: str, key: str) -> None:
        self.bytes = 0
        self.mode = "sink"
        self.writes_twice = False
        self._poll = select.epoll()
        self._actions: dict[int, Callable[[], None]] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._block = bytearray(DISCARD)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
        self._context.load_cert_chain(certificate, key)
        for port, accepted in ((rpc_port, self._rpc), (plain_port, self._take)):
            listening = socket.create_server(("127.0.0.1", port), backlog=1024)
            self._watch(listening, lambda listening=listening, accepted=accepted: accepted(listening.accept()[0]))

    def run(self) -> None:
        while True:
            for fd, _ in self._poll.poll():
                self._actions[fd]()

    def control(self, mode: str, writes_twice: bool = False) -> Json:
        """From the other thread."""
        self.mode = mode
        self.writes_twice = writes_twice
        return {"bytes": self.bytes}

    def _watch(self, sock: socket.socket, action: Callable[[], None]) -> None:
        self._actions[sock.fileno()] = action
        self._sockets[sock.fileno()] = sock
        self._poll.register(sock.fileno(), select.EPOLLIN)

    def _close(self, sock: socket.socket) -> None:
        self._poll.unregister(sock.fileno())
        del self._actions[sock.fileno()], self._sockets[sock.fileno()]
        sock.close()

    # The EPS server

    def _rpc(self, plain: socket.socket) -> None:
        sock = self._context.wrap_socket(plain, server_side=True)
        sock.setblocking(False)
        request = bytearray()
        self._watch(sock, lambda: self._read_rpc(sock, request))

    def _read_rpc(self, sock: ssl.SSLSocket, request: bytearray) -> None:
        ended = False
        try:
            while not ended:
                part = sock.recv(1 << 16)
                request += part
                ended = not part
        except ssl.SSLWantReadError:
            pass
        except OSError:
            ended = True
        length = http_length(request)
        if 0 <= length <= len(request):
            body = bytes(request[request.index(b"\r\n\r\n") + 4 : length])
            del request[:length]
            self._answer_rpc(sock, json.loads(body))
        if ended:
            self._close(sock)

    def _answer_rpc(self, sock: ssl.SSLSocket, request: Json) -> None:
        if "endpoint" in request["params"]:  # else a proxy that stops asks whether others could take its tunnels' place
            self._join(request["params"]["endpoint"], base64.b64decode(request["params"]["token"]))
        answer = json.dumps({"jsonrpc": "2.0", "result": {}, "id": request["id"]}).encode()
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nKeep-Alive: timeout=60\r\n"
        parts = [f"{head}Content-Length: {len(answer)}\r\n\r\n".encode(), answer]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0 if self.writes_twice else 1)
        for part in parts if self.writes_twice else [b"".join(parts)]:
            sock.sendall(part)

    # B

    def _join(self, endpoint: str, token: bytes) -> None:
        sock = socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2])))
        sock.sendall(token)
        self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.mode == "greet":
            sock.sendall(b"!")
        sock.setblocking(False)
        self._watch(sock, lambda: self._read(sock))

    def _read(self, sock: socket.socket) -> None:
        try:
            if self.mode == "discard":
                size = sock.recv_into(self._block, DISCARD, socket.MSG_TRUNC)
            else:
                size = sock.recv_into(self._block, BLOCK)
            if self.mode == "echo" and size:
                sock.send(memoryview(self._block)[:size])
        except BlockingIOError:
            return
        except OSError:
            size = 0
        self.bytes += size
        if not size:
            self._close(sock)


if __name__ == "__main__":
    allow_many_files()
    far = Far(**json.loads(sys.argv[1]))
    threading.Thread(target=far.run, daemon=True).start()
    print("{}", flush=True)
    serve(far.control)
