"""How often a store fails is told, whoever wanted it."""

from collections.abc import Awaitable, Callable

import pytest

from eps.core.event import StoreError
from eps.datastores import RECORD, DataEntry, new_id
from eps.datastores.memory import MemoryDatastore
from eps.datastores.watched import Watched
from eps.errors import StoreFailed
from support.testing import Events

ENTRY = DataEntry(RECORD, new_id(), b"{}")

OPERATIONS: dict[str, tuple[str, Callable[[Watched], Awaitable[object]]]] = {
    "append": ("write", lambda store: store.append([ENTRY])),
    "replace": ("write", lambda store: store.replace([ENTRY])),
    "append_if": ("write", lambda store: store.append_if(None, [ENTRY])),
    "replace_if": ("write", lambda store: store.replace_if(None, [ENTRY])),
    "read_all": ("read", lambda store: store.read_all()),
    "last_id": ("read", lambda store: store.last_id()),
}


async def test_it_is_the_store_itself() -> None:
    events, inside = Events(), MemoryDatastore()
    store = Watched(inside, events)
    assert store.location == inside.location
    await store.append([ENTRY])
    assert await store.last_id() == ENTRY.id
    assert not await store.append_if(None, [ENTRY])
    assert await store.replace_if(ENTRY.id, [])
    await store.replace([ENTRY])
    assert await store.read_all() == [ENTRY]
    await store.close()
    assert events.of(StoreError) == []


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_failure_is_told_and_raised(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise StoreFailed("the disk is gone")

    operation, work = OPERATIONS[name]
    monkeypatch.setattr(MemoryDatastore, name, fails)
    events = Events()
    with pytest.raises(StoreFailed):
        await work(Watched(MemoryDatastore(), events))
    (told,) = events.of(StoreError)
    assert told.operation == operation
    assert told.message() == f"a store failed: {operation}"
