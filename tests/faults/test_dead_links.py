"""Links that die without a word, in network namespaces: packets are lost, and nobody is told.

The real programs: hd-1 at one place, hd-2 at another, the proxy, its EPS server and the service directory at a third.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eps.channels.pool import OPEN_TIMEOUT
from eps.jsonrpc.client import JsonRpcClient
from support.application import METHOD, Application
from support.machine import SERVERS
from support.namespaces import Apart, Hub

PER_SECOND = 10
"""Calls."""

CUT_AT, AFTERWARDS = 2.0, 9.0
"""Seconds of calls before a cut, and behind it."""

PATIENCE = OPEN_TIMEOUT + 4.0
"""Seconds before the link is mended from which on a call may still be sent: it waits for a connection that is being
opened as long as that takes, is held for 3 s (the setting), and a second is for a busy machine."""

TOLD = 25.0
"""Seconds after a cut by which all know that they don't know: 15, and some for a busy machine; a call may take 30."""

OUTCOMES = ("answered", "unknown", "not_sent")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub("a", "b", "p") as made:
        yield made


@dataclass
class Books:
    """What became of each call: when it was begun and ended, as seconds since ``began``, and its outcome."""

    began: float = field(default_factory=time.monotonic)
    calls: dict[str, tuple[float, float, str]] = field(default_factory=dict)
    cut_at: float = 0.0
    mended_at: float = 0.0

    @property
    def now(self) -> float:
        return time.monotonic() - self.began

    def outcomes(self, since: float, until: float) -> Counter[str]:
        """Of the calls begun in that time."""
        return Counter(outcome for begun, _, outcome in self.calls.values() if since <= begun < until)


async def one_call(client: JsonRpcClient, books: Books, name: str) -> None:
    begun = books.now
    answer = await client.call(f"hd-2.{METHOD}", {"call": name}, request_id=name)
    data = answer.error.data if answer.error is not None else {}
    outcome = "answered" if answer.error is None else str(data.get("outcome", answer.error))
    books.calls[name] = (begun, books.now, outcome)


async def calls_under(client: JsonRpcClient, seconds: float, fault: Callable[[Books], Awaitable[None]]) -> Books:
    """Ten calls a second for ``seconds``, while ``fault`` runs."""
    books = Books()
    async with asyncio.TaskGroup() as group:
        group.create_task(fault(books))
        number = 0
        while books.now < seconds:
            group.create_task(one_call(client, books, str(number)))
            number += 1
            await asyncio.sleep(max(0.0, number / PER_SECOND - books.now))
    return books


def unproxied(machine: Apart) -> None:
    """hd-1 and hd-2 are dialled directly."""
    file = machine.dev / "directory" / "001_base.json"
    file.write_text(file.read_text().replace(', "proxy": "public-proxy-1.ga"', ""))


async def cut_for(machine: Apart, application: Application, caller: str, place: str, seconds: float) -> Books:
    """Calls for a second, a cut, and calls again; at the end, what is true of every cut is checked."""
    client = machine.application(caller)

    async def fault(books: Books) -> None:
        await asyncio.sleep(CUT_AT)
        machine.hub.cut(place)
        books.cut_at = books.now
        await asyncio.sleep(seconds)
        machine.hub.mend(place)
        books.mended_at = books.now

    try:
        answer = await client.call(f"hd-2.{METHOD}", {"call": "first"}, request_id="first")
        assert answer.error is None
        books = await calls_under(client, CUT_AT + seconds + AFTERWARDS, fault)
    finally:
        await client.close()
    ran = application.ran
    assert set(ran.values()) == {1}, "a call was run twice"
    by_outcome = {outcome: {name for name, call in books.calls.items() if call[2] == outcome} for outcome in OUTCOMES}
    assert sum(map(len, by_outcome.values())) == len(books.calls), books.outcomes(0, 1e9)
    assert by_outcome["answered"] <= ran.keys()
    assert not by_outcome["not_sent"] & ran.keys()
    assert set(books.outcomes(0, CUT_AT - 0.5)) == {"answered"}
    assert set(books.outcomes(books.cut_at + 6, books.mended_at - PATIENCE)) == {"not_sent"}
    return books


@pytest.mark.parametrize(
    ("kind", "caller", "place"),
    [
        pytest.param("tunnel", "hd-1", "b", id="tunnel, its far leg", marks=pytest.mark.chaos),
        pytest.param("tunnel", "hd-1", "a", id="tunnel, its near leg", marks=pytest.mark.chaos),
        pytest.param("tunnel", "hd-1", "p", id="tunnel, both legs", marks=pytest.mark.chaos),
        pytest.param("direct", "hd-1", "b", id="direct", marks=pytest.mark.chaos),
        pytest.param("held", "public-proxy-1.ga", "b", id="held stream", marks=pytest.mark.chaos),
    ],
)
async def test_a_dead_link_is_noticed_within_seconds(
    hub: Hub, tmp_path: Path, dev_tree: Path, kind: str, caller: str, place: str
) -> None:
    """From 6 s on, calls fail as not sent; only those made before may have run. Whole again 1 s after the cut."""
    async with Apart(tmp_path, dev_tree, hub) as machine, Application(host=hub.near("b")) as application:
        application.serve(machine, everybody=kind == "held")
        if kind == "direct":
            unproxied(machine)
            await machine.start(*SERVERS)
            await machine.setup_directory()
            await machine.until_ping(30)
        else:
            await machine.ready()
        books = await cut_for(machine, application, caller, place, 90.0)
    told = [ended for _, ended, outcome in books.calls.values() if outcome == "unknown"]
    assert max(told, default=0.0) < books.cut_at + TOLD
    assert set(books.outcomes(books.cut_at + 0.2, books.cut_at + 6)) <= {"unknown", "not_sent"}
    assert set(books.outcomes(books.mended_at + 1.0, 1e9)) == {"answered"}
