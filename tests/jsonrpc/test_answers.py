"""jsonrpc/answers: bodies that are compressed though nobody asked for that, and what is no HTTP."""

import asyncio
import gzip
import json
import time
import tracemalloc
import zlib
from typing import Any

import pytest

from eps.core.loose_answers import Flaw
from eps.core.message import Error, Response
from eps.errors import DeliveryError, OutcomeUnknown
from eps.jsonrpc.answers import Tolerate
from eps.jsonrpc.client import ClientLimits, JsonRpcClient
from support.passage import raw_server

ANSWER = {"jsonrpc": "2.0", "id": "1", "result": {"a": 1}}
PLAIN = json.dumps(ANSWER).encode()
LARGE = json.dumps(ANSWER | {"result": {"a": ["x" * 100] * 20_000}}).encode()


def http(body: bytes, coding: str = "", status: str = "200 OK") -> bytes:
    said = f"Content-Encoding: {coding}\r\n" if coding else ""
    return f"HTTP/1.1 {status}\r\n{said}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def asked(answer: bytes, tolerate: Tolerate | None = None, **options: Any) -> Response:
    """What a call to a server says that answers with these bytes, and then waits."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        await reader.read()

    async with raw_server(talk) as address:
        client = JsonRpcClient(f"http://{address}/", tls=None, **options)
        try:
            return await client.call("f", {}, request_id="1", tolerate=tolerate)
        finally:
            await client.close()


@pytest.mark.parametrize("body", [PLAIN, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_answer_is_understood_and_told(coding: str, pack: Any, body: bytes) -> None:
    flaws: list[Flaw] = []
    answer = await asked(http(pack(body), coding), flaws.append)
    assert answer.result == json.loads(body)["result"] and flaws == [Flaw.PACKED]


async def test_so_is_a_loose_one_and_an_error() -> None:
    flaws: list[Flaw] = []
    answer = await asked(http(gzip.compress(b'{"error":{"code":7},"id":"1"}\n!'), "gzip", "500 x"), flaws.append)
    assert answer.error == Error(7, "", {}) and flaws == [Flaw.PACKED, Flaw.SURPLUS, Flaw.BARE]


@pytest.mark.parametrize(("coding", "told"), [("identity", []), ("gzip", [Flaw.NOT_PACKED]), ("br", [Flaw.NOT_PACKED])])
async def test_an_answer_that_only_says_so(coding: str, told: list[Flaw]) -> None:
    flaws: list[Flaw] = []
    assert (await asked(http(PLAIN, coding), flaws.append)).result == {"a": 1} and flaws == told


@pytest.mark.parametrize(
    ("body", "coding", "why"),
    [
        (b"\x0b\x02\x80", "br", "compressed (br)"),
        (gzip.compress(PLAIN)[:-3], "gzip", "ends in the middle"),
        (b"<html>", "gzip", "of HTML"),
    ],
    ids=["another coding", "torn", "no gzip"],
)
@pytest.mark.parametrize(("status", "kind"), [("200 OK", OutcomeUnknown), ("502 x", DeliveryError)])
async def test_what_cannot_be_unpacked(body: bytes, coding: str, why: str, status: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as failed:
        await asked(http(body, coding, status), lambda flaw: None)
    assert why in str(failed.value) and "uncompressed" in str(failed.value) and type(failed.value) is kind


async def test_nothing_is_unpacked_where_nothing_is_tolerated() -> None:
    """A service directory may be anybody."""
    with pytest.raises(OutcomeUnknown, match="of compressed data"):
        await asked(http(gzip.compress(PLAIN), "gzip"))


async def test_a_bomb_costs_no_more_than_the_limit() -> None:
    bomb = gzip.compress(PLAIN + b" " * (256 * 1024 * 1024), 1)
    tracemalloc.start()
    try:
        with pytest.raises(OutcomeUnknown, match=r"more than [0-9]+ bytes when it is unpacked"):
            await asked(http(bomb, "gzip"), lambda flaw: None, limits=ClientLimits(max_answer=len(bomb)))
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024 + 3 * len(bomb)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + PLAIN,
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n" + PLAIN,
        b"HTTP/1.1 200 OK\r\nX Y: 1\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
    ],
    ids=["another protocol", "no chunks", "no length", "half a head", "TLS"],
)
async def test_what_is_no_http_is_told_at_once(answer: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="was sent the call; its answer is no HTTP"):
        await asked(answer, limits=ClientLimits(timeout=30))
    assert time.monotonic() - began < 15


async def test_chunks_whose_lines_end_with_lf_alone() -> None:
    chunks = b"%x\n%b\n0\n\n" % (len(PLAIN), PLAIN)
    assert (await asked(b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n" + chunks)).result == {"a": 1}


async def test_an_empty_object_is_an_empty_success() -> None:
    """As for servers in use, and nothing is lost by it."""
    flaws: list[Flaw] = []
    assert await asked(http(b"{}"), flaws.append) == Response("1", {}) and flaws == [Flaw.NO_ID]


@pytest.mark.parametrize("status", ["200 OK", "404 x"])
@pytest.mark.parametrize("body", [b'{"message":"ok"}', b'{"sum":5}', b'{"data":{"result":1}}'])
async def test_an_object_about_something_else_is_no_answer_and_the_error_says_what_is_missing(
    body: bytes, status: str
) -> None:
    with pytest.raises(DeliveryError, match="it has neither result nor error") as failed:
        await asked(http(body, status=status), lambda flaw: None)
    assert "put what it answers under result" in failed.value.hint
