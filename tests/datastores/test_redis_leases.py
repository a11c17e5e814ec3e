"""Leases in a real Redis: exactly one of several servers has one, whatever becomes of them or of Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

import eps.datastores.redis_leases as module
from eps.core.event import Level, Notice
from eps.datastores.redis_leases import RedisLeases
from eps.datastores.redis_link import RedisPlace
from support.faults import FaultProxy
from support.ports import PortBlock
from support.redis_server import DURABLE, RedisServer, needs_redis
from support.testing import Events

pytestmark = [needs_redis, pytest.mark.xdist_group("redis")]

PEER = "public-proxy-1.ga"
SOON = 30.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.2)
    monkeypatch.setattr(module, "RENEWED_SECONDS", 0.1)


@pytest.fixture
async def redis(tmp_path: Path, ports: PortBlock) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path / "redis", ports.numbers[0], *DURABLE) as server:
        yield server


class Member:
    """One server's leases."""

    def __init__(self, redis: str, instance: str) -> None:
        self.events = Events()
        place = RedisPlace((redis,))
        address = f"127.0.0.1:{instance}"
        self.leases = RedisLeases(place, "test:siblings:x", instance=instance, address=address, emit=self.events)
        self.anew = 0

    def _anew(self) -> None:
        self.anew += 1

    async def gets(self) -> None:
        async with asyncio.timeout(SOON):
            await self.leases.acquire(PEER, self._anew)

    async def loses(self) -> None:
        async with asyncio.timeout(SOON):
            await self.leases.lost(PEER)

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(SOON):
            while not true():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def members(redis: RedisServer, *names: str, first_at: str = "") -> AsyncIterator[list[Member]]:
    async with AsyncExitStack() as stack:
        made = [Member(redis.address, name) for name in names]
        if first_at:
            made[0] = Member(first_at, names[0])
        for member in made:
            await member.leases.start()
            stack.push_async_callback(member.leases.close)
        yield made


async def test_one_has_it_until_it_lets_go_and_all_know_each_other(redis: RedisServer) -> None:
    async with members(redis, "1", "2") as (one, two):
        await one.gets()
        waiting = asyncio.create_task(two.gets())
        await two.until(lambda: two.leases.holders == {PEER: "1"})
        assert not two.leases.holds(PEER)
        assert {name: address for name, (address, _) in two.leases.siblings.items()} == {"1": "127.0.0.1:1"}
        one.leases.release(PEER)
        await waiting
        assert two.leases.holds(PEER)
        assert not one.leases.holds(PEER)
        await two.leases.close()
        await one.until(lambda: not one.leases.siblings)
        await one.gets()  # what is closed has let all go


async def test_a_sibling_that_is_known_to_be_dead_loses_it_at_once(redis: RedisServer) -> None:
    async with members(redis, "1", "2", "3") as (one, two, three):
        await one.gets()
        (_, boot) = await known(two, "1")
        waiting = asyncio.create_task(two.gets())
        two.leases.dead("another process")
        await two.until(lambda: PEER in two.leases.holders)
        two.leases.dead(boot)
        await waiting
        await three.until(lambda: not one.leases.holds(PEER))


async def known(member: Member, name: str) -> tuple[str, str]:
    await member.until(lambda: name in member.leases.siblings)
    return member.leases.siblings[name]


