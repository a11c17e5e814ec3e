"""Several service directories on one Redis: what one takes, all serve; and what becomes of it when Redis forgets."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

import eps.datastores.redis_shared as shared
import eps.directory.service as module
from eps.core.event import DirectoryChanged, Level, Notice, StoreError
from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.core.names import Object
from eps.core.record import SignedRecord
from eps.core.signature import Signer, TrustStore
from eps.datastores import RECORD, DataEntry, encode_entry, new_id
from eps.datastores.redis_link import RedisPlace
from eps.datastores.redis_shared import SharedRedisDatastore
from eps.datastores.watched import watched
from eps.directory.service import ServiceDirectory
from eps.directory.stored import StoredRecords, chain_after
from support.ports import PortBlock
from support.record_tools import (
    ADMIN,
    NOW,
    STRANGER,
    Clock,
    as_json,
    chain_of,
    group_record,
    sign_chain,
    signer,
    signing_pin_record,
    trust,
)
from support.redis_server import DURABLE, RedisServer, needs_redis
from support.testing import Events

pytestmark = [needs_redis, pytest.mark.xdist_group("redis")]

LATER = NOW + timedelta(hours=1)
NEVER = 3600.0


class Sd:
    """One of the service directories.

    Args:
        mark: where it keeps how far it had come.
    """

    def __init__(self, redis: RedisServer, mark: Path | None, trusted: TrustStore | None = None) -> None:
        self.redis = redis
        self.events = Events()
        self._mark = mark
        self._trust = trusted or trust()
        self.clock = Clock(LATER)

    async def __aenter__(self) -> "Sd":
        place = RedisPlace((self.redis.address,))
        self.store = await SharedRedisDatastore.open(place, shared=True, emit=self.events)
        store = watched(self.store, self.events)
        self.service = ServiceDirectory(store, self._trust, self.clock, self.events, mark=self._mark)
        await self.service.load()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.service.close()
        await self.store.close()

    async def call(self, method: str, params: Object | None = None) -> Response:
        return await self.service.handle(Call(method, params or {}, "1", ("hd-1",)))

    async def ask(self, method: str, params: Object | None = None) -> Any:
        response = await self.call(method, params)
        assert response.error is None, response.error
        return orjson.loads(orjson.dumps(response.result))

    async def submit(self, records: Sequence[SignedRecord]) -> None:
        response = await self.call("submitRecords", {"records": as_json(records)})
        assert response.result == "ok", response.error

    async def refusal(self, records: Sequence[SignedRecord]) -> Object:
        error = (await self.call("submitRecords", {"records": as_json(records)})).error
        assert error is not None
        return {"message": error.message, **error.data}

    async def serves(self, records: Sequence[SignedRecord]) -> None:
        """Wait until it gives these records, and no others."""
        async with asyncio.timeout(30):
            while (tip := self.service.chain.tip) != records[-1].hash:
                await asyncio.sleep(0.005)
        assert tip == records[-1].hash
        assert await self.ask("getRecords") == as_json(records)

    def complaints(self) -> list[str]:
        return [str(each.message()) for each in self.events.of(Notice) if each.level is Level.ERROR]

    async def told(self, text: str, level: Level = Level.ERROR) -> Notice:
        return await self.events.wait_for(
            Notice, lambda one: one.level is level and text in one.message(), timeout=30.0
        )


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    ports = PortBlock()
    async with RedisServer(tmp_path / "redis", ports.numbers[0], *DURABLE) as server:
        yield server
    ports.close()


@pytest.fixture
async def two(redis: RedisServer, tmp_path: Path) -> AsyncIterator[tuple[Sd, Sd]]:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(Sd(redis, tmp_path / f"{n}" / "mark.json")) for n in "ab"]
        yield first, second


def behind(chain: Sequence[SignedRecord], name: str, count: int = 1, by: Signer = ADMIN) -> list[SignedRecord]:
    return chain_of(count, parent=chain[-1].hash, at=NOW + timedelta(minutes=1), name=name, by=by)


def entries_of(records: Sequence[SignedRecord]) -> list[bytes]:
    return [encode_entry(DataEntry(RECORD, new_id(), orjson.dumps(one.to_json()))) for one in records]


# Following


@pytest.mark.parametrize("how", ["heard", "looked"])
async def test_what_one_takes_the_other_serves(two: tuple[Sd, Sd], monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """By a message, or without one, by looking."""
    first, second = two
    if how == "heard":
        monkeypatch.setattr(shared, "POLL_SECONDS", NEVER)
    else:
        await first.redis.ask("ACL", "SETUSER", "default", "-publish")
    await asyncio.sleep(0)
    chain = chain_of(3)
    await first.submit(chain)
    await second.serves(chain)
    more = behind(chain, "more", 2)
    await second.submit(more)
    await first.serves([*chain, *more])
    last = first.events.of(DirectoryChanged)[-1]
    assert "others that use the store" in last.source and last.changed == ("more-0: groups", "more-1: groups")
    assert first.complaints() == second.complaints() == []


async def test_what_others_append_without_a_word_is_found(two: tuple[Sd, Sd]) -> None:
    """Servers in use do, also entries of other types."""
    first, second = two
    chain = chain_of(2)
    await first.redis.ask("RPUSH", "entries", encode_entry(DataEntry(7, b"odd", b"?")), *entries_of(chain))
    for each in two:
        await each.serves(chain)
    more = behind(chain, "more")
    await first.submit(more)
    await second.serves([*chain, *more])


async def test_a_connection_that_listens_is_made_anew(two: tuple[Sd, Sd], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = two
    monkeypatch.setattr(shared, "LISTEN_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(shared, "POLL_SECONDS", NEVER)
    await first.redis.until(lambda found: found[1] == 2, "PUBSUB", "NUMSUB", "entries")
    await first.redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    await first.redis.until(lambda found: found[1] == 2, "PUBSUB", "NUMSUB", "entries")
    chain = chain_of(1)
    await first.submit(chain)
    await second.serves(chain)


async def test_whoever_knows_more_than_this_one_makes_it_look(
    two: tuple[Sd, Sd], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that has asked the other one must not take this one for set back."""
    first, second = two
    chain = chain_of(3)
    await first.submit(chain[:2])
    await second.serves(chain[:2])

    async def deaf(store: SharedRedisDatastore) -> None:
        await asyncio.sleep(NEVER)

    monkeypatch.setattr(SharedRedisDatastore, "changed", deaf)
    await asyncio.sleep(2 * shared.POLL_SECONDS)  # so that nobody looks any more
    await first.submit(chain[2:])
    assert await second.ask("getRecords", {"after": chain[1].hash}) == []
    assert await second.ask("getRecords", {"after": chain[2].hash}) == []
    assert await second.ask("getTip") == chain[2].to_json()
    assert await second.ask("getRecords", {"after": "0" * 64}) == as_json(chain)


