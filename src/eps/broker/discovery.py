"""``_describe``: what an operator offers, and what others offer us (PROTOCOL.md section 10).

another operator asks us    what it may call, as our application describes it (``rpc.discover``)
our application asks        that of ours; with ``operator`` what we may call there: its server is asked, and where that
                            knows no ``_describe``, our directory; with ``*`` that of all, by the directory alone
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from eps.core.address import Address
from eps.core.descriptions import DESCRIBE, DISCOVER, EVERYBODY, methods_of, offered, told_by_operator
from eps.core.entries import Directory, Entry
from eps.core.likeness import meant
from eps.core.message import Request, Response
from eps.core.names import Object, Operator
from eps.core.permission import callable_by
from eps.core.trace import CURRENT
from eps.errors import BadParams, EpsError, NotPermitted, TooLarge, UnknownOperator
from eps.transport.tasks import Tasks

KEPT_SECONDS = 60.0
"""For which an application's description is kept, also that there is none: who looks around asks again and again; who
has changed a service sees it within a minute."""

AGAIN_SECONDS = 5.0
"""After which one that could not be asked is asked again: it may have been restarted."""

DISCOVER_SECONDS = 5.0
"""For an application to describe itself: it need not compute anything."""

DESCRIBE_SECONDS = 10.0
"""For another operator: that, and the way there."""

FOR_OTHERS = 0.8
"""Of the time that an asker has, what others get to answer: the rest is for the answer's way back."""

MAX_LISTED = 10_000
"""Methods of all others together: a few MB."""

SLICE = 100
"""Entries that are looked at before others get their turn."""

Deliver = Callable[[Request, float], Awaitable[Response]]
"""Delivers a request of ours, to our application or another operator, and gives the answer within so many seconds."""


class Discovery:
    """Describes.

    Args:
        own: our operator.
        deliver: see :data:`Deliver`.
    """

    def __init__(self, own: Operator, deliver: Deliver) -> None:
        self._own = own
        self._deliver = deliver
        self._told: dict[str, Object] = {}
        self._asked_at: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self._tasks = Tasks()

    async def close(self) -> None:
        """Ask no more."""
        await self._tasks.close()

    def check(self, sender: Entry, own: Entry) -> None:
        """Who may ask: whoever may call at least one method.

        Raises:
            NotPermitted: it may call none.
        """
        if not callable_by(sender, own):
            raise NotPermitted(
                f"{sender.name} may call no method of {own.name}, so it is told of none",
                hint=f"the operator of {own.name} grants rights in the section «services» of its directory entry",
            )

    async def describe(self, params: Object, sender: Entry, directory: Directory, seconds: float) -> Object:
        """The answer: {``methods``: a list, see ``core.descriptions``}.

        Args:
            seconds: that are left for it; who has not described itself by then is described by the directory.

        Raises:
            BadParams: ``operator`` is none, or not for the sender to ask of us.
            UnknownOperator: there is none of that name. TooLarge: there are too many methods.
        """
        operator = params.get("operator")
        own = directory.entry(self._own)
        assert own is not None, "a call is delivered only where there is one"
        if operator is None or operator == self._own:
            return {"methods": await self._of_ours(sender, own, seconds)}
        if sender.name != self._own or not isinstance(operator, str):
            raise BadParams("invalid params: operator: leave it out; ask that operator's own server")
        if operator == EVERYBODY:
            return {"methods": await self._of_all(own, directory)}
        entry = directory.entry(operator)
        if entry is None:
            similar = meant(operator, directory.entries)
            hint = f"did you mean {similar}?" if similar else "list the operators with: eps directory show"
            raise UnknownOperator(f"{operator[:80]} is not in the directory that {self._own} has", hint=hint)
        return {"methods": await self._of_another(own, entry, seconds)}

    async def _of_ours(self, sender: Entry, own: Entry, seconds: float) -> list[Object]:
        told = await self._application(seconds * FOR_OTHERS)
        names = callable_by(sender, own)
        if sender.name == self._own:  # its applications need no right
            names = list(dict.fromkeys([*own.callers, *told]))
        return methods_of(own, names, told)

    async def _of_all(self, own: Entry, directory: Directory) -> list[Object]:
        found: list[Object] = []
        for number, entry in enumerate(directory.entries.values()):
            if entry is not own:
                found += methods_of(entry, callable_by(own, entry))
            if len(found) > MAX_LISTED:
                text = f"{self._own} may call more than {MAX_LISTED:,} methods, which are not listed at once"
                raise TooLarge(text, hint="name an operator")
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        return found

    async def _of_another(self, own: Entry, entry: Entry, seconds: float) -> list[Object]:
        request = Request(Address(entry.name, DESCRIBE, secrets.token_hex(16)), {})
        try:
            answer = await self._deliver(request, min(DESCRIBE_SECONDS, seconds * FOR_OTHERS))
        except EpsError:
            answer = None  # it can't be asked now
        told = told_by_operator(answer.result, entry.name) if answer is not None and answer.error is None else None
        return told if told is not None else methods_of(entry, callable_by(own, entry))

    async def _application(self, seconds: float) -> dict[str, Object]:
        """What our application says of itself; empty where it says nothing. Asked once for all who ask meanwhile, in a
        task of its own: whoever asks and goes away must not have it asked again and again."""
        if self._asked_at is None or time.monotonic() - self._asked_at >= KEPT_SECONDS:
            if self._asking is None:
                self._asking = self._tasks.start(self._discover(), "describe: the application")
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await asyncio.shield(self._asking)
        return self._told

    async def _discover(self) -> None:
        CURRENT.set(None)  # it is for nobody's call in particular
        request = Request(Address(self._own, DISCOVER, secrets.token_hex(16)), {})
        try:
            answer = await self._deliver(request, DISCOVER_SECONDS)
            self._told = offered(answer.result) if answer.error is None else {}
            self._asked_at = time.monotonic()
        except EpsError:  # whoever calls it learns what is wrong with it
            self._told, self._asked_at = {}, time.monotonic() - KEPT_SECONDS + AGAIN_SECONDS
        finally:
            self._asking = None
