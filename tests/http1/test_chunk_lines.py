"""http1/chunk_lines: what stands between chunks, whole and byte by byte."""

import h11
import pytest

from eps.http1.chunk_lines import MAX_LINE, ChunkLines

BODY = b"5;x=y\r\nhello\r\n00A \r\n\n01234\r\n\r\n\r\n0\r\nT: 1\r\n\r\n"


def taken(body: bytes, size: int, *, mends: bool) -> tuple[bytes, bytes]:
    """What was handed on, and what is left, of a body that comes in pieces of ``size`` bytes."""
    lines, received, out = ChunkLines(mends=mends), bytearray(), b""
    for start in range(0, len(body), size):
        received += body[start : start + size]
        out += lines.take(received)
    return out, bytes(received)


@pytest.mark.parametrize("mends", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_lines_as_they_should_be_stay_as_they_are(size: int, mends: bool) -> None:
    assert taken(BODY + b"next", size, mends=mends) == (BODY + b"next", b"")


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("body", "mended"),
    [
        (b"2\nok\n0\n\n", b"2\r\nok\r\n0\r\n\r\n"),
        (b"2\r\nok\n0\r\n\n", b"2\r\nok\r\n0\r\n\r\n"),
        (b"2;a\nok\r\n0\nT : 1\nU\t : 2\n\n", b"2;a\r\nok\r\n0\r\nT: 1\r\nU: 2\r\n\r\n"),
        (b"2\n\n\n\n0\n\n", b"2\r\n\n\n\r\n0\r\n\r\n"),
    ],
)
def test_lines_of_answers_are_mended(body: bytes, mended: bytes, size: int) -> None:
    assert taken(body, size, mends=True) == (mended, b"")


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("body", [b"2\nok", b"2\r\nok\n", b"2\r\nok\r\n0\n", b"0\r\nT: 1\n", b"0\r\n\n"])
def test_of_requests_they_are_refused_at_once(body: bytes, size: int) -> None:
    with pytest.raises(h11.RemoteProtocolError, match="HTTP forbids"):
        taken(body, size, mends=False)


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"z", "no size"),
        (b"\r\n", "no size"),
        (b"-1\r\n", "no size"),
        (b"0x5\r\n", "no size"),
        (b"5 hello\r\n", "no size"),
        (b"1" * 21 + b"\r\n", "no size"),
        (b"2\r\nokay", "longer than was told"),
        (b"2\r\nok\rx", "HTTP forbids"),
        (b"2\r\nok2\r\n", "longer than was told"),
        (b"2\rx\r\n", "HTTP forbids"),
        (b"2;\0\r\n", "HTTP forbids"),
        (b"0\r\nT: \x01\r\n", "HTTP forbids"),
        (b"5;" + b"x" * MAX_LINE, "longer than 16384 bytes"),
    ],
    ids=range(13),
)
def test_what_is_no_chunk_is_refused_as_soon_as_it_is_there(body: bytes, why: str, size: int) -> None:
    for mends in (True, False):
        with pytest.raises(h11.RemoteProtocolError, match=why):
            taken(body, size, mends=mends)
