"""Requests that are to bring a second one past the private proxy, unseen: variants of smuggling that are known."""

import asyncio

import pytest

from support.passage import raw, raw_server, through

HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([b"POST / " + version, b"Host: x", *fields]) + b"\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"
END = b"0\r\n\r\n"
VARIANTS = {
    "length and chunks": post(b"Content-Length: 4", CHUNKED, body=END + HIDDEN),
    "chunks and length": post(CHUNKED, b"Content-Length: 4", body=END + HIDDEN),
    "two lengths": post(b"Content-Length: 0", b"Content-Length: %d" % len(HIDDEN), body=HIDDEN),
    "two equal lengths": post(b"Content-Length: 0", b"Content-Length: 0", body=HIDDEN),
    "a list of lengths": post(b"Content-Length: 0, 0", body=HIDDEN),
    "a length with a sign": post(b"Content-Length: +0", body=HIDDEN),
    "a negative length": post(b"Content-Length: -1", body=HIDDEN),
    "a hexadecimal length": post(b"Content-Length: 0x0", body=HIDDEN),
    "a length with a space in it": post(b"Content-Length: 0 1", body=HIDDEN),
    "a length with an underscore": post(b"Content-Length: 1_0", body=HIDDEN),
    "a length with a fraction": post(b"Content-Length: 0.0", body=HIDDEN),
    "a length in other digits": post("Content-Length: ٠".encode(), body=HIDDEN),
    "an empty length": post(b"Content-Length:", body=HIDDEN),
    "a space before the colon": post(b"Content-Length : 0", body=HIDDEN),
    "a tab before the colon": post(b"Transfer-Encoding\t: chunked", body=END + HIDDEN),
    "a space before the name": post(b" Transfer-Encoding: chunked", body=END + HIDDEN),
    "a folded line": post(b"Transfer-Encoding:\r\n chunked", body=END + HIDDEN),
    "a coding that ends in chunked": post(b"Transfer-Encoding: xchunked", body=END + HIDDEN),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked", body=END + HIDDEN),
    "two codings": post(CHUNKED, b"Transfer-Encoding: identity", body=END + HIDDEN),
    "identity": post(b"Transfer-Encoding: identity", body=END + HIDDEN),
    "a coding in quotes": post(b'Transfer-Encoding: "chunked"', body=END + HIDDEN),
    "a vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=END + HIDDEN),
    "a zero byte": post(b"Transfer-Encoding: chunked\0", body=END + HIDDEN),
    "a bare carriage return": post(b"X: y\rTransfer-Encoding: chunked", body=END + HIDDEN),
    "a bare line feed": post(b"X: y\nTransfer-Encoding: chunked", body=END + HIDDEN),
    "a line feed before the end": post(b"X: y\n", body=HIDDEN),
    "a size with a sign": post(CHUNKED, body=b"+0\r\n\r\n" + HIDDEN),
    "a hexadecimal size with its mark": post(CHUNKED, body=b"0x0\r\n\r\n" + HIDDEN),
    "a size that is none": post(CHUNKED, body=b"\r\n\r\n" + HIDDEN),
    "a chunk that goes on behind its size": post(CHUNKED, body=b"1\r\nxx\r\n0\r\n\r\n" + HIDDEN),
}


@pytest.mark.parametrize("variant", VARIANTS)
async def test_nothing_is_smuggled_past_the_private_proxy(variant: str) -> None:
    assert len(VARIANTS) == 31
    heard = bytearray()

    async def inside(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            heard.extend(piece)
            if b"\r\n\r\n" in heard:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with raw_server(inside) as address, through(address) as way:
        answers = await raw(way, VARIANTS[variant])
    assert b"smuggled" not in heard
    assert answers.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), answers
    assert answers.count(b"HTTP/1.1 ") == 1 and b"\r\nConnection: close\r\n" in answers