async def test_of_two_on_one_tip_one_is_stored_and_the_other_is_stale(two: tuple[Sd, Sd]) -> None:
    chain = chain_of(1)
    await two[0].submit(chain)
    for number in range(20):
        batches = [behind(chain, f"{side}-{number}") for side in "ab"]
        answers = await asyncio.gather(
            *(each.call("submitRecords", {"records": as_json(one)}) for each, one in zip(two, batches, strict=True))
        )
        errors = [answer.error for answer in answers if answer.error is not None]
        assert [error.data["reason"] for error in errors] == ["stale"], answers
        chain += batches[0 if answers[0].error is None else 1]
    for each in two:
        await each.serves(chain)


async def test_two_hundred_appends_from_each_at_once(two: tuple[Sd, Sd]) -> None:
    """One chain; every accepted record is in it, and every refused one was told so."""
    accepted: list[str] = []
    refused = 0

    async def administrator(sd: Sd, name: str) -> None:
        nonlocal refused
        for number in range(200):
            for attempt in itertools.count():
                tip = await sd.ask("getTip")
                at = NOW + timedelta(milliseconds=number, microseconds=attempt)
                (record,) = sign_chain([group_record(f"{name}-{number}", "g", at=at)], tip["hash"] if tip else "")
                answer = await sd.call("submitRecords", {"records": [record.to_json()]})
                if answer.error is None:
                    accepted.append(record.hash)
                    break
                assert answer.error.data["reason"] == "stale" or "a new root must be dated" in answer.error.message
                refused += 1

    await two[0].submit(chain_of(1))
    await asyncio.gather(*(administrator(sd, name) for sd, name in zip(two, "ab", strict=True)))
    whole = chain_in_order(await two[0].store.read_all())
    assert len(whole) == 401 and set(accepted) <= set(whole) and len(accepted) == 400
    for each in two:
        async with asyncio.timeout(30):
            while each.service.chain.tip != whole[-1]:
                await asyncio.sleep(0.01)
        assert [one.hash for one in each.service.chain.records] == whole
        assert each.complaints() == []


