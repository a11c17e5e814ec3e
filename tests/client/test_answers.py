"""Which error an answer is, and whether a failed call is sent again."""

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest

from eps import errors as theirs
from eps.client import (
    AnswerRefused,
    BadCall,
    Busy,
    CallError,
    Details,
    NotPermitted,
    OutcomeUnknown,
    Policy,
    ServiceError,
    UnknownOperator,
    Unreachable,
    errors,
)
from eps.client.answers import result_of
from eps.client.policy import pause_before_next
from eps.client.requests import Call
from eps.core.jsonrpc_text import render_response
from eps.core.message import Error, Response
from eps.core.told import error_response

CALL = Call("hd-2.lookup", {}, "a" * 32, "00-…", "1")


def error_for(error: Error) -> CallError:
    """What the client makes of an answer with that error, as our server writes it."""
    with pytest.raises(CallError) as caught:
        result_of(400, render_response(Response("1", error=error)), CALL)
    return caught.value


OF_OURS: list[tuple[theirs.EpsError, type[CallError], str]] = [
    (theirs.NotPermitted("no"), NotPermitted, "no"),
    (theirs.UnknownOperator("no"), UnknownOperator, "no"),
    (theirs.DirectoryUnavailable("no"), UnknownOperator, "no"),
    (theirs.AddressError("no"), BadCall, "no"),
    (theirs.TooLarge("no"), BadCall, "no"),
    (theirs.BadParams("no"), BadCall, "no"),
    (theirs.NotFound("no"), BadCall, "no"),
    (theirs.Busy("no", 3, theirs.Side.PEER), Busy, "no"),
    (theirs.NoRoute("no"), Unreachable, "no"),
    (theirs.Unreachable("no"), Unreachable, "no"),
    (theirs.TlsFailed("no"), Unreachable, "no"),
    (theirs.TunnelFailed("no"), Unreachable, "no"),
    (theirs.AnswerRefused("no"), AnswerRefused, "yes"),
    (theirs.OutcomeUnknown("no"), OutcomeUnknown, "unknown"),
    (theirs.InternalError("no"), OutcomeUnknown, "unknown"),
    (theirs.DeliveryError("no"), OutcomeUnknown, "unknown"),
]


@pytest.mark.parametrize(
    ("error", "kind", "executed"), OF_OURS, ids=lambda value: getattr(value, "__class__", str).__name__
)
def test_errors_of_our_servers(error: theirs.EpsError, kind: type[CallError], executed: str) -> None:
    error.hint = "do this"
    told = error_response("1", error, "hd-2").error
    assert told is not None
    found = error_for(told)
    assert type(found) is kind and found.executed == executed
    assert (found.code, found.reason, found.stage, found.side) == (
        error.code, error.reason.value, error.stage.value, error.side.value)  # fmt: skip
    assert found.hint == error.told_hint and found.told_by == "hd-2"
    assert found.method == "hd-2.lookup" and found.trace_id == "a" * 32
    assert found.retry_after == (3.0 if isinstance(error, theirs.Busy) else None)
    assert str(found) == f"no ({found.hint})"


@pytest.mark.parametrize(
    ("code", "data", "kind", "executed"),
    [
        (1, {}, UnknownOperator, "unknown"),
        (403, {}, NotPermitted, "unknown"),
        (403, {"stage": "permission", "side": "peer", "outcome": "failed"}, NotPermitted, "unknown"),
        (403, {"why": "closed on Sundays"}, ServiceError, "yes"),
        (500, {}, OutcomeUnknown, "unknown"),
        (500, None, OutcomeUnknown, "unknown"),
        (-100, {}, OutcomeUnknown, "unknown"),
        (-32603, {}, OutcomeUnknown, "unknown"),
        (-32601, {}, BadCall, "unknown"),
        (-32602, {"field": "name"}, BadCall, "unknown"),
        (-32602, {"flaws": {}, "executed": "no"}, BadCall, "no"),
        (404, {}, ServiceError, "yes"),
        (7, [1], ServiceError, "yes"),
        (7, {"stage": "call", "side": "peer", "outcome": "no word of ours", "hint": ""}, ServiceError, "yes"),
    ],
)
def test_errors_with_a_code_and_a_message_alone(code: int, data: Any, kind: type[CallError], executed: str) -> None:
    """Those of servers in use, and of services; ambiguous ones say what is certain in either case."""
    found = error_for(Error(code, "text", data))
    assert type(found) is kind and (found.code, found.executed, found.message) == (code, executed, "text")
    assert found.data == data and found.reason == ""


