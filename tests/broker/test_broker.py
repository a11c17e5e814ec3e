"""Broker: who may ask what, who delivers, and what a failure says."""

import asyncio
import base64
import gc
import weakref
from datetime import UTC, datetime
from typing import Any

import pytest

from eps.broker.audited import AuditedCall
from eps.broker.broker import Broker, BrokerLimits
from eps.broker.ending import WITHHELD, ending
from eps.broker.internal_methods import InternalMethods
from eps.channels import Way
from eps.core.address import parse_address
from eps.core.audit import LineKeys
from eps.core.entries import Directory
from eps.core.event import CallFinished, Event, Level
from eps.core.message import Asker, Error, Request, Response, Unread
from eps.core.names import Operator
from eps.core.trace import CURRENT
from eps.errors import BadRequest, NoRoute, NotAudited, NotSent, OutcomeUnknown, Side, Unreachable
from eps.reasons import Reason
from support.fakes import FakeSource, RecordingTunnel, network_directory, removed_from

HD_1, HD_2, PROXY = Operator("hd-1"), Operator("hd-2"), Operator("public-proxy-1.ga")
TOKEN = base64.b64encode(bytes(range(32))).decode()


class Channel:
    """An outbound channel that leads to some operators and answers with what it got."""

    def __init__(self, *operators: str, answer: Response | Exception | None = None) -> None:
        self.operators = operators
        self.answer = answer
        self.requests: list[Request] = []
        self.timeouts: list[float] = []
        self.gate: asyncio.Event | None = None

    def way_to(self, operator: Operator) -> Way | None:
        return self.deliver if operator in self.operators else None

    async def deliver(self, request: Request, sender: Operator, timeout: float) -> Response:
        assert 0 < timeout <= 600
        self.requests.append(request)
        self.timeouts.append(timeout)
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or Response(str(request.address), {"params": request.params})


class Brokered:
    """A channel with connections through proxies."""

    def __init__(self) -> None:
        self.proxies: list[Operator] = []
        self.renewed: list[Operator] = []

    def through(self, proxy: Operator) -> bool:
        return proxy in self.proxies

    def leave(self, proxy: Operator) -> int:
        self.renewed.append(proxy)
        return self.proxies.count(proxy)


class Audit:
    """An audit log that keeps what it is told, or refuses all."""

    def __init__(self, refusal: NotAudited | None = None) -> None:
        self.refusal = refusal
        self.ends: list[tuple[set[str], CallFinished, str]] = []

    def begin(self) -> AuditedCall:
        if self.refusal is not None:
            raise self.refusal
        return AuditedCall(LineKeys(b""))

    def ended(self, call: AuditedCall, event: CallFinished, call_id: str) -> None:
        self.ends.append((set(call.macs), event, call_id))


class Setup:
    def __init__(
        self,
        *channels: Channel,
        own: Operator = HD_1,
        limits: BrokerLimits | None = None,
        audit: Audit | None = None,
    ) -> None:
        self.source = FakeSource(network_directory(op_1=[]))
        self.tunnel = RecordingTunnel()
        self.events: list[Event] = []
        self.brokered = Brokered()
        internal = InternalMethods(
            own,
            version="1.2.3",
            tunnels={"grpc_server": self.tunnel},
            now=lambda: datetime(2026, 11, 22, tzinfo=UTC),
            brokered=[self.brokered],
        )
        self.broker = Broker(own, self.source, channels, internal, emit=self.events.append, limits=limits, audit=audit)

    async def call(self, address: str, sender: Operator = HD_1, params: dict[str, Any] | None = None) -> Response:
        return await self.broker.deliver(Request(parse_address(address), params or {}), sender)


async def test_a_held_call_whose_caller_goes_is_not_tried_again() -> None:
    channel = Channel(HD_2, answer=NotSent("not now"))
    setup = Setup(channel, limits=BrokerLimits(patience=30.0))
    request = Request(parse_address("hd-2.f(1)"), {}, Asker(lambda: not channel.requests))
    async with asyncio.timeout(20):
        error = await error_of(await setup.broker.deliver(request, HD_1))
    assert "the caller has gone before its call was sent" in error.message
    assert (error.data["outcome"], error.data["side"]) == ("not_sent", "ours")
    assert len(channel.requests) == 1


