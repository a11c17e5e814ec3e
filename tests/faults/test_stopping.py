"""SIGTERM: whoever is told to stop answers the calls that it has, whatever the order of channels."""

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
        assert await machine.stop(stop, signal.SIGTERM) == 0
        return await asyncio.gather(*calls, return_exceptions=True)
    finally:
        await client.close()


def told(answer: Response | BaseException) -> Any:
    if isinstance(answer, BaseException):
        assert isinstance(answer, EpsError), answer
        return str(answer)
    return answer.error or answer.result


@pytest.mark.parametrize("stopped", ["hd-1", "hd-2"])
@pytest.mark.parametrize("first", ["grpc_client", "grpc_server", "jsonrpc_server", "jsonrpc_client"])
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
