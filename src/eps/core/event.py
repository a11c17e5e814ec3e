"""What happens in a server, as typed values.

Every part that does something worth knowing is given one callable, ``emit``, and calls it with one of these. Logs,
metrics and ``eps demo`` are made from events and from nothing else, so they can't disagree. Events hold no secrets:
no tokens, no params, no results.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from eps.core.wording import counted


class Level(StrEnum):
    """The command line's ``--level`` words, most severe first."""

    PANIC = "panic"
    FATAL = "fatal"
    ERROR = "error"
    WARN = "warn"
    INFO = "info"
    DEBUG = "debug"
    TRACE = "trace"


_MORE_LINES = ("more line of this kind is", "more lines of this kind are")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. ``message()`` is the log line's text, in plain English.

    Attributes:
        left_out: events of this kind that others caused just before, and that are DEBUG lines (core.warn_rate).
    """

    level: Level = Level.INFO
    left_out: int = 0
    kind: ClassVar[str] = "event"

    def line(self) -> str:
        """The text with the number of those that were left out, if there were any."""
        more = f"; {self.left_out:,} {_MORE_LINES[self.left_out != 1]} in the debug log only" if self.left_out else ""
        return self.message() + more

    def message(self) -> str:
        raise NotImplementedError  # each event says its own line


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """Anything an administrator should read that no other event covers.

    Attributes:
        reason: a word of ``eps.reasons``, where it tells a failure that has one.
        stage: of a call, which fails there because of this; an errors.Stage word, or empty.
        side: whose failure it is, as ``error.data.side`` has it; empty where it tells none.
        peer: with whom it fails; empty where it concerns nobody else.
    """

    text: str
    hint: str = ""
    reason: str = ""
    stage: str = ""
    side: str = ""
    peer: str = ""
    kind: ClassVar[str] = "notice"

    def message(self) -> str:
        return f"{self.text} ({self.hint})" if self.hint else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLinesLost(Event):
    """What reads the log was slow, full or away for so long that lines of it were dropped.

    Attributes:
        lines: how many, at this place of the log.
    """

    lines: int
    level: Level = Level.WARN
    kind: ClassVar[str] = "log_lines_lost"

    def message(self) -> str:
        lost = counted(self.lines, "log line is lost", "log lines are lost")
        return f"{lost} here: what takes the log was too slow, or had no room"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLinesLost(Event):
    """Calls have no line in the audit log, since it could not be written for so long that there was no more room.

    Attributes:
        lines: how many, since that was told last.
    """

    lines: int
    level: Level = Level.ERROR
    kind: ClassVar[str] = "audit_lines_lost"

    def message(self) -> str:
        return f"{counted(self.lines, 'call has', 'calls have')} no line in the audit log: it could not be written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """A server is up: everything that it opens is open.

    Attributes:
        name: which (``hd-1``, ``the service directory``).
        listening: what listens where (``gRPC localhost:8888``).
    """

    name: str
    listening: tuple[str, ...] = ()
    kind: ClassVar[str] = "started"

    def message(self) -> str:
        return f"{self.name} is running" + (f": {', '.join(self.listening)}" if self.listening else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Event):
    """One of the six steps of a brokered connection (PROTOCOL.md section 7; README has the picture).

    Attributes:
        step: 1 to 6.
        operator: who does it (the reporting server's operator).
        peer: whom it concerns.
        joined_to: of a proxy's step 6: to whom ``peer`` is.
        seconds: how long the step took, where that is known.
        trace: of the call for which the connection is made (``core.trace``).
    """

    step: int
    operator: str
    peer: str
    text: str
    joined_to: str = ""
    seconds: float | None = None
    trace: str = ""
    kind: ClassVar[str] = "step"

    def message(self) -> str:
        took = f" in {self.seconds * 1000:.1f} ms" if self.seconds is not None else ""
        return f"{self.what()}{took}"

    def what(self) -> str:
        """Without the time that it took."""
        return f"step {self.step} of 6: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished(Event):
    """A call that this server made, received or relayed to an application has ended.

    Attributes:
        direction: ``local`` (from our applications), ``incoming`` (from another operator).
        outcome: ``ok``, ``error`` (the recipient answered with an error), an errors.Outcome word, or ``caller_gone``
            (nobody waits for the answer any more).
        stage: where it failed, errors.Stage word; empty for ``ok``.
        fault: what kind of failure: ``network``, ``application`` (its own error), ``unknown`` (whose words the answer
            has can't be told); empty for ``ok``.
        side: whose failure it is, an errors.Side word; empty for ``ok``, and where it isn't known.
        reason: why, a word of ``eps.reasons``; empty for ``ok``, and where it isn't known.
        call_id: of the address, as the caller chose it.
        trace: of the call (``core.trace``); empty where the caller told none.
        opened_by: the trace of the call for which the connection was opened that it went over, if that is another.
        there: seconds that the other server says it took; None: not told.
    """

    direction: str
    sender: str
    recipient: str
    method: str
    outcome: str
    seconds: float
    stage: str = ""
    side: str = ""
    code: int = 0
    fault: str = ""
    reason: str = ""
    detail: str = ""
    call_id: str = ""
    trace: str = ""
    opened_by: str = ""
    there: float | None = None
    kind: ClassVar[str] = "call"

    def message(self) -> str:
        text = f"{self.what()} in {self.seconds * 1000:.1f} ms"
        if not self.code:
            return f"{text}: {self.detail} [{self.reason}]" if self.detail else text
        words = [f"code {self.code}", f"stage {self.stage}", self.reason, self.call_id and f"id {self.call_id}"]
        return f"{text}: {self.detail} [{', '.join(filter(None, words))}]"

    @property
    def peer(self) -> str:
        """The other of the two."""
        return self.recipient if self.direction == "local" else self.sender

    def what(self) -> str:
        """Without the time that it took, and why it failed."""
        return f"{self.direction} call {self.sender} → {self.recipient}.{self.method}: {self.outcome}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerChanged(Event):
    """A connection to or from a peer came up or went down.

    Attributes:
        link: ``direct`` or ``tunnel`` (a kept gRPC connection), ``stream`` (a ServerCall we hold),
            ``incoming`` (a gRPC connection accepted), ``connected`` (a ServerCall held to us), ``sibling`` (another
            server of our own operator, which is ``peer``).
    """

    link: str
    peer: str
    up: bool
    detail: str = ""
    kind: ClassVar[str] = "peer"

    def message(self) -> str:
        return f"{self.link} link with {self.peer} is {'up' if self.up else 'down'}" + (
            f": {self.detail}" if self.detail else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelFinished(Event):
    """A relayed connection, or a wait for one, has ended at the proxy. Each ends in exactly one named outcome.

    Attributes:
        outcome: a word of core.rendezvous.TunnelOutcome; metric label.
        first_bytes, second_bytes: forwarded from the first (B) and the second (A) side.
        reason, detail: why there was no tunnel: a word of ``eps.reasons``, and the text.
        call_id: of the caller's question for it.
    """

    outcome: str
    seconds: float
    caller: str = ""
    callee: str = ""
    first_bytes: int = 0
    second_bytes: int = 0
    reason: str = ""
    detail: str = ""
    call_id: str = ""
    kind: ClassVar[str] = "tunnel"

    def message(self) -> str:
        who = f" {self.caller} → {self.callee}" if self.caller or self.callee else ""
        text = f"tunnel{who} ended: {self.outcome} after {self.seconds:.3f} s"
        if self.detail:
            return f"{text}: {self.detail} [{', '.join(filter(None, (self.reason, f'id {self.call_id}')))}]"
        return f"{text}, {counted(self.second_bytes, 'byte')} from the caller, {self.first_bytes} back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding(Event):
    """One step of a TLS connection's way through both proxies (PROTOCOL.md section 8).

    Attributes:
        operator: who does it (the reporting proxy's operator).
        peer: whom it concerns.
        seconds: how long it took, where that is known.
    """

    operator: str
    peer: str
    text: str
    seconds: float | None = None
    level: Level = Level.DEBUG
    kind: ClassVar[str] = "forwarding"

    def message(self) -> str:
        took = f" in {self.seconds * 1000:.1f} ms" if self.seconds is not None else ""
        return f"{self.text}{took}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced(Event):
    """A domain was announced, or could not be.

    Attributes:
        outcome: ``kept`` (it is new, or has changed), ``repeated``, ``withdrawn``, or ``refused``.
        operator: who announces it (a public proxy's event) or the public proxy (a private one's).
    """

    domain: str
    operator: str
    outcome: str
    detail: str = ""
    kind: ClassVar[str] = "announced"

    def message(self) -> str:
        return f"announcement of {self.domain} ({self.operator}): {self.outcome}" + (
            f": {self.detail}" if self.detail else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryChanged(Event):
    """A new state of the directory was verified and is in use.

    Attributes:
        marked: sections that are not what their last records say, since those can't be used.
        changed: whose sections were changed (``hd-1: certificates, groups``); a service directory's log has it.
    """

    records: int
    operators: int
    tip: str
    source: str
    marked: int = 0
    changed: tuple[str, ...] = ()
    kind: ClassVar[str] = "directory"

    def message(self) -> str:
        size = f"{counted(self.operators, 'operator')} from {counted(self.records, 'record')}"
        text = f"directory: {size}, tip {self.tip[:12]}, from {self.source}"
        return f"{text}, which changed {'; '.join(self.changed)}" if self.changed else text


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryConfirmed(Event):
    """A service directory has confirmed what is known of the directory, now or before this start.

    Attributes:
        at: when, in seconds since 1970.
        date: the same, to be read.
    """

    at: float
    date: str
    level: Level = Level.TRACE
    kind: ClassVar[str] = "directory_confirmed"

    def message(self) -> str:
        return f"directory confirmed: {self.date}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryFailed(Event):
    """The directory could not be read or verified; what was verified before stays in use.

    Attributes:
        reason: why, a word of ``eps.reasons``; empty where several endpoints failed in several ways.
        side: whose failure it is, an errors.Side word.
    """

    detail: str
    hint: str = ""
    reason: str = ""
    side: str = ""
    level: Level = Level.WARN
    kind: ClassVar[str] = "directory_failed"

    def message(self) -> str:
        return f"directory not updated: {self.detail}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryStillFailing(Event):
    """Once more for a reason that was told already."""

    level: Level = Level.TRACE
    kind: ClassVar[str] = "directory_still_failing"

    def message(self) -> str:
        return "directory not updated, as before"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreError(Event):
    """A store could not be read or written. What it keeps from being done is told where that fails.

    Attributes:
        operation: ``read`` or ``write``.
    """

    operation: str
    level: Level = Level.TRACE
    kind: ClassVar[str] = "store_error"

    def message(self) -> str:
        return f"a store failed: {self.operation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """A connection or a peer was turned away before any call.

    Attributes:
        listener: the listener's name (``grpc``, ``jsonrpc``, ``relay``).
        names: of the certificate that was shown, where the directory pins it for none of them.
        why: a short fixed word for the metric (``rate_limit``, ``pin``, ``tls``, ``token``, ``guard``, ``silent``…).
    """

    listener: str
    why: str
    source: str
    detail: str = ""
    names: tuple[str, ...] = ()
    level: Level = Level.WARN
    kind: ClassVar[str] = "refused"

    def message(self) -> str:
        return f"{self.listener}: refused {self.source} ({self.why})" + (f": {self.detail}" if self.detail else "")


Emit = Callable[[Event], None]
"""How every part reports events; must not block and must not raise."""


def ignore(event: Event) -> None:
    """An ``Emit`` that drops the event."""
