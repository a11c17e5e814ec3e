"""Streams of which there can be one for all our servers: opened and ended with a lease, but where each has one."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

import eps.channels.lone_streams as module
from eps.channels.lone_streams import ANEW, ASKED, LOST, LoneStreams
from eps.core.names import Operator
from eps.errors import NotSent
from eps.grpc.streams import SERVER_METADATA, STREAM_METADATA
from eps.transport.tasks import Tasks
from support.fakes import FakeLeases

PROXY = Operator("public-proxy-1.ga")


class FakeStream:
    """What a server says of itself, when the test lets it."""

    def __init__(self) -> None:
        self.said: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self.aborted = ""

    async def server_metadata(self) -> dict[str, str]:
        return await asyncio.shield(self.said)

    def abort(self, reason: str) -> None:
        self.aborted = reason


class Setup:
    def __init__(self) -> None:
        self.leases = FakeLeases()
        self.lone = LoneStreams(self.leases)
        self.tasks = Tasks()
        self.told: list[str] = []

    def serve(self) -> FakeStream:
        stream = FakeStream()

        async def anew() -> None:
            stream.abort(ANEW)

        self.lone.serve(PROXY, stream, self.tasks, anew)  # type: ignore[arg-type]  # a fake stream
        return stream

    async def opened(self) -> FakeStream:
        self.leases.grant(PROXY)
        await self.lone.turn(PROXY, self.told.append)
        return self.serve()

    async def known(self) -> None:
        """A server that keeps a stream of each."""
        stream = await self.opened()
        stream.said.set_result(SERVER_METADATA)
        await until(lambda: not self.lone.is_alone(PROXY))
        await self.tasks.close()
        self.lone.ended(PROXY)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.001)


@pytest.fixture
async def setup(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Setup]:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    made = Setup()
    yield made
    await made.tasks.close()


async def test_it_is_opened_when_the_lease_is_ours_and_until_then_it_is_told_why_not(setup: Setup) -> None:
    turn = asyncio.create_task(setup.lone.turn(PROXY, setup.told.append))
    await until(lambda: setup.told[-1:] == [ASKED])
    setup.leases.failing = "Redis is away"
    await until(lambda: setup.told[-1] == "Redis is away")
    setup.leases.holders = {PROXY: "hd-2-b"}
    await until(lambda: setup.told[-1] == "")
    assert not turn.done()
    setup.leases.grant(PROXY)
    await turn


async def test_it_ends_with_its_lease_and_only_then_the_next_one_is_told(setup: Setup) -> None:
    stream = await setup.opened()
    stream.said.set_result(STREAM_METADATA)
    setup.leases.take(PROXY)
    await until(lambda: stream.aborted)
    assert stream.aborted == LOST
    assert setup.leases.over == []
    setup.lone.ended(PROXY)
    assert setup.leases.over == [PROXY]


async def test_a_server_that_keeps_one_of_each_needs_no_lease_from_then_on(setup: Setup) -> None:
    await setup.known()
    assert setup.leases.let_go == [PROXY]
    await setup.lone.turn(PROXY, setup.told.append)  # at once
    again = setup.serve()
    again.said.set_result(SERVER_METADATA)
    await asyncio.sleep(0.01)
    assert again.aborted == ""


@pytest.mark.parametrize("says", [True, False], ids=["another word", "nothing"])
async def test_a_server_that_keeps_them_no_more_is_given_one_with_a_lease(
    setup: Setup, says: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KNOWN_SECONDS", 0.01)
    await setup.known()
    stream = setup.serve()
    if says:
        stream.said.set_result(STREAM_METADATA)
    await until(lambda: stream.aborted)
    assert setup.lone.is_alone(PROXY)


async def test_a_stream_that_ends_before_it_says_anything_changes_nothing(setup: Setup) -> None:
    stream = await setup.opened()
    stream.said.set_exception(NotSent("it is over"))
    await asyncio.sleep(0.01)
    assert setup.lone.is_alone(PROXY)
    assert stream.aborted == ""


async def test_where_two_have_held_one_ours_is_opened_anew(setup: Setup) -> None:
    stream = await setup.opened()
    setup.leases.again(PROXY)
    await until(lambda: stream.aborted == ANEW)
    setup.lone.ended(PROXY)
    setup.leases.again(PROXY)  # there is none now


async def test_who_is_no_more_to_have_one_costs_no_lease(setup: Setup) -> None:
    await setup.opened()
    setup.lone.leave(PROXY)
    assert setup.leases.let_go == [PROXY]
