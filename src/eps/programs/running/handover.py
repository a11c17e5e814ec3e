"""One process takes the place of another: the listening sockets go over, and what the old one has accepted it finishes.

new: take-over ──▶ old: accepts no more, lets its stores go
new: starts    ◀── old: its listening sockets; what connects meanwhile waits in them
new: ready     ──▶ old: what runs comes to its end, then it ends
new: gone, or not ready in time ─▶ old: takes its stores back, and goes on as before
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from eps.core.event import Emit, Level, Notice
from eps.core.names import Object
from eps.errors import StartError
from eps.programs.running.control import Session, ask, closed_on_failure
from eps.transport.inherited import Named, listening
from eps.transport.listener import LISTENING, sockets_in_use

COMMAND = "take-over"

ENDING = "ending"
"""The answer of a process that stops by itself: its sockets are closed."""

GIVE_SECONDS = 30.0
"""How long the old process may take to let its stores go: a submission under way, tunnels that are being joined."""

READY_SECONDS = 60.0
"""How long the new process may take to start: a store of 10,000 records is verified in some seconds."""

SETTLE_SECONDS = 1.0
"""Between «ready» and the old one's end: kept connections that are in use end with their next answer meanwhile, where
one that is closed just as a request comes in would lose it."""


class Yields(Protocol):
    """A server that another one can take the place of."""

    async def let_go(self) -> None:
        """Let the stores go that no two processes can have. Requests that are in may still be answered."""
        ...

    async def take_back(self) -> None:
        """Have them again: the other one did not come."""
        ...


class Predecessor:
    """The process whose place we take."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ready(self) -> None:
        """We serve; it may end. It may be gone, too: that is all the same now."""
        try:
            self._session.send({"ready": True})
        except OSError:
            pass
        self._session.close()

    def give_up(self) -> None:
        """We can't start: it goes on."""
        self._session.close()


async def ask_to_hand_over(folder: Path, name: str) -> tuple[Predecessor, list[Named]] | None:
    """The process that listens at that control socket, and its sockets; None if there is none, or one that stops.

    Raises:
        StartError: it does not hand them over.
    """
    session = ask(folder, name, {"command": COMMAND})
    if session is None:
        return None
    with closed_on_failure(session, "the running process does not hand over"):
        answer, descriptors = await session.receive(GIVE_SECONDS)
        if answer.get(ENDING):
            session.close()
            return None
        names = answer.get("sockets")
        if not isinstance(names, list) or len(names) != len(descriptors):
            for descriptor in descriptors:
                os.close(descriptor)
            raise StartError(f"the running process hands nothing over: {answer.get('error', 'no reason given')}")
        return Predecessor(session), [listening(str(one), fd) for one, fd in zip(names, descriptors, strict=True)]


class HandOver:
    """The old process's part; a ``control.Handler``.

    Args:
        server: whose stores are let go.
        stop: ends this process in good order.
    """

    def __init__(self, server: Yields, stop: Callable[[], None], emit: Emit) -> None:
        self._server = server
        self._stop = stop
        self._emit = emit
        self._giving: asyncio.Task[Any] | None = None
        self._ending = False

    async def __call__(self, session: Session, _: Object) -> None:
        if self._giving is not None:
            session.send({"error": "another process is taking over already"})
            return
        if self._ending:
            session.send({ENDING: True})
            return
        self._giving = asyncio.current_task()
        self._emit(Notice(text="another process takes over: its start is waited for"))
        try:
            given = await self._give(session)
        finally:
            self._giving = None
        if given:
            self._emit(Notice(text="another process has taken over; what runs here comes to its end"))
            await asyncio.sleep(SETTLE_SECONDS)
            self._stop()

    async def end(self) -> None:
        """This process stops: nothing more is handed over, and who is about to take over starts like any other."""
        self._ending = True
        if self._giving is not None:
            self._giving.cancel()
            await asyncio.gather(self._giving, return_exceptions=True)

    async def _give(self, session: Session) -> bool:
        listeners = list(LISTENING)
        try:
            async with asyncio.timeout(GIVE_SECONDS):
                await self._server.let_go()
            for listener in listeners:
                listener.rest()
            _send_sockets(session, sockets_in_use())
            await session.receive(READY_SECONDS)
        except BaseException as error:
            await self._server.take_back()
            for listener in listeners:
                listener.go_on()
            if not isinstance(error, OSError):
                raise
            why = "was not ready in time" if isinstance(error, TimeoutError) else "has ended before it was ready"
            text = f"the process that was to take over {why}; this one goes on as before"
            self._emit(Notice(level=Level.WARN, text=text, hint="look into the other one's log"))
            return False
        return True


def _send_sockets(session: Session, sockets: Iterable[Named]) -> None:
    given = list(sockets)
    session.send({"sockets": [named.name for named in given]}, [named.sock.fileno() for named in given])
