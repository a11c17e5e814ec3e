"""Both clients behind one face, so that a test says once what both do."""

import asyncio
from types import TracebackType
from typing import Any

import uvloop

from eps.client import (
    AnswerRefused,
    AsyncClient,
    BadCall,
    Busy,
    CallError,
    Client,
    Endpoint,
    NotPermitted,
    OutcomeUnknown,
    ServiceError,
    UnknownOperator,
    Unreachable,
)

KINDS = ("blocking", "asyncio", "uvloop")


Facts = tuple[type[CallError], str, str, str, str]
"""Class, executed, reason, stage, side."""

FACTS: dict[str, Facts] = {
    "no right": (NotPermitted, "no", "no-permission", "permission", "peer"),
    "no such method": (NotPermitted, "no", "method-unknown", "permission", "peer"),
    "no such operator": (UnknownOperator, "no", "operator-unknown", "directory", "ours"),
    "no address": (BadCall, "no", "bad-address", "call", "ours"),
    "params that can't travel": (BadCall, "no", "bad-request", "call", "ours"),
    "the service refuses": (ServiceError, "yes", "", "", ""),
    "a result that can't travel": (AnswerRefused, "yes", "answer-refused", "call", "peer"),
    "the service breaks off": (OutcomeUnknown, "unknown", "application-broke-off", "call", "peer"),
    "the service is busy": (Busy, "no", "busy", "call", "peer"),
    "the service is down": (Unreachable, "no", "application-down", "call", "peer"),
    "our server is down": (Unreachable, "no", "unreachable", "call", "ours"),
}
"""What is told of each fault, in the real network and in the one for tests."""


def facts(error: CallError) -> Facts:
    return (type(error), error.executed, error.reason, error.stage, error.side)


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
