"""What is measured: every metric with its labels, their words, and the series that exist from the start.

An alert on ``increase()`` misses the first event of a series that begins with it: so each series that can be is there
from the start, as 0. Words that are not listed here count as ``other``, whoever chose them: no stranger makes series.
Names follow https://prometheus.io/docs/practices/naming/.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from eps.core.clienthello import HelloRefusal
from eps.core.rendezvous import TunnelOutcome
from eps.errors import Outcome, Stage
from eps.reasons import Reason

Labels = tuple[str, ...]
"""The values of a series' labels, in the order of its family's names."""

OTHER = "other"
"""What a label says where the code has a word that no family lists."""


class Program(StrEnum):
    """Whose metrics these are."""

    EPS = "eps"
    SD = "sd"
    PUBLIC = "public-proxy"
    PRIVATE = "private-proxy"


ALL = frozenset(Program)
BROKERING = frozenset({Program.EPS, Program.PUBLIC})
PROXIES = frozenset({Program.PUBLIC, Program.PRIVATE})
FOLLOWERS = frozenset({Program.EPS, Program.SD})
_EPS = frozenset({Program.EPS})


class Kind(StrEnum):
    """Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        name: without ``_total``, which counters have at their end.
        text: what it says; one line.
        labels: their names.
        starts: the series that exist from the start; empty: they are what settings or the directory name.
        programs: who has it.
        limits: upper bounds of a histogram's buckets.
    """

    name: str
    kind: Kind
    text: str
    labels: Labels = ()
    starts: tuple[Labels, ...] = ((),)
    programs: frozenset[Program] = ALL
    limits: tuple[float, ...] = ()

    def starts_of(self, program: Program | None) -> Iterable[Labels]:
        """The series that exist from the start of ``program``; None: of any."""
        if self.labels[:1] != ("listener",) or program is None:
            return self.starts
        return (labels for labels in self.starts if program in LISTENERS[labels[0]])


SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From a call on a kept connection to the usual deadline."""

DIRECTIONS = ("local", "incoming")
LINKS = ("direct", "tunnel", "stream", "incoming", "connected", "sibling")
"""The kinds of links (core.event.PeerChanged)."""

STEPS = tuple("123456")
OPERATIONS = ("read", "write")
REASONS = tuple(reason.value for reason in Reason)

LISTENERS = {
    "grpc": _EPS,
    "jsonrpc": ALL,
    "relay": frozenset({Program.PUBLIC}),
    "tls": frozenset({Program.PUBLIC}),
    "passthrough": frozenset({Program.PRIVATE}),
    "metrics": ALL,
    "status": ALL,
}

_ANYWHERE = ("rate_limit", "connections", "silent", "gone", "tls", "call", "error")
"""Why any port turns a connection away."""

NO_OFFER = (Reason.PROXY_FULL, Reason.NO_TUNNEL, Reason.STOPPING)
"""Why a proxy begins no tunnel: all places are taken, its callers have too many under way, it ends."""

WHYS = {
    "grpc": ("pin", "guard", "message", "stream", "path"),
    "jsonrpc": ("name", "fingerprint", "pin", "busy"),
    "relay": ("token", "no_token", *(reason.value for reason in NO_OFFER)),
    "tls": (*(refusal.value for refusal in HelloRefusal), "unknown_domain", "not_connected"),
    "passthrough": (),
    "metrics": (),
    "status": ("name", "fingerprint", "pin"),
}
"""And why one of these does."""

_REFUSED = tuple((listener, why) for listener, whys in WHYS.items() for why in dict.fromkeys((*_ANYWHERE, *whys)))


def _calls() -> Iterable[Labels]:
    for direction in DIRECTIONS:
        yield direction, "ok", "", ""
        yield direction, "caller_gone", "", ""
        for stage in Stage:
            yield direction, "error", stage.value, "application"
            yield direction, "error", stage.value, "unknown"
            yield from ((direction, outcome.value, stage.value, "network") for outcome in Outcome)


def _each(*words: Iterable[str]) -> tuple[Labels, ...]:
    return tuple(product(*words))