async def test_each_call_has_one_line_in_the_audit_log() -> None:
    audit = Audit()
    channel = Channel(HD_2, answer=Response("x", error=Error(5, "no")))
    setup = Setup(channel, audit=audit)
    await setup.call("hd-1._ping(1)", HD_2)
    await setup.call("hd-2._ping(2)")
    await setup.call("hd-1.none(3)", HD_2)  # no right: nobody read the params
    assert [(macs, call_id) for macs, _, call_id in audit.ends] == [
        ({"key", "params", "result"}, "1"),
        ({"key", "params", "error"}, "2"),
        ({"key", "error"}, "3"),
    ]
    assert [event for _, event, _ in audit.ends] == [one for one in setup.events if isinstance(one, CallFinished)]


async def test_large_params_and_answers_are_in_it_too() -> None:
    audit = Audit()
    await Setup(Channel(HD_2), audit=audit).call("hd-2._ping(1)", params={"n": list(range(20_000))})
    assert [macs for macs, _, _ in audit.ends] == [{"key", "params", "result"}]


async def test_a_call_whose_caller_goes_has_its_line() -> None:
    audit, channel = Audit(), Channel(HD_2)
    channel.gate = asyncio.Event()
    task = asyncio.create_task(Setup(channel, audit=audit).call("hd-2._ping(1)"))
    while not channel.requests:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(macs, event.outcome) for macs, event, _ in audit.ends] == [({"key", "params"}, "caller_gone")]


async def test_without_a_line_no_call_is_begun_where_that_is_wanted() -> None:
    audit, channel = Audit(NotAudited("no room")), Channel(HD_2)
    error = await error_of(await Setup(channel, audit=audit).call("hd-2._ping(1)"))
    assert (error.data["outcome"], error.data["reason"]) == ("not_sent", "audit-failed")
    assert (channel.requests, audit.ends) == ([], [])


async def error_of(answer: Response) -> Error:
    assert answer.error is not None
    return answer.error


async def test_ping_tells_who_asked_and_who_answers() -> None:
    answer = await Setup().call("hd-1._ping(1)", HD_2, {"a": 1, "_client": {"name": "evil"}})
    assert answer.id == "hd-1._ping(1)"
    assert answer.result["version"] == "1.2.3"
    assert answer.result["timestamp"] == "2026-11-22T00:00:00Z"
    assert answer.result["params"]["a"] == 1
    assert answer.result["params"]["_client"]["name"] == "hd-2"
    assert answer.result["params"]["_client"]["entry"]["groups"] == ["health-departments"]
    assert answer.result["serverInfo"]["name"] == "hd-1"


async def test_a_caller_without_the_right_is_refused_with_the_reason() -> None:
    setup = Setup()
    answer = await setup.call("hd-1._ping(1)", PROXY)
    assert answer.error is not None
    assert answer.error.code == 403
    assert "public-proxy-1.ga may not call _ping on hd-1" in answer.error.message
    assert answer.error.data["stage"] == "permission"
    assert answer.error.data["outcome"] == "not_sent"
    event = setup.events[-1]
    assert isinstance(event, CallFinished)
    assert (event.outcome, event.code, event.direction) == ("not_sent", 403, "incoming")
    assert (event.fault, event.reason, event.call_id) == ("network", "no-permission", "1")


async def test_params_are_read_only_once_the_sender_is_known_to_have_the_right() -> None:
    read: list[bytes] = []

    async def decode(encoded: bytes) -> dict[str, Any]:
        read.append(encoded)
        if encoded == b"bad":
            raise BadRequest("params: no Struct")
        return {"a": 1}

    setup, ping = Setup(), parse_address("hd-1._ping(1)")
    for denied, sender in (
        ("hd-1._ping(1)", PROXY),
        ("public-proxy-1.ga.x(1)", HD_2),
        ("hd-1._ping(1)", Operator("nobody")),
    ):
        assert (await setup.broker.deliver(Unread(parse_address(denied), b"x", decode), sender)).error
    assert read == []
    unread = Unread(ping, b"x", decode)
    assert (await setup.broker.deliver(unread, HD_2)).result["params"]["a"] == 1
    assert read == [b"x"]
    await unread.read()
    assert read == [b"x", b""]  # what came was let go
    refused = await error_of(await setup.broker.deliver(Unread(ping, b"bad", decode), HD_2))
    assert (refused.code, refused.message) == (BadRequest.code, "params: no Struct")
    assert refused.data["outcome"] == "not_sent"


