"""One HTTP connection as all our servers have it: how it ends, and what it says to what is no HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from eps.jsonrpc.http_connection import HttpConnection

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Connection(HttpConnection):
    def __init__(self, http: web.Server) -> None:
        super().__init__(http, keep_alive=60, max_line=1000)

    def trouble(self, status: int, error: BaseException | None) -> web.Response:
        return web.Response(status=status, text=f"our words for {status}")


async def hello(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="hello")


async def fail(request: web.BaseRequest) -> web.StreamResponse:
    raise ValueError("a secret of this server")


async def fail_halfway(request: web.BaseRequest) -> web.StreamResponse:
    answer = web.StreamResponse()
    answer.content_length = 10
    await answer.prepare(request)
    await answer.write(b"half")
    raise ValueError("a secret of this server")


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[web.Server, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A server with that handler, and one connection to it."""
    http = web.Server(handler)
    listening = await asyncio.get_running_loop().create_server(lambda: Connection(http), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    try:
        yield http, reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        listening.close()
        await http.shutdown(1)


def only(http: web.Server) -> Connection:
    """The one connection to it."""
    (connection,) = http.connections
    assert isinstance(connection, Connection)
    return connection


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(30):
        return await reader.readuntil(b"hello")


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the connection has ended."""
    async with asyncio.timeout(30):
        return await reader.read()


async def test_an_unused_connection_ends_as_soon_as_its_server_closes() -> None:
    async with serving(hello) as (http, reader, writer):
        writer.write(REQUEST)
        assert b" 200 " in await answer(reader)
        http.pre_shutdown()
        assert await rest(reader) == b""


async def test_a_request_in_progress_is_answered_before_its_connection_ends() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        await go.wait()
        return await hello(request)

    async with serving(slow) as (http, reader, writer):
        writer.write(REQUEST)
        await begun.wait()
        http.pre_shutdown()
        go.set()
        assert b" 200 " in await answer(reader)
        assert await rest(reader) == b""


async def test_what_is_no_http_is_told_so_in_our_words() -> None:
    async with serving(hello) as (_, reader, writer):
        writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
        said = await rest(reader)
        assert b" 400 " in said.splitlines()[0] and said.endswith(b"our words for 400")


async def test_a_line_that_is_too_long() -> None:
    async with serving(hello) as (_, reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nA: " + b"x" * 2000 + b"\r\n\r\n")
        assert (await rest(reader)).endswith(b"our words for 400")


async def test_what_goes_wrong_in_here_is_told_without_its_cause() -> None:
    async with serving(fail) as (_, reader, writer):
        writer.write(REQUEST)
        said = await rest(reader)
        assert said.endswith(b"our words for 500") and b"secret" not in said


async def test_an_answer_that_has_begun_is_not_followed_by_another() -> None:
    async with serving(fail_halfway) as (_, reader, writer):
        writer.write(REQUEST)
        assert (await rest(reader)).endswith(b"\r\n\r\nhalf")


async def test_a_body_that_breaks_is_an_error_for_its_reader() -> None:
    """aiohttp itself keeps that to itself while a request is in progress, and its reader waits for ever."""

    async def read(request: web.BaseRequest) -> web.StreamResponse:
        reading.set()
        try:
            await request.read()
        except RequestPayloadError as error:
            return web.Response(status=400, text=str(error))
        return web.Response(text="whole")

    reading = asyncio.Event()
    async with serving(read) as (_, reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await reading.wait()
        writer.write(b"ZZ\r\n")
        assert (await rest(reader)).endswith(b"\r\n\r\nit is not coded as HTTP says")


async def test_a_body_that_breaks_before_its_request_is_handled() -> None:
    async def read(request: web.BaseRequest) -> web.StreamResponse:
        handled.append(request.path)
        await go_on.wait()
        try:
            return web.Response(text=(await request.read()).decode())
        except RequestPayloadError as error:
            return web.Response(status=400, text=str(error))

    handled: list[str] = []
    go_on = asyncio.Event()
    async with serving(read) as (http, reader, writer):
        head = b"POST /%d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        writer.write(head % 1 + b"0\r\n\r\n" + head % 2)
        async with asyncio.timeout(30):
            while handled != ["/1"]:
                await asyncio.sleep(0.001)
            writer.write(b"ZZ\r\n")
            while only(http).queued != 2:
                await asyncio.sleep(0.001)
        go_on.set()
        assert b" 200 " in await answer(reader)
        assert (await rest(reader)).endswith(b"it is not coded as HTTP says")
    assert handled == ["/1", "/2"]


async def test_a_whole_body_is_not_broken_by_what_follows() -> None:
    async def read(request: web.BaseRequest) -> web.StreamResponse:
        reading.set()
        await go_on.wait()
        return web.Response(text=(await request.read()).decode())

    reading, go_on = asyncio.Event(), asyncio.Event()
    async with serving(read) as (http, reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        await reading.wait()
        writer.write(b"nonsense\r\n\r\n")
        async with asyncio.timeout(30):
            while not only(http).queued:
                await asyncio.sleep(0.001)
        go_on.set()
        assert b" 200 " in await answer(reader)
        assert b"our words for 400" in await rest(reader)


async def test_a_request_that_has_just_come_is_answered_before_the_end() -> None:
    """It is queued, and its handler has not begun: the connection is not unused any more."""
    async with serving(hello) as (http, reader, writer):
        writer.write(REQUEST)
        assert b" 200 " in await answer(reader)
        http.connections[0].data_received(REQUEST)
        http.pre_shutdown()
        assert b" 200 " in await answer(reader)
        assert await rest(reader) == b""
