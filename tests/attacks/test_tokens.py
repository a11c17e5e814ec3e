"""Tokens of a public proxy's relay that many show at once."""

import asyncio
import base64
from typing import Any

from eps.core.event import Refused
from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.core.names import Object, Operator
from eps.proxy.public import PublicProxy
from eps.transport.dial import connect
from support.sockets import recv, recv_exactly, send
from support.testing import Events

RACERS = 40
CLIENT: Object = {"name": "hd-1", "entry": {"name": "hd-1", "channels": [], "groups": None}}
PARAMS: Object = {"to": "hd-2", "channel": "grpc_server", "_client": CLIENT}


async def test_of_many_who_race_with_one_token_one_is_joined() -> None:
    asked: list[Object] = []
    events = Events()

    async def call_network(method: str, params: Object, timeout: float) -> Response:
        asked.append(params)
        return Response("1", {})

    proxy = PublicProxy(
        Operator("public-proxy-1.ga"),
        call_network,
        internal_bind_address="127.0.0.1:0",
        internal_endpoint="127.0.0.1:0",
        emit=events,
    )
    await proxy.start()
    try:
        answer: Any = (await proxy.handle(Call("requestConnection", PARAMS, "1"))).result
        first, second = (base64.b64decode(token) for token in (asked[0]["token"], answer["token"]))
        racing = [await connect(f"127.0.0.1:{proxy.addresses[0][1]}", 5) for _ in range(RACERS)]
        await asyncio.gather(*(send(sock, first) for sock in racing))
        ends = {asyncio.ensure_future(recv(sock)): sock for sock in racing}
        while len(ends) > 1:
            done, _ = await asyncio.wait(ends, timeout=10, return_when=asyncio.FIRST_COMPLETED)
            assert done and all(end.result() == b"" for end in done), "a racer is neither joined nor closed"
            for end in done:
                ends.pop(end).close()
        ((end, winner),) = ends.items()
        a = await connect(f"127.0.0.1:{proxy.addresses[0][1]}", 5)
        await send(a, second + b"hello")
        assert await asyncio.wait_for(end, 10) == b"hello"
        await send(winner, b"!")
        assert await recv_exactly(a, 1) == b"!"
        assert proxy.tunnels == 1 and {event.why for event in events.of(Refused)} == {"token"}
        a.close()
        winner.close()
    finally:
        await proxy.close()
