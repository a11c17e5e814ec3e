"""Fuzz targets: the ClientHello parser, alone and against OpenSSL."""

from collections.abc import Hashable, Sequence
from random import Random
from zlib import crc32

from engine import Rnd, Target, mutate_bytes

from eps.core.announcement import is_domain
from eps.core.clienthello import (
    MAX_STREAM_BYTES,
    NEED_MORE,
    ClientHello,
    ClientHelloParser,
    HelloOutcome,
    HelloRefusal,
    RefusedHello,
)
from eps.core.hello_shape import hello_shape, with_session_id_of
from support import hellos
from support.vectors import load

TOKENS = (
    b"\x16\x03\x01",
    b"\x14\x03\x03\x00\x01\x01",
    b"\x17\x03\x03",
    b"\x01\x00",
    b"\x03\x03",
    b"\x00\x00\x00\x0e\x00\x0c\x00\x00\x09localhost",
    b"\x00\x00\x00",
    b"\x00\x04\x00\x00\x01a",
    b"\xfe\x0d",
    b"\x0a\x0a\x00\x00",
    b"a.example",
    b"192.0.2.1",
    b"xn--",
)
MAX_BODY_BYTES = 60_000
"""What fits into one record, though it is too long for one."""

PARSED = (HelloRefusal.NOT_TLS, HelloRefusal.TOO_LONG, HelloRefusal.MALFORMED)


def seeds() -> list[bytes]:
    """The vectors, the corpus, and odd little ones. Shorter ones first: they are changed most often."""
    streams = [bytes.fromhex(case["hex"]) for case in load("client_hellos.json")]
    streams += [hello.stream for hello in hellos.corpus()]
    name = hellos.host("a.example")
    odd = [b"", b"\x16", hellos.hello(), hellos.hello(name), hellos.hello(hellos.server_names((1, b"x"), (0, b"y")))]
    odd.append(hellos.records(hellos.message([name]), 1, 2, 3, 4, 5, 40))
    return sorted(streams, key=len, reverse=True) + odd


def outcome_of(*pieces: bytes) -> HelloOutcome:
    parser = ClientHelloParser()
    for piece in pieces:
        parser.feed(piece)
    return parser.outcome


def run(stream: bytes) -> Hashable:
    """Whole; sometimes also in two pieces, byte by byte, and with more behind."""
    outcome = ClientHelloParser().feed(stream)
    lot = crc32(stream)
    if lot & 15 == 0:
        check_pieces(stream, outcome)
    if lot & 127 == 0:
        assert outcome_of(*(stream[at : at + 1] for at in range(len(stream)))) == outcome
    if outcome is NEED_MORE:
        return len(stream) >> 10
    if isinstance(outcome, ClientHello):
        assert 0 < outcome.size <= min(len(stream), MAX_STREAM_BYTES)
        return bool(outcome.server_name), len(outcome.server_name) >> 5, outcome.size >> 10
    assert isinstance(outcome, RefusedHello) and outcome.reason in PARSED
    return outcome


def check_pieces(stream: bytes, outcome: HelloOutcome) -> None:
    middle = crc32(stream[::-1]) % (len(stream) + 1)
    assert outcome_of(stream[:middle], stream[middle:]) == outcome
    if outcome is not NEED_MORE:
        assert outcome_of(stream, b"\x16\3\1\0\1\2", stream) == outcome
    if isinstance(outcome, ClientHello):
        assert outcome_of(stream[: outcome.size]) == outcome
        assert outcome_of(stream[: outcome.size - 1]) is NEED_MORE


def mutate(rnd: Rnd, pool: Sequence[bytes]) -> bytes:
    """A change inside the message, whose lengths are then put right, in records cut anywhere."""
    choice = rnd()
    if choice < 0.02:
        return hellos.random_hello(Random(rnd()))[0]
    stream = pool[-1 - int(rnd() * len(pool))]
    body = _other_names(rnd) if choice < 0.4 else bytearray(stream[9:])
    if choice > 0.35:
        mutate_bytes(rnd, body, pool, TOKENS)
    del body[MAX_BODY_BYTES:]
    whole = b"\x01" + len(body).to_bytes(3, "big") + body
    if rnd() < 0.7:
        return b"\x16\x03\x01" + _vector(whole)
    cuts = sorted(1 + int(rnd() * len(whole)) for _ in range(1 << int(rnd() * 4)))
    return hellos.records(whole, *cuts)


NAMES = (b"A-Z.0-9.xn--a", b"a.example", b"192.0.2.1", b"l" * 63 + b".x", bytes(3))
HEAD = bytes(34) + b"\0\0\2\x13\1\1\0"  # version and random, no session, one suite, one compression method


def _other_names(rnd: Rnd) -> bytearray:
    """A hello's body with nothing but a server_name extension that is wrong somewhere, or right."""
    name = bytearray(NAMES[int(rnd() * len(NAMES))])
    mutate_bytes(rnd, name, NAMES, TOKENS)
    names = bytearray(b"\0" + _vector(name))
    if rnd() < 0.3:
        mutate_bytes(rnd, names, (b"\0\0\1a", b"\1\0\1a"), TOKENS)
    extension = b"\0\0" + _vector(_vector(names))
    if rnd() < 0.05:
        extension *= 2
    return bytearray(HEAD + _vector(extension))


def _vector(content: bytes | bytearray) -> bytes:
    """``content`` behind its length, which is wrong if it doesn't fit two bytes."""
    return (len(content) & 0xFFFF).to_bytes(2, "big") + content


def compare(stream: bytes) -> Hashable:
    """Where both read a name, it is the same one; what OpenSSL reads and ours refuses is no valid host name."""
    theirs = hellos.openssl_server_name(stream)
    outcome = ClientHelloParser().feed(stream)
    if theirs is None:
        return type(outcome), "not read"
    if isinstance(outcome, ClientHello):
        assert outcome.server_name == theirs.lower().removesuffix("."), f"OpenSSL reads {theirs!r}"
        assert not theirs or is_domain(outcome.server_name), "what can be asked for can be announced"
        return bool(theirs)
    assert isinstance(outcome, RefusedHello), f"OpenSSL reads {theirs!r}"
    return outcome


def shape(stream: bytes) -> Hashable:
    """A hello has the shape of one with another random number and another session id, which its answer gets."""
    found = hello_shape(stream)
    if found is None:
        return None
    end = 44 + stream[43]
    other = stream[:11] + bytes(32) + stream[43:44] + bytes(end - 44) + stream[end:]
    assert hello_shape(other) == found
    assert with_session_id_of(stream, other)[44:] == stream[44:]
    assert len(found) <= len(stream)
    return len(found) // 64


TARGETS = [
    Target("clienthello", run, seeds, tokens=TOKENS, mutate=mutate),
    Target("clienthello_openssl", compare, seeds, tokens=TOKENS, mutate=mutate),
    Target("hello_shape", shape, seeds, tokens=TOKENS, mutate=mutate),
]
