"""Our own accept loop, the same for gRPC, HTTP and the relay: limits first, then each socket to its protocol.

Why not the event loop's servers: they accept before anyone can refuse, log a traceback a second when file descriptors
run out, and hand out no sockets, which the relay needs.

``start`` binds; from then on every accepted socket is either refused (closed, and reported as a ``Refused`` event) or
given to ``on_socket`` in a task that the listener owns until it returns. After that the socket is its protocol's.
"""

import asyncio
import errno
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from weakref import WeakSet

from eps.core.endpoint import normal_host
from eps.core.event import Emit, Level, Notice, Refused
from eps.core.host_port import parse_host_port
from eps.core.warn_rate import sparing
from eps.errors import BadParams, EpsError, StartError
from eps.reasons import Reason
from eps.transport.arrivals import SaidNothing
from eps.transport.dial import LiteralAddress, literal_address
from eps.transport.inherited import SOCKETS, Named
from eps.transport.port_owner import owner_of
from eps.transport.sockets import tune

BACKLOG = 4096
"""Connections that the kernel completes while we are busy; the kernel caps it at net.core.somaxconn."""

ACCEPTS_PER_TURN = 16
"""Sockets taken in one go before the event loop's other work gets its turn: as many as may begin a handshake in one."""

MAX_CONNECTIONS = 10_000
"""Open sockets of one listener; at some 20 KiB each 200 MiB. More than a network has operators by two orders."""

PAUSE_SECONDS = 0.25
"""Rest after accept() ran out of descriptors or memory: long enough not to burn CPU, short enough not to be noticed."""

RESOLVE_SECONDS = 10.0
MAX_SOURCES = 50_000
"""Source addresses counted singly per window (some 8 MiB); the ones beyond share one count."""

_SAME_PORT_ATTEMPTS = 16
"""How often an ephemeral port is chosen anew because the other address family has it in use."""

_INHERITED = sys.platform == "linux"
"""Whether accepted sockets have the options of the listening one (tcp(7)): seven system calls less for each."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_WINDOWS = {"second": 1, "minute": 60, "hour": 3600}


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One item of ``tcp_rate_limits`` (PROTOCOL.md section 5): new connections per source address and UTC window."""

    type: Literal["second", "minute", "hour"]
    limit: int


