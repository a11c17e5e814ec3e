"""http1/plain_answers: it reads what h11 reads, and leaves everything that could be doubtful to it."""

import asyncio
import random

import h11
import pytest

from eps.http1.exchange import Exchange
from eps.http1.heads import MAX_HEAD
from eps.http1.plain_answers import plain_answer
from support.pieces import Pieces

USUAL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\nServer: x y\r\n\r\nhello"


def sent(*pieces: bytes) -> Exchange:
    """An exchange whose answer comes in these pieces."""
    exchange = Exchange.as_client(Pieces(*pieces))
    exchange.send_ready(b"POST", is_last=True)
    return exchange


async def read_by_h11(data: bytes) -> tuple[int, dict[bytes, bytes], bytes, bytes, bool]:
    exchange = sent(data)
    head = await exchange.next()
    assert isinstance(head, h11.Response)
    body = b""
    while not exchange.is_read:
        body += b"".join(event.data for event in await exchange.batch() if isinstance(event, h11.Data))
    fields = {name.lower(): value for name, value in head.headers.raw_items()}
    return head.status_code, fields, bytes(body), exchange.rest, exchange.can_go_on


@pytest.mark.parametrize(
    "data",
    [
        USUAL,
        USUAL + b"surplus",
        USUAL.replace(b"200 OK", b"400 "),
        USUAL.replace(b"Server: x y", b"connection: Keep-Alive\r\nKEEP-ALIVE:timeout=5\t "),
        USUAL.replace(b"Server: x y", b"X-!#$%&'*+.^_`|~:\r\nY: \t"),
        USUAL.replace(b"Length: 5", b"Length: 0"),
    ],
    ids=["usual", "surplus", "400", "kept", "odd names", "no body"],
)
async def test_what_is_plain_is_read_as_h11_reads_it(data: bytes) -> None:
    plain = plain_answer(data)
    assert plain is not None
    expected = await read_by_h11(data)
    assert (plain.status, plain.fields, plain.body, data[plain.size :], True) == expected


@pytest.mark.parametrize(
    "data",
    [
        USUAL[:-1],
        USUAL.replace(b"Content-Length: 5\r\n", b""),
        USUAL.replace(b"Length: 5", b"Length: 5\r\nContent-Length: 5"),
        USUAL.replace(b"Length: 5", b"Length: 5, 5"),
        USUAL.replace(b"Length: 5", b"Length: +5"),
        USUAL.replace(b"Length: 5", b"Length: 0000000005"),
        USUAL.replace(b"Length: 5", b"Length : 5"),
        USUAL.replace(b"Length: 5", b"Length:\r\n 5"),
        USUAL.replace(b"Length: 5", b"Length: 5\r\nTransfer-Encoding: chunked"),
        USUAL.replace(b"Server: x y", b"Connection: close"),
        USUAL.replace(b"Server: x y", b"Server: x\r\nSERVER: y"),
        USUAL.replace(b"Server: x y", b"Server: \xe4"),
        USUAL.replace(b"Server: x y", b"Server: a\0"),
        USUAL.replace(b"Server: x y", b": x"),
        USUAL.replace(b"Server: x y", b"x" * 600 + b": y"),
        USUAL.replace(b"Server: x y", b"x: " + b"y" * 600),
        USUAL.replace(b"Server: x y", b"".join(b"a%d: x\r\n" % number for number in range(40))[:-2]),
        USUAL.replace(b"200 OK", b"204 OK"),
        USUAL.replace(b"200 OK", b"100 OK"),
        USUAL.replace(b"200 OK", b"302 OK"),
        USUAL.replace(b"1.1", b"1.0"),
        USUAL.replace(b"\r\n", b"\n"),
        b"\r\n" + USUAL,
        b"",
    ],
)
def test_what_is_not_plain_is_left(data: bytes) -> None:
    assert plain_answer(data) is None


def test_heads_that_are_too_long_are_not_plain() -> None:
    lines = b"".join(b"%b%02d: %b\r\n" % (b"n" * 60, number, b"v" * 499) for number in range(31))
    longest = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + lines + b"\r\n"
    plain = plain_answer(longest)
    assert plain is not None and plain.size < MAX_HEAD


async def test_whatever_is_made_of_parts_of_answers_is_read_as_h11_reads_it() -> None:
    parts = [b"\r\n", b"Content-Length: 5", b"Content-Length: 0", b": ", b" ", b"\t", b"x", b"Connection: close"]
    parts += [
        b"Connection: keep-alive, x",
        b"Transfer-Encoding: chunked",
        b"\n",
        b"HTTP/1.1 200 OK",
        b"\x80",
        b"\r\n\r\n",
    ]
    made = random.Random(5)  # the same each time
    plain_ones = 0
    for _ in range(5000):
        data = bytearray(USUAL)
        for _ in range(made.randint(1, 3)):
            at = made.choice([made.randrange(len(data)), data.find(b"\r\n", made.randrange(len(data)))])
            data[at : at + made.choice([0, 0, 1, 2])] = made.choice(parts)
        plain = plain_answer(data)
        if plain is not None:
            plain_ones += 1
            expected = await read_by_h11(bytes(data))
            assert (plain.status, plain.fields, plain.body, data[plain.size :], True) == expected
    assert plain_ones > 500


async def test_a_plain_answer_ends_its_exchange() -> None:
    exchange = sent(USUAL)
    plain = await exchange.plain()
    assert plain is not None and plain.body == b"hello"
    assert exchange.is_read and exchange.can_go_on and exchange.rest == b"" and exchange.has_begun


async def test_what_follows_a_plain_answer_is_nobody_s() -> None:
    exchange = sent(USUAL + b"more")
    assert await exchange.plain() is not None
    assert exchange.rest == b"more"


async def test_a_plain_answer_before_all_is_sent_ends_the_connection() -> None:
    exchange = Exchange.as_client(Pieces(USUAL))
    exchange.send_ready(b"POST", is_last=False)
    assert await exchange.plain() is not None
    assert exchange.is_read and not exchange.can_go_on


@pytest.mark.parametrize(
    "pieces", [(USUAL[:30], USUAL[30:]), (USUAL.replace(b"Server", b"Server "),)], ids=["two", "space"]
)
async def test_other_answers_are_had_from_h11(pieces: tuple[bytes, ...]) -> None:
    exchange = sent(*pieces)
    assert await exchange.plain() is None
    head = await exchange.next()
    assert isinstance(head, h11.Response) and head.status_code == 200


async def test_no_answer_is_no_plain_one() -> None:
    async with asyncio.timeout(20):
        with pytest.raises(ConnectionResetError, match="before an answer came"):
            await sent().plain()
