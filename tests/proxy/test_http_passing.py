"""A private proxy where TLS ends: messages pass as they are, and an answer ends where HTTP says that it does."""

import asyncio
import re
from collections.abc import Sequence
from http import HTTPStatus

import pytest
import uvloop

from eps.core.event import Notice, TunnelFinished
from eps.http1.heads import MAX_HEAD
from eps.proxy import http_passing
from eps.proxy.http_forwarding import HttpForwarder
from support.passage import TLS, Passage, passage, raw, raw_server, through
from support.testing import Events

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Recorder:
    """An internal server that answers each request on a connection with the next of its answers, and keeps the heads.

    Args:
        pieces: how each answer is cut; between two of them the client has time to read the first.
    """

    def __init__(self, *answers: Sequence[bytes] | bytes) -> None:
        self.answers = [[answer] if isinstance(answer, bytes) else list(answer) for answer in answers]
        self.heads: list[bytes] = []
        self.connections = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            first, *others = self.answers[min(len(self.heads), len(self.answers)) - 1]
            writer.write(first)
            for piece in others:
                await writer.drain()
                await asyncio.sleep(0.02)
                writer.write(piece)


def head(method: bytes = b"GET", target: bytes = b"/", *fields: bytes, last: bool = False) -> bytes:
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: x", *fields]
    return b"\r\n".join([*lines, b"Connection: close" if last else b"X-Last: no"]) + b"\r\n\r\n"