class RateLimiter:
    """Counts connections per source address in calendar windows. Memory is bounded; time is passed in."""

    def __init__(self, limits: Sequence[RateLimit]) -> None:
        self._limits = tuple(limits)
        self._counts: list[tuple[int, dict[str, int]]] = [(-1, {}) for _ in self._limits]

    def admit(self, source: str, now: float) -> RateLimit | None:
        """Count a new connection; the limit that forbids it, or None. One that is forbidden counts nowhere.

        Args:
            source: the address, without the port.
            now: seconds since the epoch (UTC).
        """
        keys: list[str] = []
        for index, limit in enumerate(self._limits):
            window = int(now // _WINDOWS[limit.type])
            if self._counts[index][0] != window:
                self._counts[index] = (window, {})
            counts = self._counts[index][1]
            keys.append(source if source in counts or len(counts) < MAX_SOURCES else "")
            if counts.get(keys[-1], 0) >= limit.limit:
                return limit
        for (_, counts), key in zip(self._counts, keys, strict=True):
            counts[key] = counts.get(key, 0) + 1
        return None


LISTENING: "WeakSet[Listener]" = WeakSet()
"""All of this process that have started: whose sockets the next process takes over."""


def sockets_in_use() -> list[Named]:
    """The sockets at which this process listens."""
    return [Named(listener.name, sock) for listener in LISTENING for sock in listener.sockets]


OnSocket = Callable[[socket.socket], Awaitable[None]]
"""Takes over an accepted socket, which is as ``transport.dial.tune`` makes it. If it raises, the listener closes the
socket and reports why."""


class Listener:
    """Accepts connections on one bind address.

    Args:
        name: for messages and metrics (``grpc``, ``jsonrpc``, ``relay``).
        bind_address: ``host:port``; ``localhost`` and an empty host mean both address families, port 0 any free port.
        on_socket: see :data:`OnSocket`; must have a deadline of its own.
        rate_limits: all of them apply.
        max_connections: sockets open at a time; beyond it new ones are closed on accept.
        clock: seconds since the epoch, for the rate limits.
    """

    def __init__(
        self,
        name: str,
        bind_address: str,
        on_socket: OnSocket,
        *,
        rate_limits: Sequence[RateLimit] = (),
        emit: Emit,
        max_connections: int = MAX_CONNECTIONS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._bind_address = bind_address
        self._on_socket = on_socket
        self._rate_limits = tuple(rate_limits)
        self._limiter = RateLimiter(rate_limits)
        self._emit = sparing(emit, time.monotonic)
        self._max_connections = max_connections
        self._clock = clock
        self._sockets: list[socket.socket] = []
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}
        self._open: WeakSet[socket.socket] = WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """For messages and metrics."""
        return self._name

    @property
    def sockets(self) -> list[socket.socket]:
        """The listening sockets; they stay this listener's."""
        return list(self._sockets)

    def rest(self) -> None:
        """Accept nothing for the moment: what comes waits in the kernel, for whoever accepts there next."""
        loop = asyncio.get_running_loop()
        for timer in self._paused.values():
            timer.cancel()
        self._paused.clear()
        for bound in self._sockets:
            loop.remove_reader(bound.fileno())

    async def settle(self, seconds: float) -> None:
        """Wait until whoever was accepted has said what he wants, so long at the most. To be called at rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    def go_on(self) -> None:
        """Accept again."""
        for bound in self._sockets:
            asyncio.get_running_loop().add_reader(bound.fileno(), self.accept, bound)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each listening socket; empty before ``start`` and after ``close``."""
        return [bound.getsockname()[:2] for bound in self._sockets]

    async def start(self) -> None:
        """Bind, listen and begin to accept.

        Raises:
            StartError: the address is not one, can't be resolved, or is taken.
        """
        self._sockets = SOCKETS.take(self._name, self._bind_address)
        for inherited in self._sockets:
            tune(inherited)
        self._sockets = self._sockets or await bind(self._name, self._bind_address)
        LISTENING.add(self)
        for bound in self._sockets:
            asyncio.get_running_loop().add_reader(bound.fileno(), self.accept, bound)

    def limit(self, rate_limits: Sequence[RateLimit]) -> None:
        """Other rate limits from now on; the counts of the present windows begin anew if they differ."""
        if tuple(rate_limits) != self._rate_limits:
            self._rate_limits = tuple(rate_limits)
            self._limiter = RateLimiter(rate_limits)

    async def close(self) -> None:
        """Stop listening, and cancel what ``on_socket`` is still doing. Sockets handed over are not touched."""
        self.rest()
        sockets, self._sockets = self._sockets, []
        LISTENING.discard(self)
        for bound in sockets:
            bound.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def accept(self, bound: socket.socket) -> None:
        """A listening socket of ours is readable: take what waits there; the loop calls it."""
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, peer = bound.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue  # it was gone before we came to it
            except OSError as error:
                self._pause(bound, error)
                return
            accepted.setblocking(False)
            self._take(accepted, peer[0])

    def _pause(self, bound: socket.socket, error: OSError) -> None:
        """Rest, then go on: the connection still waits in the kernel, so the socket would stay readable."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(bound.fileno())
        self._paused[bound] = loop.call_later(PAUSE_SECONDS, self._resume, bound)
        exhausted = error.errno in _EXHAUSTED
        self._emit(
            Notice(
                level=Level.WARN,
                text=f"{self._name}: no new connections for the moment: {error.strerror or error}",
                hint="raise the limit of open files (ulimit -n, or LimitNOFILE=)" if exhausted else "",
            )
        )

    def _resume(self, bound: socket.socket) -> None:
        del self._paused[bound]
        asyncio.get_running_loop().add_reader(bound.fileno(), self.accept, bound)

    def _take(self, accepted: socket.socket, source: str) -> None:
        forbidding = self._limiter.admit(source, self._clock())
        if forbidding is not None:
            self._refuse(accepted, source, "rate_limit", f"more than {forbidding.limit} in this {forbidding.type}")
        elif self._full():
            self._refuse(accepted, source, "connections", f"{self._max_connections} connections are open")
        else:
            if not _INHERITED:
                with suppress(OSError):  # a peer that is gone already shows itself when it is read
                    tune(accepted)
            self._open.add(accepted)
            task = asyncio.get_running_loop().create_task(self._hand_over(accepted, source))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _full(self) -> bool:
        """Whether as many sockets are open as may be. Closed ones leave the set when nobody holds them any more."""
        if len(self._open) < self._max_connections:
            return False
        for accepted in list(self._open):
            if accepted.fileno() < 0:
                self._open.discard(accepted)
        return len(self._open) >= self._max_connections

    def _refuse(self, accepted: socket.socket, source: str, why: str, detail: str) -> None:
        accepted.close()
        self._emit(Refused(listener=self._name, why=why, source=source, detail=detail))

    async def _hand_over(self, accepted: socket.socket, source: str) -> None:
        try:
            await self._on_socket(accepted)
        except asyncio.CancelledError:
            accepted.close()
            raise
        except EpsError as error:
            why = error.why if isinstance(error, SaidNothing) else error.stage.value
            self._refuse(accepted, source, why, str(error))
        except Exception as error:  # noqa: BLE001  # one connection's surprise must not become the listener's
            self._refuse(accepted, source, "error", f"{type(error).__name__}: {error}")


async def bind(name: str, bind_address: str) -> list[socket.socket]:
    """Listening, non-blocking sockets for an address; one per address family where it names both.

    Raises:
        StartError: the address is not one, can't be resolved, or is taken.
    """
    where = f"{name}: can't listen on {bind_address}"
    try:
        host, port = parse_host_port(bind_address)
    except BadParams as error:
        raise StartError(f"{where}: {error.message}", hint=error.hint) from error
    hosts, all_needed = await _bind_hosts(host, where)
    for _ in range(_SAME_PORT_ATTEMPTS):
        try:
            return _bind_all(hosts, port, all_needed)
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE:
                raise _not_bound(error, where, port) from error
    raise StartError(f"{where}: no port is free in both address families", hint="set a port in bind_address")


async def _bind_hosts(host: str, where: str) -> tuple[list[LiteralAddress], bool]:
    """The addresses to bind, and whether each of them has to work."""
    if normal_host(host) in ("", "::"):
        return [("0.0.0.0",), ("::",)], False  # noqa: S104  # all interfaces is what the administrator wrote
    if host == "localhost":
        return [("127.0.0.1",), ("::1",)], False  # what clients try differs, so both
    try:
        return [literal_address(host)], True
    except ValueError:
        pass  # a name
    except OSError as error:
        raise StartError(f"{where}: {error.strerror}", hint="ip link shows them") from error
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise StartError(
            f"{where}: {host} is no address of this machine and no name that resolves",
            hint="bind_address takes localhost, an address of this machine, or :PORT for all of them",
        ) from error
    return list(dict.fromkeys((str(item[4][0]), *item[4][2:]) for item in found)), True


def _bind_all(hosts: Sequence[LiteralAddress], port: int, all_needed: bool) -> list[socket.socket]:
    bound: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for host, *scope in hosts:
            try:
                bound.append(bind_one(host, port or (bound[0].getsockname()[1] if bound else 0), *scope))
            except OSError as error:
                if all_needed or error.errno not in _NO_SUCH_FAMILY:
                    raise
                missing = error
        if missing is not None and not bound:
            raise missing
    except OSError:
        for each in bound:
            each.close()
        raise
    return bound


def bind_one(host: str, port: int, *scope: int) -> socket.socket:
    """One listening socket, non-blocking, on an address of one family; raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart must not wait for TIME_WAIT
        tune(bound)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port, *scope))
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _not_bound(error: OSError, where: str, port: int) -> StartError:
    is_taken = error.errno == errno.EADDRINUSE
    owner = owner_of(port) if is_taken else ""
    text = f"{where}: {_bind_reason(error)}" + (f": {owner}" if owner else "")
    return StartError(text, hint=_bind_hint(error, port), reason=Reason.PORT_TAKEN if is_taken else None)


def _bind_reason(error: OSError) -> str:
    reasons = {
        errno.EADDRINUSE: "another program uses that port",
        errno.EACCES: "this user may not use that port",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }
    return reasons.get(error.errno or 0, os.strerror(error.errno) if error.errno else str(error))


def _bind_hint(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"ss -ltnp 'sport = :{port}' shows which; stop it, or set another bind_address"
    if error.errno == errno.EACCES:
        return "ports below 1024 need the capability CAP_NET_BIND_SERVICE; or set a higher port in bind_address"
    return "set another bind_address"
