"""Operators that hold a stream to us."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from eps.channels.absences import Absences
from eps.channels.connected import MAX_INSTANCES, MAX_WAITING, Connected, ConnectedStream
from eps.channels.held_streams import announcement
from eps.core.event import Level, PeerChanged, Refused
from eps.core.names import Fingerprint, Operator
from eps.core.trace import CURRENT, Trace, trace_of
from eps.core.warn_rate import WARN_SECONDS
from eps.errors import DeliveryError, NotSent, OutcomeUnknown
from eps.grpc import eps_pb2 as pb
from eps.grpc.streams import BESIDE_METADATA, INSTANCE_KEY, STREAM_METADATA
from eps.transport.tls import PeerIdentity
from support.testing import Events

HD_2 = Operator("hd-2")
TRACE = "1" * 32
PEER = PeerIdentity((HD_2, Operator("hd-2b")), Fingerprint("aa"))


class FakeStream:
    """The server's end of a stream; the test plays the client."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[pb.Request] = asyncio.Queue()
        self.answers: asyncio.Queue[pb.Response | None] = asyncio.Queue()
        self.client_metadata: dict[str, str] = {}
        self.reason = ""
        self.aborted = ""
        self.waiting: set[object] = set()
        self.certain = asyncio.Event()
        self.certain.set()

    @property
    def is_sure(self) -> bool:
        return self.certain.is_set()

    async def sure(self) -> None:
        await self.certain.wait()

    def expect(self, who: object) -> None:
        self.waiting.add(who)

    def expected(self, who: object) -> None:
        self.waiting.discard(who)

    async def send(self, request: pb.Request) -> None:
        if self.reason:
            raise NotSent("the stream is over")
        await self.sent.put(request)

    async def recv(self) -> pb.Response | None:
        answer = await self.answers.get()
        if answer is None:
            self.reason = self.reason or "the client ended it"
        return answer

    def abort(self, reason: str = "") -> None:
        self.aborted = self.reason = reason
        self.answers.put_nowait(None)


class Setup:
    def __init__(self) -> None:
        self.events = Events()
        self.connected = Connected(Operator("p"), self.events, Absences())
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self, name: str = "hd-2", metadata: dict[str, str] | None = None) -> FakeStream:
        stream = FakeStream()
        stream.client_metadata = metadata or {}
        seen = len(self.events.all)
        stream.answers.put_nowait(announcement(Operator(name)))
        run = self.connected.run(PEER, stream)  # type: ignore[arg-type]  # a fake stream
        self.tasks.append(asyncio.create_task(run))
        async with asyncio.timeout(30):
            while len(self.events.all) == seen:
                await asyncio.sleep(0)
        return stream

    def stream(self) -> ConnectedStream:
        stream = self.connected.get(HD_2)
        assert stream is not None
        return stream

    def call(self, request_id: str = "1", timeout: float = 5.0) -> "asyncio.Task[pb.Response]":
        request = pb.Request(method="hd-2.f", id=request_id)
        return asyncio.create_task(self.stream().call(request, timeout))


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup()
    yield made
    made.connected.close()
    await asyncio.gather(*made.tasks)


async def test_answers_are_matched_by_id_in_any_order(setup: Setup) -> None:
    stream = await setup.open()
    first, second = setup.call("1"), setup.call("2")
    assert [(await stream.sent.get()).id, (await stream.sent.get()).id] == ["1", "2"]
    stream.answers.put_nowait(pb.Response(id="unknown"))
    stream.answers.put_nowait(pb.Response(id="2"))
    assert (await second).id == "2"
    assert not first.done()
    stream.answers.put_nowait(pb.Response(id="1"))
    assert (await first).id == "1"


async def test_every_waiting_call_fails_at_once_when_the_stream_ends(setup: Setup) -> None:
    stream = await setup.open()
    calls = [setup.call(str(number)) for number in range(3)]
    for _ in calls:
        await stream.sent.get()
    stream.answers.put_nowait(None)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [OutcomeUnknown] * 3
    assert setup.connected.get(HD_2) is None


@pytest.mark.parametrize(("metadata", "words"), [(STREAM_METADATA, "within seconds"), ({}, "within a minute")])
async def test_how_soon_it_is_back_is_said_as_it_is(setup: Setup, metadata: dict[str, str], words: str) -> None:
    """Servers in use open an ended stream again within a minute, ours at once (PROTOCOL.md section 9)."""
    stream = await setup.open(metadata=metadata)
    call = setup.call()
    await stream.sent.get()
    stream.answers.put_nowait(None)
    with pytest.raises(OutcomeUnknown) as caught:
        await call
    assert words in caught.value.hint


