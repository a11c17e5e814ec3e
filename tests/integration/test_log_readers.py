"""What reads a server's log may stop, end or be full: calls go on all the same."""

import fcntl
import os
import select
from pathlib import Path

from support.machine import Machine

CALLS = 300
"""Each leaves some 70 bytes of log, and the pipe takes 4 KiB."""


async def call_often(machine: Machine) -> list[object]:
    client = machine.application("hd-2")
    try:
        answers = [await client.call("hd-2._ping", {}, request_id=str(number)) for number in range(CALLS)]
    finally:
        await client.close()
    return [answer.error for answer in answers]


async def start_with_log(machine: Machine, log: str) -> None:
    """hd-2 with its standard error at ``log``, and answering."""
    line = f"exec eps --level trace server run 2>{log}"
    machine.processes["hd-2"] = await machine.spawn_shell("hd-2", line, **machine.environment("hd-2"))
    await machine.until_ping(60)


def is_full(fifo: Path) -> bool:
    """Whether whoever writes to it has to wait."""
    writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        return not select.select([], [writer], [], 0)[1]
    finally:
        os.close(writer)


async def test_a_log_that_nobody_reads_holds_up_no_call(machine: Machine, tmp_path: Path) -> None:
    await machine.ready()
    await machine.stop("hd-2")
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        await start_with_log(machine, str(fifo))
        assert await call_often(machine) == [None] * CALLS
        assert is_full(fifo), "nobody had to wait"
        assert await machine.stop("hd-2") == 0
    finally:
        os.close(reader)


async def test_a_full_disk_under_the_log_holds_up_no_call(machine: Machine) -> None:
    await machine.ready()
    await machine.stop("hd-2")
    await start_with_log(machine, "/dev/full")
    assert await call_often(machine) == [None] * CALLS
    assert await machine.stop("hd-2") == 0
