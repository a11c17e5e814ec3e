"""``FakeClient`` and ``AsyncFakeClient``: answers that a test gives."""

from dataclasses import dataclass

import pytest

import eps.testing
from eps.client import BadCall, Busy, Client, Details, NotPermitted, OutcomeUnknown, UnexpectedResult
from eps.testing import AsyncFakeClient, FakeClient


@dataclass
class Place:
    address: str


def greet(client: Client) -> str:
    """What somebody's program does."""
    return f"at {client.call('hd-2.lookup', {'name': 'office'}, into=Place).address}"


def test_given_answers() -> None:
    client = FakeClient({"hd-2.lookup": Place("1 Main Street")})
    assert greet(client) == "at 1 Main Street"
    client.answers("hd-2.lookup", lambda name: {"address": name.upper()})
    assert client.operator("hd-2").lookup(name="x") == {"address": "X"}
    assert client.calls == [("hd-2.lookup", {"name": "office"}), ("hd-2.lookup", {"name": "x"})]


def test_given_failures() -> None:
    client = FakeClient(
        {"hd-2.lookup": Busy("later", Details(executed="no", retry_after=3.0)), "hd-2.x": KeyError("a")}
    )
    with pytest.raises(Busy) as caught:
        greet(client)
    assert caught.value.retry_after == 3.0 and caught.value.method == "hd-2.lookup" and len(caught.value.trace_id) == 32
    with pytest.raises(KeyError):
        client.call("hd-2.x")
    with pytest.raises(NotPermitted, match=r"no answer for hd-3\.y; it has some for: hd-2\.lookup, hd-2\.x"):
        client.call("hd-3.y")
    client.answers("hd-2.lookup", {"adress": "misspelt"})
    with pytest.raises(UnexpectedResult):
        greet(client)
    with pytest.raises(BadCall):
        client.call("hd-2.lookup", {"x": object()})


async def test_awaited() -> None:
    async def lookup(name: str) -> Place:
        return Place(name)

    client = AsyncFakeClient({"hd-2.lookup": lookup, "hd-2.ping": 1, "hd-2.lost": OutcomeUnknown("gone")})
    assert await client.call("hd-2.lookup", {"name": "x"}, into=Place) == Place("x")
    client.answers("hd-2.ping", 2)
    assert await client.operator("hd-2").ping() == 2 and len(client.calls) == 2
    with pytest.raises(OutcomeUnknown) as caught:
        await client.call("hd-2.lost")
    assert caught.value.method == "hd-2.lost"
    await client.close()


def test_nothing_else_is_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        eps.testing.Nothing  # noqa: B018 - asked for on purpose
