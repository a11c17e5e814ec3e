"""SIGTERM, or ``eps server drain``: who is told to stop answers the calls that it has, in any order of channels."""

import asyncio
import signal
from typing import Any

import pytest

from eps.core.message import Response
from eps.errors import EpsError
from support.application import METHOD, Application, channels_of, put_first, write_channels
from support.machine import Machine

CALLS = 20


async def call_at_once(machine: Machine, application: Application, stop: str) -> list[Response | BaseException]:
    """Twenty calls of hd-1 to the application behind hd-2; when all of them run there, one of the servers is told to
    stop."""
    client = machine.application("hd-1")
    try:
        calls = [
            asyncio.create_task(client.call(f"hd-2.{METHOD}", {"call": str(number)}, request_id=str(number)))
            for number in range(CALLS)
        ]
        await application.until_running(CALLS)
        await (end(machine, stop) if stop == "hd-1" else drain(machine, stop, application))
        return await asyncio.gather(*calls, return_exceptions=True)
    finally:
        await client.close()


async def end(machine: Machine, role: str) -> None:
    assert await machine.stop(role, signal.SIGTERM) == 0


async def drain(machine: Machine, role: str, application: Application) -> None:
    """By another process, which says what runs, and waits until all has ended."""
    process = machine.leaves(role)
    application.may_answer.clear()  # it may take long until that process is there
    draining = asyncio.create_task(machine.run("eps", "server", "drain", "--wait", role=role, timeout=90.0))
    await process.wait_for(text="stopping")
    application.may_answer.set()
    done = await draining
    ends = f"{role} ends: it takes no new calls, and the {CALLS} calls that it has may end within 10 s"
    assert done.out.splitlines()[0] == ends
    assert done.code == 0, done
    assert await process.process.wait() == 0


def told(answer: Response | BaseException) -> Any:
    if isinstance(answer, BaseException):
        assert isinstance(answer, EpsError), answer
        return str(answer)
    return answer.error or answer.result


@pytest.mark.parametrize(
    ("first", "stopped"),
    [
        ("jsonrpc_server", "hd-1"),
        ("grpc_client", "hd-1"),
        ("grpc_client", "hd-2"),
        ("jsonrpc_client", "hd-2"),
        pytest.param("jsonrpc_client", "hd-1", marks=pytest.mark.chaos),
        pytest.param("grpc_server", "hd-1", marks=pytest.mark.chaos),
        pytest.param("jsonrpc_server", "hd-2", marks=pytest.mark.chaos),
        pytest.param("grpc_server", "hd-2", marks=pytest.mark.chaos),
    ],
)
async def test_running_calls_are_answered(machine: Machine, stopped: str, first: str) -> None:
    async with Application(seconds=1.0) as application:
        application.serve(machine, first=first)
        channels = channels_of(machine.dev / "roles" / "hd-1")
        put_first(channels, first)
        write_channels(machine.dev / "roles" / "hd-1", channels)
        await machine.ready()
        answers = await call_at_once(machine, application, stopped)
    assert [told(answer) for answer in answers] == [{"call": str(number)} for number in range(CALLS)]
    assert set(application.ran.values()) == {1}
