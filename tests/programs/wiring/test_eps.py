"""An EPS server from its settings, in process."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.errors import StartError
from eps.jsonrpc.client import JsonRpcClient
from eps.programs.running.health import is_well
from eps.programs.running.metrics import Metrics
from eps.programs.wiring.eps import EpsServer
from eps.settings import EpsSettings, load_eps
from support.machine import Machine
from support.ports import is_free
from support.testing import Events, jsonrpc_server


async def test_an_eps_server_from_the_settings(machine: Machine) -> None:
    events = Events()
    loaded = load_eps(machine.environment("hd-1"), machine.folder)
    settings = loaded.settings.model_copy(update={"state_path": str(machine.folder / "state")})
    server = EpsServer(settings, events, Metrics())
    ports = machine.ports.of
    await server.start()
    try:
        assert server.started().message() == (
            f"hd-1 is running: gRPC localhost:{ports[8888]}, JSON-RPC localhost:{ports[5555]}, "
            f"metrics localhost:{ports[2112]}, status localhost:{ports[2132]}"
        )
        program, directory = server.health()
        assert (program.why, directory.name, is_well(server.health())) == ("", "directory", False)
        response = await machine.call("hd-2._ping")
        assert response.error is not None
        assert "no verified directory" in response.error.message
        other = EpsServer(settings, events, Metrics())
        with pytest.raises(StartError, match="another program uses that port"):
            await other.start()
    finally:
        await server.close()
    assert all(is_free(ports[port]) for port in (8888, 5555, 2112))


async def test_a_server_without_tls_directory_or_peers(tmp_path: Path) -> None:
    """The smallest settings: an unsigned directory, plain HTTP, and requests to us printed."""
    records = [
        {"name": "me", "section": "services", "data": [service("_ping")], "created_at": "2026-11-22T00:00:00Z"},
    ]
    (tmp_path / "directory.json").write_text(json.dumps({"records": records}))
    (tmp_path / "eps.json").write_text(
        json.dumps(
            {
                "name": "me",
                "state_path": str(tmp_path / "state"),
                "directory": {"type": "json", "settings": {"path": str(tmp_path / "directory.json")}},
                "channels": [
                    {"name": "in", "type": "jsonrpc_server", "settings": {"bind_address": "localhost:0"}},
                    {"name": "app", "type": "jsonrpc_client", "settings": {"endpoint": "http://localhost:1/jsonrpc"}},
                    {"name": "out", "type": "stdout", "settings": {}},
                ],
            }
        )
    )
    loaded = load_eps({"EPS_SETTINGS": str(tmp_path / "eps.json")}, tmp_path)
    server = EpsServer(loaded.settings, Events(), Metrics())
    await server.start()
    try:
        port = server.started().listening[0].rpartition(":")[2]
        client = JsonRpcClient(f"http://localhost:{port}/jsonrpc", tls=None)
        pinged = await client.call("me._ping", {})
        failed = await client.call("me.serve", {})
        await client.close()
    finally:
        await server.close()
    assert pinged.result["serverInfo"]["name"] == "me"
    assert failed.error is not None
    assert failed.error.message == "me's application: connection refused; is the server running?"
    assert failed.error.data["side"] == "ours"


def service(*methods: str) -> dict[str, Any]:
    listed = [{"name": method, "permissions": []} for method in methods]
    return {"name": "internals", "permissions": [{"group": "*", "rights": ["call"]}], "methods": listed}


async def test_cancelled_while_it_starts(machine: Machine) -> None:
    loaded = load_eps(machine.environment("hd-1"), machine.folder)
    settings = loaded.settings.model_copy(update={"state_path": str(machine.folder / "state")})
    for turns in range(0, 40, 3):
        server = EpsServer(settings, Events(), Metrics())
        starting = asyncio.create_task(server.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await server.close()
        assert all(is_free(machine.ports.of[port]) for port in (8888, 5555, 2112))


async def test_calls_go_to_all_endpoints_that_are_well_also_after_other_settings_were_read(tmp_path: Path) -> None:
    def settings(*ports: int) -> EpsSettings:
        urls = [f"http://localhost:{port}/jsonrpc" for port in ports]
        application = {"type": "jsonrpc_client", "settings": {"endpoint": urls[0], "further_endpoints": urls[1:]}}
        (tmp_path / "directory.json").write_text(json.dumps({"records": [own]}))
        given = {
            "name": "me",
            "state_path": str(tmp_path / "state"),
            "directory": {"type": "json", "settings": {"path": str(tmp_path / "directory.json")}},
            "channels": [{"type": "jsonrpc_server", "settings": {"bind_address": "localhost:0"}}, application],
        }
        (tmp_path / "eps.json").write_text(json.dumps(given))
        return load_eps({"EPS_SETTINGS": str(tmp_path / "eps.json")}, tmp_path).settings

    own = {"name": "me", "section": "services", "data": [service("serve")], "created_at": "2026-11-22T00:00:00Z"}
    asked: list[str] = []

    def application(name: str) -> Callable[[Call], Awaitable[Response]]:
        async def answer(call: Call) -> Response:
            asked.append(name)
            return Response(call.id, {})

        return answer

    async with jsonrpc_server(application("a")) as a, jsonrpc_server(application("b")) as b:
        server = EpsServer(settings(a.port, 1, b.port), Events(), Metrics())
        await server.start()
        try:
            port = server.started().listening[0].rpartition(":")[2]
            client = JsonRpcClient(f"http://localhost:{port}/jsonrpc", tls=None)
            answers = [await client.call("me.serve", {}) for _ in range(6)]
            assert [answer.error for answer in answers] == [None] * 6 and sorted(asked) == ["a"] * 3 + ["b"] * 3
            await (await server.prepare(settings(b.port, 1, b.port)))()
            asked.clear()
            assert [(await client.call("me.serve", {})).error for _ in range(4)] == [None] * 4
            await client.close()
        finally:
            await server.close()
    assert "b" in asked
