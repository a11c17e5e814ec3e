"""TLS passthrough, the private side: the public proxy, its relay and the network are played by the test."""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from eps.core.announcement import Keeper
from eps.core.event import Announced, Forwarding, Level, Notice, TunnelFinished
from eps.core.jsonrpc_text import Call
from eps.core.message import Error, Response
from eps.core.names import Object, Operator
from eps.datastores import Datastore
from eps.datastores.memory import MemoryDatastore
from eps.errors import NoRoute
from eps.proxy import private as private_proxy
from eps.proxy.announcements import AnnouncementBook
from eps.proxy.private import PrivateProxy, Rhythm
from eps.transport.tunnel import RelaySettings
from support.sockets import recv_exactly, send
from support.testing import Events, FakeClock

B, P, HD = Operator("private-proxy-1.ga"), Operator("public-proxy-1.ga"), Operator("hd-1")
DOMAIN = "test.internal-server.local"
SUFFIXES: Object = {"allowed_domains": [".internal-server.local"]}
TOKEN = os.urandom(32)


class Forwarder:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.open = 0
        self.given: asyncio.Queue[tuple[socket.socket, str, str]] = asyncio.Queue()

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def forward(self, sock: socket.socket, domain: str, via: Operator) -> None:
        self.given.put_nowait((sock, domain, via))


def is_watching() -> bool:
    """Whether a private proxy looks after any announcement."""
    return any(task.get_name().startswith("announcements at ") for task in asyncio.all_tasks())


class Stage:
    """A private proxy, the network it calls, and what has happened.

    ``there`` is what the public proxy knows to be ours; ``answer`` can be replaced.
    """

    def __init__(
        self, store: Datastore | None = None, *, repeat: float = 600.0, trusted_endpoints: Sequence[str] = ()
    ) -> None:
        self.store = store or MemoryDatastore()
        self.events = Events()
        self.clock = FakeClock()
        self.there: dict[str, Any] = {}
        self.asked: list[tuple[str, Object]] = []
        self.answer: Callable[[str, Object], Awaitable[Response]] = self.public_proxy
        self._news = asyncio.Event()
        self.forwarder = Forwarder()
        self.book = AnnouncementBook(self.store, Keeper.PRIVATE, self.clock.utc, self.events)
        self.proxy = PrivateProxy(
            B,
            self._call_network,
            self.book,
            self.forwarder,
            relays=RelaySettings(tuple(trusted_endpoints)),
            rhythm=Rhythm(repeat, look=0.01, retry=0.01),
            emit=self.events,
        )

    async def _call_network(self, method: str, params: Object, timeout: float) -> Response:
        self.asked.append((method, params))
        try:
            return await self.answer(method, params)
        finally:
            self._news.set()

    async def public_proxy(self, method: str, params: Object) -> Response:
        if method == f"{P}.getAnnouncements":
            return Response("x", [{"operator": B, "domain": domain} for domain in self.there])
        assert method == f"{P}.announceConnections"
        self.there |= {item["domain"]: item["expires_at"] for item in params["connections"]}
        return Response("x", [None for _ in params["connections"]])

    async def away(self, method: str, params: Object) -> Response:
        raise NoRoute("it is away", hint="wait")

    def announcing(self) -> int:
        return len([method for method, _ in self.asked if method.endswith(".announceConnections")])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def __aenter__(self) -> "Stage":
        await self.book.load()
        await self.proxy.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.proxy.close()
        while not self.forwarder.given.empty():
            self.forwarder.given.get_nowait()[0].close()

    async def call(self, method: str, params: Object) -> Any:
        """The result, or the error."""
        answer = await self.proxy.handle(Call(method, params, "n:7"))
        assert answer.id == "n:7"
        return answer.error if answer.error else answer.result

    async def announce(self, domain: str = DOMAIN, *, settings: Any = SUFFIXES, **more: Any) -> Any:
        params = {"domain": domain, "proxy": P, "_client": client(HD, settings), **more}
        return await self.call("announceConnection", params)

    async def incoming(self, endpoint: str, *, name: str = P, domain: str = DOMAIN, **more: Any) -> Any:
        token = base64.b64encode(TOKEN).decode()
        settings = {"internal_endpoints": [endpoint]}
        params = {"domain": domain, "endpoint": endpoint, "token": token, "_client": client(name, settings), **more}
        return await self.call("incomingConnection", params)


def client(name: str, settings: Any, **entry: Any) -> Object:
    item = {"operator": "", "service": "proxy", "environment": "production", "settings": settings}
    return {
        "name": name,
        "entry": {"name": name, "channels": [], "settings": [item] if settings is not None else None, **entry},
    }


