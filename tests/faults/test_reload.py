"""Settings and certificates that change while a program runs: taken over, or refused with a word, and nothing stops."""

import asyncio
import json
import shutil
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from support.application import Application, channels_of, write_channels
from support.load import load
from support.machine import SERVERS, Machine

READ_AGAIN = "the settings were read again"


async def pin(machine: Machine, operator: str, *suffixes: str) -> None:
    """Have the directory pin these TLS certificates of an operator, and its signing one."""
    pinned = [
        {"fingerprint": machine.fingerprint(f"{operator}{suffix}"), "key_usage": "encryption"} for suffix in suffixes
    ]
    pinned.append({"fingerprint": machine.fingerprint(f"{operator}-sign"), "key_usage": "signing"})
    done = await machine.submit([{"name": operator, "section": "certificates", "data": pinned}])
    assert done.code == 0, done


def replace(target: Path, source: Path) -> None:
    """Put a file in another's place, as tools that renew certificates do."""
    beside = target.with_suffix(".new")
    shutil.copy(source, beside)
    beside.replace(target)


def rotate(machine: Machine, operator: str) -> None:
    """Put the other certificate of an operator, and its key, in the place of the ones that its server uses."""
    certs = machine.dev / "certs"
    for kind in ("crt", "key"):
        shutil.copy(certs / f"{operator}.{kind}", certs / f"{operator}-old.{kind}")
        replace(certs / f"{operator}.{kind}", certs / f"{operator}-alt.{kind}")


