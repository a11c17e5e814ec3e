"""A private proxy where TLS ends: HTTP requests go on to the internal server (PROTOCOL.md section 8).

    socket → TLS → _serve   one request after the other, each checked (eps.http1) and passed on (proxy.http_passing),
                            bodies streamed both ways

Clients' connections are kept for their next requests, whatever the internal server does with its own. What a message
says stays as it is, byte by byte, but for the fields of ``proxy.http_messages``.

A connection becomes bytes only when the internal server has said so (101). Before that, what a client sends behind its
request to change the protocol is another request like all others: else a client could ask for a WebSocket where there
is none, and then talk past this proxy, with whatever headers it likes.

Requests that must not be repeated go out on new connections only: on a kept one, nobody could tell whether the internal
server had seen the request or had just hung up.
"""

import asyncio
import socket
import ssl
import time

import h11

from eps.core.defaults import RELAY_IDLE_SECONDS
from eps.core.event import Emit, Refused, TunnelFinished
from eps.core.names import Operator
from eps.core.rendezvous import TunnelOutcome
from eps.core.warn_rate import sparing
from eps.errors import EpsError, TlsFailed
from eps.http1.exchange import Exchange
from eps.http1.heads import MAX_HEAD
from eps.proxy import http_passing
from eps.proxy.forwarding import ended
from eps.proxy.http_passing import Inside, Timeouts, refuse
from eps.transport.splice import sum_of
from eps.transport.tasks import Tasks
from eps.transport.tls import TlsFiles, accept_tls, server_context

HANDSHAKE_SECONDS = 10.0
"""A TLS handshake takes milliseconds of work and a few round trips."""

KEEP_ALIVE_SECONDS = 120.0
"""An unused connection is kept so long, and a head may take so long: above the minute or so after which most clients
end theirs."""

ANSWER_SECONDS = 30.0
"""``timeout`` of PROTOCOL.md section 6: without progress, until the internal server's answer begins."""

GRACE_SECONDS = 1.5
"""How long requests in flight may go on once the proxy stops."""

_REFUSALS = {
    414: f"the request's first line is longer than {MAX_HEAD} bytes",
    431: f"the request's head is longer than {MAX_HEAD} bytes",
    501: "no transfer coding but chunked is known here",
}


