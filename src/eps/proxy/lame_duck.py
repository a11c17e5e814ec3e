"""How a proxy is stopped without hurting those it serves: it begins nothing new, and what it has may end by itself.

    told to stop ─▶ no new pairs ─▶ both sides of tunnels are asked to renew ─▶ the last tunnel is gone, or time is up

Operators whose servers are ours make another tunnel at once, through a proxy that has taken this one's place, or let
the old one end with the calls that run, and hold new ones until a proxy is there again. Those in use answer an error
and go on as they are. (What they do when they are asked: ``channels.pool``, ``channels.grpc_server``.)
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from eps.core.event import Emit, Level, Notice
from eps.core.names import Operator
from eps.core.renewal import RENEW_CONNECTIONS
from eps.errors import EpsError
from eps.proxy.public import CallNetwork

ASK_SECONDS = 2.0
"""For one question. Who has not answered by then goes on as he is."""

ASKED_AT_ONCE = 64
"""Operators that are asked at a time: 2,000 take a second, and our EPS server is not flooded."""

LOOK_SECONDS = 0.05
"""Between two looks whether all has ended: little against the second that a restart takes."""


async def ask_to_renew(operators: Iterable[Operator], call_network: CallNetwork, emit: Emit) -> int:
    """Ask each of ``operators`` to renew its tunnels; how many said that they do."""
    turns = asyncio.Semaphore(ASKED_AT_ONCE)

    async def ask(operator: Operator) -> bool:
        async with turns:
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    answer = await call_network(f"{operator}.{RENEW_CONNECTIONS}", {}, ASK_SECONDS)
            except (EpsError, TimeoutError) as error:
                reason = str(error) or "no answer in time"
            else:
                if answer.error is None:
                    return True
                reason = answer.error.message
        text = f"{operator} goes on with its tunnels as they are, until they end: {reason[:200]}"
        emit(Notice(level=Level.DEBUG, text=text))
        return False

    return sum(await asyncio.gather(*(ask(operator) for operator in operators)))


async def until_none(count: Callable[[], int], timeout: float) -> int:
    """Wait until ``count`` gives 0, ``timeout`` seconds at the most; what it gave last."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while (left := count()) and loop.time() < deadline:  # noqa: ASYNC110  # several parts count, none could set an event
        await asyncio.sleep(LOOK_SECONDS)
    return left


async def drain(count: Callable[[], int], timeout: float, emit: Emit, ask: Callable[[], Awaitable[int]]) -> int:
    """Wait until all connections have ended; the caller has seen to it that no new ones come. How many have not.

    Args:
        count: how many there are.
        timeout: seconds, for all of it.
        ask: asks those who have them to end them; how many will.
    """
    if not count():
        return 0
    began = asyncio.get_running_loop().time()
    text = f"{_connections(count())} may end by themselves, for {timeout:g} s at the most; no new ones are taken"
    emit(Notice(text=text))
    asking = asyncio.create_task(_ask(ask, emit), name="ask to renew")
    left = await until_none(count, timeout)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    if left:
        text = f"{_connections(left)} had not ended within drain_timeout ({timeout:g} s)"
        emit(Notice(level=Level.WARN, text=text, hint="calls that run over cut tunnels end with an unknown outcome"))
    else:
        emit(Notice(text=f"all connections have ended, after {asyncio.get_running_loop().time() - began:.1f} s"))
    return left


async def _ask(ask: Callable[[], Awaitable[int]], emit: Emit) -> None:
    renewing = await ask()
    if renewing:
        emit(Notice(text=f"{renewing} operators make other connections"))


def _connections(number: int) -> str:
    return "1 connection" if number == 1 else f"{number:,} connections"
