"""What both clients do, against a server that is a script."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from eps.client import (
    BadCall,
    Busy,
    CallReport,
    Client,
    NotPermitted,
    OutcomeUnknown,
    Policy,
    ServiceError,
    UnexpectedResult,
    Unreachable,
    answers,
    fate,
)
from support.clients import KINDS, Caller
from support.ports import PortBlock
from support.scripted import Line, Scripted, echo

QUICK = Policy(pause=0.001)
"""Repetitions at once."""

TOLD = {"stage": "call", "side": "peer", "outcome": "not_sent", "reason": "busy", "hint": "later", "told_by": "hd-2"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Place(BaseModel):
    name: str
    number: int = 0


@dataclass
class Found:
    name: str


def test_a_result(kind: str) -> None:
    with Scripted(echo) as server, Caller(kind, server.url) as caller:
        assert caller.call("hd-2.lookup", {"name": "office – ✓"}) == {"name": "office – ✓"}
        assert caller.call("hd-2.lookup") == {}
        assert [call["method"] for call in server.requests] == ["hd-2.lookup", "hd-2.lookup"]
        assert len({call["id"] for call in server.requests}) == 2 and server.connections == 1


def test_an_operators_methods_are_pythons(kind: str) -> None:
    with Scripted(echo) as server, Caller(kind, server.url) as caller:
        hd_2 = caller.client.operator("public.ga")
        assert caller.run(hd_2.lookup(name="office")) == {"name": "office"}
        assert caller.run(hd_2._ping()) == {}
        assert caller.run(hd_2.call("lookup", Found("x"), into=Found, timeout=5)) == Found("x")
        assert [call["method"] for call in server.requests] == [
            "public.ga.lookup",
            "public.ga._ping",
            "public.ga.lookup",
        ]
        with pytest.raises(AttributeError):
            hd_2.__wrapped__  # noqa: B018 - what Python itself asks for is no method


def test_params_and_results_of_types(kind: str) -> None:
    with Scripted(echo) as server, Caller(kind, server.url) as caller:
        assert caller.call("x.y", Place(name="a", number=1), into=Place) == Place(name="a", number=1)
        assert caller.call("x.y", Found("a"), into=Found) == Found("a")
        assert caller.call("x.y", {"a": Found("b").__dict__}, into=dict[str, Found]) == {"a": Found("b")}
        with pytest.raises(UnexpectedResult) as caught:
            caller.call("x.y", {"name": "secret", "number": "secret"}, into=Place)
        assert caught.value.executed == "yes" and "number" in str(caught.value)
        assert "secret" not in str(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)
        for wrong in ([1], {"x": float("nan")}, {"x": object()}, {"x": "\ud800"}):
            with pytest.raises(BadCall) as refused:
                caller.call("x.y", wrong)
            assert refused.value.executed == "no"


def test_errors_are_what_the_answer_says(kind: str) -> None:
    def serve(line: Line) -> None:
        while True:
            call = line.request()
            line.answer(call, error=call["params"])

    with Scripted(serve) as server, Caller(kind, server.url, policy=QUICK) as caller:
        with pytest.raises(ServiceError) as caught:
            caller.call("x.y", {"code": 404, "message": "no such place", "data": {"name": "a"}})
        assert (caught.value.code, caught.value.message, caught.value.data) == (404, "no such place", {"name": "a"})
        assert caught.value.executed == "yes" and len(server.requests) == 1
        with pytest.raises(Busy) as busy:
            caller.call("x.y", {"code": 500, "message": "later", "data": TOLD | {"retry_after": 0}})
        assert (busy.value.reason, busy.value.side, busy.value.told_by, busy.value.retry_after) == (
            "busy", "peer", "hd-2", 0.0)  # fmt: skip
        assert len(server.requests) == 4 and len({call["id"] for call in server.requests}) == 4, "tried three times"


def test_what_is_no_answer(kind: str) -> None:
    bodies = [b"<html>", b"", b"[]", b"{}", b'{"id": "another", "result": 1}', b'{"error": 3}', b'{"result": 1}']

    def serve(line: Line) -> None:
        for body in bodies:
            line.request()
            line.respond(body, 502)

    with Scripted(serve) as server, Caller(kind, server.url) as caller:
        for number, body in enumerate(bodies, 1):
            with pytest.raises(OutcomeUnknown) as caught:
                caller.call()
            assert caught.value.http_status == (None if b'"result"' in body else 502)
            assert caught.value.reason == "bad-answer" and len(server.requests) == number


def test_an_answer_may_come_in_pieces_and_be_too_large(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    def serve(line: Line) -> None:
        call = line.request()
        body = b'{"id": "%b", "result": "%b"}' % (call["id"].encode(), b"x" * 5000)
        line.sock.sendall(head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:7], body[7:])) + b"0\r\n\r\n")
        line.request()
        line.respond(b"x" * 20_000)

    with Scripted(serve) as server, Caller(kind, server.url) as caller:
        assert caller.call() == "x" * 5000
        for module in _modules_with_limit():
            monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 10_000)
        with pytest.raises(OutcomeUnknown, match="not read"):
            caller.call()


def _modules_with_limit() -> list[Any]:
    from eps.client import asynchronous, connection, failures

    return [answers, asynchronous, connection, failures]


# --- a call is never run twice silently ---


def test_a_kept_connection_that_was_closed_is_not_used(kind: str) -> None:
    """Its end is seen before anything is sent: the call runs once, on a new one."""
    closed = threading.Event()

    def serve(line: Line) -> None:
        line.answer(line.request(), line.number, fields="Keep-Alive: timeout=75\r\n")
        if line.number == 1:
            line.close()
            closed.set()
            return
        echo(line)

    with Scripted(serve) as server, Caller(kind, server.url, policy=Policy(attempts=1)) as caller:
        assert caller.call() == 1
        assert closed.wait(30)
        assert caller.call() == 2
        assert len(server.requests) == 2


def test_what_was_not_there_when_the_server_said_goodbye_is_sent_again(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment between the look at a connection and the request on it, made certain: nobody looks."""
    monkeypatch.setattr(fate, "has_news", lambda sock: False)
    closed = threading.Event()

    def serve(line: Line) -> None:
        line.answer(line.request(), line.number, fields="Keep-Alive: timeout=75\r\n")
        if line.number == 1:
            line.close()
            closed.set()
            return
        echo(line)

    with Scripted(serve) as server, Caller(kind, server.url, policy=QUICK) as caller:
        assert caller.call() == 1
        assert closed.wait(30)
        assert caller.call() == 2
        assert len(server.requests) == 2 and server.connections == 2


