"""Two connections made one: every byte that one side sends reaches the other (PROTOCOL.md section 7, step 6).

    first ──▶ flow ──▶ second        a flow either waits until its source has bytes,
    first ◀── flow ◀── second        or, holding bytes, until its sink takes them; never both

Each flow moves at most one carrier's load (``transport.pipes``: 1 MiB) when the event loop says that a socket is
ready, and returns: so a busy tunnel can't starve the others, a side that does not read stops the other one through
TCP's own back-pressure, and there is no task, and nothing to schedule, for any chunk.

On a narrow line whatever waits here is in front of what is small and in a hurry: both are bytes of one connection, end
to end. So a flow takes no more at once than its sink has just shown to send within a moment, and waits until the sink
has sent what it has (``transport.narrow``). What is fast gets whole carriers, and isn't asked.

uvloop tells of a socket that was reset once, and then never again of that socket. Bytes may lie in front of the reset:
so a flow that has read looks whether its source is broken, and if so reads on by itself.

How a relay ends:
- A side's end of stream is passed on once all its bytes are out; the other direction goes on. When both have ended,
  the relay has finished.
- A side that breaks off (reset) is passed on as a reset, so that nobody takes half a message for a whole one; but only
  when the healthy side's kernel has every byte that came before (its send queue is empty), or takes none any more for
  ``LINGER`` seconds. Until then, what is sent to the broken side is read and thrown away, so that its sender can end.
- No byte either way for the idle limit: both are closed. A side that lives and doesn't read has that long, too, but no
  longer than ``transport.readers`` says; and its place is taken first when places are scarce (``make_room``). It is
  reset where bytes are left that it has not taken: they were not all.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from eps.core.defaults import RELAY_IDLE_SECONDS
from eps.core.rendezvous import TunnelOutcome
from eps.transport.narrow import Measure
from eps.transport.pipes import GIVE_UP_ON_SPLICE, PIPE_BYTES, Carrier, CopyCarrier, best_carrier
from eps.transport.readers import Readers
from eps.transport.sockets import UNSENT_BYTES, patience, unacknowledged, unsent

LINGER = 5.0
"""Seconds without progress after which a relay with one broken side is closed; a healthy side needs far less."""

FIRST_LOOK, LONGEST_PAUSE = 0.001, 0.1
"""Seconds until a send queue is looked at again: no event tells that it is empty. Most are after one round trip."""

ABORTIVE = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset."""

TCP_CLOSE = 7
"""The state of a connection that is over (tcp_states.h)."""


@dataclass(frozen=True, slots=True)
class SpliceResult:
    """How a relay ended.

    Attributes:
        first_bytes, second_bytes: forwarded from the first and from the second side.
        seconds: from the join to the end.
    """

    outcome: TunnelOutcome
    first_bytes: int
    second_bytes: int
    seconds: float


