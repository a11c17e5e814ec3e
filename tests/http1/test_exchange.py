"""http1/exchange: both ends of it in memory, fed whole and byte by byte."""

import asyncio
from typing import Any

import h11
import pytest

from eps.http1.exchange import BATCH_BYTES, MAX_SKIPPED, Exchange
from support.pieces import Pieces


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


async def message(exchange: Exchange) -> tuple[Any, bytes]:
    """The next message's head and body."""
    head = await exchange.next()
    body = b""
    while not exchange.is_read:
        for event in await exchange.batch():
            body += event.data if isinstance(event, h11.Data) else b""
    return head, body


REQUEST = b"POST /a? HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: 1\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_requests_on_one_connection_however_they_are_cut(size: int) -> None:
    channel = Pieces(*cut(b"\r\n" + REQUEST + CHUNKED, size))
    first = Exchange.as_server(channel)
    head, body = await message(first)
    assert (head.method, head.target, body) == (b"POST", b"/a?", b"hello") and first.has_begun
    first.send(h11.Response(status_code=200, headers=[(b"Content-Length", b"0")]), h11.EndOfMessage())
    assert first.can_go_on and first.is_written
    second = Exchange.as_server(channel, first.rest)
    head, body = await message(second)
    assert (head.target, body) == (b"/b", b"hello")
    assert channel.written == b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"


def asked(method: bytes, *pieces: bytes) -> Exchange:
    exchange = Exchange.as_client(Pieces(*pieces))
    exchange.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"x")]), h11.EndOfMessage())
    return exchange


@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_what_is_behind_an_answer_is_no_part_of_it(size: int) -> None:
    exchange = asked(b"GET", *cut(b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nokmore", size))
    head, body = await message(exchange)
    assert (head.status_code, body) == (200, b"ok") and exchange.can_go_on
    assert b"more".startswith(exchange.rest) and (size == 1 or exchange.rest)


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", b"200"), (b"GET", b"204"), (b"GET", b"304")])
async def test_an_answer_that_ends_at_its_head_ends_its_connection(method: bytes, status: bytes) -> None:
    exchange = asked(method, b"HTTP/1.1 " + status + b" OK\r\nContent-Length: 5\r\n\r\nhello")
    head, body = await message(exchange)
    assert (head.status_code, body, exchange.rest) == (int(status), b"", b"hello")
    assert exchange.is_read and exchange.is_written and not exchange.can_go_on


async def test_an_answer_until_the_end() -> None:
    exchange = asked(b"GET", b"HTTP/1.1 200 OK\r\n\r\n", b"a", b"b")
    assert (await message(exchange))[1] == b"ab"
    assert exchange.at_end and not exchange.can_go_on and exchange.rest == b""


async def test_an_answer_before_the_request() -> None:
    exchange = Exchange.as_client(Pieces(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"))
    assert (await exchange.next()).status_code == 503  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 101 Other\r\n\r\n",
    ],
)
async def test_answers_that_break_off_or_are_none(said: bytes) -> None:
    exchange = asked(b"GET", said)
    with pytest.raises(h11.RemoteProtocolError):
        await message(exchange)
    assert not exchange.can_go_on and not exchange.is_read


async def test_a_server_that_ends_without_a_word() -> None:
    with pytest.raises(ConnectionResetError, match="before an answer came"):
        await asked(b"GET").next()


async def test_nothing_at_all() -> None:
    exchange = Exchange.as_server(Pieces())
    assert isinstance(await exchange.next(), h11.ConnectionClosed) and not exchange.has_begun


async def test_batches_are_bounded() -> None:
    exchange = Exchange.as_server(Pieces())
    piece = b"%x\r\n" % 1024 + b"x" * 1024 + b"\r\n"
    exchange = Exchange.as_server(Pieces(), CHUNKED[: CHUNKED.index(b"5\r\n")] + piece * 200)
    await exchange.next()
    size = sum(len(event.data) for event in exchange.ready_batch() if isinstance(event, h11.Data))
    assert BATCH_BYTES <= size < BATCH_BYTES + 1024


async def test_a_head_that_is_too_long_is_read_to_its_end_but_not_kept() -> None:
    pieces = cut(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n", 10_000)
    channel = Pieces(*pieces)
    with pytest.raises(h11.RemoteProtocolError, match="longer than 65536") as caught:
        await Exchange.as_server(channel).next()
    assert caught.value.error_status_hint == 431 and channel.pieces == []


async def test_a_head_without_an_end() -> None:
    channel = Pieces(*[b"x" * 10_000] * 1000)
    with pytest.raises(h11.RemoteProtocolError) as caught:
        await Exchange.as_server(channel).next()
    assert caught.value.error_status_hint == 414
    assert (1000 - len(channel.pieces)) * 10_000 <= MAX_SKIPPED + 100_000


async def test_a_client_that_waits_for_a_word() -> None:
    expects = REQUEST[: REQUEST.index(b"\r\n\r\n")] + b"\r\nExpect: 100-continue\r\n\r\n"
    exchange = Exchange.as_server(Pieces(), expects)
    await exchange.next()
    assert exchange.waits_to_go_on and exchange.can_answer
    exchange.send(h11.Response(status_code=417, headers=[(b"Content-Length", b"0")]), h11.EndOfMessage())
    assert not exchange.body_may_come and not exchange.is_read and not exchange.can_answer


@pytest.mark.parametrize("size", [1, 2, 1000])
async def test_chunks_whose_lines_end_loosely_are_an_answer(size: int) -> None:
    loose = b"HTTP/1.1 200 OK\nTransfer-Encoding : chunked\n\n2\nok\n0\nT : 1\n\nmore"
    exchange = asked(b"GET", *cut(loose, size))
    head, body = await message(exchange)
    assert (head.status_code, body) == (200, b"ok") and exchange.can_go_on
    assert b"more".startswith(exchange.rest)


async def test_of_a_head_alone_nothing_is_read_as_chunks() -> None:
    exchange = asked(b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk")
    head, body = await message(exchange)
    assert (head.status_code, body, exchange.rest) == (200, b"", b"no chunk")


class Endless(Pieces):
    """Whose other side goes on waiting."""

    async def read(self) -> bytes:
        return await super().read() if self.pieces else await asyncio.Future()


CHUNKED_ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail ESMTP\r\n",
        b"HTTP/1.1 200 OK\rContent-Length: 2\r\rok",
        b"HTTP/1.1 200 OK\r\nno field\r\n",
        CHUNKED_ANSWER + b"ok",
        CHUNKED_ANSWER + b"2\r\nokay",
        CHUNKED_ANSWER + b"2\rok",
    ],
    ids=["another protocol", "CR alone", "no field", "no chunk", "a longer chunk", "a chunk with CR alone"],
)
async def test_what_is_no_answer_is_told_though_the_other_side_waits(answer: bytes, size: int) -> None:
    exchange = Exchange.as_client(Endless(*cut(answer, size)))
    exchange.send(h11.Request(method=b"GET", target=b"/", headers=[(b"Host", b"x")]), h11.EndOfMessage())
    async with asyncio.timeout(5):
        with pytest.raises(h11.RemoteProtocolError):
            await message(exchange)


async def test_requests_are_read_strictly_between_their_chunks() -> None:
    exchange = Exchange.as_server(Endless(CHUNKED.replace(b"5\r\nhello", b"5\nhello")))
    async with asyncio.timeout(5):
        with pytest.raises(h11.RemoteProtocolError):
            await message(exchange)
