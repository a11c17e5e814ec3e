"""Calls of our own applications that are under way, so that who has made one can withdraw it (``_cancel``).

    no byte has left us              it never will: ``not_sent``
    it has left us                   the stream is reset, and what runs it may drop it from its queue: ``unknown``

A client that just goes away withdraws nothing that was sent: whether that is a crash or a wish, nobody can tell.
"""

import asyncio
from collections.abc import Awaitable, Hashable

from eps.core.jsonrpc_text import Call, network_id
from eps.core.message import Response
from eps.core.names import Object
from eps.errors import BadParams, GivenUp, OutcomeUnknown, Side
from eps.reasons import Reason

CANCEL = "_cancel"
"""The local method; a name without a dot is no operator's."""


class _One:
    """A call, the task that waits for its answer, and whether it was withdrawn."""

    __slots__ = ("call", "task", "withdrawn")

    def __init__(self, call: Call, task: "asyncio.Task[object]") -> None:
        self.call = call
        self.task = task
        self.withdrawn = False


class UnderWay:
    """Those of one port. As many as the port may be at, which bounds them."""

    def __init__(self) -> None:
        self._calls: dict[tuple[Hashable, str], list[_One]] = {}

    async def run(self, call: Call, answering: Awaitable[Response]) -> Response:
        """What ``answering`` gives, in the present task.

        Raises:
            GivenUp: it was withdrawn before it was sent. OutcomeUnknown: after that.
        """
        task = asyncio.current_task()
        assert task is not None, "whoever awaits is a task"
        key, one = (call.asker.who, call.id), _One(call, task)
        self._calls.setdefault(key, []).append(one)
        try:
            return await answering
        except asyncio.CancelledError:
            if not one.withdrawn or task.cancelling() > 1:
                raise  # for another reason, too
            raise _withdrawn(call) from None
        finally:
            if one.withdrawn:
                task.uncancel()
            self._calls[key].remove(one)
            if not self._calls[key]:
                del self._calls[key]

    def cancel(self, asked: Call) -> Object:
        """Withdraw the calls with ``params.id`` of who asks for that: {``withdrawn``: how many there were}.

        Raises:
            BadParams: no id is given, or it is not known whose call is meant.
        """
        call_id = _id_in(asked)
        found = [one for one in self._calls.get((asked.asker.who, call_id), ()) if not one.withdrawn]
        if len(found) > 1 and asked.asker.is_shared:
            text = (
                f"{len(found)} calls have the id {call_id[:80]!r}, and without certificates nobody knows whose they are"
            )
            raise BadParams(text, hint="give calls ids that nobody else gives, such as random ones")
        for one in found:
            one.withdrawn = True
            one.task.cancel()
        return {"withdrawn": len(found)}


def _id_in(asked: Call) -> str:
    """``params.id`` in the form in which calls have it here."""
    given = asked.params.get("id")
    if not isinstance(given, str | int) or isinstance(given, bool) or given == "":
        raise BadParams("invalid params: id: the id of the call that is to be withdrawn, a string or an integer")
    return network_id(given)


def _withdrawn(call: Call) -> GivenUp | OutcomeUnknown:
    if not call.asker.sent:
        return GivenUp(f"{call.method} was withdrawn by its caller before it was sent")
    text = f"{call.method} was withdrawn by its caller after it was sent"
    hint = "it may have been executed: look there before repeating it"
    return OutcomeUnknown(text, hint=hint, side=Side.OURS, reason=Reason.NO_ANSWER)
