"""Several EPS servers of one operator, real ones on a real Redis, among peers of ours and foreign ones."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import pytest

import eps.datastores.redis_leases as redis_leases
from eps.channels.grpc_client import GrpcClientChannel
from eps.channels.grpc_server import GrpcServerChannel
from eps.channels.held_streams import OPENING
from eps.channels.jsonrpc_server import JsonRpcServerChannel
from eps.core.event import Step
from eps.core.names import Operator
from support.foreign.messages import Request
from support.foreign.network import HD_1, HD_2, PROXY
from support.mixture import RELAY, A, B, Mixture, P, mixture
from support.ours import in_thread
from support.ports import PortBlock
from support.redis_server import DURABLE, RedisServer, needs_redis

pytestmark = [needs_redis, pytest.mark.xdist_group("redis")]

SOON = 60.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_leases, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(redis_leases, "FRESH_SECONDS", 0.5)


INSTANCES = ("a", "b")


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON):
        while not true():
            await asyncio.sleep(0.02)


class Several:
    """A mixture in which one role is played by two servers of ours, ``ROLE-a`` and ``ROLE-b``."""

    def __init__(self, mixed: Mixture, redis: RedisServer) -> None:
        self.mixed, self.redis = mixed, redis

    async def start(self, role: str, name: str) -> None:
        for instance in INSTANCES:
            await self.start_one(f"{role}-{instance}", name)

    async def start_one(self, one: str, name: str, rpc_port: int = 0) -> None:
        port = self.mixed.grpc_ports.setdefault(one, self.mixed.free.pop())
        redis = {"addresses": [self.redis.address], "password": "", "key": "test"}
        self.mixed.more[one] = {
            "siblings": {"instance": one, "address": f"127.0.0.1:{port}", "redis": redis},
            "drain_timeout": 5,
        }
        await self.mixed.run_our_eps(one, name, rpc_port)

    async def know_each_other(self, role: str) -> None:
        for instance in INSTANCES:
            other = next(f"{role}-{one}" for one in INSTANCES if one != instance)
            server = self.mixed.eps[f"{role}-{instance}"]
            await until(lambda server=server, other=other: server.status().get("siblings") == {other: True})  # type: ignore[misc]

    def tunnels(self, one: str) -> int:
        """Tunnels that this server has been asked for."""
        return sum(step.step == 4 for step in self.mixed.events[one].of(Step))

    def holds(self, one: str) -> bool:
        channel: GrpcClientChannel = self.mixed.eps[one].channel(GrpcClientChannel)
        return channel.streams.get(Operator(PROXY), OPENING) is None


@asynccontextmanager
async def several_of(folder: Path, ours: tuple[str, ...]) -> AsyncIterator[Several]:
    """Nothing but a Redis, yet; all servers end before it."""
    with closing(PortBlock()) as block:
        server = RedisServer(folder / "redis", block.numbers[0], *DURABLE)
        async with server as redis, mixture(folder, ours, starts=False) as mixed:
            yield Several(mixed, redis)


@asynccontextmanager
async def several(folder: Path, ours: tuple[str, ...]) -> AsyncIterator[Several]:
    """P, its proxy and A, each ours or foreign, and two servers of ours for B."""
    async with several_of(folder, ours) as made:
        await made.mixed.start_proxy()
        await made.mixed.run_eps(A, HD_1)
        await made.start(B, HD_2)
        await made.know_each_other(B)
        await made.mixed.settled()
        yield made


async def pinged(mixed: Mixture) -> None:
    answer = await mixed.call("hd-2._ping", {"say": 1}, "1")
    assert answer.error is None, answer
    assert answer.result["serverInfo"]["name"] == HD_2


async def test_a_server_in_use_has_one_stream_and_both_get_what_comes_down_it(tmp_path: Path) -> None:
    """A, P and the proxy are foreign, and open a tunnel for each call: both servers get their share of them."""
    async with several(tmp_path, ()) as made:
        mixed = made.mixed
        server = mixed.network.servers[PROXY].server
        assert await in_thread(server.wait_streams, HD_2, 1)
        for _ in range(4):
            await pinged(mixed)
        assert [made.tunnels(f"{B}-{instance}") for instance in INSTANCES] == [2, 2]
        holder, other = sorted((f"{B}-a", f"{B}-b"), key=made.holds, reverse=True)
        assert (made.holds(holder), made.holds(other)) == (True, False)
        await mixed.eps[holder].close()
        assert await in_thread(partial(server.wait_connected, HD_2, SOON))
        await until(lambda: made.holds(other))
        await pinged(mixed)
        assert made.tunnels(other) == 3
        assert server.ended_while_newer_was_open == []
        assert await in_thread(server.wait_streams, HD_2, 1)


async def test_who_sends_in_anothers_name_down_the_only_stream_is_told_so(tmp_path: Path) -> None:
    async with several(tmp_path, ()) as made:
        server = made.mixed.network.servers[PROXY].server
        assert await in_thread(server.wait_streams, HD_2, 1)
        for number in range(2):  # whichever of the two would be asked
            asked = Request("hd-2._ping", {}, f"hd-2._ping({number})", HD_1)
            answer = await in_thread(server.send, HD_2, asked)
            assert answer.error is not None
            assert answer.error.code == 404


async def test_redis_that_is_restarted_and_flushed_moves_no_stream(tmp_path: Path) -> None:
    async with several(tmp_path, ()) as made:
        mixed = made.mixed
        server = mixed.network.servers[PROXY].server
        assert await in_thread(server.wait_streams, HD_2, 1)
        holder = next(one for one in (f"{B}-a", f"{B}-b") if made.holds(one))
        await made.redis.kill()
        await pinged(mixed)
        await made.redis.start()
        await made.redis.ask("FLUSHALL")
        await made.redis.until(len, "KEYS", "*")
        both = [f"{B}-a".encode(), f"{B}-b".encode()]
        await made.redis.until(
            lambda known: known and all(one in known for one in both), "HGET", f"test:siblings:{HD_2}", "siblings"
        )
        assert made.holds(holder)
        assert server.ended_while_newer_was_open == []
        await pinged(mixed)


async def test_a_server_of_ours_has_a_stream_of_each(tmp_path: Path) -> None:
    async with several(tmp_path, (A, P, RELAY)) as made:
        await until(lambda: all(made.holds(f"{B}-{instance}") for instance in INSTANCES))
        await pinged(made.mixed)
        asked = {one: made.tunnels(f"{B}-{one}") for one in INSTANCES}
        assert sum(asked.values()) == 1
        used = next(one for one in INSTANCES if asked[one])
        await made.mixed.eps[f"{B}-{used}"].close()
        await pinged(made.mixed)
        assert [made.tunnels(f"{B}-{one}") for one in INSTANCES if one != used] == [1]


async def test_an_operator_that_holds_its_stream_to_a_sibling_is_reached_through_it(tmp_path: Path) -> None:
    """Two servers of the proxy's operator: hd-2 is connected to one of them, and the other is asked for it."""
    async with several_of(tmp_path, (B,)) as made:
        mixed = made.mixed
        await made.start(P, PROXY)
        await made.know_each_other(P)
        await mixed.run_eps(B, HD_2)
        channels = [mixed.eps[f"{P}-{instance}"].channel(GrpcServerChannel) for instance in INSTANCES]
        await until(lambda: any(channel.way_to(Operator(HD_2)) for channel in channels))
        for instance in INSTANCES:
            port = mixed.eps[f"{P}-{instance}"].channel(JsonRpcServerChannel).port
            client = mixed.network.rpc_client(f"https://127.0.0.1:{port}/jsonrpc", PROXY, PROXY)
            answer = await in_thread(client.call, "hd-2._connectionRequest", {"channel": "none"}, "1")
            assert answer.error is not None
            assert answer.error["data"]["told_by"] == HD_2
