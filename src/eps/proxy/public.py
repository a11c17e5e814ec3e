"""The public proxy: it lets two operators meet whose servers nobody can dial (PROTOCOL.md section 7).

Told from here, top to bottom; A is the caller, B the callee, P this proxy:

    2, 3  A asks for a connection to B → P makes a token for each side, and asks B          ``_request_connection``
    4     B dials the relay and shows its token → P keeps the connection                    ``_meet``, ``_arrived``
    5     P answers A with A's token and the relay's endpoint → A dials it, shows its token ``_meet``, ``_arrived``
    6     P joins the two, bytes flow both ways                                             ``_join``
    end   a side ends it, nobody moves for the idle limit, or the other side never comes    ``_finished``, ``_expire``

TLS passthrough (``proxy.passthrough``) meets here too: there a TLS client, who shows no token, is the second side
from the beginning (``hold``).

Either side may come first. P sees only ciphertext: A and B authenticate each other inside. What decides is
``core.rendezvous``; what forwards is ``transport.splice``. Halves that wait and tunnels that are joined have no task
of their own: 2,000 idle ones cost nothing but their sockets.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from sys import intern

from eps.core.brokering import CONNECTION_REQUEST, REQUEST_CONNECTION, encode_token, parse_request_connection
from eps.core.client import Client
from eps.core.event import Emit, Forwarding, Level, Refused, Step, TunnelFinished
from eps.core.host_port import parse_host_port, render_host_port
from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.core.names import TOKEN_BYTES, Object, Operator
from eps.core.rendezvous import Closed, Join, Keep, Offer, Reject, Rendezvous, TunnelOutcome
from eps.core.told import Failure, error_response, fit_to_cross
from eps.core.trace import CURRENT, DURATIONS, Trace, durations, trace_of_brokering
from eps.core.warn_rate import sparing
from eps.errors import EpsError, MethodNotFound, OutcomeUnknown, Side, TunnelFailed
from eps.proxy.latecomers import Latecomers
from eps.proxy.relay_limits import RelayLimits
from eps.reasons import Reason
from eps.transport.arrivals import Arrivals, source_of
from eps.transport.dial import readable
from eps.transport.listener import Listener, RateLimit
from eps.transport.splice import Relay, SpliceResult, make_room
from eps.transport.tunnel import read_token

CallNetwork = Callable[[str, Object, float], Awaitable[Response]]
"""Ask an operator through our EPS server's JSON-RPC port: method (``OPERATOR.METHOD``), params, timeout in seconds;
JSON-RPC id "". Raises an EpsError if no answer came."""

OWN_PING_SECONDS = 1.0
"""For our own EPS server, which is near, to show that it isn't what hangs; part of ``relay_limits.TELL_SECONDS``."""

ROOM_SECONDS = 1.0
"""Between two looks for a relay that may give way, which take a millisecond each: strangers' hellos may ask for one."""

OFFERS_SECONDS = 0.02
"""Between two looks whether an offer is open still, while another process waits for the relay's port."""


@dataclass(frozen=True, slots=True)
class Half:
    """One side of a tunnel.

    Attributes:
        head: what has been read of it and must reach the other side first: a TLS client's hello.
    """

    sock: socket.socket
    head: bytes = b""


