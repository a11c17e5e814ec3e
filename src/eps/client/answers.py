"""What came back, as a result or as one of the errors.

Errors that an EPS server of ours makes carry stage, side, outcome, reason and hint in ``error.data``; those of servers
in use have a code and a message alone (PROTOCOL.md sections 2 and 5), and so may a service's. Where both would say it
in one form, the error says what is certain in either case.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eps.client.errors import (
    AnswerRefused,
    BadCall,
    Busy,
    CallError,
    Details,
    Executed,
    NotPermitted,
    OutcomeUnknown,
    ServiceError,
    UnknownOperator,
    Unreachable,
)
from eps.client.requests import Call

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Of an answer. What travels in the network has 4 MiB at the most, which JSON can write six times as long; what a
server answers itself, a directory say, is larger."""

_OUTCOMES: Mapping[str, Executed] = {"not_sent": "no", "executed": "yes", "unknown": "unknown", "failed": "unknown"}
_STAGES = frozenset({"directory", "permission", "broker", "relay", "tls", "call"})
_SIDES = frozenset({"ours", "proxy", "peer", "directory"})
_NOT_RUN = frozenset({"bad-request", "not-json", "bad-address", "bad-params", "too-deep", "too-large",
                      "method-not-found", "not-found"})  # fmt: skip
"""Reasons that lie in the call itself."""

_NEVER_BEGUN = frozenset({-32700, -32600, -32601, -32602})
"""JSON-RPC's codes for what can't be read, methods that don't exist, and params that don't fit, whoever says so."""

_RAN_IN_VAIN = frozenset({-100, 500, -32603})
"""Codes with which servers in use say that handling failed: before or after the service had run, nobody knows."""


def result_of(status: int, body: bytes, call: Call) -> Any:
    """The result in an answer's body.

    Args:
        status: HTTP's, for messages.

    Raises:
        CallError: the one that fits.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise _no_answer(status, body, call) from None
    if not isinstance(answer, dict) or not ("error" in answer or "result" in answer):
        raise _no_answer(status, body, call)
    error = answer.get("error")
    if answer.get("id") not in (call.id, None, "") or (error is None and answer.get("id") != call.id):
        text = f"what came back to {call.method} is the answer to another call"
        raise OutcomeUnknown(text, call.details(reason="bad-answer", stage="call", side="ours"))
    if error is None:
        return answer.get("result")
    if not isinstance(error, dict):
        raise _no_answer(status, body, call)
    raise error_of(error, call)


def _no_answer(status: int, body: bytes, call: Call) -> OutcomeUnknown:
    text = f"what came back to {call.method} is no JSON-RPC answer: HTTP status {status}, {len(body)} bytes"
    hint = "check the URL, with its path: it must be that of an EPS server's jsonrpc_server"
    details = call.details(reason="bad-answer", stage="call", side="ours", hint=hint, http_status=status)
    return OutcomeUnknown(text, details)


def error_of(error: Mapping[str, Any], call: Call) -> CallError:
    """The error in an answer."""
    code, message, data = error.get("code"), error.get("message"), error.get("data")
    code = code if isinstance(code, int) and not isinstance(code, bool) else -32603
    text = message if isinstance(message, str) and message else f"{call.method} failed with code {code}"
    told = data if isinstance(data, dict) and _is_of_a_server(data) else None
    if told is None:
        kind, executed = _by_code(code, data)
        return kind(text, call.details(executed=executed, code=code, data=data, **_of_a_stage(data)))
    executed = _OUTCOMES[told["outcome"]] if _is_believed(told, call) else "unknown"
    details = Details(
        method=call.method,
        executed=executed,
        code=code,
        data=data,
        reason=_word(told, "reason"),
        stage=told["stage"],
        side=told["side"],
        hint=told["hint"],
        told_by=_word(told, "told_by"),
        trace_id=call.trace_id,
        retry_after=_seconds(told.get("retry_after")),
    )
    kind = _kind(code, replace(details, executed=_OUTCOMES[told["outcome"]]))
    never_repeated = (BadCall, NotPermitted, UnknownOperator)
    return (OutcomeUnknown if executed == "unknown" and kind not in never_repeated else kind)(text, details)


def _is_believed(told: Mapping[str, Any], call: Call) -> bool:
    """Whether a server says that the call never ran which can know it: ours, or the called operator's. An application
    may answer with what somebody else told it, amid a call that it has begun."""
    teller = _word(told, "told_by")
    return told["outcome"] != "not_sent" or (
        bool(teller) and (teller in (call.own, call.method.rpartition(".")[0]) or not call.own)
    )


def _is_of_a_server(data: Mapping[str, Any]) -> bool:
    """Whether that has the form that EPS servers of ours give it."""
    fits = isinstance(data.get("hint"), str) and data.get("stage") in _STAGES and data.get("side") in _SIDES
    return fits and data.get("outcome") in _OUTCOMES


def _kind(code: int, details: Details) -> type[CallError]:
    """The class for an error that a server of ours made."""
    if details.executed == "yes":
        return AnswerRefused
    if details.executed == "unknown":
        return OutcomeUnknown
    if details.reason == "busy":
        return Busy
    if details.stage == "permission":
        return NotPermitted
    if details.stage == "directory":
        return UnknownOperator
    return BadCall if details.reason in _NOT_RUN or code < 0 else Unreachable


def _by_code(code: int, data: Any) -> tuple[type[CallError], Executed]:
    """The class for an error whose maker is not known, and whether the call ran."""
    never_begun: Executed = "no" if isinstance(data, dict) and data.get("executed") == "no" else "unknown"
    if code == 403 and (not data or _of_a_stage(data).get("stage") == "permission"):
        return NotPermitted, "unknown"
    if code in _NEVER_BEGUN:
        return BadCall, never_begun
    if data:
        return ServiceError, "yes"
    if code == 1:
        return UnknownOperator, "unknown"
    return (OutcomeUnknown, "unknown") if code in _RAN_IN_VAIN else (ServiceError, "yes")


def _of_a_stage(data: Any) -> dict[str, str]:
    """What our own server has put into an error that said nothing: stage and side."""
    if not isinstance(data, dict) or data.get("stage") not in _STAGES or data.get("side") not in _SIDES:
        return {}
    return {"stage": data["stage"], "side": data["side"]}


def _word(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key)
    return value if isinstance(value, str) else ""


def _seconds(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= 3600 else None
