"""What an application answers, where it is, and where data are kept: none of it is told to other organisations.

The log of an own server may name places, at any level; words of applications are at level debug alone.
"""

import asyncio
import json
import sqlite3
import zlib
from collections.abc import Iterator
from typing import Any

from eps.errors import EpsError
from support.application import METHOD, channels_of, offer, write_channels
from support.machine import Machine, Process

WORDS = "patientsmith"
"""In everything that the application answers."""

PLACE = "internalplace"
"""In the URL, its password and its query."""


def http(body: bytes, head: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def answers() -> Iterator[tuple[str, bytes]]:
    """Answers that can't be passed on, by what is wrong with them."""
    page = f"<html>{WORDS} at /srv/{WORDS}/app.py</html>".encode()
    for status in ("200 OK", f"404 {WORDS}", f"500 {WORDS}", f"302 {WORDS}\r\nLocation: http://{WORDS}/", "204 x"):
        yield f"a page {status[:3]}", http(page, status)
    yield "no HTTP", WORDS.encode() + b"\r\n\r\n"
    yield "another status line", f"HTTP/1.1 2000 {WORDS}\r\n\r\n".encode()
    yield "no field", f"HTTP/1.1 200 OK\r\n{WORDS}\r\n\r\n".encode()
    yield "no length", f"HTTP/1.1 200 OK\r\nContent-Length: {WORDS}\r\n\r\n".encode()
    yield "two lengths", f"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4{WORDS}\r\n\r\n".encode()
    yield "another coding", f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {WORDS}\r\n\r\n{WORDS}".encode()
    yield "no chunk", f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{WORDS}\r\n".encode()
    yield "packed", http(page, f"200 OK\r\nContent-Encoding: {WORDS}")
    yield "packed wrongly", http(page, "200 OK\r\nContent-Encoding: gzip")
    yield "packed twice", http(zlib.compress(page), "200 OK\r\nContent-Encoding: deflate")
    yield "half of it", http(page)[:-5]
    yield "a field with controls", f"HTTP/1.1 200 OK\r\nX: {WORDS}\x01\r\n\r\n".encode()
    for text in (
        f'"{WORDS}"',
        f'["{WORDS}"]',
        f'{{"{WORDS}": 1}}',
        f'{{"result": {{"a": NaN}}, "{WORDS}": 1, "id": "1"}}',
        f'{{"{WORDS}": 1, "{WORDS}": 2}}',
        f'{{"id": "1", "result": ["\\ud800"], "{WORDS}": 1}}',
        f'{{"result": "{WORDS}", "{WORDS}": tru}}',
        f'{{"error": "{WORDS}"}}',
        f'{{"error": {{"code": "{WORDS}"}}}}',
        f'{{"error": {{"code": 1, "message": ["{WORDS}"]}}}}',
        f'{{"method": "{WORDS}", "id": "1"}}',
        "[" * 300 + f'"{WORDS}"',
    ):
        yield text[:30], http(text.encode())


class Raw:
    """Answers every request with the bytes that are given to it, and hangs up."""

    def __init__(self) -> None:
        self.answer = b""
        self.asked = 0

    async def __aenter__(self) -> "Raw":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def endpoint(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return f"http://{PLACE}:{PLACE}@127.0.0.1:{port}/{PLACE}?{PLACE}={PLACE}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        self.asked += 1
        writer.write(self.answer)
        await writer.drain()
        writer.close()


async def told(machine: Machine) -> str:
    """All that a call of the application tells its caller."""
    try:
        response = await machine.call(f"hd-2.{METHOD}", {"call": "x"})
    except EpsError as error:
        return str(error)
    assert response.error is not None, response
    return response.error.message + json.dumps(response.error.data)


def above_debug(process: Process) -> str:
    return "".join(json.dumps(line) for line in process.lines if line.get("level") != "debug")


async def ready_with(machine: Machine, application: Raw) -> None:
    """The network, with that application behind hd-2."""
    offer(machine)
    hd_2 = machine.dev / "roles" / "hd-2"
    channels = [channel for channel in channels_of(hd_2) if channel["type"] not in ("jsonrpc_client", "stdout")]
    settings = {"endpoint": application.endpoint}
    write_channels(hd_2, [*channels, {"name": "app", "type": "jsonrpc_client", "settings": settings}])
    await machine.ready()


async def test_an_application_s_words_and_place_stay_where_they_are(machine: Machine) -> None:
    async with Raw() as application:
        await ready_with(machine, application)
        found = {}
        for name, application.answer in answers():
            before = application.asked
            found[name] = await told(machine)
            assert application.asked > before, name
        place = application.endpoint.rpartition("@")[2].partition("/")[0]
    found["nobody there"] = await told(machine)
    quoted = {name: text for name, text in found.items() if WORDS in text or PLACE in text or place in text}
    assert not quoted
    theirs, ours = machine.processes["hd-1"], machine.processes["hd-2"]
    for word in (WORDS, PLACE, place):
        for role in ("hd-1", "public-proxy-1", "public-proxy-eps-1"):
            assert word not in machine.processes[role].log(), (role, word)
    assert WORDS not in above_debug(ours)
    assert place in above_debug(ours), "its own administrator is told where"
    assert theirs.lines


async def test_an_application_s_errors_are_in_no_log_above_debug(machine: Machine) -> None:
    """Its caller is told them, as they are; also where they look like an EPS server's."""
    async with Raw() as application:
        await ready_with(machine, application)
        errors: list[dict[str, Any]] = [
            *({"code": code, "message": WORDS} for code in (1, 7, 403, 404, 409, 500, -100, -32603)),
            {"code": 500, "message": WORDS, "data": {WORDS: WORDS}},
            {"code": 500, "message": WORDS, "data": {"stage": "call", "hint": WORDS}},
        ]
        for error in errors:
            application.answer = http(json.dumps({"jsonrpc": "2.0", "error": error, "id": None}).encode())
            assert WORDS in await told(machine)
    for role in ("hd-1", "hd-2"):
        assert WORDS not in above_debug(machine.processes[role]), role


async def test_a_store_s_place_is_told_to_nobody_who_submits(machine: Machine) -> None:
    await machine.start("sd-1", "hd-1")
    await machine.setup_directory()
    (store,) = machine.folder.rglob("records.sqlite")
    database = sqlite3.connect(store, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    try:
        refused = await machine.submit([{"name": "new", "section": "groups", "data": ["x"]}])
    finally:
        database.execute("ROLLBACK")
        database.close()
    assert refused.code == 1
    assert "the datastore here can't be used at present" in refused.err
    told = refused.err[refused.err.index("error:") :]  # before it, this command may speak of its own copy
    assert store.name not in told and str(machine.folder) not in told
    line = await machine.processes["sd-1"].wait_for(kind="notice", message="was refused: the datastore")
    assert str(store) in line["message"]
