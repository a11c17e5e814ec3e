"""An EPS server's JSON-RPC port as a script: a thread for each connection does what a test says, byte by byte.

def serve(line: Line) -> None:
    call = line.request()
    line.answer(call, {"name": "office"})

with Scripted(serve) as server:
    ... server.url, server.requests, server.connections
"""

import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from support.sockets import reset


class Line:
    """One connection, seen from the server.

    Attributes:
        number: of the connection, from 1.
        heads: of the requests so far.
    """

    def __init__(self, sock: socket.socket, number: int, server: "Scripted") -> None:
        self.sock = sock
        self.number = number
        self.heads: list[str] = []
        self.server = server
        self._reader = sock.makefile("rb")

    def request(self) -> dict[str, Any]:
        """The next call; EOFError when there is none."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._reader.readline()
            if not line:
                raise EOFError
            head += line
        self.heads.append(head.decode())
        (length,) = [int(line.split(":")[1]) for line in self.heads[-1].split("\r\n") if line.startswith("Content-Len")]
        call: dict[str, Any] = json.loads(self._reader.read(length))
        self.server.requests.append(call)
        return call

    def answer(self, call: dict[str, Any], result: object = None, *, fields: str = "", **more: Any) -> None:
        """A result, or with ``error`` an error."""
        told = {"jsonrpc": "2.0", "id": call["id"], **({"result": result} if "error" not in more else {}), **more}
        self.respond(json.dumps(told).encode(), 400 if "error" in more else 200, fields)

    def respond(self, body: bytes, status: int = 200, fields: str = "") -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
        self.sock.sendall(head.encode() + body)

    def reset(self) -> None:
        self._reader.close()
        reset(self.sock)

    def close(self) -> None:
        """FIN, and nothing is read any more."""
        self._reader.close()
        self.sock.close()


class Scripted:
    """Serves on loopback until the end of its ``with`` block.

    Attributes:
        requests: calls that were read whole, on all connections.
        connections: how many there were.
    """

    def __init__(self, serve: Callable[[Line], None], context: ssl.SSLContext | None = None) -> None:
        self.requests: list[dict[str, Any]] = []
        self.connections = 0
        self._serve = serve
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._lines: list[Line] = []
        self.failed: list[BaseException] = []

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> "Scripted":
        self._start(self._accept)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for line in self._lines:
            with suppress(OSError):
                line.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        if kind is None:
            assert self.failed == []

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._talk, sock, self.connections)

    def _talk(self, sock: socket.socket, number: int) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                shake_hands(sock)
            line = Line(sock, number, self)
            self._lines.append(line)
            try:
                self._serve(line)
            finally:
                line.close()
        except (OSError, EOFError):
            sock.close()
        except BaseException as error:
            sock.close()
            self.failed.append(error)


def shake_hands(sock: ssl.SSLSocket) -> None:
    """Whoever is refused hears why: what it has sent meanwhile is read, since a reset would overtake the words."""
    try:
        sock.do_handshake()
    except OSError:
        sock.shutdown(socket.SHUT_WR)
        while socket.socket.recv(sock, 65536):
            pass
        raise


def echo(line: Line) -> None:
    """Answers each call with its params."""
    while True:
        call = line.request()
        line.answer(call, call["params"], fields="Keep-Alive: timeout=75\r\n")
