"""Both clients behind one face, so that a test says once what both do."""

import asyncio
from types import TracebackType
from typing import Any

import uvloop

from eps.client import AsyncClient, Client, Endpoint

KINDS = ("blocking", "asyncio", "uvloop")


class Caller:
    """``Client``, or ``AsyncClient`` with an event loop of its own that runs while it calls."""

    def __init__(self, kind: str, endpoint: Endpoint | str, **options: Any) -> None:
        loop = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}.get(kind)
        self.client: Any = Client(endpoint, **options) if loop is None else AsyncClient(endpoint, **options)
        self._runner = asyncio.Runner(loop_factory=loop) if loop is not None else None

    def run(self, result: Any) -> Any:
        """What a method of the client returns, awaited where it must be."""
        return self._runner.run(_awaited(result)) if self._runner is not None else result

    def call(self, method: str = "hd-2.lookup", params: object = None, **options: Any) -> Any:
        return self.run(self.client.call(method, params, **options))

    def __enter__(self) -> "Caller":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self.client.close())
        if self._runner is not None:
            self._runner.close()


async def _awaited(result: Any) -> Any:
    return await result
