"""The ``grpc_client`` channel: dials other operators, directly or through a proxy, and holds streams to them.

A's part of the six steps of a brokered connection (PROTOCOL.md section 7) is told in ``_open_tunnel``:

    1  A sees in B's directory entry that B is reached through proxy P
    2  A asks P for a connection to B's gRPC server            (P's part: proxy/public.py)
    5  P has answered with token and endpoint; A connects and sends the token
    6  P joins the two; TLS and gRPC run end to end            (ClientConnection.open, as if B had been dialled)
"""

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from eps.channels import Deliver, Way
from eps.channels.held_streams import HeldStreams, Unheld
from eps.channels.lone_streams import LoneStreams
from eps.channels.own_pin import OwnPin
from eps.channels.peers import (
    DirectoryPins,
    answer_request,
    encode_request,
    read_answer,
    relay_trust_of,
    sender_of,
)
from eps.channels.pool import Pool
from eps.channels.slots import Keeping, Route
from eps.core.address import Address
from eps.core.brokering import REQUEST_CONNECTION, SERVER_CHANNEL, parse_offer
from eps.core.entries import Directory
from eps.core.event import Emit, Level, Notice, Step
from eps.core.message import Error, Request, Response
from eps.core.names import Operator
from eps.core.told import told_of_tunnel
from eps.core.trace import CURRENT, IDS, Trace, brokering_id, current_id, durations_in, tokens_age, too_late
from eps.core.ways import Kind, undialable, way_between
from eps.directory import DirectorySource
from eps.errors import (
    DeliveryError,
    EpsError,
    NotSent,
    NoWay,
    Outcome,
    Side,
    Stage,
    TlsFailed,
    TunnelFailed,
    TunnelRefused,
    Unreachable,
)
from eps.grpc import eps_pb2 as pb
from eps.grpc.connection import ClientConnection
from eps.grpc.service import SpokenName
from eps.reasons import TABLE, Reason
from eps.transport.dial import connect
from eps.transport.sessions import hearing
from eps.transport.tunnel import RelaySettings, dial_relay

CONNECT_TIMEOUT = 10.0
"""Seconds for one dial, and for one TLS handshake with the peer's SETTINGS."""

ASK_TIMEOUT = 12.0
"""Seconds that a proxy gets for a tunnel: it waits 8 s for the other operator, which dials for 6 s at most. So whoever
knows best why there is none can say so before the next one gives up."""


FINAL_CODES = frozenset({1, 400, 403, 404, -32600, -32601, -32602})
"""Codes of answers to our question for a tunnel that asking again would not change: no such operator or channel, no
right, a question that is not understood."""


_OF_ASKING = {
    Reason.UNREACHABLE: Reason.PROXY_UNREACHABLE,
    Reason.SILENT: Reason.PROXY_UNREACHABLE,
    Reason.NO_ANSWER: Reason.PROXY_SILENT,
    Reason.BROKE_OFF: Reason.PROXY_SILENT,
}
"""What a reason is where it is the proxy's EPS server that is asked."""


@dataclass(frozen=True, slots=True)
class Dialling:
    """How operators are dialled.

    Attributes:
        relays: how relays are; its HTTP proxies are for all outgoing connections.
        use_proxy: whether operators behind a proxy are dialled through it.
    """

    relays: RelaySettings = field(default_factory=RelaySettings)
    use_proxy: bool = True


