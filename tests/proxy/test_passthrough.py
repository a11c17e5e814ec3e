"""TLS passthrough, the public side, over real sockets; clients, private proxy and network are played by the test."""

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from eps.core.announcement import Keeper
from eps.core.event import Announced, Forwarding, Level, Refused, TunnelFinished
from eps.core.jsonrpc_text import Call
from eps.core.message import Error, Response
from eps.core.names import Object, Operator
from eps.datastores import Datastore
from eps.datastores.memory import MemoryDatastore
from eps.errors import NotSent
from eps.proxy.announcements import AnnouncementBook
from eps.proxy.passthrough import UNRECOGNIZED_NAME, Passthrough, PassthroughLimits
from eps.proxy.public import PublicProxy
from eps.proxy.relay_limits import RelayLimits
from eps.transport.dial import connect
from eps.transport.listener import RateLimit
from support.sockets import recv, recv_all, recv_exactly, recv_until_reset, reset, send
from support.testing import Events, FakeClock

HELLOS = json.loads((Path(__file__).parent.parent / "vectors" / "client_hellos.json").read_text())
BY_CLIENT = {hello["client"]: bytes.fromhex(hello["hex"]) for hello in HELLOS}
HELLO = BY_CLIENT["python311"]
DOMAIN = "test.internal-server.local"
B, P = Operator("private-proxy-1.ga"), Operator("public-proxy-1.ga")
SUFFIXES: Object = {"allowed_domains": [".internal-server.local"]}


def client(name: str = B, settings: Any = SUFFIXES) -> Object:
    """``_client`` of an operator whose entry has these settings for service proxy."""
    item = {"operator": "", "service": "proxy", "environment": "production", "settings": settings}
    return {"name": name, "entry": {"name": name, "channels": [], "settings": [item] if settings is not None else []}}


class Stage:
    """A public proxy that listens, a network that answers as told, and what has happened."""

    def __init__(self, store: Datastore | None = None, **options: Any) -> None:
        self.events = Events()
        self.clock = FakeClock()
        self.asked: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()
        self.answer: Callable[[Object], Awaitable[Response]] = self.says_ok
        self.book = AnnouncementBook(store or MemoryDatastore(), Keeper.PUBLIC, self.clock.utc, self.events)
        limits = RelayLimits(options.pop("accept_timeout", 5.0), max_tunnels=options.pop("max_tunnels", 100))
        rate_limits = options.pop("rate_limits", ())
        self.proxy = PublicProxy(
            P,
            self._call_network,
            internal_bind_address="localhost:0",
            internal_endpoint="relay.example:9999",
            limits=limits,
            emit=self.events,
        )
        self.passthrough = Passthrough(
            self.proxy,
            self.book,
            tls_bind_address="localhost:0",
            rate_limits=rate_limits,
            limits=PassthroughLimits(**options),
            emit=self.events,
        )
        self._sockets: list[socket.socket] = []

    async def _call_network(self, method: str, params: Object, timeout: float) -> Response:
        self.asked.put_nowait((method, params))
        return await self.answer(params)

    async def says_ok(self, params: Object) -> Response:
        return Response("x", {"message": "ok"})

    async def __aenter__(self) -> "Stage":
        await self.book.load()
        await self.proxy.start()
        await self.passthrough.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for sock in self._sockets:
            sock.close()
        await self.passthrough.close()
        await self.proxy.close()

    async def call(self, method: str, params: Object) -> Response:
        return await self.passthrough.handle(Call(method, params, "n:7"))

    async def announce(self, *domains: str, name: str = B, settings: Any = SUFFIXES, **more: Any) -> Any:
        """The result, or the error's code."""
        connections = [{"domain": domain, **more} for domain in domains]
        answer = await self.call("announceConnections", {"connections": connections, "_client": client(name, settings)})
        return answer.error.code if answer.error else answer.result

    async def dial(self, address: tuple[str, int]) -> socket.socket:
        sock = await connect(f"127.0.0.1:{address[1]}", 5)
        self._sockets.append(sock)
        return sock

    async def tls_client(self, *pieces: bytes) -> socket.socket:
        sock = await self.dial(self.passthrough.addresses[0])
        for piece in pieces:
            await send(sock, piece)
        return sock

    async def called_in(self) -> tuple[str, bytes, Object]:
        """What the private proxy was asked: method, token, params."""
        method, params = await asyncio.wait_for(self.asked.get(), 10)
        return method, base64.b64decode(params["token"], validate=True), params

    async def private_proxy(self, token: bytes) -> socket.socket:
        sock = await self.dial(self.proxy.addresses[0])
        await send(sock, token)
        return sock

    async def refusal(self) -> Refused:
        return await self.events.wait_for(Refused)

    async def outcome(self) -> str:
        return (await self.events.wait_for(TunnelFinished)).outcome


