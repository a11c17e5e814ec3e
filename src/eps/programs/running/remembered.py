"""The last calls and steps of a running server, for ``eps trace``: in memory, bounded, and for its administrator only.

Everything is kept for as long as there is room, whatever its trace: what others give as one decides nothing.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from eps.core.event import CallFinished, Event, Step
from eps.core.names import Object
from eps.core.trace import is_trace
from eps.programs.running.control import Session, fitting

TRACE = "trace"
"""The command: with the id of a trace; without one, which the last calls were."""

MAX_CALLS = 2_000
"""The last ones, of some 500 bytes each: a second of a busy server, an hour of a quiet one."""

MAX_STEPS = 500
"""Apart from calls, of which there are far more: what opened a connection is asked for as long as that lives."""

MAX_TOLD = 100
"""Events in one answer; of a connection that lived for long there would be thousands of calls."""

EVENTS_IN_A_PACKET = 20
"""Far below ``control.MAX_PACKET_BYTES``, with texts as long as they can be."""

MAX_TEXT = 600
"""Characters of each event's text; those beyond ASCII count as six or twelve, as JSON has them."""


class Remembered:
    """An ``Emit`` that remembers, and a ``control.Handler`` that tells.

    Args:
        title: whose events they are, for merging those of several servers.
        clock: seconds since 1970.
    """

    def __init__(self, title: Callable[[], str], clock: Callable[[], float] = time.time) -> None:
        self._title = title
        self._clock = clock
        self._calls: deque[tuple[float, CallFinished]] = deque(maxlen=MAX_CALLS)
        self._steps: deque[tuple[float, Step]] = deque(maxlen=MAX_STEPS)

    def keep(self, event: Event) -> None:
        """Remember what has a trace to be asked for."""
        if isinstance(event, CallFinished):
            self._calls.append((self._clock(), _short(event)))
        elif isinstance(event, Step):
            self._steps.append((self._clock(), event))

    async def __call__(self, session: Session, message: Object) -> None:
        wanted = str(message.get("id", ""))
        found = sorted(self._about(wanted) if is_trace(wanted) else self._latest(), key=lambda item: item[0])
        told = found[:MAX_TOLD] if is_trace(wanted) else found[-MAX_TOLD:]
        events = [_shown(at, event) for at, event in told]
        for begin in range(0, len(events), EVENTS_IN_A_PACKET):
            session.send({"events": events[begin : begin + EVENTS_IN_A_PACKET]})
        session.send({"end": True, "server": self._title(), "more": len(found) - len(told)})

    def _about(self, wanted: str) -> Iterator[tuple[float, CallFinished | Step]]:
        """What has that trace, and the calls over connections that were opened for it."""
        yield from ((at, step) for at, step in self._steps if step.trace == wanted)
        yield from ((at, call) for at, call in self._calls if wanted in (call.trace, call.opened_by))

    def _latest(self) -> Iterator[tuple[float, CallFinished | Step]]:
        yield from ((at, call) for at, call in self._calls if call.trace)


def _short(event: CallFinished) -> CallFinished:
    """``event``, of whose words a peer chooses some, in the room that one has; without those of an application, which
    may name patients, and are between it and its caller."""
    if event.fault == "application" and event.detail:
        event = replace(event, detail="")
    words = (event.recipient, event.method, event.detail)
    if sum(map(len, words)) <= MAX_TEXT:
        return event
    recipient, method, detail = (word[:MAX_TEXT] for word in words)
    return replace(event, recipient=recipient, method=method, detail=detail)


def _shown(at: float, event: CallFinished | Step) -> Object:
    if isinstance(event, Step):
        return {"at": at, "text": fitting(event.what(), MAX_TEXT), "seconds": event.seconds, "trace": event.trace}
    return {
        "at": at,
        "text": fitting(f"{event.what()}: {event.detail}" if event.detail else event.what(), MAX_TEXT),
        "seconds": event.seconds,
        "trace": event.trace,
        "opened_by": event.opened_by,
        "there": event.there,
        "peer": fitting(event.recipient, MAX_TEXT) if event.direction == "local" else "",
    }
