"""One operator describes its methods to another, between our real servers."""

from typing import Any

from eps.core.message import Error, Request, Response
from support.network import HD_1, HD_2, PROXY, Network

DOCUMENT = {
    "methods": [{"name": "echo", "description": "Says it again.", "params": []}, {"name": "inner", "params": []}]
}


async def test_who_may_call_something_is_told_what() -> None:
    discovered: list[Request] = []

    def application(request: Request) -> Any:
        assert request.address.method == "rpc.discover"
        discovered.append(request)
        return DOCUMENT

    async with Network() as network:
        a, b = await network.node(HD_1), await network.node(HD_2)
        await network.proxy()
        await network.ready()
        b.application.answer = application
        for _ in range(2):
            methods = (await a.call("hd-1._describe", {"operator": HD_2})).result["methods"]
            assert [one["name"] for one in methods] == ["_ping", "_directory", "echo"]
            assert methods[-1]["description"] == "Says it again." and methods[-1]["operator"] == HD_2
        asked_by = [request.params["_client"]["name"] for request in discovered]
        assert asked_by == [HD_2], "by its own operator, once"
        proxied = (await a.call("hd-1._describe", {"operator": PROXY})).result["methods"]
        assert {(one["name"], one["described_by"]) for one in proxied} == {
            ("requestConnection", "directory"),
            ("_ping", "server"),
        }
        b.application.answer = lambda request: Response(str(request.address), error=Error(-32601, "no"))
        told = (await network.nodes[PROXY].call("hd-2._describe")).result["methods"]
        assert [one["name"] for one in told] == ["_connectionRequest", "echo"], "what the asker may call, no more"
