"""``_directory`` of a large network: bounded, and nobody waits for it."""

import asyncio
from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from eps.broker.internal_methods import InternalMethods
from eps.core.address import parse_address
from eps.core.entries import Directory, Entry
from eps.core.message import Request
from eps.core.names import Object, Operator
from eps.core.sections import Channel
from eps.errors import TooLarge

HD_1, HD_2 = Operator("hd-1"), Operator("hd-2")


def large(number: int, size: int = 1_000) -> Directory:
    """So many operators, each with an entry that is longer than ``size``; every tenth has another group."""
    channel = Channel("grpc_server", {"address": "x" * size})
    entries = [
        Entry(Operator(f"op-{n}"), groups=("few",) if n % 10 == 0 else ("many",), channels=(channel,))
        for n in range(number)
    ]
    return Directory(MappingProxyType({entry.name: entry for entry in entries}))


async def search(directory: Directory, sender: Operator = HD_2, **params: object) -> Object:
    methods = InternalMethods(HD_1, version="1", tunnels={}, now=lambda: datetime.now(UTC))
    return await methods.handle(Request(parse_address("hd-1._directory(1)"), params), sender, directory)


@pytest.mark.parametrize("sender", [HD_1, HD_2])
async def test_what_can_not_be_told_whole_is_refused_with_what_to_do(sender: Operator) -> None:
    directory = large(5_000)
    with pytest.raises(TooLarge, match="4 MiB") as caught:
        await search(directory, sender)
    assert "«operator», «group» or «channels»" in caught.value.hint
    assert "_json" not in vars(directory.entries[Operator("op-4999")])  # it stopped where that was certain
    assert len((await search(directory, sender, group="few"))["entries"]) == 500
    assert [entry["name"] for entry in (await search(directory, sender, operator="op-7"))["entries"]] == ["op-7"]
    assert await search(directory, sender, operator="op-7", group="few") == {"entries": []}
    assert await search(directory, sender, operator="nobody") == {"entries": []}


async def test_others_have_their_turn_while_entries_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.broker.internal_methods.SEARCH_SECONDS", 0.0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(other())
    assert len((await search(large(100, 10)))["entries"]) == 100
    assert turns > 50
    others.cancel()
    await asyncio.wait([others])


async def test_what_can_not_travel_counts_nothing() -> None:
    unfit = Entry(Operator("x"), channels=(Channel("c", {"n": 2**60}),))
    assert len((await search(Directory(MappingProxyType({unfit.name: unfit}))))["entries"]) == 1
