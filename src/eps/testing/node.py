"""One operator of a network for tests: a real broker; ways to others and to its service that are plain functions."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import eps
from eps.broker.broker import Broker, BrokerLimits
from eps.broker.internal_methods import InternalMethods
from eps.channels import Way
from eps.channels.jsonrpc_server import JsonRpcServerChannel
from eps.channels.peers import from_peer
from eps.core.descriptions import DISCOVER
from eps.core.event import ignore
from eps.core.jsonrpc_text import Call, parse_response, render_response
from eps.core.message import Request, Response, unwrap
from eps.core.names import Operator
from eps.errors import OutcomeUnknown, Side
from eps.jsonrpc.callers import Callers
from eps.jsonrpc.cors import Cors
from eps.jsonrpc.requests import Requests
from eps.jsonrpc.server import Serving
from eps.reasons import Reason
from eps.service import Service
from eps.testing.directory import Known
from eps.testing.faults import Fault

CALL_SECONDS = 30.0
"""As an EPS server's ``call_timeout``."""


class Conditions:
    """How things are with an operator at present.

    Attributes:
        fault: what fails; None: nothing.
        delay: seconds for which each call to it is on its way.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.delay = 0.0


@dataclass(frozen=True, slots=True)
class Entrance:
    """Of an operator's applications.

    Attributes:
        port: 0: a free one.
        origins: of web pages that may call.
    """

    port: int = 0
    origins: Sequence[str] = ()


class Node:
    """One EPS server in memory, with a port for its applications.

    Args:
        service: answers calls to it; None: it offers nothing.
        others: the nodes of the network by name.
        seen: told of each call that its service is to run: who calls, and what.
        entrance: see there.
    """

    def __init__(
        self,
        name: str,
        service: Service | None,
        others: "dict[str, Node]",
        known: Known,
        seen: Callable[[str, Request], None],
        entrance: "Entrance | None" = None,
    ) -> None:
        entrance = entrance or Entrance()
        self.name = Operator(name)
        self.service = service
        self.conditions = Conditions()
        self._others = others
        self._seen = seen
        internal = InternalMethods(self.name, version=eps.__version__, tunnels={}, now=lambda: datetime.now(UTC))
        limits = BrokerLimits(CALL_SECONDS)
        self._broker = Broker(self.name, known, [self], internal, emit=ignore, limits=limits)
        requests = Requests(cors=Cors(allowed_origins=tuple(entrance.origins)))
        self._entrance = JsonRpcServerChannel(
            self.name, f"localhost:{entrance.port}", Serving(requests, callers=Callers(operator=self.name))
        )

    @property
    def port(self) -> int:
        """Where its applications call."""
        return self._entrance.port

    async def start(self) -> None:
        """Raises StartError: the port is taken."""
        await self._entrance.start(self._broker.deliver)

    async def close(self) -> None:
        await self._entrance.close()
        await self._broker.close()

    # The channel to all others, and to its own service (``channels.Outbound``)

    def way_to(self, operator: Operator) -> Way | None:
        """See ``channels.Outbound``."""
        if operator == self.name:
            return self._to_service if self.service is not None else None
        return self._to_peer if operator in self._others else None

    async def _to_peer(self, request: Request, sender: Operator, timeout: float) -> Response:
        peer = self._others[request.address.operator]
        fault, delay = peer.conditions.fault, peer.conditions.delay
        try:
            async with asyncio.timeout(timeout):
                await asyncio.sleep(delay)
                if fault is not None and not fault.at_service and not fault.ran:
                    raise fault.made(peer.name)
                # In a task of its own, as in another process: which trace it is for is noted there.
                response = await asyncio.create_task(peer._broker.deliver(request, sender))
        except TimeoutError:
            text = f"{peer.name} did not answer within {timeout:g} s"
            raise OutcomeUnknown(text, side=Side.PEER, reason=Reason.NO_ANSWER) from None
        if fault is not None and not fault.at_service:
            raise fault.made(peer.name)
        return from_peer(response, peer.name)

    async def _to_service(self, request: Request, sender: Operator, timeout: float) -> Response:
        service, fault = self.service, self.conditions.fault
        assert service is not None, "there is a way only where there is a service"
        if fault is not None and fault.at_service and not fault.ran:
            raise fault.made(self.name)
        if request.address.method != DISCOVER:
            self._seen(sender, request)
        call_id = str(request.address)
        answer = await service.answer(Call(request.address.method, request.params, call_id))
        if fault is not None and fault.at_service:
            raise fault.made(self.name)
        # By way of bytes: what can't travel in the real network can't here.
        read = parse_response(render_response(answer), call_id, source=f"the application of {self.name}")
        if read.error is not None:
            return read
        result = read.result if read.result is not None else {}
        return Response(read.id, unwrap(result) if isinstance(result, dict) else result)
