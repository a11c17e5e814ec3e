"""Readers that live and don't read: a paused download, a program that is stopped for a while. Their kernels confirm all
that they had room for, and answer each question whether there is room again; bytes wait here until there is. Linux ends
such a connection after TCP_USER_TIMEOUT, as it does a dead one (tcp(7)); RFC 1122 would have it live (4.2.2.17).

So whoever passes on what others say looks after its sockets: as long as bytes wait in one whose peer has confirmed all
that was sent, TCP_USER_TIMEOUT is off; but for :data:`PAUSE_SECONDS` only, since a stranger who reads nothing pays
nothing for what is held here. The owner may have shorter limits, and end the longest pause where places are scarce.
"""

import asyncio
import socket
from contextlib import suppress

from eps.transport.sockets import await_confirmations, confirmed, patience, reader_lives, unacknowledged

LOOKS = 4
"""Within the time after which the kernel ends a connection: the first look may come just before a reader stops."""

PAUSE_SECONDS = 900.0
"""For which a peer may live and read nothing: a download that is paused for a cup of coffee goes on where it was. Each
holds two sockets and some MiB of the kernel's memory, so not for as long as two sides may say nothing (an hour). Then
the kernel ends it with its next question for room, of which there is one every two minutes at least."""


class Readers:
    """The peers of some sockets. Nothing is looked at while no bytes wait.

    Args:
        sockets: connected; open until :meth:`stop` or :meth:`gone`.
    """

    __slots__ = ("_every", "_loop", "_sockets", "_timer", "_waiting")

    def __init__(self, *sockets: socket.socket) -> None:
        self._sockets = sockets
        self._every = patience() / LOOKS
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[socket.socket, tuple[int, float]] = {}
        """In which bytes waited at the last look: how many were confirmed by then, and since when no more are."""

    @property
    def unread(self) -> float:
        """Seconds for which a peer has taken nothing of what waits for it; 0 if there is no such peer."""
        return self._loop.time() - min(since for _, since in self._waiting.values()) if self._waiting else 0.0

    def given(self) -> None:
        """One of the sockets was given bytes."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._every, self._look)

    def stop(self) -> None:
        """The sockets are about to be closed. What they have yet to send is nobody's then: it gets no more time than
        for a dead peer."""
        for sock in self._waiting:
            with suppress(OSError):  # the event loop may have closed it, and not told yet
                await_confirmations(sock, limited=True)
        self.gone()

    def gone(self) -> None:
        """The sockets are closed."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._sockets = ()
        self._waiting = {}

    def _look(self) -> None:
        self._timer = None
        with suppress(OSError):  # uvloop closes sockets before it says so
            self._look_at_each()

    def _look_at_each(self) -> None:
        for sock in self._sockets:
            if unacknowledged(sock):
                await_confirmations(sock, limited=not self._may_pause(sock))
            elif self._waiting.pop(sock, None):
                await_confirmations(sock, limited=True)
        if self._waiting:
            self.given()

    def _may_pause(self, sock: socket.socket) -> bool:
        now, taken = self._loop.time(), confirmed(sock)
        before, since = self._waiting.get(sock, (taken, now))
        if taken != before:
            since = now
        self._waiting[sock] = taken, since
        return reader_lives(sock) and now - since < PAUSE_SECONDS
