"""TLS passthrough, the public side: a TLS client reaches a server that nobody can dial (PROTOCOL.md section 8).

Told from here, top to bottom; P is this proxy, B an operator with a private proxy:

    before  B announces a domain → P keeps that it is B's                                   ``_announce``
    1       a TLS client connects → P reads its ClientHello, and the server name in it      ``_meet``, ``_read_hello``
    2       P finds who has announced that name                                             ``_find``
    3       P makes a token and calls B.incomingConnection                                  ``_call_in``
    4       B dials the relay and shows the token → P writes the hello to B, and then
            forwards bytes both ways                                                        ``PublicProxy``

P sees the server name, times and sizes; the rest is between the client and the server behind B. Tokens, joining,
forwarding and every tunnel's named outcome are those of brokered connections: the TLS client is a second side that is
there from the beginning (``PublicProxy.hold``).
"""

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from eps.core.announcement import (
    Announcement,
    Keeper,
    Refusal,
    Wanted,
    allowed_suffixes,
    decide_claims,
    parse_connections,
)
from eps.core.brokering import encode_token
from eps.core.client import parse_client
from eps.core.clienthello import NEED_MORE, ClientHello, ClientHelloParser, HelloRefusal, RefusedHello
from eps.core.event import Announced, Emit, Forwarding, Level, Refused
from eps.core.jsonrpc_text import Call
from eps.core.limits import MAX_NAME_CHARS
from eps.core.message import Response
from eps.core.names import Object, Operator
from eps.core.rendezvous import Offer
from eps.core.told import error_response
from eps.core.warn_rate import sparing
from eps.core.wording import counted
from eps.errors import EpsError
from eps.proxy.announcements import AnnouncementBook, Key
from eps.proxy.public import Half, PublicProxy
from eps.transport.arrivals import MAX_ARRIVING, Arrivals, source_of
from eps.transport.dial import readable
from eps.transport.listener import Listener, RateLimit
from eps.transport.tasks import Tasks

HELLO_SECONDS = 5.0
"""From a connection to the end of its ClientHello, which a client sends at once."""

LAST_HELLO_SECONDS = 1.0
"""The same, for those that were accepted just before another process takes the port over, or this one stops: all that
come wait meanwhile."""

READ_BYTES = 4 * 1024
"""Of a client's first bytes, in one go: holds nearly every hello. What comes behind it in the same read is forwarded
with it; the rest stays in the kernel, so that clients who wait take little memory."""

UNKNOWN_DOMAIN = "unknown_domain"
"""Why a good hello is closed all the same; with the words of ``HelloRefusal``, the counter's labels."""

UNRECOGNIZED_NAME = bytes.fromhex("15030300020270")
"""What such a client is told: a fatal alert ``unrecognized_name`` (RFC 6066, section 3). So its error says that nobody
here has that name, and not that the network broke off."""

NOT_CONNECTED = "not_connected"
"""The operator could not be asked, or has refused."""

CALLER_PREFIX = "tls:"
"""TLS clients have no name; a tunnel's caller is this and the domain. So one domain's clients can't use up the tunnels
of all others (``core.rendezvous.MAX_OFFERS_PER_CALLER``)."""


@dataclass(frozen=True, slots=True)
class PassthroughLimits:
    """How long TLS clients may take, and how many there may be.

    Attributes:
        hello_seconds: see :data:`HELLO_SECONDS`.
        max_arriving: connections whose hello is not there yet.
    """

    hello_seconds: float = HELLO_SECONDS
    max_arriving: int = MAX_ARRIVING


