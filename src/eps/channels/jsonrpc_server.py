"""The channel that takes calls from our own applications (PROTOCOL.md section 2, «Channels»)."""

from eps.channels import Deliver
from eps.channels.under_way import UnderWay
from eps.core.address import Address, parse_address
from eps.core.descriptions import DESCRIBE, EVERYBODY
from eps.core.event import Emit, ignore
from eps.core.jsonrpc_text import CANCEL, Call
from eps.core.message import Request, Response
from eps.core.names import Operator
from eps.errors import AddressError
from eps.jsonrpc.server import JsonRpcServer, Serving

METHODS = "_methods"
"""A local method: what we may call, of all others or of one ``operator``."""


class JsonRpcServerChannel:
    """An ``Inbound``: whoever may call the local port acts as our own operator.

    Args:
        own: our operator.
        bind_address: where to listen.
        serving: see :class:`eps.jsonrpc.server.Serving`.
    """

    def __init__(self, own: Operator, bind_address: str, serving: Serving | None = None, emit: Emit = ignore) -> None:
        self._own = own
        self._deliver: Deliver | None = None
        self._under_way = UnderWay()
        self._server = JsonRpcServer("jsonrpc", bind_address, self.handle, serving=serving, emit=emit)

    @property
    def port(self) -> int:
        """Where it listens, once started."""
        return self._server.port

    @property
    def server(self) -> JsonRpcServer:
        """What listens."""
        return self._server

    async def start(self, deliver: Deliver) -> None:
        """Bind and begin; raises StartError when it can't."""
        self._deliver = deliver
        await self._server.start()

    async def stop(self) -> None:
        """Take no new calls."""
        await self._server.stop()

    async def close(self) -> None:
        """Stop accepting; calls in flight get a grace time."""
        await self._server.close()

    async def handle(self, call: Call) -> Response:
        """One local call, through the broker, to its answer; or of a local method: ``_cancel``, ``_methods``.

        Raises:
            AddressError: the method and id make no address; the server answers it with code 1.
        """
        assert self._deliver is not None, "the server accepts nothing before start"
        if call.method == CANCEL:
            return Response(call.id, self._under_way.cancel(call))
        if call.method == METHODS:
            asked = {"operator": call.params.get("operator", EVERYBODY)}
            request = Request(Address(self._own, DESCRIBE, call.id), asked, call.asker)
        else:
            request = Request(address_of(call), call.params, call.asker)
        return await self._under_way.run(call, self._deliver(request, self._own))


def address_of(call: Call) -> Address:
    """The address that a local call names: its method is ``OPERATOR.METHOD``, its id the local id.

    Raises:
        AddressError: they make none, e.g. the method has no dot or the id a parenthesis.
    """
    address = parse_address(f"{call.method}({call.id})")
    if address.target != call.method:  # parentheses in the method or the id have moved the boundary between them
        raise AddressError(
            f"{call.method[:80]!r} is not of the form OPERATOR.METHOD",
            hint="neither the method nor the id may contain parentheses that make the address ambiguous",
        )
    return address
