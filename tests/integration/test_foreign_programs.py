"""Any of our programs stands in for a foreign one: every mixture of the four servers of a brokered call.

A's EPS server, P's EPS server, P's public proxy and B's EPS server are each ours (built from settings files, as
``eps server run`` and ``proxy run public`` do) or foreign; a foreign service directory tells ours of each other.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from eps.channels.grpc_server import GrpcServerChannel
from eps.channels.jsonrpc_server import JsonRpcServerChannel
from eps.core.names import Object, Operator
from eps.programs.running.metrics import Metrics
from eps.programs.wiring.eps import EpsServer
from eps.programs.wiring.proxy import PublicProxyServer
from eps.settings import load_eps, load_proxy
from support.foreign.eps import rpc_service
from support.foreign.messages import Object as Json
from support.foreign.network import HD_1, HD_2, PROXY, Network
from support.foreign.records import Signer, sign_chain
from support.foreign.rpc import RpcAnswer
from support.foreign.service_directory import ForeignSd
from support.ours import Watch, foreign_network, in_thread
from support.ports import PortBlock

A, P, RELAY, B = "A", "P", "relay", "B"
ROLES = (A, P, RELAY, B)


MIXTURES = [ours for count in range(1, len(ROLES) + 1) for ours in combinations(ROLES, count)]
"""Every set of roles that ours play, but none."""


class Mixture:
    """The four servers, and the directory that they follow."""

    def __init__(self, network: Network, folder: Path, ours: tuple[str, ...], stack: AsyncExitStack) -> None:
        self.network, self.folder, self.ours, self.stack = network, folder, ours, stack
        self.eps: dict[str, EpsServer] = {}
        self.events: dict[str, Watch] = {}
        block = PortBlock()
        stack.callback(block.close)
        self.ports = dict(zip(("eps", "proxy", "relay"), block.numbers, strict=False))
        issued = network.authority.issue_signing(HD_1, ["sd-admin"])
        self._signer = Signer.from_pem(issued.leaf_pem, issued.key_pem)
        self.sd = ForeignSd([network.authority.intermediate])
        (folder / "intermediate.crt").write_bytes(network.authority.intermediate_pem)
        network.watchers.append(self._submit)
        self._submit()

    def _submit(self) -> None:
        """What the foreign servers were told directly, for ours as a signed chain that grows."""
        tip = self.sd.records[-1]["hash"] if self.sd.records else ""
        known = {(r["record"]["name"], r["record"]["section"]): r["record"]["data"] for r in self.sd.records}
        changes = [(r["name"], r["section"], r["data"]) for r in self.network.records()]
        news = [change for change in changes if known.get(change[:2]) != change[2]]
        self.sd.records = [*self.sd.records, *sign_chain(self._signer, news, tip)]

    def tls(self, name: str, **more: Any) -> Json:
        certificate, key, root = self.network.files(name)
        return {
            "ca_certificate_files": [str(root)],
            "certificate_file": str(certificate),
            "key_file": str(key),
            **more,
        }

    def _settings(self, role: str, settings: Json) -> dict[str, str]:
        file = self.folder / f"{role}.json"
        file.write_text(json.dumps({"state_path": str(self.folder / f"state-{role}"), **settings}))
        return {"EPS_SETTINGS": str(file), "PROXY_SETTINGS": str(file)}

    async def run_eps(self, role: str, name: str, rpc_port: int = 0, application: Json | None = None) -> None:
        """One EPS server, ours or foreign, with its JSON-RPC server."""
        if role in self.ours:
            await self._run_our_eps(role, name, rpc_port, application)
            return
        self.network.run(name, lambda method, params, request_id: {"foreign": params["_client"]["name"]})
        self.network.run_rpc(name, rpc_port)

    async def _run_our_eps(self, role: str, name: str, rpc_port: int, application: Json | None) -> None:
        tls, events = self.tls(name), Watch()
        channels: list[Json] = [
            {"type": "grpc_client", "settings": {"tls": tls}},
            {"type": "grpc_server", "settings": {"bind_address": "127.0.0.1:0", "tls": tls}},
            {"type": "jsonrpc_server", "settings": {"bind_address": f"127.0.0.1:{rpc_port}", "tls": tls}},
        ]
        if application is not None:
            channels.append({"type": "jsonrpc_client", "settings": application})
        given: Json = {
            "endpoints": [self.sd.endpoint],
            "ca_certificate_files": [str(self.folder / "intermediate.crt"), tls["ca_certificate_files"][0]],
            "ca_intermediate_certificate_files": [str(self.folder / "intermediate.crt")],
            "cache_entries_for": 0.1,
        }
        directory = {"type": "api", "settings": given}
        environment = self._settings(role, {"name": name, "directory": directory, "channels": channels})
        server = EpsServer(load_eps(environment, self.folder).settings, events, Metrics())
        await server.start()
        self.stack.push_async_callback(server.close)
        self.eps[role], self.events[role] = server, events
        self.network.publish(**{name: f"127.0.0.1:{server.channel(GrpcServerChannel).addresses[0][1]}"})

    async def run_proxy(self) -> None:
        """The public proxy, ours or foreign, at the port that P's EPS server was told."""
        if RELAY not in self.ours:
            endpoint = f"https://127.0.0.1:{self.ports['eps']}/jsonrpc"
            self.network.run_proxy(eps_endpoint=endpoint, port=self.ports["proxy"])
            return
        tls = self.tls(PROXY)
        rpc = f"https://127.0.0.1:{self.ports['eps']}/jsonrpc"
        public: Json = {
            "name": PROXY,
            "datastore": {"type": "memory"},
            "tls_bind_address": "127.0.0.1:0",
            "internal_bind_address": f"127.0.0.1:{self.ports['relay']}",
            "internal_endpoint": f"127.0.0.1:{self.ports['relay']}",
            "jsonrpc_client": {"endpoint": rpc, "tls": self.tls(PROXY, server_name=PROXY)},
            "jsonrpc_server": {"bind_address": f"127.0.0.1:{self.ports['proxy']}", "tls": tls},
        }
        settings = load_proxy(self._settings(RELAY, {"public": public}), self.folder).settings
        proxy = PublicProxyServer(settings, Watch(), Metrics())
        await proxy.start()
        self.stack.push_async_callback(proxy.close)
        self.network.relay_endpoints = [f"127.0.0.1:{self.ports['relay']}"]
        self.network.publish()

    async def start(self) -> None:
        """P, its proxy, A and B, in this order, and B's stream to P."""
        rpc = f"https://127.0.0.1:{self.ports['proxy']}/jsonrpc"
        application = {"endpoint": rpc, "tls": self.tls(PROXY, server_name=PROXY)}
        await self.run_eps(P, PROXY, self.ports["eps"], application)
        if P not in self.ours:
            self.network.servers[PROXY].service = rpc_service(self.network.rpc_client(rpc, PROXY, PROXY))
        await self.run_proxy()
        await self.run_eps(A, HD_1)
        await self.run_eps(B, HD_2)
        if B not in self.ours:
            self.network.servers[HD_2].hold_streams()
        await self._settled()

    async def _settled(self) -> None:
        """Until ours know the whole directory and B is connected to P."""
        tip = self.sd.records[-1]["hash"]
        for role, server in self.eps.items():
            await self.events[role].until(partial(_knows, server, tip))
        if P in self.ours:
            channel = self.eps[P].channel(GrpcServerChannel)
            await self.events[P].until(lambda: channel.way_to(Operator(HD_2)) is not None)
        else:
            assert await in_thread(self.network.servers[PROXY].server.wait_connected, HD_2)

    async def call(self, target: str, params: Object, request_id: Any) -> RpcAnswer:
        """What the curl command does: a call of A's local JSON-RPC server."""
        if A in self.ours:
            endpoint = f"https://127.0.0.1:{self.eps[A].channel(JsonRpcServerChannel).port}/jsonrpc"
        else:
            endpoint = self.network.rpc_servers[HD_1].endpoint
        client = self.network.rpc_client(endpoint, HD_1, HD_1)
        return await in_thread(client.call, target, params, request_id)


