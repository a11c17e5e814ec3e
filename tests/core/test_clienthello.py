import json
import sys
from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.clienthello import (
    MAX_HELLO_BYTES,
    MAX_STREAM_BYTES,
    NEED_MORE,
    ClientHello,
    ClientHelloParser,
    HelloOutcome,
    HelloRefusal,
    RefusedHello,
    first_record_bytes,
)
from support import hellos
from support.vectors import load

VECTORS = {case["client"]: case for case in load("client_hellos.json")}
CORPUS = hellos.corpus()
NAME = hellos.host("a.example")


def feed(*pieces: bytes) -> HelloOutcome:
    """The outcome after these pieces, which must be final from the first time on that it is not NEED_MORE."""
    parser = ClientHelloParser()
    outcomes = [parser.feed(piece) for piece in pieces]
    decided = [outcome for outcome in outcomes if outcome is not NEED_MORE]
    assert all(outcome is decided[0] for outcome in decided) and outcomes[len(outcomes) - len(decided) :] == decided
    return parser.outcome


def reason(stream: bytes) -> HelloRefusal:
    """Why ``stream`` is refused, whole and byte by byte."""
    outcome = feed(stream)
    assert isinstance(outcome, RefusedHello) and outcome.detail
    assert feed(*in_bytes(stream)) == outcome
    return outcome.reason


def name_in(*extensions: hellos.Extension) -> str:
    outcome = feed(hellos.hello(*extensions))
    assert isinstance(outcome, ClientHello)
    return outcome.server_name