async def test_nobody_relays_through_us() -> None:
    channel = Channel("public-proxy-1.ga")
    answer = await Setup(channel).call("public-proxy-1.ga.requestConnection(1)", HD_2)
    assert answer.error is not None
    assert answer.error.code == 403
    assert channel.requests == []


async def test_an_unknown_operator_costs_one_refresh_and_is_named() -> None:
    setup = Setup()
    answer = await setup.call("hd-9.f(1)")
    assert answer.error is not None
    assert answer.error.code == 1
    assert "recipient hd-9" in answer.error.message
    assert answer.error.data["side"] == "ours"
    assert setup.source.refreshes == 1


async def test_an_operator_that_the_refresh_brings_is_called() -> None:
    channel = Channel("hd-2")
    setup = Setup(channel)
    setup.source.next = setup.source.current
    setup.source.current = network_directory(without="hd-2")
    answer = await setup.call("hd-2.f(1)")
    assert answer.error is None
    assert setup.source.refreshes == 1


async def test_without_any_directory_it_says_so() -> None:
    setup = Setup()
    setup.source.current = network_directory(empty=True)
    answer = await setup.call("hd-2.f(1)")
    assert answer.error is not None
    assert "no verified directory yet" in answer.error.message
    setup.source.refused = "the directory was confirmed 3 days ago, so nobody is trusted"
    answer = await setup.call("hd-2.f(1)")
    assert answer.error is not None
    assert answer.error.message.endswith(f"not even hd-1: {setup.source.refused}")
    assert answer.error.data["hint"].startswith("see why no service directory")
    assert answer.error.data["stage"] == "directory"


async def test_the_first_channel_that_can_delivers() -> None:
    first, second, third = Channel("hd-3"), Channel("hd-2"), Channel("hd-2")
    answer = await Setup(first, second, third).call("hd-2.f(1)", params={"x": [1]})
    assert answer.result["params"] == {"x": [1]}
    assert (len(first.requests), len(second.requests), len(third.requests)) == (0, 1, 0)


@pytest.mark.parametrize(
    ("address", "own", "words"),
    [
        ("hd-1.f(1)", HD_1, "no channel that takes calls for its own services"),
        ("hd-2.f(1)", HD_1, "no grpc_client channel that may dial it"),
        ("hd-2.f(1)", PROXY, "holds no stream to it now"),
        ("op-1.add(1)", HD_1, "no gRPC server that others may dial"),
    ],
)
async def test_no_channel_says_why(address: str, own: Operator, words: str) -> None:
    answer = await Setup(own=own).call(address, own)
    assert answer.error is not None
    assert answer.error.code == 500
    assert words in answer.error.message
    assert answer.error.data["outcome"] == "not_sent"


async def test_a_proxy_that_may_not_ask_says_so() -> None:
    """A callee that doesn't let it holds no stream to it: nobody is to look whether its server runs."""
    setup = Setup(own=PROXY)
    setup.source.current = network_directory(records=[{"name": "hd-2", "section": "services", "data": []}])
    error = await error_of(await setup.call("hd-2._connectionRequest(1)", PROXY))
    assert "hd-2 lets public-proxy-1.ga not ask it for connections" in error.message
    assert (error.data["side"], error.data["reason"]) == ("peer", "no-way")
    assert "administrators: let a group of public-proxy-1.ga call" in error.data["hint"]


async def test_who_was_removed_is_said_to_be() -> None:
    setup = Setup()
    setup.source.current = removed_from(setup.source.current, "hd-2")
    answer = await setup.call("hd-2.f(1)")
    assert answer.error is not None
    assert answer.error.message == "hd-2 was removed from the directory"
    assert (answer.error.data["reason"], answer.error.data["outcome"]) == ("operator-unknown", "not_sent")


async def test_params_for_our_own_service_carry_the_client() -> None:
    channel = Channel("hd-1")
    await Setup(channel).call("hd-1.f(1)", HD_1, {"_client": 1})
    assert channel.requests[0].params["_client"]["name"] == "hd-1"


async def test_params_for_another_operator_carry_no_client_of_ours() -> None:
    channel = Channel("hd-2")
    await Setup(channel).call("hd-2.f(1)", HD_1, {"x": 1})
    assert channel.requests[0].params == {"x": 1}


