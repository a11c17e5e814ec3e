"""From settings to running proxies, in process."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from eps.core.certificate import fingerprint_of
from eps.core.clock import Comparisons
from eps.core.event import Notice
from eps.core.http_proxy import HttpProxies
from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.core.pem import certificates_in
from eps.core.wording import shows
from eps.datastores.sqlite import SqliteDatastore
from eps.errors import EpsError, StartError
from eps.jsonrpc.client import JsonRpcClient
from eps.jsonrpc.server import JsonRpcServer
from eps.programs.running.metrics import Metrics, MetricsServer
from eps.programs.wiring.composite import Composite
from eps.programs.wiring.proxy import PrivateProxyServer, PublicProxyServer
from eps.proxy.forwarding import RawForwarder
from eps.proxy.http_forwarding import HttpForwarder
from eps.proxy.jsonrpc_forwarding import JsonRpcForwarder
from eps.proxy.passthrough import Passthrough
from eps.proxy.private import PrivateProxy
from eps.proxy.public import PublicProxy
from eps.settings import ProxySettings, load_proxy
from eps.transport.own_clock import OWN_CLOCK
from support.testing import Events, jsonrpc_server, tls_files

FILES = tls_files("internal-server")
TLS = {"certificate_file": FILES.certificate_file, "key_file": FILES.key_file, "verify_client": False}
HERE = "http://localhost:1/jsonrpc"
PRIVATE: dict[str, Any] = {
    "name": "private-proxy-1.ga",
    "jsonrpc_client": {"endpoint": HERE},
    "jsonrpc_server": {"bind_address": "localhost:0"},
}
PUBLIC: dict[str, Any] = {
    "name": "public-proxy-1.ga",
    "tls_bind_address": "localhost:0",
    "internal_bind_address": "localhost:0",
    "jsonrpc_client": {"endpoint": HERE},
    "jsonrpc_server": {"bind_address": "localhost:0"},
}


def settings(folder: Path, **sections: Any) -> ProxySettings:
    (folder / "proxy.yml").write_text(yaml.safe_dump({"state_path": str(folder / "state"), **sections}))
    return load_proxy({"PROXY_SETTINGS": "proxy.yml"}, folder).settings


def private(folder: Path, **given: Any) -> ProxySettings:
    return settings(folder, private=PRIVATE | given)


def public(folder: Path, **given: Any) -> ProxySettings:
    return settings(folder, public=PUBLIC | given)


def built(given: ProxySettings) -> PrivateProxyServer:
    return PrivateProxyServer(given, Events(), Metrics())


async def call(port: int, method: str) -> Any:
    client = JsonRpcClient(f"http://localhost:{port}/jsonrpc", tls=None)
    try:
        answer = await client.call(method, {})
        return answer.error.code if answer.error else answer.result
    finally:
        await client.close()


async def test_a_private_proxy_answers_its_methods(tmp_path: Path) -> None:
    server = built(private(tmp_path))
    await server.start()
    try:
        port = server.rpc.port
        assert (
            server.started().message() == f"the private proxy private-proxy-1.ga is running: JSON-RPC localhost:{port}"
        )
        assert await call(port, "getAnnouncements") == []
        assert await call(port, "announceConnection") == -32602
        assert await call(port, "getTip") == -32601
        assert (tmp_path / "state" / "store.sqlite").exists()
    finally:
        await server.close()
    await asyncio.wait_for(server.close(), 30)


async def test_which_certificates_a_private_proxy_shows(tmp_path: Path) -> None:
    events, inside = Events(), {"address": "localhost:1", "tls": TLS}
    rpc = {"bind_address": "localhost:0", "tls": TLS}
    given = private(tmp_path, internal_endpoint=inside, jsonrpc_server=rpc)
    server = PrivateProxyServer(given, events, Metrics())
    await server.start()
    try:
        told = [
            shows("the private proxy private-proxy-1.ga", to, [of("internal-server")])
            for to in ("its EPS server", "TLS clients")
        ]
        assert [notice.text for notice in events.of(Notice)] == told
        await (await server.prepare(given))()
        assert len(events.of(Notice)) == 2, "they are the same"
        other = tls_files("hd-1")
        files = {"certificate_file": other.certificate_file, "key_file": other.key_file, "verify_client": False}
        renewed = private(tmp_path, internal_endpoint={"address": "localhost:1", "tls": files}, jsonrpc_server=rpc)
        await (await server.prepare(renewed))()
        assert events.of(Notice)[-1].text == told[1].replace(of("internal-server"), of("hd-1"))
    finally:
        await server.close()


def of(name: str) -> str:
    """The fingerprint of that certificate."""
    file = tls_files(name).certificate_file
    return fingerprint_of(certificates_in(Path(file).read_bytes(), file, "")[0])


async def test_a_public_proxy_answers_its_methods(tmp_path: Path) -> None:
    server = PublicProxyServer(public(tmp_path), Events(), Metrics())
    await server.start()
    try:
        ports = [server.rpc.port, server.proxy.addresses[0][1], server.passthrough.addresses[0][1]]
        assert [(part.name, part.why) for part in server.health()] == [("program", ""), ("room for tunnels", "")]
        assert server.started().listening == tuple(
            f"{what} localhost:{port}" for what, port in zip(("JSON-RPC", "relay", "TLS"), ports, strict=True)
        )
        assert await call(ports[0], "getAnnouncements") == []
        assert await call(ports[0], "announceConnections") == -32602
        assert await call(ports[0], "requestConnection") == -32602
        server.proxy.limits = replace(server.proxy.limits, max_tunnels=0)
        assert [part.why for part in server.health()] == ["", "proxy-full"]
    finally:
        await server.close()


async def test_two_public_proxies_share_a_store_and_a_private_one_does_not(tmp_path: Path) -> None:
    servers = [PublicProxyServer(public(tmp_path), Events(), Metrics()) for _ in range(2)]
    for server in servers:
        await server.start()
    try:
        with pytest.raises(StartError, match="in use by another program"):
            await built(private(tmp_path)).start()
    finally:
        for server in servers:
            await server.close()


def test_where_connections_are_forwarded(tmp_path: Path) -> None:
    def forwarder(**inside: Any) -> object:
        return built(private(tmp_path, internal_endpoint={"address": "localhost:1", **inside})).forwarder

    assert isinstance(forwarder(), RawForwarder)
    assert isinstance(forwarder(tls=TLS), HttpForwarder)
    assert isinstance(forwarder(tls=TLS, jsonrpc_client={"endpoint": HERE}), JsonRpcForwarder)
    with pytest.raises(StartError, match=r"jsonrpc_client needs internal_endpoint\.tls") as caught:
        forwarder(jsonrpc_client={"endpoint": HERE})
    assert "give tls a certificate_file and a key_file" in caught.value.hint


def test_http_proxies_of_the_settings_or_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://a:1")
    monkeypatch.setenv("NO_PROXY", "example.org")
    assert built(private(tmp_path)).relays.proxies == HttpProxies("http://a:1", ("example.org",))
    given = private(tmp_path, proxy_url="http://b:2")
    assert built(given).relays.proxies == HttpProxies("http://b:2", ("example.org",), spare_local=False)


def test_the_other_kind(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no section «public»") as caught:
        PublicProxyServer(private(tmp_path), Events(), Metrics())
    assert caught.value.hint == "or did you mean: proxy run private?"
    with pytest.raises(StartError, match="no section «private»") as caught:
        built(public(tmp_path))
    assert caught.value.hint == "or did you mean: proxy run public?"


# --- the order of the parts, and what is left when one fails ---

PARTS = (PublicProxy, Passthrough, PrivateProxy, RawForwarder, JsonRpcClient, JsonRpcServer, MetricsServer)


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each start (+) and close (-) of a proxy's parts, as it begins."""
    told: list[str] = []

    def tell(kind: type[Any], method: str, sign: str) -> None:
        real = getattr(kind, method)

        async def telling(self: Any, *arguments: Any) -> None:
            told.append(f"{sign}{kind.__name__}")
            await real(self, *arguments)

        monkeypatch.setattr(kind, method, telling)

    for part in PARTS:
        if hasattr(part, "start"):
            tell(part, "start", "+")
        tell(part, "close", "-")
    tell(SqliteDatastore, "close", "-")
    return told


