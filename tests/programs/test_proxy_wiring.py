"""From settings to running proxies, in process."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from eps.core.http_proxy import HttpProxies
from eps.errors import StartError
from eps.programs.metrics import Metrics
from eps.programs.proxy_wiring import PrivateProxyServer, build_private_proxy, build_public_proxy
from eps.rpc.client import JsonRpcClient
from eps.services.forwarding import RawForwarder
from eps.services.http_forwarding import HttpForwarder
from eps.services.jsonrpc_forwarding import JsonRpcForwarder
from eps.settings import ProxySettings, load_proxy
from eps.testing import Events, tls_files

FILES = tls_files("internal-server")
TLS = {"certificate_file": FILES.certificate_file, "key_file": FILES.key_file, "verify_client": False}
HERE = "http://localhost:1/jsonrpc"


def settings(folder: Path, **sections: Any) -> ProxySettings:
    (folder / "proxy.yml").write_text(yaml.safe_dump({"state_path": str(folder / "state"), **sections}))
    return load_proxy({"PROXY_SETTINGS": "proxy.yml"}, folder).settings


def private(folder: Path, **given: Any) -> ProxySettings:
    base = {
        "name": "private-proxy-1.ga",
        "jsonrpc_client": {"endpoint": HERE},
        "jsonrpc_server": {"bind_address": "localhost:0"},
    }
    return settings(folder, private=base | given)


def public(folder: Path, **given: Any) -> ProxySettings:
    base = {
        "name": "public-proxy-1.ga",
        "tls_bind_address": "localhost:0",
        "internal_bind_address": "localhost:0",
        "jsonrpc_client": {"endpoint": HERE},
        "jsonrpc_server": {"bind_address": "localhost:0"},
    }
    return settings(folder, public=base | given)


def built(given: ProxySettings) -> PrivateProxyServer:
    return build_private_proxy(given, Events(), Metrics())


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
    await asyncio.wait_for(server.close(), 5)


async def test_a_public_proxy_answers_its_methods(tmp_path: Path) -> None:
    server = build_public_proxy(public(tmp_path), Events(), Metrics())
    await server.start()
    try:
        ports = [server.rpc.port, server.proxy.addresses[0][1], server.passthrough.addresses[0][1]]
        assert server.started().listening == tuple(
            f"{what} localhost:{port}" for what, port in zip(("JSON-RPC", "relay", "TLS"), ports, strict=True)
        )
        assert await call(ports[0], "getAnnouncements") == []
        assert await call(ports[0], "announceConnections") == -32602
        assert await call(ports[0], "requestConnection") == -32602
    finally:
        await server.close()


async def test_two_public_proxies_share_a_store_and_a_private_one_does_not(tmp_path: Path) -> None:
    servers = [build_public_proxy(public(tmp_path), Events(), Metrics()) for _ in range(2)]
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
    with pytest.raises(StartError, match=r"jsonrpc_client needs internal_endpoint\.tls"):
        forwarder(jsonrpc_client={"endpoint": HERE})


def test_http_proxies_of_the_settings_or_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://a:1")
    monkeypatch.setenv("NO_PROXY", "example.org")
    assert built(private(tmp_path))._proxies == HttpProxies("http://a:1", ("example.org",))
    given = private(tmp_path, proxy_url="http://b:2")
    assert built(given)._proxies == HttpProxies("http://b:2", ("example.org",), spare_local=False)


def test_the_other_kind(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no section «public»"):
        build_public_proxy(private(tmp_path), Events(), Metrics())
    with pytest.raises(StartError, match="no section «private»"):
        built(public(tmp_path))


async def test_a_certificate_that_is_wrong_keeps_it_from_starting(tmp_path: Path) -> None:
    other = tls_files("other")
    tls = TLS | {"key_file": other.key_file}
    server = built(private(tmp_path, internal_endpoint={"tls": tls}))
    with pytest.raises(StartError, match="does not fit"):
        await server.start()
