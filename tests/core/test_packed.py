"""core/packed: what compressed bodies hold, and how much of a bomb is unpacked."""

import gzip
import zlib

import pytest

from eps.core.packed import MAX_MEMBERS, SLICE_BYTES, coding_of, unpack
from eps.core.steps import exhaust
from eps.errors import BadRequest, NotJson, TooLarge

TEXT = b'{"jsonrpc":"2.0"}' * 9000
LIMIT = len(TEXT)


def deflate(text: bytes, level: int = 6) -> bytes:
    """Without zlib's frame."""
    packing = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    return packing.compress(text) + packing.flush()


@pytest.mark.parametrize(
    ("said", "coding"),
    [
        (b"", ""),
        (b"identity", ""),
        (b" Identity , ", ""),
        (b"GZip", "gzip"),
        (b"identity, x-gzip", "x-gzip"),
        (b"br", "br"),
        (b"gzip, gzip", "gzip, gzip"),
        (b"\xff", "\xff"),
    ],
)
def test_what_the_head_says(said: bytes, coding: str) -> None:
    assert coding_of(said) == coding


PACKED = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "x-gzip": ("x-gzip", gzip.compress(TEXT)),
    "uncompressed in gzip": ("gzip", gzip.compress(TEXT, 0)),
    "in members": ("gzip", gzip.compress(TEXT[:70_000]) + gzip.compress(b"") + gzip.compress(TEXT[70_000:])),
    "zeros behind it": ("gzip", gzip.compress(TEXT) + bytes(100)),
    "a byte behind it": ("gzip", gzip.compress(TEXT, 0) + b"\x1f"),
    "zlib": ("deflate", zlib.compress(TEXT)),
    "deflate": ("deflate", deflate(TEXT)),
    "uncompressed in deflate": ("deflate", deflate(TEXT, 0)),
}


@pytest.mark.parametrize(("coding", "packed"), PACKED.values(), ids=PACKED)
def test_what_is_packed(coding: str, packed: bytes) -> None:
    assert exhaust(unpack(packed, coding, LIMIT)) == TEXT
    with pytest.raises(TooLarge, match="when it is unpacked"):
        exhaust(unpack(packed, coding, LIMIT - 1))


def test_members_wherever_they_are_cut() -> None:
    """A slice of what is packed may end between two members, or inside of the second's first bytes."""
    for size in range(SLICE_BYTES - 40, SLICE_BYTES):
        first = gzip.compress(TEXT[:size], 0)
        assert exhaust(unpack(first + gzip.compress(TEXT[size:]), "gzip", LIMIT)) == TEXT


def test_only_so_many_members() -> None:
    packed = gzip.compress(b"a") * (MAX_MEMBERS + 9)
    assert exhaust(unpack(packed, "gzip", LIMIT)) == b"a" * MAX_MEMBERS


@pytest.mark.parametrize(
    ("coding", "packed", "why"),
    [
        ("br", b"x", r"compressed \(br\)"),
        ("gzip, gzip", gzip.compress(gzip.compress(TEXT)), "compressed"),
        ("x" * 99, b"x", "^its body is compressed, which only"),
        ("gzip", zlib.compress(TEXT), "not the gzip that it says"),
        ("gzip", gzip.compress(TEXT)[:-1], "ends in the middle"),
        ("gzip", gzip.compress(TEXT)[:-8] + b"12345678", "not the gzip"),
        ("gzip", gzip.compress(TEXT) + gzip.compress(TEXT)[:9], "ends in the middle"),
        ("deflate", b"\xff\xff", "not the deflate"),
        ("deflate", b"x", "ends in the middle|not the deflate"),
    ],
    ids=range(9),
)
def test_what_is_broken(coding: str, packed: bytes, why: str) -> None:
    with pytest.raises(NotJson, match=why) as refused:
        exhaust(unpack(packed, coding, 2 * LIMIT))
    assert "uncompressed" in refused.value.hint


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_no_more_of_a_bomb_is_unpacked_than_allowed(coding: str) -> None:
    bomb = (gzip.compress if coding == "gzip" else zlib.compress)(bytes(64 * 1024 * 1024))
    taken = []
    with pytest.raises(BadRequest):
        taken.extend(unpack(bomb, coding, 1024 * 1024))
    assert len(taken) == 1024 * 1024 // SLICE_BYTES