@pytest.mark.parametrize("end", ["close", "reset"])
def test_what_was_read_and_not_answered_is_not_sent_again(kind: str, end: str) -> None:
    def serve(line: Line) -> None:
        line.answer(line.request(), "first", fields="Keep-Alive: timeout=75\r\n")
        line.request()
        getattr(line, end)()

    with Scripted(serve) as server, Caller(kind, server.url, policy=QUICK) as caller:
        assert caller.call() == "first"
        with pytest.raises(OutcomeUnknown) as caught:
            caller.call()
        assert caught.value.executed == "unknown" and caught.value.reason == "broke-off"
        assert len(server.requests) == 2


def test_what_the_kernel_no_longer_takes_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has heard of the reset before the request. (Event loops hear of it, too, and then give no such connection.)"""
    monkeypatch.setattr(fate, "has_news", lambda sock: False)
    closed = threading.Event()

    def serve(line: Line) -> None:
        line.answer(line.request(), "first", fields="Keep-Alive: timeout=75\r\n")
        line.reset()
        closed.set()

    with Scripted(serve) as server, Caller("blocking", server.url, policy=Policy(attempts=1)) as caller:
        assert caller.call() == "first"
        assert closed.wait(30)
        with pytest.raises(Unreachable) as caught:
            caller.call()
        assert (caught.value.executed, caught.value.reason) == ("no", "not-sent")


def test_what_its_caller_calls_idempotent_is_sent_again(kind: str) -> None:
    def serve(line: Line) -> None:
        call = line.request()
        if line.number > 1:
            line.answer(call, line.number)

    with Scripted(serve) as server, Caller(kind, server.url, policy=QUICK) as caller:
        assert caller.call(idempotent=True) == 2
        assert len(server.requests) == 2


def test_half_an_answer_is_none(kind: str) -> None:
    def serve(line: Line) -> None:
        line.request()
        line.sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id": ')

    with Scripted(serve) as server, Caller(kind, server.url, policy=QUICK) as caller:
        with pytest.raises(OutcomeUnknown) as caught:
            caller.call()
        assert caught.value.reason == "broke-off" and len(server.requests) == 1


def test_an_answer_before_the_whole_request_counts(kind: str) -> None:
    """Who may not call is told so before the body is read."""

    def serve(line: Line) -> None:
        line.sock.recv(1000)
        body = b'{"jsonrpc": "2.0", "id": null, "error": {"code": 403, "message": "not you"}}'
        line.sock.sendall(b"HTTP/1.1 400 X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        while line.sock.recv(1 << 20):
            pass

    with (
        Scripted(serve) as server,
        Caller(kind, server.url, policy=QUICK) as caller,
        pytest.raises(NotPermitted, match="not you"),
    ):
        caller.call("x.y", {"x": "y" * 3_000_000})


def test_nobody_there(kind: str) -> None:
    block = PortBlock()
    try:
        with Caller(kind, f"http://127.0.0.1:{block.numbers[0]}", policy=QUICK) as caller:
            reports: list[CallReport] = []
            caller.client._on_call = reports.append
            with pytest.raises(Unreachable) as caught:
                caller.call()
        assert (caught.value.executed, caught.value.reason, caught.value.side) == ("no", "unreachable", "ours")
        assert reports[0].attempts == 3 and reports[0].error is caught.value
    finally:
        block.close()


def test_who_only_stops_to_write_may_read_on(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An end that is no close proves nothing: the request may be read behind it."""
    monkeypatch.setattr(fate, "has_news", lambda sock: False)
    halved = threading.Event()

    def serve(line: Line) -> None:
        line.answer(line.request(), "first", fields="Keep-Alive: timeout=75\r\n")
        line.sock.shutdown(socket.SHUT_WR)
        halved.set()
        line.request()

    said = ""
    with Scripted(serve) as server, Caller(kind, server.url, policy=Policy(attempts=1)) as caller:
        assert caller.call() == "first"
        assert halved.wait(30)
        try:
            assert caller.call() == "first"  # an event loop that has seen the end dials anew
        except (Unreachable, OutcomeUnknown) as error:
            said = error.executed
    assert said == "unknown" or len(server.requests) == (1 if said else 2)


