"""TLS passthrough in one process: both proxies, their EPS servers, and the directory between them.

async with PassthroughNetwork(address_of_the_internal_server) as network:
    await network.announce()
    ...  connect to network.tls_port, server name DOMAIN
"""

import itertools
from datetime import UTC, datetime
from typing import Any

from eps.core.announcement import Keeper
from eps.core.http_proxy import NONE, HttpProxies
from eps.core.jsonrpc_text import Call
from eps.core.message import Request, Response
from eps.core.names import Object
from eps.datastores.memory import MemoryDatastore
from eps.proxy.announcements import AnnouncementBook
from eps.proxy.forwarding import Forwarder, RawForwarder
from eps.proxy.http_forwarding import HttpForwarder
from eps.proxy.passthrough import Passthrough
from eps.proxy.private import PrivateProxy
from eps.transport.tls import TlsFiles
from eps.transport.tunnel import RelaySettings
from support.network import HEALTH, PROVIDERS, PROXY, Network, Node, service
from support.testing import tls_files

PRIVATE = "private-proxy-1.ga"
USERS = "proxy-users"
INTERNAL = "internal-server"
DOMAIN = "test.internal-server.local"
SUFFIX = ".internal-server.local"

INTERNAL_TLS = tls_files(INTERNAL, verify_client=False, ca_certificate_files=())
"""The certificate of the internal server, or of the private proxy where TLS ends there."""


def now() -> datetime:
    return datetime.now(UTC)


class PassthroughNetwork(Network):
    """A public and a private proxy, each with its EPS server.

    Args:
        address: the internal server.
        tls: TLS ends at the private proxy; None: it passes through.
        proxies: HTTP proxies for the private proxy's dials.
        dialled: the private proxy's EPS server can be dialled; else it holds a stream to the public proxy's.
    """

    def __init__(
        self, address: str, *, tls: TlsFiles | None = None, proxies: HttpProxies = NONE, dialled: bool = True
    ) -> None:
        super().__init__(behind_proxy=())
        self.proxies = proxies
        self.dialled = dialled
        self.forwarder: Forwarder = RawForwarder(address, emit=self.relay_events)
        if tls is not None:
            self.forwarder = HttpForwarder(address, tls, emit=self.relay_events)
        self._ids = itertools.count()

    async def __aenter__(self) -> "PassthroughNetwork":
        self.relay = relay = await self.proxy()
        public, private = self.nodes[PROXY], await self.node(PRIVATE)
        book = AnnouncementBook(MemoryDatastore(), Keeper.PUBLIC, now, self.relay_events)
        self.public = Passthrough(
            relay,
            book,
            tls_bind_address="127.0.0.1:0",
            emit=self.relay_events,
        )
        await self.public.start()
        self._stack.push_async_callback(self.public.close)
        public.application.answer = _asks(self.public)
        await self.forwarder.start()
        self._stack.push_async_callback(self.forwarder.close)
        self.private = PrivateProxy(
            private.name,
            self._through(private),
            AnnouncementBook(MemoryDatastore(), Keeper.PRIVATE, now, self.relay_events),
            self.forwarder,
            relays=RelaySettings(proxies=self.proxies),
            emit=self.relay_events,
        )
        await self.private.start()
        self._stack.push_async_callback(self.private.close)
        private.application.answer = _asks(self.private)
        self.extra = self._extra(relay.addresses[0][1])
        self.publish()
        if not self.dialled:
            await public.connected(PRIVATE)
        return self

    @property
    def tls_port(self) -> int:
        return self.public.addresses[0][1]

    async def announce(self, domain: str = DOMAIN) -> None:
        """As an operator asks its private proxy."""
        answer = await self.nodes[PRIVATE].call(
            f"{PRIVATE}.announceConnection", {"domain": domain, "proxy": PROXY, "expires_at": None}
        )
        assert answer.error is None and answer.result == "ok", answer

    def _through(self, node: Node) -> Any:
        async def call(method: str, params: Object, timeout: float) -> Response:
            return await node.call(method, params, f"x{next(self._ids)}")

        return call

    def _extra(self, relay_port: int) -> list[dict[str, Any]]:
        public = {"announceConnections": USERS, "getAnnouncements": USERS, "requestConnection": HEALTH}
        private = {"incomingConnection": PROVIDERS, "announceConnection": HEALTH, "getAnnouncements": HEALTH}
        hidden = [] if self.dialled else [_record(PRIVATE, "channels", [{"type": "grpc_client"}])]
        return [
            *hidden,
            _record(PROXY, "services", [service("proxy", public)]),
            _record(PROXY, "settings", [_settings({"internal_endpoints": [f"127.0.0.1:{relay_port}"]})]),
            _record(PRIVATE, "groups", [USERS]),
            _record(PRIVATE, "services", [service("proxy", private)]),
            _record(PRIVATE, "settings", [_settings({"allowed_domains": [SUFFIX]})]),
        ]


def _asks(proxy: Passthrough | PrivateProxy) -> Any:
    async def answer(request: Request) -> Response:
        return await proxy.handle(Call(request.address.method, request.params, str(request.address)))

    return answer


def _record(name: str, section: str, data: Any) -> dict[str, Any]:
    return {"name": name, "section": section, "data": data, "created_at": "2026-11-22T10:00:01Z"}


def _settings(settings: Object) -> Object:
    return {"operator": "", "service": "proxy", "environment": "production", "settings": settings}
