"""Which call something belongs to, across servers (W3C Trace Context, version 00; PROTOCOL.md section 10).

A trace is 32 hex digits: from ``traceparent`` of whoever called us, or else made here. It goes along as ``traceparent``
between servers, and in the ids of brokering calls, ``TRACE-SPAN``. ``tracestate``
goes nowhere: it is other systems' words, of any kind and length. What a stranger gives as a trace is a name for what is
kept anyway, and decides nothing.
"""

import itertools
import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar

TRACEPARENT = "traceparent"
"""The HTTP field, and the gRPC metadata."""

TRACEPARENT_BYTES = 55
"""Of version 00."""

TOOK_BYTES = 12
"""``00000.001234``."""

TOOK = "eps-took"
"""The trailing metadata in which a server says how many seconds a traced call took there."""

MAX_SECONDS = 86_400.0
"""That another server may say something took: what is longer is no duration."""

MAX_DURATION_CHARS = 32
"""Of one that is text: ours have 12; a longer one takes time to be read, and says no more."""

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_BROKERING = re.compile(r"([0-9a-f]{32})-[0-9a-f]{16}")
_TRACE = re.compile(r"[0-9a-f]{32}")
_NONE = "0" * 32


class Trace:
    """A call that is under way here.

    Attributes:
        id: 32 hex digits; "" where the caller told none: that is so of servers in use.
        given: whether whoever began the call gave it, and so traces it himself: then servers tell how long they took.
        opened_by: the trace of the call for which the connection was opened that this one went over; "" for none.
        there: seconds that the other server says it took; None: not told.
        of_our_kind: whether the server that answered is of our kind, which lets no application's error say that a
            server has made it (``core.told.TOLD_BY``); those in use pass everything on.
        tells: whether our caller is told how long it took here.
    """

    __slots__ = ("given", "id", "of_our_kind", "opened_by", "tells", "there")

    def __init__(self, trace_id: str, *, given: bool = False, opened_by: str = "") -> None:
        self.id = trace_id
        self.given = given
        self.opened_by = opened_by
        self.there: float | None = None
        self.of_our_kind = False
        self.tells = False

    @classmethod
    def told(cls, parent: str, opened_by: str) -> "Trace | None":
        """Of a call that another server sends.

        Args:
            parent: its ``traceparent``; anything else is none.
            opened_by: for which call the connection was opened that it comes over.
        """
        id_ = trace_of(parent)
        return cls(id_, given=bool(id_) and is_sampled(parent), opened_by=opened_by) if id_ or opened_by else None

    def parent(self) -> str:
        """The ``traceparent`` that goes along with a call to the next server; "" for a call without a trace."""
        return traceparent(self.id, IDS.span(), sampled=self.given) if self.id else ""

    def duration(self, seconds: float) -> str:
        """What our caller is told of how long it took here; "" where he is told nothing."""
        return took(seconds) if self.given and self.tells else ""


NO_TRACE = Trace("")
"""Of calls that tell none. Never changed."""

CURRENT: ContextVar[Trace | None] = ContextVar("trace", default=None)
"""The call that the present task works for. Whoever takes a call sets it, in the task that runs it."""


def current_id() -> str:
    """The trace that the present task works for; "" for none."""
    trace = CURRENT.get()
    return trace.id if trace is not None else ""


class Ids:
    """Makes traces and spans that nobody else has.

    Args:
        prefix: 16 random hex digits.
        start: a random number of at most 48 bits, from which it counts.
    """

    def __init__(self, prefix: str, start: int) -> None:
        self._prefix = prefix
        self._count = itertools.count(start)

    def trace(self) -> str:
        """The next one: a counter behind what is this process's own, since each call gets one."""
        return f"{self._prefix}{self.span()}"

    def span(self) -> str:
        """16 hex digits."""
        return f"{next(self._count):016x}"


IDS = Ids(secrets.token_hex(8), secrets.randbits(48))
"""This process's."""


