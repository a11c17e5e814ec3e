"""A proxy that stops asks its operators, waits for its connections, and says what became of them."""

import asyncio
import time

from eps.core.event import Level, Notice
from eps.core.message import Error, Response
from eps.core.names import Object, Operator
from eps.errors import Unreachable
from eps.proxy.lame_duck import ask_to_renew, drain, until_none
from support.testing import Events

A, B, C, D = (Operator(name) for name in "abcd")


async def network(method: str, params: Object, timeout: float) -> Response:
    """A renews, B is a server in use that knows no such method, C can't be reached, D never answers."""
    operator, _, asked = method.partition(".")
    assert (asked, params) == ("_renewConnections", {})
    if operator == C:
        raise Unreachable("c is down")
    if operator == D:
        await asyncio.sleep(60)
    return Response("", error=Error(403, "you may not", {})) if operator == B else Response("", {"connections": 1})


async def nobody() -> int:
    return 0


def texts(events: Events, level: Level = Level.INFO) -> list[str]:
    return [event.text for event in events.of(Notice) if event.level is level]


async def test_who_does_not_renew_is_let_alone(monkeypatch: object) -> None:
    events = Events()
    asking = asyncio.create_task(ask_to_renew([A, B, C, D], network, events))
    began = time.monotonic()
    assert await asking == 1
    assert time.monotonic() - began < 10
    assert sorted(texts(events, Level.DEBUG)) == [
        "b goes on with its tunnels as they are, until they end: you may not",
        "c goes on with its tunnels as they are, until they end: c is down",
        "d goes on with its tunnels as they are, until they end: no answer in time",
    ]


async def test_it_ends_when_the_last_connection_has() -> None:
    left, events = [1, 2], Events()

    async def ask() -> int:
        left.clear()
        return 2

    await drain(lambda: len(left), 60.0, events, ask)
    assert texts(events) == [
        "2 connections may end by themselves, for 60 s at the most; no new ones are taken",
        "2 operators make other connections",
        events.of(Notice)[-1].text,
    ]
    assert events.of(Notice)[-1].text.startswith("all connections have ended, after 0.")


async def test_it_ends_when_time_is_up_whoever_is_still_asked() -> None:
    events = Events()

    async def ask() -> int:
        await asyncio.sleep(60)
        return 0

    began = time.monotonic()
    await drain(lambda: 1, 0.1, events, ask)
    assert time.monotonic() - began < 5
    assert texts(events, Level.WARN) == ["1 connection had not ended within drain_timeout (0.1 s)"]


async def test_without_connections_there_is_nothing_to_say() -> None:
    events = Events()
    await drain(lambda: 0, 60.0, events, nobody)
    assert events.all == []


async def test_what_is_left_is_told() -> None:
    assert await until_none(lambda: 3, 0.05) == 3
    assert await until_none(lambda: 0, 0.05) == 0