async def test_a_call_whose_caller_has_gone_is_told_of_too() -> None:
    channel = Channel(HD_2)
    channel.gate = asyncio.Event()
    setup = Setup(channel)
    call = asyncio.create_task(setup.call("hd-2.f(1)"))
    while not channel.requests:
        await asyncio.sleep(0)
    assert setup.broker.running == 1
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert call.cancelled() and setup.broker.running == 0
    (told,) = [event for event in setup.events if isinstance(event, CallFinished)]
    assert (told.direction, told.outcome, told.stage, told.fault, told.reason) == ("local", "caller_gone", "", "", "")


@pytest.mark.parametrize(
    ("own", "method", "seconds", "reason"),
    [
        (HD_2, "work", 10.5, "application-silent"),
        (HD_2, "work", 9.5, ""),
        (HD_1, "work", 10.5, ""),  # it is hd-2's that is slow, and our own application that has gone
    ],
    ids=["ours", "soon", "another's"],
)
async def test_an_application_that_never_answers_is_told_of_where_it_is(
    own: Operator, method: str, seconds: float, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its callers give up before its own server does, and their administrators can't look into its log."""
    now = 100.0
    channel = Channel(HD_2)
    channel.gate = asyncio.Event()
    setup = Setup(channel, own=own)
    monkeypatch.setattr("eps.broker.broker.time.monotonic", lambda: now)
    call = asyncio.create_task(setup.call(f"hd-2.{method}(1)", own))
    while not channel.requests:
        await asyncio.sleep(0)
    now += seconds
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    (told,) = [event for event in setup.events if isinstance(event, CallFinished)]
    assert (told.outcome, told.reason, told.stage, told.fault) == ("caller_gone", reason, "", "")
    assert (told.level, told.side) == ((Level.WARN, "ours") if reason else (Level.DEBUG, ""))
    assert ("had not answered within 10.5 s" in told.message()) == bool(reason)


async def test_two_calls_with_one_id_both_succeed_under_different_ids() -> None:
    channel = Channel("hd-2")
    channel.gate = asyncio.Event()
    setup = Setup(channel)
    both = [asyncio.create_task(setup.call("hd-2.f(1)")) for _ in range(2)]
    while len(channel.requests) < 2:
        await asyncio.sleep(0)
    channel.gate.set()
    answers = await asyncio.gather(*both)
    assert [answer.id for answer in answers] == ["hd-2.f(1)", "hd-2.f(1)"]
    ids = {str(request.address) for request in channel.requests}
    assert len(ids) == 2
    assert "hd-2.f(1)" in ids
    await setup.call("hd-2.f(1)")
    assert str(channel.requests[-1].address) == "hd-2.f(1)"


@pytest.mark.parametrize(
    ("limits", "is_free"),
    [
        (BrokerLimits(), [False, False]),
        (BrokerLimits(doubt=-1.0), [True, True]),  # the doubt is over
        (BrokerLimits(max_doubtful=1), [True, False]),  # the first is forgotten for the newer one
    ],
)
async def test_the_id_of_a_call_that_was_given_up_is_not_used_again(limits: BrokerLimits, is_free: list[bool]) -> None:
    channel = Channel("hd-2", answer=OutcomeUnknown("no answer"))
    setup = Setup(channel, limits=limits)
    for address in ("hd-2.f(1)", "hd-2.f(2)"):
        await setup.call(address)
    channel.answer = None
    for address in ("hd-2.f(1)", "hd-2.f(2)"):
        assert (await setup.call(address)).id == address
    assert [request.address.id == ids for request, ids in zip(channel.requests[2:], "12", strict=True)] == is_free


async def test_a_failed_delivery_keeps_its_outcome() -> None:
    setup = Setup(Channel("hd-2", answer=NotSent("no way", hint="walk")))
    answer = await setup.call("hd-2.f(1)")
    assert answer.error is not None
    assert answer.error.data == {
        "stage": "call",
        "side": "peer",
        "outcome": "not_sent",
        "reason": "not-sent",
        "hint": "walk",
        "told_by": "hd-1",
    }


class Params(dict[str, Any]):
    """Params that can be asked about when they are gone."""


class Failing(Channel):
    """Fails anew each time, as channels do."""

    async def deliver(self, request: Request, sender: Operator, timeout: float) -> Response:
        assert self.answer is not None
        raise type(self.answer)(*self.answer.args)  # type: ignore[misc]  # an exception's class takes its arguments


@pytest.mark.parametrize("address", ["nobody.x(1)", "hd-2.echo(1)"])
@pytest.mark.parametrize(
    "failure",
    [Unreachable("no connection"), OutcomeUnknown("no answer"), RuntimeError("a bug")],
    ids=lambda failure: type(failure).__name__,
)
async def test_of_a_failed_call_nothing_is_left_for_the_cycle_collector(failure: Exception, address: str) -> None:
    """It may be long before that looks; and params of 4 MiB may take a hundred times as much memory."""
    setup = Setup(Failing(HD_2, answer=failure), limits=BrokerLimits(patience=0.0))
    params = Params(a=1)
    remembered = weakref.ref(params)
    gc.disable()
    try:
        await error_of(await setup.broker.deliver(Request(parse_address(address), params), HD_1))
        del params
        await asyncio.sleep(0)
        assert remembered() is None
    finally:
        gc.enable()


async def test_a_defect_is_an_answer_and_not_a_traceback() -> None:
    answer = await Setup(Channel("hd-2", answer=ValueError("secret"))).call("hd-2.f(1)")
    assert answer.error is not None
    assert answer.error.code == -32603
    assert "secret" not in answer.error.message


async def test_an_error_of_the_application_is_counted_as_such() -> None:
    setup = Setup(Channel("hd-2", answer=Response("x", error=Error(77, "mine"))))
    answer = await setup.call("hd-2.f(1)")
    assert answer.error == Error(77, "mine")
    event = setup.events[-1]
    assert isinstance(event, CallFinished)
    assert (event.outcome, event.code) == ("error", 77)


async def test_directory_can_be_filtered() -> None:
    setup = Setup()

    async def names(**params: object) -> list[str]:
        answer = await setup.call("hd-1._directory(1)", params=params)
        return sorted(entry["name"] for entry in answer.result["entries"])

    assert len(await names()) == len(setup.source.current.entries)
    assert await names(operator="hd-2") == ["hd-2"]
    assert await names(group="proxy-providers") == ["public-proxy-1.ga"]
    assert await names(group="health-departments", channels=["grpc_server"]) == ["hd-1", "hd-2"]
    for bad in ({"operator": 1}, {"channels": "grpc_server"}, {"channels": [1]}):
        answer = await setup.call("hd-1._directory(1)", params=bad)
        assert answer.error is not None
        assert answer.error.code == -32602


def connection_request(**changes: object) -> dict[str, Any]:
    client = {"name": "hd-2", "entry": {"name": "hd-2", "channels": [], "groups": None}}
    params = {"endpoint": "relay:1", "client": client, "channel": "grpc_server", "token": TOKEN}
    return {key: value for key, value in {**params, **changes}.items() if value is not None}


async def test_our_proxy_may_ask_for_a_tunnel() -> None:
    setup = Setup()
    answer = await setup.call("hd-1._connectionRequest(1)", PROXY, connection_request())
    assert answer.error is None
    assert answer.result == {}
    assert setup.tunnel.asked == [("relay:1", bytes(range(32)), PROXY)]


async def test_nobody_else_may() -> None:
    setup = Setup()
    answer = await setup.call("hd-1._connectionRequest(1)", HD_1, connection_request())
    assert answer.error is not None
    assert answer.error.code == 403
    assert "names public-proxy-1.ga as hd-1's proxy" in answer.error.message
    assert setup.tunnel.asked == []


def without_a_proxy() -> Directory:
    """As it was before hd-1 was put behind its proxy."""
    return network_directory(op_1=[], hd_1=[{"type": "grpc_server", "settings": {"address": "localhost:8888"}}])


async def test_a_tunnel_that_our_directory_contradicts_makes_us_ask_for_a_newer_one() -> None:
    setup = Setup()
    setup.source.next, setup.source.current = setup.source.current, without_a_proxy()
    answer = await setup.call("hd-1._connectionRequest(1)", PROXY, connection_request())
    assert answer.error is None
    assert [via for *_, via in setup.tunnel.asked] == [PROXY]
    assert setup.source.refreshes == 1


async def test_news_that_come_a_moment_late_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.broker.second_look.SECOND_TRY_AFTER", 0.05)
    setup = Setup()
    after, setup.source.current = setup.source.current, without_a_proxy()
    asking = asyncio.create_task(setup.call("hd-1._connectionRequest(1)", PROXY, connection_request()))
    await asyncio.sleep(0.01)
    setup.source.next = after
    assert (await asking).error is None


async def test_a_stranger_who_asks_for_tunnels_again_and_again_makes_us_ask_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eps.broker.second_look.SECOND_TRY_AFTER", 0.01)
    setup = Setup()
    for _ in range(3):
        asking = [setup.call("hd-1._connectionRequest(1)", HD_2, connection_request()) for _ in range(100)]
        answers = await asyncio.gather(*asking)
        assert {answer.error and answer.error.code for answer in answers} == {403}
    assert setup.source.refreshes == 2  # one look, with its second try
    monkeypatch.setattr("eps.broker.second_look.AGAIN_AFTER", 0.0)
    await setup.call("hd-1._connectionRequest(1)", HD_2, connection_request())
    assert setup.source.refreshes == 4


async def test_our_own_application_makes_us_ask_for_nothing() -> None:
    setup = Setup()
    await setup.call("hd-1._connectionRequest(1)", HD_1, connection_request())
    assert setup.source.refreshes == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": None},
        {"endpoint": 5},
        {"channel": ""},
        {"token": "AAAA"},
        {"token": "!" * 44},
        {"token": TOKEN + "A" * 60},
        {"client": None},
        {"client": {"name": 1, "entry": {"name": "a", "channels": []}}},
        {"client": {"name": "a"}},
        {"client": {"name": "a", "entry": {"channels": []}}},
        {"client": {"name": "a", "entry": {"name": "a"}}},
    ],
)
async def test_a_malformed_request_for_a_tunnel_names_the_key(changes: dict[str, object]) -> None:
    answer = await Setup().call("hd-1._connectionRequest(1)", PROXY, connection_request(**changes))
    assert answer.error is not None
    assert answer.error.code == 1
    assert next(iter(changes)) in answer.error.message