def begin(brokering: str, *, is_ours: bool, tells: bool) -> None:
    """A server takes a call in the present task: which is it?

    Args:
        brokering: its id, if it brokers a connection, which is done for another call; else "".
        is_ours: an application of ours makes it: where that has given no trace, one is made.
        tells: whether others who trace their calls are told how long those took here.
    """
    trace = CURRENT.get()
    if brokering and (brokered := trace_of_brokering(brokering)):
        CURRENT.set(Trace(brokered, opened_by=trace.opened_by if trace is not None else ""))
    elif trace is None and is_ours:
        CURRENT.set(Trace(IDS.trace()))
    elif trace is not None and not is_ours:
        trace.tells = tells


def trace_of(traceparent: str | None) -> str:
    """The trace in a ``traceparent``; "" if that is none. Of later versions than 00 what is known of those counts."""
    found = _PARENT.fullmatch(traceparent) if traceparent else None
    if found is None or found[1] == "ff" or found[2] == _NONE or (found[1] == "00" and found[4]):
        return ""
    return found[2]


def traceparent(trace_id: str, span: str, *, sampled: bool) -> str:
    """What goes along to the next server; ``sampled``: whoever began the call traces it."""
    return f"00-{trace_id}-{span}-{'01' if sampled else '00'}"


def is_sampled(traceparent: str) -> bool:
    """Whether whoever began the call traces it, by the last bit of the flags in a ``traceparent`` that is one."""
    return int(traceparent[53:55], 16) % 2 == 1


def brokering_id(trace_id: str, span: str) -> str:
    """The id of a call that brokers a connection: another one for each attempt."""
    return f"{trace_id}-{span}"


def trace_of_brokering(call_id: str) -> str:
    """The trace in the id of a brokering call; "" for servers in use, whose ids have another form."""
    found = _BROKERING.fullmatch(call_id)
    return found[1] if found is not None else ""


def is_trace(text: str) -> bool:
    """Whether that is one."""
    return _TRACE.fullmatch(text) is not None and text != _NONE


def took(seconds: float) -> str:
    """The value of :data:`TOOK`, always of one length."""
    return f"{min(seconds, MAX_SECONDS):0{TOOK_BYTES}.6f}"


def seconds_in(value: object) -> float | None:
    """A duration that another server tells, in seconds; None if it is none."""
    if isinstance(value, str) and len(value) > MAX_DURATION_CHARS:
        return None
    try:
        seconds = float(value) if isinstance(value, str | float | int) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):  # a number of hundreds of digits is no double
        return None
    return seconds if 0.0 <= seconds <= MAX_SECONDS else None


def durations_in(result: object) -> list[tuple[str, float]]:
    """The parts of its work that a proxy tells beside token and endpoint, by their names in :data:`PARTS`."""
    told = result.get(DURATIONS) if isinstance(result, Mapping) else None
    if not isinstance(told, Mapping):
        return []
    found = ((name, seconds_in(told.get(name))) for name in PARTS)
    return [(name, seconds) for name, seconds in found if seconds is not None]


def durations(asked: float, arrived: float | None, lives: float) -> dict[str, float]:
    """What a proxy tells: seconds until the other operator had answered, until its connection had come, if so, and
    that its tokens live; all from when it made them."""
    told = {"asked": round(asked, 6)} | ({"arrived": round(arrived, 6)} if arrived is not None else {})
    return told | {"lives": round(lives, 6)}


def tokens_age(result: object, answered: float, seconds: float) -> float:
    """How old a proxy's tokens are, as far as we can know: it has told how long after making them it answered, and what
    else there was until its answer came was on the way, half of it to the proxy.

    Args:
        answered: seconds from our question to its answer.
        seconds: from our question until now.
    """
    asked = dict(durations_in(result)).get("asked", answered)
    return seconds - max(answered - asked, 0.0) / 2


def too_late(result: object, age: float) -> bool:
    """Whether the other operator never came, as far as a proxy has told: its connection was not there when the proxy
    answered, and the tokens, at ``age`` seconds, lived no more, or nearly: what is on the way takes longer or shorter.

    It may have come after that: who says that it did not must have looked at what came of it.
    """
    told = dict(durations_in(result))
    return "arrived" not in told and "lives" in told and age >= 0.95 * told["lives"]


DURATIONS = "durations"
"""The key beside token and endpoint."""

PARTS = ("asked", "arrived", "lives")
"""What it may hold."""
