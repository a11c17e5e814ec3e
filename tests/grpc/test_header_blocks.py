"""Remembered header blocks: whatever is remembered, they mean what hpack's own mean."""

import random

import pytest
from hpack.hpack import Decoder, Encoder

from eps.grpc.header_blocks import MAX_BLOCK_BYTES, MAX_REMEMBERED, RememberingDecoder, RememberingEncoder

Fields = list[tuple[bytes, bytes]]

CALL: Fields = [(b":method", b"POST"), (b":path", b"/EPS/Call"), (b"te", b"trailers"), (b"grpc-timeout", b"30S")]


def some_fields(chance: random.Random) -> Fields:
    """Of few names and values, so that they come again, some of them large enough to drive others out."""
    values = [b"a", b"b", b"c" * 40, b"d" * 900, bytes([65 + chance.randrange(26)]) * 3]
    return [(b"x-%d" % chance.randrange(6), chance.choice(values)) for _ in range(chance.randrange(6))]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_packed_from_memory_means_the_same(seed: int) -> None:
    chance, ours, theirs = random.Random(seed), RememberingEncoder(), Decoder()
    for _ in range(300):
        if chance.random() < 0.05:
            ours.header_table_size = chance.choice([0, 64, 200, 4096])
        fields = some_fields(chance) if chance.random() < 0.5 else CALL
        assert list(theirs.decode(ours.encode(fields), raw=True)) == fields


@pytest.mark.parametrize("seed", range(20))
def test_what_is_unpacked_from_memory_means_the_same(seed: int) -> None:
    chance, theirs, ours = random.Random(seed), Encoder(), RememberingDecoder()
    for _ in range(300):
        if chance.random() < 0.05:
            theirs.header_table_size = chance.choice([0, 64, 200, 4096])
        fields = some_fields(chance) if chance.random() < 0.5 else CALL
        assert list(ours.decode(theirs.encode(fields), raw=True)) == fields


def test_a_block_that_comes_again_is_neither_packed_nor_unpacked_again() -> None:
    encoder, decoder = RememberingEncoder(), RememberingDecoder()
    blocks = [encoder.encode(CALL) for _ in range(4)]
    unpacked = [decoder.decode(block, raw=True) for block in blocks]
    assert blocks[2] is blocks[1]
    assert blocks[1] != blocks[0]  # the first one taught the other side's table
    assert unpacked[2] is unpacked[1]


def test_a_table_that_is_emptied_and_as_large_as_before_is_another() -> None:
    """Two new sizes at the start of one block: all fields are gone, though nothing was added."""
    ours, plain = RememberingDecoder(), Decoder()
    first, again = (block := Encoder()).encode(CALL), block.encode(CALL)
    for decoder in (ours, plain):
        for known in (first, again, again):
            assert list(decoder.decode(known, raw=True)) == CALL
        decoder.decode(b"\x20\x3f\xe1\x1f", raw=True)  # RFC 7541 section 6.3: 0, then 4,096
        with pytest.raises(Exception, match="Invalid table index"):
            decoder.decode(again, raw=True)


def test_fields_that_must_not_be_indexed_are_not() -> None:
    encoder, decoder = RememberingEncoder(), Decoder()
    for number in range(4):
        fields = [(b"secret", b"%d" % (number // 2), True)]
        unpacked = list(decoder.decode(encoder.encode(fields), raw=True))
        assert unpacked == [(b"secret", b"%d" % (number // 2))]
        assert not unpacked[0].indexable
    assert not decoder.header_table.dynamic_entries


def test_text_is_text_whatever_is_remembered() -> None:
    block = Encoder().encode([(b":method", b"POST")])
    decoder = RememberingDecoder()
    for raw, fields in (
        (True, [(b":method", b"POST")]),
        (False, [(":method", "POST")]),
        (True, [(b":method", b"POST")]),
    ):
        assert list(decoder.decode(block, raw=raw)) == fields


def test_a_peer_can_make_us_remember_little() -> None:
    decoder = RememberingDecoder()
    for number in range(10 * MAX_REMEMBERED):
        decoder.decode(bytes([0x82]) * (1 + number // 40) + bytes([0x00, 1, 97, 1, number % 256]), raw=True)
    long = bytes([0x82]) * (MAX_BLOCK_BYTES + 1)
    assert decoder.decode(long, raw=True) is not decoder.decode(long, raw=True)
    kept = decoder._fields
    assert len(kept) == MAX_REMEMBERED
    assert max(map(len, kept)) <= MAX_BLOCK_BYTES