async def test_a_channel_that_is_no_tunnel_is_404() -> None:
    answer = await Setup().call("hd-1._connectionRequest(1)", PROXY, connection_request(channel="jsonrpc_client"))
    assert answer.error is not None
    assert answer.error.code == 404


def test_how_an_ending_is_told() -> None:
    """What servers say is news for the administrator; what applications answer is not, and chooses no metric label."""
    told = {"stage": "permission", "side": "peer", "outcome": "not_sent", "hint": "ask", "told_by": HD_2}
    theirs = Error(403, "no", told)
    assert ending(None, None) == ("ok", "", "", "", "", Level.DEBUG, "", 0)
    assert ending(theirs, None, HD_2) == ("not_sent", "network", "permission", "", "no (ask)", Level.WARN, "peer", 0)
    short = Error(403, "no", {**told, "hint": "", "reason": "no-permission"})
    assert ending(short, None, HD_2)[:5] == ("not_sent", "network", "permission", "no-permission", "no")
    assert ending(Error(403, "no", {**told, "reason": "our word"}), None, HD_2).reason == ""
    for teller in ("", HD_1):
        ended = ending(theirs, None, teller)
        assert ended == ("error", "unknown", "permission", "", WITHHELD, Level.WARN, "", 0)
    nobody = {key: value for key, value in told.items() if key != "told_by"}
    assert ending(Error(403, "no", nobody), None, HD_2).fault == "unknown"
    for data in (None, {}, {"stage": "their word"}, {"stage": ["call"]}, "text"):
        ended = ending(Error(7, "x" * 1000, data), None)
        assert ended == ("error", "application", "call", "", "x" * 299 + "…", Level.DEBUG, "", 0)
    assert ending(Error(404, "no such patient", {"patient": 7}), None).level is Level.DEBUG
    failure = NoRoute("there is no way", hint="make one")
    detail = "there is no way (make one)"
    assert ending(theirs, failure) == ("not_sent", "network", "broker", "peer-off", detail, Level.WARN, "peer", 0)


