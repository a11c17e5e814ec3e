"""What an HTTP answer says as JSON-RPC: unpacked, parsed, and understood where it follows JSON-RPC loosely.

    body ─▶ _unpacked ─▶ _parsed ─▶ a response
                            └▶ no answer: read_loosely (core.loose_answers) ─▶ a response, and what is loose

Large ones are read in the thread beside the loop (``transport.aside``).
"""

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from eps.core.json_steps import count_values, load_in_steps
from eps.core.jsonrpc_text import Load, no_answer, parse_response, read_answer, refused_answer
from eps.core.loose_answers import Flaw, read_loosely
from eps.core.message import Response
from eps.core.packed import unpack
from eps.core.steps import exhaust
from eps.errors import BadRequest, DeliveryError
from eps.transport.aside import LARGE_BYTES, aside
from eps.transport.large_values import LARGE_VALUES

LARGE_ANSWER = 1024 * 1024
"""From this size on an answer is parsed in a thread, in steps: at once it would take more than some 10 ms."""

T = TypeVar("T")

Understood = tuple[Response, list[Flaw]] | None
Steps = Generator[None, None, Understood]
"""Those of ``read_loosely``."""

Tolerate = Callable[[Flaw], None]
"""Called with each looseness of an answer that was understood all the same."""


@dataclass(frozen=True, slots=True)
class Answer:
    """As it came.

    Attributes:
        status: HTTP's.
        coding: how the body is compressed (``core.packed.coding_of``); mostly empty.
    """

    status: int
    body: bytes
    coding: str = ""


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """Reads the answers of one endpoint.

    Attributes:
        source: whose they are, for messages.
        max_bytes: of an answer, also when it is unpacked.
        max_values: of a large one; counted before it is parsed.
        load: reads their JSON; None: only what can travel inside the network.
    """

    source: str
    max_bytes: int
    max_values: int
    load: Load | None

    async def read(self, answer: Answer, request_id: str, tolerate: Tolerate | None) -> Response:
        """What it answers; raises as ``client.JsonRpcClient.call`` says."""
        body = answer.body
        if answer.coding and body and tolerate is not None:
            body = await self._unpacked(answer, tolerate)
        try:
            return await self._parsed(body, request_id, answer.status)
        except DeliveryError:
            if tolerate is None:
                raise
            steps = read_loosely(body, request_id, status=answer.status, max_bytes=self.max_bytes, load=self.load)
            understood = await _understood(steps, len(body))
            if understood is None:
                raise
        response, flaws = understood
        for flaw in flaws:
            tolerate(flaw)
        return response

    async def _unpacked(self, answer: Answer, tolerate: Tolerate) -> bytes:
        """The body; as it came, if only its head says that it is compressed."""
        if answer.body.lstrip().startswith(b"{"):
            tolerate(Flaw.NOT_PACKED)
            return answer.body
        try:
            body = await _taken(unpack(answer.body, answer.coding, self.max_bytes), len(answer.body))
        except BadRequest as refused:
            no_answer(answer.body, self.source, answer.status, refused.message, refused.hint)
        tolerate(Flaw.PACKED)
        return body

    async def _parsed(self, body: bytes, request_id: str, status: int) -> Response:
        if len(body) <= LARGE_ANSWER or self.load is None:
            parse = partial(parse_response, body, request_id, source=self.source, status=status, load=self.load)
            parse = partial(parse, max_bytes=self.max_bytes)
            if len(body) <= LARGE_BYTES:
                return parse()
            return await LARGE_VALUES.decoded(len(body), parse, lambda response: response.value)
        try:
            load = partial(self._load_large, body)
            value = await LARGE_VALUES.decoded(len(body), load, lambda value: value)
        except BadRequest as refused:
            refused_answer(body, self.source, status, refused)
        return read_answer(value, body, request_id, source=self.source, status=status)

    def _load_large(self, body: bytes) -> Any:
        exhaust(count_values(body, self.max_values))
        return exhaust(load_in_steps(body, max_bytes=self.max_bytes, load=self.load))


async def _taken(steps: Generator[None, None, T], size: int) -> T:
    return await (in_steps(steps) if size <= LARGE_BYTES else aside(exhaust, steps))


async def _understood(steps: Steps, size: int) -> Understood:
    if size <= LARGE_BYTES:
        return await in_steps(steps)
    return await LARGE_VALUES.decoded(size, partial(exhaust, steps), lambda found: found and found[0].value)


async def in_steps(steps: Generator[None, None, T]) -> T:
    """What ``steps`` return at their end; other work gets its turn between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
        await asyncio.sleep(0)
