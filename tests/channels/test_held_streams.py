"""The streams that we hold: to whom, how they come back, and in which order answers go."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Self

import pytest

from eps.channels.absences import NEWER
from eps.channels.held_streams import MOVES, HeldStreams, Unheld
from eps.core.event import Level, Notice, PeerChanged
from eps.core.names import Fingerprint, Operator
from eps.core.trace import CURRENT, Trace, seconds_in, traceparent
from eps.errors import NotSent, Side, Unreachable
from eps.grpc import eps_pb2 as pb
from eps.grpc.connection import ClientConnection
from eps.grpc.framing import PREFIX_BYTES
from eps.grpc.streams import BESIDE_METADATA, STREAM_METADATA
from eps.grpc.struct_decoder import decode_struct
from eps.grpc.struct_encoder import encode_struct
from eps.reasons import Reason
from eps.transport.tls import PeerIdentity
from support.fakes import FakeSource, network_directory
from support.testing import Events

HD_1, PROXY = Operator("hd-1"), Operator("public-proxy-1.ga")
TRACE = "1" * 32


class FakeStream:
    """The client's end of a stream; the test plays the server."""

    def __init__(self, *, ours: bool) -> None:
        self.metadata = dict(STREAM_METADATA) if ours else {}
        self.sent: asyncio.Queue[pb.Response] = asyncio.Queue()
        self.requests: asyncio.Queue[pb.Request | None] = asyncio.Queue()
        self.reason = ""
        self.other_name = False
        self.open = False
        self.broken = False
        self.ended = asyncio.Event()
        self.readable = asyncio.Event()
        self.readable.set()

    async def __aenter__(self) -> Self:
        self.open = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.open = False

    async def server_metadata(self) -> dict[str, str]:
        return self.metadata

    async def send(self, response: pb.Response) -> None:
        if self.broken:
            raise NotSent("broken")
        await self.sent.put(response)

    async def send_framed(self, body: bytes) -> None:
        await self.readable.wait()
        await self.send(pb.Response.FromString(body[PREFIX_BYTES:]))

    async def recv(self) -> pb.Request | None:
        request = await self.requests.get()
        if request is None:
            self.reason = self.reason or "the server ended it"
        return request

    async def over(self) -> None:
        await self.ended.wait()

    def abort(self, reason: str = "aborted") -> None:
        self.ended.set()
        self.reason = reason
        self.requests.put_nowait(None)

    def ask(self, request_id: str) -> None:
        self.requests.put_nowait(pb.Request(method="hd-1.f", id=request_id))


class Setup:
    """Holds streams for hd-1, whose only target in the development network is the proxy's operator."""

    def __init__(self) -> None:
        self.source = FakeSource(network_directory())
        self.events = Events()
        self.ours = True
        self.failures: list[Exception] = []
        self.streams: list[FakeStream] = []
        self.opened: asyncio.Queue[FakeStream] = asyncio.Queue()
        self.gates: dict[str, asyncio.Event] = {}
        self.defects: set[str] = set()
        self.handled: list[str] = []
        self.traces: list[Trace | None] = []
        self.answer_size = 0
        self.tells = False
        self.connections: list[SimpleNamespace] = []
        self.held = HeldStreams(HD_1, self.source, self.connect, self.answer, self.events)

    async def connect(self, operator: Operator, timeout: float) -> ClientConnection:
        assert operator == PROXY
        if self.failures:
            raise self.failures.pop(0)
        futures = {name: asyncio.get_running_loop().create_future() for name in ("leaving", "closed")}
        peer = PeerIdentity((PROXY,), Fingerprint("aa"))
        self.connections.append(SimpleNamespace(open_stream=self.open_stream, peer=peer, opened_by="", **futures))
        return self.connections[-1]  # type: ignore[return-value]  # what HeldStreams uses of it

    def open_stream(self, metadata: dict[str, str]) -> FakeStream:
        assert metadata.items() >= STREAM_METADATA.items()
        beside = metadata.items() >= BESIDE_METADATA.items()
        assert beside == any(stream.open for stream in self.streams), "who holds two streams says so"
        assert self.ours or not beside, "servers in use know one stream of each operator"
        stream = FakeStream(ours=self.ours)
        self.streams.append(stream)
        self.opened.put_nowait(stream)
        return stream

    async def answer(self, connection: ClientConnection, request: pb.Request) -> pb.Response:
        if request.id in self.defects:
            raise ValueError("a defect")
        if request.id in self.gates:
            await self.gates[request.id].wait()
        self.handled.append(request.id)
        self.traces.append(trace := CURRENT.get())
        if trace is not None:
            trace.tells = self.tells
        return pb.Response(id=request.id, result=encode_struct({"text": "x" * self.answer_size}))

    async def next_stream(self) -> FakeStream:
        async with asyncio.timeout(30):
            stream = await self.opened.get()
            first = await stream.sent.get()
        assert (first.id, decode_struct(first.result)["name"]) == ("1", "hd-1")
        return stream


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup()
    made.held.start()
    yield made
    await made.held.close()
    assert not any(stream.open for stream in made.streams)


