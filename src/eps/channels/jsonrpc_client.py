"""The channel that delivers to our own application, by JSON-RPC (PROTOCOL.md section 2, «Channels»)."""

import asyncio
import math
import time
from dataclasses import replace

from eps.channels import Way
from eps.channels.turns import Turns
from eps.core.brokering import TUNNEL_METHODS
from eps.core.event import Emit
from eps.core.message import CLIENT_KEY, Error, Request, Response, unwrap
from eps.core.names import Object, Operator
from eps.core.overload import Limit
from eps.core.told import anonymous
from eps.errors import AnswerRefused, GivenUp, OutcomeUnknown
from eps.jsonrpc.client import JsonRpcClient
from eps.jsonrpc.spread import SpreadClient
from eps.jsonrpc.tolerance import Tolerance

Client = JsonRpcClient | SpreadClient


class JsonRpcClientChannel:
    """An ``Outbound`` that leads to ourselves.

    Args:
        own: our operator.
        client: calls the application's endpoint, or several; closed by :meth:`close`.
        limit: how many calls it gets at once.
        emit: told once of each looseness of the application's answers.
        is_short: the application gets callers' directory entries without their signed records.
    """

    def __init__(self, own: Operator, client: Client, limit: Limit, emit: Emit, *, is_short: bool = False) -> None:
        self._own = own
        self._client = client
        self._is_short = is_short
        self._turns = Turns(limit, f"the application of {own}")
        self._tolerate = Tolerance(client.label, emit)

    def way_to(self, operator: Operator) -> Way | None:
        """See ``channels.Outbound``."""
        return self.deliver if operator == self._own else None

    async def deliver(self, request: Request, sender: Operator, timeout: float) -> Response:
        """Post the call to the application: the method without the operator's name, the whole address as id.

        The application's own errors come back unchanged, as does its result, without a wrapping ``{"_": …}``. Loose
        answers are understood (``core.loose_answers``).

        Raises:
            Busy: it has enough to do.
            DeliveryError: no answer came; see :meth:`eps.jsonrpc.client.JsonRpcClient.call`.
        """
        began = time.monotonic()
        turn = await self._turns.begin(request.address.method)
        took: float | None = None
        try:
            if not request.asker.begin():
                raise GivenUp
            answer = await self._post(request, timeout - (time.monotonic() - began))
            took = time.monotonic() - turn.at
        except AnswerRefused:
            took = time.monotonic() - turn.at
            raise
        except OutcomeUnknown:
            took = math.inf if time.monotonic() - began >= timeout else None
            raise
        except asyncio.CancelledError:  # whoever asked has waited long enough
            took = time.monotonic() - turn.at
            raise
        finally:
            self._turns.end(turn, took)
        if answer.error is not None:
            return replace(answer, error=_in_its_own_name(answer.error, request.address.method))
        if isinstance(answer.result, dict):
            return replace(answer, result=unwrap(answer.result))
        return answer

    async def _post(self, request: Request, timeout: float) -> Response:
        address = request.address
        return await self._client.call(
            address.method,
            shortened(request.params) if self._is_short else request.params,
            request_id=str(address),
            timeout=max(timeout, 0.0),
            tolerate=self._tolerate,
            tell_timeout=True,
        )

    def become(self, client: Client, *, is_short: bool = False) -> None:
        """Deliver by ``client`` from now on, which belongs to this channel; to as many endpoints as before."""
        self._is_short = is_short
        if isinstance(self._client, SpreadClient):
            assert isinstance(client, SpreadClient), "how many there are does not change while a program runs"
            self._client.become(client)
        else:
            assert isinstance(client, JsonRpcClient)
            self._client.become(client)

    async def close(self) -> None:
        """End the connections to the application."""
        await self._client.close()


def shortened(params: Object) -> Object:
    """``params`` whose ``_client`` has no signed records: what an application learns of a caller without them is the
    same."""
    client = params.get(CLIENT_KEY)
    entry = client.get("entry") if isinstance(client, dict) else None
    if not isinstance(client, dict) or not isinstance(entry, dict):
        return params
    short = {key: value for key, value in entry.items() if key != "records"}
    return {**params, CLIENT_KEY: {**client, "entry": short}}


def _in_its_own_name(error: Error, method: str) -> Error:
    """An application's error, which says no longer that a server has made it: callers believe a server that says that a
    call was never begun. A public proxy is asked for tunnels, and answers for its operator."""
    return error if method in TUNNEL_METHODS else replace(error, data=anonymous(error.data))