def in_bytes(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


def expected(case: dict[str, str]) -> HelloOutcome:
    stream = bytes.fromhex(case["hex"])
    if case["client"] == "plain-http":
        return feed(stream[:1])
    name = case.get("reference_server_name", "")
    return ClientHello("test.internal-server.local" if case["client"] == "openssl-tls1" else name, len(stream))


# The vectors


@pytest.mark.parametrize("client", VECTORS)
def test_vectors_are_decided_alike_however_they_are_cut(client: str) -> None:
    case = VECTORS[client]
    stream = bytes.fromhex(case["hex"])
    outcome = expected(case)
    assert feed(stream) == outcome
    assert feed(*in_bytes(stream)) == outcome
    assert feed(stream + b"more", b"and more") == outcome
    for at in range(len(stream) + 1):
        assert feed(stream[:at], stream[at:]) == outcome


@pytest.mark.parametrize("client", [client for client in VECTORS if client != "plain-http"])
def test_vectors_in_two_records_are_decided_alike(client: str) -> None:
    whole = expected(VECTORS[client])
    assert isinstance(whole, ClientHello)
    message = hellos.unframed(bytes.fromhex(VECTORS[client]["hex"]))
    cuts = [1, 2, 3, 4, 5, len(message) - 1, *(len(message) * step // 15 for step in range(1, 15))]
    for cut in cuts:
        stream = hellos.records(message, cut)
        outcome = ClientHello(whole.server_name, whole.size + 5)
        assert feed(stream) == outcome
        assert feed(*in_bytes(stream)) == outcome
        assert feed(stream[: cut + 5], stream[cut + 5 :] + b"\x17\3\3\0\1x") == outcome


def test_plain_http_is_refused_with_its_first_byte() -> None:
    outcome = feed(b"G")
    assert isinstance(outcome, RefusedHello) and outcome.reason is HelloRefusal.NOT_TLS


# The corpus


def test_the_corpus_is_as_rich_as_it_should_be() -> None:
    clients = Counter(hello.client.split("-")[0] for hello in CORPUS)
    assert sum(clients.values()) >= 200
    assert clients.keys() >= {"openssl", "curl", "chromium", "python", "node", "generated"}
    assert hellos.CORPUS.stat().st_size < 1_500_000
    assert any(hello.size < len(hello.stream) for hello in CORPUS), "early data"
    assert any(not hello.name for hello in CORPUS)


@pytest.mark.parametrize("hello", CORPUS, ids=[f"{n}-{hello.client}" for n, hello in enumerate(CORPUS)])
def test_recorded_hellos(hello: hellos.Hello) -> None:
    if hello.refused:
        assert reason(hello.stream) == hello.refused
        return
    outcome = ClientHello(hello.name, hello.size)
    assert feed(hello.stream) == outcome
    assert feed(*in_bytes(hello.stream)) == outcome
    assert feed(hello.stream[: hello.size - 1]) is NEED_MORE
    rng = Random(hello.size)
    cuts = sorted(rng.sample(range(len(hello.stream)), 5))
    assert feed(*(hello.stream[a:b] for a, b in pairwise([0, *cuts, len(hello.stream)]))) == outcome


def test_openssl_reads_the_same_names() -> None:
    for hello in CORPUS:
        if not hello.refused:
            seen = hellos.openssl_server_name(hello.stream)
            assert seen is None or seen.lower().removesuffix(".") == hello.name


def test_random_hellos_are_read_as_openssl_reads_them() -> None:
    rng = Random(1)
    agreed = 0
    for _ in range(300):
        stream, name = hellos.random_hello(rng)
        assert feed(stream) == ClientHello(name.lower(), len(stream))
        agreed += hellos.openssl_server_name(stream) == name
    assert agreed > 100


# Records


def test_any_version_will_do() -> None:
    for version in (b"\0\0", b"\3\0", b"\3\4", b"\5\5", b"\xff\xff"):
        stream = hellos.record(hellos.message([NAME], version=version), version=version)
        assert feed(stream) == ClientHello("a.example", len(stream))


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",  # SSL 2's way to say hello
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x14\x03\x01\x00\x01\x01",
        b"\x17\x03\x03\x00\x01x",
        b"\x00",
    ],
)
def test_what_begins_with_no_handshake_record_is_not_tls(stream: bytes) -> None:
    assert reason(stream) == HelloRefusal.NOT_TLS
    assert feed(stream[:1]) == feed(stream)


@pytest.mark.parametrize("kind", [20, 21, 23, 24, 0, 255])
def test_no_other_record_may_stand_within_the_hello(kind: int) -> None:
    message = hellos.message([NAME])
    stream = hellos.record(message[:9]) + hellos.record(b"\1", kind=kind) + hellos.record(message[9:])
    assert reason(stream) == HelloRefusal.MALFORMED
    assert feed(stream[:14]) is NEED_MORE
    assert feed(stream[:15]) == feed(stream)


def test_behind_the_hello_anything_may_come() -> None:
    stream = hellos.hello(NAME)
    assert feed(stream + hellos.record(b"\1", kind=20) + b"early") == ClientHello("a.example", len(stream))


def test_records_of_one_byte() -> None:
    message = hellos.message([NAME, (hellos.PADDING, bytes(4000))])
    stream = hellos.records(message, *range(1, len(message)))
    assert feed(stream) == ClientHello("a.example", 6 * len(message))


@pytest.mark.parametrize("length", [0, 2**14 + 1, 2**16 - 1])
def test_records_are_neither_empty_nor_too_long(length: int) -> None:
    assert reason(b"\x16\3\1" + length.to_bytes(2, "big")) == HelloRefusal.MALFORMED
    beginning = hellos.record(hellos.message([NAME])[:20])
    assert reason(beginning + b"\x16\3\1" + length.to_bytes(2, "big")) == HelloRefusal.MALFORMED


@pytest.mark.parametrize("kind", [0, 2, 22, 71])
def test_another_message_is_no_hello(kind: int) -> None:
    assert reason(hellos.record(bytes([kind]))) == HelloRefusal.MALFORMED


def test_nothing_may_follow_in_the_last_record() -> None:
    message = hellos.message([NAME])
    assert reason(hellos.record(message + b"\1")) == HelloRefusal.MALFORMED
    assert reason(hellos.records(message + b"\1", 30)) == HelloRefusal.MALFORMED
    assert reason(hellos.record(message[:2]) + hellos.record(message[2:] + b"\1")) == HelloRefusal.MALFORMED


# Caps


def padded(size: int) -> bytes:
    """A hello whose message has ``size`` bytes."""
    empty = hellos.message([NAME, (hellos.PADDING, b"")])
    return hellos.message([NAME, (hellos.PADDING, bytes(size - len(empty)))])


def test_a_hello_of_16_kib_is_read_and_a_longer_one_is_not() -> None:
    stream = hellos.record(padded(MAX_HELLO_BYTES))
    assert feed(stream) == ClientHello("a.example", len(stream))
    longer = hellos.records(padded(MAX_HELLO_BYTES + 1), 5000)
    assert reason(longer) == HelloRefusal.TOO_LONG
    assert feed(longer[:9]) == feed(longer), "as soon as its length is known"


def test_a_stream_of_32_kib_is_read_and_a_longer_one_is_not() -> None:
    """The hello could be shorter than its cap and yet take too many records."""
    size = 6000
    ones = (6 * size - MAX_STREAM_BYTES + 4) // 5  # bytes that must share a record with the one before
    message = padded(size)
    longest = hellos.records(message, *range(ones + 1, size))
    assert MAX_STREAM_BYTES - 5 < len(longest) <= MAX_STREAM_BYTES
    assert feed(longest) == ClientHello("a.example", len(longest))
    assert reason(hellos.records(message, *range(ones, size))) == HelloRefusal.TOO_LONG


def test_every_byte_is_looked_at_once() -> None:
    """One byte at a time, a hello takes the same number of steps per byte, however long it is."""

    def steps(size: int) -> int:
        counted = Counter[str]()
        stream, parser = in_bytes(hellos.record(padded(size))), ClientHelloParser()
        sys.setprofile(lambda frame, event, argument: counted.update([event]))
        try:
            for byte in stream:
                parser.feed(byte)
        finally:
            sys.setprofile(None)
        assert isinstance(parser.outcome, ClientHello)
        return counted["call"] + counted["c_call"]

    assert steps(4000) - steps(2000) == steps(6000) - steps(4000) > 0


def test_memory_holds_no_more_than_what_came() -> None:
    """A length that is only announced costs nothing."""
    parser = ClientHelloParser()
    assert parser.feed(b"\x16\3\1\x40\0\1\0\x3f\xfc") is NEED_MORE
    assert len(parser._message) == 4


# The hello itself


def test_hellos_without_extensions_or_names() -> None:
    for stream in (hellos.record(hellos.message(None)), hellos.hello(), hellos.hello((hellos.ALPN, b"\0\3\2h2"))):
        assert feed(stream) == ClientHello("", len(stream))


@pytest.mark.parametrize(
    "message",
    [
        hellos.message([NAME], session_id=bytes(33)),
        hellos.message([NAME], suites=b""),
        hellos.message([NAME], suites=b"\x13\x01\x13"),
        hellos.message([NAME], compression=b""),
        hellos.message([NAME], behind=b"\0"),
        hellos.message(None, behind=b"\0"),
        hellos.message(None, behind=b"\0\1"),
        hellos.message(None, behind=b"\0\3\0\5\0"),
        hellos.message(None, behind=b"\0\5\0\5\0\2x"),
        hellos.message([NAME, NAME]),
        hellos.message([(hellos.PADDING, b""), NAME, (hellos.PADDING, b"")]),
        hellos.message([(0x0A0A, b""), (0x0A0A, b"\0")]),
        b"\1\0\0\0",
        b"\1\0\0\1\3",
    ],
)
def test_wrong_lengths_and_repetitions_are_malformed(message: bytes) -> None:
    assert reason(hellos.record(message)) == HelloRefusal.MALFORMED


def test_a_hello_cut_short_is_malformed_wherever_it_ends() -> None:
    body = hellos.message([(hellos.ALPN, b"\0\3\2h2"), NAME])[4:]
    complete = {body.index(b"\1\0", 34) + 2}  # where the extensions might have been left out
    for end in range(len(body)):
        stream = hellos.record(b"\1" + hellos.vector(3, body[:end]))
        assert (feed(stream) == ClientHello("", len(stream))) == (end in complete)


# Names


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("a", "a"),
        ("Test.Internal-Server.LOCAL", "test.internal-server.local"),
        ("a.example.", "a.example"),
        ("LOCALHOST.", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_srv.a_b.example", "_srv.a_b.example"),
        ("1.2.3.4a", "1.2.3.4a"),
        ("0.example", "0.example"),
        ("l" * 63 + ".example", "l" * 63 + ".example"),
        (".".join(["l" * 63] * 3 + ["l" * 61]), ".".join(["l" * 63] * 3 + ["l" * 61])),
        (".".join(["l" * 63] * 3 + ["l" * 61]) + ".", ".".join(["l" * 63] * 3 + ["l" * 61])),
    ],
)
def test_names(sent: str, read: str) -> None:
    assert name_in(hellos.host(sent)) == read


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b"a.example..",
        b"192.0.2.1.",
        b".a.example",
        b"a..example",
        b"a.example\0",
        b"a.example\0.evil.example",
        b"a.example\n",
        b"a b",
        b"a.example/",
        b"a.example:443",
        b"user@a.example",
        b"*.example",
        "bücher.example".encode(),
        "bücher.example".encode("latin-1"),
        b"\xff",
        b"192.0.2.1",
        b"3221225985",
        b"127.1",
        b"2001:db8::1",
        b"[2001:db8::1]",
        b"l" * 64,
        b".".join([b"l" * 63] * 3 + [b"l" * 62]),
        b"l." * 30000 + b"l",
    ],
)
def test_names_that_are_none(name: bytes) -> None:
    stream = hellos.records(hellos.message([hellos.server_names((0, name[:9000]))]), 9)
    assert reason(stream) == HelloRefusal.MALFORMED


