"""The other servers of our operator: what is passed on, to whom, and what is known of those that have gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

import eps.channels.siblings as module
from eps.channels.siblings import PASSED_ON, Siblings, own_words
from eps.core.address import Address
from eps.core.event import PeerChanged
from eps.core.message import Asker, Request
from eps.core.names import Fingerprint, Operator
from eps.core.told import error_response
from eps.errors import EpsError, NoRoute, NotSent, OutcomeUnknown, Unreachable
from eps.grpc import codec
from eps.grpc import eps_pb2 as pb
from eps.transport.tls import PeerIdentity
from support.fakes import FakeLeases
from support.testing import Events

PIN = Fingerprint("a" * 64)
HD_1, HD_2, PROXY = Operator("hd-1"), Operator("hd-2"), Operator("public-proxy-1.ga")
PING = pb.Request(method="hd-2._ping", id="hd-2._ping(1)", clientName="public-proxy-1.ga")

PING_ANSWER = pb.Response(id=PING.id)


class FakeConnection:
    """A connection with a sibling; the test says what it answers."""

    usable, doubtful = True, False
    peer = PeerIdentity((HD_2,), PIN)

    def __init__(self) -> None:
        self.leaving: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.was_cut = False
        self.got: list[pb.Request] = []
        self.answers: Callable[[pb.Request], Awaitable[pb.Response]] = self.echo

    async def echo(self, message: pb.Request) -> pb.Response:
        return pb.Response(id=message.id)

    async def call(self, message: pb.Request, timeout: float, asker: Asker | None = None) -> pb.Response:
        self.got.append(message)
        return await self.answers(message)

    def abort(self, reason: str) -> None:
        self.end(reason)

    def end(self, reason: str = "gone", *, cut: bool = False) -> None:
        self.was_cut = cut
        if not self.closed.done():
            self.closed.set_result(reason)
            self.leave(reason)

    def leave(self, reason: str = "it takes no more") -> None:
        self.usable = False
        if not self.leaving.done():
            self.leaving.set_result(reason)

    async def drain(self, grace: float) -> None:
        self.leave("closed by us")


class Setup:
    def __init__(self) -> None:
        self.leases = FakeLeases()
        self.events = Events()
        self.siblings = Siblings(HD_2, self.leases, self.events)
        self.connections: dict[str, FakeConnection] = {}
        self.refusal: EpsError | None = None
        self.pins = {PIN}

    async def dial(self, address: str) -> FakeConnection:
        if self.refusal is not None:
            raise self.refusal
        self.connections[address] = FakeConnection()
        return self.connections[address]

    async def knows(self, *names: str) -> list[FakeConnection]:
        """Each has its name for an address, and for the process."""
        self.leases.siblings = {name: (name, name) for name in names}
        await self.until(lambda: dict(self.siblings.up) == dict.fromkeys(names, True))
        return [self.connections[name] for name in names]

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not true():
                await asyncio.sleep(0.001)

    async def here(self) -> pb.Response:
        return pb.Response(id="here")

    async def spread(self) -> str:
        return (await self.siblings.spread(PING, PROXY, self.here)).id


@pytest.fixture
async def setup(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Setup]:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    made = Setup()
    await made.siblings.start(made.dial, lambda operator: frozenset(made.pins))  # type: ignore[arg-type]  # fake connections
    yield made
    await made.siblings.close()


def fails(error: EpsError) -> Callable[[pb.Request], Awaitable[pb.Response]]:
    async def answer(message: pb.Request) -> pb.Response:
        raise error

    return answer


def tells(error: EpsError) -> Callable[[pb.Request], Awaitable[pb.Response]]:
    """The sibling's own words."""

    async def answer(message: pb.Request) -> pb.Response:
        return own_words(error_response("", error, HD_2))

    return answer


async def ask(setup: Setup, operator: Operator = HD_1) -> object:
    way = setup.siblings.way_to(operator)
    assert way is not None
    return (await way(Request(Address(operator, "f", "1"), {"x": 1}), HD_2, 5.0)).result


