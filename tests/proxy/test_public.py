"""The public proxy over real sockets: A, B and the network between them are played by the test."""

import asyncio
import base64
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from eps.core.brokering import MAX_CHANNEL_CHARS, MAX_TO_BYTES
from eps.core.event import Event, Level, Refused, Step, TunnelFinished
from eps.core.jsonrpc_text import Call
from eps.core.message import Error, Response
from eps.core.names import Object, Operator
from eps.core.rendezvous import TunnelOutcome
from eps.core.trace import current_id
from eps.errors import NotSent, OutcomeUnknown
from eps.proxy.public import PublicProxy, source_of
from eps.proxy.relay_limits import RelayLimits
from eps.reasons import TABLE, Reason
from eps.transport.dial import connect
from eps.transport.sockets import patience
from support.sockets import fill, recv, recv_all, recv_exactly, reset, send, tcp_pair

ENDPOINT = "relay.example:9999"
ENTRY: Object = {"name": "hd-1", "channels": [], "groups": None, "extra": {"kept": 1}}
PARAMS: Object = {"to": "hd-2", "channel": "grpc_server", "_client": {"name": "hd-1", "entry": ENTRY, "more": 1}}


class Stage:
    """A proxy that listens, and what it has said so far."""

    def __init__(self, **options: Any) -> None:
        self.events: list[Event] = []
        self.asked: list[tuple[str, Object, float]] = []
        self.traced: list[str] = []
        self.answer: Callable[[Object], Awaitable[Response]] = self.says_ok
        self._sockets: list[socket.socket] = []
        self._news = asyncio.Event()
        limits = RelayLimits(**({"accept_timeout": 5.0, "idle_timeout": 60.0} | options))
        self.proxy = PublicProxy(
            Operator("public-proxy-1.ga"),
            self._call_network,
            internal_bind_address="localhost:0",
            internal_endpoint=ENDPOINT,
            emit=self._emit,
            limits=limits,
        )

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def _call_network(self, method: str, params: Object, timeout: float) -> Response:
        self.asked.append((method, params, timeout))
        self.traced.append(current_id())
        return await self.answer(params)

    async def says_ok(self, params: Object) -> Response:
        return Response("x", {})

    async def request(self, params: Object = PARAMS, call_id: str = "n:7") -> Response:
        """Step 2, as our EPS server passes it on."""
        return await self.proxy.handle(Call("requestConnection", params, call_id))

    async def offered(self) -> tuple[bytes, bytes]:
        """B's and A's token of a request that went well."""
        result = (await self.request()).result
        return base64.b64decode(self.asked[-1][1]["token"], validate=True), base64.b64decode(result["token"])

    async def dial(self, data: bytes = b"") -> socket.socket:
        sock = await connect(f"localhost:{self.proxy.addresses[0][1]}", 5)
        self._sockets.append(sock)
        await send(sock, data)
        return sock

    async def until(self, kind: type[Event], count: int = 1) -> list[Any]:
        """Wait for ``count`` events of a kind."""
        async with asyncio.timeout(30):
            while len(found := [event for event in self.events if isinstance(event, kind)]) < count:
                self._news.clear()
                await self._news.wait()
        return found

    async def outcomes(self, count: int = 1) -> list[str]:
        return [event.outcome for event in await self.until(TunnelFinished, count)]

    def steps(self) -> list[int]:
        return [event.step for event in self.events if isinstance(event, Step)]

    async def close(self) -> None:
        await self.proxy.close()
        for sock in self._sockets:
            sock.close()


@asynccontextmanager
async def a_stage(**options: Any) -> AsyncIterator[Stage]:
    stage = Stage(**options)
    await stage.proxy.start()
    try:
        yield stage
    finally:
        await stage.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with a_stage() as stage:
        yield stage


async def test_steps_have_the_trace_of_the_call_that_asks() -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with a_stage(tells_durations=False) as stage:
        call_id = f"public-proxy-1.ga.requestConnection({trace}-00f067aa0ba902b7)"
        answer = await asyncio.create_task(stage.request(call_id=call_id))  # as a server runs each in a task of its own
        assert set(answer.result) == {"token", "endpoint"}, "the setting says to tell nothing"
        assert stage.traced == [trace], "what asks for the call's sake has the call's trace"
        await stage.request()
        assert stage.traced == [trace, ""], "another id tells none"
        assert [event.trace for event in stage.events if isinstance(event, Step)] == [trace, ""]


