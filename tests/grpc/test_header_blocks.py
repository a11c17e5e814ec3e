"""Remembered header blocks: whatever is remembered, they mean what hpack's own mean."""

import random

import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.hpack import Decoder, Encoder

from eps.grpc.header_blocks import MAX_BLOCK_BYTES, MAX_REMEMBERED, RememberingDecoder, RememberingEncoder, literal

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


TRACED = (b"traceparent", b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-00")
ANOTHER = (b"traceparent", b"00-" + b"12" * 16 + b"-" + b"34" * 8 + b"-01")


def test_a_field_that_is_another_each_time_changes_no_table() -> None:
    encoder, decoder, plain = RememberingEncoder(), RememberingDecoder(), Decoder()
    for fields in ([*CALL, TRACED], [*CALL, ANOTHER], CALL, [*CALL, TRACED]):
        block = encoder.encode(fields)
        assert list(decoder.decode(block, raw=True)) == fields
        assert list(plain.decode(block, raw=True)) == fields, "as everybody reads it"
    assert {TRACED, ANOTHER}.isdisjoint(plain.header_table.dynamic_entries)
    known = encoder.encode(CALL)
    assert encoder.encode([*CALL, TRACED])[: len(known)] == known
    assert len(known) == len(CALL), "each is an index"


@pytest.mark.parametrize("seed", range(20))
def test_such_a_field_behind_anything(seed: int) -> None:
    """Ours, and others', who put it into their table, or pack its value."""
    chance, ours, theirs, decoder, plain = (
        random.Random(seed),
        RememberingEncoder(),
        Encoder(),
        RememberingDecoder(),
        Decoder(),
    )
    other = RememberingDecoder()
    last: Fields = [TRACED, ANOTHER, (b"eps-took", b"00000.001234"), (b"eps-took", b"0.1"), (b"traceparent", b"short")]
    for _ in range(300):
        fields = (some_fields(chance) if chance.random() < 0.5 else CALL) + chance.sample(last, chance.randrange(3))
        block = ours.encode(fields)
        assert list(decoder.decode(block, raw=True)) == fields
        assert list(plain.decode(block, raw=True)) == fields
        assert list(other.decode(theirs.encode(fields, huffman=chance.random() < 0.5), raw=True)) == fields


def test_a_value_that_looks_like_such_a_field_stays_a_value() -> None:
    """A long literal may end with the same bytes; what stands before them is then no block."""
    decoder, longer, shorter = RememberingDecoder(), (b"x", b"y" + literal(*TRACED)), (b"x", b"y")
    for field in (longer, shorter, longer, shorter):
        assert list(decoder.decode(literal(b"a", b"b") + literal(*field), raw=True)) == [(b"a", b"b"), field]
    with pytest.raises(HPACKDecodingError):
        decoder.decode(literal(b"a", b"b") + literal(*longer)[: -len(literal(*TRACED))], raw=True)


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