@pytest.mark.parametrize(
    ("code", "data", "stage"),
    [
        (404, {}, "call"),
        (500, None, "call"),
        (403, {"stage": "permission", "side": "peer", "outcome": "failed"}, "permission"),  # as from_peer adds them
        (7, {"stage": "relay", "hint": "patient Jones"}, "relay"),
        (7, {"stage": "relay", "side": ["peer"], "outcome": "failed", "hint": "patient Jones"}, "relay"),
    ],
    ids=["404", "500", "403", "a stage", "a stage and odd words"],
)
async def test_words_that_may_be_an_application_s_are_logged_for_debugging_only(
    code: int, data: Any, stage: str
) -> None:
    """At the caller's server, which sees an answer of a server in use as it sees one of an application."""
    setup = Setup(Channel("hd-2", answer=Response("1", {}, Error(code, "patient Smith", data))))
    answer = await setup.call("hd-2.add(1)", HD_1)
    assert (await error_of(answer)).message == "patient Smith", "its caller is told"
    (finished,) = [event for event in setup.events if isinstance(event, CallFinished)]
    assert (finished.level, finished.stage, finished.code) == (Level.WARN, stage, code)
    assert (finished.outcome, finished.fault, finished.reason) == ("error", "unknown", "")
    assert "patient" not in finished.message()
    (words,) = [event for event in setup.events if "patient" in event.message()]
    assert words.level is Level.DEBUG


