"""Submissions that cost a service directory more than they cost who sends them, at the running program."""

import asyncio
import itertools
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.machine import Machine
from support.measure import load_of

MIB = 2**20
BODY = 60 * MIB


def opening() -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"submitRecords","params":{"records":['


def empty_objects() -> bytes:
    return opening() + b"{}," * (BODY // 3) + b"{}]}}"


def records() -> bytes:
    """As large, and as one might be sent: nothing about it can be refused before all of it is read."""
    signature = {"data": "x" * 1500, "certificate": "y" * 100}
    change = {"name": "hd-1", "section": "group", "data": {"a": {"b": [1, 2, 3]}, "c": "z" * 300}}
    record = {"hash": "0" * 64, "parent_hash": "0" * 64, "signature": signature, "record": change}
    text = json.dumps(record).encode()
    return opening() + b",".join(itertools.repeat(text, BODY // (len(text) + 1))) + b"]}}"


def one_text() -> bytes:
    return opening() + b'"' + b"x" * BODY + b'"]}}'


@asynccontextmanager
async def connected(machine: Machine) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    certs = machine.dev / "certs"
    context = ssl.create_default_context(cafile=str(certs / "root.crt"))
    context.load_cert_chain(certs / "hd-1.crt", certs / "hd-1.key")
    port = machine.ports.of[3322]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="sd-1")
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def post(machine: Machine, body: bytes) -> dict[str, Any]:
    async with connected(machine) as (reader, writer):
        head = (
            f"POST /jsonrpc HTTP/1.1\r\nHost: sd-1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        )
        writer.write(head.encode() + b"Connection: close\r\n\r\n")
        for start in range(0, len(body), MIB):
            writer.write(body[start : start + MIB])
            await writer.drain()
        answer = await reader.read()
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def peak_of(pid: int) -> int:
    """The most that was resident since the last call of :func:`forget_peak`."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (empty_objects, "more than 1,000,000 values"),
        (records, "records[0]"),
        (one_text, "in one piece, the limit is"),
    ],
)
async def test_a_body_takes_eight_times_its_size_at_most_and_gives_it_back(
    machine: Machine, make: Any, why: str
) -> None:
    await machine.start("sd-1")
    await machine.setup_directory()
    pid = machine.processes["sd-1"].pid
    body = make()
    before = load_of(pid).memory
    forget_peak(pid)
    flood = [asyncio.create_task(post(machine, body)) for _ in range(3)]
    slowest = 0.0
    while not all(task.done() for task in flood):
        began = asyncio.get_running_loop().time()
        answer = await post(machine, b'{"jsonrpc":"2.0","id":1,"method":"getTip","params":{}}')
        assert "error" not in answer
        slowest = max(slowest, asyncio.get_running_loop().time() - began)
        await asyncio.sleep(0.05)
    for task in flood:
        assert why in task.result()["error"]["message"], task.result()
    peak, after = peak_of(pid) - before, load_of(pid).memory - before
    print(f"\n{make.__name__}: peak {peak / MIB:.0f} MiB, kept {after / MIB:.0f} MiB, slowest getTip {slowest:.3f} s")
    assert peak < 8 * len(body)
    assert after < 64 * MIB
