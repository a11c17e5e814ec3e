"""A server is told to come to its end by another process of its administrator, as by SIGTERM, and says how that went.

drain: it      ──▶ server: takes no more
ask: Drained   ◀── what runs, and how long that may take
               ◀── what had to be cut; the socket stays open until the process has ended: so its end is told, too
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eps.core.event import Emit, Notice
from eps.core.names import Object
from eps.errors import StartError
from eps.programs.running.control import COMMAND_SECONDS, Session, ask, closed_on_failure

COMMAND = "drain"

CLOSING_SECONDS = 60.0
"""Beyond ``drain_timeout``: connections, stores and logs are closed then, each with a deadline of some seconds."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a server is at.

    Attributes:
        running: how many.
        what: of what, ``connection`` or ``call``.
        timeout: seconds that they may go on when the server stops (``drain_timeout``).
    """

    running: int
    what: str
    timeout: float


class Draining:
    """The server's part; a ``control.Handler``.

    Args:
        title: what the server is called.
        work: what it is at now.
        stop: ends this process in good order.
    """

    def __init__(self, title: str, work: Callable[[], Work], stop: Callable[[], None], emit: Emit) -> None:
        self._title = title
        self._work = work
        self._stop = stop
        self._emit = emit
        self._told = False
        self._sessions: list[Session] = []

    async def __call__(self, session: Session, _: Object) -> None:
        work = self._work()
        told = {"name": self._title, "running": work.running, "what": work.what, "timeout": work.timeout}
        session.send({**told, "already": self._told})
        self._sessions.append(session)
        if not self._told:
            self._told = True
            self._emit(Notice(text="told to come to its end by the command drain"))
            self._stop()
        try:
            await session.gone()  # by then, or when this process ends: one that nobody waits at takes no other's place
        finally:
            self._sessions.remove(session)

    def stopping(self) -> None:
        """It comes to its end, whoever wanted that."""
        self._told = True

    def tell(self, cut: int) -> list[int]:
        """To all who wait: only the end of the process is to come. The descriptors by which they will notice that.

        Args:
            cut: how many of what ran had not ended in time.
        """
        kept = []
        for session in self._sessions:
            with suppress(OSError):  # who has gone, needs no word
                session.send({"cut": cut})
            kept.append(session.detach())
        return kept


class Drained:
    """The asking side: what the server has answered, and how to wait for its end.

    Attributes:
        name: what it is called.
        work: what it was at.
        already: it was coming to its end before.
    """

    def __init__(self, session: Session, answer: Mapping[str, Any]) -> None:
        self._session = session
        self.name = str(answer["name"])
        self.work = Work(int(answer["running"]), str(answer["what"]), float(answer["timeout"]))
        self.already = answer["already"] is True

    async def until_ended(self) -> int:
        """How many of what ran it has cut, once its process has ended.

        Raises:
            StartError: it has ended without a word, or not within its time.
        """
        try:
            told, _ = await self._session.receive(self.work.timeout + CLOSING_SECONDS)
            with suppress(ConnectionError):  # that is the end
                await self._session.receive(CLOSING_SECONDS)
        except TimeoutError:
            text = f"{self.name} still runs, {CLOSING_SECONDS:.0f} s after its drain_timeout ({self.work.timeout:g} s)"
            raise StartError(text, hint="look into its log") from None
        except OSError as error:
            text = f"{self.name} has ended without a word, as when it is killed"
            raise StartError(text, hint="look into its log") from error
        return int(told["cut"])

    def close(self) -> None:
        """Wait no more; the server comes to its end all the same."""
        self._session.close()


async def drain(folder: Path, name: str) -> Drained | None:
    """Tell the server that listens at that control socket to come to its end; None if none does.

    Raises:
        StartError: it doesn't.
    """
    session = ask(folder, name, {"command": COMMAND})
    if session is None:
        return None
    failed = "the running process was not stopped"
    with closed_on_failure(session, failed):
        answer, _ = await session.receive(COMMAND_SECONDS)
        if "error" in answer:  # it is of a version without this command
            raise StartError(f"{failed}: {answer['error']}", hint="stop it with SIGTERM")
        return Drained(session, answer)