@pytest.mark.parametrize(
    ("of_our_kind", "told_by", "fault"),
    [
        (True, "hd-2", "network"),
        (True, "hd-3", "unknown"),  # which an application of hd-2 passes on, say
        (False, "hd-2", "unknown"),  # servers in use pass on all that their applications say
    ],
    ids=["a server", "another's", "a server in use"],
)
async def test_an_application_cannot_pass_for_the_network(of_our_kind: bool, told_by: str, fault: str) -> None:
    words = {"stage": "relay", "side": "proxy", "outcome": "not_sent", "hint": "", "reason": "no-tunnel"}

    class Answering(Channel):
        async def deliver(self, request: Request, sender: Operator, timeout: float) -> Response:
            trace = CURRENT.get()
            assert trace is not None
            trace.of_our_kind = of_our_kind
            return await super().deliver(request, sender, timeout)

    setup = Setup(Answering("hd-2", answer=Response("1", {}, Error(500, "no", {**words, "told_by": told_by}))))
    await setup.call("hd-2.add(1)", HD_1)
    (finished,) = [event for event in setup.events if isinstance(event, CallFinished)]
    assert (finished.fault, finished.reason) == (fault, "no-tunnel" if fault == "network" else "")


async def test_a_peer_that_is_refused_again_and_again_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("eps.broker.broker.time.monotonic", lambda: now)
    setup = Setup()
    for _ in range(5):
        await setup.call("hd-1._ping(1)", PROXY)
    await setup.call("hd-2.f(1)", HD_2)  # another peer
    now += 1.0
    await setup.call("hd-1._ping(1)", PROXY)
    finished = [event for event in setup.events if isinstance(event, CallFinished)]
    assert len(finished) == 7  # the metrics count them all
    assert [event.level for event in finished] == [Level.WARN, *[Level.DEBUG] * 4, Level.WARN, Level.WARN]
    assert finished[-1].line().endswith("; 4 more lines of this kind are in the debug log only")
    assert finished[0].left_out == 0


async def test_an_application_that_fails_again_and_again_does_not_either() -> None:
    setup = Setup()
    for _ in range(5):
        await setup.call("hd-9.f(1)", HD_1)
    assert [event.level for event in setup.events] == [Level.WARN, *[Level.DEBUG] * 4]


async def test_our_own_missing_entry_is_told_as_such() -> None:
    setup = Setup(own=Operator("hd-9"))
    for address, sender in (("hd-1.f(1)", Operator("hd-9")), ("hd-9.f(1)", HD_1)):
        error = await error_of(await setup.call(address, sender))
        assert "finds no records of it in the directory yet" in error.message
        assert "submit the records of hd-9" in error.data["hint"]


@pytest.mark.parametrize(
    "answered",
    [Error(404, "patient Smith", {}), Error(500, "patient Smith", {"stage": "relay", "hint": "patient Jones"})],
    ids=["as an old EPS server", "as one of ours"],
)
async def test_what_our_application_answers_is_logged_for_debugging_only(answered: Error) -> None:
    """Also where it looks like the words of an EPS server."""
    setup = Setup(Channel("hd-1", answer=Response("1", {}, answered)))
    answer = await setup.call("hd-1.add(1)", HD_1)
    assert (await error_of(answer)).message == "patient Smith", "its caller is told"
    (finished,) = [event for event in setup.events if isinstance(event, CallFinished)]
    assert finished.level is Level.DEBUG
    assert (finished.outcome, finished.fault, finished.reason) == ("error", "application", "")
    assert not [event for event in setup.events if event.level is not Level.DEBUG and "patient" in event.message()]


