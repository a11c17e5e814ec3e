"""jsonrpc/aiohttp_parts: a new version of aiohttp that does it otherwise is noticed here, and by name."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from aiohttp import hdrs, web
from aiohttp.web_protocol import RequestHandler

from eps.jsonrpc.aiohttp_parts import ConnectionParts, OwnFields

PRIVATE = re.compile(r"(?:self|super\(\))\.(_[a-z][a-z_]*)")
SOURCE = Path(__file__).parents[2] / "src" / "eps"
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Answer(OwnFields, web.Response):
    def finish_fields(self) -> None:
        self.headers.popall(hdrs.SERVER)  # a KeyError, if aiohttp has not added it yet
        self.headers["X-Last"] = "word"


class Stage:
    """A connection to a server whose handler waits until it is told to read and answer."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = asyncio.Event()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.begun.set()
        await self.go.wait()
        return Answer(text="ok")

    async def until(self, condition: str, wanted: object) -> None:
        while getattr(self.connection, condition) != wanted:
            await asyncio.sleep(0)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        http = web.Server(self.answer)
        loop = asyncio.get_running_loop()

        def made() -> ConnectionParts:
            self.connection = ConnectionParts(http, loop=loop)
            return self.connection

        listening = await loop.create_server(made, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        try:
            async with asyncio.timeout(30):
                yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            listening.close()
            await http.shutdown(1)


def test_this_is_a_version_that_was_looked_at() -> None:
    bound = next(line for line in requires("eps") or () if line.startswith("aiohttp"))
    below = re.search(r"<(\d+)\.(\d+)", bound)
    assert below, "pyproject.toml must say up to which version the private parts were looked at"
    assert tuple(map(int, version("aiohttp").split(".")[:2])) < (int(below[1]), int(below[2]))


@pytest.mark.parametrize("part", ["_messages", "_current_request", "_lingering_time", "_waiter"])
def test_a_connection_has_the_part(part: str) -> None:
    assert part in RequestHandler.__slots__, f"aiohttp's RequestHandler has no {part} any more"


def test_an_answer_has_the_part() -> None:
    assert asyncio.iscoroutinefunction(web.StreamResponse._prepare_headers), "it is no longer what it was"


def test_no_other_module_uses_them() -> None:
    used = set(PRIVATE.findall((SOURCE / "jsonrpc" / "aiohttp_parts.py").read_text()))
    assert used == {"_messages", "_current_request", "_lingering_time", "_waiter", "_prepare_headers"}
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        if "aiohttp" in text and path.stem != "aiohttp_parts":
            assert not [part for part in used if re.search(rf"\.{part}\b", text)], path


async def test_what_is_queued_and_what_of_it_can_t_be_read() -> None:
    stage = Stage()
    async with stage.connected() as (_, writer):
        await stage.until("is_unused", True)
        assert not stage.connection.last_is_unreadable and stage.connection.body_before_last is None
        writer.write(HEAD)
        await stage.begun.wait()
        assert (stage.connection.queued, stage.connection.is_unused) == (0, False)
        being_answered = stage.connection.body_before_last
        assert being_answered is not None and not being_answered.is_eof()
        writer.write(b"0\r\n\r\n" + HEAD)
        await stage.until("queued", 1)
        assert not stage.connection.last_is_unreadable
        assert stage.connection.body_before_last is being_answered and being_answered.is_eof()
        writer.write(b"ZZ\r\n")
        await stage.until("queued", 2)
        assert stage.connection.last_is_unreadable
        assert stage.connection.body_before_last not in (None, being_answered)
        stage.go.set()


async def test_a_request_that_has_just_come_makes_a_connection_used() -> None:
    stage = Stage()
    async with stage.connected():
        await stage.until("is_unused", True)
        stage.connection.data_received(HEAD)
        assert not stage.connection.is_unused
        stage.go.set()


@pytest.mark.parametrize("waits", [True, False])
async def test_a_body_that_never_comes_is_waited_for_unless_told_otherwise(waits: bool) -> None:
    stage = Stage()
    async with stage.connected() as (reader, writer):
        writer.write(HEAD)
        await stage.begun.wait()
        if not waits:
            stage.connection.give_up_reading()
        stage.go.set()
        answer = await reader.readuntil(b"ok")
        assert b"X-Last: word\r\n" in answer and b"Server:" not in answer
        rest = asyncio.create_task(reader.read())
        await asyncio.wait([rest], timeout=0.05 if waits else 30)
        assert rest.done() is not waits
        rest.cancel()


WITHOUT_CLIENT = """
import sys
import eps.jsonrpc.server
{before}
import aiohttp
assert "aiohttp.client" not in sys.modules and "aiohttp.connector" not in sys.modules
assert not hasattr(aiohttp, "__path_of_nothing__")
assert "aiohttp.client" not in sys.modules
assert aiohttp.web is sys.modules["aiohttp.web"]
assert aiohttp.__version__
{after}
assert aiohttp.ClientSession is sys.modules["aiohttp.client"].ClientSession
assert type(aiohttp) is type(sys), "an ordinary package from here on"
assert not hasattr(aiohttp, "nothing")
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [("", ""), ("import aiohttp.streams", "from aiohttp import ClientSession")],
    ids=["asked for", "imported"],
)
def test_its_client_is_loaded_only_where_it_is_wanted(before: str, after: str) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_CLIENT.format(before=before, after=after)], check=True, timeout=60)