class Relay:
    """Two joined sockets.

    Args:
        first, second: connected, non-blocking, without transports; owned by the relay from here on.
        first_head, second_head: bytes already read from that side, forwarded before all others.
        idle_timeout: seconds without a byte either way.
        on_end: called once, with both sockets closed. Must not raise.
        make_carrier: what moves the bytes; tests choose.

    Attributes:
        flows: the two directions; none when it has ended, since they hold it, and circles stay for the cycle collector.
        started_at: when both were joined, by the loop's clock.
        last_progress: when a byte last moved, by the same.
    """

    __slots__ = (
        *("_broken", "flows", "_idle", "_on_end", "_queue_timer", "_queued", "_readers", "_sockets"),
        *("_timer", "started_at", "_to_reset", "last_progress", "loop"),
    )

    def __init__(
        self,
        first: socket.socket,
        second: socket.socket,
        *,
        first_head: bytes = b"",
        second_head: bytes = b"",
        idle_timeout: float = RELAY_IDLE_SECONDS,
        on_end: Callable[[SpliceResult], None],
        make_carrier: Callable[[], Carrier] = best_carrier,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.started_at = self.last_progress = self.loop.time()
        self._sockets = first, second
        self._readers = Readers(first, second)
        self.flows: tuple[Flow, ...] = (
            Flow(self, first, second, first_head, make_carrier),
            Flow(self, second, first, second_head, make_carrier),
        )
        self._idle = idle_timeout
        self._broken = False
        self._on_end: Callable[[SpliceResult], None] | None = on_end
        self._timer: asyncio.TimerHandle | None = None
        self._to_reset: socket.socket | None = None
        self._queued = 0
        self._queue_timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to forward. If that fails, both sides are closed."""
        self._timer = self.loop.call_later(self._idle, self.check_idle)
        try:
            for flow in self.flows:
                flow.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Close both sides now; nothing happens if the relay has ended already."""
        self._end(TunnelOutcome.STOPPED)

    @property
    def unread(self) -> float:
        """Seconds for which a side has taken nothing of what waits for it."""
        return self._readers.unread

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes forwarded so far from the first and from the second side; when it has ended, its end tells them."""
        first, second = (flow.moved for flow in self.flows) if self.flows else (0, 0)
        return first, second

    def give_way(self) -> None:
        """End as an idle one does; see :func:`make_room`."""
        self._end(TunnelOutcome.IDLE)

    def progressed(self) -> None:
        """A sink took bytes; called by the flows."""
        self.last_progress = self.loop.time()
        self._readers.given()

    def flow_ended(self) -> None:
        """A direction is through; called by the flows."""
        if all(flow.ended for flow in self.flows) and self._to_reset is None:
            self._end(TunnelOutcome.FINISHED)

    def side_broke(self) -> None:
        """A side was reset; called by the flows."""
        if self._broken or self._timer is None:
            return  # known already
        self._broken = True
        self._idle = min(self._idle, LINGER)
        self._timer.cancel()
        self._timer = self.loop.call_later(self._idle, self.check_idle)

    def sink_broke(self, flow: "Flow") -> None:
        """The sink of ``flow`` was reset; called by the flow. Its write has used up the error, of which neither the
        kernel nor the event loop will tell the other flow, which reads from there."""
        self.side_broke()
        for other in self.flows:
            if other is not flow:
                other.source_broke()

    def pass_on_reset(self, healthy: socket.socket) -> None:
        """All that the broken side sent is in the send queue of ``healthy``; called by the flows."""
        self.side_broke()
        if self._to_reset is None:
            self._to_reset, self._queued = healthy, unacknowledged(healthy)
            self._look_at_queue(FIRST_LOOK)
        elif self._to_reset is not healthy:  # that one is broken, too
            self._end(TunnelOutcome.RESET)

    def _look_at_queue(self, pause: float) -> None:
        """Once the healthy side's kernel has everything, a reset destroys nothing: what was received stays readable."""
        assert self._to_reset is not None
        left = unacknowledged(self._to_reset)
        if not left:
            self._end(TunnelOutcome.RESET)
            return
        if left < self._queued:
            self._queued, self.last_progress = left, self.loop.time()
        self._queue_timer = self.loop.call_later(pause, self._look_at_queue, min(pause * 2, LONGEST_PAUSE))

    def check_idle(self) -> None:
        """End, if nothing has moved for long enough, or else look again when that can be; the loop calls it."""
        due = self.last_progress + self._idle
        if self.loop.time() < due:
            self._timer = self.loop.call_at(due, self.check_idle)
        else:
            self._end(TunnelOutcome.RESET if self._broken else TunnelOutcome.IDLE)

    def _end(self, outcome: TunnelOutcome) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is None:
            return
        for timer in (self._timer, self._queue_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._queue_timer = None
        is_half = outcome is TunnelOutcome.RESET or (outcome is TunnelOutcome.IDLE and self._readers.unread > 0)
        self._readers.stop()
        for flow in self.flows:
            flow.detach()
        for sock in self._sockets:
            if is_half:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORTIVE)
            sock.close()
        first, second = self.moved
        self.flows = ()
        on_end(SpliceResult(outcome, first, second, self.loop.time() - self.started_at))


def make_room(relays: Collection[Relay]) -> bool:
    """Of the relays that stand though a side reads nothing, for longer than a dead one would be given, the one that has
    stood so for longest gives way; whether there was one. Of 8,192 it takes a millisecond or two."""
    longest = max(relays, key=lambda relay: relay.unread, default=None)
    if longest is None or longest.unread <= patience():
        return False
    longest.give_way()
    return True


def sum_of(moved: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Both kinds of bytes of several, each added up; of 8,192 relays it takes some milliseconds."""
    first = second = 0
    for of_first, of_second in moved:
        first += of_first
        second += of_second
    return first, second


class Flow:
    """One direction. Until it has ended it is registered for exactly one thing: its source's bytes (nothing is
    pending then), or its sink's room; and then for nothing."""

    __slots__ = (
        *("_after_head", "_carrier", "_discarding", "_loop", "_measure", "_relay", "_sink"),
        *("_source_broke", "_sink_fd", "_source", "_source_fd", "ended", "moved"),
    )

    def __init__(
        self,
        relay: Relay,
        source: socket.socket,
        sink: socket.socket,
        head: bytes,
        make_carrier: Callable[[], Carrier],
    ) -> None:
        self._relay = relay
        self._loop = relay.loop
        self._source = source
        self._sink = sink
        self._source_fd = source.fileno()  # a socket that was closed behind our back no longer knows it
        self._sink_fd = sink.fileno()
        self._carrier: Carrier = CopyCarrier(head) if head else make_carrier()
        self._after_head = make_carrier if head else None
        self._measure = Measure()
        self._discarding = False
        self._source_broke = False
        self.ended = False
        self.moved = 0

    def start(self) -> None:
        if self._carrier.pending:
            self._loop.add_writer(self._sink_fd, self._on_writable)
        else:
            self._loop.add_reader(self._source_fd, self.on_readable)

    def detach(self) -> None:
        """Leave the event loop and give back what is borrowed."""
        if not self.ended:
            self.ended = True
            self._loop.remove_reader(self._source_fd)
            self._loop.remove_writer(self._sink_fd)
        self._carrier.drop()

    def on_readable(self) -> None:
        if self.ended or self._carrier.pending:
            return  # that it was to read on is out of date
        try:
            taken = self._carrier.take(self._source, self._measure.most)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._cannot_take(error)
            return
        if not taken and self._source_broke:
            self._break_off()
        elif not taken:
            self._finish()
        elif self._discarding:
            self._carrier.drop()
            self._look_for_reset()
        elif self._put():
            if not self.ended:  # where the sink was reset, and the other side too, the relay is over by now
                self._look_for_reset()
                self._after_put(taken)
        else:
            self._wait_for_sink()

    def _after_put(self, taken: int) -> None:
        """Take more at once, or none until the sink has sent what it got."""
        measure = self._measure
        if measure.most == PIPE_BYTES or self._source_broke or self.ended or self._discarding:
            return
        measure.unsent += taken
        if measure.unsent > UNSENT_BYTES:  # else nobody need be asked, which small messages would cost as much as large
            measure.unsent = unsent(self._sink)
        if measure.unsent > UNSENT_BYTES:
            self._wait_for_sink()
        else:
            measure.went_through(taken)

    def _wait_for_sink(self) -> None:
        self._measure.waits(self._carrier.pending + unsent(self._sink), self._loop.time())
        self._loop.remove_reader(self._source_fd)
        self._loop.add_writer(self._sink_fd, self._on_writable)

    def source_broke(self) -> None:
        """Read by itself from now on, to the end: the event loop may not call any more."""
        self._source_broke = True
        if self.ended:  # its end had been passed on
            self._relay.pass_on_reset(self._sink)
        else:
            self._loop.call_soon(self.on_readable)

    def _look_for_reset(self) -> None:
        """Behind bytes that were read: whether a reset lies behind them, of which the event loop won't tell again."""
        if self._source_broke or was_reset(self._source):
            self._relay.side_broke()
            self.source_broke()

    def _on_writable(self) -> None:
        if (not self._carrier.pending or self._put()) and not self.ended:
            self._measure.waited(self._loop.time())
            if self._after_head is not None:
                self._carrier, self._after_head = self._after_head(), None
            self._loop.remove_writer(self._sink_fd)
            self._loop.add_reader(self._source_fd, self.on_readable)

    def _put(self) -> bool:
        """Give the sink what it takes; whether nothing is pending any more."""
        try:
            self.moved += self._carrier.put(self._sink)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._discard()
            return True
        self._relay.progressed()
        return not self._carrier.pending

    def _cannot_take(self, error: OSError) -> None:
        if error.errno in GIVE_UP_ON_SPLICE and not isinstance(self._carrier, CopyCarrier):
            self._carrier = CopyCarrier()
            self._loop.call_soon(self.on_readable)  # the bytes are still there, and the event loop may not call again
            return
        self._break_off()

    def _discard(self) -> None:
        """The sink is gone: from now on read and throw away, until the source ends too."""
        self._carrier.drop()
        self._carrier, self._after_head = CopyCarrier(), None
        self._discarding = True
        self._relay.sink_broke(self)

    def _break_off(self) -> None:
        """The source was reset and nothing is pending: pass the reset on."""
        self._loop.remove_reader(self._source_fd)
        self._loop.remove_writer(self._sink_fd)  # it may have been waited for
        self.ended = True
        self._relay.pass_on_reset(self._sink)

    def _finish(self) -> None:
        """The source has ended and nothing is pending: pass the end on."""
        self._loop.remove_reader(self._source_fd)
        self.ended = True
        try:
            self._sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the sink is gone; the flow that reads from it finds out
        self._relay.flow_ended()


def was_reset(sock: socket.socket) -> bool:
    """Whether an error has ended the connection. A passing one, such as a router's that knew no way for a moment, is
    told here once, too, but leaves the connection as it is."""
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if not error or not hasattr(socket, "TCP_INFO"):
        return bool(error)
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE
