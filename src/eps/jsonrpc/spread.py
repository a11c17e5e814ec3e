"""Several endpoints that do the same, as the public proxies of one operator: calls are spread over those that are well.

    call → the one with the fewest calls in flight ─┬ an answer
                                                     ├ certainly not sent, or refused as one that stops or is full:
                                                     │ put off for a while; the next
                                                     └ anything else: the caller's to know. Nothing is sent twice

One that was put off is asked when all others fail, too: that it is down may be over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from eps.core.event import Emit, Level, Notice
from eps.core.message import Response
from eps.core.names import Object
from eps.errors import GivenUp, NotSent, Outcome
from eps.jsonrpc.answers import Tolerate
from eps.jsonrpc.client import JsonRpcClient
from eps.reasons import Reason

PUT_OFF_SECONDS = 5.0
"""For how long one that has failed is asked last: a program that is restarted is back by then, and one that is not
costs a call in so many seconds another attempt."""

OF_SEVERAL_SECONDS = 2.0
"""How long one endpoint of several may take to be connected to: the next one has to fit into the call's time."""

_ELSEWHERE = frozenset({Reason.STOPPING.value, Reason.PROXY_FULL.value, Reason.BUSY.value})
"""Why one that answers may have refused a call that another one takes."""


@dataclass(slots=True, eq=False)
class _One:
    """An endpoint.

    Attributes:
        calls: in flight.
        put_off: until when it is asked last.
        turn: of its last call; who waited longest is asked first where all have the same to do.
        is_told: it was said that it fails, and not yet that it works.
    """

    client: JsonRpcClient
    calls: int = 0
    put_off: float = 0.0
    turn: int = 0
    is_told: bool = False


class SpreadClient:
    """Calls several endpoints as one; see :class:`JsonRpcClient`.

    Args:
        clients: at least one; closed with this.
        emit: told when an endpoint fails, and when it works again.

    Attributes:
        label: who is called, for messages.
    """

    def __init__(self, clients: Sequence[JsonRpcClient], emit: Emit) -> None:
        self.label = clients[0].label
        self._all = [_One(client) for client in clients]
        self._emit = emit
        self._turn = 0

    async def call(
        self,
        method: str,
        params: Object,
        *,
        request_id: str = "",
        timeout: float,
        tolerate: Tolerate | None = None,
        tell_timeout: bool = False,
    ) -> Response:
        """As :meth:`JsonRpcClient.call`; if none takes it, the first one's failure is raised, or its refusal returned.

        Args:
            timeout: seconds for everything, all endpoints together.
        """
        until = _now() + timeout

        def how(client: JsonRpcClient, left: float) -> Awaitable[Response]:
            return client.call(
                method, params, request_id=request_id, timeout=left, tolerate=tolerate, tell_timeout=tell_timeout
            )

        failures: list[NotSent] = []
        refusal: Response | None = None
        for one in self._in_order():
            try:
                answer = await self._ask(one, how, until - _now())
            except GivenUp:
                raise
            except NotSent as error:
                failures.append(error)
                self._fails(one, error.message)
            else:
                if not _is_refused(answer):
                    self._works(one)
                    return answer
                refusal = refusal or answer
                one.put_off = _now() + PUT_OFF_SECONDS
            if _now() >= until:
                break
        if refusal is not None:
            return refusal
        raise failures[0]

    async def _ask(
        self, one: _One, how: Callable[[JsonRpcClient, float], Awaitable[Response]], left: float
    ) -> Response:
        self._turn += 1
        one.turn, one.calls = self._turn, one.calls + 1
        try:
            return await how(one.client, left)
        finally:
            one.calls -= 1

    def _in_order(self) -> list[_One]:
        now = _now()
        return sorted(self._all, key=lambda one: (one.put_off > now, one.calls, one.turn))

    def _fails(self, one: _One, why: str) -> None:
        one.put_off = _now() + PUT_OFF_SECONDS
        if not one.is_told:
            one.is_told = True
            text = f"endpoint {self._all.index(one) + 1} of {len(self._all)} takes no calls, others get them: {why}"
            self._emit(Notice(level=Level.WARN, text=text))

    def _works(self, one: _One) -> None:
        one.put_off = 0.0
        if one.is_told:
            one.is_told = False
            text = f"endpoint {self._all.index(one) + 1} of {len(self._all)}, {self.label}, takes calls again"
            self._emit(Notice(text=text))

    def become(self, other: "SpreadClient") -> None:
        """Make all further calls as ``other`` does, which has as many endpoints and belongs to this one from now on."""
        for mine, theirs in zip(self._all, other._all, strict=True):
            mine.client.become(theirs.client)
            mine.put_off = 0.0
        self.label = other.label

    async def close(self) -> None:
        """End all connections; calls in flight fail."""
        await asyncio.gather(*(one.client.close() for one in self._all))


def _is_refused(answer: Response) -> bool:
    """Whether it certainly wasn't executed there, and may be elsewhere."""
    data = answer.error.data if answer.error is not None else None
    return isinstance(data, dict) and data.get("outcome") == Outcome.NOT_SENT.value and data.get("reason") in _ELSEWHERE


def _now() -> float:
    return asyncio.get_running_loop().time()