class HttpForwarder:
    """A :class:`eps.proxy.forwarding.Forwarder` that speaks HTTP/1.1.

    Args:
        address: the internal server, ``HOST:PORT``; it is spoken to in plain HTTP.
        tls: the certificate to end TLS with.
        timeout: see :data:`ANSWER_SECONDS`.
        idle_timeout: seconds without a byte in the middle of an answer, or of a WebSocket.
        keep_alive: see :data:`KEEP_ALIVE_SECONDS`.
    """

    def __init__(
        self,
        address: str,
        tls: TlsFiles,
        *,
        timeout: float = ANSWER_SECONDS,
        idle_timeout: float = RELAY_IDLE_SECONDS,
        keep_alive: float = KEEP_ALIVE_SECONDS,
        emit: Emit,
    ) -> None:
        self._tls = tls
        self._keep_alive = keep_alive
        self._emit = sparing(emit, time.monotonic)
        self._inside = Inside(address, Timeouts(timeout, idle_timeout), self._emit)
        self._context: ssl.SSLContext | None = None
        self._clients: set[_Client] = set()
        self._serving = Tasks()

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._clients)

    @property
    def moved(self) -> tuple[int, int]:
        """See :class:`eps.proxy.forwarding.Forwarder`."""
        return sum_of((client.sent, client.received) for client in self._clients)

    async def start(self) -> None:
        """Load the certificate; raises StartError if it can't be used."""
        self._context = server_context(self._tls, ["http/1.1"])

    def renew(self, context: ssl.SSLContext, tls: TlsFiles) -> None:
        """End TLS with ``context``, made of ``tls``, on new connections; those that are open go on."""
        self._context, self._tls = context, tls

    async def stop(self) -> None:
        """End each connection when the request in progress on it is answered."""
        for client in list(self._clients):
            client.stop()

    async def close(self) -> None:
        """Let requests in flight end, then end all connections."""
        await self.stop()
        clients = list(self._clients)
        if clients:
            await asyncio.wait([client.ended for client in clients], timeout=GRACE_SECONDS)
        await self._serving.close()
        await asyncio.gather(*(client.close_soon() for client in clients))
        await self._inside.close()

    async def forward(self, sock: socket.socket, domain: str, via: Operator) -> None:
        """See :meth:`eps.proxy.forwarding.Forwarder.forward`."""
        assert self._context is not None, "nothing is forwarded before start"
        try:
            await accept_tls(lambda: _Client(self, domain, via), sock, self._context, timeout=HANDSHAKE_SECONDS)
        except TlsFailed as error:
            tls_failed(error, domain, via, self._emit)
        except asyncio.CancelledError:
            sock.close()
            self._emit(ended(TunnelOutcome.STOPPED, domain, via))
            raise

    # What a client's connection tells

    def come(self, client: "_Client") -> None:
        """It is there, behind TLS."""
        self._clients.add(client)
        client.serving = self._serving.start(self._serve(client), "HTTP of a TLS client")

    def gone(self, client: "_Client", error: BaseException | None) -> None:
        """It has ended; so what it asked for ends, too."""
        self._clients.discard(client)
        if client.serving is not None:
            client.serving.cancel()
        self._emit(client.end(error))

    async def _serve(self, client: "_Client") -> None:
        rest = b""
        try:
            while not client.stopping:
                exchange = Exchange.as_server(client, rest)
                await self._answer(client, exchange)
                if not exchange.can_go_on:
                    break
                rest = exchange.rest
            client.close()
        except (OSError, TimeoutError):
            client.close()
        except BaseException:  # also when cancelled: a half answer must not look whole
            client.abort()
            raise

    async def _answer(self, client: "_Client", exchange: Exchange) -> None:
        """Wait for one request, and answer it.

        Raises:
            OSError: the connection broke off.
            TimeoutError: none came.
        """
        try:
            client.unused = not client.has_unread
            async with asyncio.timeout(self._keep_alive):
                request = await exchange.next()
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            text = _REFUSALS.get(status, "this is no HTTP request that can be read")
            refuse(exchange, http_passing.Refused(status, text, close=True))
            return
        finally:
            client.unused = False
        if isinstance(request, h11.Request):  # else the client has ended the connection
            await self._inside.answer(exchange, request)


def tls_failed(error: EpsError, domain: str, via: Operator, emit: Emit) -> None:
    """Tell that TLS with a client did not come about."""
    emit(Refused(listener="passthrough", why="tls", source=via, detail=f"{domain}: {error.message}"))
    emit(ended(TunnelOutcome.NO_TLS, domain, via))


class _Client(http_passing.Client):
    """One client's connection.

    Attributes:
        unused: it waits for a request, of which nothing has come.
        serving: the task that answers its requests.
    """

    def __init__(self, forwarder: HttpForwarder, domain: str, via: Operator) -> None:
        super().__init__()
        self.unused = False
        self.serving: asyncio.Task[None] | None = None
        self._forwarder = forwarder
        self._domain = domain
        self._via = via
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.let_pause()
        self._began = asyncio.get_running_loop().time()
        self._forwarder.come(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._forwarder.gone(self, exc)

    def stop(self) -> None:
        """End after the request in progress; at once, if there is none."""
        self.stopping = True
        self.outcome = TunnelOutcome.STOPPED
        if self.unused and not self.has_unread:
            self.close()

    def end(self, error: BaseException | None) -> TunnelFinished:
        """The event for its end."""
        outcome = self.outcome or (TunnelOutcome.FINISHED if error is None else TunnelOutcome.RESET)
        seconds = asyncio.get_running_loop().time() - self._began
        return ended(outcome, self._domain, self._via, seconds, self.sent, self.received)