async def test_a_proxy_that_stops_may_ask_for_other_connections_without_a_right_in_the_directory() -> None:
    setup = Setup()
    setup.brokered.proxies = [PROXY, PROXY]
    answer = await setup.call("hd-1._renewConnections(1)", PROXY)
    assert answer.result == {"connections": 2}
    assert setup.brokered.renewed == [PROXY]


@pytest.mark.parametrize("sender", [HD_1, HD_2], ids=["our application", "another operator"])
async def test_only_who_has_brokered_connections_may_ask_for_others(sender: Operator) -> None:
    setup = Setup()
    setup.brokered.proxies = [PROXY]
    answer = await setup.call("hd-1._renewConnections(1)", sender)
    error = await error_of(answer)
    assert error.code == 403
    assert "none of them goes through" in error.message
    assert setup.brokered.renewed == []


async def test_who_may_not_ask_for_other_connections_has_its_params_unread() -> None:
    async def decode(encoded: bytes) -> dict[str, Any]:
        raise AssertionError("read")

    unread = Unread(parse_address("hd-1._renewConnections(1)"), b"x", decode)
    assert (await error_of(await Setup().broker.deliver(unread, PROXY))).code == 403


async def test_one_that_asks_again_and_again_costs_one_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup()
    setup.brokered.proxies = [PROXY]
    for _ in range(5):
        assert (await setup.call("hd-1._renewConnections(1)", PROXY)).error is None
    assert setup.brokered.renewed == [PROXY]
    monkeypatch.setattr("eps.broker.internal_methods.ASKED_EVERY", 0.0)
    await setup.call("hd-1._renewConnections(1)", PROXY)
    assert setup.brokered.renewed == [PROXY, PROXY]


async def test_others_are_asked_to_renew_over_the_network_like_anything_else() -> None:
    channel = Channel("hd-2")
    answer = await Setup(channel).call("hd-2._renewConnections(1)", HD_1)
    assert answer.error is None
    assert [request.address.method for request in channel.requests] == ["_renewConnections"]


async def test_a_method_that_nobody_has_is_told_with_those_that_the_caller_may_call() -> None:
    setup = Setup()
    answer = await error_of(await setup.call("hd-1._pin(1)", HD_2))
    assert answer.message == "the directory lists no service of hd-1 with a method '_pin'; hd-2 may call there: _ping"
    assert answer.data["hint"] == "did you mean _ping?"
    assert answer.data["reason"] == "method-unknown"
    other = await error_of(await setup.call("hd-1.zzzzzz(1)", HD_2))
    assert other.data["hint"] == "check the method's name"


async def test_why_there_is_no_directory_yet_is_told() -> None:
    setup = Setup()
    setup.source.current = Directory.empty()
    setup.source.failure = Unreachable("the service directory at https://sd: connection refused", side=Side.DIRECTORY)
    error = await error_of(await setup.call("hd-2.f(1)", HD_1))
    assert error.message.endswith("not even hd-1: the service directory at https://sd: connection refused")
    assert error.data["reason"] == "no-directory"
    assert error.data["side"] == "directory"
    setup.source.failure = Unreachable("our list", hint="mend it", side=Side.OURS, reason=Reason.OWN_CA)
    error = await error_of(await setup.call("hd-2.f(1)", HD_1))
    assert (error.data["side"], error.data["reason"], error.data["hint"]) == ("ours", "own-ca", "mend it")
    setup.source.failure = None
    abroad = await error_of(await setup.call("hd-1._ping(1)", HD_2))
    assert abroad.message == "hd-1 reports: it has no verified directory yet"


@pytest.mark.parametrize(("told", "most"), [(None, 30.0), (5.0, 5.0), (100.0, 100.0), (7200.0, 600.0)])
async def test_a_callers_time_counts_up_to_the_maximum(told: float | None, most: float) -> None:
    channel = Channel(HD_2)
    setup = Setup(channel, limits=BrokerLimits(30.0, max_call_timeout=600.0))
    await setup.broker.deliver(Request(parse_address("hd-2.f(1)"), {}, Asker(timeout=told)), HD_1)
    assert most - 3 < channel.timeouts[0] <= most