async def answers(stream: FakeStream, count: int) -> list[str]:
    async with asyncio.timeout(30):
        return [(await stream.sent.get()).id for _ in range(count)]


async def test_to_a_server_of_ours_a_slow_call_delays_no_other(setup: Setup) -> None:
    stream = await setup.next_stream()
    setup.gates["slow"] = asyncio.Event()
    stream.ask("slow")
    stream.ask("quick")
    assert await answers(stream, 1) == ["quick"]
    setup.gates["slow"].set()
    assert await answers(stream, 1) == ["slow"]


@pytest.mark.parametrize("tells", [True, False])
async def test_a_request_that_names_its_trace_belongs_to_it(setup: Setup, tells: bool) -> None:
    stream = await setup.next_stream()
    setup.gates["1"] = asyncio.Event()
    told = traceparent(TRACE, "2" * 16, sampled=True)
    stream.requests.put_nowait(pb.Request(method="hd-1.f", id="1", traceparent=told))
    stream.ask("2")
    assert await answers(stream, 1) == ["2"]
    assert setup.traces == [None], "who tells none has none"
    setup.tells = tells
    setup.gates["1"].set()
    async with asyncio.timeout(30):
        answer = await stream.sent.get()
    trace = setup.traces[-1]
    assert trace is not None and (trace.id, trace.given) == (TRACE, True)
    assert (seconds_in(answer.took) is not None) == tells


async def test_to_any_other_server_answers_go_in_the_order_of_the_requests(setup: Setup) -> None:
    (await setup.next_stream()).requests.put_nowait(None)
    setup.ours = False
    stream = await setup.next_stream()
    setup.gates["slow"] = asyncio.Event()
    stream.ask("slow")
    stream.ask("quick")
    await asyncio.sleep(0.02)
    assert stream.sent.empty()
    setup.gates["slow"].set()
    assert await answers(stream, 2) == ["slow", "quick"]
    await asyncio.sleep(0.02)
    assert stream.sent.empty()  # each request is answered exactly once


@pytest.mark.parametrize("ours", [True, False])
async def test_a_stream_that_breaks_is_opened_again(setup: Setup, ours: bool) -> None:
    setup.ours = ours
    (await setup.next_stream()).requests.put_nowait(None)
    stream = await setup.next_stream()
    stream.broken = True
    stream.ask("1")
    await setup.next_stream()
    downs = [event.detail for event in setup.events.of(PeerChanged) if not event.up]
    assert downs == ["the server ended it", "aborted"]


async def test_where_another_process_holds_streams_none_is_opened_in_their_place(setup: Setup) -> None:
    """It would end that one's, whose next would end ours, and so on; and calls that wait on either would be lost."""
    stream = await setup.next_stream()
    setup.held.let_go()
    stream.ask("1")
    assert await answers(stream, 1) == ["1"]
    stream.requests.put_nowait(None)
    await asyncio.sleep(0.3)
    assert len(setup.streams) == 1
    assert not setup.events.of(Notice), "that it ended is as it should be"
    setup.held.take_back()
    await setup.next_stream()


