"""http1/heads: where a head ends, what is refused, what is mended."""

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.http1.heads import (
    MAX_HEAD,
    check_begin_of_answer,
    checked_request,
    end_of_head,
    mended_answer,
    too_long,
)

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@given(st.lists(st.sampled_from([b"\r\n", b"\n", b"a", b"\r", b": "]), max_size=12).map(b"".join), st.data())
def test_the_end_is_found_however_the_head_is_cut(head: bytes, data: st.DataObject) -> None:
    whole = end_of_head(head)
    seen = data.draw(st.integers(0, len(head)))
    assert end_of_head(head[:seen]) in (0, whole)
    if not end_of_head(head[:seen]):
        assert end_of_head(head, seen) == whole


@pytest.mark.parametrize("head", [HEAD, b"HTTP/1.1 200 OK\nA: b\n\n", b"HTTP/1.1 200 OK\r\nA: b\n\r\n"])
def test_where_a_head_ends(head: bytes) -> None:
    assert end_of_head(head + b"\r\n\r\nmore") == len(head)
    assert end_of_head(head[:-1]) == 0


@pytest.mark.parametrize(
    ("received", "status"),
    [(b"x" * (MAX_HEAD + 1), 414), (b"x" * (MAX_HEAD + 1) + b"\r\n", 414), (b"GET /\r\n" + b"x" * MAX_HEAD, 431)],
)
def test_what_is_said_of_a_head_that_is_too_long(received: bytes, status: int) -> None:
    assert too_long(received).error_status_hint == status


@pytest.mark.parametrize(
    "fields",
    [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"X-Content-Length: 1, 2\r\n", b"X: \xff\t\r\n"],
)
def test_requests_that_everybody_reads_alike_stay_as_they_are(fields: bytes) -> None:
    head = HEAD[:-2] + fields + b"\r\n"
    assert checked_request(head) == head


def test_raw_bytes_in_a_target_are_percent_encoded() -> None:
    head = b"GET /\xc3\xa4%%2f?q=\xff HTTP/1.1\r\nHost: x\r\nX: \xc3\xa4\r\n\r\n"
    assert checked_request(head) == b"GET /%C3%A4%%2f?q=%FF HTTP/1.1\r\nHost: x\r\nX: \xc3\xa4\r\n\r\n"
    assert checked_request(b"G\xc3 /\xa4 HTTP/1.1\r\n\r\n").startswith(b"G\xc3 /%A4 ")


@pytest.mark.parametrize(
    "fields",
    [
        *(b"X: a%cb\r\n" % code for code in (0, 1, 8, 11, 12, 13, 14, 31, 127)),
        b"X: a\nY: b\r\n",
        b"X: a\r\n\tb\r\n",
        b"Content-Length: 5\r\nCONTENT-LENGTH:5\r\n",
        b"Content-Length: 5,5\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ],
)
def test_requests_that_are_refused(fields: bytes) -> None:
    with pytest.raises(h11.RemoteProtocolError):
        checked_request(HEAD[:-2] + fields + b"\r\n")


@pytest.mark.parametrize(
    ("said", "mended"),
    [
        (b"A : b", b"A: b"),
        (b"A\t \t:b", b"A:b"),
        (b"A: b : c", b"A: b : c"),
        (b"A: b\r\n c : d", b"A: b\r\n c : d"),
        (b"A b : c", b"A b : c"),
    ],
)
def test_spaces_before_colons_of_answers(said: bytes, mended: bytes) -> None:
    before, after = b"HTTP/1.1 200 O K : fine\r\n", b"\r\nZ: 1\r\n\r\n"
    assert mended_answer(before + said + after) == before + mended + after


def test_answers_with_control_characters() -> None:
    with pytest.raises(h11.RemoteProtocolError):
        mended_answer(b"HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n")


ANSWER = b"HTTP/1.1 200 OK\r\nA : b\r\n c\r\nLong: " + b"x" * 100 + b"\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_the_begin_of_an_answer_is_waited_on(size: int) -> None:
    for end in range(size, len(ANSWER), size):
        check_begin_of_answer(bytearray(ANSWER[:end]), end - size)
    check_begin_of_answer(bytearray(b"\r"), 0)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("received", "why"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "does not begin with HTTP/"),
        (b"220 mail ESMTP\r\n", "does not begin with HTTP/"),
        (b"ok", "does not begin with HTTP/"),
        (b"HTTP/2 200\r\n", "has no status"),
        (b"\r\rHTTP/1.1", "does not begin with HTTP/"),
        (b"\x15\x03\x03\x00\x02", "speaks TLS"),
        (b"HTTP/1.1 OK\r\n", "has no status"),
        (b"HTTP/1.1 200 OK\rA: b\r", "control characters"),
        (b"HTTP/1.1 200 OK\r\nA: \0", "control characters"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\ngarbage\r\n", "is no field"),
        (b"HTTP/1.1 200 OK\r\nX Y: b\n", "is no field"),
    ],
    ids=range(11),
)
def test_what_can_become_no_answer_is_refused_as_soon_as_it_is_there(received: bytes, why: str, size: int) -> None:
    ends = [*range(size, len(received), size), len(received)]

    def come() -> None:
        for seen, end in pairwise([0, *ends]):
            check_begin_of_answer(bytearray(received[:end]), seen)

    with pytest.raises(h11.RemoteProtocolError, match=why):
        come()
