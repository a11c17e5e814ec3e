"""Background tasks with an owner: started in one place, and none is left when the owner closes."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """The background tasks of one part of a server.

    Tasks must handle their own errors; one that doesn't is reported through the event loop's exception handler, like
    any forgotten exception.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run ``work`` until it ends or this owner closes."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended. The caller's own task, if it is one of them, is spared."""
        ending = self._running - {asyncio.current_task()}
        for task in ending:
            task.cancel()
        for result in await asyncio.gather(*ending, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                context = {"message": "a background task failed", "exception": result}
                asyncio.get_running_loop().call_exception_handler(context)
