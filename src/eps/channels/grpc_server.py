"""The ``grpc_server`` channel: accepts other operators, and reaches those that hold a stream to us.

B's part of step 4 of a brokered connection (PROTOCOL.md section 7) is ``accept_tunnel``: connect to the proxy's
endpoint, send the token, and treat the socket as a newly accepted connection. (Step 3, who may ask for that, is in
broker/internal_methods.py.)
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Sequence
from functools import partial

from eps.channels import Deliver, Way
from eps.channels.absences import Absences
from eps.channels.connected import PUT_OFF_SECONDS, Connected, ConnectedStream
from eps.channels.peers import DirectoryPins, answer_request, encode_request, read_answer, relay_trust_of
from eps.core.event import Emit, Event, Refused, Step
from eps.core.message import Error, Request, Response
from eps.core.names import Operator, Token
from eps.core.renewal import YIELD_SECONDS
from eps.core.told import TOLD_BY
from eps.core.trace import current_id
from eps.directory import DirectorySource
from eps.errors import NoRoute, NotSent, Outcome, Side, TunnelFailed
from eps.grpc import eps_pb2 as pb
from eps.grpc.server import ServerConnection, ServerEndpoint
from eps.reasons import Reason
from eps.transport.listener import Listener, RateLimit
from eps.transport.tasks import Tasks
from eps.transport.tls import PeerIdentity, no_longer_pinned
from eps.transport.tunnel import RelaySettings, dial_relay

TUNNEL_TIMEOUT = 6.0
"""Seconds for dialling the relay: the proxy waits 8 s for our answer (``accept_timeout`` less 2), to hear why not."""

MAX_TUNNELS_UNDER_WAY = 1024
"""Tunnels being dialled or amid their TLS handshake, each of which may hold a socket for 10 s: a proxy that asks
without end must not take all our open files."""

CLOSE_GRACE = 5.0
"""Seconds that calls in flight may take when the server stops."""


class GrpcServerChannel:
    """Inbound for whoever dials us or comes through a proxy; outbound over the streams that others hold to us.

    Args:
        name: our operator.
        source: the directory.
        context: a TLS server context that requires client certificates, ALPN h2.
        bind_address: host:port to listen on.
        relays: how relays are dialled.

    Attributes:
        endpoint: the connections, however they came.
        tunnels_under_way: see :data:`MAX_TUNNELS_UNDER_WAY`.
    """

    def __init__(
        self,
        name: Operator,
        source: DirectorySource,
        context: ssl.SSLContext,
        *,
        bind_address: str,
        emit: Emit,
        rate_limits: Sequence[RateLimit] = (),
        relays: RelaySettings | None = None,
    ) -> None:
        self._name = name
        self._source = source
        self._pins = DirectoryPins(source)
        self._emit = emit
        self._relays = relays or RelaySettings()
        self._deliver: Deliver | None = None
        self._absences = Absences()
        self._connected = Connected(name, emit, self._absences)
        self._tasks = Tasks()
        self.tunnels_under_way = 0
        self._stopping = False
        self.endpoint = ServerEndpoint(
            context=context,
            pins=self._pins,
            on_call=self.answer,
            on_stream=self._connected.run,
            emit=self._note,
        )
        self._listener = Listener("grpc", bind_address, self.endpoint.accept, rate_limits=rate_limits, emit=emit)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return self._listener.addresses

    async def start(self, deliver: Deliver) -> None:
        """Bind; raises StartError if the port is taken."""
        self._deliver = deliver
        await self._listener.start()
        self._tasks.start(self._watch_directory(), "grpc_server: directory")

    def renew(
        self, context: ssl.SSLContext, *, rate_limits: Sequence[RateLimit], relays: RelaySettings, is_other: bool
    ) -> None:
        """Accept as these say from now on; see the class for them.

        Args:
            is_other: the context holds another certificate, or other authorities: then clients are sent away, who
                come back on new connections.
        """
        self._relays = relays
        self._listener.limit(rate_limits)
        if is_other:
            self.endpoint.renew(context)

    async def stop(self) -> None:
        """Take no new calls, connections or tunnels. Streams held to us stay: running calls may need them."""
        self._stopping = True
        await self._listener.close()
        self.endpoint.stop()
        await self.endpoint.told()

    async def close(self) -> None:
        """Accept no more, end streams so that peers come back, let calls in flight end."""
        await self._listener.close()
        self._connected.close()
        await self._tasks.close()
        await self.endpoint.close(CLOSE_GRACE)

    def way_to(self, operator: Operator) -> Way | None:
        """Down the stream that ``operator`` holds to us; see ``channels.Outbound``."""
        return self.way_down(operator) or self.why_absent(operator)

    def why_absent(self, operator: Operator) -> Way | None:
        """What tells why ``operator`` holds no stream to us, where that is known and its calls come by us."""
        why = self._absences.why(operator, self._name)
        return partial(_absent, why) if why is not None and self._brings(operator) else None

    def way_down(self, operator: Operator) -> Way | None:
        """Down the stream that ``operator`` holds to us; None without one."""
        stream = self._connected.get(operator)
        return partial(_send_down, stream) if stream is not None else None

    def _brings(self, operator: Operator) -> bool:
        """Whether others reach ``operator`` through us, so that it must hold a stream to us."""
        entry = self._source.current.entry(operator)
        return entry is not None and self._name in entry.proxies

    def _note(self, event: Event) -> None:
        if isinstance(event, Refused) and event.names and self._source.current.entries:  # else we pin nobody yet
            self._absences.refused(event.names, event.detail)
        self._emit(event)

    async def accept_tunnel(self, endpoint: str, token: Token, via: Operator) -> None:
        """Step 4: connect to the proxy ``via`` and serve the socket like any other; see ``channels.TunnelAcceptor``."""
        if self._stopping:
            raise TunnelFailed(f"{self._name} is stopping", hint="try again when it runs again", reason=Reason.STOPPING)
        if self.tunnels_under_way >= MAX_TUNNELS_UNDER_WAY:
            raise TunnelFailed(
                f"{self._name} has {MAX_TUNNELS_UNDER_WAY} tunnels under way already",
                hint="try again in some seconds",
                reason=Reason.BUSY,
            )
        started = time.monotonic()
        trust = relay_trust_of(self._source, via, self._name, self._relays.trusted_endpoints)
        self.tunnels_under_way += 1
        try:
            sock = await dial_relay(
                endpoint, token, TUNNEL_TIMEOUT, name=via, allow=trust.judge, proxies=self._relays.proxies
            )
        except BaseException:
            self.tunnels_under_way -= 1
            raise
        serving = self._tasks.start(self.endpoint.accept(sock, via), f"tunnel through {via}")
        serving.add_done_callback(self._tunnel_served)
        text = f"connected to {via} at {endpoint} and sent the token"
        took = time.monotonic() - started
        self._emit(Step(step=4, operator=self._name, peer=via, text=text, seconds=took, trace=current_id()))

    def through(self, proxy: Operator) -> bool:
        """See ``channels.Brokered``."""
        return any(connection.via == proxy for connection in self.endpoint.connections)

    def leave(self, proxy: Operator) -> int:
        """See ``channels.Brokered``: those who have opened them have a moment to leave by themselves."""
        leaving = [connection for connection in self.endpoint.connections if connection.via == proxy]
        self._tasks.start(_say_goodbye(leaving, f"the proxy {proxy} is stopping"), f"renew through {proxy}")
        return len(leaving)

    def _tunnel_served(self, _: object) -> None:
        self.tunnels_under_way -= 1

    def answer(self, peer: PeerIdentity, message: pb.Request) -> Awaitable[pb.Response]:
        """A call of ``peer``, answered; see ``peers.answer_request``."""
        assert self._deliver is not None
        return answer_request(self._name, self._deliver, peer, message, self._pins)

    async def _watch_directory(self) -> None:
        """Cut the connections of peers whose certificates the directory no longer pins for each of their names."""
        seen = self._source.current
        while True:
            seen = await self._source.changed(seen)
            for connection in self.endpoint.connections:
                peer = connection.peer
                if not all(peer.fingerprint in seen.pins(name) for name in peer.names):
                    connection.abort(no_longer_pinned(self._pins))


async def _say_goodbye(connections: Sequence[ServerConnection], reason: str) -> None:
    await asyncio.sleep(YIELD_SECONDS)
    for connection in connections:
        connection.drain(reason)


async def _absent(why: NoRoute, request: Request, sender: Operator, timeout: float) -> Response:
    raise why


async def _send_down(stream: ConnectedStream, request: Request, sender: Operator, timeout: float) -> Response:
    message = await encode_request(request, sender)
    answer = await read_answer(await stream.call(message, timeout, request.asker), request)
    if answer.error is not None:
        check_begun(answer.error, stream)
    return answer


def check_begun(error: Error, stream: ConnectedStream) -> None:
    """Raises NotSent if it says that the server stops and has not begun the call: over its next stream, or another
    server's, it may be sent again. (Servers that are dialled say so by GOAWAY; down a stream there is nothing but
    answers.) Only the server itself knows that: an application may answer with what somebody else told it, amid a call
    that it has begun."""
    operator = stream.operator
    data = error.data if isinstance(error.data, dict) else {}
    is_its_own = stream.is_ours and data.get(TOLD_BY) == operator
    was_refused = is_its_own and data.get("outcome") == Outcome.NOT_SENT
    if was_refused:
        stream.put_off = time.monotonic() + PUT_OFF_SECONDS
    if was_refused and data.get("reason") == Reason.STOPPING:
        stream.is_stopping = True  # the next attempt takes another, where there is one
        hint = f"try again when the server of {operator} runs again"
        raise NotSent(error.message, hint=hint, side=Side.PEER, reason=Reason.STOPPING)
