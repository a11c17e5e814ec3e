"""Both ends of a relayed connection in blocking sockets: dial, write the token at once, pump (section 7)."""

import socket
import threading
from contextlib import suppress
from time import monotonic

CHUNK = 64 * 1024
DIAL_TIMEOUT = 10.0
"""Keeps a broken test from hanging; peers in use have no such limit."""


def close_socket(sock: socket.socket) -> None:
    """Wake whoever reads from it, then close."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def dial(endpoint: str) -> socket.socket:
    host, _, port = endpoint.rpartition(":")
    sock = socket.create_connection((host.strip("[]"), int(port)), DIAL_TIMEOUT)
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def dial_with_token(endpoint: str, token: bytes) -> socket.socket:
    sock = dial(endpoint)
    try:
        sock.sendall(token)
    except OSError:
        sock.close()
        raise
    return sock


class Pump:
    """Forwards bytes both ways between two sockets, a thread each; a half-close is passed on. Closes both."""

    def __init__(self, first: socket.socket, second: socket.socket) -> None:
        self._sockets = (first, second)
        self.forwarded = [0, 0]
        pairs = ((0, first, second), (1, second, first))
        self._threads = [threading.Thread(target=self._run, args=pair, name="pump") for pair in pairs]
        for thread in self._threads:
            thread.start()

    def _run(self, index: int, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(CHUNK):
                sink.sendall(data)
                self.forwarded[index] += len(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:  # reset, or cut by close(): then neither direction goes on
            self._wake()

    def _wake(self) -> None:
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    @property
    def finished(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def wait_until(self, moment: float) -> bool:
        """Until both directions have ended (True), or the monotonic clock reaches ``moment``."""
        for thread in self._threads:
            thread.join(max(moment - monotonic(), 0.0))
        return self.finished

    def close(self) -> None:
        self._wake()
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()


class Forwarder:
    """A port on 127.0.0.1 whose one connection is carried to ``endpoint`` behind the token: role A for the C core,
    which takes addresses, not sockets."""

    def __init__(self, endpoint: str, token: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._remote = dial_with_token(endpoint, token)
        self._pump: Pump | None = None
        self._thread = threading.Thread(target=self._accept, name="forwarder")
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        self._pump = Pump(sock, self._remote)

    def close(self) -> None:
        close_socket(self._listener)
        self._thread.join()
        if self._pump is not None:
            self._pump.close()
        self._remote.close()