class GrpcClientChannel:
    """Outbound to operators with a gRPC server; inbound for what comes down the streams that we hold.

    Args:
        name: our operator.
        source: the directory.
        context: a TLS client context with our certificate, ALPN h2.
        dialling, keeping: see there.
        own_pin: knows why a peer refuses our certificate, where we can know it.
    """

    def __init__(
        self,
        name: Operator,
        source: DirectorySource,
        context: ssl.SSLContext,
        *,
        emit: Emit,
        dialling: Dialling | None = None,
        keeping: Keeping | None = None,
        own_pin: OwnPin | None = None,
    ) -> None:
        self._name = name
        self._source = source
        self._pins = DirectoryPins(source)
        self._context = context
        self._own_pin = own_pin
        self._emit = emit
        self._dialling = dialling or Dialling()
        self._deliver: Deliver | None = None
        self._spoken: dict[Operator, SpokenName] = {}
        self._routes: dict[Operator, Route] = {}
        self._routes_from: Directory | None = None
        self._pool = Pool(source, self._route, self._open, emit=emit, keeping=keeping)
        self._siblings = keeping.siblings if keeping is not None else None
        lone = LoneStreams(self._siblings.leases) if self._siblings is not None else None
        self._streams = HeldStreams(name, source, self._pool.connection, self._answer, emit, lone)

    async def start(self, deliver: Deliver) -> None:
        """Begin to hold streams. Nothing is dialled before the directory names somebody."""
        self._deliver = deliver
        await self._pool.start()
        if self._siblings is not None:
            await self._siblings.start(self._dial_sibling, self._pins)
        self._streams.start()

    def take_over(self) -> None:
        """Another process of ours holds streams until this one has started; before ``start``."""
        self._streams.take_over()

    def let_go(self) -> None:
        """Another process of ours is about to start, and holds streams from then on."""
        self._streams.let_go()

    def take_back(self) -> None:
        """It did not come."""
        self._streams.take_back()

    @property
    def streams(self) -> Mapping[Operator, Unheld | None]:
        """To whom we want to hold a stream, and why there is none now; None where there is one."""
        return self._streams.state

    @property
    def stale(self) -> list[Operator]:
        """To whom connections are open from before the last renewal."""
        return self._pool.stale

    def renew(self, context: ssl.SSLContext, dialling: Dialling, *, is_other: bool) -> None:
        """Dial as these say from now on; see the class for them.

        Args:
            is_other: the context holds another certificate, or other authorities: then what is open is opened anew.
        """
        self._dialling = dialling
        self._routes_from = None
        if is_other:
            self._context = context
            self._pool.renew()
            if self._siblings is not None:
                self._siblings.renew()

    async def stop(self) -> None:
        """Take no new calls from those to whom we hold streams."""
        self._streams.stop()

    async def close(self) -> None:
        """End streams and connections."""
        await self._streams.close()
        if self._siblings is not None:
            await self._siblings.close()
        await self._pool.close()

    def way_to(self, operator: Operator) -> Way | None:
        """Over a kept connection, if the directory names a gRPC server of ``operator`` that we may dial; see
        ``channels.Outbound``."""
        route = self._route(operator) if operator != self._name else None
        return partial(self._call, route) if route is not None else None

    def through(self, proxy: Operator) -> bool:
        """See ``channels.Brokered``."""
        return self._pool.through(proxy)

    def leave(self, proxy: Operator) -> int:
        """See ``channels.Brokered``."""
        return self._pool.leave(proxy)

    async def _call(self, route: Route, request: Request, sender: Operator, timeout: float) -> Response:
        message = await encode_request(request, sender)
        return await read_answer(
            await self._pool.call(request.address.operator, message, timeout, route, request.asker), request
        )

    def _route(self, operator: Operator) -> Route | None:
        """How the directory says that ``operator`` is reached; None if not by us. Worked out once for each state of
        the directory."""
        directory = self._source.current
        if directory is not self._routes_from:
            self._routes_from, self._routes = directory, {}
        route = self._routes.get(operator)
        if route is None:
            route = self._find_route(directory, operator)
            if route is not None:
                self._routes[operator] = route
        return route

    def _find_route(self, directory: Directory, operator: Operator) -> Route | None:
        way = way_between(directory, self._name, operator)
        if way.kind is Kind.DIRECT or (way.kind is Kind.PROXY and self._dialling.use_proxy):
            pins = directory.pins(operator)
            others = tuple(Route(other.address, other.proxy, pins) for other in way.others)
            return Route(way.address, way.proxy, pins, others)
        return None

    async def _open(self, operator: Operator, route: Route) -> ClientConnection:
        parent = CURRENT.get()
        trace = Trace(parent.id or IDS.trace(), given=parent.given) if parent is not None else Trace(IDS.trace())
        CURRENT.set(trace)  # of the task that opens, which works for one call as well as for those that wait beside it
        if route.proxy:
            return await self._open_tunnel(operator, route.proxy)
        proxy_url = self._dialling.relays.proxies.url_for(route.address)
        sock = await connect(route.address, CONNECT_TIMEOUT, name=operator, proxy_url=proxy_url)
        return await self._secure(sock, operator)

    async def _open_tunnel(self, operator: Operator, proxy: Operator) -> ClientConnection:
        started = time.monotonic()
        self._step(1, operator, f"{operator} is reached through the proxy {proxy}")
        self._step(2, proxy, f"asking {proxy} for a connection to {operator}")
        offer = await self._ask_proxy(operator, proxy)
        answered = time.monotonic() - started
        token, endpoint = parse_offer(offer, proxy)
        trust = relay_trust_of(self._source, proxy, self._name, self._dialling.relays.trusted_endpoints)
        sock = await dial_relay(
            endpoint, token, CONNECT_TIMEOUT, name=proxy, allow=trust.judge, proxies=self._dialling.relays.proxies
        )
        self._step(
            5,
            proxy,
            f"{proxy} answered; connected to {endpoint} and sent the token{_told(operator, offer)}",
            time.monotonic() - started,
        )
        asked = time.monotonic()
        with hearing() as heard:
            try:
                connection = await self._secure(sock, operator)
            except Unreachable as error:
                is_over = error.stage is Stage.TLS and error.reason is not Reason.SILENT and not heard.anything
                age = tokens_age(offer, answered, time.monotonic() - started)
                raise (_came_late(operator, proxy, age) if is_over and too_late(offer, age) else error) from error
        self._step(6, operator, f"speaking TLS with {operator}, end to end", time.monotonic() - asked)
        return connection

    async def _ask_proxy(self, operator: Operator, proxy: Operator) -> object:
        """Step 2, over our own direct connection to the proxy's operator."""
        route = self._route(proxy)
        if route is None or route.proxy:
            why, hint = undialable(self._source.current, operator, proxy)
            text = f"{operator} is reached through {proxy}, which we can't dial: {why}"
            raise NoWay(text, hint=hint, side=Side.DIRECTORY)
        address = Address(proxy, REQUEST_CONNECTION, brokering_id(current_id(), IDS.span()))
        request = Request(address, {"to": operator, "channel": SERVER_CHANNEL})
        try:
            response = await self._call(route, request, self._name, ASK_TIMEOUT)
        except DeliveryError as error:  # whatever became of this question, the call itself has not left us
            is_final = isinstance(error, NotSent) and error.final
            unasked = error.outcome is Outcome.NOT_SENT
            raise (TunnelRefused if is_final else TunnelFailed)(
                f"{operator} is reached through the proxy {proxy}, which was not asked for a tunnel: {error.message}"
                if unasked
                else f"{proxy} brought no tunnel to {operator}: {error.message}",
                hint=error.hint if unasked else f"look into the logs of {proxy} and {operator}",
                stage=Stage.TLS if error.side is Side.OURS and error.stage is Stage.TLS else Stage.RELAY,
                side=error.side if error.side in (Side.OURS, Side.DIRECTORY) else Side.PROXY,
                reason=_OF_ASKING.get(error.reason, error.reason),
            ) from error
        if response.error is not None:
            raise tunnel_refused(operator, proxy, response.error)
        return response.result

    async def _secure(self, sock: socket.socket, operator: Operator) -> ClientConnection:
        try:
            connection = await ClientConnection.open(
                sock,
                operator=operator,
                context=self._context,
                pins=self._pins,
                timeout=CONNECT_TIMEOUT,
                spoken=self._spoken.setdefault(operator, SpokenName()),
            )
        except TlsFailed as error:
            raise self._explained(error) from error
        shown = connection.wire.link.describe_tls()
        self._emit(Notice(level=Level.DEBUG, text=f"connected with {operator} ({shown})"))
        return connection

    def _explained(self, error: TlsFailed) -> TlsFailed:
        """The same error, with the cause if that is ours, as far as we can know."""
        failing = self._source.failing()
        if error.reason is Reason.PEER_PIN and failing is not None:
            text = f"{error.message}; {failing.message}"
            hint = "most likely our directory is not the newest: bring back our link to the service directory"
            return TlsFailed(text, hint=hint, side=Side.OURS, reason=Reason.DIRECTORY_STALE)
        return self._own_pin.explained(error) if self._own_pin is not None else error

    async def _answer(self, connection: ClientConnection, message: pb.Request) -> pb.Response:
        assert self._deliver is not None
        here = partial(answer_request, self._name, self._deliver, connection.peer, message, self._pins)
        if self._siblings is None or not self._streams.is_alone(connection.operator):
            return await here()
        try:
            sender = sender_of(connection.peer, message.clientName, self._pins)
        except EpsError:
            return await here()  # which says so
        return await self._siblings.spread(message, sender, None if self._streams.is_stopping else here)

    async def _dial_sibling(self, address: str) -> ClientConnection:
        """Another server of our own operator."""
        return await self._secure(await connect(address, CONNECT_TIMEOUT, name=self._name), self._name)

    def _step(self, step: int, peer: Operator, text: str, seconds: float | None = None) -> None:
        trace = current_id()
        self._emit(Step(step=step, operator=self._name, peer=peer, text=text, seconds=seconds, trace=trace))


