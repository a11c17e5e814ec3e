"""What a process is at, as one value."""

import json

from eps.core.event import CallFinished, Event, Notice, PeerChanged, Refused, Started, TunnelFinished
from eps.programs.running.metrics import Metrics
from eps.programs.running.standing import MAX_CALLS, MAX_PEERS, MAX_WORD


def call(**changes: object) -> CallFinished:
    given = {
        "direction": "local",
        "sender": "hd-1",
        "recipient": "hd-2",
        "method": "f",
        "outcome": "ok",
        "seconds": 0.0123,
    }
    return CallFinished(**{**given, **changes})  # type: ignore[arg-type]


def told(*events: Event) -> dict[str, object]:
    metrics = Metrics()
    for event in events:
        metrics(event)
    return json.loads(json.dumps(metrics.standing.value()))  # type: ignore[no-any-return]


def test_the_value() -> None:
    metrics = Metrics()
    metrics.standing.belongs_to("eps", lambda: {"peers": [{"name": "hd-2"}]})
    before = metrics.standing.changes
    for event in (
        Started(name="hd-1", listening=("gRPC localhost:1",)),
        call(),
        PeerChanged(link="direct", peer="hd-2", up=True),
    ):
        metrics(event)
    value = metrics.standing.value()
    assert (value["name"], value["program"], value["listening"]) == ("hd-1", "eps", ["gRPC localhost:1"])
    assert value["calls"][0] == {
        "at": value["calls"][0]["at"],
        "direction": "local",
        "peer": "hd-2",
        "method": "f",
        "outcome": "ok",
        "stage": "",
        "reason": "",
        "code": 0,
        "ms": 12.3,
    }
    assert value["numbers"]["eps_calls"] == [[["local", "ok", "", ""], 1]]
    assert value["peers"] == [{"name": "hd-2"}]
    assert value["links"] == {"hd-2": ["direct"]}
    assert value["started_at"] <= value["at"]
    assert metrics.standing.changes == before + 3


def test_what_is_between_others_is_not_in_it() -> None:
    """Neither what applications say, nor texts, nor ids; what strangers call themselves neither."""
    text = json.dumps(
        told(
            call(outcome="error", fault="application", detail="SECRET", call_id="SECRET", code=7),
            call(direction="incoming", outcome="not_sent", detail="http://SECRET.internal/x", reason="unreachable"),
            TunnelFinished(outcome="request_failed", seconds=1, detail="SECRET", call_id="SECRET", reason="peer-hangs"),
            Refused(listener="grpc", why="pin", source="SECRET", detail="SECRET"),
            Notice(text="SECRET"),
            PeerChanged(link="direct", peer="hd-2", up=True, detail="SECRET"),
        )
    )
    assert "SECRET" not in text
    assert "unreachable" in text and "peer-hangs" in text


def test_it_is_bounded() -> None:
    value = told(
        *(call(method="m" * 5000, recipient="r" * 5000) for _ in range(3 * MAX_CALLS)),
        *(TunnelFinished(outcome="finished", seconds=1, caller="c" * 5000) for _ in range(100)),
        *(PeerChanged(link="incoming", peer=f"peer-{number}", up=True) for number in range(MAX_PEERS + 50)),
    )
    assert len(value["calls"]) == MAX_CALLS  # type: ignore[arg-type]
    assert len(value["links"]) == MAX_PEERS  # type: ignore[arg-type]
    assert "m" * (MAX_WORD + 1) not in json.dumps(value) and "c" * (MAX_WORD + 1) not in json.dumps(value)


def test_links_come_and_go() -> None:
    up, down = (PeerChanged(link="stream", peer="p", up=is_up) for is_up in (True, False))
    other = PeerChanged(link="direct", peer="p", up=True)
    assert told(up, other)["links"] == {"p": ["direct", "stream"]}
    assert told(up, up, down)["links"] == {"p": ["stream"]}
    assert told(up, down)["links"] == {}
