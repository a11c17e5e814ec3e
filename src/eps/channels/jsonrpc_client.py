"""The channel that delivers to our own application, by JSON-RPC (PROTOCOL.md section 2, «Channels»)."""

from dataclasses import replace

from eps.channels import Way
from eps.core.event import Emit
from eps.core.message import Request, Response, unwrap
from eps.core.names import Operator
from eps.jsonrpc.client import JsonRpcClient
from eps.jsonrpc.tolerance import Tolerance


class JsonRpcClientChannel:
    """An ``Outbound`` that leads to ourselves.

    Args:
        own: our operator.
        client: calls the application's endpoint; closed by :meth:`close`.
        emit: told once of each looseness of the application's answers.
    """

    def __init__(self, own: Operator, client: JsonRpcClient, emit: Emit) -> None:
        self._own = own
        self._client = client
        self._tolerate = Tolerance(client.label, emit)

    def way_to(self, operator: Operator) -> Way | None:
        """See ``channels.Outbound``."""
        return self.deliver if operator == self._own else None

    async def deliver(self, request: Request, sender: Operator, timeout: float) -> Response:
        """Post the call to the application: the method without the operator's name, the whole address as id.

        The application's own errors come back unchanged, as does its result, without a wrapping ``{"_": …}``. Loose
        answers are understood (``core.loose_answers``).

        Raises:
            DeliveryError: no answer came; see :meth:`eps.jsonrpc.client.JsonRpcClient.call`.
        """
        address = request.address
        answer = await self._client.call(
            address.method, request.params, request_id=str(address), timeout=timeout, tolerate=self._tolerate
        )
        if answer.error is None and isinstance(answer.result, dict):
            return replace(answer, result=unwrap(answer.result))
        return answer

    def become(self, client: JsonRpcClient) -> None:
        """Deliver by ``client`` from now on, which belongs to this channel."""
        self._client.become(client)

    async def close(self) -> None:
        """End the connections to the application."""
        await self._client.close()
