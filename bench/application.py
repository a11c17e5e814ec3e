"""An HTTP service as it may stand behind a server's ``jsonrpc_client``: answers every call with 1 KiB.

Kept connections, plain HTTP, driven by epoll. It reads the request's JSON, since the answer repeats its id, and does
nothing else.

python application.py PORT
"""

import select
import socket
import sys
import threading

import orjson
from workers import http_length

KIB = {"text": "x" * 1010}
"""1,024 bytes of JSON."""


class Connection:
    """One connection of the EPS server."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._request = bytearray()

    def read(self) -> bool:
        """Take what has come and answer it if it is whole; False when the connection has ended."""
        try:
            part = self._sock.recv(1 << 18)
        except OSError:
            return False
        self._request += part
        length = http_length(self._request)
        if 0 <= length <= len(self._request):
            self._answer(bytes(self._request[self._request.index(b"\r\n\r\n") + 4 : length]))
            del self._request[:length]
        return bool(part)

    def _answer(self, body: bytes) -> None:
        answer = orjson.dumps({"jsonrpc": "2.0", "result": KIB, "id": orjson.loads(body)["id"]})
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nKeep-Alive: timeout=60\r\n"
        self._sock.sendall(f"{head}Content-Length: {len(answer)}\r\n\r\n".encode() + answer)

    def close(self) -> None:
        self._sock.close()


def serve(port: int) -> None:
    listening = socket.create_server(("127.0.0.1", port), backlog=512)
    poll = select.epoll()
    poll.register(listening.fileno(), select.EPOLLIN)
    connections: dict[int, Connection] = {}
    print("{}", flush=True)
    while True:
        for fd, _ in poll.poll():
            if fd == listening.fileno():
                sock, _ = listening.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = Connection(sock)
                poll.register(sock.fileno(), select.EPOLLIN)
            elif not connections[fd].read():
                poll.unregister(fd)
                connections.pop(fd).close()


if __name__ == "__main__":
    threading.Thread(target=serve, args=(int(sys.argv[1]),), daemon=True).start()
    sys.stdin.read()  # until the benchmark is done with us
