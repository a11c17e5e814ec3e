"""TLS passthrough, the private side: nobody can dial us, and yet TLS clients reach our server (PROTOCOL.md section 8).

Told from here, top to bottom; P is a public proxy, this proxy is B's:

    before  an operator of ours asks us to announce a domain → we ask P, and keep it        ``_announce``
            we repeat what we have announced                                                ``_repeat``
    1       a TLS client has come to P → P tells us domain, token and endpoint              ``_incoming``
    2       we dial P's endpoint and show the token                                         ``_connect``
    3       the client's bytes come, from its hello on → we forward them inside             ``proxy.forwarding``

Announcements are repeated every 10 minutes. Meanwhile we look whether P still knows them: if it doesn't, or if P or
the network was away, they are repeated at once.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from eps.core.announcement import (
    Announcement,
    Keeper,
    allowed_suffixes,
    domain_key,
    grpc_address,
    is_covered,
    not_covered,
    parse_connection,
    proxy_settings,
)
from eps.core.brokering import parse_incoming_connection
from eps.core.client import Client, parse_client
from eps.core.endpoint import RelayTrust, relay_trust
from eps.core.event import Announced, Emit, Forwarding, Level, Notice
from eps.core.jsonrpc_text import Call
from eps.core.limits import MAX_NAME_CHARS
from eps.core.message import Response
from eps.core.names import Object, Operator, Token
from eps.core.rendezvous import TunnelOutcome
from eps.core.told import error_response
from eps.core.warn_rate import sparing
from eps.core.wording import counted
from eps.errors import BadParams, EpsError, InternalError, MethodNotFound, NotFound, NotPermitted, TunnelFailed
from eps.proxy.announcements import AnnouncementBook, Key
from eps.proxy.forwarding import Forwarder, ended
from eps.proxy.public import CallNetwork
from eps.reasons import Reason
from eps.transport.tasks import Tasks
from eps.transport.tunnel import RelaySettings, dial_relay

REPEAT_SECONDS = 600.0
"""PROTOCOL.md section 8."""

LOOK_SECONDS = 5.0
"""Between two looks whether a public proxy knows what we have announced to it: one that has come back without its store
serves again within 10 s."""

RETRY_SECONDS = 2.0
"""The same, while it can't be reached, or refuses."""

CALL_SECONDS = 5.0
"""For a call to a public proxy, through both EPS servers. Short, so that a network that swallows packets is tried again
soon after it has come back."""

DIAL_SECONDS = 10.0
"""For dialling a public proxy's relay. It forgets the token after 10 s by default."""

TURN_SECONDS = 15.0
"""Who announces waits so long for those before it, who announce to the same public proxy. Half of what a call may take
in all by default."""

BATCH = 500
"""Announcements in one call: some 50 KiB, far below what a message may hold."""

MAX_DIALLING = 4096
"""Connections being made at a time; beyond it P is told so. Each is a socket, for at most some seconds."""

MAX_CONNECTIONS = 8192
"""Forwarded at a time; as many as a public proxy of ours joins. Two sockets each."""

ANSWERS_WITHOUT_LOOKING = (400, 403, 404, -32601)
"""Codes of ``getAnnouncements`` from a public proxy that is there, but does not let us look; 400: its list is too long
for one message."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often announcements are looked after, in seconds: see the constants."""

    repeat: float = REPEAT_SECONDS
    look: float = LOOK_SECONDS
    retry: float = RETRY_SECONDS


