"""The Redis store on real servers: with data of servers in use; killed, frozen, flushed and set back in mid-use."""

import asyncio
import base64
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import eps.datastores.redis as module
from eps.core.event import Level
from eps.datastores import DataEntry, Datastore, encode_entry, new_id
from eps.datastores.redis import RedisDatastore
from eps.datastores.redis_link import RedisPlace
from eps.errors import InternalError, StartError, StoreLost
from support.ports import PortBlock
from support.redis_server import DURABLE, RedisServer, Told, entry, needs_redis, opened_store
from support.vectors import load

pytestmark = [needs_redis, pytest.mark.xdist_group("redis")]

NOWHERE = "127.0.0.1:1"


@pytest.fixture
async def server(tmp_path: Path, ports: PortBlock) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path, ports.numbers[0], *DURABLE) as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks come sooner than in use."""
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.05)


def opened(
    server: RedisServer, told: Told | None = None, *, shared: bool = False, **place: Any
) -> AbstractAsyncContextManager[RedisDatastore]:
    return opened_store(RedisPlace((server.address,), **place), told, shared=shared)


async def test_what_was_appended_is_there_after_reopening(server: RedisServer) -> None:
    odd = [DataEntry(255, b"", b"\x00\xff"), DataEntry(0, b"i" * 300, b"")]
    async with opened(server, told := Told()) as made:
        store: Datastore = made
        assert await store.read_all() == [] and await store.last_id() is None
        await store.append([entry(1), *odd])
        await store.append([])
        await store.append([entry(2)])
        assert await store.last_id() == entry(2).id
    async with opened(server, told) as store:
        assert await store.read_all() == [entry(1), *odd, entry(2)]
        assert store.location == f"Redis {server.address}, database 0, key entries"
        await store.close()
        with pytest.raises(InternalError, match="is closed"):
            await store.append([entry(3)])
    assert told == []


async def test_the_data_of_servers_in_use_is_read_and_extended_in_place(server: RedisServer) -> None:
    vectors = load("data_entry.json")
    encoded = [base64.b64decode(vector["encoded_base64"]) for vector in vectors]
    await server.ask("RPUSH", "entries", *encoded)
    async with opened(server) as store:
        read = await store.read_all()
        assert [(each.type, each.id.hex()) for each in read] == [(v["type"], v["id_hex"]) for v in vectors]
        await store.append([entry(7)])
    assert await server.ask("LRANGE", "entries", 0, -1) == [*encoded, encode_entry(entry(7))]


async def test_it_keeps_to_its_database_and_key(server: RedisServer) -> None:
    store = await RedisDatastore.open(RedisPlace((server.address,), database=3), "other")
    await store.append([entry(1)])
    await store.close()
    assert await server.ask("KEYS", "*") == [] and await server.ask("LLEN", "other", db=3) == 1


async def test_many_entries_are_read_in_slices_and_written_whole(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [entry(number) for number in range(3300)]
    async with opened(server) as store:
        await store.append(many)
        assert await store.read_all() == many
        await store.replace(many[5:])
        assert await store.read_all() == many[5:]
        await store.replace([])
        assert await store.read_all() == []
        monkeypatch.setattr(module, "MAX_ENTRIES", 2)
        with pytest.raises(InternalError, match="3 entries at once are too many"):
            await store.append(many[:3])


async def test_of_two_writers_on_one_tip_exactly_one_succeeds(server: RedisServer) -> None:
    async with opened(server, told := Told(), shared=True) as first, opened(server, told, shared=True) as second:
        last = None
        for number in range(0, 60, 2):
            a, b = entry(number), entry(number + 1)
            done = await asyncio.gather(first.append_if(last, [a]), second.append_if(last, [b]))
            assert sorted(done) == [False, True]
            last = await first.last_id()
            assert last == (a if done[0] else b).id
        assert not await first.replace_if(None, []) and await first.replace_if(last, [entry(99)])
        assert await second.read_all() == [entry(99)]
        assert await second.replace_if(entry(99).id, []) and await first.last_id() is None


COUNTING = """
import asyncio, sys
from eps.datastores import DataEntry, new_id
from eps.datastores.redis import RedisDatastore
from eps.datastores.redis_link import RedisPlace