async def test_what_comes_down_the_only_stream_is_spread_over_all(setup: Setup) -> None:
    one, two = await setup.knows("one", "two")
    assert {await setup.spread() for _ in range(3)} == {"here", PING.id}
    assert [len(one.got), len(two.got)] == [1, 1]
    assert {message.clientName for message in one.got + two.got} == {"public-proxy-1.ga"}
    slow: asyncio.Future[pb.Response] = asyncio.get_running_loop().create_future()

    async def answer(message: pb.Request) -> pb.Response:
        return await slow

    one.answers = two.answers = answer
    calls = [asyncio.create_task(setup.spread()) for _ in range(3)]
    await setup.until(lambda: len(one.got) + len(two.got) == 4)
    assert await setup.spread() == "here"  # the one with nothing in hand
    slow.set_result(pb.Response(id="late"))
    assert sorted(await asyncio.gather(*calls)) == ["here", "late", "late"]


async def test_what_a_sibling_certainly_has_not_run_is_done_here_and_nothing_else(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PUT_OFF_SECONDS", 0.0)
    (one,) = await setup.knows("one")
    one.answers = fails(NotSent("gone"))
    assert [await setup.spread() for _ in range(2)] == ["here", "here"]
    assert len(one.got) == 1
    one.answers = fails(OutcomeUnknown("gone"))
    answers = [await setup.siblings.spread(PING, PROXY, setup.here) for _ in range(2)]
    (told,) = [codec.decode_response(answer, "").error for answer in answers if answer.id == PING.id]
    assert told is not None
    assert told.data["outcome"] == "unknown"


async def test_while_we_stop_siblings_get_it_all(setup: Setup) -> None:
    with pytest.raises(NotSent, match="is stopping"):
        await setup.siblings.spread(PING, PROXY, None)
    (one,) = await setup.knows("one")
    for _ in range(2):
        assert (await setup.siblings.spread(PING, PROXY, None)).id == PING.id
    one.answers = fails(NotSent("gone, too"))
    with pytest.raises(NotSent, match="gone, too"):
        await setup.siblings.spread(PING, PROXY, None)


async def test_an_operator_is_asked_for_at_each_until_one_has_its_stream(setup: Setup) -> None:
    assert setup.siblings.way_to(HD_1) is None
    one, two = await setup.knows("one", "two")
    assert setup.siblings.way_to(HD_2) is None
    one.answers = tells(NoRoute("it holds no stream to me"))
    assert [await ask(setup) for _ in range(4)] == [{}] * 4
    assert len(two.got) == 4
    two.answers = tells(OutcomeUnknown("it broke off"))
    with pytest.raises(OutcomeUnknown, match="it broke off"):
        await ask(setup)
    two.answers = tells(NoRoute("nor to me"))
    with pytest.raises(NotSent, match="me"):
        await ask(setup)


@pytest.mark.parametrize("teller", [HD_1, HD_2], ids=["as itself", "as us"])
async def test_what_the_operator_itself_answers_is_its_answer_whoever_it_says_has_told_it(
    setup: Setup, teller: str
) -> None:
    """Its application, or its server, may claim that our sibling has not sent the call: that one has."""
    (one,) = await setup.knows("one")

    async def answer(message: pb.Request) -> pb.Response:
        return codec.encode_response(error_response("", NotSent("believe me"), teller), message.id)

    one.answers = answer
    way = setup.siblings.way_to(HD_1)
    assert way is not None
    told = await way(Request(Address(HD_1, "f", "1"), {}), HD_2, 5.0)
    assert told.error is not None
    assert len(one.got) == 1
    assert (await setup.siblings.spread(PING, PROXY, None)).id == PING.id


async def test_who_refuses_at_once_does_not_get_all(setup: Setup) -> None:
    (one,) = await setup.knows("one")
    one.answers = tells(NotSent("its application is away"))
    assert [await setup.spread() for _ in range(20)] == ["here"] * 20
    assert len(one.got) == 1


async def test_the_deadline_counts_once_for_all(setup: Setup) -> None:
    made = await setup.knows("one", "two", "three")
    given: list[float] = []

    class Slow(FakeConnection):
        async def call(self, message: pb.Request, timeout: float, asker: Asker | None = None) -> pb.Response:
            given.append(timeout)
            await asyncio.sleep(0.05)
            raise NotSent("no room")

    for one in made:
        one.call = Slow.call.__get__(one)  # type: ignore[method-assign]  # a fake connection
    with pytest.raises(NotSent):
        await ask(setup)
    assert given[0] > given[1] + 0.04 > given[2] + 0.08


async def test_one_whose_certificate_is_withdrawn_gets_nothing_from_that_moment(setup: Setup) -> None:
    (one,) = await setup.knows("one")
    setup.pins.clear()
    assert setup.siblings.way_to(HD_1) is None
    assert [await setup.spread() for _ in range(3)] == ["here"] * 3
    await setup.until(one.closed.done)
    assert one.got == []


async def test_with_another_certificate_of_ours_all_are_dialled_anew(setup: Setup) -> None:
    (one,) = await setup.knows("one")
    setup.siblings.renew()
    await setup.until(lambda: setup.connections["one"] is not one)
    await setup.until(lambda: dict(setup.siblings.up) == {"one": True})
    assert not one.closed.done()
    assert setup.leases.died == []


async def test_what_siblings_are_at_for_us_is_waited_for(setup: Setup) -> None:
    (one,) = await setup.knows("one")
    slow: asyncio.Future[pb.Response] = asyncio.get_running_loop().create_future()

    async def answer(message: pb.Request) -> pb.Response:
        return await slow

    one.answers = answer
    call = asyncio.create_task(setup.siblings.spread(PING, PROXY, None))
    await setup.until(lambda: setup.siblings.passing.running)
    assert await setup.siblings.passing.settled(0.01) == 1
    slow.set_result(PING_ANSWER)
    assert await setup.siblings.passing.settled(30) == 0
    assert (await call).id == PING.id


async def test_with_all_gone_meanwhile_there_is_no_way(setup: Setup) -> None:
    (one,) = await setup.knows("one")
    way = setup.siblings.way_to(HD_1)
    assert way is not None
    one.usable = False
    with pytest.raises(NoRoute, match="no stream to any server"):
        await way(Request(Address(HD_1, "f", "1"), {}), HD_2, 5.0)


async def test_what_was_passed_on_is_passed_on_no_further(setup: Setup) -> None:
    (one,) = await setup.knows("one")
    PASSED_ON.set(True)
    assert setup.siblings.way_to(HD_1) is None
    assert not setup.siblings.through(PROXY)
    assert setup.siblings.leave(PROXY) == 0
    assert one.got == []


async def test_all_are_asked_to_renew_what_a_proxy_has_brokered(setup: Setup) -> None:
    assert not setup.siblings.through(PROXY)
    one, two = await setup.knows("one", "two")
    two.answers = fails(NotSent("gone"))
    assert setup.siblings.through(PROXY)
    setup.siblings.leave(PROXY)
    await setup.until(lambda: one.got and two.got)
    assert (one.got[0].method, one.got[0].clientName) == ("hd-2._renewConnections", PROXY)


def refused() -> Unreachable:
    error = Unreachable("refused")
    error.__cause__ = ConnectionRefusedError()
    return error


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "said goodbye"])
async def test_one_that_broke_off_and_listens_no_more_is_dead_and_one_that_said_goodbye_is_not(
    setup: Setup, cut: bool
) -> None:
    (one,) = await setup.knows("one")
    setup.refusal = refused()
    one.end(cut=cut)
    await setup.until(lambda: len(setup.events.of(PeerChanged)) == 2)
    setup.leases.siblings = {}
    await setup.until(lambda: not setup.siblings.up)
    assert setup.leases.died == (["one"] if cut else [])


async def test_silence_is_no_death_and_one_that_comes_back_is_found(setup: Setup) -> None:
    (one,) = await setup.knows("one")
    setup.refusal = Unreachable("no answer within 10 s")
    one.end(cut=True)
    await setup.until(lambda: setup.siblings.up == {"one": False})
    setup.refusal = None
    await setup.until(lambda: setup.siblings.up == {"one": True})
    assert setup.leases.died == []


async def test_a_sibling_without_an_address_is_left_alone(setup: Setup) -> None:
    setup.leases.siblings = {"mute": ("", "mute")}
    await asyncio.sleep(0.01)
    assert setup.connections == {}
    await setup.knows("one")