class PrivateProxy:
    """The JSON-RPC methods, the repetition of announcements, and the connections to public proxies.

    Args:
        name: our operator's name.
        call_network: see :data:`CallNetwork`.
        book: the announcements, loaded.
        forwarder: takes the connections; started before this and closed after it, by its owner.
        relays: how relays are dialled.
        rhythm: see there.
    """

    def __init__(
        self,
        name: Operator,
        call_network: CallNetwork,
        book: AnnouncementBook,
        forwarder: Forwarder,
        *,
        relays: RelaySettings | None = None,
        rhythm: Rhythm | None = None,
        emit: Emit,
    ) -> None:
        self._name = name
        self._call_network = call_network
        self._book = book
        self._forwarder = forwarder
        self._relays = relays or RelaySettings()
        self._rhythm = rhythm or Rhythm()
        self._emit = emit
        self._emit_sparingly = sparing(emit, time.monotonic)
        self._stopping = False
        self._troubled: set[Operator] = set()
        self._watching: dict[Operator, asyncio.Task[None]] = {}
        self._turns: WeakValueDictionary[Operator, asyncio.Lock] = WeakValueDictionary()
        self._watchers = Tasks()
        self._dialling = Tasks()
        self._methods = {
            "announceConnection": self._announce,
            "getAnnouncements": self._announcements,
            "incomingConnection": self._incoming,
        }

    def renew(self, relays: RelaySettings) -> None:
        """Dial relays as ``relays`` says from now on."""
        self._relays = relays

    async def start(self) -> None:
        """Begin to repeat what the book holds."""
        self._watch_all()

    @property
    def dialling(self) -> int:
        """Connections that are being made."""
        return len(self._dialling)

    async def stop(self) -> None:
        """Take no more TLS clients, and repeat nothing. What is forwarded goes on."""
        self._stopping = True
        await self._watchers.close()

    async def close(self) -> None:
        """Stop repeating, and give up connections that are being made."""
        await self._watchers.close()
        await self._dialling.close()

    async def handle(self, call: Call) -> Response:
        """Answer a JSON-RPC call of our EPS server. Never raises but for cancellation."""
        try:
            method = self._methods.get(call.method)
            if method is None:
                raise MethodNotFound(f"the private proxy has no method {call.method[:100]!r}")
            return Response(call.id, await method(call.params))
        except EpsError as error:
            return error_response(call.id, error)

    # Before: announcing

    async def _announce(self, params: Object) -> object:
        client = parse_client(params)
        wanted, proxy = parse_connection(params, self._book.now())
        if proxy == self._name:
            raise BadParams(
                f"{proxy} is the private proxy itself", code=400, hint="proxy names the public proxy to announce to"
            )
        if not is_covered(wanted.domain, allowed_suffixes(client, self._name)):
            raise NotPermitted(
                not_covered(wanted.domain, client.name),
                hint="see allowed_domains in its settings for service proxy; suffixes begin with a dot",
            )
        announcement = Announcement(proxy, wanted.domain, wanted.expires_at)
        async with self._turn(proxy):
            if not announcement.stands(self._book.now()):
                await self._keep(announcement)  # given up: that must not depend on a public proxy that is gone for good
            refusal = (await self._send(proxy, [announcement]))[0]
            if refusal is not None:
                hint = f"ask the administrator of {proxy}"
                raise InternalError(f"{proxy} refused {wanted.domain}: {refusal}", hint=hint)
            await self._keep(announcement)
        self._watch_all()
        return "ok"

    @asynccontextmanager
    async def _turn(self, proxy: Operator) -> AsyncIterator[None]:
        """One announces to ``proxy`` at a time, and keeps what it has announced before the next does: so what ``proxy``
        hears last is what we keep, and a repetition never brings back what an operator has just given up.

        Raises:
            InternalError: too many wait.
        """
        turn = self._turns.setdefault(proxy, asyncio.Lock())
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await turn.acquire()
        except TimeoutError:
            text = f"{proxy} is still being asked about other domains"
            raise InternalError(text, hint="try again, with fewer at a time") from None
        try:
            yield
        finally:
            turn.release()

    async def _keep(self, announcement: Announcement) -> None:
        def decision(known: Mapping[Key, Announcement]) -> tuple[list[Announcement], bool]:
            before = known.get((announcement.key, announcement.holder))
            is_news = before != announcement and (before is not None or announcement.stands(self._book.now()))
            return ([announcement] if is_news else []), is_news

        if await self._book.decide(decision):
            outcome = "kept" if announcement.stands(self._book.now()) else "withdrawn"
            self._emit(Announced(domain=announcement.domain, operator=announcement.holder, outcome=outcome))

    async def _announcements(self, params: Object) -> list[Object]:
        return [announcement.to_json(Keeper.PRIVATE) for announcement in await self._book.current()]

    # Before: repeating

    def _watch_all(self) -> None:
        """A task for each public proxy that we have announced something to."""
        for proxy in {announcement.holder for announcement in self._book.standing()}:
            if proxy not in self._watching:
                self._watching[proxy] = self._watchers.start(self._watch(proxy), f"announcements at {proxy}")

    async def _watch(self, proxy: Operator) -> None:
        """Repeat our announcements at ``proxy``: now, every 10 minutes, and when it seems to have missed some."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while mine := self._mine(proxy):
                wait = self._rhythm.look
                if loop.time() >= due or not await self._still_knows(proxy, mine):
                    if await self._repeat(proxy, mine):
                        due = loop.time() + self._rhythm.repeat
                    else:
                        wait, due = self._rhythm.retry, loop.time()
                await asyncio.sleep(wait)
        finally:
            del self._watching[proxy]

    def _mine(self, proxy: Operator) -> list[Announcement]:
        return [announcement for announcement in self._book.standing() if announcement.holder == proxy]

    async def _still_knows(self, proxy: Operator, mine: Sequence[Announcement]) -> bool:
        knows = await self._knows(proxy, mine)
        if not knows and proxy not in self._troubled:
            text = f"{proxy} can't be reached, or no longer lists all that we announced to it: it is announced again"
            self._emit(Notice(level=Level.WARN, text=text))
        return knows

    async def _knows(self, proxy: Operator, mine: Sequence[Announcement]) -> bool:
        """Whether ``proxy`` can be reached and lists all of ``mine`` as ours, as far as it tells."""
        try:
            answer = await self._call_network(f"{proxy}.getAnnouncements", {}, CALL_SECONDS)
        except EpsError:
            return False
        if answer.error is not None:
            return answer.error.code in ANSWERS_WITHOUT_LOOKING
        items = answer.result if isinstance(answer.result, list) else []
        listed = {
            domain_key(item["domain"])
            for item in items
            if isinstance(item, dict) and item.get("operator") == self._name and isinstance(item.get("domain"), str)
        }
        return all(announcement.key in listed for announcement in mine)

    async def _repeat(self, proxy: Operator, mine: Sequence[Announcement]) -> bool:
        """Announce all of ``mine`` once more; whether ``proxy`` could be asked."""
        level = Level.DEBUG if proxy in self._troubled else Level.WARN  # said once, not every two seconds
        self._troubled.add(proxy)
        refused = False
        for start in range(0, len(mine), BATCH):
            try:
                async with self._turn(proxy):
                    now = set(self._mine(proxy))  # an operator may have changed some since
                    batch = [item for item in mine[start : start + BATCH] if item in now]
                    refusals = await self._send(proxy, batch) if batch else []
            except EpsError as error:
                text = f"{counted(len(mine), 'announcement')} could not be repeated at {proxy}: {error.message}"
                self._emit(Notice(level=level, text=text, hint="they are tried again until it works"))
                return False
            for announcement, refusal in zip(batch, refusals, strict=True):
                self._tell_repeated(announcement, refusal, level)
            refused = refused or any(refusals)
        if not refused:
            self._troubled.discard(proxy)
        return True

    async def _send(self, proxy: Operator, announcements: Sequence[Announcement]) -> list[str | None]:
        """Call ``proxy``; for each announcement None, or why it was refused.

        Raises:
            InternalError: the call failed as a whole.
        """
        connections = [
            {"domain": item.domain, "expires_at": item.expires_at.text if item.expires_at is not None else None}
            for item in announcements
        ]
        try:
            answer = await self._call_network(
                f"{proxy}.announceConnections", {"connections": connections}, CALL_SECONDS
            )
        except EpsError as error:
            raise InternalError(f"{proxy} can't be asked: {error.message}", hint=error.hint) from error
        if answer.error is not None:
            raise InternalError(
                f"{proxy} refused: {answer.error.message} (code {answer.error.code})",
                hint=f"ask the administrator of {proxy}",
            )
        if not isinstance(answer.result, list) or len(answer.result) != len(announcements):
            raise InternalError(
                f"{proxy} did not answer for each announcement", hint=f"does {proxy} run a public proxy?"
            )
        return [_refusal(item) for item in answer.result]

    def _tell_repeated(self, announcement: Announcement, refusal: str | None, level: Level) -> None:
        outcome, level = ("repeated", Level.DEBUG) if refusal is None else ("refused", level)
        self._emit(
            Announced(
                domain=announcement.domain,
                operator=announcement.holder,
                outcome=outcome,
                detail=refusal or "",
                level=level,
            )
        )

    # 1: a TLS client has come to P

    async def _incoming(self, params: Object) -> object:
        client = parse_client(params)
        domain, endpoint, token = parse_incoming_connection(params)
        if await self._book.find(domain, client.name) is None:
            raise NotFound(
                f"{self._name} has not announced {domain[:MAX_NAME_CHARS]} to {client.name}",
                hint=f"an operator of {self._name} announces it with announceConnection",
            )
        if self._stopping:
            raise TunnelFailed(f"{self._name} is stopping", hint="try again when it runs again", reason=Reason.STOPPING)
        if len(self._dialling) >= MAX_DIALLING or self._forwarder.open >= MAX_CONNECTIONS:
            raise TunnelFailed(
                f"{self._name} has {counted(self._forwarder.open, 'connection')} and is making {len(self._dialling)}, "
                "as many as it can hold",
                hint="try again later",
            )
        trust = self._trust(client)
        self._dialling.start(self._connect(endpoint, token, domain, client.name, trust), f"dial {client.name}")
        return {"message": "ok"}

    def _trust(self, client: Client) -> RelayTrust:
        """Which relay endpoints of ``client`` we dial: by its directory settings, our settings, its own address."""
        settings = proxy_settings(client.entry, self._name)
        return relay_trust(settings, self._relays.trusted_endpoints, grpc_address(client.entry))

    # 2 and 3: dialling P, and handing the connection on

    async def _connect(self, endpoint: str, token: Token, domain: str, via: Operator, trust: RelayTrust) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            sock = await dial_relay(
                endpoint, token, DIAL_SECONDS, name=via, allow=trust.judge, proxies=self._relays.proxies
            )
        except TunnelFailed as error:
            self._emit_sparingly(Notice(level=Level.ERROR, text=f"{domain}: {error.message}", hint=error.hint))
            self._emit(ended(TunnelOutcome.NO_RELAY, domain, via, loop.time() - began))
            return
        except asyncio.CancelledError:
            self._emit(ended(TunnelOutcome.STOPPED, domain, via, loop.time() - began))
            raise
        text = f"{via} has a TLS client for {domain}: connected to {endpoint} and sent the token"
        self._emit(Forwarding(operator=self._name, peer=via, text=text, seconds=loop.time() - began))
        await self._forwarder.forward(sock, domain, via)


def _refusal(item: object) -> str | None:
    """Why one announcement was refused; the text is the public proxy's."""
    if item is None:
        return None
    if isinstance(item, dict):
        return f"{str(item.get('message'))[:200]} (code {item.get('code')})"
    return "an answer that is neither null nor an error"
