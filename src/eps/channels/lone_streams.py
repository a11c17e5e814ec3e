"""Streams of which there may be one for all servers of our operator: each is opened and ended by the lease for it.

PROTOCOL.md section 9: peers in use know one stream per name, and forget the operator when the older of two ends.
Servers of this project keep one of each of ours, and say so when a stream opens; until one has said it, it counts as in
use.

    turn     wait for the lease
    serve    watch over the stream: the server keeps all of ours → let the lease go; the lease is lost → end the stream
    ended    say that it has ended, so that whoever has the lease opens its own anew
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from eps.channels.siblings import Leases
from eps.core.names import Operator
from eps.errors import EpsError
from eps.grpc.streams import ReverseStream, keeps_instances
from eps.transport.tasks import Tasks

LOST = "another server of ours may hold it from now on"
"""Why a stream ended whose lease is over."""

ANEW = "another server of ours had held one, too"
"""Why one ended that is opened again at once."""

ASKED = "whether another server of ours holds it is being asked"
"""Why there is none yet."""

KNOWN_SECONDS = 5.0
"""How long a server that has kept streams of all of us has to say that it still does: ours says so at once."""

Anew = Callable[[], Coroutine[Any, Any, None]]

LOOK_SECONDS = 1.0
"""Between two looks at who has the lease."""


class LoneStreams:
    """What is known of the servers to which our operator's servers hold streams.

    Args:
        leases: of which each is named like the operator that the stream leads to.
    """

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._several: set[Operator] = set()  # they keep a stream of each of us
        self._renew: dict[Operator, Callable[[], object]] = {}
        self._lost: set[Operator] = set()

    @property
    def instance(self) -> str:
        """Which of our operator's servers this is."""
        return self._leases.instance

    def is_alone(self, operator: Operator) -> bool:
        """Whether a stream to ``operator`` is the only one of all our servers, as far as we know."""
        return operator not in self._several

    async def turn(self, operator: Operator, tell: Callable[[str], object]) -> None:
        """Wait until the stream may be opened.

        Args:
            tell: told why it is waited; nothing, where a sibling holds the stream, as it should be.
        """
        if not self.is_alone(operator):
            return
        waiting = asyncio.create_task(self._leases.acquire(operator, partial(self._anew, operator)))
        try:
            while not waiting.done():
                tell("" if operator in self._leases.holders else self._leases.failing or ASKED)
                await asyncio.wait({waiting}, timeout=LOOK_SECONDS)
        finally:
            waiting.cancel()

    def serve(self, operator: Operator, stream: ReverseStream, tasks: Tasks, anew: Anew) -> None:
        """Watch over a stream that is open; by ``tasks``, which end with it.

        Args:
            anew: ends it, as ``ANEW``, when nothing is under way on it.
        """
        tasks.start(self._learn(operator, stream), "stream: which of us it is kept of")
        if self.is_alone(operator):
            self._renew[operator] = lambda: tasks.start(anew(), "stream: anew")
            tasks.start(self._until_lost(operator, stream), "stream: lease")

    def ended(self, operator: Operator) -> None:
        """The stream is closed."""
        self._renew.pop(operator, None)
        is_lost = self.is_alone(operator) and not self._leases.holds(operator)  # whatever has ended it
        if is_lost or operator in self._lost:
            self._lost.discard(operator)
            self._leases.ended(operator)

    def leave(self, operator: Operator) -> None:
        """No stream to ``operator`` is wanted any more."""
        self.ended(operator)
        self._leases.release(operator)

    def _anew(self, operator: Operator) -> None:
        if (renew := self._renew.get(operator)) is not None:
            renew()

    async def _learn(self, operator: Operator, stream: ReverseStream) -> None:
        was_alone = self.is_alone(operator)
        try:
            async with asyncio.timeout(None if was_alone else KNOWN_SECONDS):
                keeps = keeps_instances(await stream.server_metadata())
        except TimeoutError:
            keeps = False
        except EpsError:
            return  # it has ended
        if keeps:
            self._several.add(operator)
            self._leases.release(operator)
        elif not was_alone:  # it is another server now
            self._several.discard(operator)
            stream.abort(ANEW)

    async def _until_lost(self, operator: Operator, stream: ReverseStream) -> None:
        await self._leases.lost(operator)
        if self.is_alone(operator):
            self._lost.add(operator)
            stream.abort(LOST)
