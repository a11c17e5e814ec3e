"""A network of our servers in one process: real sockets and TLS on loopback, a directory that the test can change.

async with Network() as network:
    hd_1, hd_2 = await network.node("hd-1"), await network.node("hd-2")
    await network.proxy()
    await network.ready()
    answer = await hd_1.call("hd-2._ping")
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

from eps.broker.audited import Audit
from eps.broker.broker import Broker, BrokerLimits
from eps.broker.internal_methods import InternalMethods
from eps.channels import Way
from eps.channels.grpc_client import GrpcClientChannel
from eps.channels.grpc_server import GrpcServerChannel
from eps.channels.slots import Keeping
from eps.core.address import parse_address
from eps.core.entries import Directory
from eps.core.event import PeerChanged, Step
from eps.core.jsonrpc_text import Call
from eps.core.message import Request, Response
from eps.core.names import Object, Operator
from eps.core.record import parse_change_record
from eps.errors import EpsError
from eps.proxy.public import PublicProxy
from eps.proxy.relay_limits import RelayLimits
from eps.transport.tls import client_context, server_context
from support.fakes import FakeSource
from support.testing import Certificates, Events, certificates

HD_1, HD_2, PROXY = "hd-1", "hd-2", "public-proxy-1.ga"
HEALTH, PROVIDERS = "health-departments", "proxy-providers"
OTHER_PROXY = "public-proxy-2.ga"
GROUPS = {PROXY: [PROVIDERS], OTHER_PROXY: [PROVIDERS]}
"""Everybody else is a health department."""

Application = Callable[[Request], Any]
"""What stands behind a node: a result, or an awaitable of one, for each request."""


class ApplicationChannel:
    """An Outbound to ourselves that calls a function."""

    def __init__(self, own: Operator) -> None:
        self._own = own
        self.answer: Application = lambda request: {"got": request.params.get("value")}
        self.requests: list[Request] = []
        self.timeouts: list[float] = []

    def way_to(self, operator: Operator) -> Way | None:
        return self.deliver if operator == self._own else None

    async def deliver(self, request: Request, sender: Operator, timeout: float) -> Response:
        self.requests.append(request)
        self.timeouts.append(timeout)
        answer = self.answer(request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer if isinstance(answer, Response) else Response(str(request.address), answer)


class Node:
    """One EPS server of ours."""

    def __init__(
        self,
        name: str,
        certs: Certificates,
        *,
        call_timeout: float = 10.0,
        idle_timeout: float = 300.0,
        audit: Audit | None = None,
    ) -> None:
        self.name = Operator(name)
        self.events = Events()
        self.source = FakeSource(Directory.empty())
        files = certs.tls_files(name)
        self.client = GrpcClientChannel(
            self.name, self.source, client_context(files, ["h2"]), emit=self.events, keeping=Keeping(idle_timeout)
        )
        self.server = GrpcServerChannel(
            self.name, self.source, server_context(files, ["h2"]), bind_address="127.0.0.1:0", emit=self.events
        )
        self.application = ApplicationChannel(self.name)
        internal = InternalMethods(
            self.name,
            version="test",
            tunnels={"grpc_server": self.server},
            now=lambda: datetime.now(UTC),
            brokered=[self.client, self.server],
        )
        channels = [self.client, self.server, self.application]
        limits = BrokerLimits(call_timeout)
        self.broker = Broker(self.name, self.source, channels, internal, emit=self.events, limits=limits, audit=audit)

    async def start(self) -> None:
        await self.server.start(self.broker.deliver)
        await self.client.start(self.broker.deliver)

    async def close(self) -> None:
        await self.broker.close()
        await self.client.close()
        await self.server.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.addresses[0][1]}"

    async def call(self, method: str, params: Object | None = None, request_id: str = "1") -> Response:
        """A local call, as an application makes it."""
        return await self.broker.deliver(Request(parse_address(f"{method}({request_id})"), params or {}), self.name)

    async def connected(self, operator: str) -> None:
        """Wait until ``operator`` holds a stream to this node."""
        await self.events.wait_for(PeerChanged, lambda e: e.link == "connected" and e.peer == operator and e.up)

    def steps(self) -> list[int]:
        return [step.step for step in self.events.of(Step)]


class Network:
    """Nodes, a proxy, and the directory that they share."""

    def __init__(self, *, behind_proxy: tuple[str, ...] = (HD_1, HD_2)) -> None:
        self.certificates = certificates()
        self.behind_proxy = behind_proxy
        self.nodes: dict[str, Node] = {}
        self.addresses: dict[str, str] = {}
        self.pins: dict[str, list[str]] = {}
        self.relay: PublicProxy | None = None
        self.relays: dict[str, PublicProxy] = {}
        self.relay_events = Events()
        self.extra: list[dict[str, Any]] = []
        self._stack = AsyncExitStack()

    def alternatives(self, name: str, *proxies: str) -> None:
        """Have the directory name further proxies of ``name``."""
        settings = {
            "operator": "",
            "service": "proxies",
            "environment": "",
            "settings": {"alternatives": list(proxies)},
        }
        record = {"name": name, "section": "settings", "data": [settings], "created_at": "2026-11-22T10:00:00Z"}
        self.extra = [*(one for one in self.extra if (one["name"], one["section"]) != (name, "settings")), record]
        self.publish()

    async def __aenter__(self) -> "Network":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def node(self, name: str, **options: Any) -> Node:
        """Start one of our servers under ``name``."""
        node = Node(name, self.certificates, **options)
        await node.start()
        self._stack.push_async_callback(node.close)
        self.nodes[name] = node
        self.addresses[name] = node.address
        self.pins[name] = [self.certificates.fingerprint(name)]
        self.publish()
        return node

    async def proxy(self, name: str = PROXY, **options: Any) -> PublicProxy:
        """Start a public proxy and its EPS server."""
        node = self.nodes.get(name) or await self.node(name)

        async def call_network(method: str, params: Object, timeout: float) -> Response:
            async with asyncio.timeout(timeout):
                return await node.call(method, params, f"p{id(params)}")

        port, endpoint = options.pop("port", 0), options.pop("endpoint", "127.0.0.1:0")
        relay = PublicProxy(
            node.name,
            call_network,
            internal_bind_address=f"127.0.0.1:{port}",
            internal_endpoint=endpoint,
            emit=self.relay_events,
            limits=RelayLimits(**options),
        )
        await relay.start()
        self._stack.push_async_callback(relay.close)

        async def ask_proxy(request: Request) -> Response:
            try:
                return await relay.handle(Call(request.address.method, request.params, str(request.address)))
            except EpsError as error:
                raise AssertionError("handle never raises") from error

        node.application.answer = ask_proxy
        self.relay = self.relays[name] = relay
        return relay

    def publish(self) -> None:
        """Give every node the directory as it is now."""
        directory = Directory.from_records([parse_change_record(record) for record in self.records()])
        for node in self.nodes.values():
            node.source.current = directory

    def records(self) -> list[dict[str, Any]]:
        """The directory's unsigned records."""
        found = []
        for name in self.addresses:
            found.append((name, "groups", GROUPS.get(name, [HEALTH])))
            found.append((name, "channels", self._channels(name)))
            found.append((name, "services", services(name)))
            found.append((name, "certificates", [pin(value) for value in self.pins[name]]))
        dated = [
            {"name": name, "section": section, "data": data, "created_at": "2026-11-22T10:00:00Z"}
            for name, section, data in found
        ]
        return [*dated, *self.extra]

    def _channels(self, name: str) -> list[dict[str, Any]]:
        settings = {"address": self.addresses[name]}
        if name in self.behind_proxy:
            settings["proxy"] = PROXY
        return [{"type": "grpc_client"}, {"type": "grpc_server", "settings": settings}]

    async def ready(self) -> None:
        """Wait until everybody behind the proxy is connected to its EPS server."""
        for name in self.behind_proxy:
            if name in self.nodes:
                await asyncio.gather(*(node.connected(name) for proxy, node in self.nodes.items() if proxy in GROUPS))


def pin(fingerprint: str) -> dict[str, str]:
    return {"fingerprint": fingerprint, "key_usage": "encryption"}


def services(name: str) -> list[dict[str, Any]]:
    """What ``name`` offers."""
    if name in GROUPS:
        return [service("proxy", {"requestConnection": HEALTH, "_ping": "*"})]
    return [service("base", {"_connectionRequest": PROVIDERS, "_ping": HEALTH, "_directory": HEALTH, "echo": "*"})]


def service(name: str, methods: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "permissions": [],
        "methods": [
            {"name": method, "permissions": [{"group": group, "rights": ["call"]}]} for method, group in methods.items()
        ],
    }
