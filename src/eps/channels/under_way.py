"""Calls of our own applications that are under way, so that who has made one can cancel it.

    no byte has left us              it never will: ``not_sent``
    it has left us                   the stream is reset, and what runs it may drop it from its queue: ``unknown``

A client that just goes away cancels nothing that was sent: whether that is a crash or a wish, nobody can tell.
"""

import asyncio
from collections.abc import Awaitable, Hashable

from eps.core.jsonrpc_text import Call, network_id
from eps.core.message import Response
from eps.core.names import Object
from eps.errors import BadParams, GivenUp, OutcomeUnknown, Side
from eps.reasons import Reason

UNGUESSED_CHARS = 16
"""Of an id, from which it is taken for one that only its caller knows, where the caller is known by his address alone:
applications on one machine count 1, 2, 3, and would cancel each other's calls."""

MAX_IDS = 1_000
"""That are cancelled at once: as many calls as a port may be at."""


class _One:
    """A call, the task that waits for its answer, and whether it was cancelled."""

    __slots__ = ("call", "cancelled", "task")

    def __init__(self, call: Call, task: "asyncio.Task[object]") -> None:
        self.call = call
        self.task = task
        self.cancelled = False


class UnderWay:
    """Those of one port. As many as the port may be at, which bounds them."""

    def __init__(self) -> None:
        self._calls: dict[tuple[Hashable, str], list[_One]] = {}

    async def run(self, call: Call, answering: Awaitable[Response]) -> Response:
        """What ``answering`` gives, in the present task.

        Raises:
            GivenUp: it was cancelled before it was sent. OutcomeUnknown: after that.
        """
        task = asyncio.current_task()
        assert task is not None, "whoever awaits is a task"
        key, one = (call.asker.who, call.id), _One(call, task)
        self._calls.setdefault(key, []).append(one)
        try:
            return await answering
        except asyncio.CancelledError:
            if not one.cancelled or task.cancelling() > 1:
                raise  # for another reason, too
            raise _given_up(call) from None
        finally:
            if one.cancelled:
                task.uncancel()
            self._calls[key].remove(one)
            if not self._calls[key]:
                del self._calls[key]

    def cancel(self, asked: Call) -> Object:
        """Cancel the calls with ``params.id``, or each in a list, of who asks: {``cancelled``: how many there were}.

        Raises:
            BadParams: no id is given, or it is not known whose call is meant.
        """
        found = [one for call_id in _ids_in(asked) for one in self._with(call_id, asked)]
        for one in found:
            one.cancelled = True
            one.task.cancel()
        return {"cancelled": len(found)}

    def _with(self, call_id: str, asked: Call) -> list[_One]:
        found = [one for one in self._calls.get((asked.asker.who, call_id), ()) if not one.cancelled]
        if asked.asker.is_shared and len(call_id) < UNGUESSED_CHARS:
            text = "without a client certificate only calls can be cancelled whose ids nobody else gives or guesses"
            raise BadParams(text, hint=f"give calls random ids of {UNGUESSED_CHARS} characters or more")
        if len(found) > 1 and asked.asker.is_shared:
            text = f"{len(found)} calls have the id {call_id[:80]!r}; without certificates nobody knows whose they are"
            raise BadParams(text, hint="give calls ids that nobody else gives, such as random ones")
        return found


def _ids_in(asked: Call) -> list[str]:
    """``params.id`` in the form in which calls have it here, each once."""
    given = asked.params.get("id")
    listed = given if isinstance(given, list) else [given]
    if not 0 < len(listed) <= MAX_IDS or not all(map(_is_id, listed)):
        raise BadParams(f"invalid params: id: that of the call to be cancelled, or a list of up to {MAX_IDS}")
    return list(dict.fromkeys(network_id(one) for one in listed))


def _is_id(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _given_up(call: Call) -> GivenUp | OutcomeUnknown:
    if not call.asker.sent:
        return GivenUp(f"{call.method} was cancelled by its caller before it was sent")
    text = f"{call.method} was cancelled by its caller after it was sent"
    hint = "it may have been executed: look there before repeating it"
    return OutcomeUnknown(text, hint=hint, side=Side.OURS, reason=Reason.NO_ANSWER)
