"""Connections that have not yet shown what they want: each has a deadline, and all of a port together a limit.

Beyond the limit one is ended for the newest: of the source address that has the most here, the oldest. So silent
connections, however many, can't keep honest ones out, which show what they want within a few round trips; and whoever
comes from elsewhere than a flood does is not even hurried by it.

An ``Arrival`` begins when a socket is accepted, and is settled when its peer has shown what it wants: a token, a whole
ClientHello, its first request. Until then it has an ``end``, which takes it away: first that of ``Arrivals.deadline``,
and behind a handshake that of the protocol which has the socket then (``Arrival.goes_on``).
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from eps.errors import TlsFailed

MAX_ARRIVING = 1_000
"""Of one port. A few KiB each, and an open socket; with a TLS session, which a socket has from its first whole record
on, some 60 KiB."""

FEW_PART = 10
"""A flood is over when no more than this part of the greatest number is there."""

MANY_PART = 40
"""Honest ones stay for some milliseconds each: when more than this part of the greatest number is there, most want
nothing. Until then each hello costs a signature, with RSA as much as to ask twenty for another: 25 of 1,000 get one."""

FLOOD_PART = 4
"""What a flood has is worth giving back when so great a part was there."""

SILENT = "silent"
"""What ``core.event.Refused`` calls it."""

GONE = "gone"
"""And this: it was closed before its first byte. Nobody was refused, and no certificate either."""

_NETWORK_BITS = 64
"""Of an IPv6 address: whoever has one has all 2^64 behind these."""


def _nothing() -> None:
    """Of one that is settled there is nothing to end."""


class GaveWay(TimeoutError):
    """So many newer connections came that this one's place was needed."""


class SaidNothing(TlsFailed):
    """The same, to those who take over sockets; or, where there is no TLS, that nothing came in time.

    Attributes:
        why: what ``core.event.Refused`` calls it.
    """

    why = SILENT


class HungUp(SaidNothing):
    """It left before its first byte, as health checks do, and scans for open ports."""

    why = GONE


class Arrival:
    """One connection that has not yet shown what it wants. Made by :class:`Arrivals`."""

    __slots__ = ("_among", "end", "gave_way", "group")

    def __init__(self, among: "Arrivals", group: str, end: Callable[[], None]) -> None:
        self._among = among
        self.group = group
        self.end = end
        self.gave_way = False

    def goes_on(self, end: Callable[[], None]) -> None:
        """Somebody else has the socket from now on; ``end`` ends it for a newer one: at once, if that has come."""
        self.end = end
        if self.gave_way:
            end()

    def settle(self) -> None:
        """It has shown what it wants, or is gone; a second time changes nothing."""
        self._among.remove(self)
        self.end = _nothing  # which holds who has the socket, who holds this


class Arrivals:
    """Those of one port.

    Args:
        most: connections at a time.
        on_quiet: called when only few are left of very many.
    """

    def __init__(self, most: int = MAX_ARRIVING, on_quiet: Callable[[], None] = lambda: None) -> None:
        self._most = most
        self._on_quiet = on_quiet
        self._flooded = False
        self._number = 0
        self._groups: dict[str, dict[Arrival, None]] = {}  # of each source, the oldest first
        self._by_size: dict[int, dict[str, None]] = {}  # the sources that have so many
        self._greatest = 0

    def __len__(self) -> int:
        return self._number

    @property
    def are_many(self) -> bool:
        """Whether most of those that are here want nothing."""
        return self._number > self._most // MANY_PART

    @property
    def text(self) -> str:
        """Why one has given way."""
        return f"{self._most:,} newer connections had not shown what they want either, and this was the oldest"

    def enter(self, source: str, end: Callable[[], None]) -> Arrival:
        """Another has come; whoever makes room for it ends.

        Args:
            source: its address, without the port.
            end: ends it for a newer one; called at most once.
        """
        if self._number >= self._most:
            self._make_room()
        arrival = Arrival(self, source_group(source), end)
        members = self._groups.setdefault(arrival.group, {})
        members[arrival] = None
        self._resized(arrival.group, len(members) - 1, len(members))
        self._number += 1
        self._flooded = self._flooded or self._number > self._most // FLOOD_PART
        return arrival

    def remove(self, arrival: Arrival) -> None:
        """Forget one, if it is here."""
        members = self._groups.get(arrival.group, {})
        if arrival in members:
            del members[arrival]
            self._resized(arrival.group, len(members) + 1, len(members))
            self._number -= 1
            if self._flooded and self._number <= self._most // FEW_PART:
                self._flooded = False
                self._on_quiet()

    @asynccontextmanager
    async def deadline(self, seconds: float, source: str) -> AsyncIterator[Arrival]:
        """Bound what is done inside; what has not gone on elsewhere at its end is settled.

        Raises:
            TimeoutError: when the time is up.
            GaveWay: when its place is needed.
        """
        timeout = asyncio.timeout(seconds)

        def end() -> None:
            if not timeout.expired():
                timeout.reschedule(0)  # a moment long past: it ends as if its time were up

        arrival: Arrival | None = None
        try:
            async with timeout:
                arrival = self.enter(source, end)
                yield arrival
        except TimeoutError:
            if arrival is not None and arrival.gave_way:
                raise GaveWay(self.text) from None
            raise
        finally:
            if arrival is not None and arrival.end is end:
                arrival.settle()

    def _make_room(self) -> None:
        group = next(iter(self._by_size[self._greatest]))
        oldest = next(iter(self._groups[group]))
        self.remove(oldest)
        oldest.gave_way = True
        oldest.end()

    def _resized(self, group: str, before: int, now: int) -> None:
        """Keep in mind which sources have the most: looking through all of them would cost a flood's every connection
        some 50 µs."""
        if before:
            del self._by_size[before][group]
        if now:
            self._by_size.setdefault(now, {})[group] = None
        else:
            del self._groups[group]
        if not self._by_size.get(before, True):
            del self._by_size[before]
            if before == self._greatest:
                self._greatest = now  # one more or one less
        self._greatest = max(self._greatest, now)


def source_group(source: str) -> str:
    """Those addresses that count as one: an IPv4 address, or the IPv6 network that one owner has at the least."""
    if ":" not in source:
        return source
    try:
        address = ipaddress.IPv6Address(source.partition("%")[0])
    except ValueError:
        return source
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), _NETWORK_BITS), strict=False))


def source_of(sock: socket.socket) -> str:
    """The peer's address, without the port, for limits and messages."""
    try:
        name = sock.getpeername()
    except OSError:
        return "a connection that is gone"
    return str(name[0]) if isinstance(name, tuple) else "a local socket"