def test_names_of_other_types_are_skipped_and_two_host_names_are_one_too_many() -> None:
    other, host = (7, b"\0anything"), (0, b"a.example")
    assert name_in(hellos.server_names(other, host, other)) == "a.example"
    assert name_in(hellos.server_names(other)) == ""
    assert name_in(hellos.server_names((7, b""))) == ""
    for names in ((host, host), (host, other, (0, b"b.example")), (host, (0, b""))):
        assert reason(hellos.hello(hellos.server_names(*names))) == HelloRefusal.MALFORMED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\0\0",
        b"\0\1\0",
        b"\0\4\0\0\1a\0",
        b"\0\5\0\0\1a\0",
        b"\0\3\0\0\1a",
        b"\0\4\0\0\2a",
        b"\0\4\0\0\0a",
    ],
)
def test_lists_of_names_with_wrong_lengths_are_malformed(data: bytes) -> None:
    assert reason(hellos.hello((hellos.SERVER_NAME, data))) == HelloRefusal.MALFORMED


def test_with_encrypted_client_hello_the_outer_name_counts() -> None:
    inner = hellos.message([hellos.host("secret.example")])
    ech = (0xFE0D, b"\0\0\1\0\1\7" + hellos.vector(2, bytes(32)) + hellos.vector(2, inner))
    assert name_in(ech, hellos.host("public.example")) == "public.example"