async def test_the_six_steps(stage: Stage) -> None:
    b: list[socket.socket] = []

    async def b_connects_and_answers(params: Object) -> Response:
        b.append(await stage.dial(base64.b64decode(params["token"], validate=True)))
        return Response("x", {})

    stage.answer = b_connects_and_answers
    answer = await stage.request()
    assert answer.id == "n:7"
    assert answer.error is None
    assert set(answer.result) == {"token", "endpoint", "durations"}
    assert 0 <= answer.result["durations"]["asked"] < 60
    assert answer.result["endpoint"] == ENDPOINT

    ((method, params, timeout),) = stage.asked
    assert (method, timeout) == ("hd-2._connectionRequest", 3.0)
    assert params.pop("token") != answer.result["token"], "each side has its own"
    assert params == {
        "endpoint": ENDPOINT,
        "client": {"name": "hd-1", "entry": ENTRY},
        "channel": "grpc_server",
    }

    a = await stage.dial(base64.b64decode(answer.result["token"], validate=True) + b"first bytes")
    assert await recv_exactly(b[0], 11) == b"first bytes"
    await send(b[0], b"answer")
    assert await recv_exactly(a, 6) == b"answer"
    assert stage.steps() == [3, 4, 6]
    assert stage.proxy.tunnels == 1
    assert stage.proxy.waiting == 0
    steps = [event for event in stage.events if isinstance(event, Step)]
    assert {step.operator for step in steps} == {"public-proxy-1.ga"}
    assert [step.peer for step in steps] == ["hd-2", "hd-2", "hd-1"]

    a.close()
    assert await recv(b[0]) == b""
    b[0].close()
    (end,) = await stage.until(TunnelFinished)
    assert (end.outcome, end.caller, end.callee, end.first_bytes, end.second_bytes) == (
        *("finished", "hd-1", "hd-2"),
        *(6, 11),
    )
    assert stage.proxy.tunnels == 0


async def test_a_may_come_before_b(stage: Stage) -> None:
    first, second = await stage.offered()
    a = await stage.dial(second + b"early bytes")
    b = await stage.dial(first)
    assert await recv_exactly(b, 11) == b"early bytes"
    await send(b, b"!")
    assert await recv_exactly(a, 1) == b"!"
    assert stage.steps() == [3, 4, 6]


async def test_a_token_in_any_number_of_segments(stage: Stage) -> None:
    first, second = await stage.offered()
    b = await stage.dial()
    for byte in first:
        await send(b, bytes([byte]))
        await asyncio.sleep(0)
    a = await stage.dial(second[:5])
    await send(a, second[5:] + b"behind")
    assert await recv_exactly(b, 6) == b"behind"


async def test_bs_error_is_passed_on_unchanged(stage: Stage) -> None:
    error = Error(403, "no, thank you", {"stage": "permission", "x": [1]})

    async def refuses(params: Object) -> Response:
        return Response("x", error=error)

    stage.answer = refuses
    assert await stage.request() == Response("n:7", error=error)
    assert await stage.outcomes() == [TunnelOutcome.REQUEST_FAILED]
    assert stage.proxy.waiting == 0


async def test_a_failed_request_closes_the_half_that_waits(stage: Stage) -> None:
    b: list[socket.socket] = []

    async def connects_and_refuses(params: Object) -> Response:
        b.append(await stage.dial(base64.b64decode(params["token"])))
        await stage.until(Step, 2)
        return Response("x", error=Error(500, "changed my mind"))

    stage.answer = connects_and_refuses
    assert (await stage.request()).error == Error(500, "changed my mind")
    assert await recv(b[0]) == b""
    assert await stage.outcomes() == [TunnelOutcome.REQUEST_FAILED]


