"""A running server that may open no more files: what it has goes on, what is new waits or is told so, and as soon as
there are files again all is as before."""

import asyncio
import resource

import pytest

from support.application import Application
from support.load import load
from support.machine import Machine
from support.measure import load_of

CALLERS = 4
STRANGERS = 40
WITHOUT_SECONDS = 3.0
WHOLE_SECONDS = 20.0


@pytest.mark.parametrize(
    ("victim", "port"),
    [
        pytest.param("hd-1", 5555, id="A"),
        pytest.param("hd-2", 3334, id="B", marks=pytest.mark.chaos),
        pytest.param("public-proxy-1", 9999, id="the proxy", marks=pytest.mark.chaos),
    ],
)
async def test_a_server_that_may_open_no_more_files(machine: Machine, victim: str, port: int) -> None:
    """Forty connections come while not one more file may be opened; calls on connections that stand don't notice."""
    async with Application(seconds=0.01) as application:
        application.serve(machine)
        await machine.ready()
        pid = machine.processes[victim].pid
        async with load(machine, CALLERS) as book:
            await book.more(40)
            files = load_of(pid).files
            before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, before[1]))
            made = await asyncio.gather(
                *(asyncio.open_connection("127.0.0.1", machine.ports.of[port]) for _ in range(STRANGERS))
            )
            await machine.processes[victim].wait_for(kind="notice", hint="ulimit")
            await asyncio.sleep(WITHOUT_SECONDS)
            assert book.failed == {}
            await book.more(40)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            for _, writer in made:
                writer.close()
            await machine.until_ping(WHOLE_SECONDS)
            await book.more(40)
            async with asyncio.timeout(WHOLE_SECONDS):
                while load_of(pid).files > files + CALLERS:
                    await asyncio.sleep(0.05)
    book.balance(application)
    assert book.failed == {}
    assert machine.processes[victim].running