@asynccontextmanager
async def announced(**options: Any) -> AsyncIterator[Stage]:
    """A stage on which ``DOMAIN`` is B's."""
    async with Stage(**options) as stage:
        assert await stage.announce(DOMAIN) == [None]
        yield stage


# A TLS client reaches an operator


async def test_a_tls_client_reaches_the_operator_that_announced_its_server() -> None:
    async with announced() as stage:
        outside = await stage.tls_client(HELLO)
        method, token, params = await stage.called_in()
        assert method == f"{B}.incomingConnection" and len(token) == 32
        assert params == {"domain": DOMAIN, "endpoint": "relay.example:9999", "token": params["token"]}
        inside = await stage.private_proxy(token)
        assert await recv_exactly(inside, len(HELLO)) == HELLO
        await send(inside, b"server hello")
        assert await recv_exactly(outside, 12) == b"server hello"
        await send(outside, b"finished")
        assert await recv_exactly(inside, 8) == b"finished"
        outside.close()
        assert await recv_all(inside) == b""
        inside.close()
        ended = await stage.events.wait_for(TunnelFinished)
        assert (ended.outcome, ended.caller, ended.callee) == ("finished", f"tls:{DOMAIN}", B)
        assert (ended.first_bytes, ended.second_bytes) == (12, len(HELLO) + 8)
        assert [event.operator for event in stage.events.of(Forwarding)] == [P, P]


@pytest.mark.parametrize("name", [hello["client"] for hello in HELLOS if "reference_server_name" in hello])
async def test_every_client_s_hello_arrives_whole_however_it_is_cut(name: str) -> None:
    hello = BY_CLIENT[name]
    async with announced() as stage:
        outside = await stage.tls_client(hello[:1], hello[1:300], hello[300:-1])
        await asyncio.sleep(0)
        await send(outside, hello[-1:] + b"early data")
        inside = await stage.private_proxy((await stage.called_in())[1])
        assert await recv_exactly(inside, len(hello) + 10) == hello + b"early data"


async def test_whoever_was_accepted_is_served_before_another_process_gets_the_ports() -> None:
    """Also who has not said yet whom he wants; who comes later waits in the kernel."""
    async with announced() as stage:
        outside = await stage.tls_client(HELLO[:10])
        other = await stage.tls_client(HELLO)
        other_inside = await stage.private_proxy((await stage.called_in())[1])
        assert await recv_exactly(other_inside, len(HELLO)) == HELLO
        resting = asyncio.create_task(stage.passthrough.rest())
        await asyncio.sleep(0)
        await stage.tls_client(HELLO)
        await send(outside, HELLO[10:])
        await resting
        giving = asyncio.create_task(stage.proxy.hand_over())
        inside = await stage.private_proxy((await stage.called_in())[1])
        assert await recv_exactly(inside, len(HELLO)) == HELLO
        await giving
        assert stage.asked.empty(), "who came last is the next process's"
        other.close()


async def test_who_says_nothing_holds_up_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.proxy.passthrough.LAST_HELLO_SECONDS", 0.05)
    async with announced() as stage:
        await stage.tls_client()
        await stage.tls_client(HELLO)
        await stage.called_in()
        async with asyncio.timeout(4):  # a hello may take 5 s otherwise
            await stage.passthrough.rest()


async def test_nothing_behind_the_hello_is_lost_while_the_operator_is_asked() -> None:
    async with announced() as stage:
        gate = asyncio.Event()

        async def later(params: Object) -> Response:
            await gate.wait()
            return Response("x", {})

        stage.answer = later
        outside = await stage.tls_client(HELLO + b"1" * 40_000)
        inside = await stage.private_proxy((await stage.called_in())[1])
        await send(outside, b"2" * 40_000)
        gate.set()
        wanted = HELLO + b"1" * 40_000 + b"2" * 40_000
        assert await recv_exactly(inside, len(wanted)) == wanted


