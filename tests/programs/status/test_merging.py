"""One value of several processes."""

from typing import Any

from eps.core.event import CallFinished, DirectoryConfirmed, PeerChanged, Started
from eps.programs.running.metrics import Metrics
from eps.programs.status.merging import merged


def value(name: str, seconds: float, picture: dict[str, Any], *, expires: float = 2e9) -> dict[str, Any]:
    metrics = Metrics()
    metrics.standing.belongs_to("eps", lambda: picture)
    metrics.expire({"signing": expires})
    for event in (
        Started(name=name, listening=(f"gRPC {name}:1",)),
        CallFinished(direction="local", sender="a", recipient="b", method=name, outcome="ok", seconds=seconds),
        PeerChanged(link="direct", peer="b", up=True),
        PeerChanged(link="stream", peer=name, up=True),
        DirectoryConfirmed(at=1e9 + seconds, date=""),
    ):
        metrics(event)
    return metrics.standing.value()


def test_one_is_itself() -> None:
    one = value("x", 1.0, {})
    assert merged([one]) is one


def test_of_several() -> None:
    peer = {"name": "b", "way": "direct"}
    one, two = value("x", 1.0, {"peers": [peer]}), value("y", 2.0, {"peers": [peer, {"name": "c"}]}, expires=1.5e9)
    whole = merged([one, two])
    assert whole["name"] == "x + y" and whole["program"] == "eps"
    assert whole["listening"] == ["gRPC x:1", "gRPC y:1"]
    numbers = {name: {tuple(words): number for words, number in series} for name, series in whole["numbers"].items()}
    assert numbers["eps_calls"] == {("local", "ok", "", ""): 2}
    assert numbers["eps_links"] == {("direct",): 2, ("stream",): 2}
    assert numbers["eps_directory_confirmed_timestamp_seconds"] == {(): 1e9 + 2}
    assert numbers["eps_certificate_expiry_timestamp_seconds"] == {("signing",): 1.5e9}
    assert [call["method"] for call in whole["calls"]] == ["y", "x"]
    assert whole["links"] == {"b": ["direct"], "x": ["stream"], "y": ["stream"]}
    assert whole["peers"] == [peer, {"name": "c"}]
    assert [part["name"] for part in whole["parts"]] == ["x", "y"]
    again = merged([two, one])
    assert (again["numbers"].keys(), again["calls"]) == (whole["numbers"].keys(), whole["calls"])


def test_what_a_newer_program_tells_is_left_out() -> None:
    one = value("x", 1.0, {})
    one["numbers"]["eps_of_tomorrow"] = [[["a"], 1]]
    assert "eps_of_tomorrow" not in merged([one, value("y", 1.0, {})])["numbers"]
