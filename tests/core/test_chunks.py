"""Entries in chunks (PROTOCOL.md section 6): whole, in pieces, interleaved, torn and damaged."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core import chunks
from eps.core.chunks import MAX_DATA_BYTES, MAX_ENTRY_BYTES, Chunk, ChunkReader, cut, lay_out

ONE, TWO = b"1" * 16, b"2" * 16


def read(data: bytes) -> list[bytes]:
    reader = ChunkReader()
    done = reader.feed(data)
    assert reader.damage is None and reader.rest == b""
    return done


def test_the_bytes_of_a_chunk() -> None:
    (chunk,) = cut(b"data", b"0123456789abcdef")
    assert chunk.encode() == b"\x01" + struct.pack("<HHH", 1, 0, 16) + b"0123456789abcdef" + b"\x04\x00data"
    assert len(cut(b"x" * MAX_DATA_BYTES, ONE)[0].encode()) == 256 == cut(b"x" * 231, ONE)[0].size


@given(st.lists(st.binary(max_size=700), max_size=5), st.integers(1, 300))
def test_a_batch_comes_back_in_order_however_it_is_cut(entries: list[bytes], step: int) -> None:
    data = lay_out([(entry, bytes([number]) * 16) for number, entry in enumerate(entries)])
    reader = ChunkReader()
    done = [entry for at in range(0, len(data), step) for entry in reader.feed(data[at : at + step])]
    assert done == entries == read(data)
    assert (reader.offset, reader.rest, reader.incomplete) == (len(data), b"", 0)


@given(st.lists(st.binary(min_size=2, max_size=700), min_size=2, max_size=5), st.data())
def test_a_batch_that_is_torn_before_the_last_chunks_brings_nothing(entries: list[bytes], data: st.DataObject) -> None:
    whole = lay_out([(entry, bytes([number]) * 16) for number, entry in enumerate(entries)])
    lasts = sum(cut(entry, ONE, least=2)[-1].size for entry in entries)
    reader = ChunkReader()
    assert reader.feed(whole[: data.draw(st.integers(0, len(whole) - lasts))]) == []


def test_a_huge_batch_goes_in_entry_by_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MAX_TOGETHER_BYTES", 10)
    assert lay_out([(b"x" * 6, ONE), (b"y" * 6, TWO)]) == lay_out([(b"x" * 6, ONE)]) + lay_out([(b"y" * 6, TWO)])


def test_ids_of_any_length_tell_interleaved_entries_apart() -> None:
    a, b = cut(b"a" * 500, b""), cut(b"b" * 400, b"a long id " * 5)
    mixed = [b[1], a[2], a[0], b[0], a[1]]
    assert read(b"".join(chunk.encode() for chunk in mixed)) == [b"b" * 400, b"a" * 500]


def test_an_entry_that_lacks_a_chunk_is_not_served_and_counted() -> None:
    reader = ChunkReader()
    first, _, last = cut(b"a" * 500, ONE)
    assert reader.feed(first.encode() + last.encode() + cut(b"b", TWO)[0].encode()) == [b"b"]
    assert reader.incomplete == 1


@pytest.mark.parametrize("again", [b"a" * 500, b"b" * 300])
def test_an_entry_that_is_begun_anew_under_its_id(again: bytes) -> None:
    reader = ChunkReader()
    data = cut(b"a" * 500, ONE)[0].encode() + b"".join(chunk.encode() for chunk in cut(again, ONE))
    assert reader.feed(data) == [again]
    assert reader.incomplete == 1


def test_one_id_may_come_again_once_its_entry_is_complete() -> None:
    assert read(cut(b"a", ONE)[0].encode() * 2) == [b"a", b"a"]


def test_a_torn_end_is_the_rest() -> None:
    whole, torn = cut(b"a", ONE)[0].encode(), cut(b"b" * 9, TWO)[0].encode()
    for end in range(len(torn)):
        reader = ChunkReader()
        assert reader.feed(whole + torn[:end]) == [b"a"]
        assert (reader.offset, reader.rest, reader.damage) == (len(whole), torn[:end], None)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"\x00", "begins with byte 01, here is 00"),
        (Chunk(1, 1, ONE, b"").encode(), "number 1 (from 0) of 1"),
        (Chunk(0, 0, ONE, b"").encode(), "number 0 (from 0) of 0"),
        (Chunk(1, 0, b"i" * 1025, b"").encode(), "its id has 1025 bytes"),
        (Chunk(1, 0, ONE, b"x" * 232).encode(), "holds 232 bytes, more than 231"),
    ],
)
def test_what_is_no_chunk_ends_reading(bad: bytes, why: str) -> None:
    whole = cut(b"a", ONE)[0].encode()
    reader = ChunkReader()
    assert reader.feed(whole + bad + whole) == [b"a"]
    assert reader.damage is not None and why in reader.damage.why
    assert reader.offset == reader.damage.offset == len(whole)
    assert reader.feed(whole) == []


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MAX_WAITING_BYTES", 400)
    reader = ChunkReader()
    for number in range(3):
        reader.feed(Chunk(2, 0, bytes([number]), b"").encode())
    assert reader.damage is None
    reader.feed(Chunk(2, 0, b"more", b"").encode())
    assert reader.damage is not None and "have begun and not ended" in reader.damage.why


def test_what_no_chunks_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="is too long: chunks can hold 15138585"):
        cut(bytes(MAX_ENTRY_BYTES + 1), ONE)
    assert len(cut(bytes(MAX_ENTRY_BYTES), ONE)) == 0xFFFF