async def test_one_that_is_silent_keeps_it_until_its_end_and_lets_go_before(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder can't reach Redis any more: it counts by its own clock, and ends sooner than Redis does."""
    monkeypatch.setattr(module, "LEASE_SECONDS", 2.0)
    monkeypatch.setattr(module, "MARGIN_SECONDS", 1.0)
    monkeypatch.setattr(module, "ANEW_SECONDS", 0.1)
    at = f"127.0.0.1:{(line := FaultProxy(redis.port)).port}"
    async with line, members(redis, "1", "2", first_at=at) as (one, two):
        await one.gets()
        order: list[str] = []

        async def note(wait: Awaitable[None], name: str) -> None:
            await wait
            order.append(name)

        line.freeze()
        await asyncio.gather(note(one.loses(), "lost"), note(two.gets(), "gained"))
        assert order == ["lost", "gained"]
        await two.until(lambda: two.anew == 1)  # who held it may be a machine that died, as its peer learns later


async def test_redis_away_changes_nothing_for_who_holds_it_and_says_so_once(redis: RedisServer) -> None:
    async with members(redis, "1", "2") as (one, two):
        await one.gets()
        waiting = asyncio.create_task(two.gets())
        await two.until(lambda: PEER in two.leases.holders)
        await redis.kill()
        await one.until(lambda: one.leases.failing)
        assert one.leases.holds(PEER)
        await redis.start()
        await one.until(lambda: not one.leases.failing)
        await two.until(lambda: not two.leases.failing)
        assert one.leases.holds(PEER)
        assert not waiting.done()
        waiting.cancel()
        told = [(event.level, "can be reached again" in event.text) for event in one.events.of(Notice)]
        assert told == [(Level.ERROR, False), (Level.INFO, True)]


async def test_after_a_flush_who_held_it_goes_on(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH_SECONDS", 1.0)
    async with members(redis, "1", "2") as (one, two):
        await one.gets()
        waiting = asyncio.create_task(two.gets())
        await two.until(lambda: PEER in two.leases.holders)
        await redis.ask("FLUSHALL")
        await redis.until(lambda lease: lease and b'"1"' in lease, "HGET", "test:siblings:x", f"l:{PEER}")
        await redis.until(bool, "HGET", "test:siblings:x", "siblings")
        assert one.leases.holds(PEER)
        assert not waiting.done()
        assert one.anew == 0
        waiting.cancel()


async def test_of_two_that_held_it_one_ends_and_then_the_other_begins_anew(redis: RedisServer) -> None:
    """As after a failover that lost who had it."""
    async with members(redis, "1", "2") as (one, two):
        await one.gets()
        (_, boot) = await known(two, "1")
        two.leases.dead(boot)
        await two.gets()
        await one.loses()
        assert two.anew == 0
        one.leases.ended(PEER)
        await two.until(lambda: two.anew)
        assert two.leases.holds(PEER)
        assert two.anew == 1


async def test_of_two_processes_in_turn_the_one_that_goes_does_not_let_go_for_the_other(redis: RedisServer) -> None:
    """A newer program takes over under the same name, while the older one still answers."""
    async with members(redis, "1", "1", "2") as (older, newer, sibling):
        await older.gets()
        newer.leases.take_over()
        await newer.gets()
        waiting = asyncio.create_task(sibling.gets())
        await older.leases.close()
        await sibling.until(lambda: sibling.leases.holders == {PEER: "1"})
        assert newer.leases.holds(PEER)
        assert not waiting.done()
        waiting.cancel()


async def test_a_redis_that_is_not_there_keeps_nobody_from_starting(tmp_path: Path, ports: PortBlock) -> None:
    server = RedisServer(tmp_path / "redis", ports.numbers[0], *DURABLE)
    async with members(server, "1") as (one,):
        await one.until(lambda: "can't be reached" in one.leases.failing)
        await server.start()
        try:
            await one.gets()
        finally:
            await server.kill()


async def test_what_can_not_be_read_in_the_hash_stops_nothing(redis: RedisServer) -> None:
    odd = {"siblings": '{"odd": {"ends": 9e15}, "b": 7}', f"l:{PEER}": "no JSON", "since": "[]"}
    for field, value in odd.items():
        await redis.ask("HSET", "test:siblings:x", field, value)
    async with members(redis, "1", "2") as (one, two):
        await one.gets()
        await two.until(lambda: set(two.leases.siblings) == {"1"})
        await redis.ask("DEL", "test:siblings:x")
        await redis.ask("SET", "test:siblings:x", "no hash")
        await one.until(lambda: one.leases.failing)
        await redis.ask("DEL", "test:siblings:x")
        await one.until(lambda: not one.leases.failing)
        assert one.leases.holds(PEER)


async def test_an_answer_that_can_not_be_read_is_told_and_asked_for_again(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with members(redis, "1") as (one,):
        await one.gets()
        with monkeypatch.context() as patched:
            patched.setattr(module, "BEAT", "return 'no JSON'")
            await one.until(lambda: "can't be read" in one.leases.failing)
        await one.until(lambda: not one.leases.failing)


async def test_a_clock_that_goes_back_delays_nothing(redis: RedisServer) -> None:
    later = 10**15
    await redis.ask("HSET", "test:siblings:x", "since", f'{{"at": {later}}}')
    stale = f'{{"by": "gone", "boot": "gone", "ends": {later}}}'
    await redis.ask("HSET", "test:siblings:x", "l:other", stale)
    async with members(redis, "1") as (one,):
        await one.gets()


async def test_leases_are_renewed_now_and_then_and_not_at_each_beat(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEWED_SECONDS", 60.0)
    async with members(redis, "1", "2") as (one, two):
        await one.gets()
        lease = await redis.ask("HGET", "test:siblings:x", f"l:{PEER}")
        waiting = asyncio.create_task(two.gets())
        await two.until(lambda: PEER in two.leases.holders)
        assert await redis.ask("HGET", "test:siblings:x", f"l:{PEER}") == lease
        waiting.cancel()


async def test_two_servers_of_one_name_do_not_share_a_lease_and_it_is_told(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that were copied to another machine as they were."""
    monkeypatch.setattr(module, "TWIN_SECONDS", 0.1)
    async with members(redis, "1", "1") as (one, twin):
        await one.gets()
        waiting = asyncio.create_task(twin.gets())
        await twin.until(lambda: any("names itself 1" in event.text for event in twin.events.of(Notice)))
        await one.until(lambda: any("names itself 1" in event.text for event in one.events.of(Notice)))
        assert one.leases.holds(PEER)
        assert not waiting.done()
        waiting.cancel()
