"""What one process is at, as one plain value: its page, the command ``status`` and the metrics render it, and no more.

It has operators' and methods' names, codes, stages and reasons; never params, results, what applications say, tokens,
or internal URLs.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Callable

from eps import __version__
from eps.core.event import CallFinished, Event, PeerChanged, Started, TunnelFinished
from eps.core.names import Object
from eps.programs.running.families import FAMILIES
from eps.programs.running.tally import JOINED, Numbers

FORMAT = 1
"""Of the value."""

MAX_CALLS = 40
"""The last ones: a screen or two."""

MAX_TUNNELS = 40
"""And of tunnels that have ended."""

MAX_PEERS = 1_000
"""Whose links are counted; those beyond are in the metrics' sums alone."""

MAX_WORD = 100
"""Characters of a name that a peer has chosen."""


def _nothing() -> Object:
    return {}


class Standing:
    """Follows events, and makes the value.

    Args:
        numbers: what the metrics have.
        clock: seconds since 1970.

    Attributes:
        changes: how much has happened: when it is another number, the value is another.
    """

    def __init__(self, numbers: Callable[[], Numbers], clock: Callable[[], float] = time.time) -> None:
        self._numbers = numbers
        self._clock = clock
        self._started_at = clock()
        self._program = ""
        self._picture: Callable[[], Object] = _nothing
        self._started = Started(name="")
        self._calls: deque[tuple[float, CallFinished]] = deque(maxlen=MAX_CALLS)
        self._ended: deque[tuple[float, TunnelFinished]] = deque(maxlen=MAX_TUNNELS)
        self._links: dict[str, Counter[str]] = {}
        self.changes = 0

    def belongs_to(self, program: str, picture: Callable[[], Object]) -> None:
        """Tell what ``program`` says of itself, ``picture``, besides."""
        self._program = program
        self._picture = picture

    def keep(self, event: Event) -> None:
        """Follow one."""
        self.changes += 1
        if isinstance(event, CallFinished):
            self._calls.append((self._clock(), event))
        elif isinstance(event, TunnelFinished):
            self._ended.append((self._clock(), event))
        elif isinstance(event, PeerChanged):
            self._link(event)
        elif isinstance(event, Started):
            self._started = event

    def _link(self, event: PeerChanged) -> None:
        links = self._links.get(event.peer)
        if links is None:
            if len(self._links) >= MAX_PEERS:
                return
            links = self._links[event.peer] = Counter()
        links[event.link] += 1 if event.up else -1
        if not +links:
            del self._links[event.peer]

    def links(self) -> dict[str, list[str]]:
        """Which links with whom are up."""
        return {peer: sorted(+links) for peer, links in self._links.items()}

    def value(self) -> Object:
        """The value; fit for JSON."""
        return {
            "format": FORMAT,
            "name": self._started.name,
            "program": self._program,
            "version": __version__,
            "pid": os.getpid(),
            "at": self._clock(),
            "started_at": self._started_at,
            "listening": list(self._started.listening),
            "numbers": _told(self._numbers()),
            "calls": [_call(at, event) for at, event in reversed(self._calls)],
            "ended": [_tunnel(at, event) for at, event in reversed(self._ended)],
            "links": self.links(),
            **self._picture(),
        }


def _told(numbers: Numbers) -> Object:
    """The series that say something: name → [[words, value], …]."""
    found: Object = {}
    for name, values in numbers.items():
        whole = [[list(labels), value] for labels, value in values.items() if value or not FAMILIES[name].labels]
        if whole:
            found[name] = whole
    return found


def _call(at: float, event: CallFinished) -> Object:
    is_local = event.direction == "local"
    return {
        "at": at,
        "direction": event.direction,
        "peer": (event.recipient if is_local else event.sender)[:MAX_WORD],
        "method": event.method[:MAX_WORD],
        "outcome": event.outcome,
        "stage": event.stage,
        "reason": event.reason,
        "code": event.code,
        "ms": round(event.seconds * 1000, 1),
    }


def _tunnel(at: float, event: TunnelFinished) -> Object:
    return {
        "at": at,
        "caller": event.caller[:MAX_WORD],
        "callee": event.callee[:MAX_WORD],
        "outcome": event.outcome,
        "reason": event.reason if event.outcome not in JOINED else "",
        "seconds": round(event.seconds, 3),
        "bytes": [event.first_bytes, event.second_bytes],
    }
