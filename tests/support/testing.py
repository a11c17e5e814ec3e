"""What tests share: a throwaway authority, a clock that stands still, socket pairs, recorded events, a terminal, and a
small server.

Nothing outside ``tests/`` and ``bench/`` imports this.
"""

import asyncio
import atexit
import io
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from eps.core.event import Event, ignore
from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.core.names import Fingerprint, Operator
from eps.jsonrpc.server import JsonRpcServer, Serving
from eps.pki import Authority, Issued
from eps.transport.tls import Pins, TlsFiles

E = TypeVar("E", bound=Event)


class Certificates:
    """A certificate authority whose files lie in ``folder``; every name's certificate is made once, on first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.create(fast=True)
        self.root_file = folder / "root.crt"
        self.root_file.write_bytes(self.authority.root_pem)
        self._issued: dict[str, Issued] = {}

    def issued(self, name: str) -> Issued:
        """The TLS certificate of ``name``; its files are ``NAME.crt`` and ``NAME.key``.

        A name that ends in ``-alt`` gets a second, valid certificate of the name before it (``hd-1-alt``).
        """
        if name not in self._issued:
            issued = self.authority.issue_tls(name.removesuffix("-alt"))
            issued.write(self.folder, name)
            self._issued[name] = issued
        return self._issued[name]

    def tls_files(self, name: str, **changes: Any) -> TlsFiles:
        """TLS settings with which ``name`` serves and dials; ``changes`` replaces attributes of :class:`TlsFiles`."""
        self.issued(name)
        files = TlsFiles((str(self.root_file),), str(self.folder / f"{name}.crt"), str(self.folder / f"{name}.key"))
        return replace(files, **changes)

    def fingerprint(self, name: str) -> Fingerprint:
        """What a directory pins for ``name``."""
        return self.issued(name).fingerprint

    def pins(self, *names: str) -> Pins:
        """A directory that pins the certificates of ``names`` and nothing else."""
        pinned = {Operator(name): frozenset([self.fingerprint(name)]) for name in names}
        return lambda name: pinned.get(name, frozenset())


@cache
def certificates() -> Certificates:
    """The authority of this test run; its folder is removed when the interpreter ends."""
    folder = Path(tempfile.mkdtemp(prefix="eps-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Certificates(folder)


def tls_files(name: str, **changes: Any) -> TlsFiles:
    """:meth:`Certificates.tls_files` of the test run's authority."""
    return certificates().tls_files(name, **changes)


class FakeClock:
    """A clock that moves only when told: call it for seconds since the epoch, ``utc()`` for the same as a datetime."""

    def __init__(self, start: datetime = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)) -> None:
        self.time = start

    def __call__(self) -> float:
        return self.time.timestamp()

    def utc(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Events:
    """An ``emit`` that remembers everything and can be waited on."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self._news = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.all.append(event)
        self._news.set()

    def of(self, kind: type[E]) -> list[E]:
        """Those of one class, in order."""
        return [event for event in self.all if isinstance(event, kind)]

    async def wait_for(
        self, kind: type[E], matches: Callable[[E], bool] = lambda event: True, timeout: float = 10.0
    ) -> E:
        """The first event of a class that ``matches``, now or later.

        Raises:
            TimeoutError: none came.
        """
        async with asyncio.timeout(timeout):
            while True:
                for event in self.of(kind):
                    if matches(event):
                        return event
                self._news.clear()
                await self._news.wait()


class Terminal(io.StringIO):
    """A stream at which somebody sits."""

    def isatty(self) -> bool:
        return True


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two non-blocking TCP sockets on loopback, connected with each other. The caller closes both."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        first = socket.create_connection(listening.getsockname(), timeout=5)
        second, _ = listening.accept()
    for each in (first, second):
        each.setblocking(False)
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return first, second


@asynccontextmanager
async def jsonrpc_server(
    handler: Callable[[Call], Awaitable[Response]], **options: Any
) -> AsyncIterator[JsonRpcServer]:
    """A running JSON-RPC server on a free port of localhost.

    ``options`` are those of :class:`JsonRpcServer` and :class:`Serving`.
    """
    name, address, emit = (
        options.pop(key, usual) for key, usual in (("name", "test"), ("bind_address", "localhost:0"), ("emit", ignore))
    )
    server = JsonRpcServer(name, address, handler, serving=Serving(**options), emit=emit)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


def step_line(number: int, at: float, text: str = "does it", operator: str = "hd-1") -> dict[str, Any]:
    """A program's log line (JSON) about a step; without a number, about forwarding."""
    time = datetime.fromtimestamp(at, UTC).isoformat()
    line = {"kind": "step", "time": time, "operator": operator, "text": text}
    return line | ({"step": number} if number else {"kind": "forwarding"})