class Passthrough:
    """The listener for TLS clients, and the JSON-RPC methods about announcements.

    Args:
        proxy: where the tunnels meet, and whose operator we are. Closed after this, by its owner.
        book: the announcements, loaded.
        tls_bind_address: where TLS clients connect, ``HOST:PORT``.
        rate_limits: new TLS connections per source address.
        limits: see there.
        emit: takes the events: announcements, a refusal for each hello that is closed, with its reason.
    """

    def __init__(
        self,
        proxy: PublicProxy,
        book: AnnouncementBook,
        *,
        tls_bind_address: str,
        rate_limits: Sequence[RateLimit] = (),
        limits: PassthroughLimits | None = None,
        emit: Emit,
    ) -> None:
        self._proxy = proxy
        self._book = book
        self._limits = limits = limits or PassthroughLimits()
        self._emit = sparing(emit, time.monotonic)
        self._arrivals = Arrivals(limits.max_arriving)
        self._asking = Tasks()
        self._methods = {"announceConnections": self._announce, "getAnnouncements": self._announcements}
        self._listener = Listener(
            "tls",
            tls_bind_address,
            self._meet,
            rate_limits=rate_limits,
            emit=emit,
            max_connections=proxy.limits.max_tunnels + limits.max_arriving + 1,
        )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where TLS clients connect."""
        return self._listener.addresses

    def limit(self, rate_limits: Sequence[RateLimit]) -> None:
        """Other rate limits from now on."""
        self._listener.limit(rate_limits)

    async def start(self) -> None:
        """Begin to listen; raises StartError if the address can't be bound."""
        await self._listener.start()

    async def rest(self) -> None:
        """Accept no TLS clients for the moment, and find whom those that were accepted want."""
        self._listener.rest()
        await self._listener.settle(LAST_HELLO_SECONDS)

    async def stop(self) -> None:
        """Take no more TLS clients. Those that are here go on."""
        await self._listener.close()

    async def close(self) -> None:
        """Stop listening. Tunnels, and waits for a private proxy, end with the :class:`PublicProxy`."""
        await self._listener.close()
        await self._asking.close()

    # JSON-RPC, from our EPS server

    async def handle(self, call: Call) -> Response:
        """Answer a JSON-RPC call: ours, or the :class:`PublicProxy`'s. Never raises but for cancellation."""
        method = self._methods.get(call.method)
        if method is None:
            return await self._proxy.handle(call)
        try:
            return Response(call.id, await method(call.params))
        except EpsError as error:
            return error_response(call.id, error)

    async def _announce(self, params: Object) -> list[Object | None]:
        now = self._book.now()
        client = parse_client(params)
        wanted = parse_connections(params, now)
        suffixes = allowed_suffixes(client, self._proxy.name)

        def decision(
            known: Mapping[Key, Announcement],
        ) -> tuple[list[Announcement], tuple[list[Announcement], list[Refusal | None]]]:
            book = {domain: announcement for (domain, _), announcement in known.items()}
            changed, answers = decide_claims(book, client.name, wanted, suffixes, now)
            return changed, (changed, answers)

        changed, answers = await self._book.decide(decision)
        self._tell(client.name, wanted, changed, answers, now)
        return [refusal.to_json() if refusal is not None else None for refusal in answers]

    async def _announcements(self, params: Object) -> list[Object]:
        return [announcement.to_json(Keeper.PUBLIC) for announcement in await self._book.current()]

    # 1: a TLS client connects

    async def _meet(self, sock: socket.socket) -> None:
        source = source_of(sock)
        began = asyncio.get_running_loop().time()
        head = bytearray()
        try:
            outcome = await self._read_hello(sock, head)
        except (TimeoutError, OSError):
            sock.close()
            # A connection that sends nothing is mostly a health check, or a scan: no news.
            level = Level.WARN if head else Level.DEBUG
            self._refused(
                HelloRefusal.TOO_SLOW, source, f"{counted(len(head), 'byte')} came, and no whole hello", level
            )
            return
        if isinstance(outcome, RefusedHello):
            sock.close()
            self._refused(outcome.reason, source, outcome.detail)
        elif not outcome.server_name:
            sock.close()
            self._refused(HelloRefusal.NO_SERVER_NAME, source, "the client does not say which server it wants")
        else:
            await self._find(Half(sock, bytes(head)), outcome.server_name, source, began)

    async def _read_hello(self, sock: socket.socket, head: bytearray) -> ClientHello | RefusedHello:
        """Read until the hello is whole, into ``head``, which so may end with bytes from behind the hello.

        Raises:
            TimeoutError: it took too long.
            OSError: the client hung up.
        """
        parser = ClientHelloParser()
        async with self._arrivals.deadline(self._limits.hello_seconds, source_of(sock)):
            while True:
                try:
                    received = sock.recv(READ_BYTES)
                except (BlockingIOError, InterruptedError):
                    await readable(sock)
                    continue
                if not received:
                    raise ConnectionResetError("the stream ended")
                head += received
                outcome = parser.feed(received)
                if outcome is not NEED_MORE:
                    assert isinstance(outcome, ClientHello | RefusedHello)  # what mypy makes of an enum's one member
                    return outcome

    # 2 and 3: whose it is, and asking that operator to connect

    async def _find(self, client: Half, domain: str, source: str, began: float) -> None:
        announcement = await self._book.find(domain)
        if announcement is None:
            with suppress(OSError):  # it has hung up, say
                client.sock.send(UNRECOGNIZED_NAME)
            client.sock.close()
            self._refused(UNKNOWN_DOMAIN, source, f"nobody has announced {domain}")
            return
        operator = announcement.holder
        seconds = asyncio.get_running_loop().time() - began
        self._step(operator, f"a TLS client asks for {domain}, which {operator} has announced", seconds)
        try:
            offer = self._proxy.hold(client, Operator(CALLER_PREFIX + domain), operator)
        except EpsError as error:
            client.sock.close()
            self._refused("connections", source, error.message)
            return
        self._asking.start(self._call_in(offer, announcement, source), f"ask {operator}")

    async def _call_in(self, offer: Offer[Half], announcement: Announcement, source: str) -> None:
        """If this is cancelled, the proxy is stopping: it ends the wait itself."""
        params = {"domain": announcement.domain, "token": encode_token(offer.first), "endpoint": self._proxy.endpoint}
        method = f"{offer.callee}.incomingConnection"
        try:
            answer = await self._proxy.call_network(method, params, self._proxy.limits.accept_timeout)
            if answer.error is None:
                return
            reason = f"{offer.callee} answers: {answer.error.message[:200]} (code {answer.error.code})"
        except EpsError as error:
            reason = f"{offer.callee} can't be asked: {error.message[:200]}"
        if offer.is_joined:  # it came all the same; only its answer was lost, or came too late
            return
        self._proxy.withdraw(offer)
        self._refused(NOT_CONNECTED, source, f"{announcement.domain}: {reason}")

    # Events

    def _tell(
        self,
        operator: Operator,
        wanted: Sequence[Wanted],
        changed: Sequence[Announcement],
        answers: Sequence[Refusal | None],
        now: datetime,
    ) -> None:
        standing = {announcement.domain: announcement.stands(now) for announcement in changed}
        for item, refusal in zip(wanted, answers, strict=True):
            domain = item.domain[:MAX_NAME_CHARS]
            if refusal is not None:
                self._emit(
                    Announced(
                        domain=domain, operator=operator, outcome="refused", detail=refusal.message, level=Level.WARN
                    )
                )
            elif item.domain in standing:
                outcome = "kept" if standing[item.domain] else "withdrawn"
                self._emit(Announced(domain=domain, operator=operator, outcome=outcome))
            else:
                self._emit(Announced(domain=domain, operator=operator, outcome="repeated", level=Level.DEBUG))

    def _step(self, peer: Operator, text: str, seconds: float) -> None:
        self._emit(Forwarding(operator=self._proxy.name, peer=peer, text=text, seconds=seconds))

    def _refused(self, why: str, source: str, detail: str, level: Level = Level.WARN) -> None:
        """One count for each, and one line a second for the log: the Internet must not fill it."""
        self._emit(Refused(listener="tls", why=why, source=source, detail=detail, level=level))
