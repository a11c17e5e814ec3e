"""One request and its answer on a connection. h11 says where messages begin and end (RFC 9112, section 6.3).

    head → checked or mended (http1.heads) → h11 → Request or Response, Data …, EndOfMessage

An answer of the usual form that comes whole is read without it (http1.plain_answers).

A head is given to h11 only when it is whole. An exchange has an h11 connection of its own, so that nothing crosses from
one to the next but :attr:`Exchange.rest`, the bytes behind a whole message: on a server's connection they are the next
request, and on a client's they are nothing that anybody has asked for.
"""

from collections.abc import Callable
from typing import Self

import h11

from eps.http1.channel import Channel
from eps.http1.chunk_lines import ChunkLines
from eps.http1.heads import (
    MAX_HEAD,
    check_begin_of_answer,
    checked_request,
    end_of_head,
    mended_answer,
    tells_coding,
    too_long,
)
from eps.http1.plain_answers import PlainAnswer, plain_answer

BATCH_BYTES = 64 * 1024
"""As much of a body is passed on in one write."""

MAX_SKIPPED = 1024 * 1024
"""Of a head that is too long so much is read, and dropped, before that is said: the end of a connection with unread
bytes behind it destroys what was said last (RFC 9112, section 9.6)."""

Message = h11.Request | h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage
Happened = Message | h11.ConnectionClosed

_SOME_POST = h11.Request(method=b"POST", target=b"/", headers=[(b"Host", b"x")])
_ITS_END = h11.EndOfMessage()
_STATUS = slice(len("HTTP/1.1 "), len("HTTP/1.1 1"))
_HEAD_COMES_NEXT = (h11.IDLE, h11.SEND_RESPONSE)


