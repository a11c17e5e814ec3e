"""Fuzz targets: HTTP messages, as the private proxy and our HTTP clients read them."""

from collections.abc import Coroutine, Hashable
from typing import Any

import h11
from engine import Target
from wire_targets import in_two

from eps.http1.exchange import Exchange
from eps.http1.plain_answers import plain_answer
from eps.proxy.http_messages import inside_fields, inside_target, outside_fields, trailers, wants_websocket
from eps.proxy.http_passing import Refused

WORDS = (
    "|\n|\r| |\t|: | :|,|\r\n\r\n|\r\n |\0|0\r\n\r\n|0\n\n|5\n|5\r\n|Content-Length: 5|Content-Length: 0"
    "|Transfer-Encoding: chunked|Transfer-Encoding: gzip|Host: y|Connection: close|Connection: Host, X"
    "|Upgrade: websocket|Connection: upgrade|X-Forwarded-For: 1|Expect: 100-continue"
    "|HTTP/1.0|HTTP/1.1|HTTP/2.0|HEAD|POST|OPTIONS|*|http://a?b"
    "|HTTP/1.1 204 x\r\n|HTTP/1.1 103 x\r\n\r\n|HTTP/1.1 304 x\r\n|HTTP/1.1 101 x\r\n\r\n"
)
TOKENS = [*(word.encode() for word in WORDS.split("|") if word), b"\r\n", b"\xff", b"x" * 70_000]

REQUESTS = [
    b"GET /a? HTTP/1.1\r\nHost: x\r\nCookie: \xe4=b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nX : y\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nmore",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\nTransfer-Encoding : chunked\n\n5;x\nhello\n0\nX-T : 1\n\nmore",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
]
PLAIN = [
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 400 \r\ncontent-length: 2\r\nConnection: Keep-Alive\r\nkeep-alive:timeout=5 \r\nX:\r\n\r\nokmore",
]


class Pieces:
    """What an exchange needs of a channel; it has all its bytes, and so never waits."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [piece for piece in pieces if piece]
        self.written = b""
        self.is_open = True

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def write(self, data: bytes) -> None:
        self.written += data


def done(work: Coroutine[Any, Any, Any]) -> Any:
    """What ``work`` returns, which never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


async def message(exchange: Exchange) -> tuple[list[Any], bytes, list[tuple[bytes, bytes]]]:
    """Heads, body and trailers of the next message."""
    heads: list[Any] = [await exchange.next()]
    while isinstance(heads[-1], h11.InformationalResponse) and heads[-1].status_code != 101:
        heads.append(await exchange.next())
    body, behind = b"", []
    while not exchange.is_read:
        event = await exchange.next()
        if isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            behind = event.headers.raw_items()
    return heads, body, behind


def request_of(*pieces: bytes) -> Hashable:
    """What a request says; as it goes inside, it says the same and nothing else."""
    channel = Pieces(*pieces)
    exchange = Exchange.as_server(channel)  # type: ignore[arg-type]  # stands for one
    heads, body, behind = done(message(exchange))
    request = heads[-1]
    if not isinstance(request, h11.Request):
        return "closed"
    target = inside_target(request)
    if target is None or request.method == b"CONNECT" or not request.http_version.startswith(b"1."):
        raise Refused(400, "no path")
    fields = inside_fields(request, target[1], b"default", websocket=wants_websocket(request))
    to = Pieces()
    inside = Exchange.as_client(to)  # type: ignore[arg-type]  # stands for one
    passed = h11.Request(method=request.method, target=target[0], headers=fields)
    end = h11.EndOfMessage(headers=[(name, value) for name, value in behind])
    inside.send(passed, *([h11.Data(data=body)] if body else []), h11.EndOfMessage(headers=trailers(end)))
    again = Exchange.as_server(Pieces(to.written))  # type: ignore[arg-type]  # stands for one
    seen, body_again, _ = done(message(again))
    assert (seen[-1].method, seen[-1].target, body_again) == (request.method, target[0], body)
    assert again.rest == b"", "nothing is smuggled behind it"
    assert not any(name.startswith((b"x-forwarded-f", b"x_forwarded_f")) for name, _ in seen[-1].headers)
    assert [value for name, value in seen[-1].headers if name == b"host"] != []
    return request.method, request.target, body, exchange.rest + b"".join(channel.pieces)


def run_request(data: bytes) -> Hashable:
    whole = outcome(request_of, data)
    assert outcome(request_of, *in_two(data)) == whole
    return whole


def answer_of(*pieces: bytes, method: bytes = b"GET") -> Hashable:
    """What an answer says; as it goes to the client, it can be written."""
    exchange = Exchange.as_client(Pieces(*pieces))  # type: ignore[arg-type]  # stands for one
    exchange.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"x")]), h11.EndOfMessage())
    heads, body, _ = done(message(exchange))
    client = Exchange.as_server(Pieces(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n"))  # type: ignore[arg-type]
    done(message(client))
    for head in heads:
        client.send(type(head)(status_code=head.status_code, headers=outside_fields(head), reason=head.reason))
    client.send(*([h11.Data(data=body)] if body else []), h11.EndOfMessage())
    assert not exchange.can_go_on or heads[-1].status_code not in (204, 304)
    return tuple(head.status_code for head in heads), body


def run_answer(data: bytes) -> Hashable:
    whole = outcome(answer_of, data)
    assert outcome(answer_of, *in_two(data)) == whole
    return whole


def run_plain(data: bytes) -> Hashable:
    """What is read at a glance says to h11 the same."""
    plain = plain_answer(data)
    if plain is None:
        return None
    exchange = Exchange.as_client(Pieces(data))  # type: ignore[arg-type]  # stands for one
    exchange.send_ready(b"", is_last=True)
    (head,), body, _ = done(message(exchange))
    assert (plain.status, plain.body, data[plain.size :]) == (head.status_code, body, exchange.rest)
    assert plain.fields == {name.lower(): value for name, value in head.headers.raw_items()}
    assert exchange.can_go_on
    return plain.status, plain.size


def outcome(read: Any, *pieces: bytes) -> Hashable:
    try:
        return read(*pieces)  # type: ignore[no-any-return]  # any of these is hashable
    except (h11.RemoteProtocolError, ConnectionResetError, Refused) as error:
        return "refused", getattr(error, "error_status_hint", 0) in (414, 431, 501)


TARGETS = [
    Target("http_request", run_request, lambda: list(REQUESTS), tokens=TOKENS),
    Target("http_answer", run_answer, lambda: list(ANSWERS), tokens=TOKENS),
    Target("plain_answer", run_plain, lambda: list(PLAIN), tokens=TOKENS),
]
