"""Honest calls, made beside whatever else happens to a network: how long each took, and which were lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from eps.core.names import Operator
from eps.errors import EpsError
from eps.grpc import eps_pb2 as pb
from eps.grpc.connection import ClientConnection
from eps.transport.dial import connect
from eps.transport.tls import client_context
from support.machine import Machine

PAUSE_SECONDS = 0.02
"""Between an answer and the next call of the same kind."""

CALL_SECONDS = 30.0


class HonestLoad:
    """Calls through hd-1: one after the other on a kept connection, and beside it others on new ones, at both ports.

    Attributes:
        kept, new_jsonrpc, new_grpc: seconds that each call of that kind took, connecting included.
        lost: what became of those that were not answered.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.kept: list[float] = []
        self.new_jsonrpc: list[float] = []
        self.new_grpc: list[float] = []
        self.lost: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._over = False

    @property
    def fresh(self) -> list[float]:
        """Those on new connections."""
        return self.new_jsonrpc + self.new_grpc

    async def __aenter__(self) -> "HonestLoad":
        self._client = self._machine.application("hd-1")
        kinds = ((self.kept, self._on_a_kept_connection), (self.new_jsonrpc, self._on_a_new_connection),
                 (self.new_grpc, self._at_the_grpc_port))  # fmt: skip
        self._tasks = [asyncio.create_task(self._again_and_again(took, call)) for took, call in kinds]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    def __str__(self) -> str:
        kinds = {"kept": self.kept, "new JSON-RPC": self.new_jsonrpc, "new gRPC": self.new_grpc}
        figures = (
            f"{name}: {len(took)} calls, p50 {at(took, 0.5) * 1e3:.0f}, p99 {at(took, 0.99) * 1e3:.0f}, "
            f"longest {max(took, default=0) * 1e3:.0f} ms"
            for name, took in kinds.items()
        )
        return f"{'; '.join(figures)}; {len(self.lost)} lost {self.lost[:3]}"

    async def _again_and_again(self, took: list[float], call: Callable[[], Awaitable[str]]) -> None:
        while not self._over:
            began = time.monotonic()
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    problem = await call()
            except (EpsError, OSError) as error:  # a timeout, too
                problem = f"{type(error).__name__}: {error}"
            if problem:
                self.lost.append(problem)
            took.append(time.monotonic() - began)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _on_a_kept_connection(self) -> str:
        answer = await self._client.call("hd-2._ping", {}, request_id="1")
        return answer.error.message if answer.error else ""

    async def _on_a_new_connection(self) -> str:
        answer = await self._machine.call("hd-1._ping")
        return answer.error.message if answer.error else ""

    async def _at_the_grpc_port(self) -> str:
        async with grpc_connection(self._machine, "hd-2", "hd-1") as connection:
            request = pb.Request(method="hd-1._ping", id="hd-1._ping(1)", clientName="hd-2")
            answer = await connection.call(request, CALL_SECONDS)
        return answer.error.message if answer.HasField("error") else ""


@asynccontextmanager
async def grpc_connection(machine: Machine, client: str, server: str) -> AsyncIterator[ClientConnection]:
    """A new connection to the gRPC port of ``server``, with the certificate of ``client``."""
    port, pins = machine.ports.of[{"hd-1": 8888, "hd-2": 8889}[server]], frozenset([machine.fingerprint(server)])
    connection = await ClientConnection.open(
        await connect(f"localhost:{port}", CALL_SECONDS),
        operator=Operator(server),
        context=client_context(machine.application_files(client), ["h2"]),
        pins=lambda _: pins,
        timeout=CALL_SECONDS,
    )
    try:
        yield connection
    finally:
        connection.abort("the call is over")
        await connection.closed


def at(took: list[float], part: float) -> float:
    """The value below which this part of them lies."""
    return sorted(took)[int(len(took) * part)] if took else 0.0
