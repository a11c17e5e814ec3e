"""Hellos that are asked for another in the same words are alike; and only such."""

import ssl
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.hello_shape import hello_shape, with_session_id_of
from support import hellos

OTHERS = sorted({hello.stream for hello in hellos.corpus()}, key=lambda stream: (len(stream), stream))[:60]


def hello(name: str = "hd-1", groups: str = "") -> bytes:
    """OpenSSL's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if groups:
        context.set_ecdh_curve(groups)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def test_hellos_of_one_program_are_alike() -> None:
    first, second = hello(), hello()
    assert first != second
    assert hello_shape(first) == hello_shape(second) is not None


def test_those_that_want_something_else_are_not() -> None:
    shapes = {hello_shape(hello()), hello_shape(hello("hd-2")), hello_shape(hello(groups="secp384r1"))}
    assert len(shapes) == 3 and None not in shapes


def test_every_byte_counts_but_random_ones() -> None:
    """Those of 32 bytes each: the random number, the session id, and the share's key."""
    given_hello = hello()
    shape = hello_shape(given_hello)
    free = 0
    for at in range(len(given_hello)):
        changed = bytearray(given_hello)
        changed[at] ^= 1
        free += hello_shape(bytes(changed)) == shape
    assert free == 3 * 32


@pytest.mark.parametrize("kind", [41, 42, 44])
def test_a_hello_with_what_no_other_has_is_not_remembered(kind: int) -> None:
    assert hello_shape(hellos.hello((kind, b"x"))) is None
    assert hello_shape(hellos.hello((kind + 100, b"x"))) is not None


def test_what_is_no_whole_hello_has_no_shape() -> None:
    given_hello = hello()
    assert hello_shape(given_hello + b"x") is None
    assert all(hello_shape(given_hello[:size]) is None for size in range(len(given_hello)))


@given(st.sampled_from(OTHERS), st.integers(0), st.binary(max_size=40))
def test_whatever_comes_it_is_a_shape_or_none(stream: bytes, place: int, put: bytes) -> None:
    at = place % (len(stream) + 1)
    shape = hello_shape(stream[:at] + put + stream[at + len(put) :])
    assert shape is None or len(shape) <= len(stream)


def test_an_answer_gets_the_session_id() -> None:
    chance = Random(1)
    one, other = (hello()[:44] + chance.randbytes(32) + b"rest" for _ in range(2))
    answer = b"h" * 43 + one[43:76] + b"what is chosen"
    assert with_session_id_of(other, answer) == b"h" * 43 + other[43:76] + b"what is chosen"
