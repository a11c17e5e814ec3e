"""The four servers of a brokered call, each ours or foreign, and a foreign service directory for ours.

Ours are built from settings files, as ``eps server run`` and ``proxy run public`` do.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

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


class Mixture:
    """The four servers, and the directory that they follow.

    Attributes:
        more: further settings of our EPS servers, by role.
        grpc_ports: their gRPC ports, where they are to be known before.
        free: ports that nobody has.
    """

    def __init__(self, network: Network, folder: Path, ours: tuple[str, ...], stack: AsyncExitStack) -> None:
        self.network, self.folder, self.ours, self.stack = network, folder, ours, stack
        self.eps: dict[str, EpsServer] = {}
        self.events: dict[str, Watch] = {}
        block = PortBlock()
        stack.callback(block.close)
        self.ports = dict(zip(("eps", "proxy", "relay"), block.numbers, strict=False))
        issued = network.authority.issue_signing(HD_1, ["sd-admin"])
        self._signer = Signer.from_pem(issued.leaf_pem, issued.key_pem)
        self.grpc_ports: dict[str, int] = {}
        self.free = list(block.numbers[3:])
        self.more: dict[str, Json] = {}
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
            await self.run_our_eps(role, name, rpc_port, application)
            return
        self.network.run(name, lambda method, params, request_id: {"foreign": params["_client"]["name"]})
        self.network.run_rpc(name, rpc_port)

    async def run_our_eps(self, role: str, name: str, rpc_port: int = 0, application: Json | None = None) -> None:
        """One of ours, whatever role it plays."""
        tls, events, grpc_port = self.tls(name), Watch(), self.grpc_ports.get(role, 0)
        channels: list[Json] = [
            {"type": "grpc_client", "settings": {"tls": tls}},
            {
                "type": "grpc_server",
                "settings": {"bind_address": f"127.0.0.1:{grpc_port}", "tls": tls},
            },
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
        whole = {"name": name, "directory": directory, "channels": channels, **self.more.get(role, {})}
        environment = self._settings(role, whole)
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
        await self.start_proxy()
        await self.run_eps(A, HD_1)
        await self.run_eps(B, HD_2)
        if B not in self.ours:
            self.network.servers[HD_2].hold_streams()
        await self.settled()

    async def start_proxy(self) -> None:
        """P and its proxy."""
        rpc = f"https://127.0.0.1:{self.ports['proxy']}/jsonrpc"
        application = {"endpoint": rpc, "tls": self.tls(PROXY, server_name=PROXY)}
        await self.run_eps(P, PROXY, self.ports["eps"], application)
        if P not in self.ours:
            self.network.servers[PROXY].service = rpc_service(self.network.rpc_client(rpc, PROXY, PROXY))
        await self.run_proxy()

    async def settled(self) -> None:
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
async def mixture(folder: Path, ours: tuple[str, ...], *, starts: bool = True) -> AsyncIterator[Mixture]:
    """All four, or what the test starts."""
    async with foreign_network() as network, AsyncExitStack() as stack:
        mixed = Mixture(network, folder, ours, stack)
        stack.callback(mixed.sd.close)
        if starts:
            await mixed.start()
        yield mixed