async def test_the_name_s_case_does_not_matter_and_the_operator_is_told_what_it_announced() -> None:
    hello = HELLO.replace(DOMAIN.encode(), DOMAIN.upper().encode())
    assert hello != HELLO
    async with Stage() as stage:
        await stage.announce("Test.internal-Server.local")
        await stage.tls_client(hello)
        assert (await stage.called_in())[2]["domain"] == "Test.internal-Server.local"


WITH_NAME = [hello["client"] for hello in HELLOS if "reference_server_name" in hello]


@pytest.mark.parametrize("name", WITH_NAME)
@pytest.mark.parametrize("announced_as", ["test.internal-server.loca", "TEST.Internal-Server.LOCA"])
async def test_case_and_a_final_dot_of_every_client_s_name_mean_nothing(name: str, announced_as: str) -> None:
    """The dot takes the last letter's place, so that the hello's lengths stay right."""
    hello = BY_CLIENT[name].replace(DOMAIN.encode(), b"Test.internal-Server.loca.")
    assert hello != BY_CLIENT[name]
    async with Stage() as stage:
        await stage.announce(announced_as, settings={"allowed_domains": [".internal-server.LOCA"]})
        outside = await stage.tls_client(hello)
        _, token, params = await stage.called_in()
        assert params["domain"] == announced_as
        inside = await stage.private_proxy(token)
        assert await recv_exactly(inside, len(hello)) == hello, "it is forwarded as it came"
        outside.close()


async def test_one_connection_for_one_token() -> None:
    async with announced() as stage:
        await stage.tls_client(HELLO)
        _, token, _ = await stage.called_in()
        inside = await stage.private_proxy(token)
        await recv_exactly(inside, len(HELLO))
        again = await stage.private_proxy(token)
        assert await recv(again) == b""
        refused = await stage.events.wait_for(Refused)
        assert (refused.listener, refused.why) == ("relay", "token")


# What does not come about: closed, counted, each with one outcome