@pytest.mark.parametrize(
    ("teller", "own", "executed"),
    [("hd-1", "hd-1", "no"), ("hd-2", "hd-1", "no"), ("hd-3", "hd-1", "unknown"), ("", "hd-1", "unknown"),
     ("", "", "unknown"), ("anybody", "", "no")],
)  # fmt: skip
def test_who_is_believed_that_a_call_never_ran(teller: str, own: str, executed: str) -> None:
    """An application may answer with what another network told it, amid a call that it has begun."""
    told = error_response("1", theirs.Unreachable("gone"), teller).error
    refused = error_response("1", theirs.NotPermitted("no"), teller).error
    assert told is not None and refused is not None
    call = replace(CALL, own=own)
    for error, kind in ((told, Unreachable if executed == "no" else OutcomeUnknown), (refused, NotPermitted)):
        with pytest.raises(CallError) as caught:
            result_of(400, render_response(Response("1", error=error)), call)
        assert type(caught.value) is kind and caught.value.executed == executed


def test_odd_errors() -> None:
    for error in ({}, {"code": True, "message": 3}, {"code": "x"}):
        with pytest.raises(OutcomeUnknown) as caught:
            result_of(400, json.dumps({"id": "1", "error": error}).encode(), CALL)
        assert caught.value.code == -32603 and "hd-2.lookup failed" in caught.value.message


def test_a_null_result_is_one() -> None:
    assert result_of(200, b'{"id": "1", "result": null, "error": null}', CALL) is None


@pytest.mark.parametrize("name", sorted({kind.__name__ for kind in errors.CallError.__subclasses__()}))
def test_errors_pickle(name: str) -> None:
    made = getattr(errors, name)("text", Details("hd-2.x", "no", 7, {"a": [1]}, "busy", retry_after=2.0))
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is type(made) and again.args == made.args and str(again) == "text"


def failed(kind: type[CallError] = Unreachable, **details: Any) -> CallError:
    return kind("text", Details(**{"executed": "no", **details}))


@pytest.mark.parametrize(
    ("error", "idempotent", "repeated"),
    [
        (failed(), False, True),
        (failed(Busy), False, True),
        (failed(stage="tls"), True, False),
        (failed(reason="no-way"), True, False),
        (failed(executed="unknown"), True, False),
        (failed(OutcomeUnknown, executed="unknown"), False, False),
        (failed(OutcomeUnknown, executed="unknown"), True, True),
        (failed(ServiceError, executed="yes"), True, False),
        (failed(NotPermitted), True, False),
        (failed(UnknownOperator), True, False),
        (failed(AnswerRefused, executed="yes"), True, False),
    ],
    ids=range(11),
)
def test_what_is_sent_again(error: CallError, idempotent: bool, repeated: bool) -> None:
    pause = pause_before_next(Policy(), error, 1, left=30, idempotent=idempotent, chance=0.5)
    assert (pause is not None) is repeated


def test_pauses() -> None:
    policy = Policy(attempts=9, pause=0.1, longest_pause=0.5)

    def pause(attempt: int, chance: float = 1.0, left: float = 30.0, after: float | None = None) -> float | None:
        error = failed(Busy, retry_after=after)
        return pause_before_next(policy, error, attempt, left=left, idempotent=False, chance=chance)

    assert [pause(attempt) for attempt in (1, 2, 3, 4, 8, 9)] == [0.1, 0.2, 0.4, 0.5, 0.5, None]
    assert pause(1, chance=0.0) == 0.05 and pause(1, after=7.0) == 7.0
    assert pause(1, left=0.05) is None and pause(1, left=5, after=7.0) is None


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"timeout": 0}, {"connect_timeout": -1}, {"pause": -1}], ids=str)
def test_policies_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Policy(**wrong)
