"""One HTTP request after the other to the internal server, and its answers back: for ``proxy.http_forwarding``.

    answer → _ask        connect, send the head with what there is of the body, the rest as it comes (_Upload)
           → _stream     the answer as it comes
           → _tunnel     or, if the server agrees to speak WebSocket (101), bytes both ways from there on

What breaks off behind an answer's head must look broken off: then the client's connection is cut.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import h11

from eps.core.event import Emit, Level, Notice
from eps.core.rendezvous import TunnelOutcome
from eps.errors import DeliveryError, Unreachable
from eps.http1.channel import Channel
from eps.http1.client import Connection, Connections, open_connection
from eps.http1.exchange import Exchange, Happened, Message
from eps.http1.heads import no_http
from eps.proxy.forwarding import CONNECT_SECONDS
from eps.proxy.http_messages import (
    has_body,
    inside_fields,
    inside_target,
    outside_fields,
    plain_answer,
    trailers,
    wants_websocket,
)
from eps.transport.dial import connect, explain

INSIDE_KEEP_ALIVE_SECONDS = 15.0
INSIDE_CONNECTIONS = 1024
"""To the internal server, of each kind; further requests wait."""

LINGER_SECONDS = 5.0
"""For what is left of a body whose answer has been given: most clients read only when they have written, and an end
with unread bytes behind it destroys the answer on its way (RFC 9112, section 9.6)."""

REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})

Head = h11.Response | h11.InformationalResponse

_HINT = "check internal_endpoint.address, and that the server runs"
_BROKEN_BODY = "the request's body can't be read"
_SWITCHING = 101
_CONTINUE = 100


class Refused(Exception):  # never leaves the proxy's HTTP
    """The client is told so, in an answer of our own."""

    def __init__(self, status: int, text: str, *, close: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.close = close


class _Unanswered(DeliveryError):
    """The internal server has the request, but no answer came; ``told`` is the client's word of it."""

    def __init__(self, message: str, hint: str, told: str) -> None:
        super().__init__(message, hint=hint)
        self._told = told

    @property
    def told(self) -> str:
        return self._told


class Client(Channel):
    """A client's connection, as far as requests change it.

    Attributes:
        stopping: no request follows the present one.
        outcome: what its end is called; None: by how it ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopping = False
        self.outcome: TunnelOutcome | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds without progress: until the answer begins, and in the middle of it or of a WebSocket."""

    answer: float
    idle: float