async def main():
    store = await RedisDatastore.open(RedisPlace((sys.argv[1],)), shared=True)
    for _ in range(int(sys.argv[2])):
        while True:
            entries = await store.read_all()
            last = entries[-1].id if entries else None
            if await store.append_if(last, [DataEntry(1, new_id(), b"%d" % len(entries))]):
                break
    await store.close()

asyncio.run(main())
"""


async def test_three_programs_that_append_at_once_lose_nothing(server: RedisServer) -> None:
    command = [sys.executable, "-c", COUNTING, server.address, "30"]
    runs = [await asyncio.create_subprocess_exec(*command) for _ in range(3)]
    assert [await run.wait() for run in runs] == [0, 0, 0]
    async with opened(server) as store:
        assert [each.data for each in await store.read_all()] == [b"%d" % number for number in range(90)]


async def test_a_rewrite_by_another_program_amid_reading_is_read_anew(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENTRIES_AT_ONCE", 2)
    async with opened(server, shared=True) as first, opened(server, shared=True) as second:
        await first.append_if(None, [entry(number) for number in range(6)])
        real, rewritten = first.read_slice, False

        async def slowly(begin: int, count: int) -> list[bytes]:
            nonlocal rewritten
            if begin == 2 and not rewritten:
                rewritten = True
                assert await second.replace_if(entry(5).id, [entry(number) for number in (10, 11, 12, 13, 14, 15)])
            return await real(begin, count)

        monkeypatch.setattr(first, "read_slice", slowly)
        assert [each.id for each in await first.read_all()] == [entry(number).id for number in range(10, 16)]


async def test_a_list_that_changes_all_the_time_is_given_up(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(server, shared=True) as store:
        await store.append_if(None, [entry(number) for number in range(4)])

        async def shorter(begin: int, count: int) -> list[bytes]:
            return []

        monkeypatch.setattr(store, "read_slice", shorter)
        with pytest.raises(InternalError, match="is changed by others all the time"):
            await store.read_all()


async def test_a_start_that_is_cancelled_leaves_nothing_open(server: RedisServer) -> None:
    server.freeze()
    opening = asyncio.create_task(RedisDatastore.open(RedisPlace((server.address,))))
    await asyncio.sleep(0.1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    server.thaw()
    assert len((await server.ask("CLIENT", "LIST")).splitlines()) == 1


# Outages


async def test_a_killed_server_is_told_once_and_its_return_too(server: RedisServer) -> None:
    async with opened(server, told := Told()) as store:
        await store.append([entry(1)])
        await server.kill()
        await told.until("can't be reached")
        with pytest.raises(StoreLost, match=r"can't be reached: 127.0.0.1:.* refused"):
            await store.last_id()  # at once: nobody waits for a server that is known to be down
        await asyncio.sleep(0.3)  # some more looks, which say nothing
        assert len(told) == 1 and "changes are refused until it answers" in told.texts()[0]
        await server.start()
        await told.until("can be reached again")
        await store.append([entry(2)])
        assert await store.read_all() == [entry(1), entry(2)]
        assert len(told) == 2


async def test_a_change_waits_for_a_server_that_restarts(server: RedisServer) -> None:
    async with opened(server) as store:
        await store.append([entry(1)])
        await server.kill()
        writing = asyncio.create_task(store.append([entry(2)]))
        await asyncio.sleep(0.3)
        await server.start()
        await writing
        assert await store.read_all() == [entry(1), entry(2)]


async def test_a_change_is_refused_clearly_when_the_server_stays_away(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(server) as store:
        await server.kill()
        real = store.link.run

        async def briefly(work: Any, **options: Any) -> Any:
            return await real(work, **{**options, "patience": 0.3})

        monkeypatch.setattr(store.link, "run", briefly)
        with pytest.raises(StoreLost, match="can't be reached"):
            await store.append([entry(1)])


async def test_a_connection_that_the_server_has_closed_costs_nothing(server: RedisServer) -> None:
    async with opened(server, told := Told()) as store:
        for number in range(5):
            await server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await store.append([entry(number)])
        assert len(await store.read_all()) == 5
    assert told == []


async def test_a_frozen_server_holds_up_nobody_for_long(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import eps.datastores.redis_link as link

    monkeypatch.setattr(link, "COMMAND_SECONDS", 0.3)
    monkeypatch.setattr(link, "DIAL_SECONDS", 0.3)
    monkeypatch.setattr(module, "COMMAND_SECONDS", 0.3)
    async with opened(server, told := Told()) as store:
        await store.append([entry(1)])
        server.freeze()
        began = asyncio.get_running_loop().time()
        with pytest.raises(StoreLost, match=r"no answer within 0\.3 s"):
            await asyncio.wait_for(store.link.run(store.look, patience=0), 5)
        assert asyncio.get_running_loop().time() - began < 3
        with pytest.raises(StoreLost):
            await store.last_id()
        server.thaw()
        await told.until("can be reached again")
        await store.append([entry(2)])
        assert await store.read_all() == [entry(1), entry(2)]


async def test_what_a_frozen_server_was_sent_takes_no_effect_later(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller was told that nothing was stored; the bytes wait in the server's socket."""
    import eps.datastores.redis_link as link

    monkeypatch.setattr(link, "COMMAND_SECONDS", 0.3)
    monkeypatch.setattr(link, "DIAL_SECONDS", 0.3)
    monkeypatch.setattr(module, "COMMAND_SECONDS", 0.3)
    monkeypatch.setattr(module, "WATCH_SECONDS", 3600.0)
    async with opened(server, Told()) as store:
        await store.append([entry(1)])
        run = store.link.run

        async def once(work: Any, **options: Any) -> Any:
            return await run(work, **{**options, "patience": 0.0, "probe": True})

        monkeypatch.setattr(store.link, "run", once)
        server.freeze()
        for number in (2, 3, 4):
            with pytest.raises(StoreLost):
                await store.append([entry(number)])
        server.thaw()
        await server.until(lambda length: length == 1, "LLEN", "entries")
        monkeypatch.setattr(store.link, "run", run)
        await store.append([entry(5)])
        assert await store.read_all() == [entry(1), entry(5)]