async def test_a_newer_stream_takes_over_and_the_end_of_the_old_one_leaves_it(setup: Setup) -> None:
    old = await setup.open()
    waiting = setup.call("1")
    await old.sent.get()
    new = await setup.open()
    assert "newer stream" in old.aborted
    with pytest.raises(OutcomeUnknown):
        await waiting
    await setup.tasks[0]
    assert setup.connected.get(HD_2) is not None
    call = setup.call("2")
    assert (await new.sent.get()).id == "2"
    new.answers.put_nowait(pb.Response(id="2"))
    await call
    ups = [event.up for event in setup.events.of(PeerChanged)]
    assert ups == [True, False, True]


async def test_streams_that_take_over_without_end_fill_no_log(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    for _ in range(10):
        await setup.open()
    now[0] = WARN_SECONDS
    await setup.open()
    told = [event for event in setup.events.of(PeerChanged) if event.level is Level.INFO]
    assert [(event.up, event.left_out) for event in told] == [(True, 0), (False, 0), (False, 8), (True, 9)]


async def test_a_name_that_the_certificate_lacks_is_refused(setup: Setup) -> None:
    await setup.open("evil")
    assert setup.events.of(Refused)[0].why == "stream"
    assert setup.connected.get(Operator("evil")) is None


async def test_the_second_name_of_a_certificate_may_announce_itself(setup: Setup) -> None:
    await setup.open("hd-2b")
    assert setup.connected.get(Operator("hd-2b")) is not None


async def test_no_announcement_is_refused(setup: Setup) -> None:
    stream = FakeStream()
    stream.answers.put_nowait(None)
    await setup.connected.run(PEER, stream)  # type: ignore[arg-type]  # a fake stream
    assert setup.events.of(Refused)


async def test_silence_before_the_announcement_is_bounded(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.channels.connected.ANNOUNCE_TIMEOUT", 0.02)
    await setup.connected.run(PEER, FakeStream())  # type: ignore[arg-type]  # a fake stream
    assert setup.events.of(Refused)


async def test_a_call_without_an_answer_ends_with_its_deadline(setup: Setup) -> None:
    await setup.open()
    with pytest.raises(OutcomeUnknown, match="did not answer"):
        await setup.call(timeout=0.02)


async def test_a_call_on_a_stream_that_broke_before_was_not_sent(setup: Setup) -> None:
    stream = await setup.open()
    stream.reason = "broken"
    with pytest.raises(NotSent):
        await setup.call()


async def test_an_id_under_way_is_not_sent_twice(setup: Setup) -> None:
    stream = await setup.open()
    first = setup.call("1")
    await stream.sent.get()
    with pytest.raises(DeliveryError, match="under way"):
        await setup.call("1")
    stream.answers.put_nowait(pb.Response(id="1"))
    await first


async def test_waiting_calls_are_bounded(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_WAITING > 1
    monkeypatch.setattr("eps.channels.connected.MAX_WAITING", 1)
    stream = await setup.open()
    first = setup.call("1")
    await stream.sent.get()
    with pytest.raises(NotSent, match="waiting"):
        await setup.call("2")
    stream.answers.put_nowait(pb.Response(id="1"))
    await first


async def test_closing_ends_streams_with_a_reason(setup: Setup) -> None:
    stream = await setup.open()
    connected = setup.stream()
    setup.connected.close()
    assert "stopping" in stream.aborted
    with pytest.raises(NotSent):
        await connected.call(pb.Request(id="1"), 1.0)
    connected.end("again")  # ending twice changes nothing


async def test_an_older_stream_ends_when_all_that_went_down_is_answered_if_the_newer_one_says_so(setup: Setup) -> None:
    older = await setup.open()
    slow = setup.call("slow")
    await older.sent.get()
    newer = await setup.open(metadata={**STREAM_METADATA, **BESIDE_METADATA})
    fast = setup.call("fast")
    assert (await newer.sent.get()).id == "fast"
    assert not older.aborted
    older.answers.put_nowait(pb.Response(id="slow"))
    newer.answers.put_nowait(pb.Response(id="fast"))
    assert [(await slow).id, (await fast).id] == ["slow", "fast"]
    assert "newer stream" in older.aborted
    assert not newer.aborted


async def test_an_older_stream_without_calls_ends_at_once(setup: Setup) -> None:
    older = await setup.open()
    await setup.open(metadata={**STREAM_METADATA, **BESIDE_METADATA})
    assert "newer stream" in older.aborted


async def test_in_doubt_a_call_waits_and_is_sent_when_the_client_shows_itself(setup: Setup) -> None:
    stream = await setup.open()
    stream.certain.clear()
    call = setup.call()
    await asyncio.sleep(0.01)
    assert stream.sent.empty()
    stream.certain.set()
    assert (await stream.sent.get()).id == "1"
    assert len(stream.waiting) == 1
    stream.answers.put_nowait(pb.Response(id="1"))
    await call
    assert not stream.waiting


async def test_in_doubt_to_the_end_a_call_was_not_sent(setup: Setup) -> None:
    stream = await setup.open()
    stream.certain.clear()
    with pytest.raises(NotSent, match="still there"):
        await setup.call(timeout=0.02)
    assert stream.sent.empty()


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "in use"])
@pytest.mark.parametrize("given", [True, False], ids=["given", "made"])
async def test_only_clients_of_ours_are_told_the_trace(setup: Setup, ours: bool, given: bool) -> None:
    stream = await setup.open(metadata=STREAM_METADATA if ours else None)
    trace = Trace(TRACE, given=given)
    before = CURRENT.set(trace)
    call = setup.call()
    CURRENT.reset(before)
    sent = await stream.sent.get()
    assert trace_of(sent.traceparent) == (TRACE if ours else "")
    stream.answers.put_nowait(pb.Response(id="1", took="00000.250000"))
    await call
    assert trace.there == (0.25 if ours and given else None)
    assert trace.of_our_kind is ours


def of_instance(instance: str) -> dict[str, str]:
    return {**STREAM_METADATA, INSTANCE_KEY: instance}


async def test_the_streams_of_several_servers_of_one_operator_are_kept_beside_each_other(setup: Setup) -> None:
    """One of them, restarted, takes the place of its own stream and no other's; a call's answer comes from its own."""
    first = await setup.open(metadata=of_instance("a"))
    second = await setup.open(metadata=of_instance("b"))
    again = await setup.open(metadata=of_instance("a"))
    assert "newer stream" in first.aborted
    assert not second.aborted
    await setup.tasks[0]
    again.answers.put_nowait(None)
    await setup.tasks[2]
    call = setup.call()
    assert (await second.sent.get()).id == "1"
    second.answers.put_nowait(pb.Response(id="1"))
    await call
    second.answers.put_nowait(None)
    await setup.tasks[1]
    assert setup.connected.get(HD_2) is None
    assert [event.up for event in setup.events.of(PeerChanged)] == [True, True, False, True, False, False]


async def test_a_call_goes_to_the_server_with_the_fewest_in_hand_and_else_to_each_in_turn(setup: Setup) -> None:
    streams = {name: await setup.open(metadata=of_instance(name)) for name in "ab"}
    calls = [setup.call(str(number)) for number in range(4)]
    got = {name: [(await stream.sent.get()).id for _ in range(2)] for name, stream in streams.items()}
    assert got == {"a": ["0", "2"], "b": ["1", "3"]}
    for number in ("1", "3"):
        streams["b"].answers.put_nowait(pb.Response(id=number))
        await calls[int(number)]
    more = [setup.call(str(number)) for number in (4, 5)]
    assert [(await streams["b"].sent.get()).id for _ in range(2)] == ["4", "5"]
    for call in (calls[0], calls[2], *more):
        call.cancel()


async def test_a_server_in_doubt_or_about_to_stop_is_asked_last(setup: Setup) -> None:
    doubtful = await setup.open(metadata=of_instance("a"))
    await setup.open(metadata=of_instance("b"))
    doubtful.certain.clear()
    assert [setup.stream().instance for _ in range(2)] == ["b", "b"]
    doubtful.certain.set()
    setup.stream().is_stopping = True  # a, as the longest unused
    assert [setup.stream().instance for _ in range(2)] == ["b", "b"]


@pytest.mark.parametrize("instance", ["x" * 101, "a b", "ü", ""], ids=["long", "space", "no ASCII", "empty"])
async def test_a_server_that_names_itself_otherwise_is_its_operators_only_one(setup: Setup, instance: str) -> None:
    await setup.open(metadata=of_instance(instance))
    assert setup.stream().instance == ""


async def test_made_up_names_of_servers_are_bounded(setup: Setup) -> None:
    streams = [await setup.open(metadata=of_instance(str(number))) for number in range(MAX_INSTANCES + 2)]
    assert ["more than" in stream.aborted for stream in streams] == [True] * 2 + [False] * MAX_INSTANCES
