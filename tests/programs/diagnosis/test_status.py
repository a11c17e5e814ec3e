"""``status``: what a running server is at, in words."""

import asyncio
import json
from pathlib import Path

import pytest

from eps.core.event import (
    CallFinished,
    DirectoryChanged,
    DirectoryConfirmed,
    Event,
    PeerChanged,
    Started,
    TunnelFinished,
)
from eps.core.names import Object
from eps.errors import StartError
from eps.programs.diagnosis.paper import Paper
from eps.programs.diagnosis.status import rendered, show
from eps.programs.running.control import Control
from eps.programs.running.families import Program
from eps.programs.running.metrics import Metrics
from eps.programs.running.tally import Numbers
from eps.programs.status.asking import STANDING, Telling
from support.testing import Events


def made(program: Program, picture: Object, numbers: Numbers, *events: Event) -> Metrics:
    metrics = Metrics()
    metrics.belongs_to(program, lambda: numbers)
    metrics.standing.belongs_to(program.value, lambda: picture)
    for event in events:
        metrics(event)
    return metrics


def words_of(metrics: Metrics, later: float = 0.0) -> str:
    value = json.loads(json.dumps(metrics.standing.value()))
    return rendered(value, Paper(100), value["at"] + later)


def call(outcome: str, **more: object) -> CallFinished:
    given = {"direction": "local", "sender": "hd-1", "recipient": "hd-2", "method": "f", "outcome": outcome}
    return CallFinished(**{**given, "seconds": 0.01, **more})  # type: ignore[arg-type]


def an_eps_server() -> Metrics:
    peers = [{"name": "p", "stream": "down"}, {"name": "q", "stream": "up"}, {"name": "r"}]
    metrics = made(
        Program.EPS,
        {"peers": peers},
        {"eps_calls_in_flight": {(): 2}, "eps_calls_held": {(): 1}},
        Started(name="hd-1", listening=("gRPC localhost:8888",)),
        call("ok"),
        call("unknown", stage="call", reason="no-answer", fault="network"),
        PeerChanged(link="tunnel", peer="hd-2", up=True),
        DirectoryChanged(records=30, operators=10, tip="x", source="y"),
    )
    metrics.expire({"signing": metrics.standing.value()["at"] + 86_400 * 5 + 9})
    return metrics


def test_an_eps_server() -> None:
    metrics = an_eps_server()
    metrics(DirectoryConfirmed(at=metrics.standing.value()["at"], date=""))
    text = words_of(metrics, 5)
    assert text.startswith("hd-1: eps 0.1.0, process ")
    for words in (
        "no stream to p",
        "of 1 call nobody knows",
        "2 since the start, 50.0 % answered well; 2 in flight, 1 of them wait",
        "to q: up",
        "10 operators, 30 records, confirmed 5 seconds ago",
        "the first ends in 5 days: signing",
        "→ hd-2.f  unknown (call · no-answer)  10.0 ms",
        "hd-2: tunnel",
    ):
        assert words in text, text
    assert "not known here" not in text
    assert "news, revocations too, are not known here" in words_of(metrics, 1000)
    assert "ends since" in words_of(metrics, 86_400 * 9)


def test_a_proxy() -> None:
    tunnels = [
        {"caller": "a", "callee": "b", "age": 90, "bytes": [1000, 2]},
        {"caller": "", "callee": "", "age": 1, "bytes": [0, 0]},
    ]
    picture = {"tunnels": tunnels, "announcements": [{"domain": "x.example", "operator": "hd-1"}]}
    numbers: Numbers = {"eps_tunnels_open": {(): 2}, "eps_tunnels_limit": {(): 8192}, "eps_tunnels_waiting": {(): 1}}
    ended = TunnelFinished(outcome="request_failed", seconds=1, caller="a", callee="c", reason="peer-hangs")
    text = words_of(made(Program.PUBLIC, picture, numbers, ended))
    for words in (
        "2 of 8,192 open, 1 wait for a side",
        "a → b, for 90 seconds, 1,002 bytes",
        "a TLS client → a private proxy",
        "a → c  request_failed (peer-hangs)",
        "x.example: hd-1",
    ):
        assert words in text, text
    assert "calls" not in text


def test_a_service_directory() -> None:
    change = {"at": 1.8e9, "operator": "hd-1", "section": "groups", "signed_by": "admin"}
    text = words_of(made(Program.SD, {"changes": [change]}, {}, Started(name="the service directory")))
    assert "hd-1: groups, signed by admin" in text
    assert "tunnels" not in text


async def test_it_is_asked_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StartError, match="no server runs with the state folder"):
        await show(tmp_path, ["eps.control"], as_json=False, watch=False)
    control = Control(tmp_path, "eps.control", {STANDING: Telling(an_eps_server().standing)}, Events())
    control.start()
    try:
        await show(tmp_path, ["eps.control", "other.control"], as_json=False, watch=False)
        assert capsys.readouterr().out.startswith("hd-1: eps")
        await show(tmp_path, ["eps.control"], as_json=True, watch=False)
        assert json.loads(capsys.readouterr().out)["name"] == "hd-1"
        watching = asyncio.create_task(show(tmp_path, ["eps.control"], as_json=False, watch=True))
        async with asyncio.timeout(60):
            text = ""
            while text.count("hd-1: eps") < 2:
                text += capsys.readouterr().out
                await asyncio.sleep(0.05)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    finally:
        await control.close()


def test_a_certificate_that_ends_soon_is_wrong() -> None:
    metrics = made(Program.SD, {}, {})
    for days, said in ((31, ""), (29, "a certificate ends within 30 days"), (-1, "a certificate has ended")):
        metrics.expire({"tls": metrics.standing.value()["at"] + days * 86_400})
        words = words_of(metrics)
        assert ("a certificate" in words) is bool(said)
        assert said in words
