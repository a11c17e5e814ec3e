"""Every error that this project raises on purpose: one tree.

    EpsError                        code  stage       side       outcome
    ├─ SettingsError                   –  –           –          –         a settings file is wrong: can't start
    ├─ StartError                      –  –           –          –         port taken, file missing: can't start
    │  └─ DiskFull                                                       no room now: tried again, it may start
    ├─ BadRequest                 -32600  call        ours       not_sent  what the caller sent can't be read
    │  ├─ NotJson                 -32700
    │  ├─ MethodNotFound          -32601
    │  ├─ BadParams               -32602
    │  ├─ TooDeep                                                        nested deeper than can travel
    │  ├─ AddressError                 1                                   an id that is not OPERATOR.METHOD(ID)
    │  └─ TooLarge                   400                                   a call or a result over the size limit
    ├─ InternalError              -32603  call        ours       failed
    │  └─ StoreFailed                                                      a datastore can't be used: where it is, is
    │     │                                                                for our own administrators
    │     ├─ StoreLost                                                     its server is away, or holds something else
    │     └─ StoreUnsure                                       unknown     a change may be stored
    ├─ RecordError                -32603  directory   directory  failed    a change record is refused
    │  └─ StaleRecord                                                   it follows another record than the tip
    ├─ UnknownOperator                 1  directory   directory  not_sent  no such entry in the directory
    ├─ DirectoryUnavailable            1  directory   directory  not_sent  no verified directory yet
    ├─ NotPermitted                  403  permission  ours       not_sent
    ├─ NotFound                      404  call        ours       not_sent
    └─ DeliveryError                 500  call        peer       failed    the peer had it and it went wrong
       ├─ NotSent                    500  call        peer       not_sent  certainly not executed
       │  ├─ Busy                    500  call        peer       not_sent  too many calls already: later
       │  ├─ NotAudited              500  call        ours       not_sent  its line in the audit log can't be written
       │  ├─ GivenUp                 500  call        ours       not_sent  whoever asked had gone: final
       │  ├─ NoRoute                 500  broker      peer       not_sent  no channel leads there now
       │  │  └─ NoWay                                                       nor will one, as things are set up: final
       │  ├─ Unreachable             500  call        peer       not_sent  could not connect
       │  │  └─ NoAnswer                                                      nothing came back in time
       │  ├─ TlsFailed               500  tls         peer       not_sent  handshake, name or pin
       │  │  └─ CertificateRefused                                            the peer refused ours
       │  └─ TunnelFailed            500  relay       proxy      not_sent  the proxy brought no tunnel
       │     └─ TunnelRefused                                              and said that it won't: final
       ├─ AnswerRefused              500  call        peer       executed  it ran, but its answer can't be passed on
       └─ OutcomeUnknown             500  call        peer       unknown   it may have been executed
          └─ AnswerTooLarge                                                what is answered is more than we take

The table's last four columns are each class's defaults; whoever raises one can say better. ``error.data`` of every
JSON-RPC error that an EPS server makes itself carries ``stage``, ``side``, ``outcome``, ``reason`` and ``hint``.
"""

from enum import StrEnum
from typing import ClassVar

from eps.reasons import Reason


class Stage(StrEnum):
    """The step at which a call failed."""

    DIRECTORY = "directory"
    PERMISSION = "permission"
    BROKER = "broker"
    RELAY = "relay"
    TLS = "tls"
    CALL = "call"


class Side(StrEnum):
    """Whose side a failure lies on, as seen by the server that reports it."""

    OURS = "ours"
    PROXY = "proxy"
    PEER = "peer"
    DIRECTORY = "directory"


class Outcome(StrEnum):
    """What is known of the call's execution. Only a call that was ``not_sent`` may be repeated without a thought."""

    NOT_SENT = "not_sent"
    FAILED = "failed"
    EXECUTED = "executed"
    UNKNOWN = "unknown"


