"""Our client and our server with each other."""

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable

import h2.events
import pytest

from eps.core.event import Notice, PeerChanged, Refused
from eps.core.message import Asker
from eps.errors import DeliveryError, GivenUp, NotPermitted, NotSent, OutcomeUnknown, TooLarge
from eps.grpc import eps_pb2 as pb
from eps.grpc.pulse import PulseLimits
from eps.grpc.server import ServerStream
from eps.grpc.streams import SERVER_METADATA, STREAM_METADATA, answers_unordered
from eps.grpc.struct_decoder import decode_struct
from eps.transport.tls import PeerIdentity
from support.grpc_rig import (
    HD_1,
    Hanging,
    Held,
    Raw,
    against,
    echo,
    ping,
    pins,
    rig,
    server_limits,
    soon,
    struct,
    wire_limits,
)
from support.testing import certificates


async def test_a_call_and_its_answer() -> None:
    peers: list[PeerIdentity] = []

    async def on_call(peer: PeerIdentity, request: pb.Request) -> pb.Response:
        peers.append(peer)
        return await echo(peer, request)

    async with rig(on_call) as it:
        connection = await it.connect()
        response = await connection.call(ping(x=1), 10)
        assert response == pb.Response(id="hd-2._ping(1)", result=ping(x=1).params)
        assert peers == [PeerIdentity((HD_1,), certificates().fingerprint("hd-1"))]
        assert connection.peer == PeerIdentity((connection.operator,), certificates().fingerprint("hd-2"))
        assert [c.peer.names for c in it.endpoint.connections] == [("hd-1",)]
        assert connection.usable
        assert connection.active == 0
        assert "TLSv1.3" in connection.wire.link.describe_tls()


async def test_of_a_call_nothing_is_left_for_the_cycle_collector() -> None:
    """Which looks at times: a server that did 300 calls a second swung by 10 MiB."""
    async with rig() as it:
        connection = await it.connect()
        await connection.call(ping(x=1), 10)
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                await connection.call(ping(x=1), 10)
            await asyncio.sleep(0.01)
            assert gc.collect() < 100, "objects in circles, of a hundred calls"
        finally:
            gc.enable()


async def test_hundreds_of_calls_at_once_are_not_mixed_up() -> None:
    async with rig() as it:
        connection = await it.connect()
        answers = await soon(asyncio.gather(*[connection.call(ping(str(i), i=i), 30) for i in range(500)]), 60)
        assert [decode_struct(answer.result)["i"] for answer in answers] == list(range(500))
        assert connection.active == 0


async def test_more_calls_than_a_peer_allows_streams_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.grpc.http2.MAX_STREAMS", 3)
    running: list[int] = [0, 0]

    async def on_call(peer: PeerIdentity, request: pb.Request) -> pb.Response:
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(0)
        running[0] -= 1
        return await echo(peer, request)

    async with rig(on_call) as it:
        connection = await it.connect()
        await soon(asyncio.gather(*[connection.call(ping(str(i)), 30) for i in range(50)]))
        assert running[1] <= 3


async def test_a_call_that_finds_no_room_in_time_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.grpc.http2.MAX_STREAMS", 1)
    on_call = Held()

    async with rig(on_call) as it:
        connection = await it.connect()
        first = asyncio.create_task(connection.call(ping("1"), 30))
        while not connection.active:
            await asyncio.sleep(0)
        with pytest.raises(NotSent, match=r"hd-2 had no room for another call within 0\.05 s"):
            await connection.call(ping("2"), 0.05)
        with pytest.raises(NotSent, match="no time was left"):
            await connection.call(ping("3"), 0)
        on_call.release.set()
        await soon(first)


