"""After a change of certificates: tells the administrator when nothing speaks with the former one any more."""

import asyncio
from collections.abc import Callable, Sequence

from eps.core.event import Emit, Level, Notice
from eps.core.names import shown
from eps.transport.tasks import Tasks

WITHIN_SECONDS = 60.0
"""Then all connections should be new; those that are not are named."""

LOOK_SECONDS = 0.5
"""Between two looks whether they are."""


class Renewal:
    """Watches how connections are renewed.

    Args:
        stale: with whom there are connections from before; empty when all are new.
    """

    def __init__(self, stale: Callable[[], Sequence[str]], emit: Emit) -> None:
        self._stale = stale
        self._emit = emit
        self._tasks = Tasks()
        self._watching: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Certificates have just changed."""
        if self._watching is not None:
            self._watching.cancel()
        self._watching = self._tasks.start(self._watch(), "renewal")

    async def close(self) -> None:
        """Say nothing more."""
        await self._tasks.close()

    async def _watch(self) -> None:
        until = asyncio.get_running_loop().time() + WITHIN_SECONDS
        late = False
        while stale := self._stale():
            if not late and asyncio.get_running_loop().time() >= until:
                late = True
                self._emit(
                    Notice(
                        level=Level.WARN,
                        text=f"connections with {shown(stale)} still use the former certificate or authorities",
                        hint="withdrawn in the directory, the former certificate would cut them; it is said here when "
                        "they have ended",
                    )
                )
            await asyncio.sleep(LOOK_SECONDS)
        text = "all connections with other operators are renewed"
        self._emit(Notice(text=text, hint="a former certificate can be withdrawn in the directory now"))