COUNTED = (
    Family(
        "eps_calls",
        Kind.COUNTER,
        "calls that ended",
        ("direction", "outcome", "stage", "fault"),
        tuple(_calls()),
        _EPS,
    ),
    Family(
        "eps_call_failures",
        Kind.COUNTER,
        "calls that servers failed, by the reason that they tell",
        ("direction", "reason"),
        _each(DIRECTIONS, REASONS),
        _EPS,
    ),
    Family(
        "eps_call_seconds",
        Kind.HISTOGRAM,
        "time from a call to its answer",
        ("direction",),
        _each(DIRECTIONS),
        _EPS,
        SECONDS,
    ),
    Family("eps_links", Kind.GAUGE, "links with peers that are up", ("link",), _each(LINKS), _EPS),
    Family(
        "eps_broker_steps",
        Kind.COUNTER,
        "steps of brokered connections done here",
        ("step",),
        _each(STEPS),
        BROKERING,
    ),
    Family(
        "eps_broker_step_seconds",
        Kind.HISTOGRAM,
        "how long these took, where that is known",
        ("step",),
        _each(STEPS),
        BROKERING,
        SECONDS,
    ),
    Family(
        "eps_forwarding_seconds",
        Kind.HISTOGRAM,
        "how long the steps of TLS connections through both proxies took",
        (),
        ((),),
        PROXIES,
        SECONDS,
    ),
    Family(
        "eps_tunnels",
        Kind.COUNTER,
        "relayed connections, or waits for one, that ended",
        ("outcome",),
        _each(outcome.value for outcome in TunnelOutcome),
        PROXIES,
    ),
    Family(
        "eps_tunnel_failures",
        Kind.COUNTER,
        "waits that brought no tunnel, by the reason, where one is told",
        ("reason",),
        _each(REASONS),
        frozenset({Program.PUBLIC}),
    ),
    Family(
        "eps_tunnel_bytes",
        Kind.COUNTER,
        "bytes relayed, also by tunnels that are open",
        ("from",),
        _each(("caller", "callee")),
        PROXIES,
    ),
    Family("eps_refused", Kind.COUNTER, "connections turned away", ("listener", "why"), _REFUSED),
    Family(
        "eps_announcements",
        Kind.COUNTER,
        "domains announced",
        ("outcome",),
        _each(("kept", "repeated", "withdrawn", "refused")),
        PROXIES,
    ),
    Family("eps_directory_operators", Kind.GAUGE, "operators in the verified directory", programs=FOLLOWERS),
    Family("eps_directory_records", Kind.GAUGE, "records in it", programs=FOLLOWERS),
    Family(
        "eps_directory_marked_sections",
        Kind.GAUGE,
        "sections that are not what their last record says, since it can't be used; `get-entries` shows which",
        programs=FOLLOWERS,
    ),
    Family(
        "eps_directory_confirmed_timestamp_seconds",
        Kind.GAUGE,
        "when a service directory last confirmed the directory; its age is `time()` minus this. 0: never",
        programs=_EPS,
    ),
    Family(
        "eps_directory_failures",
        Kind.COUNTER,
        "rounds of questions to the service directories that brought no answer of use",
        programs=_EPS,
    ),
    Family(
        "eps_store_errors",
        Kind.COUNTER,
        "what should have been read from a store, or written to it, and was not",
        ("operation",),
        _each(OPERATIONS),
    ),
    Family(
        "eps_audit_lines_lost",
        Kind.COUNTER,
        "calls that have no line in the audit log, since it could not be written",
        programs=_EPS,
    ),
    Family("eps_log_lines_lost", Kind.COUNTER, "log lines dropped, since what takes the log was too slow or full"),
)
"""What events count."""

STANDING = (
    Family(
        "eps_audit_failing",
        Kind.GAUGE,
        "1: the audit log can't be written now; 0: it can, or there is none",
        programs=_EPS,
    ),
    Family("eps_calls_in_flight", Kind.GAUGE, "calls that have no answer yet", programs=_EPS),
    Family(
        "eps_calls_held",
        Kind.GAUGE,
        "calls that wait until their peer can be reached again",
        programs=_EPS,
    ),
    Family(
        "eps_stream_up",
        Kind.GAUGE,
        "1: we hold a stream to the peer, so that it can call us; 0: we should, and can't. The first 1,000 peers",
        ("peer",),
        (),
        _EPS,
    ),
    Family("eps_tunnels_open", Kind.GAUGE, "relayed connections that are open", programs=PROXIES),
    Family("eps_tunnels_limit", Kind.GAUGE, "how many there may be", programs=frozenset({Program.PUBLIC})),
    Family(
        "eps_tunnels_waiting",
        Kind.GAUGE,
        "tunnels of which one side has not come yet, or neither",
        programs=PROXIES,
    ),
    Family(
        "eps_certificate_expiry_timestamp_seconds",
        Kind.GAUGE,
        "when a certificate of ours ends, or the first of those that go with it",
        ("setting",),
        (),
    ),
    Family("eps_log_waiting_characters", Kind.GAUGE, "characters of log lines that nobody has taken yet"),
    Family("eps_build_info", Kind.GAUGE, "1: which program runs, in which version", ("program", "version"), ()),
)
"""What is looked at when somebody reads the metrics."""

FAMILIES = {family.name: family for family in (*COUNTED, *STANDING)}
