"""The last calls and steps of a running server."""

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from eps.core.event import CallFinished, Notice, Step
from eps.core.names import Object
from eps.programs.running.control import MAX_PACKET_BYTES, Session
from eps.programs.running.remembered import EVENTS_IN_A_PACKET, MAX_CALLS, MAX_STEPS, MAX_TEXT, MAX_TOLD, Remembered

ONE, OTHER = "1" * 32, "2" * 32


class Asked:
    """A session that notes what is sent."""

    def __init__(self) -> None:
        self.sent: list[Object] = []

    def send(self, message: Object) -> None:
        self.sent.append(message)


def call(outcome: str = "ok", **more: Any) -> CallFinished:
    who = {"direction": "local", "sender": "hd-1", "recipient": "hd-2", "method": "m"}
    return CallFinished(**who, outcome=outcome, seconds=0.1, **more)


def step(number: int, trace: str) -> Step:
    return Step(step=number, operator="hd-1", peer="hd-2", text="does it", trace=trace)


@pytest.fixture
def remembered() -> Remembered:
    times = iter(range(10_000_000))
    return Remembered(lambda: "hd-1", lambda: float(next(times)))


async def sent(remembered: Remembered, wanted: str) -> list[Object]:
    asked = Asked()
    await remembered(cast(Session, asked), {"command": "trace", "id": wanted})
    return asked.sent


async def told(remembered: Remembered, wanted: str) -> tuple[list[Object], Object]:
    *packets, end = await sent(remembered, wanted)
    assert all(len(packet["events"]) <= EVENTS_IN_A_PACKET for packet in packets)
    return [event for packet in packets for event in packet["events"]], end


async def test_a_trace(remembered: Remembered) -> None:
    remembered.keep(step(1, ONE))
    remembered.keep(step(1, OTHER))
    remembered.keep(call(trace=ONE, there=0.05))
    remembered.keep(call(trace=OTHER, opened_by=ONE, outcome="failed", detail="it broke"))
    remembered.keep(call())
    remembered.keep(Notice(text="something else"))
    events, end = await told(remembered, ONE)
    assert [event["text"] for event in events] == [
        "step 1 of 6: does it",
        "local call hd-1 → hd-2.m: ok",
        "local call hd-1 → hd-2.m: failed: it broke",
    ]
    assert [event["at"] for event in events] == [0.0, 2.0, 3.0]
    assert (events[1]["there"], events[2]["opened_by"]) == (0.05, ONE)
    assert end == {"end": True, "server": "hd-1", "more": 0}
    assert await told(remembered, "3" * 32) == ([], end)


async def test_without_a_trace_the_last_calls_are_told(remembered: Remembered) -> None:
    remembered.keep(call(trace=ONE))
    remembered.keep(call())
    events, _ = await told(remembered, "no trace")
    assert [event["trace"] for event in events] == [ONE]


async def test_the_words_of_an_application_are_not_kept(remembered: Remembered) -> None:
    remembered.keep(call(trace=ONE, outcome="error", fault="application", detail="John Doe is unknown"))
    events, _ = await told(remembered, ONE)
    assert [event["text"] for event in events] == ["local call hd-1 → hd-2.m: error"]


async def test_it_is_bounded_whatever_others_give_as_a_trace(remembered: Remembered) -> None:
    for number in range(MAX_STEPS + 10):
        remembered.keep(step(1 + number % 6, ONE))
    for _ in range(MAX_CALLS + 10):
        remembered.keep(call(trace=ONE))
    events, end = await told(remembered, ONE)
    assert len(events) == MAX_TOLD
    assert end["more"] == MAX_STEPS + MAX_CALLS - MAX_TOLD
    assert events[0]["at"] == 10.0, "the oldest is forgotten for the newest"


@pytest.mark.parametrize("letter", ["x", "ü", "\N{GRINNING FACE}", '"', "\x00"])
async def test_whatever_others_write_fits_into_a_packet(remembered: Remembered, letter: str) -> None:
    for _ in range(MAX_TOLD):
        remembered.keep(call(trace=ONE, outcome="failed", detail=letter * 1000))
        remembered.keep(Step(step=1, operator="hd-1", peer="hd-2", text=letter * 1000, trace=ONE))
    sizes = [len(json.dumps(packet)) for packet in await sent(remembered, ONE)]
    assert max(sizes) < MAX_PACKET_BYTES / 2
    assert sum(sizes) < 100_000, "the kernel holds so much for one who reads later"


async def test_what_peers_choose_takes_no_more_room_than_there_is(remembered: Remembered) -> None:
    for _ in range(MAX_TOLD):
        remembered.keep(replace(call(trace=ONE, outcome="failed", detail="\U0001f479" * 8000), method="m" * 8000))
        remembered.keep(call(trace=OTHER, outcome="failed", detail="\U0001f479" * 8000))
    for wanted in (ONE, OTHER):
        sizes = [len(json.dumps(packet)) for packet in await sent(remembered, wanted)]
        assert max(sizes) < MAX_PACKET_BYTES
        assert sum(sizes) < 160_000, "what a socket takes at once"
    assert all(len(event.method) + len(event.detail) <= 2 * MAX_TEXT for _, event in remembered._calls)