CLOSED = [
    ("not_tls", BY_CLIENT["plain-http"]),
    ("no_server_name", BY_CLIENT["openssl-no-sni"]),
    ("too_long", b"\x16\x03\x01\x40\x00\x01\x00\x50\x00"),
    ("malformed", b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"),
    ("unknown_domain", HELLO.replace(b"test.i", b"best.i")),
]


@pytest.mark.parametrize(("why", "data"), CLOSED, ids=[why for why, _ in CLOSED])
async def test_hellos_that_are_closed_are_counted_by_reason(why: str, data: bytes) -> None:
    async with announced() as stage:
        outside = await stage.tls_client(data)
        refused = await stage.refusal()
        assert (refused.listener, refused.why, refused.source, refused.level) == ("tls", why, "127.0.0.1", Level.WARN)
        if why == "unknown_domain":
            assert await recv_exactly(outside, len(UNRECOGNIZED_NAME)) == UNRECOGNIZED_NAME
        assert await _closed(outside)
        assert stage.events.of(TunnelFinished) == [] and stage.asked.empty()


async def test_a_client_of_a_name_that_nobody_announced_is_told_so() -> None:
    """As OpenSSL reads it."""
    async with announced() as stage:
        _, port = stage.passthrough.addresses[0]
        with pytest.raises(ssl.SSLError) as caught:
            await asyncio.open_connection(
                "127.0.0.1", port, ssl=ssl.create_default_context(), server_hostname="nobody.example"
            )
        assert caught.value.reason == "TLSV1_UNRECOGNIZED_NAME"


@pytest.mark.parametrize("sent", [b"", HELLO[:100]])
async def test_a_client_that_is_too_slow(sent: bytes) -> None:
    async with announced(hello_seconds=0.05) as stage:
        outside = await stage.tls_client(sent)
        refused = await stage.refusal()
        assert (refused.why, refused.level) == ("too_slow", Level.WARN if sent else Level.DEBUG)
        assert refused.detail == f"{len(sent)} bytes came, and no whole hello"
        assert await _closed(outside)


async def test_a_client_that_hangs_up_before_its_hello_has_ended() -> None:
    async with announced() as stage:
        (await stage.tls_client(HELLO[:100])).close()
        assert (await stage.refusal()).why == "too_slow"


async def test_silent_clients_give_way_to_new_ones() -> None:
    async with announced(max_arriving=2) as stage:
        silent = [await stage.tls_client() for _ in range(2)]
        await stage.tls_client(HELLO)
        await stage.called_in()
        assert await _closed(silent[0])


async def test_a_flood_is_one_line_a_second_and_every_one_is_counted() -> None:
    async with Stage() as stage:
        for _ in range(5):
            assert await recv_all(await stage.tls_client(HELLO)) == UNRECOGNIZED_NAME
        await stage.events.wait_for(Refused, lambda _: len(stage.events.of(Refused)) == 5)
        warnings = [event for event in stage.events.of(Refused) if event.level is Level.WARN]
        assert 1 <= len(warnings) <= 2


async def test_clients_of_one_address_are_limited() -> None:
    async with announced(rate_limits=[RateLimit("hour", 2)]) as stage:
        for _ in range(2):
            await stage.tls_client(HELLO)
            await stage.called_in()
        third = await stage.tls_client()
        assert await _closed(third)
        assert (await stage.refusal()).why == "rate_limit"


async def test_the_operator_refuses() -> None:
    async with announced() as stage:

        async def refuses(params: Object) -> Response:
            return Response("x", error=Error(404, "not mine"))

        stage.answer = refuses
        outside = await stage.tls_client(HELLO)
        assert await _closed(outside)
        assert await stage.outcome() == "request_failed"
        refused = await stage.refusal()
        assert refused.why == "not_connected"
        assert refused.detail == f"{DOMAIN}: {B} answers: not mine (code 404)"


async def test_the_operator_can_t_be_asked() -> None:
    async with announced() as stage:

        async def fails(params: Object) -> Response:
            raise NotSent("no road leads there")

        stage.answer = fails
        assert await _closed(await stage.tls_client(HELLO))
        assert await stage.outcome() == "request_failed"
        assert "no road leads there" in (await stage.refusal()).detail


async def test_an_operator_that_has_come_already_may_answer_what_it_likes() -> None:
    come = asyncio.Event()

    async def refuses_late(params: Object) -> Response:
        await come.wait()
        return Response("x", error=Error(500, "I forgot"))

    async with announced() as stage:
        stage.answer = refuses_late
        outside = await stage.tls_client(HELLO)
        inside = await stage.private_proxy((await stage.called_in())[1])
        assert await recv_exactly(inside, len(HELLO)) == HELLO
        come.set()
        await send(inside, b"hello, too")
        assert await recv_exactly(outside, 10) == b"hello, too"
        assert stage.events.of(Refused) == []


async def test_the_operator_does_not_come() -> None:
    async with announced(accept_timeout=1.5) as stage:
        outside = await stage.tls_client(HELLO)
        token = (await stage.called_in())[1]
        assert await _closed(outside)
        assert await stage.outcome() == "lonely_second"
        assert await recv(await stage.private_proxy(token)) == b"", "the token has expired"


async def test_a_client_that_breaks_off_while_it_waits() -> None:
    async with announced() as stage:
        outside = await stage.tls_client(HELLO)
        token = (await stage.called_in())[1]
        reset(outside)
        inside = await stage.private_proxy(token)
        await recv_until_reset(inside)
        inside.close()
        assert await stage.outcome() == "reset"


async def test_a_full_proxy() -> None:
    async with announced(max_tunnels=1) as stage:
        await stage.tls_client(HELLO)
        await stage.called_in()
        assert await _closed(await stage.tls_client(HELLO))
        assert (await stage.refusal()).why == "connections"


async def test_stopping_ends_every_wait() -> None:
    async with announced() as stage:
        never = asyncio.Event()

        async def hangs(params: Object) -> Response:
            await never.wait()
            raise AssertionError

        stage.answer = hangs
        outside = await stage.tls_client(HELLO)
        await stage.called_in()
        arriving = await stage.tls_client(HELLO[:10])
        await stage.passthrough.close()
        await stage.proxy.close()
        assert await _closed(outside) and await _closed(arriving)
        assert [event.outcome for event in stage.events.of(TunnelFinished)] == ["stopped"]


# Announcing


async def test_announcements_are_listed_until_they_expire_and_survive() -> None:
    store = MemoryDatastore()
    async with Stage(store) as stage:
        assert await stage.announce(DOMAIN, expires_at="2026-11-22T13:00:00Z", proxy="extra") == [None]
        assert await stage.announce("b.internal-server.local", expires_at=None) == [None]
        listed = [
            {"operator": B, "domain": DOMAIN, "expires_at": "2026-11-22T13:00:00Z"},
            {"operator": B, "domain": "b.internal-server.local", "expires_at": None},
        ]
        assert (await stage.call("getAnnouncements", {})).result == listed
    async with Stage(store) as stage:
        assert (await stage.call("getAnnouncements", {})).result == listed
        stage.clock.advance(3600)
        assert (await stage.call("getAnnouncements", {})).result == listed[1:]
        assert await recv(await stage.tls_client(HELLO)) == UNRECOGNIZED_NAME
        assert (await stage.refusal()).why == "unknown_domain"


async def test_each_announcement_is_answered_in_its_place() -> None:
    async with announced() as stage:
        answers = await stage.announce("x.internal-server.local", DOMAIN, "evil.example.org", name="other")
        assert answers[0] is None
        assert answers[1] == {"code": 409, "message": f"{DOMAIN} is announced by another operator"}
        assert answers[2]["code"] == 403
        outcomes = [(event.outcome, event.level) for event in stage.events.of(Announced)][1:]
        assert outcomes == [("kept", Level.INFO), ("refused", Level.WARN), ("refused", Level.DEBUG)]


async def test_a_domain_passes_to_the_next_when_it_expires() -> None:
    async with Stage() as stage:
        await stage.announce(DOMAIN, expires_at="2026-11-22T13:00:00Z")
        assert (await stage.announce(DOMAIN, name="other"))[0]["code"] == 409
        stage.clock.advance(3600)
        assert await stage.announce(DOMAIN, name="other") == [None]
        await stage.tls_client(HELLO)
        assert (await stage.called_in())[0] == "other.incomingConnection"
        assert (await stage.announce(DOMAIN))[0]["code"] == 409


async def test_a_domain_can_be_given_up() -> None:
    async with announced() as stage:
        assert await stage.announce(DOMAIN, expires_at="2026-11-22T12:00:00Z") == [None]
        assert (await stage.call("getAnnouncements", {})).result == []
        assert await stage.announce(DOMAIN, name="other") == [None]
        assert [event.outcome for event in stage.events.of(Announced)] == ["kept", "withdrawn", "kept"]


async def test_repeating_is_no_news() -> None:
    async with announced() as stage:
        assert await stage.announce(DOMAIN) == [None]
        assert [event.outcome for event in stage.events.of(Announced)] == ["kept", "repeated"]


@pytest.mark.parametrize(
    ("settings", "code"),
    [(None, 403), ({}, 500), ({"allowed_domains": "x"}, 500), ({"allowed_domains": ["x"]}, 500)],
)
async def test_settings_that_allow_nothing(settings: Any, code: int) -> None:
    async with Stage() as stage:
        assert await stage.announce(DOMAIN, settings=settings) == code


async def test_params_that_are_none() -> None:
    async with Stage() as stage:
        assert await stage.announce(DOMAIN, expires_at="2026-11-29T12:00:01Z") == -32602
        answer = await stage.call("announceConnections", {"connections": []})
        assert (
            answer.error is not None
            and "_client: must be an object with name" in answer.error.message
            and answer.id == "n:7"
        )
        assert await stage.announce() == []


async def test_other_methods_are_the_relay_s() -> None:
    async with Stage() as stage:
        answer = await stage.call("requestConnection", {})
        assert answer.error is not None and answer.error.message.startswith("to: ")
        answer = await stage.call("unknown", {})
        assert answer.error is not None and answer.error.code == -32601


async def _closed(sock: socket.socket) -> bool:
    try:
        return await recv(sock) == b""
    except ConnectionResetError:
        return True