# Laws


def first_decision(stream: bytes) -> int:
    """How many bytes it takes to decide, fed one by one; one more than there are if that is not enough."""
    parser = ClientHelloParser()
    return next(
        (n for n, byte in enumerate(in_bytes(stream), 1) if parser.feed(byte) is not NEED_MORE), len(stream) + 1
    )


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A good hello with some bytes changed, taken away or put in."""
    stream, _ = hellos.random_hello(Random(draw(st.integers(0, 10_000))))
    spoilt = bytearray(stream)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, min(len(spoilt), draw(st.sampled_from((12, 60, 5000))))))
        spoilt[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(spoilt)


@given(
    st.one_of(spoiled(), st.binary(max_size=200), st.binary(max_size=80).map(lambda tail: b"\x16\3\1\0\x40\1" + tail))
)
def test_how_a_stream_is_cut_never_matters(stream: bytes) -> None:
    outcome = feed(stream)
    needed = first_decision(stream)
    assert (outcome is NEED_MORE) == (needed > len(stream))
    for end in (needed - 1, needed):
        assert feed(stream[:end], stream[end:], b"more") == (
            outcome if needed <= len(stream) else feed(stream + b"more")
        )
    assert feed(*in_bytes(stream)) == outcome
    if isinstance(outcome, ClientHello):
        assert outcome.size == needed
    elif isinstance(outcome, RefusedHello):
        assert outcome.reason in {HelloRefusal.NOT_TLS, HelloRefusal.TOO_LONG, HelloRefusal.MALFORMED}
        assert needed <= MAX_STREAM_BYTES


def test_the_corpus_has_no_line_twice() -> None:
    lines = [json.loads(line)["hex"] for line in hellos.CORPUS.read_text().splitlines()]
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize(
    ("begun", "size"),
    [
        pytest.param(b"", 5, id="nothing"),
        pytest.param(b"\x16\x03\x01\x00", 5, id="part-of-a-header"),
        pytest.param(b"\x16\x03\x01\x01\x02", 5 + 0x102, id="a-header"),
        pytest.param(b"\x16\x03\x01\x40\x00", 5 + 2**14, id="the-longest"),
        pytest.param(b"\x16\x03\x01\x40\x01", 5, id="too-long"),
        pytest.param(b"GET", 1, id="plain"),
    ],
)
def test_how_much_a_first_record_needs(begun: bytes, size: int) -> None:
    assert first_record_bytes(begun) == size