async def test_a_network_that_does_not_answer(stage: Stage) -> None:
    async def fails(params: Object) -> Response:
        raise NotSent("the EPS server at localhost:5544 is down", hint="start it")

    stage.answer = fails
    answer = await stage.request()
    assert answer.error is not None
    assert answer.error.message == "public-proxy-1.ga reports: the EPS server of the proxy is not reached"
    assert answer.error.data == {
        "stage": "relay",
        "side": "proxy",
        "outcome": "not_sent",
        "reason": "proxy-unreachable",
        "hint": TABLE[Reason.PROXY_UNREACHABLE].do,
        "told_by": "public-proxy-1.ga",
    }
    assert await stage.outcomes() == [TunnelOutcome.REQUEST_FAILED]
    (ended,) = [event for event in stage.events if isinstance(event, TunnelFinished)]
    assert "could not ask hd-2 for a connection: the EPS server at localhost:5544 is down" in ended.message()
    assert ended.message().endswith("[proxy-unreachable, id n:7]")


async def test_a_caller_that_hangs_up(stage: Stage) -> None:
    async def never(params: Object) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    stage.answer = never
    request = asyncio.create_task(stage.request())
    await stage.until(Step)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert await stage.outcomes() == [TunnelOutcome.REQUEST_FAILED]
    await comes_in_vain(stage, "its caller had gone")


async def test_a_callee_that_comes_though_its_answer_was_an_error(stage: Stage) -> None:
    async def refuses(params: Object) -> Response:
        return Response("x", error=Error(500, "no"))

    stage.answer = refuses
    assert (await stage.request()).error is not None
    await comes_in_vain(stage, "the request had failed")


async def comes_in_vain(stage: Stage, why: str) -> None:
    """The callee shows its token, in its time: nobody calls that late."""
    await stage.dial(base64.b64decode(stage.asked[-1][1]["token"], validate=True))
    (refused,) = await stage.until(Refused)
    assert re.fullmatch(rf"hd-2 came \d+\.\d s after it was asked to meet hd-1, in vain: {why}", refused.detail)


