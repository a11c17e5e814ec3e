"""Signs of life for systemd."""

import asyncio
import socket
from pathlib import Path

import pytest

from eps.programs.running.systemd import keep_telling, watchdog_seconds


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "odd"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({}, None),
    ],
    ids=["ours", "anybody's", "another's", "zero", "odd", "negative", "none"],
)
def test_how_often(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environment, 7) == seconds


async def test_it_is_told_for_as_long_as_the_loop_turns(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000"}
        telling = asyncio.create_task(keep_telling(environment, 7))
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            assert [await loop.sock_recv(systemd, 100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
    await keep_telling({}, 7)  # returns: it isn't wanted
