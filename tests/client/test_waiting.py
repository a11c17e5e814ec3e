"""How long both clients wait, what they tell servers of that, and what the hook hears where nobody waits."""

import threading

import pytest

from eps.client import BadCall, CallError, CallReport, Endpoint, Policy, Unreachable
from support.clients import KINDS, Caller
from support.scripted import Line, Scripted, echo


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_time_to_connect_is_for_an_http_proxy_too(kind: str) -> None:
    may_end = threading.Event()

    def silent(line: Line) -> None:
        may_end.wait(60)

    with (
        Scripted(silent) as proxy,
        Caller(
            kind,
            Endpoint("https://eps.example.org", proxy_url=proxy.url),
            policy=Policy(timeout=600, connect_timeout=0.2, attempts=1),
        ) as caller,
    ):
        with pytest.raises(Unreachable, match="does not answer") as caught:
            caller.call()
        may_end.set()
    assert (caught.value.executed, caught.value.reason) == ("no", "silent")


def test_the_hook_hears_of_what_is_refused_before_it_is_sent(kind: str) -> None:
    reports: list[CallReport] = []
    with Scripted(echo) as server, Caller(kind, server.url, on_call=reports.append) as caller:
        for params, into in (([1], None), ({"x": object()}, None), ({}, "no type")):
            with pytest.raises(BadCall) as caught:
                caller.call("hd-2.lookup", params, into=into)
            assert reports[-1].error is caught.value and reports[-1].method == "hd-2.lookup"
        assert len(reports) == 3 and not server.requests
        assert {report.attempts for report in reports} <= {0, 1}


def test_the_hook_hears_of_an_interrupted_call(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[CallReport] = []

    def broken_off(line: Line) -> None:
        line.request()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with Scripted(broken_off) as server, Caller(kind, server.url, on_call=reports.append) as caller:
        monkeypatch.setattr("eps.client.course.pause_before_next", interrupt)
        with pytest.raises(KeyboardInterrupt):
            caller.call("hd-2.lookup")
    (report,) = reports
    assert isinstance(report.error, CallError) and report.error.message.startswith("nobody waits")


def test_servers_are_told_how_long_a_caller_waits_if_he_says_so(kind: str) -> None:
    heads: list[str] = []

    def serve(line: Line) -> None:
        while True:
            call = line.request()
            heads.append(line.heads[-1])
            line.answer(call, {})

    with Scripted(serve) as server, Caller(kind, server.url) as caller:
        caller.call("x.y")
        caller.call("x.y", timeout=100)
    assert "EPS-Timeout" not in heads[0]
    (told,) = [line for line in heads[1].split("\r\n") if line.startswith("EPS-Timeout: ")]
    assert 50 < float(told.split()[1]) <= 98
