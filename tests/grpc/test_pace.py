"""How much of large messages may be on its way: by what lines do, in a simulation, and on a real connection."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field

import h2.events
from h2.settings import SettingCodes
from hyperframe.frame import PingFrame

from eps.grpc import eps_pb2 as pb
from eps.grpc.pace import (
    BEARABLE_SECONDS,
    FIRST_BYTES,
    IDLE_SECONDS,
    MOST_BYTES,
    MOST_QUESTIONS,
    QUESTION_BYTES,
    Pace,
)
from eps.grpc.service import SpokenName
from eps.grpc.streams import STREAM_METADATA
from eps.grpc.wire import PIECE_BYTES
from support.grpc_rig import Raw, against, frames_of, ping, prefixed, rig, soon

STEP = 0.005


@dataclass
class Line:
    """A line whose queue takes whatever comes, as relays' do.

    Attributes:
        rate: bytes per second.
        delay: seconds that a byte takes besides, there, and an answer back.
        stalls: at which times nothing is sent for a second, as after packets that were lost.
        carried: bytes that have arrived.
        waited: how long what arrived had waited in the queue, at the most.
    """

    rate: float
    delay: float
    stalls: tuple[float, ...] = ()
    carried: float = 0.0
    waited: float = 0.0
    _queue: deque[tuple[float, float, bytes]] = field(default_factory=deque)
    _answers: deque[tuple[float, bytes]] = field(default_factory=deque)
    _free_at: float = 0.0

    def put(self, size: int, payload: bytes, now: float) -> None:
        """Bytes, and the question behind them if there is one."""
        begins = max(self._free_at, now)
        begins = next((stall + 1 for stall in self.stalls if stall <= begins < stall + 1), begins)
        self._free_at = begins + size / self.rate
        self.waited = max(self.waited, self._free_at - now)
        self._queue.append((self._free_at + self.delay, size, payload))

    def work(self, pace: Pace, now: float) -> None:
        """Until ``now``."""
        while self._queue and self._queue[0][0] <= now:
            at, size, payload = self._queue.popleft()
            self.carried += size
            if payload:
                self._answers.append((at + self.delay, payload))
        while self._answers and self._answers[0][0] <= now:
            assert pace.answered(self._answers.popleft()[1], now)
            if pace.is_question_due(now):
                self.put(0, pace.ask(now), now)


def send(pace: Pace, line: Line, seconds: float, begin: float = 0.0) -> None:
    """Large messages all the time, a piece at a time."""
    for step in range(int(seconds / STEP)):
        now = begin + step * STEP
        line.work(pace, now)
        while size := min(pace.room(now), PIECE_BYTES):
            pace.wrote(size, now)
            line.put(size, pace.ask(now) if pace.is_question_due(now) else b"", now)


def test_on_a_narrow_line_no_more_waits_than_is_bearable() -> None:
    line = Line(rate=64_000, delay=0.02)
    send(Pace(), line, 30)
    assert line.waited < 1.5 * BEARABLE_SECONDS
    assert line.carried > 0.95 * 30 * line.rate


def test_a_far_line_is_filled() -> None:
    """24 Mbit, half a second there and back: a megabyte and a half is on its way."""
    line = Line(rate=3_000_000, delay=0.25)
    pace = Pace()
    send(pace, line, 5)
    line.carried = 0
    send(pace, line, 10, begin=5)
    assert line.carried > 0.95 * 10 * line.rate


def test_a_far_line_that_stalls_is_filled_between() -> None:
    line = Line(rate=200_000, delay=0.15, stalls=(4.0, 9.0, 14.0))
    send(Pace(), line, 20)
    assert line.carried > 0.9 * 17 * line.rate


def test_a_quick_line_is_asked_little() -> None:
    line, pace = Line(rate=1e9, delay=0.0001), Pace()
    send(pace, line, 0.1)
    assert pace.most == MOST_BYTES
    asked = 0
    for now in (0.1 + piece * 1e-5 for piece in range(1000)):
        pace.wrote(PIECE_BYTES, now)
        line.work(pace, now)
        if pace.is_question_due(now):
            asked += 1
            line.put(PIECE_BYTES, pace.ask(now), now)
    assert asked < 1000 * PIECE_BYTES / (MOST_BYTES / 4) + 2


def test_a_line_that_becomes_narrow_gets_less_and_one_that_becomes_wide_more() -> None:
    pace, line = Pace(), Line(rate=10_000_000, delay=0.02)
    send(pace, line, 5)
    assert pace.most > 1_000_000
    line.rate = 64_000
    send(pace, line, 200, begin=5)
    assert pace.most < 2 * line.rate * BEARABLE_SECONDS
    line.rate = 10_000_000
    send(pace, line, 10, begin=205)
    assert pace.most > 1_000_000


def test_what_a_line_carried_long_ago_says_nothing() -> None:
    line, pace = Line(rate=1e9, delay=0.0001), Pace()
    send(pace, line, 0.1)
    line.work(pace, 1.0)
    assert pace.room(0.1 + IDLE_SECONDS / 2) > FIRST_BYTES
    assert pace.room(0.2 + IDLE_SECONDS) == FIRST_BYTES // 2


def test_who_answers_no_question_gets_no_more() -> None:
    pace = Pace()
    for second in range(3 * MOST_QUESTIONS):
        pace.wrote(QUESTION_BYTES, second)
        if pace.is_question_due(second):
            pace.ask(second)
    assert pace.is_full and pace.room(1000.0) == 0
    assert not pace.is_question_due(10_000.0)


def test_what_was_written_last_is_asked_about_where_nothing_else_opens_the_way_again() -> None:
    pace = Pace()
    pace.wrote(FIRST_BYTES - 1000, 0.0)
    first = pace.ask(0.0)
    pace.wrote(1000, 0.0)
    assert pace.is_full and not pace.is_question_due(0.0), "the first answer makes room"
    pace.most = 500
    assert pace.answered(first, 2.0)
    pace.most = 500
    assert pace.is_question_due(2.0)


def test_an_answer_to_somebody_elses_ping_says_nothing() -> None:
    pace = Pace()
    assert not pace.answered(b"12345678", 1.0)
    pace.wrote(PIECE_BYTES, 1.0)
    pace.ask(1.0)
    assert not pace.answered(b"12345678", 1.0)


async def test_both_ends_know_after_the_first_call_that_the_other_may_be_asked() -> None:
    async with rig() as it:
        connection = await it.connect()
        await connection.call(ping(), 10)
        assert connection.wire.link.pulse.ours
        assert all(served.accepted.link.pulse.ours for served in it.endpoint.connections)


async def test_what_is_known_of_a_peer_is_known_of_its_next_connection_until_that_says_otherwise() -> None:
    """Else a large message that is the first one on it would go out as fast as the relay takes it."""
    spoken = SpokenName()

    async def of_our_kind(raw: Raw) -> None:
        await raw.start()
        respond(raw, (await raw.until(h2.events.StreamEnded)).stream_id)
        await raw.flush()
        await raw.goaway()

    async def of_another(raw: Raw) -> None:
        await raw.start()
        raw.respond((await raw.until(h2.events.StreamEnded)).stream_id, pb.Response(id="x"))
        await raw.flush()
        await raw.goaway()

    async with against(of_our_kind, spoken=spoken) as connection:
        assert not connection.wire.may_be_asked
        await connection.call(ping(), 10)
        assert connection.wire.may_be_asked
    async with against(of_another, spoken=spoken) as connection:
        assert connection.wire.may_be_asked
        assert not connection.wire.link.pulse.ours, "whom it may ping for its life is another matter"
        await connection.call(ping(), 10)
        assert not connection.wire.may_be_asked
    async with against(of_another, spoken=spoken) as connection:
        assert not connection.wire.may_be_asked


async def test_large_messages_wait_for_what_arrives_and_small_ones_pass_them() -> None:
    """A peer whose answers to pings are late: the large message is held up meanwhile, and nothing else."""
    came: Counter[int] = Counter()
    small_came, late = asyncio.Event(), asyncio.Event()

    async def script(raw: Raw) -> None:
        await raw.start()
        raw.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 8_000_000})
        raw.h2.increment_flow_control_window(8_000_000)
        first = (await raw.until(h2.events.StreamEnded)).stream_id
        respond(raw, first)
        await raw.flush()
        held = b""
        while True:
            for event in raw.h2.receive_data(await soon(raw.reader.read(65_536))):
                if isinstance(event, h2.events.DataReceived):
                    came[event.stream_id] += len(event.data or b"")
                if isinstance(event, h2.events.StreamEnded):
                    respond(raw, event.stream_id)
                    small_came.set()
            out = frames_of(raw.h2.data_to_send())
            held += b"".join(frame.serialize() for frame in out if isinstance(frame, PingFrame))
            raw.writer.write(b"".join(frame.serialize() for frame in out if not isinstance(frame, PingFrame)))
            if late.is_set():
                raw.writer.write(held)
                held = b""

    async with against(script) as connection:
        await connection.call(ping("first"), 10)
        large = asyncio.create_task(connection.call(ping("large", x="y" * 500_000), 30))
        async with asyncio.timeout(30):
            while sum(came.values()) < FIRST_BYTES:
                await asyncio.sleep(0.01)
        assert (await connection.call(ping("small"), 30)).id
        assert max(came.values()) <= FIRST_BYTES + PIECE_BYTES, "and no more of the large one"
        late.set()
        await connection.call(ping("another"), 30)  # whose bytes let the answers go that were held
        assert (await soon(large)).id


def respond(raw: Raw, stream_id: int) -> None:
    """An answer by which a server of ours is known."""
    head = {":status": "200", "content-type": "application/grpc", **STREAM_METADATA}
    raw.h2.send_headers(stream_id, list(head.items()))
    raw.h2.send_data(stream_id, prefixed(pb.Response(id="x").SerializeToString()))
    raw.h2.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)