def _knows(server: EpsServer, tip: str) -> bool:
    return server.source.current.version == tip


@asynccontextmanager
async def mixture(folder: Path, ours: tuple[str, ...]) -> AsyncIterator[Mixture]:
    async with foreign_network() as network, AsyncExitStack() as stack:
        mixed = Mixture(network, folder, ours, stack)
        stack.callback(mixed.sd.close)
        await mixed.start()
        yield mixed


@pytest.mark.parametrize("ours", MIXTURES, ids="+".join)
async def test_a_ping_takes_the_six_steps_whoever_plays_which_part(tmp_path: Path, ours: tuple[str, ...]) -> None:
    async with mixture(tmp_path, ours) as mixed:
        for request_id in (1, "one", "n:1"):
            answer = await mixed.call("hd-2._ping", {"say": [1, None, "ä"]}, request_id)
            assert (answer.status, answer.error, answer.id) == (200, None, request_id)
            assert answer.result["serverInfo"]["name"] == HD_2
            assert answer.result["params"]["say"] == [1, None, "ä"]
            assert answer.result["params"]["_client"]["name"] == HD_1
            assert (answer.result["version"] == "development") == (B not in ours)
        refused = await mixed.call("hd-2.nope", {}, "2")
        assert refused.error is not None
        assert (refused.status, refused.error["code"], refused.id) == (400, 403, "2")
        unknown = await mixed.call("hd-9._ping", {}, "3")
        assert unknown.error is not None
        assert (unknown.status, unknown.error["code"]) == (400, 1)


@pytest.mark.parametrize("ours", [(A,), (P,), (RELAY,), (A, P, RELAY)], ids="+".join)
async def test_without_b_the_caller_learns_that_it_is_not_connected(tmp_path: Path, ours: tuple[str, ...]) -> None:
    async with mixture(tmp_path, ours) as mixed:
        await in_thread(mixed.network.servers[HD_2].streams[PROXY].close)
        if P in ours:
            channel = mixed.eps[P].channel(GrpcServerChannel)
            await mixed.events[P].until(lambda: channel.way_to(Operator(HD_2)) is None)
        answer = await mixed.call("hd-2._ping", {}, "1")
        assert answer.error is not None
        assert (answer.status, answer.error["code"]) == (400, 500)