class EpsError(Exception):
    """Base of all.

    Args:
        message: one sentence: who, what, why. No trailing full stop is needed.
        hint: what an administrator can do about it; empty if there is nothing to add.
        code: JSON-RPC error code (PROTOCOL.md section 5), where it differs from the class's.
        reason: the word for why, where it is known better than the class's.

    Attributes:
        place: what only our own administrators may read, an internal URL say: for our log, and never sent.
        is_before_calls: it keeps a program from starting, so that no call has come to any step.
    """

    code: int = 500
    stage: Stage = Stage.CALL
    side: Side = Side.OURS
    outcome: Outcome = Outcome.FAILED
    reason: Reason = Reason.INTERNAL
    place: str = ""
    is_before_calls: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: int | None = None,
        stage: Stage | None = None,
        side: Side | None = None,
        outcome: Outcome | None = None,
        reason: Reason | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code
        if stage is not None:
            self.stage = stage
        if side is not None:
            self.side = side
        if outcome is not None:
            self.outcome = outcome
        if reason is not None:
            self.reason = reason

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    @property
    def told(self) -> str:
        """The message as whoever called may read it, perhaps another organisation."""
        return self.message

    @property
    def told_hint(self) -> str:
        """And the hint."""
        return self.hint

    @property
    def step(self) -> str:
        """The stage for our log: empty for what is before all calls, and was not said to concern one of their steps."""
        return "" if self.is_before_calls and "stage" not in vars(self) else self.stage.value

    def data(self) -> dict[str, str | int]:
        """What goes into ``error.data``."""
        return {
            "stage": self.stage.value,
            "side": self.side.value,
            "outcome": self.outcome.value,
            "reason": self.reason.value,
            "hint": self.told_hint,
        }


class SettingsError(EpsError):
    """A settings file can't be used. The message starts with ``FILE: key.path:``."""

    is_before_calls = True
    reason = Reason.SETTINGS


class StartError(EpsError):
    """A program can't start, for a reason outside its settings' form (port taken, file missing)."""

    is_before_calls = True
    reason = Reason.CANT_START


class DiskFull(StartError):
    """A disk has no room for what a start must write. The same start succeeds once somebody has made room, so programs
    end with the exit code after which a supervisor tries again.

    Args:
        what: what could not be done.
        why: the reason that the system gave.
        place: a folder on that disk.
    """

    reason = Reason.DISK_FULL

    def __init__(self, what: str, why: str, place: object) -> None:
        hint = f"make room on the disk of {place}, or have the quota raised; the next start then succeeds"
        super().__init__(f"{what}: the disk is full ({why})", hint=hint)


class BadRequest(EpsError):
    code = -32600
    outcome = Outcome.NOT_SENT
    reason = Reason.BAD_REQUEST


class NotJson(BadRequest):
    code = -32700
    reason = Reason.NOT_JSON


class MethodNotFound(BadRequest):
    code = -32601
    reason = Reason.METHOD_NOT_FOUND


class BadParams(BadRequest):
    code = -32602
    reason = Reason.BAD_PARAMS


class TooDeep(BadRequest):
    reason = Reason.TOO_DEEP


class AddressError(BadRequest):
    code = 1
    reason = Reason.BAD_ADDRESS


class TooLarge(BadRequest):
    code = 400
    reason = Reason.TOO_LARGE


class InternalError(EpsError):
    code = -32603


class StoreFailed(InternalError):
    """A datastore can't be used. Its message and hint name files, servers and keys, which concern our own
    administrators: they are for our log and command line, and whoever called is told less.
    """

    reason = Reason.STORE_FAILED

    @property
    def told(self) -> str:
        return "the datastore here can't be used at present"

    @property
    def told_hint(self) -> str:
        return "its administrators read in its log what is wrong; try again later"


class StoreLost(StoreFailed):
    """Its server is away, or holds something else than before. The datastore says so in the log, once."""


class StoreUnsure(StoreFailed):
    """A change was sent, and nobody knows whether it is stored, or whether it stays so."""

    outcome = Outcome.UNKNOWN

    @property
    def told(self) -> str:
        return "the datastore here has not confirmed the change: it may be stored"

    @property
    def told_hint(self) -> str:
        return "look whether it is there before you send it again"