def shown_leaf(port: int) -> bytes:
    """The certificate that a TLS server shows, though it lets nobody in without one."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("localhost", port), 5) as sock, context.wrap_socket(sock) as tls:
        leaf = tls.getpeercert(binary_form=True)
        assert leaf is not None
        return leaf


async def directory_of(machine: Machine, role: str, seen: int) -> None:
    """Wait until a server has more states of the directory behind it than ``seen``."""
    process = machine.processes[role]
    async with asyncio.timeout(60):
        while sum(line.get("kind") == "directory" for line in process.lines) <= seen:
            await asyncio.sleep(0.05)


def states(machine: Machine, roles: list[str]) -> dict[str, int]:
    return {role: sum(line.get("kind") == "directory" for line in machine.processes[role].lines) for role in roles}


FOLLOWERS = ["hd-1", "hd-2", "public-proxy-eps-1"]


async def pin_everywhere(machine: Machine, operator: str, *suffixes: str) -> None:
    seen = states(machine, FOLLOWERS)
    await pin(machine, operator, *suffixes)
    await asyncio.gather(*(directory_of(machine, role, seen[role]) for role in FOLLOWERS))


def edit_directory(machine: Machine, name: str, section: str, change: Any) -> None:
    path = machine.dev / "directory" / "001_base.json"
    directory = json.loads(path.read_text())
    for record in directory["records"]:
        if record["name"] == name and record["section"] == section:
            change(record["data"])
    path.write_text(json.dumps(directory))


def make_direct(machine: Machine) -> None:
    for name in ("hd-1", "hd-2"):
        edit_directory(machine, name, "channels", lambda data: data[1]["settings"].pop("proxy"))


def let_the_proxys_operator_call(machine: Machine) -> None:
    right = {"group": "proxy-providers", "rights": ["call"]}
    edit_directory(machine, "hd-2", "services", lambda data: data[1]["permissions"].append(right))


async def be_ready(machine: Machine, way: str) -> None:
    if way != "direct":  # where nobody is behind a proxy, nobody holds a stream
        await machine.ready()
        return
    await machine.start(*SERVERS)
    await machine.setup_directory()
    await asyncio.gather(*(machine.processes[role].wait_for(kind="directory") for role in FOLLOWERS))


@pytest.mark.parametrize(
    ("way", "rotated"),
    [
        ("direct", "hd-1"),
        pytest.param("direct", "hd-2", marks=pytest.mark.chaos),
        pytest.param("stream", "hd-2", marks=pytest.mark.chaos),
        pytest.param("stream", "public-proxy-1.ga", marks=pytest.mark.chaos),
        pytest.param("proxy", "hd-1", marks=pytest.mark.chaos),
        ("proxy", "hd-2"),
        pytest.param("proxy", "public-proxy-1.ga", marks=pytest.mark.chaos),
    ],
)
async def test_no_call_fails_while_a_certificate_is_rotated(machine: Machine, way: str, rotated: str) -> None:
    caller = "public-proxy-1.ga" if way == "stream" else "hd-1"
    if way == "direct":
        make_direct(machine)
    let_the_proxys_operator_call(machine)
    settings = machine.dev / "roles" / "public-proxy-eps-1" / "002_server.yml"
    settings.write_text(settings.read_text().replace("[public-proxy-1.ga]", "[public-proxy-1.ga, demo-app]"))
    role = "public-proxy-eps-1" if rotated == "public-proxy-1.ga" else rotated
    async with Application(seconds=0.1) as application:
        application.serve(machine)
        await be_ready(machine, way)
        async with load(machine, 4, operator=caller, certificate="demo-app") as book:
            await book.more(20)
            await pin_everywhere(machine, rotated, "", "-alt")
            rotate(machine, rotated)
            machine.processes[role].send(signal.SIGHUP)
            await machine.processes[role].wait_for(text="changed certificates and keys in use now")
            await machine.processes[role].wait_for(text="all connections with other operators are renewed")
            if role == "public-proxy-eps-1":  # the proxy has the same certificate, and notices by itself
                await machine.processes["public-proxy-1"].wait_for(text="changed certificates and keys in use now")
            await book.more(20)
            await pin_everywhere(machine, rotated, "")  # the file of this name is the new one by now
            await book.more(50)
    book.balance(application)
    assert not book.failed


PROGRAMS = {"eps": "hd-2", "sd": "sd-1", "proxy": "public-proxy-1"}
PORTS = {"eps": 3334, "sd": 3322, "proxy": 6655}
"""The JSON-RPC servers of these roles, as the repository has them."""


def break_certificate(machine: Machine, role: str) -> tuple[Path, Path]:
    """Replace a certificate, not yet its key; gives the key in use and the one to come."""
    name = {"hd-2": "hd-2", "sd-1": "sd-1", "public-proxy-1": "public-proxy-1.ga"}[role]
    certs = machine.dev / "certs"
    replace(certs / f"{name}.crt", certs / f"{name}-alt.crt")
    return certs / f"{name}.key", certs / f"{name}-alt.key"


@pytest.mark.parametrize("program", [pytest.param(one, marks=[pytest.mark.chaos] * (one != "eps")) for one in PROGRAMS])
async def test_a_certificate_without_its_key_is_refused_until_the_key_is_there(machine: Machine, program: str) -> None:
    role, port = PROGRAMS[program], machine.ports.of[PORTS[program]]
    await machine.start(role)
    process = machine.processes[role]
    before = await asyncio.to_thread(shown_leaf, port)
    key, new_key = break_certificate(machine, role)
    process.send(signal.SIGHUP)
    refusal = await process.wait_for(kind="notice", level="error", text=READ_AGAIN)
    assert "everything goes on as before" in refusal["text"]
    assert "does not belong to" in refusal["text"] or "fit" in refusal["text"]
    assert await asyncio.to_thread(shown_leaf, port) == before
    replace(key, new_key)
    await process.wait_for(message="changed certificates and keys in use now", timeout=30)  # it looks by itself
    assert await asyncio.to_thread(shown_leaf, port) != before
    assert sum(line.get("text", "").startswith(READ_AGAIN) for line in process.lines) == 2


@pytest.mark.parametrize("role", [*SERVERS, "private-proxy-eps-1", "private-proxy-1"])
async def test_hanging_up_ends_no_program(machine: Machine, role: str) -> None:
    await machine.start(role)
    process = machine.processes[role]
    for _ in range(3):
        process.send(signal.SIGHUP)
        await process.wait_for(text="nothing has changed that is used while it runs")
        process.lines.clear()
    assert process.running


async def test_a_certificate_that_is_not_pinned_yet_waits_for_its_pin(machine: Machine) -> None:
    await machine.ready()
    process = machine.processes["hd-2"]
    before = await asyncio.to_thread(shown_leaf, machine.ports.of[8889])
    rotate(machine, "hd-2")
    process.send(signal.SIGHUP)
    refusal = await process.wait_for(text="are not used, everything goes on as before", level="error")
    assert machine.fingerprint("hd-2") in refusal["text"] + refusal["hint"]
    assert "pin" in refusal["text"]
    assert (await machine.ping()).error is None
    assert await asyncio.to_thread(shown_leaf, machine.ports.of[8889]) == before
    await pin_everywhere(machine, "hd-2", "", "-old")
    await process.wait_for(text="all connections with other operators are renewed")
    assert await asyncio.to_thread(shown_leaf, machine.ports.of[8889]) != before


async def test_settings_change_while_it_runs(machine: Machine) -> None:
    role = machine.dev / "roles" / "hd-2"
    async with Application() as first, Application() as second:
        first.serve(machine)
        await machine.ready()
        process = machine.processes["hd-2"]
        client = machine.application("hd-1")
        try:
            await client.call("hd-2.answer", {"call": "one"})
            channels = channels_of(role)
            settings = {"endpoint": second.endpoint}
            channels.insert(3, {"name": "the application", "type": "jsonrpc_client", "settings": settings})
            channels[1]["settings"]["tcp_rate_limits"] = [{"type": "hour", "limit": 1000}]
            channels[1]["settings"]["bind_address"] = "localhost:1"
            channels[2]["settings"]["tls"]["allowed_names"] = []
            write_channels(role, channels)
            process.send(signal.SIGHUP)
            told = await process.wait_for(text="changed settings in use now")
            for place in ("tcp_rate_limits", "allowed_names", "endpoint"):
                assert place in told["text"], told
            later = await process.wait_for(text="take effect at the next start", level="warn")
            assert later["text"].endswith(": channels[1].settings.bind_address")
            await client.call("hd-2.answer", {"call": "two"})
        finally:
            await client.close()
        assert (list(first.ran), list(second.ran)) == (["one"], ["two"])


async def test_the_log_level_changes_while_it_runs(machine: Machine) -> None:
    """Whatever is doubtful in what was changed beside it: that is warned about."""
    process = machine.processes["hd-1"] = await machine.spawn("hd-1", "eps", "--format", "json", "server", "run")
    await process.up()
    changed = "log_level: debug\nkeepalive: {unanswered: 20}\n"
    (machine.dev / "roles" / "hd-1" / "009_level.yml").write_text(changed)
    await process.wait_for(text="changed settings in use now: log_level", timeout=30)  # a new file in a folder
    await process.wait_for(text="009_level.yml: keepalive.unanswered: is 20 s; used are 35 s", level="warn", timeout=30)
    for _ in range(5):  # of many failed calls, all but the first are for the debug log only
        await machine.call("hd-1._ping")
    await process.wait_for(level="debug", timeout=30)
