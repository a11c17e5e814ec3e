"""Calls of the service directory by a command, which may wait for one that is just coming up."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from eps.core.message import Error, Response
from eps.core.names import Object
from eps.directory.endpoints import all_failed
from eps.directory.json_files import FileRecord
from eps.errors import DeliveryError, NotSent, RecordError, TlsFailed

CallDirectory = Callable[[str, Object], Awaitable[Response]]
"""Ask one service directory: method and params. Raises EpsError if no answer came."""

RETRY_SECONDS = 0.25
"""Between two attempts to reach a service directory that is coming up."""


class DirectoryCalls:
    """Calls of the first service directory that can be reached, made again until a deadline while none can be.

    The one that has answered is asked first from then on: it knows what it was told.

    Args:
        calls: each makes one attempt with one of the service directories.
        wait: seconds from now on for which service directories that can't be reached yet are tried again.
    """

    def __init__(self, *calls: CallDirectory, wait: float = 0.0) -> None:
        self._calls = list(calls)
        self._deadline = asyncio.get_running_loop().time() + wait

    async def answer(self, method: str, params: Object) -> Response:
        """What it answers, errors too. Tried again, if it only reads or the service directory certainly didn't get it.

        Raises:
            EpsError: no answer came.
        """
        repeatable: type[DeliveryError] = NotSent if method == "submitRecords" else DeliveryError
        while True:
            try:
                return await self._first(method, params, repeatable)
            except TlsFailed:
                raise
            except repeatable:
                if asyncio.get_running_loop().time() + RETRY_SECONDS > self._deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def _first(self, method: str, params: Object, repeatable: type[DeliveryError]) -> Response:
        """The answer of the first that gives one; raises what the last one failed with, and says why the others did."""
        failures: list[DeliveryError] = []
        for call in tuple(self._calls):
            try:
                answer = await call(method, params)
            except repeatable as error:
                failures.append(error)
            else:
                self._calls = [call, *(each for each in self._calls if each is not call)]
                return answer
        raise failures[0] if len(failures) == 1 else all_failed(failures)

    async def result(self, method: str, params: Object) -> Any:
        """The result; an error that is answered is raised, as no answer is."""
        response = await self.answer(method, params)
        if response.error is not None:
            raise refusal(response.error, ())
        return response.result


def refusal(error: Error, found: Sequence[FileRecord]) -> RecordError:
    """What the service directory answered, with the place in the files that it means."""
    data = error.data if isinstance(error.data, dict) else {}
    index, hint = data.get("index"), data.get("hint")
    place = f"{found[index]}: " if isinstance(index, int) and 0 <= index < len(found) else ""
    return RecordError(
        f"{place}the service directory answered with error {error.code}: {error.message}",
        index=index if place else None,
        hint=hint if isinstance(hint, str) else "",
        code=error.code,
    )