class Exchange:
    """Args:
    rest: what has come before on this connection and belongs here.

    Attributes:
        channel: the connection; its owner's.
        at_end: the other side has ended the connection.
        has_begun: a byte of the other side's message has come.
    """

    def __init__(self, channel: Channel, h11_connection: h11.Connection, check: Callable[[bytes], bytes], rest: bytes):
        self.channel = channel
        self.at_end = False
        self.has_begun = bool(rest)
        self._h11 = h11_connection
        self._is_client = h11_connection.our_role is h11.CLIENT
        self._check = check
        self._buffer = bytearray(rest)
        self._chunk_lines: ChunkLines | None = None
        self._seen = 0
        self._asked_for_head = False
        self._ends_at_head = False
        self._leaves_waiting = False
        self._too_long: h11.RemoteProtocolError | None = None
        self._skipped = 0
        self._untold = False
        self._has_all_parts = False
        self._was_plain = False

    @classmethod
    def as_client(cls, channel: Channel) -> Self:
        """The side that asks."""
        return cls(channel, h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD), mended_answer, b"")

    @classmethod
    def as_server(cls, channel: Channel, rest: bytes = b"") -> Self:
        """The side that answers."""
        return cls(channel, h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD), checked_request, rest)

    # Reading

    async def next(self) -> Happened:
        """What comes next, whenever it comes.

        Raises:
            RemoteProtocolError: it is no HTTP, or ends in the middle.
            OSError: the connection broke off, or no answer came.
        """
        while (event := self.ready()) is None:
            await self._receive()
        return event

    async def _receive(self) -> None:
        data = await self.channel.read()
        self._buffer += data
        self.has_begun = self.has_begun or bool(data)
        if not data:
            if self._is_client and not self._buffer and self._h11.their_state in _HEAD_COMES_NEXT:
                raise ConnectionResetError("the connection was closed before an answer came")
            self.at_end = True
            self._h11.receive_data(self._take(len(self._buffer)))
            self._h11.receive_data(b"")

    async def plain(self) -> PlainAnswer | None:
        """The whole answer to what :meth:`send_ready` sends, if it has the usual form and what comes first is all of
        it. None: the answer is to be had from :meth:`next`.

        Raises:
            OSError: the connection broke off, or no answer came.
        """
        await self._receive()
        answer = plain_answer(self._buffer)
        if answer is not None:
            self._was_plain = True
            del self._buffer[: answer.size]
        return answer

    async def batch(self) -> list[Happened]:
        """What comes next, and what of the message has come with it."""
        event = await self.next()
        return [event, *self.ready_batch()] if type(event) is h11.Data else [event]

    def ready_batch(self) -> list[Happened]:
        """What of the message can be had without waiting, up to its end or :data:`BATCH_BYTES`."""
        events: list[Happened] = []
        size = 0
        while size < BATCH_BYTES and (event := self.ready()) is not None:
            events.append(event)
            if type(event) is not h11.Data:
                break
            size += len(event.data)
        return events

    def ready(self) -> Happened | None:
        """What can be said without waiting; None if nothing can.

        Raises:
            RemoteProtocolError: see :meth:`next`.
        """
        if self._h11.their_state in _HEAD_COMES_NEXT and not self.at_end:
            if not self._buffer:
                return None
            head = self._head()
            if not head:
                return None
            if self._untold and head[_STATUS] == b"1" and self._h11.our_state is h11.IDLE:
                self._h11.send(_SOME_POST)
                self._h11.send(_ITS_END)
            head = self._check(head)
            self._chunk_lines = ChunkLines(mends=self._is_client) if tells_coding(head) else None
            self._h11.receive_data(head)
        elif self._buffer:
            self._hand_on()
        event = self._h11.next_event()
        assert event is not h11.PAUSED, "nobody asks for more behind a message's end"
        if type(event) is h11.Response:
            self._ends_at_head = self._asked_for_head or event.status_code in (204, 304)
            self._chunk_lines = None if self._ends_at_head else self._chunk_lines
        return None if event is h11.NEED_DATA else event  # type: ignore[return-value]  # h11's constants are classes

    def _hand_on(self) -> None:
        """Give h11 what has come of a body."""
        if self._chunk_lines is None or self._h11.their_state is not h11.SEND_BODY:
            self._h11.receive_data(self._take(len(self._buffer)))
        elif whole := self._chunk_lines.take(self._buffer):  # nothing would mean the connection's end
            self._h11.receive_data(whole)

    def _head(self) -> bytes:
        while self._buffer.startswith(b"\r\n"):  # RFC 9112, section 2.2
            del self._buffer[:2]
            self._seen = 0
        end = end_of_head(self._buffer, self._seen)
        if self._too_long is None and (end or len(self._buffer)) > MAX_HEAD:
            self._too_long = too_long(self._buffer)
        if self._too_long is not None:
            self._skipped += len(self._buffer)
            if end or self._skipped > MAX_SKIPPED:
                raise self._too_long
            del self._buffer[:-3]  # where the empty line may begin
        if self._is_client and not end and self._too_long is None:
            check_begin_of_answer(self._buffer, self._seen)
        self._seen = 0 if end else len(self._buffer)
        return self._take(end)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    @property
    def is_read(self) -> bool:
        """Whether the other side's message has come to its end."""
        return self._was_plain or self._h11.their_state not in (*_HEAD_COMES_NEXT, h11.SEND_BODY, h11.ERROR)

    @property
    def rest(self) -> bytes:
        """What has come behind the message, or behind a head that changed the protocol."""
        return bytes(self._h11.trailing_data[0] + self._buffer)

    # Writing

    def send(self, *messages: Message) -> None:
        """Write, all in one.

        Raises:
            LocalProtocolError: HTTP doesn't allow that here.
        """
        if type(messages[0]) is h11.Request:
            self._asked_for_head = messages[0].method == b"HEAD"
        elif type(messages[0]) is h11.Response:
            self._leaves_waiting = self.waits_to_go_on
        self.channel.write(b"".join([self._h11.send(message) or b"" for message in messages]))

    def send_ready(self, data: bytes, *, is_last: bool) -> None:
        """Write a part of a POST that needs no checks, as its head is always the same: h11 would take as long over it
        as over its answer. It reads an answer to it untold, but none that comes before the answer (1xx)."""
        self._untold = True
        self._has_all_parts = is_last
        self.channel.write(data)

    @property
    def is_written(self) -> bool:
        """Whether our message has been sent to its end."""
        if self._untold:
            return self._has_all_parts
        return self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE, h11.SEND_BODY, h11.ERROR)

    @property
    def can_answer(self) -> bool:
        """Whether no answer has begun."""
        return self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    @property
    def waits_to_go_on(self) -> bool:
        """Whether the client sends its body only when it is told to (RFC 9110, section 10.1.1)."""
        return self._h11.they_are_waiting_for_100_continue

    @property
    def body_may_come(self) -> bool:
        """Whether more of the other side's message is on its way: not, if it was answered without that it was told to
        send its body."""
        return not self.is_read and not self._leaves_waiting and self.channel.is_open

    @property
    def can_go_on(self) -> bool:
        """Whether both messages are over, and the connection may carry another exchange.

        Not behind an answer to HEAD, nor with 204 or 304: these end at their head (RFC 9112, section 6.3), but careless
        servers send a body all the same. It may come any time, and would be taken for the next answer."""
        are_over = self._h11.their_state is h11.DONE and (self._h11.our_state is h11.DONE or self._untold)
        return (are_over or self._was_plain) and self.is_written and not self._ends_at_head and not self.at_end
