"""The load generator for calls: kept HTTPS connections, one call in flight on each, driven by epoll.

Neither an HTTP library nor an event loop: for each answer one system call in, one out, and the end of the body found by
Content-Length. What it costs is shown beside every row, and calls.py checks that a second one beside it adds nothing.

    python load.py '{"port": …, "host": …, "ca": …, "certificate": …, "key": …}'
    → {"seconds": 2, "callers": 32, "method": "hd-2._ping", "params": {}}
    ← {"calls": …, "seconds": …, "failed": …, "median_ms": …, "p99_ms": …, "cpu_seconds": …, "answer_bytes": …}
    → {"times": 20, "pause": 0.5, "method": "hd-2._ping"}    one call at a time, with pauses
    ← {"ms": […]}
"""

import json
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable

from workers import Json, http_length, serve

READ_BYTES = 256 * 1024


class Caller:
    """One connection with at most one call in flight."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock
        self.request = b""
        self.sent_at = 0.0
        self._answer = bytearray()
        self._length = -1

    def send(self, now: float) -> None:
        self.sent_at = now
        self._answer.clear()
        self._length = -1
        self.sock.sendall(self.request)  # small: it always fits into the socket's buffer

    def read(self) -> int:
        """Take what has come. The length of the whole answer if it is there, else 0.

        Raises:
            ConnectionError: the connection has ended.
        """
        try:
            while True:
                part = self.sock.recv(READ_BYTES)
                if not part:
                    raise ConnectionResetError("the server closed the connection")
                self._answer += part
                if self._length < 0:
                    self._length = http_length(self._answer)
                if 0 <= self._length <= len(self._answer):
                    return len(self._answer)
        except ssl.SSLWantReadError:
            return 0

    @property
    def succeeded(self) -> bool:
        return self._answer.startswith(b"HTTP/1.1 200 ")


class Load:
    """The connections to one server, kept from one question to the next."""

    def __init__(self, port: int, host: str, ca: str, certificate: str, key: str) -> None:
        self._port = port
        self._host = host
        self._context = ssl.create_default_context(cafile=ca)
        self._context.load_cert_chain(certificate, key)
        self._callers: list[Caller] = []

    def run(self, seconds: float, callers: int, method: str, params: Json, warm_up: float = 0.3) -> Json:
        """Call for some seconds; the first ``warm_up`` of them don't count."""
        active = self._take(callers, method, params)
        poll = select.epoll()
        by_fd = {caller.sock.fileno(): caller for caller in active}
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        begin = time.perf_counter()
        for caller in active:
            caller.send(time.perf_counter())
        self._drive(poll, by_fd, begin + warm_up, [], len(active))
        begin, cpu = time.perf_counter(), time.process_time()
        taken: list[float] = []
        failed, answer_bytes = self._drive(poll, by_fd, begin + seconds, taken, len(active))
        elapsed, cpu = time.perf_counter() - begin, time.process_time() - cpu
        self._finish(poll, by_fd)
        poll.close()
        taken.sort()
        return {
            "calls": len(taken),
            "failed": failed,
            "seconds": elapsed,
            "median_ms": taken[len(taken) // 2] * 1000 if taken else 0.0,
            "p99_ms": taken[len(taken) * 99 // 100] * 1000 if taken else 0.0,
            "cpu_seconds": cpu,
            "answer_bytes": answer_bytes,
        }

    def spaced(self, times: int, pause: float, method: str) -> Json:
        """Single calls, each after a pause."""
        (caller,) = self._take(1, method, {})
        taken = []
        for _ in range(times):
            time.sleep(pause)
            begin = time.perf_counter()
            caller.send(begin)
            while not caller.read():
                select.select([caller.sock], [], [], 10.0)
            if not caller.succeeded:
                raise RuntimeError("a call failed")
            taken.append((time.perf_counter() - begin) * 1000)
        return {"ms": taken}

    def handle(self, **question: object) -> Json:
        work: Callable[..., Json] = self.spaced if "times" in question else self.run
        return work(**question)

    def _take(self, callers: int, method: str, params: Json) -> list[Caller]:
        while len(self._callers) < callers:
            self._callers.append(self._connect())
        for number, caller in enumerate(self._callers[:callers]):
            body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": f"c{number}"}).encode()
            head = f"POST /jsonrpc HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            caller.request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        return self._callers[:callers]

    def _connect(self) -> Caller:
        plain = socket.create_connection(("127.0.0.1", self._port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = self._context.wrap_socket(plain, server_hostname=self._host)
        sock.setblocking(False)
        return Caller(sock)

    def _drive(
        self, poll: select.epoll, by_fd: dict[int, Caller], until: float, taken: list[float], most: int
    ) -> tuple[int, int]:
        failed = answer_bytes = 0
        while (now := time.perf_counter()) < until:
            for fd, _ in poll.poll(until - now, most):
                caller = by_fd[fd]
                length = caller.read()
                if length:
                    now = time.perf_counter()
                    taken.append(now - caller.sent_at)
                    failed += not caller.succeeded
                    answer_bytes = length
                    caller.send(now)
        return failed, answer_bytes

    def _finish(self, poll: select.epoll, by_fd: dict[int, Caller]) -> None:
        """Wait for the answers that are under way, so that the connections can be used again."""
        waiting = set(by_fd)
        until = time.perf_counter() + 30.0
        while waiting and time.perf_counter() < until:
            for fd, _ in poll.poll(1.0):
                if by_fd[fd].read():
                    waiting.discard(fd)


if __name__ == "__main__":
    serve(Load(**json.loads(sys.argv[1])).handle)
