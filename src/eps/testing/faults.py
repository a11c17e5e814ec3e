"""What can be made to fail in a network for tests, by the words of ``eps.reasons``: as the real fault is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from eps import errors
from eps.errors import EpsError, Side
from eps.reasons import TABLE, Reason


@dataclass(frozen=True, slots=True)
class Fault:
    """One of them.

    Attributes:
        made: the error, for the operator that is called.
        at_service: it lies between the callee's EPS server and its service, not on the way to that server.
        ran: the service has run the call.
    """

    made: Callable[[str], EpsError]
    at_service: bool = False
    ran: bool = False


def _of(kind: type[EpsError], reason: Reason, side: Side = Side.PEER) -> Callable[[str], EpsError]:
    text, do = TABLE[reason].title, TABLE[reason].do
    return lambda operator: kind(f"{operator}: {text}", hint=do, reason=reason, side=side)


def _way(kind: type[EpsError], reason: Reason, side: Side = Side.PEER, *, ran: bool = False) -> Fault:
    return Fault(_of(kind, reason, side), ran=ran)


def _service(kind: type[EpsError], reason: Reason, *, ran: bool = False) -> Fault:
    return Fault(_of(kind, reason, Side.OURS), at_service=True, ran=ran)


BUSY_SECONDS = 1
"""After which a busy service is worth another call."""

FAULTS: Mapping[str, Fault] = {
    Reason.UNREACHABLE.value: _way(errors.Unreachable, Reason.UNREACHABLE),
    Reason.SILENT.value: _way(errors.NoAnswer, Reason.SILENT),
    Reason.PEER_OFF.value: _way(errors.NoRoute, Reason.PEER_OFF),
    Reason.PEER_PIN.value: _way(errors.TlsFailed, Reason.PEER_PIN),
    Reason.NO_TUNNEL.value: _way(errors.TunnelFailed, Reason.NO_TUNNEL, Side.PROXY),
    Reason.NO_ANSWER.value: _way(errors.OutcomeUnknown, Reason.NO_ANSWER, ran=True),
    Reason.BROKE_OFF.value: _way(errors.OutcomeUnknown, Reason.BROKE_OFF, ran=True),
    Reason.ANSWER_REFUSED.value: _way(errors.AnswerRefused, Reason.ANSWER_REFUSED, ran=True),
    Reason.BUSY.value: Fault(
        lambda operator: errors.Busy(f"the application of {operator} has enough to do", BUSY_SECONDS, Side.OURS),
        at_service=True,
    ),
    Reason.APPLICATION_DOWN.value: _service(errors.Unreachable, Reason.APPLICATION_DOWN),
    Reason.APPLICATION_SILENT.value: _service(errors.OutcomeUnknown, Reason.APPLICATION_SILENT, ran=True),
    Reason.APPLICATION_BROKE_OFF.value: _service(errors.OutcomeUnknown, Reason.APPLICATION_BROKE_OFF, ran=True),
}