async def test_a_callee_that_came_in_time_and_shows_its_token_again_is_not_late() -> None:
    async with a_stage(accept_timeout=1.5) as stage:
        first, _ = await stage.offered()
        assert await recv(await stage.dial(first)) == b""
        assert await stage.outcomes() == [TunnelOutcome.LONELY_FIRST]
        await stage.dial(first)
        (refused,) = await stage.until(Refused)
        assert refused.detail == "its token is unknown, used or expired"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"to": None}, "to"),
        ({"to": ""}, "to"),
        ({"to": 7}, "to"),
        ({"to": "é" * (MAX_TO_BYTES // 2 + 1)}, "to"),
        ({"channel": None}, "channel"),
        ({"channel": ""}, "channel"),
        ({"channel": "x" * (MAX_CHANNEL_CHARS + 1)}, "channel"),
        ({"_client": None}, "_client"),
        ({"_client": {"entry": ENTRY}}, "_client.name"),
        ({"_client": {"name": "", "entry": ENTRY}}, "_client.name"),
        ({"_client": {"name": "hd-1"}}, "_client.entry"),
        ({"_client": {"name": "hd-1", "entry": {"channels": []}}}, "_client.entry.name"),
        ({"_client": {"name": "hd-1", "entry": {"name": "hd-1", "channels": None}}}, "_client.entry.channels"),
    ],
)
async def test_bad_params_name_the_place(stage: Stage, change: Object, place: str) -> None:
    answer = await stage.request(PARAMS | change)
    assert answer.error is not None
    assert answer.error.code == -32602
    assert answer.error.message.startswith(f"{place}: ")
    assert stage.asked == []
    assert stage.proxy.waiting == 0


@pytest.mark.parametrize("method", ["", "announceConnections", "RequestConnection"])
async def test_unknown_methods(stage: Stage, method: str) -> None:
    answer = await stage.proxy.handle(Call(method, PARAMS, "1"))
    assert answer.error is not None
    assert answer.error.code == -32601


async def test_an_unknown_token_is_closed(stage: Stage) -> None:
    stranger = await stage.dial(bytes(32))
    assert await recv(stranger) == b""
    (refused,) = await stage.until(Refused)
    assert (refused.why, refused.listener, refused.level) == ("token", "relay", Level.WARN)
    assert bytes(32).hex() not in repr(stage.events)
    assert await stage.outcomes() == [TunnelOutcome.REFUSED_TOKEN]


async def test_a_flood_of_strangers_does_not_fill_the_log(stage: Stage) -> None:
    for _ in range(20):
        assert await recv(await stage.dial(bytes(32))) == b""
    refusals = await stage.until(Refused, 20)
    assert sum(refused.level is Level.WARN for refused in refusals) < 5
    assert await stage.outcomes(20) == [TunnelOutcome.REFUSED_TOKEN] * 20


async def test_a_token_is_good_for_one_connection(stage: Stage) -> None:
    first, second = await stage.offered()
    b = await stage.dial(first)
    await stage.until(Step, 2)
    assert await recv(await stage.dial(first)) == b""
    a = await stage.dial(second)
    await send(a, b"!")
    assert await recv_exactly(b, 1) == b"!"
    assert await recv(await stage.dial(second)) == b""


@pytest.mark.parametrize(("sent", "level"), [(b"", Level.DEBUG), (b"x" * 31, Level.WARN)])
async def test_a_connection_that_ends_before_its_token(stage: Stage, sent: bytes, level: Level) -> None:
    (await stage.dial(sent)).close()
    (refused,) = await stage.until(Refused)
    assert (refused.why, refused.level, refused.detail) == ("no_token", level, f"{len(sent)} of 32 bytes came")
    assert await stage.outcomes() == [TunnelOutcome.NO_TOKEN]


async def test_a_connection_that_is_reset_before_its_token(stage: Stage) -> None:
    reset(await stage.dial(b"x"))
    assert await stage.outcomes() == [TunnelOutcome.NO_TOKEN]


async def test_a_connection_that_stays_silent() -> None:
    async with a_stage(accept_timeout=0.05) as stage:
        assert await recv(await stage.dial(b"half")) == b""
        assert await stage.outcomes() == [TunnelOutcome.NO_TOKEN]


@pytest.mark.parametrize(
    ("who", "outcome"),
    [(None, TunnelOutcome.UNUSED), (0, TunnelOutcome.LONELY_FIRST), (1, TunnelOutcome.LONELY_SECOND)],
)
async def test_a_side_that_never_comes(who: int | None, outcome: TunnelOutcome) -> None:
    async with a_stage(accept_timeout=0.2 if who is None else 1.5) as stage:
        tokens = await stage.offered()
        if who is not None:
            lonely = await stage.dial(tokens[who])
            assert await recv(lonely) == b""
        assert await stage.outcomes() == [outcome]
        assert stage.proxy.waiting == 0
        assert await recv(await stage.dial(tokens[1 - (who or 0)])) == b"", "the other token died with it"
        ended = (await stage.until(TunnelFinished))[0]
        (refused,) = await stage.until(Refused)
        assert (ended.reason == "token-late") is (who != 0), "the callee was there"
        late = r"hd-2 came too late: \d+\.\d s after it was asked to meet hd-1"
        assert (re.fullmatch(late, refused.detail) is not None) is (who == 1), refused.detail
        if who != 0:
            assert ended.call_id == "n:7"
            assert f"hd-2 came too late: {stage.proxy.limits.accept_timeout:g} s after it was asked" in ended.detail


async def test_each_offer_expires_in_its_time() -> None:
    async with a_stage(accept_timeout=0.1) as stage:
        await stage.offered()
        await asyncio.sleep(0.05)  # what is tested is time that passes
        await stage.offered()
        assert await stage.outcomes(2) == [TunnelOutcome.UNUSED] * 2
        await stage.offered()
        assert await stage.outcomes(3) == [TunnelOutcome.UNUSED] * 3


async def test_an_idle_tunnel_is_closed() -> None:
    async with a_stage(idle_timeout=0.05) as stage:
        first, second = await stage.offered()
        a, b = await stage.dial(second), await stage.dial(first)
        assert await recv(a) == b""
        assert await recv(b) == b""
        assert await stage.outcomes() == [TunnelOutcome.IDLE]


async def test_tunnels_are_bounded() -> None:
    async with a_stage(max_tunnels=2) as stage:
        first, second = await stage.offered()
        await stage.dial(first)
        await stage.dial(second)
        await stage.until(Step, 3)
        await stage.offered()
        answer = await stage.request()
        assert answer.error is not None
        assert "has 2 connections, as many as it can hold" in answer.error.message
        (refused,) = await stage.until(Refused)
        assert (refused.listener, refused.why, refused.source) == ("relay", "proxy-full", "hd-1")
        assert answer.error.data["outcome"] == "not_sent"


@pytest.mark.usefixtures("impatient")
async def test_of_those_that_read_nothing_the_longest_gives_way_where_places_are_scarce() -> None:
    async with a_stage(max_tunnels=3, accept_timeout=60.0) as stage:
        theirs = []
        for count in range(1, 4):
            first, second = await stage.offered()
            theirs.append(await stage.dial(first))
            await stage.dial(second)
            await stage.until(Step, 3 * count)
        relays = list(stage.proxy.relays)
        assert (await stage.request()).error is not None, "nobody is paused yet"
        for relay, sock in zip(relays[:2], theirs, strict=False):
            async with asyncio.timeout(60):
                while relay.unread <= patience():
                    fill(sock)
                    await asyncio.sleep(0.1)
        for left in (relays[1:], relays[2:]):
            assert (await stage.request()).error is None
            assert list(stage.proxy.relays) == left
        refused = (await stage.request()).error
        assert refused is not None and "as many as it can hold" in refused.message
        assert await stage.outcomes(2) == [TunnelOutcome.IDLE] * 2


async def test_silent_connections_give_way_to_new_ones() -> None:
    async with a_stage(max_arriving=2) as stage:
        first, second = await stage.offered()
        silent = [await stage.dial() for _ in range(2)]
        b = await stage.dial(first)
        assert await recv(silent[0]) == b""
        a = await stage.dial(second)
        await send(a, b"!")
        assert await recv_exactly(b, 1) == b"!"


async def test_closing_ends_everything() -> None:
    async with a_stage() as stage:
        first, second = await stage.offered()
        joined = [await stage.dial(first), await stage.dial(second)]
        await stage.until(Step, 3)
        lonely = await stage.dial((await stage.offered())[0])
        await stage.until(Step, 5)
        arriving = await stage.dial(b"x")
        await send(joined[0], b"!")
        await recv_exactly(joined[1], 1)

        await stage.proxy.close()
        for sock in (*joined, lonely, arriving):
            assert await read_to_the_end(sock) == b""
        assert sorted(await stage.outcomes(2))[-2:] == ["stopped", "stopped"]
        answer = await stage.request()
        assert answer.error is not None
        assert "is stopping" in answer.error.message


async def read_to_the_end(sock: socket.socket) -> bytes:
    try:
        return await recv_all(sock)
    except ConnectionError:
        return b""


async def test_five_hundred_pairs_leave_nothing_behind(stage: Stage) -> None:
    async def pair(number: int) -> None:
        first, second = await stage.offered() if number % 2 else reversed(await stage.offered())
        one = await stage.dial(first)
        other = await stage.dial(second)
        payload = b"%d" % number
        await send(one, payload)
        assert await recv_exactly(other, len(payload)) == payload
        one.close()
        other.close()

    for begin in range(0, 500, 50):
        for number in range(begin, begin + 50):
            await pair(number)
    outcomes = await stage.outcomes(500)
    assert set(outcomes) <= {TunnelOutcome.FINISHED, TunnelOutcome.RESET}
    assert stage.proxy.tunnels == stage.proxy.waiting == 0


def test_a_source_that_is_gone() -> None:
    near, far = tcp_pair()
    reset(far)
    with near:
        near.close()
        assert source_of(near) == "a connection that is gone"


@pytest.mark.parametrize(("own_server_answers", "side"), [(True, "peer"), (False, "proxy")])
async def test_who_hangs_is_told_apart(stage: Stage, own_server_answers: bool, side: str) -> None:
    async def hangs(params: Object) -> Response:
        if "token" in params or not own_server_answers:
            raise OutcomeUnknown("no answer within 3 s", hint="it may have been executed")
        return Response("x", {})

    stage.answer = hangs
    answer = await stage.request()
    assert answer.error is not None and isinstance(answer.error.data, dict)
    assert answer.error.data["side"] == side
    assert "executed" not in answer.error.data["hint"]
    assert ("hd-2 did not answer within 3 s" in answer.error.message) is own_server_answers
    assert [(method, timeout) for method, _, timeout in stage.asked] == [
        ("hd-2._connectionRequest", 3.0),
        ("public-proxy-1.ga._ping", 1.0),
    ]


async def test_an_operator_has_a_little_less_time_than_its_token() -> None:
    assert [RelayLimits(seconds).ask_timeout for seconds in (10.0, 5.0, 3.0, 0.5)] == [8.0, 3.0, 1.5, 0.25]
