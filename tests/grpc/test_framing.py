"""framing: prefixes cut anywhere, statuses, timeouts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.limits import MAX_MESSAGE_BYTES
from eps.grpc.framing import (
    Assembler,
    FramingError,
    Status,
    StatusLine,
    frame,
    headers_map,
    metadata_of,
    read_status,
    read_timeout,
    request_headers,
    trailers,
)


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 17))
def test_messages_come_out_as_they_went_in_however_cut(messages: list[bytes], step: int) -> None:
    data = b"".join(frame(message) for message in messages)
    assembler = Assembler()
    out = [m for i in range(0, len(data), step) for m in assembler.feed(data[i : i + step])]
    assert out == messages
    assert not assembler.partial
    assert assembler.missing == 0


def test_what_is_missing_is_known() -> None:
    assembler = Assembler()
    assert assembler.feed(b"\0\0") == []
    assert (assembler.missing, assembler.partial) == (3, True)
    assert assembler.feed(b"\0\0\x0aabc") == []
    assert (assembler.missing, assembler.partial) == (7, True)
    assert assembler.feed(b"defghij\0") == [b"abcdefghij"]
    assert (assembler.missing, assembler.partial) == (4, True)


def test_the_greatest_message_passes_and_one_byte_more_does_not() -> None:
    assert Assembler().feed(frame(bytes(MAX_MESSAGE_BYTES))) == [bytes(MAX_MESSAGE_BYTES)]
    with pytest.raises(FramingError, match="4,194,305 bytes") as caught:
        frame(bytes(MAX_MESSAGE_BYTES + 1))
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    with pytest.raises(FramingError, match="4,194,305 bytes"):
        Assembler().feed(b"\0" + (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"))


@pytest.mark.parametrize("flag", [b"\x01", b"\x02", b"\xff"])
def test_compressed_messages_are_refused(flag: bytes) -> None:
    with pytest.raises(FramingError, match="compressed") as caught:
        Assembler().feed(flag + bytes(4))
    assert caught.value.status is Status.UNIMPLEMENTED


@given(st.sampled_from(Status), st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_a_status_comes_back_as_it_was(status: Status, text: str) -> None:
    headers = headers_map(trailers(status, text))
    assert read_status(headers) == StatusLine(status, text)
    assert all(0x20 <= ord(char) < 0x7F for char in headers.get("grpc-message", ""))


def test_a_long_text_is_cut_between_characters() -> None:
    line = read_status(headers_map(trailers(Status.UNKNOWN, "ü" * 3000)))
    assert line.text == "ü" * 1024


@pytest.mark.parametrize("value", ["", "x", "-1", "99999", "1.0", "²"])
def test_an_unreadable_status_is_unknown(value: str) -> None:
    assert read_status({"grpc-status": value}).status is Status.UNKNOWN


def test_a_status_that_grpc_does_not_have_is_unknown() -> None:
    assert read_status({"grpc-status": "77", "grpc-message": "odd"}) == StatusLine(Status.UNKNOWN, "odd")


@pytest.mark.parametrize(
    ("text", "seconds"), [("1H", 3600), ("2M", 120), ("30S", 30), ("5m", 0.005), ("7u", 7e-6), ("1n", 1e-9)]
)
def test_timeouts(text: str, seconds: float) -> None:
    assert read_timeout(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "S", "123456789S", "-1S", "1s", "1.5S"])
def test_malformed_timeouts(text: str) -> None:
    with pytest.raises(FramingError, match="malformed grpc-timeout"):
        read_timeout(text)


@pytest.mark.parametrize(("seconds", "text"), [(29.2, b"30S"), (1e12, b"99999999S"), (1.5, b"1500m"), (0.0001, b"1m")])
def test_our_timeouts(seconds: float, text: bytes) -> None:
    assert dict(request_headers("/p", "a", seconds, {}))[b"grpc-timeout"] == text


def test_metadata_is_what_is_neither_https_nor_grpcs() -> None:
    headers = headers_map([*request_headers("/p", "a", 5, {"eps-streams": "unordered"}), (b"x", b"1"), (b"x", b"2")])
    assert metadata_of(headers) == {"eps-streams": "unordered", "x": "1"}
    assert "grpc-timeout" not in headers_map(request_headers("/p", "a", None, {}))
