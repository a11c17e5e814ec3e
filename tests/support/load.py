"""Callers that keep books: what they were told of each call, to be compared with what the application ran."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from eps.core.message import Response
from eps.errors import EpsError
from support.application import METHOD, Application
from support.machine import Machine


class Book:
    """What callers were told of each call.

    Attributes:
        answered: calls that were answered with their own name.
        failed: by call, the outcome and why.
        longest: seconds that the slowest call took.
    """

    def __init__(self) -> None:
        self.answered: set[str] = set()
        self.failed: dict[str, tuple[str, str]] = {}
        self.longest = 0.0

    @property
    def made(self) -> int:
        return len(self.answered) + len(self.failed)

    def note(self, name: str, answer: Response | EpsError) -> None:
        if isinstance(answer, EpsError):
            self.failed[name] = (answer.outcome.value, str(answer))
        elif answer.error is not None:
            data = answer.error.data if isinstance(answer.error.data, dict) else {}
            self.failed[name] = (str(data.get("outcome")), answer.error.message)
        else:
            assert answer.result == {"call": name}, "an answer was crossed"
            self.answered.add(name)

    def add(self, other: "Book") -> None:
        """What another book says, too; of calls with other names."""
        assert not (self.answered | self.failed.keys()) & (other.answered | other.failed.keys())
        self.answered |= other.answered
        self.failed |= other.failed

    async def more(self, calls: int) -> None:
        """Wait until so many more calls have ended."""
        wanted = self.made + calls
        async with asyncio.timeout(60):
            while self.made < wanted:
                await asyncio.sleep(0.01)

    def balance(self, application: Application) -> None:
        """No call ran twice; all that were answered ran; none that is said not to have been sent did."""
        assert set(application.ran.values()) <= {1}
        assert self.answered <= application.ran.keys()
        assert (
            not {name for name, (outcome, _) in self.failed.items() if outcome == "not_sent"} & application.ran.keys()
        )
        unknown = {name for name, (outcome, _) in self.failed.items() if outcome in ("unknown", "executed")}
        assert application.ran.keys() <= self.answered | unknown


@asynccontextmanager
async def load(
    machine: Machine,
    callers: int,
    *,
    pause: float = 0.02,
    operator: str = "hd-1",
    certificate: str = "",
    prefix: str = "",
) -> AsyncIterator[Book]:
    """An operator's application calls without end, from so many places; all calls are over when this is left.

    Args:
        certificate: whose it shows; by default the operator's.
        prefix: of the calls' names, which tells them from those of another load.
    """
    book, over, client = Book(), asyncio.Event(), machine.application(operator, certificate or operator)

    async def calls(caller: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            name = f"{prefix}{caller}-{number}"
            began = asyncio.get_running_loop().time()
            try:
                answer: Response | EpsError = await client.call(f"hd-2.{METHOD}", {"call": name}, request_id=name)
            except EpsError as error:
                answer = error
            book.longest = max(book.longest, asyncio.get_running_loop().time() - began)
            book.note(name, answer)
            await asyncio.sleep(pause)

    running = [asyncio.create_task(calls(caller)) for caller in range(callers)]
    try:
        yield book
    finally:
        over.set()
        await asyncio.gather(*running)
        await client.close()