async def test_failures_are_told_once_until_they_change(setup: Setup) -> None:
    stream = await setup.next_stream()
    setup.failures = [Unreachable("refused"), Unreachable("refused"), Unreachable("no route")]
    stream.requests.put_nowait(None)
    await setup.next_stream()
    texts = [notice.text for notice in setup.events.of(Notice)]
    assert [text.rpartition(": ")[2] for text in texts] == ["the server ended it", "refused", "no route"]
    assert [(one.side, one.reason, one.peer) for one in setup.events.of(Notice)] == [
        ("peer", "broke-off", PROXY),
        ("peer", "unreachable", PROXY),
        ("peer", "unreachable", PROXY),
    ]
    assert setup.held.state == {PROXY: None}


@pytest.mark.parametrize(
    ("text", "side", "reason"),
    [
        ("the server ended it", Side.PEER, Reason.BROKE_OFF),
        (f"{PROXY} ended the stream (UNAVAILABLE: hd-1 {NEWER})", Side.PEER, Reason.SECOND_SERVER),
        (f"{PROXY} ended the stream (OK: hd-1 {NEWER}, or so)", Side.PEER, Reason.BROKE_OFF),
        (MOVES, None, None),
    ],
    ids=["ended", "newer", "odd", "moves"],
)
def test_whose_it_is_that_a_stream_ended(text: str, side: Side | None, reason: Reason | None) -> None:
    why = Unheld.ended(text, HD_1, PROXY)
    assert (why.text, why.side, why.reason) == (text, side, reason)


async def test_a_server_with_another_name_for_the_service_is_asked_again_at_once_and_once(setup: Setup) -> None:
    for _ in range(3):
        stream = await setup.next_stream()
        stream.other_name = True
        stream.requests.put_nowait(None)
    await setup.next_stream()
    # The first goes on without a word, the second is a failure like any other, the third goes on again.
    texts = [notice.text for notice in setup.events.of(Notice)]
    assert [text.rpartition(": ")[2] for text in texts] == ["the server ended it"]


async def test_the_list_follows_the_directory(setup: Setup) -> None:
    stream = await setup.next_stream()
    setup.source.current = network_directory(without=PROXY)
    async with asyncio.timeout(30):
        while stream.open:
            await asyncio.sleep(0.005)
    setup.source.current = network_directory()
    await setup.next_stream()


async def test_calls_in_flight_end_with_the_stream(setup: Setup) -> None:
    stream = await setup.next_stream()
    setup.gates["never"] = asyncio.Event()
    stream.ask("never")
    await asyncio.sleep(0)
    stream.requests.put_nowait(None)
    again = await setup.next_stream()
    again.ask("1")
    assert await answers(again, 1) == ["1"]


async def test_a_surprise_is_told_and_the_stream_is_opened_all_the_same(setup: Setup) -> None:
    setup.failures = [ValueError("what?")]
    (await setup.next_stream()).requests.put_nowait(None)
    await setup.next_stream()
    assert any("unexpected ValueError('what?')" in notice.text for notice in setup.events.of(Notice))


@pytest.mark.parametrize("ours", [True, False])
async def test_a_call_that_fails_here_is_answered_and_harms_no_other(setup: Setup, ours: bool) -> None:
    (await setup.next_stream()).requests.put_nowait(None)
    setup.ours = ours
    stream = await setup.next_stream()
    setup.defects.add("bad")
    stream.ask("bad")
    stream.ask("good")
    async with asyncio.timeout(30):
        found = {answer.id: answer for answer in [await stream.sent.get(), await stream.sent.get()]}
    assert (found["bad"].error.code, decode_struct(found["bad"].error.data)["side"]) == (-100, "ours")
    assert not found["good"].HasField("error")
    await setup.events.wait_for(Notice, lambda event: event.level is Level.ERROR)