class Inside:
    """The internal server.

    Args:
        address: ``HOST:PORT``; it is spoken to in plain HTTP.
    """

    def __init__(self, address: str, timeouts: Timeouts, emit: Emit) -> None:
        self._address = address
        self._timeouts = timeouts
        self._emit = emit
        self._kept = Connections(self._dial, limit=INSIDE_CONNECTIONS, keep_alive=INSIDE_KEEP_ALIVE_SECONDS)
        self._single = Connections(self._dial, limit=INSIDE_CONNECTIONS, keep_alive=0.0)
        # Each lives as long as its client's connection does, and those are counted already: a limit would only starve
        # other requests.
        self._websockets = Connections(self._dial, limit=None, keep_alive=0.0)

    async def close(self) -> None:
        """End all connections."""
        for connections in (self._kept, self._single, self._websockets):
            await connections.close()

    async def answer(self, client: Exchange, request: h11.Request) -> None:
        """Pass one request on, and the answer back, or one of our own. What is left of its body is read."""
        try:
            await self._pass_on(client, request)
        except Refused as refused:
            refuse(client, refused)
        except Unreachable as error:
            self._emit(Notice(level=Level.ERROR, text=error.message, hint=error.hint))
            refuse(client, Refused(502, "the server behind this proxy can't be reached"))
        except _Unanswered as error:
            self._emit(Notice(level=Level.ERROR, text=error.message, hint=error.hint))
            refuse(client, Refused(502, error.told))
        except TimeoutError:
            text = f"the internal server at {self._address} made no progress for {self._timeouts.answer:g} s"
            self._emit(Notice(level=Level.WARN, text=text, hint="see internal_endpoint.timeout"))
            refuse(client, Refused(504, "the server behind this proxy did not answer in time"))
        await _linger(client)

    # A request

    async def _pass_on(self, client: Exchange, request: h11.Request) -> None:
        asked = await self._ask(client, request)
        try:
            if asked.head.status_code == _SWITCHING:
                await self._tunnel(client, asked)
            else:
                await self._stream(client, asked)
        finally:
            await asked.end()

    def _message(self, request: h11.Request, connections: Connections) -> h11.Request:
        """The request as it goes inside."""
        if not request.http_version.startswith(b"1."):
            raise Refused(505, "only HTTP/1.1 and HTTP/1.0 are known here", close=True)
        if request.method == b"CONNECT":
            raise Refused(501, "this is no proxy that connects to other servers", close=True)
        target = inside_target(request)
        if target is None:
            raise Refused(400, "the request has no path")
        is_websocket = connections is self._websockets
        fields = inside_fields(request, target[1], self._address.encode(), websocket=is_websocket)
        if connections is self._single:
            fields.append((b"Connection", b"close"))
        return h11.Request(method=request.method, target=target[0], headers=fields)

    def _connections_for(self, request: h11.Request) -> Connections:
        """On a kept connection nobody can tell a request that was lost from one that was never read."""
        if wants_websocket(request):
            return self._websockets
        return self._kept if request.method in REPEATABLE and not has_body(request) else self._single

    async def _ask(self, client: Exchange, request: h11.Request) -> "_Asked":
        """Send the request inside, and wait until the answer begins.

        Raises:
            Unreachable: no connection.
            _Unanswered: there is no answer.
            TimeoutError: there was no progress for too long.
            Refused: the request's body is broken.
        """
        connections = self._connections_for(request)
        message = self._message(request, connections)
        passes_hints = request.http_version >= b"1.1"
        try:
            async with asyncio.timeout(self._timeouts.answer) as deadline:
                for is_fresh in (False, True):
                    connection = await connections.take(fresh=is_fresh)
                    asked = _Asked(client, connections, connection, _Progress(deadline, self._timeouts.answer))
                    if await asked.begin(message, passes_hints=passes_hints):
                        break
                return asked
        except (OSError, h11.RemoteProtocolError) as error:
            if type(error) is TimeoutError:
                raise
            raise self._unanswered(error) from error

    async def _dial(self) -> Connection:
        try:
            sock = await connect(self._address, CONNECT_SECONDS, name="the internal server")
        except Unreachable as error:
            error.hint = _HINT
            raise
        connection = await open_connection(sock, None, None, CONNECT_SECONDS)
        connection.let_pause()
        return connection

    def _unanswered(self, error: Exception) -> "_Unanswered":
        who = f"the internal server at {self._address}"
        if isinstance(error, OSError):
            told = "the server behind this proxy ended the connection without an answer"
            return _Unanswered(f"{who}: {explain(error)}", "its own log may say why", told)
        hint = f"check that internal_endpoint.address is an HTTP server, and what curl -v http://{self._address}/ says"
        return _Unanswered(f"{who}: {no_http(error)}", hint, "the server behind this proxy answered what is no HTTP")

    # Its answer

    async def _stream(self, client: Exchange, asked: "_Asked") -> None:
        """Pass the answer on as it comes."""
        try:
            async with asyncio.timeout(self._timeouts.idle) as deadline:
                progress = _Progress(deadline, self._timeouts.idle)
                messages: list[Happened] = [_for_client(asked.head, client), *asked.inside.ready_batch()]
                while True:
                    client.send(*(_passed_on(message) for message in messages))
                    await client.channel.drain()
                    progress.happens()
                    if type(messages[-1]) is h11.EndOfMessage:
                        return
                    messages = await asked.inside.batch()
        except h11.RemoteProtocolError as error:
            if client.can_answer:
                raise self._unanswered(error) from error
            client.channel.abort()
        except (OSError, TimeoutError):
            client.channel.abort()

    async def _tunnel(self, client: Exchange, asked: "_Asked") -> None:
        """The internal server speaks WebSocket from here on: forward bytes, whatever they are, until a side ends."""
        client.send(asked.head)
        client.channel.write(asked.inside.rest)
        asked.connection.write(client.rest)
        try:
            await _both_ways(client.channel, asked.connection, self._timeouts.idle)
        except TimeoutError:
            assert isinstance(client.channel, Client)
            client.channel.outcome = TunnelOutcome.IDLE
            client.channel.close()  # nothing but frames may follow, so nothing can be said any more
        except OSError:
            client.channel.abort()
        else:
            client.channel.close()


class _Progress:
    """Puts a deadline off whenever something happens."""

    def __init__(self, deadline: asyncio.Timeout, seconds: float) -> None:
        self._deadline = deadline
        self._seconds = seconds

    def happens(self) -> None:
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._seconds)