async def test_a_call_that_nobody_waits_for_any_more_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had to wait for room, and its caller went meanwhile."""
    monkeypatch.setattr("eps.grpc.http2.MAX_STREAMS", 1)
    on_call = Held()
    wanted = [True]

    async with rig(on_call) as it:
        connection = await it.connect()
        first = asyncio.create_task(connection.call(ping("1"), 30))
        while not connection.active:
            await asyncio.sleep(0)
        waiting = asyncio.create_task(connection.call(ping("2"), 30, Asker(lambda: wanted[0])))
        await asyncio.sleep(0)
        wanted[0] = False
        on_call.release.set()
        await soon(first)
        with pytest.raises(GivenUp, match="the caller has gone"):
            await soon(waiting)
        assert (await soon(connection.call(ping("3"), 30))).result == ping("3").params


@pytest.mark.parametrize("size", [0, 65_520, 65_536, 1_000_000, 4_194_200])
async def test_messages_of_every_size_both_ways(size: int) -> None:
    async with rig() as it:
        connection = await it.connect()
        request = ping(x="y" * size)
        assert request.ByteSize() < 4_194_304
        assert (await connection.call(request, 30)).result == request.params


async def test_many_great_messages_at_once_take_turns() -> None:
    async with rig() as it:
        connection = await it.connect()
        request = ping(x="y" * 4_000_000)
        answers = await soon(asyncio.gather(*[connection.call(request, 60) for _ in range(20)]), 60)
        assert all(answer.result == request.params for answer in answers)


async def test_a_request_over_4_mib_is_refused_here() -> None:
    async with rig() as it:
        connection = await it.connect()
        with pytest.raises(TooLarge, match="4,194,304"):
            await connection.call(ping(x="y" * 4_194_304), 10)
        assert connection.usable


async def test_an_answer_over_4_mib_is_an_error_that_names_the_size() -> None:
    async def on_call(_peer: PeerIdentity, request: pb.Request) -> pb.Response:
        return pb.Response(id=request.id, result=struct(x="y" * 5_000_000))

    async with rig(on_call) as it:
        connection = await it.connect()
        with pytest.raises(DeliveryError, match=r"RESOURCE_EXHAUSTED: the message has 5,000,\d+ bytes") as caught:
            await connection.call(ping(), 10)
        assert caught.value.outcome == "failed"


async def test_the_deadline_of_a_call_reaches_the_server_which_stops_working_on_it() -> None:
    on_call = Hanging()

    async with rig(on_call) as it:
        connection = await it.connect()
        with pytest.raises(OutcomeUnknown, match=r"hd-2 (did not answer within 0\.1 s|answered DEADLINE_EXCEEDED)"):
            await connection.call(ping(), 0.1)
        await soon(on_call.ended.wait())
        assert connection.usable


async def test_a_cancelled_call_is_cancelled_over_there() -> None:
    on_call = Hanging()

    async with rig(on_call) as it:
        connection = await it.connect()
        call = asyncio.create_task(connection.call(ping(), 30))
        await soon(on_call.started.wait())
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await soon(on_call.ended.wait())
        assert connection.active == 0


async def test_a_failing_handler_tells_the_peer_nothing_of_its_inside() -> None:
    async def on_call(_peer: PeerIdentity, _request: pb.Request) -> pb.Response:
        raise RuntimeError("the secret inside")

    async with rig(on_call) as it:
        connection = await it.connect()
        with pytest.raises(DeliveryError, match="hd-2 answered INTERNAL: internal error") as caught:
            await connection.call(ping(), 10)
        assert "secret" not in str(caught.value)
        assert any("the secret inside" in notice.text for notice in it.events.of(Notice))


async def test_an_eps_error_becomes_status_unknown_with_its_text() -> None:
    async def on_call(_peer: PeerIdentity, _request: pb.Request) -> pb.Response:
        raise NotPermitted("hd-1 may not call üpper")

    async with rig(on_call) as it:
        connection = await it.connect()
        with pytest.raises(DeliveryError, match="hd-2 answered UNKNOWN: hd-1 may not call üpper"):
            await connection.call(ping(), 10)


# -- reverse streams


async def serve_three(peer: PeerIdentity, stream: ServerStream) -> None:
    """Three requests at once; the answers may come in any order."""
    announced = await stream.recv()
    assert announced is not None
    assert decode_struct(announced.result)["name"] == peer.names[0]
    for number in range(3):
        await stream.send(pb.Request(id=str(number)))
    answers = [await stream.recv() for _ in range(3)]
    await stream.send(pb.Request(id=",".join(answer.id for answer in answers if answer is not None)))


async def test_requests_come_down_a_stream_and_answers_go_up_in_any_order() -> None:
    async with rig(on_stream=serve_three) as it:
        connection = await it.connect()
        async with connection.open_stream({"extra": "1"}) as stream:
            await stream.send(pb.Response(id="1", result=struct(name="hd-1")))
            requests = [await soon(stream.recv()) for _ in range(3)]
            for request in reversed(requests):
                assert request is not None
                await stream.send(pb.Response(id=request.id))
            last = await soon(stream.recv())
            assert last is not None
            assert last.id == "2,1,0"
            assert await soon(stream.recv()) is None
            assert stream.reason == "hd-2 ended the stream (UNAVAILABLE: ended by the server)"
            assert await soon(stream.recv()) is None
            with pytest.raises(NotSent):
                await stream.send(pb.Response(id="9"))


async def test_both_sides_say_at_once_that_they_take_answers_in_any_order() -> None:
    seen: list[dict[str, str]] = []

    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        seen.append(dict(stream.client_metadata))
        await stream.recv()

    async with rig(on_stream=on_stream) as it:
        connection = await it.connect()
        async with connection.open_stream({"extra": "1"}) as stream:
            metadata = await soon(stream.server_metadata())
            assert metadata == SERVER_METADATA
            assert answers_unordered(metadata)
        assert seen == [{**STREAM_METADATA, "extra": "1"}]
    assert not answers_unordered({})


async def test_a_stream_that_the_client_leaves_ends_at_the_server() -> None:
    ended = asyncio.get_running_loop().create_future()

    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        assert await stream.recv() is not None
        assert await stream.recv() is None
        ended.set_result(stream.reason)
        with pytest.raises(NotSent):
            await stream.send(pb.Request(id="1"))

    async with rig(on_stream=on_stream) as it:
        connection = await it.connect()
        async with connection.open_stream() as stream:
            await stream.send(pb.Response(id="1"))
            assert connection.active == 1
        assert "hd-1 broke off the stream (CANCEL)" in await soon(ended)
        assert connection.active == 0
        assert connection.usable


async def test_the_server_ends_a_stream_with_a_status_and_its_reason() -> None:
    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        await stream.recv()
        stream.abort("a newer stream was opened")
        assert await stream.recv() is None
        assert stream.reason == "a newer stream was opened"

    async with rig(on_stream=on_stream) as it:
        connection = await it.connect()
        async with connection.open_stream() as stream:
            await stream.send(pb.Response(id="1"))
            assert await soon(stream.recv()) is None
            assert stream.reason == "hd-2 ended the stream (UNAVAILABLE: a newer stream was opened)"


@pytest.mark.parametrize(
    ("error", "told"),
    [(NotPermitted("not your name"), "not your name"), (RuntimeError("secret"), "ended by the server")],
)
async def test_a_stream_handler_that_fails_ends_its_stream(error: Exception, told: str) -> None:
    async def on_stream(_peer: PeerIdentity, _stream: ServerStream) -> None:
        raise error

    async with rig(on_stream=on_stream) as it:
        connection = await it.connect()
        async with connection.open_stream() as stream:
            assert await soon(stream.recv()) is None
            assert stream.reason == f"hd-2 ended the stream (UNAVAILABLE: {told})"
        assert connection.usable


async def test_thousands_of_messages_flow_through_one_stream_both_ways() -> None:
    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        async def send() -> None:
            for number in range(3000):
                await stream.send(pb.Request(id=str(number), params=struct(x="y" * 100)))

        sending = asyncio.create_task(send())
        for number in range(3000):
            answer = await stream.recv()
            assert answer is not None
            assert answer.id == str(number)
        await sending

    async with rig(on_stream=on_stream) as it:
        connection = await it.connect()
        async with connection.open_stream() as stream:
            while (request := await soon(stream.recv(), 60)) is not None:
                await stream.send(pb.Response(id=request.id, result=request.params))
            assert "ended by the server" in stream.reason


async def test_great_messages_flow_through_one_stream() -> None:
    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        for _ in range(12):  # more than is buffered for one connection
            await stream.send(pb.Request(id="x", params=struct(x="y" * 4_000_000)))

    async with rig(on_stream=on_stream) as it:
        connection = await it.connect()
        async with connection.open_stream() as stream:
            count = 0
            while await soon(stream.recv(), 30) is not None:
                count += 1
            assert count == 12


async def test_a_receiver_that_does_not_receive_holds_the_sender_back() -> None:
    sent = 0
    blocked = asyncio.Event()

    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        nonlocal sent
        for _ in range(1000):
            try:
                async with asyncio.timeout(0.2):
                    await stream.send(pb.Request(id="x" * 1000))
            except TimeoutError:
                blocked.set()
                return
            sent += 1

    async with rig(on_stream=on_stream) as it:
        connection = await it.connect()
        async with connection.open_stream():
            await soon(blocked.wait())
            assert sent <= 66  # the 64 KiB of one stream's window


async def test_a_sender_that_gives_up_amid_a_message_does_not_spoil_the_stream() -> None:
    given_up = asyncio.Event()

    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        for number in range(3):  # the first fills the window, the second waits for it, the third has not begun
            try:
                async with asyncio.timeout(0.05):
                    await stream.send(pb.Request(id=f"{number}{'x' * 50_000}"))
            except TimeoutError:
                pass
        given_up.set()
        await stream.send(pb.Request(id="last"))
        await stream.recv()

    async with rig(on_stream=on_stream) as it:
        connection = await it.connect()
        async with connection.open_stream() as stream:
            await soon(given_up.wait())
            received = []
            while "last" not in received:
                request = await soon(stream.recv())
                assert request is not None
                received.append(request.id)
            assert received == [f"0{'x' * 50_000}", f"1{'x' * 50_000}", "last"]


async def test_a_stream_on_which_the_peer_takes_no_more_is_ended() -> None:
    """Else whoever asks and never reads could make us keep answers without end."""
    ending = asyncio.Event()

    async def on_stream(_peer: PeerIdentity, _stream: ServerStream) -> None:
        await ending.wait()

    async with rig(on_stream=on_stream) as it:
        connection = await it.connect(limits=wire_limits(stall_timeout=0.1))
        async with connection.open_stream() as stream:
            with pytest.raises(NotSent, match=r"took nothing more of a message for 0\.1 s"):
                await soon(asyncio.gather(*(stream.send(pb.Response(id="x" * 50_000)) for _ in range(3))))
            assert await soon(stream.recv()) is None
        assert connection.usable
        ending.set()


async def test_one_operator_does_not_take_all_connections() -> None:
    on_call = Held()

    async with rig(on_call, limits=server_limits(max_connections=2)) as it:
        busy, idle = await it.connect(), await it.connect()
        calling = asyncio.create_task(busy.call(ping(), 10))
        await soon(until(lambda: any(one.accepted.tasks for one in it.endpoint.connections)))
        third = await it.connect()
        assert "GOAWAY NO_ERROR" in await soon(idle.closed)  # the oldest one that nobody uses
        calling_too = asyncio.create_task(third.call(ping("2"), 10))
        await soon(until(lambda: sum(bool(one.accepted.tasks) for one in it.endpoint.connections) == 2))
        with contextlib.suppress(DeliveryError):
            await soon((await it.connect()).closed)  # up for a moment, perhaps
        assert (await it.events.wait_for(Refused)).why == "connections"
        on_call.release.set()
        await soon(asyncio.gather(calling, calling_too))
        busy.abort("the test wants it")
        await soon(until(lambda: len(it.endpoint.connections) == 1))
        assert (await (await it.connect()).call(ping("3"), 10)).id == "hd-2._ping(3)"


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_a_stream_is_used_within_its_block_only() -> None:
    async with rig() as it:
        connection = await it.connect()
        with pytest.raises(RuntimeError, match="async with"):
            await connection.open_stream().recv()


# -- ends


async def test_draining_the_client_lets_calls_finish() -> None:
    on_call = Held()

    async with rig(on_call) as it:
        connection = await it.connect()
        call = asyncio.create_task(connection.call(ping(), 30))
        while not connection.active:
            await asyncio.sleep(0)
        draining = asyncio.create_task(connection.drain(10))
        await soon(connection.leaving)
        assert not connection.usable
        with pytest.raises(NotSent, match="the connection was over: closed by us"):
            await connection.call(ping(), 5)
        on_call.release.set()
        assert (await soon(call)).id == "hd-2._ping(1)"
        await soon(draining)
        assert connection.closed.result() == "closed by us"


async def test_draining_gives_up_after_its_grace() -> None:
    async with rig(Hanging()) as it:
        connection = await it.connect()
        call = asyncio.create_task(connection.call(ping(), 30))
        while not connection.active:
            await asyncio.sleep(0)
        await soon(connection.drain(0.05))
        with pytest.raises(OutcomeUnknown, match="closed by us before the answer came"):
            await call


async def test_closing_the_server_lets_calls_finish_and_refuses_new_ones() -> None:
    on_call = Held()

    async with rig(on_call) as it:
        connection = await it.connect()
        call = asyncio.create_task(connection.call(ping(), 30))
        await soon(on_call.started.wait())
        closing = asyncio.create_task(it.endpoint.close(10))
        assert "GOAWAY NO_ERROR" in await soon(connection.leaving)
        with pytest.raises(NotSent):
            await connection.call(ping("2"), 5)
        on_call.release.set()
        assert (await soon(call)).id == "hd-2._ping(1)"
        await soon(closing)
        await soon(connection.closed)


async def test_closing_the_server_ends_what_does_not_finish() -> None:
    on_call = Hanging()

    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        await stream.recv()

    async with rig(on_call, on_stream) as it:
        connection = await it.connect()
        call = asyncio.create_task(connection.call(ping(), 30))
        async with connection.open_stream() as stream:
            await soon(stream.server_metadata())
            await soon(it.endpoint.close(0.05))
            assert await soon(stream.recv()) is None
            assert stream.reason.startswith("hd-2 ended the stream (UNAVAILABLE")
        with pytest.raises(OutcomeUnknown):
            await soon(call)
        assert on_call.ended.is_set()
        await soon(connection.closed)


async def test_a_lost_connection_fails_every_call_at_once() -> None:
    async with rig(Hanging()) as it:
        connection = await it.connect()
        calls = [asyncio.create_task(connection.call(ping(str(i)), 30)) for i in range(20)]
        while connection.active < 20:
            await asyncio.sleep(0)
        it.endpoint.connections[0].abort("test")
        for result in await soon(asyncio.gather(*calls, return_exceptions=True)):
            assert isinstance(result, OutcomeUnknown)
        assert await soon(connection.closed)
        with pytest.raises(NotSent):
            await connection.call(ping(), 5)
        with pytest.raises(NotSent):
            async with connection.open_stream():
                raise AssertionError


async def test_a_server_ends_old_connections_politely_and_their_streams_later() -> None:
    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        await stream.recv()

    async with rig(on_stream=on_stream, limits=server_limits(max_age=0.1, age_grace=0.1)) as it:
        connection = await it.connect()
        async with connection.open_stream() as stream:
            assert "GOAWAY NO_ERROR" in await soon(connection.leaving)
            assert stream.reason == ""
            assert await soon(stream.recv()) is None
        await soon(connection.closed)


async def test_a_server_ends_idle_connections() -> None:
    async with rig(limits=server_limits(idle_timeout=0.1)) as it:
        connection = await it.connect()
        assert "GOAWAY NO_ERROR" in await soon(connection.closed)


async def test_both_sides_ping_and_the_connection_lives() -> None:
    often = {"ping_interval": 0.05, "pulse": PulseLimits(slow_after=5.0)}
    async with rig(limits=server_limits(wire=often)) as it:
        connection = await it.connect(limits=wire_limits(**often))
        link = connection.wire.link
        pinged: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0.01)  # noqa: E731
        async with asyncio.timeout(30):
            while link.pulse.pinged_at < 0:
                await pinged()
        assert (await connection.call(ping(), 5)).id == "hd-2._ping(1)"


async def test_connections_come_and_go_as_events() -> None:
    async with rig() as it:
        connection = await it.connect()
        up = await it.events.wait_for(PeerChanged)
        assert (up.link, up.peer, up.up) == ("incoming", "hd-1", True)
        connection.abort("test")
        down = await it.events.wait_for(PeerChanged, lambda event: not event.up)
        assert (down.link, down.peer) == ("incoming", "hd-1")
        assert down.detail


async def test_pins_are_asked_for_each_connection() -> None:
    known = {"on": True}
    base = pins()
    async with rig(server_pins=lambda name: base(name) if known["on"] else frozenset()) as it:
        await it.connect()
        known["on"] = False
        with pytest.raises(DeliveryError, match="hd-2 closed the connection right after the TLS handshake"):
            await it.connect()


QUICK = PulseLimits(ask_after=0.05, doubt_after=0.05, dead_after=0.2, slow_after=0.4, rare_pings=0.3)


async def test_our_peers_know_each_other_by_the_first_answer() -> None:
    async with rig() as it:
        connection = await it.connect()
        assert not connection.wire.link.pulse.ours
        await connection.call(ping(), 5)
        assert connection.wire.link.pulse.ours


async def test_a_call_that_waits_for_a_living_peer_is_not_in_doubt() -> None:
    held = Held()
    async with rig(held) as it:
        connection = await it.connect(limits=wire_limits(pulse=QUICK))
        call = asyncio.create_task(connection.call(ping(), 30))
        await soon(held.started.wait())
        await asyncio.sleep(0.6)  # longer than a silent peer would live
        assert not connection.doubtful
        held.release.set()
        await soon(call)


async def test_who_says_nothing_any_more_is_doubted_then_cut() -> None:
    """New calls are refused as not sent at once; who waits has an unknown outcome in the end."""
    silent = asyncio.Event()

    async def script(raw: Raw) -> None:
        await raw.start()
        await raw.until(h2.events.RequestReceived)
        silent.set()
        await asyncio.Event().wait()

    async with against(script, limits=wire_limits(pulse=QUICK)) as connection:
        waiting = asyncio.create_task(connection.call(ping(), 30))
        await soon(silent.wait())
        async with asyncio.timeout(30):
            while not connection.doubtful:
                await asyncio.sleep(0.01)
        assert not connection.sure.done()
        with pytest.raises(NotSent, match="does not answer any more"):
            await connection.call(ping("2"), 5)
        with pytest.raises(OutcomeUnknown, match="did not answer a ping"):
            await soon(waiting)
        assert connection.sure.done()
