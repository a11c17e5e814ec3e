"""How much of large messages may be on its way to the peer at a time: so much that a small one behind it is not late.

What is below TLS on our side is bounded already (``grpc.link``). But behind a relay, what fills is elsewhere: the
relay's kernels and the queue of a narrow line take much, and all that is of one connection stays in its order. Only the
two ends know how long bytes take to get through. So whoever sends large messages asks behind some pieces (PING, which
HTTP/2 has answered at once, in its place among the bytes), and sends no more than arrives within the quickest round
trip and :data:`BEARABLE_SECONDS`. Small messages don't wait for that, and are not counted.

It begins with little, and grows by what arrives, as TCP does: a far line, which takes long but not longer than at its
best, gets all that it can carry. Decisions only: time is an argument, nothing is sent here.
"""

from collections import deque
from typing import NamedTuple

BEARABLE_SECONDS = 1.0
"""How much longer than at its best a round trip may take before less is sent. A line that is only far or loses packets
hardly reaches it; three of these are what a small call may take on a narrow one."""

FIRST_BYTES = 32_768
"""What may be on its way on a line of which nothing is known, and on the narrowest: twice what TCP begins with."""

MOST_BYTES = 8 * 1024 * 1024
"""What may be on its way at the most: a connection's window, which bounds it as well."""

QUESTION_BYTES = 16_384
"""Of large messages, that are written between two questions at least: a piece."""

QUESTION_SECONDS = 0.1
"""Between two questions, unless a quarter of what may be on its way was written: they cost little, but some."""

MOST_QUESTIONS = 64
"""That may be without an answer; whoever answers none gets no more."""

IDLE_SECONDS = 10.0
"""After which what a line carried says nothing any more: TCP begins anew, too."""

_MARK = b"pace"


class _Question(NamedTuple):
    """One that is not answered yet: behind so many bytes in all, of which so many had not arrived for certain."""

    payload: bytes
    sent: int
    on_the_way: int
    asked_at: float


class Pace:
    """That of one connection, towards its peer.

    Attributes:
        most: bytes that may be on their way.
    """

    __slots__ = (
        "_arrived",
        "_asked",
        "_asked_at",
        "_number",
        "_questions",
        "_quickest",
        "_sent",
        "_sent_at",
        "most",
    )

    def __init__(self) -> None:
        self.most = FIRST_BYTES
        self._sent = self._asked = self._arrived = 0
        self._sent_at = self._asked_at = float("-inf")
        self._quickest = float("inf")
        self._number = 0
        self._questions: deque[_Question] = deque()

    @property
    def is_full(self) -> bool:
        """Whether large messages have to wait."""
        return self._sent - self._arrived >= self.most

    def room(self, now: float) -> int:
        """Bytes of a large message that may be sent now, before :meth:`is_question_due` is asked again."""
        if now - self._sent_at > IDLE_SECONDS:
            self.most = FIRST_BYTES
        return max(min(self.most - (self._sent - self._arrived), self.most // 2), 0)

    def wrote(self, size: int, now: float) -> None:
        """So many bytes of a large message are on their way."""
        self._sent += size
        self._sent_at = now

    def is_question_due(self, now: float) -> bool:
        """Whether the peer is to be asked behind what has been sent."""
        unasked = self._sent - self._asked
        if not unasked or len(self._questions) >= MOST_QUESTIONS:
            return False
        if unasked >= QUESTION_BYTES:
            return unasked >= self.most // 4 or now - self._asked_at >= QUESTION_SECONDS
        return self.is_full and not self._questions

    def ask(self, now: float) -> bytes:
        """The payload of the question."""
        self._number = (self._number + 1) % (1 << 32)
        payload = _MARK + self._number.to_bytes(4, "big")
        self._questions.append(_Question(payload, self._sent, self._sent - self._arrived, now))
        self._asked, self._asked_at = self._sent, now
        return payload

    def answered(self, payload: bytes, now: float) -> bool:
        """A ping was answered; whether it was a question of this pace."""
        if not self._questions or self._questions[0].payload != payload:
            return False
        question = self._questions.popleft()
        self._arrived = question.sent
        self._judge(now - question.asked_at, question.on_the_way)
        return True

    def _judge(self, took: float, on_the_way: int) -> None:
        self._quickest = min(self._quickest, took)
        late, rate = took - self._quickest, on_the_way / max(took, 1e-6)
        if late > BEARABLE_SECONDS:
            self.most = max(int(rate * (self._quickest + BEARABLE_SECONDS)), FIRST_BYTES)
        elif late < BEARABLE_SECONDS / 2:
            self.most = min(max(int(rate * (took + BEARABLE_SECONDS / 2)), self.most), MOST_BYTES)
