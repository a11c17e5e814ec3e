"""Two public proxies of one operator, on one store: one is killed under load, or drained; calls go on by the other."""

import json
import signal

import pytest

from support.application import Application
from support.load import load
from support.machine import Machine, Process

PROXY = "public-proxy-1.ga"
CALLERS = 8
PATIENCE = 20.0


async def second_proxy(machine: Machine) -> Process:
    """Another one beside public-proxy-1, which the operator's EPS server and its directory settings know."""
    rpc, relay, tls = (machine.ports.of[port] for port in (7777, 8877, 7776))
    store = machine.folder / ".eps" / "public-proxy-1" / "announcements.sqlite"
    own = {
        "state_path": ".eps/public-proxy-1b",
        "public": {
            "tls_bind_address": f"localhost:{tls}",
            "internal_bind_address": f"localhost:{relay}",
            "internal_endpoint": f"localhost:{relay}",
            "datastore": {"settings": {"path": str(store)}},
            "jsonrpc_server": {"bind_address": f"localhost:{rpc}"},
        },
        "metrics": {"bind_address": "localhost:0"},
        "status": {"bind_address": "localhost:0"},
    }
    (machine.folder / "second.json").write_text(json.dumps(own))
    settings = machine.dev / "roles" / "public-proxy-eps-1" / "002_server.yml"
    text = settings.read_text()
    line = f"      endpoint: https://localhost:{machine.ports.of[6655]}/jsonrpc\n"
    assert line in text
    further = f'      further_endpoints: ["https://localhost:{rpc}/jsonrpc"]\n'
    settings.write_text(text.replace(line, line + further))
    process = await machine.spawn(
        "public-proxy-1", "proxy", "--format", "json", "--level", "debug", "run", "public",
        PROXY_SETTINGS="settings/dev/roles/public-proxy-1:second.json",
    )  # fmt: skip
    await process.up()
    return process


async def name_both_relays(machine: Machine) -> None:
    endpoints = [f"localhost:{machine.ports.of[port]}" for port in (9999, 8877)]
    item = {"operator": "", "service": "proxy", "environment": "", "settings": {"internal_endpoints": endpoints}}
    done = await machine.submit([{"name": PROXY, "section": "settings", "data": [item]}])
    assert done.code == 0, done
    for role in ("hd-1", "hd-2"):
        await machine.processes[role].wait_for(kind="directory", tip=done.out.split()[-1])


@pytest.mark.chaos
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
async def test_one_of_two_goes_under_load(machine: Machine, how: signal.Signals) -> None:
    async with Application(seconds=0.01) as application:
        application.serve(machine)
        (machine.dev / "roles" / "hd-1" / "003_patience.yml").write_text(f"patience: {PATIENCE}\n")
        second = await second_proxy(machine)
        try:
            await machine.ready()
            await name_both_relays(machine)
            async with load(machine, CALLERS) as book:
                await book.more(200)
                # Whose tunnel the calls are on: the other one must not notice.
                on_first = any(line.get("kind") == "step" for line in machine.processes["public-proxy-1"].lines)
                going = machine.processes["public-proxy-1"] if on_first else second
                going.send(how)
                await book.more(300)
            book.balance(application)
            assert len(book.failed) <= CALLERS
            assert {outcome for outcome, _ in book.failed.values()} <= {"unknown"}
            if how is signal.SIGTERM:
                assert book.failed == {}
            machine.processes.pop("public-proxy-1") if on_first else None
            assert await going.end() == (-how if how is signal.SIGKILL else 0)
            staying = second if on_first else machine.processes["public-proxy-1"]
            assert any(line.get("kind") == "step" for line in staying.lines)
        finally:
            await second.end()
