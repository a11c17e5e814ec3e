"""Why a call failed, as an application meets it: one small tree.

    CallError                       executed
    ├─ BadCall                      no *      the call itself is wrong: its method, its params, its size
    ├─ NotPermitted                 no *      our operator may not call that method there
    ├─ UnknownOperator              no *      nobody of that name is in the directory
    ├─ Unreachable                  no        it could not be delivered; it may be tried again
    ├─ Busy                         no        whoever would do the work has enough of it; retry_after says when
    ├─ OutcomeUnknown               unknown   it was sent and no answer came: it may have run
    ├─ AnswerRefused                yes       it ran, but its answer can't travel
    │  └─ UnexpectedResult                    or is no value of the type that was asked for
    └─ ServiceError                 yes       the service itself answered with an error: code and data are its own
    SetupError                      –         a certificate, profile or setting can't be used: no call was made

    * "unknown" where no more is known than a code, or only an application says so. Such a call is not repeated.

``docs/howto-call.md`` says what to do about each.
"""

from dataclasses import dataclass
from typing import Any, Literal

Executed = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of a failed call.

    Attributes:
        method: as it was called, ``hd-2.lookup``.
        executed: whether it ran. Only after ``no`` it may be called again without a thought.
        code: JSON-RPC's, of the answer; 500 where none came.
        data: ``error.data`` of the answer, a service's own value; None without an answer.
        reason: one stable word for why (docs/reference-reasons.md); empty where nobody told one.
        stage: the step at which it failed: directory, permission, broker, relay, tls, call; or empty.
        side: whose side that lies on, as our EPS server sees it: ours, proxy, peer, directory; or empty.
        hint: what helps; may be empty.
        told_by: the operator whose server says so; may be empty.
        trace_id: 32 hex digits, by which ``eps trace`` and the servers' logs know the call.
        retry_after: seconds after which another attempt is worth it; None: nobody said.
        http_status: of an HTTP answer that was none in JSON-RPC, a web page say; None: there was none, or it was one.
    """

    method: str = ""
    executed: Executed = "unknown"
    code: int = 500
    data: Any = None
    reason: str = ""
    stage: str = ""
    side: str = ""
    hint: str = ""
    told_by: str = ""
    trace_id: str = ""
    retry_after: float | None = None
    http_status: int | None = None


class CallError(Exception):
    """A call failed. Can be pickled.

    Args:
        message: one sentence.
        details: see :class:`Details`; each is an attribute of the error, too.
    """

    def __init__(self, message: str, details: Details | None = None) -> None:
        super().__init__(message, details or Details())

    @property
    def message(self) -> str:
        return str(self.args[0])

    @property
    def details(self) -> Details:
        details: Details = self.args[1]
        return details

    @property
    def method(self) -> str:
        return self.details.method

    @property
    def executed(self) -> Executed:
        return self.details.executed

    @property
    def code(self) -> int:
        return self.details.code

    @property
    def data(self) -> Any:
        return self.details.data

    @property
    def reason(self) -> str:
        return self.details.reason

    @property
    def stage(self) -> str:
        return self.details.stage

    @property
    def side(self) -> str:
        return self.details.side

    @property
    def hint(self) -> str:
        return self.details.hint

    @property
    def told_by(self) -> str:
        return self.details.told_by

    @property
    def trace_id(self) -> str:
        return self.details.trace_id

    @property
    def retry_after(self) -> float | None:
        return self.details.retry_after

    @property
    def http_status(self) -> int | None:
        return self.details.http_status

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class BadCall(CallError):
    """The call itself is wrong. Repeated, it fails again."""


class NotPermitted(CallError):
    """Our operator has no right to this in the directory, or this application none at its own EPS server."""


class UnknownOperator(CallError):
    """Nobody of that name is in the directory that our EPS server has, or it has none yet."""


class Unreachable(CallError):
    """Certainly not executed: our own EPS server was not reached, or it could not deliver the call."""


class Busy(CallError):
    """Certainly not executed: too many calls are under way. See ``retry_after``."""


class OutcomeUnknown(CallError):
    """It was sent, and no answer came. It may have been executed: find out before you repeat it."""


class AnswerRefused(CallError):
    """It was executed, and its answer can't be passed on."""


class UnexpectedResult(AnswerRefused):
    """It was executed, and its result is no value of the type that ``into`` asks for."""


class ServiceError(CallError):
    """The service's own answer: ``code``, ``message`` and ``data`` mean what the service says they mean."""


class SetupError(Exception):
    """What the client was given can't be used: a file, a profile, a URL. No call was made."""