@pytest.mark.parametrize("ours", [True, False])
async def test_a_server_that_reads_no_answers_is_asked_to_wait(
    setup: Setup, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eps.channels.held_streams.MAX_BYTES_IN_HAND", 10_000)
    (await setup.next_stream()).requests.put_nowait(None)
    setup.ours, setup.answer_size = ours, 3_000
    stream = await setup.next_stream()
    stream.readable.clear()
    numbers = [str(number) for number in range(20)]
    for number in numbers:
        stream.ask(number)
        await turns()
    assert len(setup.handled) == 4  # the fourth passes the limit, the next one is read but not handled
    assert stream.requests.qsize() == 15
    stream.readable.set()
    assert await answers(stream, 20) == numbers  # none is lost


@pytest.mark.parametrize("ours", [True, False])
async def test_answers_far_beyond_the_limit_become_errors(
    setup: Setup, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eps.channels.held_streams.MAX_UNREAD_BYTES", 10_000)
    monkeypatch.setattr("eps.channels.held_streams.MAX_CALLS", 2**30)  # so that short messages count nothing
    (await setup.next_stream()).requests.put_nowait(None)
    setup.ours, setup.answer_size = ours, 3_000
    stream = await setup.next_stream()
    stream.readable.clear()
    for number in range(5):
        stream.ask(str(number))
    await turns()
    stream.readable.set()
    async with asyncio.timeout(30):
        found = [await stream.sent.get() for _ in range(5)]
    assert [answer.HasField("error") for answer in found] == [False] * 3 + [True] * 2
    assert "bytes of answers wait to be read" in found[4].error.message


@pytest.mark.parametrize("ours", [True, False])
async def test_a_stream_that_breaks_while_calls_fill_it_is_opened_again(
    setup: Setup, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eps.channels.held_streams.MAX_CALLS", 2)
    (await setup.next_stream()).requests.put_nowait(None)
    setup.ours = ours
    stream = await setup.next_stream()
    for number in "1234":
        setup.gates[number] = asyncio.Event()
        stream.ask(number)
    await turns()
    assert stream.requests.qsize() == 1  # two are handled, one is read
    stream.abort("the connection broke")
    await setup.next_stream()


async def turns() -> None:
    """Let everything that can go on do so: nothing here waits for time or for a socket."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_next_stream_is_opened_while_the_old_one_still_answers(setup: Setup) -> None:
    old = await setup.next_stream()
    setup.gates["slow"] = asyncio.Event()
    old.ask("slow")
    setup.connections[0].leaving.set_result("it was renewed")
    new = await setup.next_stream()
    assert old.open
    new.ask("fast")
    assert await answers(new, 1) == ["fast"]
    setup.gates["slow"].set()
    assert await answers(old, 1) == ["slow"]
    old.requests.put_nowait(None)  # the server ends it, now that nothing is under way
    async with asyncio.timeout(30):
        while old.open:
            await asyncio.sleep(0)
    assert not setup.events.of(Notice)


async def test_to_a_server_in_use_the_next_stream_is_opened_when_nothing_is_under_way(setup: Setup) -> None:
    setup.ours = False
    old = await setup.next_stream()
    setup.gates["slow"] = asyncio.Event()
    old.ask("slow")
    await asyncio.sleep(0.05)
    setup.connections[0].leaving.set_result("it was renewed")
    await asyncio.sleep(0.05)
    assert old.open
    setup.gates["slow"].set()
    assert await answers(old, 1) == ["slow"]
    new = await setup.next_stream()
    assert not old.open
    assert new.open
    assert not setup.events.of(Notice)


async def test_a_connection_that_broke_is_no_renewal(setup: Setup) -> None:
    old = await setup.next_stream()
    setup.connections[0].closed.set_result("broken")
    setup.connections[0].leaving.set_result("broken")
    await asyncio.sleep(0.05)
    assert len(setup.streams) == 1
    old.requests.put_nowait(None)
    await setup.next_stream()