def chain_in_order(entries: Sequence[DataEntry]) -> list[str]:
    """The hashes of stored records, each of which must follow the one before it."""
    values = [orjson.loads(entry.data) for entry in entries]
    assert [value["parent_hash"] for value in values[1:]] == [value["hash"] for value in values[:-1]]
    return [value["hash"] for value in values]


async def test_a_directory_that_is_begun_anew_is_followed(two: tuple[Sd, Sd]) -> None:
    first, second = two
    admin = signer()
    old = sign_chain([signing_pin_record(admin), group_record("a")], by=admin)
    await first.submit(old)
    await second.serves(old)
    new = sign_chain(
        [signing_pin_record(admin, at=NOW + timedelta(minutes=2)), group_record("b", at=NOW + timedelta(minutes=3))],
        by=admin,
    )
    await second.submit(new)
    await first.serves(new)
    more = behind(new, "more", by=admin)
    await first.submit(more)
    await second.serves([*new, *more])


async def test_records_before_a_root_and_behind_it_may_be_found_at_once(redis: RedisServer) -> None:
    """What has happened while this one could not look."""
    old = chain_of(2)
    new = chain_of(2, at=NOW + timedelta(minutes=2), name="new")
    async with Sd(redis, None) as sd:
        await sd.submit(old[:1])
        chain = await chain_after(sd.service.chain, [old[1], *new], LATER, whole=False)
        assert [one.hash for one in chain.records] == [one.hash for one in new]


async def test_a_start_goes_on_from_what_others_have_stored(two: tuple[Sd, Sd], redis: RedisServer) -> None:
    chain = chain_of(5)
    await two[0].submit(chain)
    async with Sd(redis, None) as third:
        assert await third.ask("getRecords") == as_json(chain)
        more = behind(chain, "more")
        await third.submit(more)
    await two[1].serves([*chain, *more])


# When Redis forgets, or others write nonsense


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("FLUSHALL",), "it is empty, and it had 3 records"),
        (("RPOP", "entries"), "it is shorter than it was"),
    ],
    ids=["flushed", "set back"],
)
async def test_a_store_that_has_lost_records_is_told_and_nothing_is_stored_on_top(
    two: tuple[Sd, Sd], redis: RedisServer, command: tuple[str, ...], said: str
) -> None:
    first, second = two
    chain = chain_of(3)
    await first.submit(chain)
    await second.serves(chain)
    kept = await redis.ask("LRANGE", "entries", 0, -1)
    await redis.ask(*command)
    for each in two:
        notice = await each.told(said)
        assert "howto-recover-directory" in notice.hint and "mark.json" in notice.hint
        refusal = await each.refusal(behind(chain, "more"))
        assert "is not what it was, so nothing is stored on top of it" in refusal["message"]
        assert await each.ask("getRecords") == as_json(chain)
    assert await redis.ask("LLEN", "entries") == (0 if command[0] == "FLUSHALL" else 2)
    await redis.ask("DEL", "entries")
    await redis.ask("RPUSH", "entries", *kept)
    for each in two:
        await each.told("is whole again", Level.INFO)
        assert len(each.complaints()) >= 1
    more = behind(chain, "more")
    await first.submit(more)
    await second.serves([*chain, *more])


async def test_an_import_under_other_ids_brings_a_lost_store_back(two: tuple[Sd, Sd], redis: RedisServer) -> None:
    """As «sd store import» does from a server's verified copy, and with more than this one had."""
    first, second = two
    chain = chain_of(3)
    await first.submit(chain)
    await second.serves(chain)
    await redis.ask("FLUSHALL")
    await second.told("it is empty")
    longer = [*chain, *behind(chain, "more")]
    await redis.ask("RPUSH", "entries", *entries_of(longer))
    for each in two:
        await each.serves(longer)
    last = behind(longer, "last")
    await second.submit(last)
    await first.serves([*longer, *last])


