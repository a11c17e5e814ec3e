"""Readers that live and don't read: a paused download, a program that is stopped for a while. Their kernels confirm all
that they had room for, and answer each question whether there is room again; bytes wait here until there is. Linux ends
such a connection after TCP_USER_TIMEOUT, as it does a dead one (tcp(7)); RFC 1122 would have it live (4.2.2.17).

So whoever passes on what others say looks after its sockets: as long as bytes wait in one whose peer has confirmed all
that was sent, TCP_USER_TIMEOUT is off. How long somebody may not read is for that owner to say.
"""

import asyncio
import socket

from eps.transport.sockets import await_confirmations, patience, reader_lives, unacknowledged

LOOKS = 4
"""Within the time after which the kernel ends a connection: the first look may come just before a reader stops."""


class Readers:
    """The peers of some sockets. Nothing is looked at while no bytes wait.

    Args:
        sockets: connected; open until :meth:`stop`.
    """

    __slots__ = ("_loop", "_pause", "_sockets", "_spared", "_timer")

    def __init__(self, *sockets: socket.socket) -> None:
        self._sockets = sockets
        self._spared: tuple[socket.socket, ...] = ()
        self._pause = patience() / LOOKS
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def given(self) -> None:
        """One of the sockets was given bytes."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._pause, self._look)

    def stop(self) -> None:
        """The sockets are about to be closed."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._sockets = ()

    def _look(self) -> None:
        self._timer = None
        waiting = [sock for sock in self._sockets if unacknowledged(sock)]
        for sock in self._sockets:
            self._spare(sock, sock in waiting and reader_lives(sock))
        if waiting:
            self.given()

    def _spare(self, sock: socket.socket, lives: bool) -> None:
        if lives == (sock in self._spared):
            return
        await_confirmations(sock, not lives)
        others = tuple(other for other in self._spared if other is not sock)
        self._spared = (*others, sock) if lives else others