class PublicProxy:
    """The relay and its JSON-RPC methods.

    Args:
        name: our operator's name, for events and errors.
        call_network: see :data:`CallNetwork`.
        internal_bind_address: where the relay listens, ``HOST:PORT``; port 0 takes a free one.
        internal_endpoint: what A and B are told to dial; port 0 is the one that the relay has got.
        rate_limits: new connections to the relay per source address.
        limits: see there.
        emit: takes the events: steps 3, 4 and 6, refusals, and one ``TunnelFinished`` per tunnel or wait.

    Attributes:
        name, call_network, limits: as given.
        relays: the joined connections, each with the operators that it joins; none for a TLS client's.
    """

    def __init__(
        self,
        name: Operator,
        call_network: CallNetwork,
        *,
        internal_bind_address: str,
        internal_endpoint: str,
        rate_limits: Sequence[RateLimit] = (),
        limits: RelayLimits | None = None,
        emit: Emit,
    ) -> None:
        self.name = name
        self.call_network = call_network
        self.limits = limits = limits or RelayLimits()
        self._internal_endpoint = internal_endpoint
        self._told_host, self._told_port = parse_host_port(internal_endpoint)
        self._emit = sparing(emit, time.monotonic)
        self._rendezvous: Rendezvous[Half] = Rendezvous(limits.accept_timeout)
        self._arrivals = Arrivals(limits.max_arriving)
        self._latecomers = Latecomers()
        self.relays: dict[Relay, tuple[str, ...]] = {}
        self._expiry: asyncio.TimerHandle | None = None
        self._no_room_until = float("-inf")
        self._stopping = False
        self._handed_over = False
        self._listener = Listener(
            "relay",
            internal_bind_address,
            self._meet,
            rate_limits=rate_limits,
            emit=emit,
            max_connections=2 * limits.max_tunnels + limits.max_arriving + 1,
        )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where the relay listens."""
        return self._listener.addresses

    @property
    def endpoint(self) -> str:
        """What operators are told to dial, once the relay listens."""
        if self._told_port:
            return self._internal_endpoint
        return render_host_port(self._told_host, self.addresses[0][1])

    @property
    def tunnels(self) -> int:
        """How many connections are joined."""
        return len(self.relays)

    @property
    def waiting(self) -> int:
        """How many offers wait for one side or both."""
        return self._rendezvous.open

    def limit(self, rate_limits: Sequence[RateLimit]) -> None:
        """Other rate limits from now on."""
        self._listener.limit(rate_limits)

    async def start(self) -> None:
        """Begin to listen; raises StartError if the address can't be bound."""
        await self._listener.start()

    async def hand_over(self) -> None:
        """Make no more offers, and wait until those that are open have met or expired."""
        self._handed_over = True
        while self._rendezvous.open:  # noqa: ASYNC110  # rare, and offers end in several places
            await asyncio.sleep(OFFERS_SECONDS)

    def take_back(self) -> None:
        """Make offers again."""
        self._handed_over = False

    def stop(self) -> None:
        """Take no new pairs. Those under way may meet yet, and tunnels go on."""
        self._stopping = True

    async def close(self) -> None:
        """Stop listening and end every tunnel and every wait."""
        self.stop()
        await self._listener.close()
        if self._expiry is not None:
            self._expiry.cancel()
        for closed in self._rendezvous.stop():
            self._not_joined(closed)
        for relay in list(self.relays):
            relay.stop()

    # Steps 2 and 3: A asks, P makes the tokens and asks B

    async def handle(self, call: Call) -> Response:
        """Answer a JSON-RPC call of our EPS server. Never raises but for cancellation."""
        try:
            if call.method != REQUEST_CONNECTION:
                raise MethodNotFound(f"the public proxy has no method {call.method!r}")
            return await self._request_connection(call)
        except EpsError as error:
            return error_response(call.id, error, self.name, abroad=True)

    async def _request_connection(self, call: Call) -> Response:
        callee, channel, client = parse_request_connection(call.params)
        offer = self._offer(client.name, callee)
        offer.call_id = call.id
        offer.trace = trace_of_brokering(call.id.rpartition("(")[2].removesuffix(")"))
        CURRENT.set(Trace(offer.trace))  # what is asked for it has that trace, too; this request has a task of its own
        self._step(3, offer, f"made a token for {offer.caller} → {callee} and asks {callee} to connect")
        try:
            answer = await self._ask(offer, channel, client)
            asked = asyncio.get_running_loop().time() - offer.created_at
        except BaseException as error:  # also when A has hung up: nobody will come
            self.withdraw(offer, Failure.of(error, call.id))
            raise
        if answer.error is not None:
            self.withdraw(offer, Failure.told(answer.error, call.id))
            return Response(call.id, error=fit_to_cross(answer.error, self.name))
        told = durations(asked, offer.arrived_after, self.limits.accept_timeout)
        parts = {DURATIONS: told} if self.limits.tells_durations else {}
        return Response(call.id, {"token": encode_token(offer.second), "endpoint": self.endpoint, **parts})

    def _offer(self, caller: Operator, callee: Operator) -> Offer[Half]:
        """As :meth:`_make_offer`; why there is none is counted."""
        try:
            return self._make_offer(caller, callee)
        except TunnelFailed as error:
            self._emit(Refused(listener="relay", why=error.reason.value, source=caller, detail=error.message))
            raise

    def _make_offer(self, caller: Operator, callee: Operator) -> Offer[Half]:
        if self._stopping or self._handed_over:
            raise TunnelFailed(
                f"the proxy {self.name} is stopping", hint="try again when it is up", reason=Reason.STOPPING
            )
        if len(self.relays) + self._rendezvous.open >= self.limits.max_tunnels and not self._made_room():
            raise TunnelFailed(
                f"the proxy {self.name} has {self.limits.max_tunnels} connections, as many as it can hold",
                hint="try again later, or use another proxy",
                reason=Reason.PROXY_FULL,
            )
        loop = asyncio.get_running_loop()
        offer = self._rendezvous.offer(loop.time(), caller, callee)
        if self._expiry is None:
            self._expiry = loop.call_at(offer.expires_at, self._expire)
        return offer

    def _made_room(self) -> bool:
        """Whether one of the relays gave way; they are looked at once a second where none did."""
        now = asyncio.get_running_loop().time()
        if now < self._no_room_until:
            return False
        has_made = make_room(self.relays)
        self._no_room_until = now if has_made else now + ROOM_SECONDS
        return has_made

    async def _ask(self, offer: Offer[Half], channel: str, client: Client) -> Response:
        params = {
            "endpoint": self.endpoint,
            "client": client.to_json(),
            "channel": channel,
            "token": encode_token(offer.first),
        }
        try:
            return await self.call_network(f"{offer.callee}.{CONNECTION_REQUEST}", params, self.limits.ask_timeout)
        except OutcomeUnknown as error:
            raise await self._unanswered(offer.callee, error) from error
        except EpsError as error:
            raise TunnelFailed(
                f"the proxy {self.name} could not ask {offer.callee} for a connection: {error.message}",
                hint=error.hint
                or f"check that the EPS server of {self.name} runs and that {offer.callee} is connected",
                reason=Reason.PROXY_UNREACHABLE,
            ) from error

    async def _unanswered(self, callee: Operator, error: OutcomeUnknown) -> TunnelFailed:
        """Who did not answer: ``callee``, or our own EPS server between us?"""
        try:
            await self.call_network(f"{self.name}._ping", {}, OWN_PING_SECONDS)
        except EpsError:
            hint = f"check the EPS server of {self.name}"
            text = f"the proxy {self.name} could not ask {callee}: {error.message}"
            return TunnelFailed(text, hint=hint, reason=Reason.PROXY_SILENT)
        return TunnelFailed(
            f"{callee} did not answer within {self.limits.ask_timeout:g} s, when the proxy {self.name} asked it for a "
            "connection",
            hint=f"the server of {callee} hangs, or its network does; its log may say more",
            side=Side.PEER,
            reason=Reason.PEER_HANGS,
        )

    def hold(self, half: Half, caller: Operator, callee: Operator) -> Offer[Half]:
        """Keep a side that has come by another way, until ``callee`` shows the first token at the relay.

        Args:
            half: the second side; ours from here on, unless this raises.
            caller: for events, and for the limit of tunnels that one caller may have under way.

        Raises:
            TunnelFailed: too many tunnels, or the proxy is stopping.
        """
        offer = self._make_offer(caller, callee)
        self._rendezvous.claim(offer.created_at, offer.second, half)
        return offer

    def withdraw(self, offer: Offer[Half], failure: Failure | None = None) -> None:
        """``callee`` won't come: end the wait, if it isn't over.

        Args:
            failure: why, if that is known.
        """
        closed = self._rendezvous.cancel(offer)
        if closed is not None:
            self._not_joined(closed, failure)

    # Steps 4 and 5: B, and then A, dial the relay and show their tokens

    async def _meet(self, sock: socket.socket) -> None:
        """A connection has come: read its token, and not one byte more."""
        source = source_of(sock)
        token = bytearray()
        try:
            await self._read_token(sock, token)
        except (TimeoutError, OSError, asyncio.CancelledError) as error:
            sock.close()
            # A connection that sends nothing is mostly a health check, or a scan: no news.
            level = Level.WARN if token else Level.DEBUG
            detail = f"{len(token)} of {TOKEN_BYTES} bytes came"
            self._refused(TunnelOutcome.NO_TOKEN, "no_token", source, detail, level)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._arrived(sock, bytes(token), source)

    async def _read_token(self, sock: socket.socket, token: bytearray) -> None:
        if read_token(sock, token):
            return  # mostly it comes with the connection, and needs no deadline
        async with self._arrivals.deadline(self.limits.accept_timeout, source_of(sock)):
            while not read_token(sock, token):
                await readable(sock)

    def _arrived(self, sock: socket.socket, token: bytes, source: str) -> None:
        """A token has come: whose?"""
        now = asyncio.get_running_loop().time()
        verdict = self._rendezvous.claim(now, token, Half(sock))
        if isinstance(verdict, Reject):
            sock.close()
            detail = self._latecomers.late(token, now) or "its token is unknown, used or expired"
            self._refused(TunnelOutcome.REFUSED_TOKEN, "token", source, detail, Level.WARN)
            return
        offer = verdict.offer
        is_first = verdict.came_last_is_first if isinstance(verdict, Join) else verdict.is_first
        if is_first and not _is_passthrough(verdict):
            seconds, offer.arrived_at = now - offer.created_at, now
            self._step(4, offer, f"{offer.callee} has connected and shown its token", seconds)
        if isinstance(verdict, Join):
            self._join(verdict, now - offer.created_at)

    # Step 6: P joins the two

    def _join(self, pair: Join[Half], seconds: float) -> None:
        offer = pair.offer
        # Not the offer itself goes on with the relay: an idle tunnel would hold its tokens for an hour.
        caller, callee = intern(offer.caller), intern(offer.callee)
        relay = Relay(
            pair.first.sock,
            pair.second.sock,
            first_head=pair.first.head,
            second_head=pair.second.head,
            idle_timeout=self.limits.idle_timeout,
            on_end=lambda result: self._finished(relay, caller, callee, result),
        )
        self.relays[relay] = () if _is_passthrough(pair) else (callee, caller)
        text = f"joined {offer.caller} and {offer.callee}; bytes flow both ways"
        if _is_passthrough(pair):
            self._emit(Forwarding(operator=self.name, peer=offer.callee, text=text, seconds=seconds))
        else:
            self._step(6, offer, text, seconds)
        relay.start()

    # The end

    def _finished(self, relay: Relay, caller: str, callee: str, result: SpliceResult) -> None:
        self.relays.pop(relay, None)
        self._emit(
            TunnelFinished(
                outcome=result.outcome,
                seconds=result.seconds,
                caller=caller,
                callee=callee,
                first_bytes=result.first_bytes,
                second_bytes=result.second_bytes,
            )
        )

    def _expire(self) -> None:
        """End the offers whose time is up, and come back for the next."""
        loop = asyncio.get_running_loop()
        for closed in self._rendezvous.expire(loop.time()):
            self._not_joined(closed, self._latecomers.why(closed))
        due = self._rendezvous.next_expiry
        self._expiry = loop.call_at(due, self._expire) if due is not None else None

    def _not_joined(self, closed: Closed[Half], failure: Failure | None = None) -> None:
        if closed.half is not None:
            closed.half.sock.close()
        offer, why = closed.offer, failure or Failure()
        self._latecomers.over(closed, why)
        seconds = asyncio.get_running_loop().time() - offer.created_at
        self._emit(
            TunnelFinished(
                outcome=closed.outcome,
                seconds=seconds,
                caller=offer.caller,
                callee=offer.callee,
                reason=why.reason,
                detail=why.detail,
                call_id=why.call_id,
                level=Level.INFO if closed.outcome is TunnelOutcome.STOPPED else Level.WARN,
            )
        )

    def _refused(self, outcome: TunnelOutcome, why: str, source: str, detail: str, level: Level) -> None:
        """One line for the log (one a second), one count for the outcome."""
        self._emit(Refused(listener="relay", why=why, source=source, detail=detail, level=level))
        self._emit(TunnelFinished(outcome=outcome, seconds=0.0, level=Level.DEBUG))

    def _step(self, step: int, offer: Offer[Half], text: str, seconds: float | None = None) -> None:
        peer, to = (offer.caller, offer.callee) if step == 6 else (offer.callee, "")
        self._emit(
            Step(step=step, operator=self.name, peer=peer, text=text, joined_to=to, seconds=seconds, trace=offer.trace)
        )


def _is_passthrough(verdict: Keep[Half] | Join[Half]) -> bool:
    """Whether a TLS client is waiting there rather than an operator that will show a token."""
    return isinstance(verdict, Join) and bool(verdict.second.head)