BUILT: dict[str, Callable[[Path, Any], Composite]] = {
    "public": lambda folder, more: PublicProxyServer(public(folder, **more), Events(), Metrics()),
    "private": lambda folder, more: built(private(folder, **more)),
}
EITHER = pytest.mark.parametrize("kind", BUILT)


async def test_the_order_of_a_public_proxys_parts(tmp_path: Path, story: list[str]) -> None:
    given = settings(tmp_path, metrics={"bind_address": "localhost:0"}, public=PUBLIC)
    server = PublicProxyServer(given, Events(), Metrics())
    await server.start()
    assert story == ["+MetricsServer", "+PublicProxy", "+Passthrough", "+JsonRpcServer"]
    story.clear()
    await server.close()
    assert story == [
        "-JsonRpcServer", "-Passthrough", "-SqliteDatastore", "-PublicProxy", "-JsonRpcClient", "-MetricsServer",
    ]  # fmt: skip


async def test_the_order_of_a_private_proxys_parts(tmp_path: Path, story: list[str]) -> None:
    server = built(private(tmp_path))
    await server.start()
    assert story == ["+RawForwarder", "+PrivateProxy", "+JsonRpcServer"]
    story.clear()
    await server.close()
    assert story == ["-JsonRpcServer", "-PrivateProxy", "-RawForwarder", "-SqliteDatastore", "-JsonRpcClient"]


