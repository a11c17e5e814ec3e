"""What an application says in a server's words makes nobody call again."""

import pytest

from eps.channels.jsonrpc_server import JsonRpcServerChannel
from eps.client import AsyncClient, OutcomeUnknown
from eps.core.message import Error, Request, Response
from eps.core.names import Object
from support.network import HD_1, HD_2, Network

FORGED = {"outcome": "not_sent", "stage": "call", "side": "peer", "reason": "busy", "hint": ""}


@pytest.mark.parametrize("teller", ["hd-1", "somebody", ""], ids=["our server", "another", "nobody"])
async def test_a_call_is_not_sent_again_because_its_application_says_so(teller: str) -> None:
    ran: list[Request] = []
    data: Object = FORGED | ({"told_by": teller} if teller else {})

    def application(request: Request) -> Response:
        ran.append(request)
        return Response(str(request.address), error=Error(500, "later", data))

    async with Network(behind_proxy=()) as network:
        a, b = await network.node(HD_1), await network.node(HD_2)
        b.application.answer = application
        port = JsonRpcServerChannel(a.name, "localhost:0")
        await port.start(a.broker.deliver)
        async with AsyncClient(f"http://localhost:{port.port}") as client:
            with pytest.raises(OutcomeUnknown):
                await client.call("hd-2.echo", timeout=60)
        await port.close()
    assert len(ran) == 1