async def test_what_was_stored_though_its_answer_was_lost_is_taken_back(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 3600.0)
    async with opened(server, told := Told()) as store:
        await store.append([entry(1)])
        real = store.link.run

        async def lost(work: Any, **options: Any) -> Any:
            await real(work, **options)
            raise StoreLost("the answer is lost")

        monkeypatch.setattr(store.link, "run", lost)
        with pytest.raises(StoreLost):
            await store.append([entry(2), entry(3)])
        monkeypatch.undo()
        assert await server.ask("LLEN", "entries") == 3
        await store.append([entry(4)])
        assert await store.read_all() == [entry(1), entry(4)]
    assert (
        "had stored 2 entries whose sender was told that they were not; they were taken back"
        in told.texts(Level.WARN)[0]
    )


async def test_a_change_that_comes_too_late_by_the_server_s_clock_is_sent_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eps.datastores.redis_link import RedisConnection

    real, late = RedisConnection.server_time, [-1.0]
    monkeypatch.setattr(
        RedisConnection, "server_time", lambda self, seconds: real(self, late.pop() if late else seconds)
    )
    async with opened(server, told := Told()) as store:
        await store.append([entry(1)])
        assert late == [] and await store.read_all() == [entry(1)]
    assert told == []


@pytest.mark.parametrize("shared", [False, True])
async def test_a_change_whose_answer_was_lost_is_not_made_twice(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    from eps.datastores.redis_link import RedisConnection

    real, broken = RedisConnection.execute, 0

    async def execute(self: RedisConnection, *command: Any) -> Any:
        nonlocal broken
        answer = await real(self, *command)
        if command[:2] == ("EVAL", module.CHANGE) and not broken:
            broken += 1
            raise ConnectionResetError("the answer is lost")
        return answer

    async with opened(server, shared=shared) as store:
        await store.append([entry(1)])
        monkeypatch.setattr(RedisConnection, "execute", execute)
        assert await store.append_if(entry(1).id, [entry(2)])
        broken = 0
        assert await store.replace_if(entry(2).id, [])
        assert await server.ask("LLEN", "entries") == 0
        assert await store.last_id() is None


# A database that is another one now


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("FLUSHALL",), "is empty now: it was flushed"),
        (("LTRIM", "entries", 0, 0), "was set back to an earlier state"),
        (("RPUSH", "entries", encode_entry(entry(9))), "has entries that this program did not write"),
        (("LSET", "entries", 2, encode_entry(entry(9))), "holds something else now"),
        (("LSET", "entries", 2, b"?"), "holds something else now"),
    ],
)
async def test_a_store_that_others_change_is_told_and_not_used(
    server: RedisServer, command: tuple[Any, ...], said: str
) -> None:
    three = [entry(1), entry(2), entry(3)]
    async with opened(server, told := Told()) as store:
        await store.append(three)
        await store.read_all()
        await server.ask(*command)
        await told.until(said)
        for work in (store.read_all(), store.last_id(), store.append([entry(4)]), store.replace([])):
            with pytest.raises(InternalError, match=f"{said}.*nothing was read or stored"):
                await work
        assert len(told) == 1
        await server.ask("DEL", "entries")
        await server.ask("RPUSH", "entries", *(encode_entry(each) for each in three))  # a backup, restored
        await told.until("is again as this program left it")
        await store.append([entry(4)])
        assert await store.read_all() == [*three, entry(4)]


