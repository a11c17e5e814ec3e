"""One connection of the blocking client: one exchange after the other, read by ``http.client``."""

import http.client
import io
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any

from eps.client import fate
from eps.client.answers import MAX_ANSWER_BYTES
from eps.client.dialling import basic, dial
from eps.client.endpoint import Endpoint, Place, Proxy
from eps.client.errors import CallError
from eps.client.failures import broke_off, dial_failed, refused_us, too_large, too_late
from eps.client.requests import Call, head_of
from eps.core.told_seconds import KEEP_ALIVE_SECONDS, kept_for

MAX_INTERIM = 16
"""Heads with a status 1xx before the answer's: servers send one or two."""


@dataclass(frozen=True, slots=True)
class Answer:
    """As it came."""

    status: int
    body: bytes


class Connection:
    """To the EPS server. Used by one thread at a time.

    Attributes:
        context: the TLS context with which it was made.
        fresh: nothing was sent on it yet.
        keep: seconds for which it may lie unused; 0: it is not used again.
    """

    def __init__(self, sock: socket.socket, place: Place, context: ssl.SSLContext | None, via: Proxy | None) -> None:
        self.context = context
        self.fresh = True
        self.keep = 0.0
        self._sock = sock
        self._place = place
        direct = via is not None and not place.tls  # the proxy itself reads our requests
        self._target = f"http://{place.host}:{place.port}{place.path}" if direct else ""
        self._credentials = basic(via) if direct and via is not None else ""
        self._unused_since = 0.0

    @classmethod
    def dial(cls, endpoint: Endpoint, context: ssl.SSLContext | None, call: Call, seconds: float) -> "Connection":
        """A new one.

        Raises:
            Unreachable: none came about within ``seconds``.
        """
        place, via = endpoint.place, endpoint.proxy()
        try:
            sock = dial(place, via, context, seconds)
        except OSError as error:
            raise dial_failed(error, endpoint, call) from error
        return cls(sock, place, context, via)

    @property
    def is_stale(self) -> bool:
        """It has lain unused for too long."""
        return time.monotonic() - self._unused_since >= self.keep

    @property
    def is_usable(self) -> bool:
        """Whether the next request may go out on it: it has not lain for too long, and nothing has come meanwhile."""
        return not self.is_stale and not fate.has_news(self._sock)

    def close(self) -> None:
        self._sock.close()

    def exchange(self, body: bytes, call: Call, until: float) -> Answer:
        """Send a request and read its answer.

        Args:
            until: the deadline, by ``time.monotonic``.

        Raises:
            Unreachable: nothing of it can have been read.
            OutcomeUnknown: no whole answer came.
        """
        was_fresh, self.fresh, self.keep = self.fresh, False, 0.0
        incoming = _Incoming(self._sock, until)
        before = fate.confirmed(self._sock)
        head = head_of(self._place, len(body), call, target=self._target, credentials=self._credentials)
        sent = self._send(head + body, call, until)
        try:
            return self._answer(incoming, call)
        except TimeoutError as error:
            raise too_late(call, sent=sent) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._lost(error, incoming, call, before if sent else None, was_fresh) from error

    def _send(self, request: bytes, call: Call, until: float) -> bool:
        """Whether all of it was taken by the kernel: what wasn't is no whole request, and nobody runs it."""
        try:
            self._sock.settimeout(_left(until))
            self._sock.sendall(request)
        except TimeoutError as error:
            raise too_late(call, sent=False) from error
        except OSError:
            return False  # why may stand in an answer that came before
        return True

    def _lost(
        self, error: Exception, incoming: "_Incoming", call: Call, before: int | None, was_fresh: bool
    ) -> CallError:
        """What a request without an answer means; ``before`` None: not all of it was taken, so nobody runs it."""
        if incoming.received:
            return broke_off(call, executed="unknown", answering=True)
        if was_fresh and isinstance(error, ssl.SSLError) and (refused := refused_us(error, call)):
            return refused
        unread = before is None or (incoming.at_end and fate.never_read(self._sock, before))
        return broke_off(call, executed="no" if unread else "unknown")

    def _head(self, reader: "_Reader") -> tuple[http.client.HTTPResponse, bool]:
        """That of the answer itself, behind those that only announce it (RFC 9110, section 15.2); whether there were
        none such."""
        for number in range(MAX_INTERIM):
            response = _next_head(reader)
            if not 100 <= response.status < 200:
                return response, number == 0
        raise http.client.HTTPException("no answer comes behind its announcements")

    def _answer(self, incoming: "_Incoming", call: Call) -> Answer:
        reader = _Reader(incoming, 64 * 1024)
        response, is_first = self._head(reader)
        if (response.length or 0) > MAX_ANSWER_BYTES:
            raise too_large(call)
        body = response.read(MAX_ANSWER_BYTES + 1)
        if response.length:
            raise http.client.IncompleteRead(body, response.length)
        if len(body) > MAX_ANSWER_BYTES:
            raise too_large(call)
        incoming.over = True
        if is_first and not response.will_close and not reader.peek(1):
            self.keep = keep_seconds(response.headers.get("Keep-Alive"))
            self._unused_since = time.monotonic()
        return Answer(response.status, body)


def _next_head(reader: "_Reader") -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(_Source(reader), method="POST")  # type: ignore[arg-type]
    response.begin()
    return response


def keep_seconds(header: str | None) -> float:
    """How long a connection is kept by an answer's field ``Keep-Alive``."""
    return kept_for(header or "", KEEP_ALIVE_SECONDS)


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.001)


class _Incoming(io.RawIOBase):
    """What comes, until a deadline.

    Attributes:
        received: bytes so far.
        at_end: the other side has said that no more comes.
        over: nothing more is read.
    """

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._until = until
        self.received = 0
        self.at_end = False
        self.over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.over:
            return None
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        self._sock.settimeout(left)
        size = self._sock.recv_into(buffer)
        self.received += size
        self.at_end = size == 0
        return size


class _Reader(io.BufferedReader):
    """Stays open when ``http.client`` has read what it wants, so that what came beyond that is seen."""

    def close(self) -> None:
        """It is let go."""


class _Source:
    """A socket, as far as ``http.client.HTTPResponse`` needs one."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def makefile(self, _mode: str) -> _Reader:
        return self._reader
