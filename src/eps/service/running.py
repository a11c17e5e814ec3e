"""A service by itself: the JSON-RPC server that our programs have, signals, and an end in good order."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from eps.core.event import Event, Level
from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.errors import EpsError
from eps.jsonrpc.requests import Requests
from eps.jsonrpc.server import JsonRpcServer, ServerLimits, Serving

LOG = logging.getLogger("eps.service")

_LEVELS = {Level.PANIC: 50, Level.FATAL: 50, Level.ERROR: 40, Level.WARN: 30, Level.INFO: 20}


Answer = Callable[[Call], Awaitable[Response]]
"""A service's: it never raises but for cancellation."""


@dataclass(frozen=True, slots=True)
class Served:
    """What is served.

    Attributes:
        name: for the log.
        path: where calls are posted to.
        answer: see there.
    """

    name: str
    path: str
    answer: Answer


def run(served: Served, bind_address: str, grace: float) -> None:
    """Serve until SIGTERM or SIGINT. Raises SystemExit: it can't."""
    if not logging.getLogger().handlers:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        asyncio.run(_run(served, bind_address, grace))
    except EpsError as error:
        raise SystemExit(f"{served.name}: {error}") from None


async def _run(served: Served, bind_address: str, grace: float) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    async with serving(served, bind_address, grace) as port:
        host = bind_address.rpartition(":")[0]
        LOG.info("%s is running at http://%s:%d%s", served.name, host, port, served.path)
        await over.wait()
        LOG.info("%s takes no more calls, and ends when those that run are answered", served.name)


@asynccontextmanager
async def serving(served: Served, bind_address: str, grace: float) -> AsyncIterator[int]:
    """Serve meanwhile; the port.

    Raises:
        StartError: the address can't be listened at.
    """
    given = Serving(Requests(served.path), limits=ServerLimits(grace=grace))
    server = JsonRpcServer(served.name, bind_address, served.answer, serving=given, emit=_log)
    await server.start()
    try:
        yield server.port
    finally:
        await server.close()


def _log(event: Event) -> None:
    LOG.log(_LEVELS.get(event.level, 10), "%s", event.line())