async def test_a_change_finds_out_by_itself_that_the_store_is_another(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 3600.0)
    async with opened(server, told := Told()) as store:
        await store.append([entry(1)])
        await server.ask("FLUSHALL")
        with pytest.raises(InternalError, match="was flushed"):
            await store.append([entry(2)])
        assert await server.ask("LLEN", "entries") == 0
        assert len(told.texts()) == 1


async def test_public_proxies_go_on_with_what_is_there(server: RedisServer) -> None:
    async with opened(server, told := Told(), shared=True) as store:
        await store.append_if(None, [entry(1), entry(2)])
        await store.read_all()
        await server.ask("RPUSH", "entries", encode_entry(entry(3)))  # another proxy
        assert await store.last_id() == entry(3).id and told == []
        await store.read_all()
        await server.ask("RPOP", "entries")
        await told.until("was set back to an earlier state")
        assert await store.append_if(entry(2).id, [entry(4)])
        await server.ask("FLUSHALL")
        await told.until("is empty now")
        assert await store.append_if(None, [entry(5)]) and await store.read_all() == [entry(5)]
        assert len(told) == 2 and "announce their domains anew" in told[1].message()


# Refusals


async def test_a_server_that_can_t_be_reached_keeps_a_program_from_starting() -> None:
    with pytest.raises(StartError, match=r"can't be reached: 127.0.0.1:1: .*refused"):
        await RedisDatastore.open(RedisPlace((NOWHERE,)), patience=0)


async def test_the_start_waits_for_a_server_that_is_just_coming_up(tmp_path: Path, ports: PortBlock) -> None:
    server = RedisServer(tmp_path, ports.numbers[0], *DURABLE)
    opening = asyncio.create_task(RedisDatastore.open(RedisPlace((server.address,)), emit=(told := Told())))
    await asyncio.sleep(0.2)
    async with server:
        await (await opening).close()
    assert told == []


async def test_the_first_address_that_is_a_master_is_taken(server: RedisServer) -> None:
    store = await RedisDatastore.open(RedisPlace((NOWHERE, server.address)))
    await store.append([entry(1)])
    await store.close()


async def test_a_replica_is_refused(server: RedisServer, tmp_path: Path, ports: PortBlock) -> None:
    replica = RedisServer(tmp_path / "replica", ports.numbers[1], "--replicaof", "127.0.0.1", str(server.port))
    async with replica:
        with pytest.raises(StartError, match="is a replica, and can't be written to"):
            await RedisDatastore.open(RedisPlace((replica.address,)), patience=0)