async def test_another_history_is_not_followed(two: tuple[Sd, Sd], redis: RedisServer) -> None:
    """What a failover leads to: a replica lacked a record that one had served, and somebody went on without it."""
    first, second = two
    chain = chain_of(2)
    await first.submit(chain)
    await second.serves(chain)
    await redis.ask("LSET", "entries", 1, *entries_of(behind(chain[:1], "other")))
    for each in two:
        await each.told("it has another history than it had")
        assert await each.ask("getRecords") == as_json(chain)


async def test_a_lost_directory_can_be_begun_anew(two: tuple[Sd, Sd], redis: RedisServer) -> None:
    first, second = two
    chain = chain_of(2)
    await first.submit(chain)
    await second.serves(chain)
    await redis.ask("FLUSHALL")
    for each in two:
        await each.told("it is empty")
    new = chain_of(2, at=NOW + timedelta(minutes=2), name="new")
    await first.submit(new)
    await second.serves(new)
    assert (await second.told("is whole again", Level.INFO)).level is Level.INFO
    more = behind(new, "more")
    await first.submit(more)
    await second.serves([*new, *more])


async def test_another_directory_is_followed_only_if_its_root_counts(two: tuple[Sd, Sd], redis: RedisServer) -> None:
    first, second = two
    chain = chain_of(2, at=NOW + timedelta(minutes=5))
    await first.submit(chain)
    await second.serves(chain)
    older = chain_of(2, at=NOW, name="older")
    await redis.ask("DEL", "entries")
    await redis.ask("RPUSH", "entries", *entries_of(older))
    notice = await second.told("it holds another directory, begun with")
    assert "a new root must be dated after the present one" in notice.message()
    assert await second.ask("getRecords") == as_json(chain)


@pytest.mark.parametrize("what", ["forged", "no record", "no entry"])
async def test_what_is_not_to_be_believed_is_not_served(two: tuple[Sd, Sd], redis: RedisServer, what: str) -> None:
    first, second = two
    chain = chain_of(2)
    await first.submit(chain)
    await second.serves(chain)
    forger = signer(authority=STRANGER)
    forged = sign_chain([group_record("x", at=NOW + timedelta(minutes=1))], chain[-1].hash, by=forger)
    wrong = {
        "forged": entries_of(forged)[0],
        "no record": encode_entry(DataEntry(RECORD, new_id(), b'{"a": 1}')),
        "no entry": b"?",
    }
    said = {
        "forged": "is not followed: record 0 (x, groups",
        "no record": "record 1 of 1 that are new",
        "no entry": "is no entry",
    }
    await redis.ask("RPUSH", "entries", wrong[what])
    for each in two:
        await each.told(said[what])
        assert await each.ask("getRecords") == as_json(chain)
        await each.refusal(behind(chain, "more"))
    await redis.ask("RPOP", "entries")
    more = behind(chain, "more")
    async with asyncio.timeout(30):
        while (await first.call("submitRecords", {"records": as_json(more)})).error is not None:
            await asyncio.sleep(0.05)
    await second.serves([*chain, *more])


