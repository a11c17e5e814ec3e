"""Bodies that are small until they are unpacked."""

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest

from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from support.testing import jsonrpc_server

CALL = b'{"jsonrpc": "2.0", "method": "hd-2._ping", "params": {}, "id": "1"}'


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("padding", [0, 64 * 1024 * 1024], ids=["a call", "a bomb"])
async def test_a_compressed_body_is_not_unpacked(coding: str, pack: Callable[[bytes], bytes], padding: int) -> None:
    """A call that is understood when unpacked: that it is refused shows that nobody did."""

    async def nobody(call: Call) -> Response:
        raise AssertionError("the body was unpacked")

    body = pack(CALL + b" " * padding)
    async with jsonrpc_server(nobody, bind_address="127.0.0.1:0") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = "POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
        writer.write(f"{head}Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
    assert b'"code":-32700' in answer