def status_lines(answers: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 \d{3} [^\r]*", answers)


# Where an answer ends

WITHOUT_BODY = {
    "HEAD": (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
    "HEAD without a length": (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
    "HEAD in chunks": (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "204": (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    "204 with a length": (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n"),
    "204 in chunks": (b"DELETE", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "304": (b"GET", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "304 with a length": (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
}


@pytest.mark.parametrize("surplus", [b"surplus", b"7\r\nsurplus\r\n0\r\n\r\n", OK])
@pytest.mark.parametrize("is_apart", [False, True])
@pytest.mark.parametrize("name", WITHOUT_BODY)
async def test_answers_that_end_at_their_head(name: str, is_apart: bool, surplus: bytes) -> None:
    """Nothing that a careless server sends behind them is taken for a part of this answer, or of the next."""
    method, answer = WITHOUT_BODY[name]
    inside = Recorder([answer, surplus] if is_apart else answer + surplus, OK)
    events = Events()
    async with raw_server(inside.talk) as address, through(address, events) as way:
        answers = await raw(way, head(method) + head(target=b"/2", last=True))
    first, second = answers.split(b"HTTP/1.1 200 OK\r\n")[-2:] if method == b"HEAD" else answers.split(b"HTTP/1.1 ")[1:]
    assert first.endswith(b"\r\n\r\n") and b"surplus" not in first
    assert second.endswith(b"\r\n\r\nok") and b"surplus" not in second
    assert status_lines(answers) == [answer.split(b"\r\n")[0], b"HTTP/1.1 200 OK"]
    assert [line.split()[1] for line in inside.heads] == [b"/", b"/2"]
    assert events.of(Notice) == []


@pytest.mark.parametrize("surplus", [b"!", b"x" * 300_000, b"\r\n", OK, b"HTTP/1.1 500 No\r\n\r\n"])
@pytest.mark.parametrize(
    "whole",
    [OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
    ids=["length", "chunked"],
)
async def test_bytes_behind_an_answer_are_dropped(whole: bytes, surplus: bytes) -> None:
    inside = Recorder(whole + surplus, OK)
    events = Events()
    async with raw_server(inside.talk) as address, through(address, events) as way:
        answers = await raw(way, head() + head(target=b"/2") + head(b"POST", b"/3", b"Content-Length: 0", last=True))
    assert status_lines(answers) == [b"HTTP/1.1 200 OK"] * 3
    assert surplus.strip() not in answers or surplus in (OK, b"\r\n")
    assert answers.count(b"ok") == 3 and b"500" not in answers
    assert inside.connections == 3, "a connection that has brought more than an answer is not used again"
    assert events.of(Notice) == []


async def test_a_connection_on_which_something_comes_later_is_not_used_again() -> None:
    inside = Recorder([OK, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"], OK)
    async with raw_server(inside.talk) as address, through(address) as way:
        reader, writer = await way.open()
        for number in range(2):
            writer.write(head(last=number == 1))
            answer = await asyncio.wait_for(reader.readuntil(b"ok"), 20)
            assert b"evil" not in answer
            await asyncio.sleep(0.1)  # the rest has come
        writer.close()
        await writer.wait_closed()
    assert inside.connections == 2


async def test_hints_reach_the_client_before_the_answer() -> None:
    hints = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nContent-Length: 7\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nKeep-Alive: x\r\n\r\n"
    )
    inside = Recorder([hints, OK])
    async with raw_server(inside.talk) as address, through(address) as way:
        reader, writer = await way.open()
        writer.write(head(last=True))
        early = await asyncio.wait_for(reader.readuntil(b"preload\r\n\r\n"), 20)
        assert early == (
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        )
        assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()
        await writer.wait_closed()
        old = await raw(way, b"GET / HTTP/1.0\r\n\r\n")
    assert status_lines(old) == [b"HTTP/1.1 200 OK"], "HTTP/1.0 knows no such answers"


async def test_an_answer_that_tells_its_length_twice_tells_it_once() -> None:
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    async with raw_server(Recorder(both).talk) as address, through(address) as way:
        answer = await raw(way, head(last=True))
    assert b"Content-Length" not in answer and answer.endswith(b"2\r\nok\r\n0\r\n\r\n")


async def test_trailers_pass_but_those_that_lie() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nSet-Cookie: a\r\n\r\n"
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.append(await reader.readuntil(b"\r\n0\r\n"))
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(chunked)

    async with raw_server(talk) as address, through(address) as way:
        body = b"2\r\nhi\r\n0\r\nX-Sum: 5\r\nHost: y\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
        answer = await raw(way, head(b"POST", b"/", b"Transfer-Encoding: chunked", last=True) + body)
    assert seen == [b"2\r\nhi\r\n0\r\n", b"X-Sum: 5\r\n\r\n"]
    assert answer.endswith(b"0\r\nX-Sum: 7\r\n\r\n")


# Passing on as is


async def passed(way: Passage, inside: Recorder, request: bytes) -> tuple[bytes, bytes]:
    """The head as it arrives inside, and the answer."""
    answer = await raw(way, request)
    return inside.heads[-1], answer


@pytest.mark.parametrize(
    ("asked", "arrives"),
    [
        (b"GET /a?", b"GET /a?"),
        (b"GET /\xc3\xa4?\xff", b"GET /%C3%A4?%FF"),
        (b"GET /?", b"GET /?"),
        (b"GET /?a=b&c#d", b"GET /?a=b&c#d"),
        (b"GET /%7e/%2F/./..//;x=\"<>[]{}|\\^`'?%zz", b"GET /%7e/%2F/./..//;x=\"<>[]{}|\\^`'?%zz"),
        (b"OPTIONS *", b"OPTIONS *"),
        (b"OPTIONS http://other:1", b"OPTIONS *"),
        (b"GET http://other/a?", b"GET /a?"),
        (b"GET http://other?", b"GET /?"),
        (b"GET HTTPS://me@other:1/%41", b"GET /%41"),
    ],
)
async def test_targets(asked: bytes, arrives: bytes) -> None:
    inside = Recorder(OK)
    async with raw_server(inside.talk) as address, through(address) as way:
        arrived, _ = await passed(way, inside, asked + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert arrived.startswith(arrives + b" HTTP/1.1\r\n")


METHODS = b"GET PUT DELETE TRACE PATCH VERSION-CONTROL LABEL BASELINE-CONTROL M-SEARCH PRI get X !#$%&'*+-.^_`|~09"


@pytest.mark.parametrize("method", METHODS.split())
async def test_methods(method: bytes) -> None:
    inside = Recorder(OK)
    async with raw_server(inside.talk) as address, through(address) as way:
        arrived, answer = await passed(way, inside, head(method, b"/", b"Content-Length: 0", last=True))
    assert arrived.startswith(method + b" / HTTP/1.1\r\n") and answer.endswith(b"ok")


@pytest.mark.parametrize("start", range(0x80, 0x100, 0x20))
async def test_bytes_in_values_both_ways(start: int) -> None:
    value = b"a" + bytes(range(start, start + 0x20)) + b" \tz"
    inside = Recorder(b"HTTP/1.1 200 " + value + b"\r\nX-Bytes: " + value + b"\r\nContent-Length: 2\r\n\r\nok")
    async with raw_server(inside.talk) as address, through(address) as way:
        arrived, answer = await passed(way, inside, head(b"GET", b"/", b"X-Bytes: " + value, last=True))
    assert b"\r\nX-Bytes: " + value + b"\r\n" in arrived
    assert answer.startswith(b"HTTP/1.1 200 " + value + b"\r\n") and b"\r\nX-Bytes: " + value + b"\r\n" in answer


@pytest.mark.parametrize("count", [200, 1000])
async def test_many_fields_both_ways(count: int) -> None:
    fields = [b"X-Field-%d: some value" % number for number in range(count)]
    inside = Recorder(b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(fields) + b"\r\nContent-Length: 2\r\n\r\nok")
    async with raw_server(inside.talk) as address, through(address) as way:
        arrived, answer = await passed(way, inside, head(b"GET", b"/", *fields, last=True))
    assert b"\r\n".join(fields) in arrived and b"\r\n".join(fields) in answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head(b"GET", b"/", b"X: " + b"x" * MAX_HEAD), HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        (head(b"GET", b"/", *[b"X: x"] * MAX_HEAD), HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        (head(b"GET", b"/" + b"x" * MAX_HEAD), HTTPStatus.REQUEST_URI_TOO_LONG),
        (b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 400_000, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    ],
    ids=["a field", "fields", "a target", "no end"],
)
async def test_a_head_beyond_the_limit(request_: bytes, status: HTTPStatus) -> None:
    events = Events()
    async with through("127.0.0.1:1", events) as way:
        reader, writer = await way.open()
        writer.write(request_)
        answer = await asyncio.wait_for(reader.readuntil(b"65536 bytes\n"), 20)
        writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 %d " % status) and b"Connection: close\r\n" in answer
    assert events.of(Notice) == []


async def test_a_head_just_within_the_limit() -> None:
    inside = Recorder(OK)
    request = head(b"GET", b"/", b"X: ", last=True)
    request = request.replace(b"X: ", b"X: " + b"x" * (MAX_HEAD - len(request)))
    async with raw_server(inside.talk) as address, through(address) as way:
        _, answer = await passed(way, inside, request)
    assert len(request) == MAX_HEAD and answer.endswith(b"ok")


async def test_an_answer_whose_head_is_beyond_the_limit() -> None:
    inside = Recorder(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD + b"\r\n\r\n")
    events = Events()
    async with raw_server(inside.talk) as address, through(address, events) as way:
        assert (await raw(way, head(last=True))).startswith(b"HTTP/1.1 502 ")
    assert "its head is longer than 65536 bytes" in events.of(Notice)[0].text


async def test_a_space_before_a_colon_is_removed_from_an_answer() -> None:
    """RFC 9112, section 5.1."""
    said = b"HTTP/1.1 200 OK\r\nX-One : a : b\r\nX-Two \t: c\r\nContent-Length : 2\r\n\r\nok"
    async with raw_server(Recorder(said).talk) as address, through(address) as way:
        answer = await raw(way, head(last=True))
    assert b"\r\nX-One: a : b\r\nX-Two: c\r\nContent-Length: 2\r\n" in answer and answer.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    "bad",
    [
        head(b"GET", b"/", b"X : y"),
        head(b"GET", b"/", b"X\t: y"),
        head(b"GET", b"/", b" X: y"),
        head(b"GET", b"/", b"X: y\r\n z"),
        head(b"GET", b"/", b"X: y\rZ: z"),
        head(b"GET", b"/", b"X: y\nZ: z"),
        head(b"GET", b"/", b"X: \0"),
        head(b"GET", b"/", b"X"),
        head(b"GET", b"/", b": y"),
        head(b"GET", b"/", b"Host: y"),
        head(b"G(T", b"/"),
        head(b"GET", b"/a b"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        head(b"POST", b"/", b"Content-Length: +5"),
        head(b"POST", b"/", b"Content-Length: 5, 5"),
        head(b"POST", b"/", b"Content-Length: 5", b"Content-Length: 5"),
        head(b"POST", b"/", b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        head(b"POST", b"/", b"Transfer-Encoding: chunked", b"content-LENGTH:5"),
    ],
)
async def test_requests_that_two_servers_may_read_differently_are_refused(bad: bytes) -> None:
    inside = Recorder(OK)
    events = Events()
    async with raw_server(inside.talk) as address, through(address, events) as way:
        answer = await raw(way, bad + head(target=b"/smuggled"))
    assert status_lines(answer) == [b"HTTP/1.1 400 Bad Request"] and inside.heads == []
    assert events.of(Notice) == []


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity", b"chunked, chunked", b"xchunked", b"chunked;q=1"])
async def test_codings_that_nobody_here_knows(coding: bytes) -> None:
    async with through("127.0.0.1:1") as way:
        answer = await raw(way, head(b"POST", b"/", b"Transfer-Encoding: " + coding))
    assert answer.startswith(b"HTTP/1.1 501 ")


async def test_other_versions() -> None:
    async with through("127.0.0.1:1") as way:
        assert (await raw(way, b"GET / HTTP/2.0\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 505 ")


async def test_connection_names_nothing_that_is_for_both_ends() -> None:
    """Else a client could take from its request what the internal server decides by."""
    named = b"Connection: close, Host, Content-Type, Cookie, Authorization, X-Forwarded-Proto, X-Mine"
    fields = [b"Content-Type: a/b", b"Cookie: c=d", b"Authorization: e", b"X-Mine: f", b"Content-Length: 0"]
    said = b"HTTP/1.1 200 OK\r\nConnection: Set-Cookie, Content-Length, X-Mine\r\nSet-Cookie: a\r\nX-Mine: b\r\n"
    inside = Recorder(said + b"Content-Length: 2\r\n\r\nok")
    async with raw_server(inside.talk) as address, through(address) as way:
        arrived, answer = await passed(way, inside, head(b"POST", b"/", named, *fields))
    assert b"\r\nHost: x\r\n" in arrived and b"\r\nX-Forwarded-Proto: https\r\n" in arrived
    assert all(b"\r\n" + field + b"\r\n" in arrived for field in fields if field != b"X-Mine: f")
    assert b"X-Mine" not in arrived + answer and b"\r\nSet-Cookie: a\r\nContent-Length: 2\r\n" in answer


# Connections


async def test_a_request_that_may_be_repeated_is_repeated_when_its_kept_connection_ends() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        heads.append(await reader.readuntil(b"\r\n\r\n"))  # and it ends without a word

    heads: list[bytes] = []
    async with raw_server(talk) as address, through(address) as way:
        answers = await raw(way, head() + head(target=b"/2", last=True))
    assert status_lines(answers) == [b"HTTP/1.1 200 OK"] * 2 and heads[0].startswith(b"GET /2 ")


async def test_what_is_left_of_a_body_is_read_behind_its_answer() -> None:
    """A client that writes first and reads then would else find a connection that was reset."""
    refusal = b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with raw_server(Recorder(refusal, OK).talk) as address, through(address) as way:
        reader, writer = await way.open()
        writer.write(head(b"POST", b"/", b"Content-Length: 3000000"))
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).startswith(b"HTTP/1.1 413 ")
        writer.write(b"x" * 3_000_000 + head(target=b"/2", last=True))
        assert (await asyncio.wait_for(reader.read(), 20)).endswith(b"ok")
        writer.close()
        await writer.wait_closed()


async def test_a_body_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_passing, "LINGER_SECONDS", 0.05)
    refusal = b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with raw_server(Recorder(refusal).talk) as address, through(address) as way:
        answer = await raw(way, head(b"POST", b"/", b"Content-Length: 9"))
    assert status_lines(answer) == [b"HTTP/1.1 413 Too large"]


async def test_a_client_that_waits_to_be_told_to_send_is_not_waited_for() -> None:
    async with through("127.0.0.1:1") as way:
        answer = await raw(way, head(b"POST", b"*", b"Content-Length: 9", b"Expect: 100-continue"))
    assert status_lines(answer) == [b"HTTP/1.1 400 Bad Request"]


async def test_a_body_that_is_broken_from_its_beginning() -> None:
    inside = Recorder(OK)
    async with raw_server(inside.talk) as address, through(address) as way:
        answer = await raw(way, head(b"POST", b"/", b"Transfer-Encoding: chunked") + b"ZZ\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"400: the request's body can't be read\n")
    assert inside.heads == []


async def test_a_proxy_that_stops_lets_requests_end_and_takes_no_more() -> None:
    come, go = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        come.set()
        await go.wait()
        writer.write(OK)

    events = Events()
    async with raw_server(talk) as address:
        forwarder = HttpForwarder(address, TLS, emit=events)
        async with passage(forwarder, events) as way:
            unused, busy = await way.open(), await way.open()
            busy[1].write(head() + head(target=b"/2"))
            await asyncio.wait_for(come.wait(), 20)
            closing = asyncio.create_task(forwarder.close())
            assert await asyncio.wait_for(unused[0].read(), 20) == b""
            go.set()
            answers = await asyncio.wait_for(busy[0].read(), 20)
            await closing
            for _, writer in (unused, busy):
                writer.close()
                await writer.wait_closed()
    assert status_lines(answers) == [b"HTTP/1.1 200 OK"] and b"Connection: close\r\n" in answers
    assert [event.outcome for event in events.of(TunnelFinished)] == ["stopped", "stopped"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (IN_CHUNKS + b"ZZ\r\n", "a chunk of its body has no size"),
        (b"HTTP/1.1 200 OK\r\ngarbage\r\nContent-Length: 2\r\n\r\nok", "illegal header line"),
        (b"HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 2\r\n\r\nok", "illegal header line"),
        (b"HTTP/1.1 200 OK\r\nX: \x1b[1m\r\nContent-Length: 2\r\n\r\nok", "its head has control characters"),
        (b"HTTP/1.1 200 OK\r\nX Y: 1\r\n", "a line of its head is no field"),
        (b"SSH-2.0-x\r\n", "it does not begin with HTTP/"),
    ],
    ids=["chunk", "no colon", "space in a name", "control character", "half a head", "another protocol"],
)
async def test_what_is_no_http_is_called_so_at_once(said: bytes, why: str) -> None:
    """Though the internal server says no more, and waits."""
    events = Events()
    async with raw_server(Recorder(said).talk) as address, through(address, events) as way:
        answer = await raw(way, head(last=True))
    assert answer.startswith(b"HTTP/1.1 502 ") and b"answered what is no HTTP" in answer
    (told,) = events.of(Notice)
    assert f"no HTTP that can be read: {why}" in told.text and "is an HTTP server" in told.hint


async def test_an_internal_server_that_hangs_up_is_no_unreachable_one() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    events = Events()
    async with raw_server(talk) as address, through(address, events) as way:
        answer = await raw(way, head(last=True))
    assert answer.startswith(b"HTTP/1.1 502 ") and b"ended the connection without an answer" in answer
    assert "its own log" in events.of(Notice)[0].hint


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (IN_CHUNKS + b"2\nok\n0\n\n", b"2\r\nok\r\n0\r\n\r\n"),
        (IN_CHUNKS + b"2\r\nok\r\n0\r\nT : 1\r\n\r\n", b"2\r\nok\r\n0\r\nT: 1\r\n\r\n"),
    ],
    ids=["LF alone", "a trailer's space"],
)
async def test_what_is_loose_between_chunks_is_mended(said: bytes, body: bytes) -> None:
    async with raw_server(Recorder(said).talk) as address, through(address) as way:
        answer = await raw(way, head(last=True))
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n" + body)


async def test_a_request_whose_chunks_end_with_lf_alone_is_refused_at_once() -> None:
    inside = Recorder(OK)
    async with raw_server(inside.talk) as address, through(address) as way:
        body = b"2\nok\n0\n\n"
        answer = await raw(way, head(b"POST", b"/", b"Transfer-Encoding: chunked", last=True) + body)
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_on_uvloop() -> None:
    """Whose transports are no asyncio.Transport by their class."""

    async def scenario() -> None:
        inside = Recorder(OK)
        body = b"x" * 300_000
        async with raw_server(inside.talk) as address, through(address) as way:
            answers = await raw(way, head() + head(b"POST", b"/2", b"Content-Length: 300000", last=True) + body)
        assert status_lines(answers) == [b"HTTP/1.1 200 OK"] * 2

    uvloop.run(scenario())
