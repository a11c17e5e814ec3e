"""Our EPS server in this process, among foreign ones: the real channels and broker, without settings and programs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from eps.broker.broker import Broker, BrokerLimits
from eps.broker.internal_methods import InternalMethods
from eps.channels import Outbound, Way
from eps.channels.grpc_client import GrpcClientChannel
from eps.channels.grpc_server import GrpcServerChannel
from eps.core.address import parse_address
from eps.core.entries import Directory
from eps.core.message import Request, Response
from eps.core.names import Object, Operator
from eps.core.record import parse_change_record
from eps.errors import EpsError
from eps.transport.tls import TlsFiles, client_context, server_context
from support.foreign.network import Network
from support.testing import Events

WAIT = 20.0
"""Seconds after which something that should happen counts as not happening."""

T = TypeVar("T")

Application = Callable[[str, Object, str], Awaitable[Response]]
"""(method, params, full id) → answer; runs in the test's event loop."""


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Foreign peers block; let them do it elsewhere."""
    return await asyncio.wait_for(asyncio.to_thread(function, *args), WAIT)


@asynccontextmanager
async def foreign_network() -> AsyncIterator[Network]:
    network = Network()
    try:
        yield network
    finally:
        # In a thread: foreign handlers that wait for one of ours must get their answer while they are joined.
        await asyncio.to_thread(network.close)


class NetworkDirectory:
    """The foreign network's directory as ours reads it: a ``DirectorySource`` without a service directory."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._news = asyncio.Event()
        self.current = Directory.empty()
        self._read()
        network.watchers.append(self._read)

    def _read(self) -> None:
        self.current = Directory.from_records([parse_change_record(item) for item in self._network.records()])
        news, self._news = self._news, asyncio.Event()
        news.set()

    @property
    def verified(self) -> Directory:
        return self.current

    async def loaded(self) -> bool:
        return True

    def as_of(self) -> str:
        return "the directory is a test's"

    def too_old(self) -> str:
        return ""

    def failing(self) -> EpsError | None:
        return None

    async def start(self) -> None:
        """It has been read."""

    async def refresh(self) -> None:
        """It is always fresh."""

    async def changed(self, seen: Directory) -> Directory:
        while self.current is seen:
            await self._news.wait()
        return self.current

    async def close(self) -> None:
        """Nothing runs."""


class Watch(Events):
    """Recorded events, and a wait for anything that an event announces."""

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until ``condition`` holds; it is looked at after each event."""
        async with asyncio.timeout(WAIT):
            while not condition():
                self._news.clear()
                await self._news.wait()


class _Local:
    """The last channel: calls for ourselves go to the test's application."""

    def __init__(self, name: str, application: Application | None) -> None:
        self._name, self._application = name, application

    def way_to(self, operator: Operator) -> Way | None:
        return self.deliver if operator == self._name and self._application is not None else None

    async def deliver(self, request: Request, sender: Operator, timeout: float) -> Response:
        assert self._application is not None
        return await self._application(request.address.method, request.params, str(request.address))


class Ours:
    """An EPS server of ours.

    Attributes:
        events: what it reported.
        address: where its gRPC server listens.
    """

    def __init__(self, network: Network, name: str, application: Application | None, **options: Any) -> None:
        self.name = Operator(name)
        self.events = Watch()
        self.source = NetworkDirectory(network)
        certificate, key, root = network.files(name)
        self.files = TlsFiles((str(root),), str(certificate), str(key))
        bind_address = options.pop("bind_address", "127.0.0.1:0")
        call_timeout = options.pop("call_timeout", 10.0)
        self.client = GrpcClientChannel(
            self.name, self.source, client_context(self.files, ["h2"]), emit=self.events, **options
        )
        self.server = GrpcServerChannel(
            self.name,
            self.source,
            server_context(self.files, ["h2"]),
            bind_address=bind_address,
            emit=self.events,
        )
        internal = InternalMethods(
            self.name, version="ours", tunnels={"grpc_server": self.server}, now=lambda: datetime.now(UTC)
        )
        channels: list[Outbound] = [self.client, self.server, _Local(name, application)]
        self.broker = Broker(
            self.name, self.source, channels, internal, emit=self.events, limits=BrokerLimits(call_timeout)
        )

    @property
    def address(self) -> str:
        host, port = self.server.addresses[0]
        return f"{host}:{port}"

    async def call(self, target: str, params: Object | None = None, local_id: str = "1") -> Response:
        """A call of our own applications to ``OPERATOR.METHOD``."""
        request = Request(parse_address(f"{target}({local_id})"), params or {})
        return await asyncio.wait_for(self.broker.deliver(request, self.name), WAIT)

    async def wait_connected(self, operator: str, *, connected: bool = True) -> None:
        """Until ``operator`` holds a stream to us (or none)."""
        await self.events.until(lambda: (self.server.way_to(Operator(operator)) is not None) == connected)


@asynccontextmanager
async def ours(
    network: Network, name: str, application: Application | None = None, **options: Any
) -> AsyncIterator[Ours]:
    """Run one of our servers and publish its address."""
    server = Ours(network, name, application, **options)
    try:
        await server.server.start(server.broker.deliver)
        network.publish(**{name: server.address})
        await server.client.start(server.broker.deliver)
        yield server
    finally:
        await server.client.close()
        await server.server.close()


async def echo(method: str, params: Object, request_id: str) -> Response:
    """An application: tells what it was asked."""
    said = {"method": method, "id": request_id, "said": params.get("say"), "from": params["_client"]["name"]}
    return Response(request_id, said)