def test_kernels_that_count_nothing_prove_nothing() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.close()
        assert fate.unread(near, 0) is False and fate.unread(near, -1) is False


def test_announcements_before_an_answer(kind: str) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"

    def serve(line: Line) -> None:
        while True:
            call = line.request()
            line.sock.sendall(hints)
            line.answer(call, call["params"])

    with Scripted(serve) as server, Caller(kind, server.url) as caller:
        assert [caller.call("x.y", {"n": n}) for n in range(3)] == [{"n": n} for n in range(3)]


def test_a_server_that_ends_each_connection_at_once(kind: str) -> None:
    with Scripted(lambda line: None) as server, Caller(kind, server.url, policy=QUICK) as caller:
        with pytest.raises((Unreachable, OutcomeUnknown)):
            caller.call(timeout=5)
        assert server.connections <= 3, "no more than the attempts"


def test_what_a_result_can_not_be_made_of_is_not_called(kind: str) -> None:
    with Scripted(echo) as server, Caller(kind, server.url) as caller:
        with pytest.raises(BadCall, match="into="):
            caller.call("x.y", into=threading.Thread)
        assert server.requests == []


class Exact(BaseModel):
    model_config = {"strict": True}
    day: date


class Picky(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def refuse(cls, name: str) -> str:
        raise RuntimeError(name)


def test_types_that_are_strict_or_break(kind: str) -> None:
    with Scripted(echo) as server, Caller(kind, server.url) as caller:
        assert caller.call("x.y", {"day": "2026-01-02"}, into=Exact) == Exact(day=date(2026, 1, 2))
        with pytest.raises(UnexpectedResult) as caught:
            caller.call("x.y", {"name": "secret"}, into=Picky)
        assert caught.value.executed == "yes" and "secret" not in str(caught.value)


# --- time ---


@pytest.mark.parametrize("timeout", [0, -1.0], ids=str)
def test_what_is_too_late_is_not_sent(kind: str, timeout: float) -> None:
    with Scripted(echo) as server, Caller(kind, server.url) as caller:
        with pytest.raises(Unreachable) as caught:
            caller.call(timeout=timeout)
        assert caught.value.executed == "no" and server.requests == []
        assert caller.call("x.y", timeout=float("inf")) == {}


def test_no_answer_in_time(kind: str) -> None:
    until_over = threading.Event()

    def serve(line: Line) -> None:
        line.answer(line.request(), fields="Keep-Alive: timeout=75\r\n")
        line.request()
        until_over.wait(60)

    with Scripted(serve) as server, Caller(kind, server.url, policy=QUICK) as caller:
        caller.call()  # so that nothing but the call itself takes time
        with pytest.raises(OutcomeUnknown) as caught:
            caller.call(timeout=1.0)
        assert caught.value.reason == "no-answer" and len(server.requests) == 2
        until_over.set()


def test_an_answer_that_drips_ends_with_the_deadline(kind: str) -> None:
    over = threading.Event()

    def serve(line: Line) -> None:
        line.answer(line.request(), fields="Keep-Alive: timeout=75\r\n")
        line.request()
        line.sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not over.wait(0.01):
            line.sock.sendall(b"x")

    with Scripted(serve) as server, Caller(kind, server.url) as caller:
        caller.call()
        with pytest.raises(OutcomeUnknown) as caught:
            caller.call(timeout=1.0)
        assert caught.value.reason == "no-answer"
        over.set()


def test_a_server_that_keeps_connections_for_less(kind: str) -> None:
    def serve(line: Line) -> None:
        while True:
            line.answer(line.request(), line.number, fields="Keep-Alive: timeout=0\r\n")

    with Scripted(serve) as server, Caller(kind, server.url) as caller:
        assert [caller.call() for _ in range(2)] == [1, 2]


# --- processes and threads ---


def test_after_fork_no_kept_connection_is_used(kind: str) -> None:
    with Scripted(echo) as server, Caller(kind, server.url) as caller:
        caller.call("x.y", {"from": "parent"})
        child = os.fork()
        if not child:
            code = 1
            try:
                with Caller(kind, server.url) as other:  # an event loop of the child's own
                    other.client = caller.client
                    code = 0 if other.call("x.y", {"from": "child"}) == {"from": "child"} else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert server.connections == 2
        assert caller.call("x.y", {"from": "parent"}) == {"from": "parent"}
        assert server.connections == 2, "the parent's goes on"


def test_threads_share_a_client() -> None:
    with Scripted(echo) as server, Client(server.url) as client:
        wrong: list[Any] = []

        def work(number: int) -> None:
            for turn in range(20):
                sent = {"number": number, "turn": turn}
                if client.call("x.y", sent) != sent:
                    wrong.append(sent)

        run_all([lambda number=number: work(number) for number in range(8)])
        assert wrong == [] and len(server.requests) == 160
        assert server.connections <= 8


def run_all(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_a_closed_client_is_not_called(kind: str) -> None:
    with Scripted(echo) as server, Caller(kind, server.url) as caller:
        caller.call()
        caller.run(caller.client.close())
        with pytest.raises(RuntimeError, match="closed"):
            caller.call()


# --- what is told ---


def test_hook_log_and_trace(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    reports: list[CallReport] = []

    def on_call(report: CallReport) -> None:
        reports.append(report)
        raise ValueError("the hook's own mistake")

    with (
        caplog.at_level(logging.DEBUG, "eps.client"),
        Scripted(echo) as server,
        Caller(kind, server.url, on_call=on_call) as caller,
    ):
        assert caller.call("hd-2.lookup", {"name": "secret"}) == {"name": "secret"}
    (report,) = reports
    assert (report.method, report.attempts, report.error) == ("hd-2.lookup", 1, None) and report.seconds > 0
    text = caplog.text
    assert "hd-2.lookup: ok" in text and report.trace_id in text and "secret" not in text
    assert "the on_call hook failed" in text


def test_the_trace_is_sent(kind: str) -> None:
    heads: list[str] = []

    def serve(line: Line) -> None:
        call = line.request()
        heads.extend(line.heads)
        line.answer(call, error={"code": 404, "message": "no"})

    with Scripted(serve) as server, Caller(kind, server.url) as caller, pytest.raises(ServiceError) as caught:
        caller.call()
    assert f"traceparent: 00-{caught.value.trace_id}-" in heads[0]


def test_the_trace_is_opentelemetrys_where_that_is_used(kind: str) -> None:
    from opentelemetry import trace

    context = trace.SpanContext(0xABC, 0xDEF, False, trace.TraceFlags(1))
    heads: list[str] = []

    def serve(line: Line) -> None:
        call = line.request()
        heads.extend(line.heads)
        line.answer(call)

    with (
        Scripted(serve) as server,
        Caller(kind, server.url) as caller,
        trace.use_span(trace.NonRecordingSpan(context)),
    ):
        caller.call()
    assert f"traceparent: 00-{0xABC:032x}-{0xDEF:016x}-01" in heads[0]
