"""When it is decided who may call, and what is logged of it."""

from collections.abc import Sequence

import pytest

from eps.core.callers import Known, Listed
from eps.core.event import Notice, Refused
from eps.core.names import Fingerprint, Operator
from eps.errors import NotPermitted
from eps.jsonrpc.callers import Caller, Callers, Gate
from eps.transport.tls import TlsFiles
from support.testing import Events

MARK, NEW = Fingerprint("a" * 64), Fingerprint("b" * 64)


class Registry:
    """One that the test changes."""

    def __init__(self, known: Known | None) -> None:
        self.answer = known
        self.state: object = 1
        self.asked: list[Sequence[str]] = []
        self.fails = False

    async def known(self, names: Sequence[str]) -> Known | None:
        self.asked.append(tuple(names))
        if self.fails:
            raise NotPermitted("nobody can say")
        return self.answer

    def as_of(self) -> str:
        return "the directory is a test's"


def pins(*marks: Fingerprint) -> Known:
    return {"hd-1": Listed((), frozenset(marks))}


class Stage:
    def __init__(self, known: Known | None, tls: TlsFiles | None = TlsFiles()) -> None:  # noqa: B008
        self.events = Events()
        self.registry = Registry(known)
        self.gate = Gate("jsonrpc", tls, Callers(Operator("hd-1"), frozenset({NEW}), self.registry), self.events)

    async def refuses(self, caller: Caller) -> str:
        try:
            await self.gate.check(caller)
        except NotPermitted as refusal:
            return refusal.message
        return ""


async def test_it_is_decided_once_for_each_connection_and_state() -> None:
    stage = Stage(pins(MARK))
    caller = Caller(("hd-1",), MARK)
    for _ in range(3):
        assert await stage.refuses(caller) == ""
    assert len(stage.registry.asked) == 1
    assert await stage.refuses(Caller(("hd-1",), MARK)) == ""
    assert len(stage.registry.asked) == 2, "another connection is decided by itself"


async def test_what_is_revoked_is_refused_on_the_same_connection() -> None:
    stage = Stage(pins(MARK))
    caller = Caller(("hd-1",), MARK)
    assert await stage.refuses(caller) == ""
    stage.registry.answer, stage.registry.state = pins(), 2
    for _ in range(2):
        assert "pins others" in await stage.refuses(caller)
    assert len(stage.registry.asked) == 2, "a refusal is remembered, too"
    stage.registry.answer, stage.registry.state = pins(MARK), 3
    assert await stage.refuses(caller) == ""


async def test_every_refusal_is_an_event_with_the_fingerprint() -> None:
    stage = Stage(pins())
    caller = Caller(("hd-1",), MARK)
    for _ in range(2):
        await stage.refuses(caller)
    first, second = stage.events.of(Refused)
    assert first == second
    assert (first.listener, first.why, first.source) == ("jsonrpc", "pin", "a certificate of hd-1")
    assert MARK in first.detail and "the directory is a test's" in first.detail


async def test_ours_and_those_without_a_certificate_are_not_looked_up() -> None:
    stage = Stage(pins())
    assert await stage.refuses(Caller(("hd-1",), NEW)) == ""
    assert await stage.refuses(Caller()) == ""
    assert stage.registry.asked == []


async def test_who_is_not_allowed_by_name_is_not_looked_up() -> None:
    stage = Stage(pins(MARK), TlsFiles(allowed_names=("hd-1",)))
    assert "certificates of hd-1 may" in await stage.refuses(Caller(("stranger",), MARK))
    assert "show no certificate" in await stage.refuses(Caller())
    assert stage.registry.asked == []
    assert [event.source for event in stage.events.of(Refused)] == [
        "a certificate of stranger",
        "a caller without a certificate",
    ]


async def test_without_a_directory_it_is_said_once() -> None:
    stage = Stage(None, TlsFiles(allowed_names=("hd-1", "app")))
    for name in ("hd-1", "app", "app"):
        assert await stage.refuses(Caller((name,), MARK)) == ""
    (notice,) = stage.events.of(Notice)
    assert notice.text == "jsonrpc: no directory was verified yet, so tls.allowed_names alone decides who may call"


async def test_a_question_without_an_answer_is_asked_again() -> None:
    stage = Stage(pins(MARK))
    caller = Caller(("hd-1",), MARK)
    stage.registry.fails = True
    assert await stage.refuses(caller) == "nobody can say"
    stage.registry.fails = False
    assert await stage.refuses(caller) == ""


@pytest.mark.parametrize("tls", [None, TlsFiles()], ids=["plain HTTP", "TLS"])
async def test_without_a_registry_settings_decide(tls: TlsFiles | None) -> None:
    events = Events()
    await Gate("jsonrpc", tls, Callers(), events).check(Caller(("hd-1",), MARK))
    assert not events.of(Refused) and not events.of(Notice)


async def test_what_one_gate_decided_does_not_hold_at_another() -> None:
    """As after a change of the settings while a server runs."""
    open_to_all, closed = Stage(pins(MARK)), Stage(pins(MARK), TlsFiles(allowed_names=("app",)))
    caller = Caller(("stranger",), MARK)
    assert await open_to_all.refuses(caller) == ""
    assert "certificates of app may" in await closed.refuses(caller)