@asynccontextmanager
async def relay() -> AsyncIterator[tuple[str, socket.socket]]:
    """A public proxy's relay: its endpoint and its listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield f"127.0.0.1:{server.getsockname()[1]}", server


async def accepted(server: socket.socket) -> socket.socket:
    sock, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(server), 10)
    sock.setblocking(False)
    return sock


# Announcing


async def test_an_operator_announces_a_domain() -> None:
    async with Stage() as stage:
        assert await stage.announce(expires_at="2026-11-22T13:00:00Z") == "ok"
        assert stage.asked[0] == (
            f"{P}.announceConnections",
            {"connections": [{"domain": DOMAIN, "expires_at": "2026-11-22T13:00:00Z"}]},
        )
        listed = [{"proxy": P, "domain": DOMAIN, "expires_at": "2026-11-22T13:00:00Z"}]
        assert await stage.call("getAnnouncements", {}) == listed
        stage.clock.advance(3600)
        assert await stage.call("getAnnouncements", {}) == []
        assert stage.events.of(Announced)[0].message() == f"announcement of {DOMAIN} ({P}): kept"


async def test_announcements_survive_and_are_repeated_at_once() -> None:
    store = MemoryDatastore()
    async with Stage(store) as stage:
        assert await stage.announce() == "ok"
    async with Stage(store) as stage:
        await stage.until(lambda: stage.there == {DOMAIN: None})
        assert await stage.call("getAnnouncements", {}) == [{"proxy": P, "domain": DOMAIN, "expires_at": None}]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"proxy": B}, 400),
        ({"settings": None}, 403),
        ({"domain": "a.example.org"}, 403),
        ({"domain": "internal-server.local"}, 403),
        ({"settings": {}}, 500),
        ({"domain": 1}, -32602),
        ({"proxy": None}, -32602),
        ({"expires_at": "2026-11-29T12:00:01Z"}, -32602),
        ({"_client": None}, -32602),
    ],
)
async def test_what_is_refused_without_asking(changes: Any, code: int) -> None:
    async with Stage() as stage:
        assert (await stage.announce(**changes)).code == code
        assert stage.asked == [] and await stage.call("getAnnouncements", {}) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Response("x", [{"code": 409, "message": "it is another's"}]), "it is another's (code 409)"),
        (Response("x", ["?"]), "neither null nor an error"),
        (Response("x", error=Error(403, "not you")), "not you (code 403)"),
        (Response("x", {}), "did not answer for each"),
        (Response("x", []), "did not answer for each"),
        (None, "can't be asked: it is away"),
    ],
)
async def test_a_public_proxy_that_refuses(answer: Response | None, words: str) -> None:
    async with Stage() as stage:

        async def answers(method: str, params: Object) -> Response:
            return answer if answer is not None else await stage.away(method, params)

        stage.answer = answers
        error = await stage.announce()
        assert error.code == -32603 and words in error.message
        assert await stage.call("getAnnouncements", {}) == []


async def test_an_announcement_is_withdrawn_by_a_date_that_has_passed() -> None:
    async with Stage() as stage:
        await stage.announce()
        assert await stage.announce(expires_at="2026-11-22T12:00:00Z") == "ok"
        assert await stage.call("getAnnouncements", {}) == []
        assert await stage.announce("x.internal-server.local", expires_at="2026-11-22T12:00:00Z") == "ok"
        assert [event.outcome for event in stage.events.of(Announced)] == ["kept", "withdrawn"]
        assert len(await stage.store.read_all()) == 2


async def test_a_domain_can_be_given_up_though_the_public_proxy_is_gone_for_good() -> None:
    async with Stage() as stage:
        await stage.announce()
        stage.answer = stage.away
        answer = await stage.announce(expires_at="2026-11-22T12:00:00Z")
        assert answer.code == -32603, "the public proxy has not heard of it"
        assert await stage.call("getAnnouncements", {}) == []
        async with asyncio.timeout(30):
            while is_watching():
                await asyncio.sleep(0.01)
        assert stage.there == {DOMAIN: None}


async def test_a_repetition_never_brings_back_what_was_just_given_up() -> None:
    gate, asked = asyncio.Event(), asyncio.Event()

    async def slowly(method: str, params: Object) -> Response:
        if params.get("connections") == [{"domain": DOMAIN, "expires_at": None}]:
            asked.set()
            await gate.wait()
        return await stage.public_proxy(method, params)

    async with Stage(repeat=0.0) as stage:
        await stage.announce()
        stage.answer = slowly
        await asyncio.wait_for(asked.wait(), 10)
        giving_up = asyncio.create_task(stage.announce(expires_at="2026-11-22T12:00:00Z"))
        for _ in range(10):
            await asyncio.sleep(0)
        gate.set()
        assert await giving_up == "ok"
        assert stage.there == {DOMAIN: "2026-11-22T12:00:00Z"}


async def test_too_many_that_announce_at_once_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_proxy, "TURN_SECONDS", 0.01)
    gate = asyncio.Event()

    async def silent(method: str, params: Object) -> Response:
        await gate.wait()
        return await stage.public_proxy(method, params)

    async with Stage() as stage:
        stage.answer = silent
        first = asyncio.create_task(stage.announce())
        await asyncio.sleep(0)
        answer = await stage.announce("b.internal-server.local")
        assert answer.code == -32603 and "still being asked" in answer.message
        gate.set()
        assert await first == "ok"


async def test_an_unknown_method() -> None:
    async with Stage() as stage:
        assert (await stage.call("x", {})).code == -32601


# Repeating


async def test_what_the_public_proxy_has_lost_is_announced_again() -> None:
    async with Stage() as stage:
        await stage.announce()
        await stage.until(lambda: len(stage.asked) > 3)
        stage.there.clear()
        await stage.until(lambda: DOMAIN in stage.there)
        notices = stage.events.of(Notice)
        assert [notice.level for notice in notices] == [Level.WARN]
        assert "no longer lists all that we announced" in notices[0].text


async def test_what_the_public_proxy_knows_is_not_repeated_before_its_time() -> None:
    async with Stage() as stage:
        await stage.announce()
        await stage.until(lambda: len(stage.asked) > 20)
        assert stage.announcing() == 2, "the announcement, and the watch's first"


async def test_everything_is_repeated_from_time_to_time() -> None:
    async with Stage(repeat=0.0) as stage:
        await stage.announce()
        await stage.until(lambda: stage.announcing() > 5)


async def test_when_the_network_comes_back_they_are_repeated_at_once_and_trouble_is_told_once() -> None:
    async with Stage() as stage:
        await stage.announce()
        await stage.until(lambda: stage.announcing() == 2)
        stage.answer = stage.away
        await stage.until(lambda: stage.announcing() > 5)
        stage.answer = stage.public_proxy
        stage.there.clear()
        await stage.until(lambda: DOMAIN in stage.there)
        warnings = [event for event in stage.events.of(Notice) if event.level is Level.WARN]
        assert "can't be reached" in warnings[0].text and "could not be repeated" in warnings[1].text
        assert len(warnings) == 2


async def test_a_public_proxy_that_does_not_let_us_look_counts_as_knowing() -> None:
    async with Stage() as stage:

        async def secretive(method: str, params: Object) -> Response:
            if method.endswith(".getAnnouncements"):
                return Response("x", error=Error(403, "no"))
            return await stage.public_proxy(method, params)

        stage.answer = secretive
        await stage.announce()
        await stage.until(lambda: len(stage.asked) > 20)
        assert stage.announcing() == 2


async def test_one_that_answers_something_else_is_told_again() -> None:
    async with Stage() as stage:

        async def odd(method: str, params: Object) -> Response:
            if method.endswith(".getAnnouncements"):
                return Response("x", [{"operator": "other", "domain": DOMAIN}, 1, {"operator": B}])
            return await stage.public_proxy(method, params)

        stage.answer = odd
        await stage.announce()
        await stage.until(lambda: stage.announcing() > 3)
        stage.answer = lambda method, params: _answered({})
        await stage.until(lambda: stage.announcing() > 6)


async def _answered(result: Any) -> Response:
    return Response("x", result)


async def test_a_domain_that_is_lost_to_another_is_told_once_and_tried_on() -> None:
    async with Stage() as stage:
        await stage.announce()

        async def taken(method: str, params: Object) -> Response:
            if method.endswith(".getAnnouncements"):
                return Response("x", [])
            return Response("x", [{"code": 409, "message": "taken"} for _ in params["connections"]])

        stage.answer = taken
        await stage.until(lambda: stage.announcing() > 5)
        refused = [event for event in stage.events.of(Announced) if event.outcome == "refused"]
        assert [event.level for event in refused[:3]] == [Level.WARN, Level.DEBUG, Level.DEBUG]
        assert refused[0].detail == "taken (code 409)"


async def test_many_announcements_are_repeated_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_proxy, "BATCH", 2)
    store = MemoryDatastore()
    async with Stage(store) as stage:
        for number in range(5):
            await stage.announce(f"d{number}.internal-server.local")
    async with Stage(store) as stage:
        await stage.until(lambda: len(stage.there) == 5)
        assert [len(params["connections"]) for _, params in stage.asked[:3]] == [2, 2, 1]


async def test_when_the_last_one_has_expired_there_is_nothing_to_watch() -> None:
    async with Stage() as stage:
        await stage.announce(expires_at="2026-11-22T13:00:00Z")
        await stage.until(lambda: stage.announcing() == 2)
        stage.clock.advance(3600)
        async with asyncio.timeout(30):
            while is_watching():
                await asyncio.sleep(0.001)
        assert await stage.announce(expires_at=None) == "ok"
        await stage.until(lambda: stage.announcing() == 4)


# Being called in


async def test_a_connection_is_dialled_and_handed_on() -> None:
    async with Stage() as stage, relay() as (endpoint, server):
        await stage.announce()
        assert await stage.incoming(endpoint, domain=DOMAIN.upper()) == {"message": "ok"}
        outside = await accepted(server)
        assert await recv_exactly(outside, 32) == TOKEN
        sock, domain, via = await asyncio.wait_for(stage.forwarder.given.get(), 10)
        assert (domain, via) == (DOMAIN.upper(), P)
        await send(outside, b"hello")
        assert await recv_exactly(sock, 5) == b"hello"
        assert stage.events.of(Forwarding)[0].peer == P
        sock.close()
        outside.close()


async def test_only_what_was_announced_to_that_proxy() -> None:
    async with Stage() as stage, relay() as (endpoint, _):
        await stage.announce(expires_at="2026-11-22T13:00:00Z")
        assert (await stage.incoming(endpoint, name="public-proxy-2")).code == 404
        assert (await stage.incoming(endpoint, domain="other.internal-server.local")).code == 404
        stage.clock.advance(3600)
        assert (await stage.incoming(endpoint)).code == 404


@pytest.mark.parametrize(
    "changes",
    [*({key: value} for key in ("domain", "endpoint", "token") for value in ("", None, 1)), {"endpoint": "x"}],
)
async def test_params_that_are_none(changes: Any) -> None:
    async with Stage() as stage:
        await stage.announce()
        params = {"domain": DOMAIN, "endpoint": "127.0.0.1:1", "token": base64.b64encode(TOKEN).decode()} | changes
        error = await stage.call("incomingConnection", {**params, "_client": client(P, {})})
        assert error.code == -32602


async def test_an_endpoint_that_may_not_be_dialled() -> None:
    async with Stage() as stage:
        await stage.announce()
        assert await stage.incoming("127.0.0.1:1", _client=client(P, {})) == {"message": "ok"}
        ended = await stage.events.wait_for(TunnelFinished)
        assert (ended.outcome, ended.level, ended.caller, ended.callee) == ("no_relay", Level.WARN, P, DOMAIN)
        assert "must not be dialled" in stage.events.of(Notice)[0].text


@pytest.mark.parametrize("channels", [[{"type": "grpc_server", "settings": {"address": "127.0.0.1:5"}}]])
async def test_the_proxy_s_own_host_may_be_dialled(channels: Any) -> None:
    async with Stage() as stage, relay() as (endpoint, server):
        await stage.announce()
        assert await stage.incoming(endpoint, _client=client(P, None, channels=channels)) == {"message": "ok"}
        (await accepted(server)).close()
        (await stage.forwarder.given.get())[0].close()


@pytest.mark.parametrize(
    "channels",
    [[], [1], [{"type": "grpc_client", "settings": {}}], [{"type": "grpc_server", "settings": {"address": 1}}]],
)
async def test_entries_without_a_host(channels: Any) -> None:
    async with Stage() as stage, relay() as (endpoint, _):
        await stage.announce()
        await stage.incoming(endpoint, _client=client(P, None, channels=channels))
        assert (await stage.events.wait_for(TunnelFinished)).outcome == "no_relay"


async def test_an_entry_without_a_list_of_channels_is_refused() -> None:
    """PROTOCOL.md section 7: it is mandatory."""
    async with Stage() as stage:
        await stage.announce()
        error = await stage.incoming("127.0.0.1:1", _client=client(P, None, channels=None))
        assert error.code == -32602 and "_client.entry.channels" in error.message


async def test_our_own_settings_may_name_the_endpoint() -> None:
    async with relay() as (endpoint, server), Stage(trusted_endpoints=[endpoint]) as stage:
        await stage.announce()
        await stage.incoming(endpoint, _client=client(P, None))
        (await accepted(server)).close()
        (await stage.forwarder.given.get())[0].close()


@pytest.mark.parametrize("limit", ["MAX_DIALLING", "MAX_CONNECTIONS"])
async def test_so_many_at_a_time_and_no_more(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_proxy, limit, 0)
    async with Stage() as stage:
        await stage.announce()
        error = await stage.incoming("127.0.0.1:1")
        assert error.code == 500 and "as many as it can" in error.message


async def test_stopping_gives_up_what_is_being_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    started = asyncio.Event()

    async def never(*_: Any, **__: Any) -> socket.socket:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(private_proxy, "dial_relay", never)
    async with Stage() as stage:
        await stage.announce()
        await stage.incoming("127.0.0.1:1")
        await started.wait()
    assert [event.outcome for event in stage.events.of(TunnelFinished)] == ["stopped"]
