from eps.datastores import DataEntry, Datastore
from eps.datastores.memory import MemoryDatastore

ONE, TWO = DataEntry(1, b"a" * 16, b"{}"), DataEntry(2, b"b" * 16, b"[]")


async def test_it_keeps_what_it_was_given_in_order() -> None:
    store: Datastore = MemoryDatastore([ONE])
    await store.append([TWO, ONE])
    read = await store.read_all()
    assert read == [ONE, TWO, ONE]
    read.clear()
    assert len(await store.read_all()) == 3
    await store.replace([TWO])
    assert await store.read_all() == [TWO]
    assert store.location == "memory"
    await store.close()


async def test_what_has_changed_meanwhile_is_not_changed() -> None:
    store: Datastore = MemoryDatastore()
    assert await store.last_id() is None
    assert await store.append_if(None, [ONE]) and not await store.append_if(None, [TWO])
    assert await store.last_id() == ONE.id
    assert not await store.replace_if(TWO.id, []) and await store.replace_if(ONE.id, [TWO])
    assert await store.read_all() == [TWO]
