"""Events say their own log line."""

import dataclasses
from typing import Any

import pytest

from eps.core import event
from eps.core.event import (
    Announced,
    AuditLinesLost,
    CallFinished,
    DirectoryChanged,
    DirectoryConfirmed,
    DirectoryFailed,
    DirectoryStillFailing,
    Event,
    Forwarding,
    Level,
    LogLinesLost,
    Notice,
    PeerChanged,
    Refused,
    Started,
    Step,
    StoreError,
    TunnelFinished,
    ignore,
)

CALL: dict[str, Any] = {
    "direction": "local",
    "sender": "hd-1",
    "recipient": "hd-2",
    "method": "_ping",
    "seconds": 0.0123,
}

LINES = [
    (Notice(text="hello"), "hello"),
    (Notice(text="hello", hint="wave"), "hello (wave)"),
    (LogLinesLost(lines=1), "1 log line is lost here: what takes the log was too slow, or had no room"),
    (LogLinesLost(lines=20), "20 log lines are lost here: what takes the log was too slow, or had no room"),
    (AuditLinesLost(lines=1), "1 call has no line in the audit log: it could not be written"),
    (Started(name="hd-1"), "hd-1 is running"),
    (
        Started(name="hd-1", listening=("gRPC localhost:8888", "metrics localhost:2112")),
        "hd-1 is running: gRPC localhost:8888, metrics localhost:2112",
    ),
    (Step(step=2, operator="p", peer="b", text="asks b"), "step 2 of 6: asks b"),
    (Step(step=2, operator="p", peer="b", text="asks b", seconds=0.0015), "step 2 of 6: asks b in 1.5 ms"),
    (CallFinished(**CALL, outcome="ok"), "local call hd-1 → hd-2._ping: ok in 12.3 ms"),
    (
        CallFinished(**CALL, outcome="not_sent", code=403, stage="permission", detail="no"),
        "local call hd-1 → hd-2._ping: not_sent in 12.3 ms: no [code 403, stage permission]",
    ),
    (PeerChanged(link="direct", peer="hd-2", up=True), "direct link with hd-2 is up"),
    (PeerChanged(link="stream", peer="hd-2", up=False, detail="reset"), "stream link with hd-2 is down: reset"),
    (
        TunnelFinished(outcome="happy", seconds=1.5, caller="a", callee="b", first_bytes=1, second_bytes=2),
        "tunnel a → b ended: happy after 1.500 s, 2 bytes from the caller, 1 back",
    ),
    (
        TunnelFinished(outcome="lonely", seconds=10),
        "tunnel ended: lonely after 10.000 s, 0 bytes from the caller, 0 back",
    ),
    (
        DirectoryChanged(records=25, operators=10, tip="645dd6c053d4c170", source="api"),
        "directory: 10 operators from 25 records, tip 645dd6c053d4, from api",
    ),
    (
        DirectoryChanged(records=2, operators=2, tip="645d", source="hd-1", changed=("hd-1: groups", "hd-2: services")),
        "directory: 2 operators from 2 records, tip 645d, from hd-1, which changed hd-1: groups; hd-2: services",
    ),
    (DirectoryConfirmed(at=0, date="1970-01-01T00:00:00+00:00"), "directory confirmed: 1970-01-01T00:00:00+00:00"),
    (DirectoryStillFailing(), "directory not updated, as before"),
    (StoreError(operation="write"), "a store failed: write"),
    (DirectoryFailed(detail="it is down"), "directory not updated: it is down"),
    (DirectoryFailed(detail="it is down", hint="start it"), "directory not updated: it is down (start it)"),
    (Refused(listener="grpc", why="pin", source="1.2.3.4"), "grpc: refused 1.2.3.4 (pin)"),
    (Refused(listener="grpc", why="pin", source="1.2.3.4", detail="x"), "grpc: refused 1.2.3.4 (pin): x"),
    (
        Forwarding(operator="public-proxy-1.ga", peer="hd-1", text="joined them", seconds=0.0123),
        "joined them in 12.3 ms",
    ),
    (Forwarding(operator="private-proxy-1.ga", peer="public-proxy-1.ga", text="dials it"), "dials it"),
    (Announced(domain="a.example.org", operator="hd-1", outcome="kept"), "announcement of a.example.org (hd-1): kept"),
    (
        Announced(domain="a.example.org", operator="hd-1", outcome="refused", detail="it is taken"),
        "announcement of a.example.org (hd-1): refused: it is taken",
    ),
]


@pytest.mark.parametrize(("happened", "line"), LINES, ids=lambda value: type(value).__name__)
def test_lines(happened: Event, line: str) -> None:
    assert happened.message() == line
    assert dataclasses.replace(happened) == happened
    assert ignore(happened) is None  # type: ignore[func-returns-value]  # that it gives nothing is the point


def test_every_kind_has_its_own_word_and_its_line_is_tested() -> None:
    kinds = [value for value in vars(event).values() if isinstance(value, type) and issubclass(value, Event)]
    kinds.remove(Event)
    assert len({kind.kind for kind in kinds}) == len(kinds)
    assert {type(happened) for happened, _ in LINES} >= set(kinds)
    with pytest.raises(NotImplementedError):
        Event().message()


def test_levels() -> None:
    assert [level.value for level in Level] == ["panic", "fatal", "error", "warn", "info", "debug", "trace"]
    assert Notice(text="x").level is Level.INFO
    assert DirectoryFailed(detail="x").level is Level.WARN
