"""guard: frames in, frames out, floods refused; by an injected clock."""

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from eps.grpc.guard import PREFACE, FrameGuard, GoAway, GuardLimits, Violation

LIMITS = GuardLimits(10.0, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> FrameGuard:
    return FrameGuard(server=False, clock=clock, limits=LIMITS)


def data(payload: bytes, *flags: str) -> bytes:
    return DataFrame(1, payload, flags=flags).serialize()


def unknown() -> bytes:
    return b"\0\0\x02\xfa\0" + bytes(4) + b"hi"


COSTLY = [
    RstStreamFrame(1).serialize(),
    PingFrame(0, b"12345678").serialize(),
    SettingsFrame(0).serialize(),
    PriorityFrame(3, depends_on=0, stream_weight=1).serialize(),
    GoAwayFrame(0, last_stream_id=7).serialize(),
    data(b""),
    data(b"x"),
    WindowUpdateFrame(0, window_increment=1).serialize(),
    unknown(),
]
NAMES = ["RST_STREAM", "PING", "SETTINGS", "PRIORITY", "GOAWAY", "empty DATA", "tiny DATA", "WINDOW_UPDATE", "unknown"]


@pytest.mark.parametrize(("frame", "name"), list(zip(COSTLY, NAMES, strict=True)), ids=NAMES)
def test_each_kind_is_limited_and_comes_free_again(frame: bytes, name: str, clock: Clock, guard: FrameGuard) -> None:
    through: bytes | GoAway = GoAway(7, 0, "") if name == "GOAWAY" else frame
    for _ in range(5):
        assert guard.feed(frame) == [through]
    with pytest.raises(Violation, match=f"too many {name} frames") as caught:
        guard.feed(frame)
    assert caught.value.code == ErrorCodes.ENHANCE_YOUR_CALM
    fresh = FrameGuard(server=False, clock=clock, limits=LIMITS)
    for _ in range(100):  # one per two seconds, for ever
        clock.now += 2.0
        assert fresh.feed(frame) == [through]


def test_kinds_are_counted_apart(guard: FrameGuard) -> None:
    for _ in range(5):
        for frame in COSTLY:
            guard.feed(frame)


def test_a_whole_flood_in_one_read_is_refused(guard: FrameGuard) -> None:
    with pytest.raises(Violation):
        guard.feed(COSTLY[0] * 40_000)


def test_pings_are_earned_with_data(guard: FrameGuard) -> None:
    ping = PingFrame(0, b"12345678").serialize()
    for _ in range(50):
        guard.feed(data(bytes(2048)) + ping)


def test_window_updates_are_earned_with_what_we_send(guard: FrameGuard) -> None:
    for _ in range(50):
        guard.sent_data()
        guard.feed(WindowUpdateFrame(1, window_increment=1).serialize() * 2)


def test_small_data_is_no_dribble_if_it_completes_messages(guard: FrameGuard) -> None:
    for _ in range(50):
        guard.feed(data(b"x"))
        guard.messages_completed(1)


def test_an_empty_frame_that_ends_a_stream_is_free(guard: FrameGuard) -> None:
    for _ in range(50):
        guard.feed(data(b"", "END_STREAM"))


def test_padding_alone_is_empty_data(guard: FrameGuard) -> None:
    padded = DataFrame(1, b"", pad_length=200, flags=["PADDED"])
    with pytest.raises(Violation, match="empty DATA"):
        guard.feed(padded.serialize() * 6)


frames = st.lists(
    st.one_of(
        st.binary(max_size=50).map(lambda payload: DataFrame(1, payload + b"x")),
        st.builds(lambda last: GoAwayFrame(0, last_stream_id=last), st.integers(0, 2**31 - 1)),
        st.just(SettingsFrame(0)),
        st.binary(max_size=50).map(lambda block: HeadersFrame(1, block, flags=["END_HEADERS"])),
    ),
    max_size=12,
)


def collect(pieces: list[bytes | GoAway]) -> list[bytes | GoAway]:
    """Neighbouring bytes joined."""
    result: list[bytes | GoAway] = []
    for piece in pieces:
        if isinstance(piece, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += piece
        else:
            result.append(piece)
    return result


@given(frames, st.integers(1, 30), st.booleans())
def test_whole_byte_by_byte_and_with_a_tail_is_the_same(sent: list[Frame], step: int, server: bool) -> None:
    stream = (PREFACE if server else b"") + b"".join(frame.serialize() for frame in sent)
    whole = FrameGuard(server=server, clock=Clock()).feed(stream)
    stepwise = FrameGuard(server=server, clock=Clock())
    pieces = [piece for i in range(0, len(stream), step) for piece in stepwise.feed(stream[i : i + step])]
    tailed = FrameGuard(server=server, clock=Clock())
    with_tail = tailed.feed(stream + b"\0\0\x05")
    assert collect(whole) == collect(pieces) == collect(with_tail)
    others = [frame.serialize() for frame in sent if not isinstance(frame, GoAwayFrame)]
    passed = b"".join(piece for piece in whole if isinstance(piece, bytes))
    assert passed == (PREFACE if server else b"") + b"".join(others)
    assert sum(isinstance(piece, GoAway) for piece in whole) == len(sent) - len(others)


def test_a_goaway_is_read_and_kept_from_h2(guard: FrameGuard) -> None:
    frame = GoAwayFrame(0, last_stream_id=7, error_code=11, additional_data=b"too_many_pings").serialize()
    assert guard.feed(data(b"x") + frame + data(b"y")) == [data(b"x"), GoAway(7, 11, "too_many_pings"), data(b"y")]


@pytest.mark.parametrize(
    "frame",
    [b"\0\0\x07\x07\0" + bytes(4) + bytes(7), b"\0\0\x08\x07\0\0\0\0\x01" + bytes(8)],
    ids=["short", "stream 1"],
)
def test_a_malformed_goaway(guard: FrameGuard, frame: bytes) -> None:
    with pytest.raises(Violation, match="malformed GOAWAY"):
        guard.feed(frame)


def test_a_frame_over_16_kib_is_refused_by_its_header(guard: FrameGuard) -> None:
    with pytest.raises(Violation, match="over 16384 bytes") as caught:
        guard.feed(b"\0\x40\x01\0\0\0\0\0\x01")
    assert caught.value.code == ErrorCodes.FRAME_SIZE_ERROR


def test_a_header_block_is_limited_over_its_continuations(guard: FrameGuard) -> None:
    first, more = HeadersFrame(1, bytes(16_000)).serialize(), ContinuationFrame(1, bytes(16_000)).serialize()
    guard.feed(first + more)
    with pytest.raises(Violation, match="header block over"):
        guard.feed(more)


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nXX", b"\x16\x03\x01"])
def test_what_is_no_http2_client_is_refused_at_its_first_wrong_byte(clock: Clock, start: bytes) -> None:
    with pytest.raises(Violation, match="not an HTTP/2 client"):
        FrameGuard(server=True, clock=clock).feed(start)


def test_the_usual_limits_bear_an_honest_peer(clock: Clock) -> None:
    guard = FrameGuard(server=False, clock=clock)
    for _ in range(40):  # keepalives of many hours
        clock.now += 900
        guard.feed(PingFrame(0, b"12345678").serialize() * 60)
    guard.feed(RstStreamFrame(1).serialize() * 1000)  # a thousand calls whose deadline passed together


def opened(stream: int) -> bytes:
    return HeadersFrame(stream, b"\x82", flags=["END_HEADERS"]).serialize()


def test_streams_that_are_reset_at_once_are_counted_apart(clock: Clock) -> None:
    guard = FrameGuard(server=True, clock=clock)
    guard.feed(PREFACE)
    for stream in range(1, 1001, 2):
        guard.feed(opened(stream) + RstStreamFrame(stream).serialize())
    with pytest.raises(Violation, match="too many rapid RST_STREAM frames"):
        guard.feed(opened(1001) + RstStreamFrame(1001).serialize())


def test_streams_that_lived_for_a_second_may_be_reset_in_great_numbers(clock: Clock) -> None:
    guard = FrameGuard(server=True, clock=clock)
    guard.feed(PREFACE)
    for first in range(1, 8_001, 2_000):
        streams = range(first, first + 2_000, 2)
        guard.feed(b"".join(opened(stream) for stream in streams))
        clock.now += 1.0
        guard.feed(b"".join(RstStreamFrame(stream).serialize() for stream in streams))
    assert len(guard.young) <= 1_000


def test_trailers_open_no_stream(clock: Clock) -> None:
    guard = FrameGuard(server=True, clock=clock, limits=LIMITS)
    guard.feed(PREFACE + opened(1))
    clock.now += 1.0
    guard.feed(opened(1) + RstStreamFrame(1).serialize() * 5)


def test_a_server_that_answers_in_another_protocol() -> None:
    answer = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with pytest.raises(Violation, match="it answers in HTTP/1, so what we dialled is no gRPC port"):
        FrameGuard(server=False, clock=Clock()).feed(answer)
    with pytest.raises(Violation, match="a frame over 16384 bytes"):
        FrameGuard(server=True, clock=Clock()).feed(PREFACE + answer)