def _told(operator: Operator, offer: object) -> str:
    """How long the parts of the proxy's work took, if it says so."""
    words = {"asked": f"{operator} had answered", "arrived": "its connection had come"}
    told = [f"{words[name]} after {seconds * 1000:.1f} ms" for name, seconds in durations_in(offer) if name in words]
    return f"; by the proxy's clock {', '.join(told)}" if told else ""


def _came_late(operator: Operator, proxy: Operator, seconds: float) -> TunnelFailed:
    """The relay has hung up at us, since nobody came to meet us."""
    return TunnelFailed(
        f"{proxy} brought no tunnel to {operator}: {operator} came too late: {seconds:.1f} s after it was asked, "
        "nothing of it had come through the relay, which then hung up",
        hint=f"{TABLE[Reason.TOKEN_LATE].do}; the logs of {operator} and of {proxy} say more",
        side=Side.PEER,
        reason=Reason.TOKEN_LATE,
    )


def tunnel_refused(operator: Operator, proxy: Operator, error: Error) -> TunnelFailed:
    """Why the proxy brought no tunnel; nothing of the call has left us."""
    told = told_of_tunnel(error, operator, proxy)
    is_final = error.code in FINAL_CODES or told.reason is Reason.BUSY
    return (TunnelRefused if is_final else TunnelFailed)(
        f"{proxy} brought no tunnel to {operator}: {told.text}",
        hint=told.hint or f"look into the logs of {proxy} and {operator}",
        stage=told.stage,
        side=told.side,
        reason=told.reason,
    )
