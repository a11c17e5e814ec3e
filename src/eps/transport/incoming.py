"""From an accepted socket to its protocol, the same for gRPC and HTTP: first the peer speaks, then we spend on it.

    accepted → Arrivals → has_spoken → HandshakeTurns → TLS → the protocol → its first request settles the arrival

An open socket takes 2 KiB in the kernel, a handshake under way some 50 KiB and half a millisecond. So a connection has
its TLS session only when the first record of its ClientHello is there as a whole (looked at, not read, so that the
session finds it), and its protocol only behind the handshake. Of handshakes a few begin in each turn of the event loop,
the newest first: thousands of hellos hold up neither calls nor somebody who comes later, and most of them are never
answered at all, since their connections give way to newer ones before. And while many are there that want nothing, each
is first asked for another hello (``asks_again``): for those who never read nothing is signed, and there is no session.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

from eps.core.clienthello import MAX_FRAGMENT_BYTES, first_record_bytes
from eps.errors import TlsFailed
from eps.transport.arrivals import Arrival, Arrivals, GaveWay, HungUp, SaidNothing, source_of
from eps.transport.dial import readable
from eps.transport.handshakes import plain_reason
from eps.transport.memory import GiveBack
from eps.transport.tls import accept_tls, asks_again

HANDSHAKES_PER_TURN = 16
"""Begun in one turn of the event loop: some 8 ms of it, where 50 ms is what nothing may take. As many as a listener
accepts in a turn: fewer, and under a flood of hellos most newcomers would not be among the newest for long enough."""

QUIET_SECONDS = 1.0
"""After a flood, before the memory that it took is given back."""

_PEEKED_BYTES = 5 + MAX_FRAGMENT_BYTES

P = TypeVar("P", bound=asyncio.BaseProtocol)


class HandshakeTurns:
    """Who may begin a handshake now: at most so many in a turn of the event loop, the newest first."""

    def __init__(self, per_turn: int = HANDSHAKES_PER_TURN) -> None:
        self._per_turn = per_turn
        self._left = per_turn
        self._waiting: list[asyncio.Future[None]] = []
        self._counting = False

    async def turn(self) -> None:
        """Wait for a turn; mostly there is one at once."""
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        if self._left > 0:
            self._left -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _next_turn(self) -> None:
        self._left = self._per_turn
        while self._waiting and self._left > 0:
            turn = self._waiting.pop()
            if not turn.done():  # who is cancelled waits no more
                turn.set_result(None)
                self._left -= 1
        self._counting = bool(self._waiting) or self._left < self._per_turn
        if self._counting:
            asyncio.get_running_loop().call_soon(self._next_turn)


class Entrance:
    """Where the connections of one port come in.

    Args:
        most: connections without a finished handshake or a first request.
        seconds: for the first bytes and the handshake.

    Attributes:
        arrivals: those connections.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self.arrivals = Arrivals(most, on_quiet=GiveBack(QUIET_SECONDS).plan)
        self._turns = HandshakeTurns()
        self._seconds = seconds

    async def to_protocol(
        self,
        factory: Callable[[Arrival], P],
        accepted: socket.socket,
        context: ssl.SSLContext | None,
        *,
        end: Callable[[P], None],
    ) -> P:
        """Hand an accepted, non-blocking socket to a protocol, which has it when this returns.

        Args:
            factory: makes the protocol, which settles its arrival at the first request, and when the connection is
                lost.
            context: as for :func:`eps.transport.tls.accept_tls`; None: there is no TLS.
            end: called behind the handshake if the connection, which has asked for nothing, must make room for another.

        Raises:
            TlsFailed: with the reason in plain words; SaidNothing if it gave way to others, HungUp if it left without
                a word. The socket is closed.
        """
        made: list[P] = []

        def make(arrival: Arrival) -> P:
            made.append(factory(arrival))
            return made[0]

        try:
            async with self.arrivals.deadline(self._seconds, source_of(accepted)) as arrival:
                first = _First(lambda: make(arrival))
                spoken = await has_spoken(accepted, tls=context is not None)
                if context is None:
                    await asyncio.get_running_loop().connect_accepted_socket(lambda: first, accepted)
                elif spoken:
                    await self._turns.turn()
                    wary = self.arrivals.are_many
                    said = await self._another_hello(accepted, context) if wary else b""
                    # Who wasn't asked needs another group than ours, or none; or is signed for in any case.
                    await accept_tls(lambda: first, accepted, context, timeout=self._seconds, said=said)
                elif _is_empty(accepted):
                    raise HungUp("whoever connected hung up without a word")
                else:
                    raise ConnectionResetError
                arrival.goes_on(lambda: end(made[0]))
                return made[0]
        except HungUp:
            accepted.close()
            raise
        except GaveWay as gave_way:
            accepted.close()
            raise SaidNothing(str(gave_way)) from None
        except TimeoutError:
            accepted.close()
            if context is None:
                raise SaidNothing(f"nothing came within {self._seconds:g} s") from None
            raise TlsFailed(f"no TLS within {self._seconds:g} s") from None
        except OSError as error:  # also that there is no way to it any more
            accepted.close()
            raise TlsFailed(plain_reason(error)) from None

    async def _another_hello(self, sock: socket.socket, context: ssl.SSLContext) -> bytes:
        """Ask for another hello, and wait for it, while the connection has no more than a socket; what was said."""
        hello = sock.recv(_PEEKED_BYTES, socket.MSG_PEEK)
        said = asks_again(context, hello)
        if said:
            sock.send(said)
            if not await has_more(sock, len(hello)):
                raise ConnectionResetError
            await self._turns.turn()
        return said


class _First(asyncio.Protocol):
    """Has a transport until the handshake is over, and makes then who has it for good."""

    def __init__(self, make: Callable[[], asyncio.BaseProtocol]) -> None:
        self._make = make

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        protocol = self._make()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


async def has_spoken(sock: socket.socket, *, tls: bool) -> bool:
    """Wait for the first byte, or for the first TLS record as a whole; whether that came. Nothing is read."""
    wanted, waited = 0, False
    while True:
        try:
            begun = sock.recv(_PEEKED_BYTES if tls else 1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            begun = b""
        except OSError:  # it broke off
            return False
        else:
            if len(begun) < max(wanted, 1):  # the stream has ended, here or behind what is there
                return False
        if len(begun) >= (wanted := first_record_bytes(begun) if tls else 1):
            break
        waited = True
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)  # it is not readable before
        await readable(sock)
    if waited:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return True


def _is_empty(sock: socket.socket) -> bool:
    """Whether a connection that is over has brought nothing."""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


async def has_more(sock: socket.socket, size: int) -> bool:
    """Wait until more than ``size`` bytes are there; whether they came. Nothing is read."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size + 1)
    await readable(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return len(sock.recv(size + 1, socket.MSG_PEEK)) > size