class RecordError(EpsError):
    """A change record, or a chain of them, is refused.

    Attributes:
        index: which record of the submitted list, from 0; None where the list as a whole is meant.
    """

    reason = Reason.RECORD_REFUSED
    code = -32603
    stage = Stage.DIRECTORY
    side = Side.DIRECTORY

    def __init__(
        self,
        message: str,
        *,
        index: int | None = None,
        hint: str = "",
        code: int | None = None,
        reason: Reason | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code, reason=reason)
        self.index = index


class StaleRecord(RecordError):
    """The first record of a batch follows another one than the tip: somebody else submitted in between.

    Certainly nothing was stored, so the batch may be chained anew. ``error.data`` says so to clients of ours.
    """

    reason = Reason.STALE


class UnknownOperator(EpsError):
    code = 1
    stage = Stage.DIRECTORY
    side = Side.DIRECTORY
    outcome = Outcome.NOT_SENT
    reason = Reason.OPERATOR_UNKNOWN


class DirectoryUnavailable(UnknownOperator):
    reason = Reason.NO_DIRECTORY


class NotPermitted(EpsError):
    code = 403
    stage = Stage.PERMISSION
    outcome = Outcome.NOT_SENT
    reason = Reason.NO_PERMISSION


class NotFound(EpsError):
    code = 404
    outcome = Outcome.NOT_SENT
    reason = Reason.NOT_FOUND


class DeliveryError(EpsError):
    side = Side.PEER
    reason = Reason.BAD_ANSWER


class NotSent(DeliveryError):
    """The call may be tried again.

    Attributes:
        final: not within seconds, since nothing but an administrator, or less load, will change the answer.
    """

    reason = Reason.NOT_SENT
    outcome = Outcome.NOT_SENT
    final = False


class Busy(NotSent):
    """Whoever would do the work has as many calls as it can do well: this one was not begun, and may come again later.

    ``error.data`` says so to clients: ``reason`` is ``busy``, and ``retry_after`` the seconds.

    Args:
        retry_after: whole seconds after which another attempt is worth it.
        side: whose that is.
    """

    reason = Reason.BUSY
    final = True

    def __init__(self, message: str, retry_after: int, side: Side) -> None:
        hint = f"try again in {retry_after} s, and where it is busy then, too, wait twice as long each time"
        super().__init__(message, hint=hint, side=side)
        self.retry_after = retry_after

    def data(self) -> dict[str, str | int]:
        return super().data() | {"retry_after": self.retry_after}


class NotAudited(NotSent):
    """No line can be written into the audit log now, and no call is to be without one. The file is for our own log."""

    reason = Reason.AUDIT_FAILED
    side = Side.OURS


class GivenUp(NotSent):
    """Whoever asked has gone before the call could be sent; nobody is told but the log."""

    final = True

    def __init__(self, text: str = "the caller has gone before its call was sent") -> None:
        super().__init__(text, side=Side.OURS)


class NoRoute(NotSent):
    stage = Stage.BROKER
    reason = Reason.PEER_OFF


class NoWay(NoRoute):
    final = True
    reason = Reason.NO_WAY


class Unreachable(NotSent):
    reason = Reason.UNREACHABLE


class NoAnswer(Unreachable):
    """Nothing came back at all: most likely something on the way swallows it."""

    reason = Reason.SILENT


class TlsFailed(NotSent):
    stage = Stage.TLS
    reason = Reason.TLS_FAILED


class CertificateRefused(TlsFailed):
    """The peer refused ours: it said so, or hung up when it had seen it."""

    reason = Reason.CERTIFICATE_REFUSED


class TunnelFailed(NotSent):
    stage = Stage.RELAY
    side = Side.PROXY
    reason = Reason.NO_TUNNEL


class TunnelRefused(TunnelFailed):
    final = True


class AnswerRefused(DeliveryError):
    outcome = Outcome.EXECUTED
    reason = Reason.ANSWER_REFUSED


class OutcomeUnknown(DeliveryError):
    outcome = Outcome.UNKNOWN
    reason = Reason.BROKE_OFF


class AnswerTooLarge(OutcomeUnknown):
    reason = Reason.BAD_ANSWER