async def test_a_server_that_becomes_a_replica_in_mid_use_is_left(
    server: RedisServer, tmp_path: Path, ports: PortBlock
) -> None:
    other = RedisServer(tmp_path / "other", ports.numbers[1], *DURABLE, "--replicaof", "127.0.0.1", str(server.port))
    async with other:
        store = await RedisDatastore.open(RedisPlace((server.address, other.address)))
        await store.append([entry(1)])
        await other.until(lambda length: length == 1, "LLEN", "entries")
        await other.ask("REPLICAOF", "NO", "ONE")
        await server.ask("REPLICAOF", "127.0.0.1", other.port)
        await store.append([entry(2)])
        assert await other.ask("LLEN", "entries") == 2
        await store.close()


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ({"password": "wrong"}, "refuses the user or the password"),
        ({}, "it wants a password"),
        ({"username": "poor", "password": "p"}, "may not do what this program needs"),
        ({"password": "secret", "database": 99}, "it has no such database"),
    ],
)
async def test_what_a_server_refuses_is_said(
    tmp_path: Path, ports: PortBlock, place: dict[str, Any], complaint: str
) -> None:
    async with RedisServer(tmp_path, ports.numbers[0], *DURABLE, "--requirepass", "secret") as server:
        await server.ask("ACL", "SETUSER", "poor", "on", ">p", "~entries", "+get", password="secret")
        with pytest.raises(StartError, match=complaint) as caught:
            await RedisDatastore.open(RedisPlace((server.address,), **place))
        assert "secret" not in str(caught.value) and "wrong" not in str(caught.value)


async def test_an_acl_user_with_what_the_hint_names_will_do(server: RedisServer) -> None:
    from eps.datastores.redis_errors import _ALLOW

    allowed = [word for word in _ALLOW.split() if word.startswith("+")]
    await server.ask("ACL", "SETUSER", "store", "on", ">p:w", "~entries", *allowed)
    async with opened(server, told := Told(), username="store", password="p:w", database=0) as store:
        await store.append([entry(1)])
        await store.replace([entry(2)])
        assert await store.read_all() == [entry(2)]
    assert told == []
    await server.ask("ACL", "SETUSER", "store", "-config", "-info")
    async with opened(server, told, username="store", password="p:w") as store:
        await store.append([entry(3)])
    assert len(told) == 1 and "does not let this program read its settings" in told[0].message()
    await server.ask("ACL", "SETUSER", "store", "-rpush")
    async with opened(server, username="store", password="p:w") as store:
        with pytest.raises(InternalError, match="may not do what this program needs"):
            await store.append([entry(4)])


async def test_rights_that_are_taken_away_are_told_once(server: RedisServer) -> None:
    await server.ask("ACL", "SETUSER", "store", "on", ">p", "~entries", "+@all")
    async with opened(server, told := Told(), username="store", password="p") as store:
        await store.read_all()
        await server.ask("ACL", "SETUSER", "store", "-eval")
        await told.until("may not do what this program needs")
        await asyncio.sleep(0.3)
        assert len(told) == 1


async def test_a_password_that_is_changed_is_told(server: RedisServer) -> None:
    async with opened(server, told := Told()) as store:
        await store.read_all()
        await server.ask("CONFIG", "SET", "requirepass", "new")
        await server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", password="new")
        await told.until("it wants a password")


async def test_a_key_that_holds_something_else_is_refused(server: RedisServer) -> None:
    await server.ask("SET", "entries", "text")
    with pytest.raises(StartError, match=r"the key holds something that is no list \(WRONGTYPE [^:]*\)$"):
        await RedisDatastore.open(RedisPlace((server.address,)))
    await server.ask("DEL", "entries")
    await server.ask("RPUSH", "entries", "no entry")
    async with opened(server) as store:
        with pytest.raises(InternalError, match="holds something that is no entry, as number 1"):
            await store.read_all()


