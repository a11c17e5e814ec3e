"""What went wrong in a running server lately, for doctors, who look at what is there now: which calls and tunnels have
failed, and what it warned of. In memory, bounded, and for its administrator only.

What failed is forgotten when the same goes well again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from eps.core.event import CallFinished, Event, Level, Notice, PeerChanged, Step, TunnelFinished
from eps.core.names import Object
from eps.core.recent import Recent
from eps.programs.running.control import Session, fitting

TROUBLES = "troubles"
"""The command."""

MAX_KEPT = 100
"""Operators, each as caller or called, with whom something failed; some kilobytes each at the very most."""

MAX_REASONS = 8
"""Of each of them, the latest."""

MAX_TOLD = 20
"""Of the latest ones: more is no help, and all are told in one packet."""

MAX_TEXT = 600
"""Bytes of each text: what failed with whom, and why."""

_Key = tuple[str, str, str]


@dataclass(slots=True)
class Trouble:
    """Something that failed in one way.

    Attributes:
        method: that was called; "" for all else.
        what, why: in words, of the last time.
        fix: what to do, where the server has said that; else the reason's row says it.
        trace: of the last time; "" where there is none.
        last: when that was, by a clock that doesn't run backwards.
    """

    reason: str
    side: str
    what: str
    why: str
    last: float
    fix: str = ""
    method: str = ""
    trace: str = ""
    times: int = 1


class Troubles:
    """An ``Emit`` that remembers, and a ``control.Handler`` that tells.

    Args:
        clock: seconds; doesn't run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: Recent[_Key, dict[str, Trouble]] = Recent(MAX_KEPT)

    def keep(self, event: Event) -> None:
        """Remember what failed; forget what goes well again."""
        match event:
            case CallFinished():
                party = event.recipient if event.direction == "local" else event.sender
                self._call((event.kind, event.direction, party), event)
            case TunnelFinished() if event.reason:
                what = f"no tunnel {event.caller} → {event.callee}"
                self._add((event.kind, event.caller, event.callee), Trouble(event.reason, "", what, event.detail, 0.0))
            case Step() if event.joined_to:
                self._kept.drop((TunnelFinished.kind, event.peer, event.joined_to))
            case PeerChanged(link="stream", up=True):
                self._kept.drop((Notice.kind, event.peer, ""))
            case Notice(level=Level.WARN | Level.ERROR) if event.reason:
                if event.peer:  # why it failed before says nothing of now
                    self._kept.drop((event.kind, event.peer, ""))
                self._add(
                    (event.kind, event.peer, ""), Trouble(event.reason, event.side, event.text, "", 0.0, event.hint)
                )

    def _call(self, key: _Key, event: CallFinished) -> None:
        if event.fault == "network" or (event.outcome == "caller_gone" and event.reason):
            what = f"{event.direction} call {event.sender} → {event.recipient}.{event.method} failed"
            trouble = Trouble(event.reason, event.side, what, event.detail, 0.0)
            trouble.method, trouble.trace = event.method[:MAX_TEXT], event.trace
            self._add(key, trouble)
        elif (event.outcome == "ok" or event.fault == "application") and (known := self._kept.get(key)) is not None:
            _forget(known, event.method[:MAX_TEXT])

    def _add(self, key: _Key, trouble: Trouble) -> None:
        """With how often it was before; why the same method failed before says nothing of now."""
        known = self._kept.get(key) or {}
        before = known.pop(trouble.reason, None)
        if trouble.method:
            _forget(known, trouble.method)
        trouble.times += before.times if before is not None else 0
        trouble.last = self._clock()
        trouble.what, trouble.why = fitting(trouble.what, MAX_TEXT), fitting(trouble.why, MAX_TEXT)
        trouble.fix = fitting(trouble.fix, MAX_TEXT)
        known[trouble.reason] = trouble
        if len(known) > MAX_REASONS:
            del known[next(iter(known))]
        self._kept.put(key, known)

    async def __call__(self, session: Session, _: Object) -> None:
        every = [trouble for _, known in self._kept.items() for trouble in known.values()]
        latest = sorted(every, key=lambda trouble: -trouble.last)[:MAX_TOLD]
        session.send({"troubles": [self._told(trouble) for trouble in latest]})

    def _told(self, trouble: Trouble) -> Object:
        return {
            "reason": trouble.reason,
            "side": trouble.side,
            "what": trouble.what,
            "why": trouble.why,
            "fix": trouble.fix,
            "trace": trouble.trace,
            "times": trouble.times,
            "seconds": round(self._clock() - trouble.last, 1),
        }


def _forget(known: dict[str, Trouble], method: str) -> None:
    for reason in [reason for reason, trouble in known.items() if trouble.method == method]:
        del known[reason]
