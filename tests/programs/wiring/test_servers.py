"""From settings to running servers, in process."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from eps.core.event import DirectoryChanged, Level, Notice, Started
from eps.errors import StartError
from eps.jsonrpc.client import JsonRpcClient
from eps.programs.running.metrics import Metrics
from eps.programs.wiring.servers import (
    Composite,
    build_eps,
    build_sd,
    open_datastore,
    read_file,
    settings_from,
    tls_files,
)
from eps.settings import load_eps, load_sd, models
from support.machine import Machine
from support.ports import is_free
from support.testing import Events


class Part:
    """Something that starts and closes, and tells."""

    def __init__(self, name: str, story: list[str], *, fails: bool = False) -> None:
        self.name, self.story, self.fails = name, story, fails

    async def start(self) -> None:
        self.story.append(f"+{self.name}")
        if self.fails:
            raise StartError(f"{self.name} can't")

    async def close(self) -> None:
        self.story.append(f"-{self.name}")


async def test_parts_start_in_order_and_close_in_the_reverse() -> None:
    story: list[str] = []
    whole = Composite("it")
    for name in "abc":
        whole.add(Part(name, story))
    await whole.start()
    await whole.close()
    assert story == ["+a", "+b", "+c", "-c", "-b", "-a"]
    await whole.close()
    assert len(story) == 6


async def test_what_had_started_is_closed_when_a_later_part_fails() -> None:
    story: list[str] = []
    whole = Composite("it")
    for name in "abc":
        whole.add(Part(name, story, fails=name == "b"))
    with pytest.raises(StartError, match="b can't"):
        await whole.start()
    assert story == ["+a", "+b", "-b", "-a"]


def test_what_listens_where() -> None:
    whole = Composite("hd-1")
    whole.listens("metrics", "localhost:0", lambda: 3)
    whole.listens("gRPC", "[::1]:0", lambda: 1)
    whole.listens("JSON-RPC", ":0", lambda: 2)
    assert whole.started().message() == "hd-1 is running: gRPC [::1]:1, JSON-RPC *:2, metrics localhost:3"
    assert Composite("x").started() == Started(name="x")


async def test_an_eps_server_from_the_settings(machine: Machine) -> None:
    events = Events()
    loaded = load_eps(machine.environment("hd-1"), machine.folder)
    settings = loaded.settings.model_copy(update={"state_path": str(machine.folder / "state")})
    server = build_eps(settings, events, Metrics())
    ports = machine.ports.of
    await server.start()
    try:
        assert server.started().message() == (
            f"hd-1 is running: gRPC localhost:{ports[8888]}, JSON-RPC localhost:{ports[5555]}, "
            f"metrics localhost:{ports[2112]}"
        )
        response = await machine.call("hd-2._ping")
        assert response.error is not None
        assert "no verified directory" in response.error.message
        other = build_eps(settings, events, Metrics())
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
    server = build_eps(loaded.settings, Events(), Metrics())
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
    assert failed.error.message.startswith("me's application at http://localhost:1/jsonrpc: connection refused")
    assert failed.error.data["side"] == "ours"


def service(*methods: str) -> dict[str, Any]:
    listed = [{"name": method, "permissions": []} for method in methods]
    return {"name": "internals", "permissions": [{"group": "*", "rights": ["call"]}], "methods": listed}


async def test_a_service_directory_from_the_settings(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine.folder)
    events = Events()
    loaded = load_sd(machine.environment("sd-1"), machine.folder)
    for records in (30, 30):  # again: they are on disk
        server = build_sd(loaded.settings, events, Metrics())
        await server.start()
        try:
            assert server.started().message() == (
                f"the service directory is running: JSON-RPC localhost:{machine.ports.of[3322]}"
            )
            if not events.of(DirectoryChanged):
                await machine.setup_directory()
            assert events.of(DirectoryChanged)[-1].records == records
        finally:
            await server.close()


async def test_cancelled_while_it_starts(machine: Machine) -> None:
    loaded = load_eps(machine.environment("hd-1"), machine.folder)
    settings = loaded.settings.model_copy(update={"state_path": str(machine.folder / "state")})
    for turns in range(0, 40, 3):
        server = build_eps(settings, Events(), Metrics())
        starting = asyncio.create_task(server.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await server.close()
        assert all(is_free(machine.ports.of[port]) for port in (8888, 5555, 2112))


async def test_datastores(tmp_path: Path) -> None:
    memory = await open_datastore(models.MemoryDatastore(type="memory"))
    await memory.close()
    other = models.RedisDatastore.model_construct(type="redis")
    with pytest.raises(StartError, match="no datastore of type redis") as caught:
        await open_datastore(other)
    assert "sqlite" in caught.value.hint


def test_our_own_name_is_always_allowed() -> None:
    from eps.core.names import Operator

    tls = models.TlsSettings(allowed_names=("demo-app",))
    assert tls_files(tls, Operator("hd-1")).allowed_names == ("hd-1", "demo-app")
    assert tls_files(tls).allowed_names == ("demo-app",)
    assert tls_files(models.TlsSettings(), Operator("hd-1")).allowed_names is None


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file"):
        read_file(str(tmp_path / "x"))
    with pytest.raises(StartError, match="Is a directory"):
        read_file(str(tmp_path))


def test_settings_come_from_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is doubtful about them is logged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPS_SETTINGS", "eps.yml")
    (tmp_path / "eps.yml").write_text("name: hd-1\nunknown: 1\ndirectory: {type: json, settings: {path: .}}\n")
    events = Events()
    assert settings_from(load_eps, events).name == "hd-1"
    (warning,) = events.of(Notice)
    assert (warning.level, warning.text.startswith("eps.yml: unknown")) == (Level.WARN, True)