def listening_port(section: dict[str, Any], key: str, port: int) -> dict[str, Any]:
    """Settings in which something listens on ``port``."""
    value = f"localhost:{port}"
    return {key: {"bind_address": value}} if isinstance(section.get(key), dict) else {key: value}


@pytest.mark.parametrize(
    ("kind", "key", "closed"),
    [
        ("public", "internal_bind_address", ["PublicProxy", "JsonRpcClient"]),
        ("public", "tls_bind_address", ["Passthrough", "SqliteDatastore", "PublicProxy", "JsonRpcClient"]),
        (
            "public",
            "jsonrpc_server",
            ["JsonRpcServer", "Passthrough", "SqliteDatastore", "PublicProxy", "JsonRpcClient"],
        ),
        (
            "private",
            "jsonrpc_server",
            ["JsonRpcServer", "PrivateProxy", "RawForwarder", "SqliteDatastore", "JsonRpcClient"],
        ),
    ],
)
async def test_all_is_closed_when_a_part_cannot_start(
    tmp_path: Path, story: list[str], kind: str, key: str, closed: list[str]
) -> None:
    """And then it can start as if nothing had been: no port and no store is still in use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        more = listening_port({"public": PUBLIC, "private": PRIVATE}[kind], key, taken.getsockname()[1])
        with pytest.raises(StartError, match="another program uses that port") as caught:
            await BUILT[kind](tmp_path, more).start()
        assert caught.value.hint
    assert [told[1:] for told in story if told.startswith("-")] == closed
    again = BUILT[kind](tmp_path, more)
    await again.start()
    await again.close()


@EITHER
async def test_a_store_that_cannot_be_opened_leaves_nothing(tmp_path: Path, story: list[str], kind: str) -> None:
    (tmp_path / "state" / "store.sqlite").mkdir(parents=True)
    with pytest.raises(StartError, match=r"store\.sqlite"):
        await BUILT[kind](tmp_path, {}).start()
    started = {told[1:] for told in story if told.startswith("+")}
    assert started and started <= {told[1:] for told in story if told.startswith("-")}
    assert "-SqliteDatastore" not in story


@EITHER
async def test_closing_one_that_was_never_started(tmp_path: Path, kind: str) -> None:
    await BUILT[kind](tmp_path, {}).close()


@EITHER
async def test_it_calls_the_network_through_its_eps_server(tmp_path: Path, kind: str) -> None:
    asked: list[Call] = []

    async def answer(call: Call) -> Response:
        asked.append(call)
        return Response(call.id, "fine")

    async with jsonrpc_server(answer) as eps_server:
        server = BUILT[kind](tmp_path, {"jsonrpc_client": {"endpoint": f"http://localhost:{eps_server.port}/jsonrpc"}})
        assert isinstance(server, PublicProxyServer | PrivateProxyServer)
        await server.start()
        try:
            response = await server.call_network("hd-2.incomingConnection", {"a": 1}, 5.0)
        finally:
            await server.close()
    assert (response.result, [(call.method, call.params) for call in asked]) == (
        "fine",
        [("hd-2.incomingConnection", {"a": 1})],
    )


@EITHER
async def test_a_wrong_clock_is_told_by_its_eps_servers_date(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OWN_CLOCK, "comparisons", Comparisons())
    dates = [datetime.now(UTC) - timedelta(days=9, hours=1), datetime.now(UTC)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        date = dates.pop(0).strftime("%a, %d %b %Y %H:%M:%S GMT")
        writer.write(f"HTTP/1.1 503 no\r\nDate: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()

    eps_server = await asyncio.start_server(answer, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{eps_server.sockets[0].getsockname()[1]}/jsonrpc"
    make, given = {"public": (PublicProxyServer, public), "private": (PrivateProxyServer, private)}[kind]
    told = Events()
    server = make(given(tmp_path, jsonrpc_client={"endpoint": endpoint}), told, Metrics())
    try:
        for _ in range(2):
            with pytest.raises(EpsError):
                await server.call_network("hd-2.incomingConnection", {"a": 1}, 5.0)
    finally:
        await server.close()
        eps_server.close()
        await eps_server.wait_closed()
    wrong, right = (notice.text for notice in told.of(Notice) if "clock" in notice.text)
    assert wrong.startswith(f"our clock is 9 days ahead of that of the EPS server of {server.name}: certificates will")
    assert right == f"our clock agrees with that of the EPS server of {server.name} again"


async def test_a_certificate_that_is_wrong_keeps_it_from_starting(tmp_path: Path) -> None:
    other = tls_files("other")
    tls = TLS | {"key_file": other.key_file}
    server = built(private(tmp_path, internal_endpoint={"tls": tls}))
    with pytest.raises(StartError, match="does not fit"):
        await server.start()