async def test_what_could_not_be_followed_is_tried_again(two: tuple[Sd, Sd], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing changes in the store; but our clock was wrong, and a root dated ahead is not followed."""
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.05)
    first, second = two
    old = chain_of(2)
    await first.submit(old)
    await second.serves(old)
    second.clock.time = NOW - timedelta(days=1)
    new = chain_of(2, at=NOW + timedelta(minutes=2), name="new")
    await first.submit(new)
    await second.told("is not followed")
    stale = await second.refusal(behind(chain_of(1), "more"))
    assert "is not what it was" in stale["message"]  # rather than that the batch is stale
    second.clock.time = LATER
    await second.serves(new)
    await second.told("is whole again", Level.INFO)


async def test_other_authorities_have_the_store_looked_at_again(redis: RedisServer) -> None:
    """One that does not know the signers' authority starts on an empty list, and is told of the right one later."""
    async with Sd(redis, None) as first, Sd(redis, None, trust(STRANGER)) as second:
        chain = chain_of(2)
        await first.submit(chain)
        await second.told("is not followed")
        await second.service.renew(trust(), foreign_peers=True)
        assert second.service.chain.tip == chain[-1].hash
        more = behind(chain, "more")
        await second.submit(more)
        await first.serves([*chain, *more])


async def test_redis_away_for_a_while(two: tuple[Sd, Sd], redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import eps.datastores.redis as alone

    for each_module in (alone, shared):
        monkeypatch.setattr(each_module, "PATIENCE_SECONDS", 0.2)
    first, second = two
    chain = chain_of(2)
    await first.submit(chain)
    await second.serves(chain)
    await redis.kill()
    more = behind(chain, "more")
    for each in two:
        refusal = await each.refusal(more)
        assert refusal["message"] == "the datastore here can't be used at present"
        assert await each.ask("getRecords") == as_json(chain)
        assert await each.ask("getRecords", {"after": "0" * 64}) == as_json(chain)
    await redis.start()
    await first.told("can be reached again", Level.INFO)
    await first.submit(more)
    await second.serves([*chain, *more])
    for each in two:
        assert len(each.complaints()) == 1 and "can't be reached" in each.complaints()[0]
        assert {error.operation for error in each.events.of(StoreError)} == {"read"}


async def test_a_change_whose_answer_is_lost_is_told_as_unsure_and_served(
    two: tuple[Sd, Sd], monkeypatch: pytest.MonkeyPatch
) -> None:
    import eps.datastores.redis as alone
    from eps.datastores.redis_link import RedisConnection

    monkeypatch.setattr(alone, "PATIENCE_SECONDS", 0.0)
    real = RedisConnection.execute

    async def execute(self: RedisConnection, *command: Any) -> Any:
        answer = await real(self, *command)
        if command[:2] == ("EVAL", alone.CHANGE):
            raise ConnectionRefusedError("the answer is lost")
        return answer

    first, second = two
    chain = chain_of(2)
    await first.submit(chain)
    await second.serves(chain)
    more = behind(chain, "more")
    monkeypatch.setattr(RedisConnection, "execute", execute)
    run = first.store.link.run

    async def once(work: Any, **options: Any) -> Any:
        return await run(work, **{**options, "patience": 0.0, "probe": True})

    monkeypatch.setattr(first.store.link, "run", once)
    refusal = await first.refusal(more)
    assert refusal["outcome"] == "unknown" and "it may be stored" in refusal["message"]
    monkeypatch.setattr(RedisConnection, "execute", real)
    for each in two:
        await each.serves([*chain, *more])


async def test_a_mark_of_more_than_there_is_stays_until_it_is_there_again(redis: RedisServer, tmp_path: Path) -> None:
    """A service directory that was down while Redis lost records says so when it starts, and follows all the same."""
    chain = chain_of(3)
    mark = tmp_path / "state" / "mark.json"
    async with Sd(redis, mark) as sd:
        await sd.submit(chain)
        kept = await redis.ask("LRANGE", "entries", 0, -1)
    await redis.ask("LTRIM", "entries", 0, 0)
    async with Sd(redis, mark) as sd:
        await sd.told("it is shorter than it was")
        other = behind(chain[:1], "other")
        await redis.ask("RPUSH", "entries", *entries_of(other))
        await sd.serves([chain[0], *other])
        assert "no server would believe" in (await sd.refusal(behind(other, "more")))["message"]
    assert chain[-1].hash in mark.read_text()
    await redis.ask("DEL", "entries")
    await redis.ask("RPUSH", "entries", *kept)
    async with Sd(redis, mark) as sd:
        assert sd.complaints() == []
        await sd.submit(behind(chain, "more"))


async def test_a_fault_of_ours_is_told_once_and_ends_nothing(
    two: tuple[Sd, Sd], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two

    async def broken(self: StoredRecords, *, whole: bool) -> None:
        raise ValueError("a mistake")

    with monkeypatch.context() as patched:
        patched.setattr(StoredRecords, "news", broken)
        await second.told("what others store is not followed: unexpected ValueError: a mistake")
        await asyncio.sleep(3 * shared.POLL_SECONDS)
    assert len(second.complaints()) == 1
    chain = chain_of(1)
    await first.submit(chain)
    await second.serves(chain)