class _Asked:
    """A request on its way inside, whose body is sent while the answer is waited for, and goes on if that has begun.

    Attributes:
        connection, inside: to the internal server, and the exchange on it.
        head: the answer's.
    """

    head: Head

    def __init__(self, client: Exchange, connections: Connections, connection: Connection, progress: _Progress) -> None:
        self.connection = connection
        self.inside = Exchange.as_client(connection)
        self._client = client
        self._connections = connections
        self._progress: _Progress | None = progress
        self._upload: asyncio.Task[None] | None = None
        self._broken = False

    async def begin(self, message: h11.Request, *, passes_hints: bool) -> bool:
        """Send the request and wait for the answer's head. False: on this kept connection nobody was there any more."""
        try:
            self._send(message)
            self.head = await self._answer(passes_hints)
        except (OSError, h11.RemoteProtocolError) as error:
            await self.end()
            if self._broken:
                raise Refused(400, _BROKEN_BODY, close=True) from error
            if self.connection.fresh or self.inside.has_begun:
                raise
            return False
        except BaseException:
            await self.end()
            raise
        self._progress = None  # the answer may begin before the body has ended
        return True

    def _send(self, message: h11.Request) -> None:
        """The head, with what there is of the body: a server that answers and closes after one read would else be sent
        the body behind its end, and reset."""
        try:
            messages = self._client.ready_batch()
        except h11.RemoteProtocolError:
            self._broken = True
            raise
        self.inside.send(message, *(_passed_on(part) for part in messages))
        self.connection.acknowledge_soon()
        if not messages or type(messages[-1]) is not h11.EndOfMessage:
            self._upload = asyncio.create_task(self._send_the_rest(), name="request body")

    async def _send_the_rest(self) -> None:
        if self._client.waits_to_go_on:
            self._client.send(h11.InformationalResponse(status_code=_CONTINUE, headers=[], reason=b"Continue"))
        try:
            while not self._client.is_read:
                messages = await self._client.batch()
                self.inside.send(*(_passed_on(message) for message in messages))
                await self.connection.drain()
                if self._progress is not None:
                    self._progress.happens()
            self.connection.acknowledge_soon()
        except h11.RemoteProtocolError:
            self._broken = True
            self.connection.abort()  # no false end of the body
        except OSError:
            pass  # the internal server takes no more: what it answers says why

    async def _answer(self, passes_hints: bool) -> Head:
        while True:
            event = await self.inside.next()
            assert isinstance(event, h11.Response | h11.InformationalResponse), "an answer begins with its head"
            if isinstance(event, h11.Response) or event.status_code == _SWITCHING:
                return event
            if passes_hints and event.status_code != _CONTINUE:  # that the client has from us
                self._client.send(_for_client(event, self._client))
                await self._client.channel.drain()

    async def end(self) -> None:
        """Stop sending, and give the connection back."""
        try:
            if self._upload is not None:
                self._upload.cancel()
                await asyncio.wait([self._upload])
        finally:
            self._connections.give_back(self.connection, self.inside)


def refuse(client: Exchange, refused: Refused) -> None:
    """Answer for ourselves."""
    assert client.can_answer and isinstance(client.channel, Client)
    client.send(*plain_answer(refused.status, refused.text, close=refused.close or client.channel.stopping))


def _for_client(head: Head, client: Exchange) -> Head:
    fields = outside_fields(head)
    assert isinstance(client.channel, Client)
    if client.channel.stopping and isinstance(head, h11.Response):
        fields.append((b"Connection", b"close"))
    return type(head)(status_code=head.status_code, headers=fields, reason=head.reason)


def _passed_on(message: Happened) -> Message:
    assert not isinstance(message, h11.ConnectionClosed), "no message ends so without an error"
    return h11.EndOfMessage(headers=trailers(message)) if type(message) is h11.EndOfMessage else message


async def _linger(client: Exchange) -> None:
    """Read what is left of a body that nobody wants."""
    if not client.body_may_come:
        return
    with suppress(OSError, TimeoutError, h11.RemoteProtocolError):
        async with asyncio.timeout(LINGER_SECONDS):
            while not client.is_read:
                await client.next()


async def _both_ways(one: Channel, other: Channel, idle: float) -> None:
    """Forward bytes until a side ends.

    Raises:
        TimeoutError: none came for ``idle`` seconds.
        OSError: a side broke off.
    """
    async with asyncio.timeout(idle) as deadline:
        progress = _Progress(deadline, idle)

        async def pump(source: Channel, sink: Channel) -> None:
            while data := await source.read():
                sink.write(data)
                await sink.drain()
                progress.happens()

        pumps = [asyncio.create_task(pump(one, other)), asyncio.create_task(pump(other, one))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in pumps:
                task.cancel()
            ends = await asyncio.gather(*pumps, return_exceptions=True)
    failure = next((end for end in ends if isinstance(end, Exception)), None)
    if failure is not None:
        raise failure
