"""SIGTERM to a proxy, or ``proxy drain``: it begins nothing new, and what it has may end by itself."""

import asyncio
import json
import signal
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.application import METHOD, Application
from support.machine import PASSTHROUGH, Done, Machine

PUBLIC, PRIVATE, DOMAIN = "public-proxy-1.ga", "private-proxy-1.ga", "test.internal-server.local"
BODY = b"0123456789" * 10


def set_drain_timeout(machine: Machine, role: str, seconds: float) -> None:
    kind = role.partition("-")[0]
    (machine.dev / "roles" / role / "004_drain.yml").write_text(json.dumps({kind: {"drain_timeout": seconds}}))


async def ended(machine: Machine, role: str) -> tuple[float, str]:
    """Stop a program as a service manager does; the seconds that it took, and its log."""
    process = machine.processes[role]
    began = time.monotonic()
    assert await machine.stop(role, signal.SIGTERM) == 0
    return time.monotonic() - began, process.log()


async def drained(machine: Machine, role: str, *command: str) -> tuple[Done, str]:
    """End a program by a command that waits for it; what that did, and the program's log."""
    process = machine.leaves(role)
    done = await machine.run(*command, role=role, timeout=90.0)
    async with asyncio.timeout(10):
        assert await process.process.wait() == 0
    await process.wait_for(text="stopped")
    return done, process.log()


async def test_a_call_that_runs_over_a_tunnel_is_answered(machine: Machine) -> None:
    async with Application(seconds=2.0) as application:
        application.serve(machine)
        await machine.ready()
        call = asyncio.create_task(machine.call(f"hd-2.{METHOD}", {"call": "one"}))
        await application.until_running(1)
        took, log = await ended(machine, "public-proxy-1")
        answer = await call
    assert answer.error is None, answer
    assert took < 9.0, log
    assert "1 connection may end by themselves, for 10 s at the most" in log
    assert "2 operators make other connections" in log
    assert "all connections have ended" in log


async def test_tunnels_that_nobody_uses_keep_no_proxy_from_stopping(machine: Machine) -> None:
    async with Application() as application:
        application.serve(machine)
        await machine.ready()
        assert (await machine.call(f"hd-2.{METHOD}", {"call": "one"})).error is None
        done, log = await drained(machine, "public-proxy-1", "proxy", "drain", "--wait", "--json")
    assert done.code == 0, done
    assert "all connections have ended" in log
    told = json.loads(done.out)
    assert told.pop("seconds") < 6.0
    assert told == {
        "name": "the public proxy public-proxy-1.ga",
        "connections": 1,
        "drain_timeout": 10.0,
        "ended": True,
        "cut": 0,
    }


async def test_what_has_not_ended_within_drain_timeout_is_cut(machine: Machine) -> None:
    async with Application(seconds=30.0) as application:
        application.serve(machine)
        set_drain_timeout(machine, "public-proxy-1", 2.0)
        await machine.ready()
        call = asyncio.create_task(machine.call(f"hd-2.{METHOD}", {"call": "one"}))
        await application.until_running(1)
        done, log = await drained(machine, "public-proxy-1", "proxy", "drain", "public", "--wait")
        answer = await call
    name = "the public proxy public-proxy-1.ga"
    takes = "it takes no new connections, and the 1 connection that it has may end within 2 s"
    assert (done.code, done.out) == (1, f"{name} ends: {takes}\n"), done
    assert f"{name} has ended, but 1 connection had not within drain_timeout (2 s), and had to be cut" in done.err
    assert "1 connection had not ended within drain_timeout (2 s)" in log
    assert answer.error is not None
    assert answer.error.data["outcome"] == "unknown"


# --- TLS passthrough


@asynccontextmanager
async def slow_server(machine: Machine, *, go_on: asyncio.Event) -> AsyncIterator[None]:
    """An internal server that sends half of an answer, and the rest when it may."""
    certs = machine.dev / "certs"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certs / "internal-server.crt", certs / "internal-server.key")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\n")
        writer.write(BODY[:50])
        await writer.drain()
        await go_on.wait()
        writer.write(BODY[50:])
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", machine.ports.of[7777], ssl=context)
    async with server:
        yield


@asynccontextmanager
async def half_fetched(machine: Machine) -> AsyncIterator[asyncio.StreamReader]:
    """A TLS client that has got half of its answer."""
    context = ssl.create_default_context(cafile=str(machine.dev / "certs" / "root.crt"))
    port = machine.ports.of[4433]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=DOMAIN)
    writer.write(b"give\n")
    assert await reader.readexactly(50) == BODY[:50]
    yield reader
    writer.close()


async def announced(machine: Machine) -> None:
    await machine.start("sd-1", "public-proxy-1", "public-proxy-eps-1", "hd-1", *PASSTHROUGH)
    await machine.setup_directory()
    async with asyncio.timeout(60):
        params = {"domain": DOMAIN, "proxy": PUBLIC, "expires_at": None}
        while (await machine.call(f"{PRIVATE}.announceConnection", params)).error is not None:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("role", ["public-proxy-1", "private-proxy-1"])
async def test_the_connections_of_tls_clients_go_on_until_they_end(machine: Machine, role: str) -> None:
    go_on = asyncio.Event()
    async with slow_server(machine, go_on=go_on):
        await announced(machine)
        async with half_fetched(machine) as reader:
            process = machine.processes[role]
            stopping = asyncio.create_task(ended(machine, role))
            await process.wait_for(message="1 connection may end by themselves")
            go_on.set()
            assert await reader.read() == BODY[50:]
            took, log = await stopping
    assert took < 8.0, log
    assert "all connections have ended" in log


@pytest.mark.parametrize("role", ["public-proxy-1", "private-proxy-1"])
async def test_but_not_for_longer_than_drain_timeout(machine: Machine, role: str) -> None:
    set_drain_timeout(machine, role, 1.0)
    async with slow_server(machine, go_on=asyncio.Event()):
        await announced(machine)
        async with half_fetched(machine) as reader:
            took, log = await ended(machine, role)
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await reader.readexactly(50)
    assert 0.9 < took < 7.0, log
    assert "1 connection had not ended within drain_timeout (1 s)" in log


async def fetch_on(machine: Machine, over: asyncio.Event) -> int:
    """One TLS client after another, each of which must get its answer; how many."""
    number = 0
    while not over.is_set():
        async with half_fetched(machine) as reader:
            assert await reader.read() == BODY[50:]
        number += 1
    return number


@pytest.mark.parametrize("role", [pytest.param("public-proxy-1", marks=pytest.mark.chaos), "private-proxy-1"])
async def test_no_tls_client_is_lost_while_a_process_takes_anothers_place(machine: Machine, role: str) -> None:
    """Neither one that is connected, nor any that come: the new process is the one that is called then."""
    go_on, over = asyncio.Event(), asyncio.Event()
    async with slow_server(machine, go_on=go_on):
        await announced(machine)
        async with half_fetched(machine) as reader:
            old = machine.processes[role]
            taking = asyncio.create_task(machine.take_over(role))
            await old.wait_for(message="1 connection may end by themselves")
            go_on.set()
            fetching = asyncio.gather(*(fetch_on(machine, over) for _ in range(2)))
            assert await reader.read() == BODY[50:]
            await taking
        await machine.take_over(role)  # amid load
        over.set()
        assert min(await fetching) > 3