async def test_a_key_that_holds_something_else_for_a_while_is_told_both_times(server: RedisServer) -> None:
    async with opened(server, told := Told()) as store:
        await store.append([entry(1)])
        await server.ask("RENAME", "entries", "aside")
        await server.ask("SET", "entries", "text")
        await told.until("the key holds something that is no list")
        await server.ask("RENAME", "aside", "entries")
        await told.until("does what it is told again")
        await store.append([entry(2)])


@pytest.mark.parametrize("database", [0, 3])
@pytest.mark.parametrize("has_slots", [False, True], ids=["without slots", "whose slots another has"])
async def test_a_redis_cluster_is_refused(tmp_path: Path, ports: PortBlock, has_slots: bool, database: int) -> None:
    ours, other = (
        RedisServer(tmp_path / str(port), port, "--cluster-enabled", "yes", "--cluster-port", str(bus))
        for port, bus in zip(ports.numbers[:2], ports.numbers[2:4], strict=True)
    )
    async with ours, other:
        if has_slots:
            await other.ask("CLUSTER", "ADDSLOTS", *range(16384))
            await ours.ask("CLUSTER", "MEET", "127.0.0.1", str(other.port), str(ports.numbers[3]))
            async with asyncio.timeout(30):
                while b"cluster_state:ok" not in await ours.ask("CLUSTER", "INFO"):
                    await asyncio.sleep(0.05)
        with pytest.raises(StartError, match="it is a Redis Cluster") as refused:
            await RedisDatastore.open(RedisPlace((ours.address,), database=database))
    assert "one server, or Sentinel" in refused.value.hint


async def test_a_full_server_says_so_and_stores_nothing(server: RedisServer) -> None:
    async with opened(server) as store:
        await store.append([entry(1)])
        await server.ask("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(InternalError, match="its memory is full"):
            await store.append([DataEntry(1, new_id(), bytes(500_000)) for _ in range(4)])
        await server.ask("CONFIG", "SET", "maxmemory", "0")
        await store.append([entry(2)])
        assert await store.read_all() == [entry(1), entry(2)]


async def test_too_few_replicas_are_said(server: RedisServer) -> None:
    async with opened(server) as store:
        await server.ask("CONFIG", "SET", "min-replicas-to-write", 1)
        with pytest.raises(InternalError, match="too few replicas"):
            await store.append([entry(1)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--save", "", "--appendonly", "no"), "told not to keep anything on disk"),
        (("--save", "60", "1", "--appendonly", "no"), "only now and then"),
        (("--appendonly", "yes", "--appendfsync", "everysec"), "before they are on disk"),
        ((*DURABLE, "--maxmemory", "90mb", "--maxmemory-policy", "allkeys-lru"), "throw this store away"),
    ],
)
async def test_the_start_says_what_may_be_lost(
    tmp_path: Path, ports: PortBlock, options: tuple[str, ...], said: str
) -> None:
    async with RedisServer(tmp_path, ports.numbers[0], *options) as server, opened(server, told := Told()):
        assert [said in text for text in told.texts(Level.WARN)] == [True]


async def test_an_acknowledged_entry_survives_killed_programs(server: RedisServer) -> None:
    program = COUNTING.replace("await store.close()", "print('stored', flush=True); await asyncio.sleep(60)")
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, server.address, "3", stdout=asyncio.subprocess.PIPE
    )
    assert run.stdout is not None and await run.stdout.readline() == b"stored\n"
    os.kill(run.pid, signal.SIGKILL)
    await run.wait()
    await server.kill()
    await server.start()
    async with opened(server) as store:
        assert [each.data for each in await store.read_all()] == [b"0", b"1", b"2"]


async def test_a_cancelled_command_leaves_no_answer_for_the_next(server: RedisServer) -> None:
    async with opened(server, Told()) as store:
        await store.append([entry(1)])
        for _ in range(20):
            reading = asyncio.create_task(store.last_id())
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            assert await store.read_all() == [entry(1)]


async def test_closing_waits_for_a_write_under_way(server: RedisServer) -> None:
    store = await RedisDatastore.open(RedisPlace((server.address,)))
    writing = asyncio.create_task(store.append([entry(1)]))
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    await writing
    assert await server.ask("LLEN", "entries") == 1
