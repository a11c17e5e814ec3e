"""From settings to running proxies; the counterpart of ``wiring`` for the program ``proxy``.

build_public_proxy    datastore → announcements → relay → TLS listener → JSON-RPC server
build_private_proxy   datastore → announcements → forwarder → private proxy → JSON-RPC server
"""

import os

from eps.core.announcement import Keeper
from eps.core.event import Emit
from eps.core.http_proxy import http_proxies
from eps.core.message import Response
from eps.core.names import Object, Operator
from eps.datastores import Datastore
from eps.errors import StartError
from eps.jsonrpc.server import Call, JsonRpcServer
from eps.programs.running.metrics import Metrics
from eps.programs.wiring.servers import (
    Composite,
    add_metrics,
    jsonrpc_client,
    jsonrpc_server_options,
    nothing,
    now,
    open_datastore,
    rate_limits,
    tls_files,
)
from eps.proxy.announcements import AnnouncementBook
from eps.proxy.forwarding import Forwarder, RawForwarder
from eps.proxy.http_forwarding import HttpForwarder
from eps.proxy.jsonrpc_forwarding import JsonRpcForwarder
from eps.proxy.passthrough import Passthrough
from eps.proxy.private import PrivateProxy
from eps.proxy.public import PublicProxy
from eps.settings import ProxySettings, models


class _ProxyServer(Composite):
    """What both proxies have: a store with announcements, a client to their EPS server, and a server for its calls."""

    def __init__(
        self, title: str, settings: models.PublicProxySettings | models.PrivateProxySettings, keeper: Keeper, emit: Emit
    ) -> None:
        super().__init__(title)
        self.name = Operator(settings.name)
        self._given_store = settings.datastore
        self._keeper = keeper
        self._emit = emit
        self._store: Datastore | None = None
        self._client = jsonrpc_client(settings.jsonrpc_client, called=f"the EPS server of {settings.name}")
        given = settings.jsonrpc_server
        options = jsonrpc_server_options(given, self.name, emit)
        self.rpc = JsonRpcServer("jsonrpc", given.bind_address, self._handle, **options)
        self._rpc_address = given.bind_address

    async def _call_network(self, method: str, params: Object, timeout: float) -> Response:
        return await self._client.call(method, params, timeout=timeout)

    async def _open_book(self) -> AnnouncementBook:
        self._store = await open_datastore(self._given_store, shared=self._keeper is Keeper.PUBLIC)
        book = AnnouncementBook(self._store, self._keeper, now, self._emit)
        await book.load()
        return book

    async def _close_store(self) -> None:
        if self._store is not None:
            await self._store.close()

    async def _handle(self, call: Call) -> Response:
        raise NotImplementedError  # each proxy answers its own methods

    def _add_rpc(self) -> None:
        self.add(self.rpc)
        self.listens("JSON-RPC", self._rpc_address, lambda: self.rpc.port)


class PublicProxyServer(_ProxyServer):
    """A public proxy."""

    def __init__(self, settings: models.PublicProxySettings, emit: Emit) -> None:
        super().__init__(f"the public proxy {settings.name}", settings, Keeper.PUBLIC, emit)
        self._settings = settings
        self._passthrough: Passthrough | None = None
        self.proxy = PublicProxy(
            self.name,
            self._call_network,
            internal_bind_address=settings.internal_bind_address,
            internal_endpoint=settings.internal_endpoint,
            accept_timeout=settings.accept_timeout,
            idle_timeout=settings.idle_timeout,
            rate_limits=rate_limits(settings.tcp_rate_limits),
            emit=emit,
        )

    def assemble(self) -> None:
        """Put the parts in the order in which they start."""
        self.add_steps(nothing, self._client.close)
        self.add(self.proxy)
        self.add_steps(self._start_passthrough, self._close_passthrough)
        self._add_rpc()
        self.listens("relay", self._settings.internal_bind_address, lambda: self.proxy.addresses[0][1])
        self.listens("TLS", self._settings.tls_bind_address, lambda: self.passthrough.addresses[0][1])

    @property
    def passthrough(self) -> Passthrough:
        """The listener for TLS clients, once started."""
        assert self._passthrough is not None, "started before anything calls"
        return self._passthrough

    async def _start_passthrough(self) -> None:
        given = self._settings
        self._passthrough = Passthrough(
            self.name,
            self.proxy,
            await self._open_book(),
            self._call_network,
            tls_bind_address=given.tls_bind_address,
            internal_endpoint=given.internal_endpoint,
            accept_timeout=given.accept_timeout,
            rate_limits=rate_limits(given.tcp_rate_limits),
            now=now,
            emit=self._emit,
        )
        await self._passthrough.start()

    async def _close_passthrough(self) -> None:
        if self._passthrough is not None:
            await self._passthrough.close()
        await self._close_store()

    async def _handle(self, call: Call) -> Response:
        return await self.passthrough.handle(call)


class PrivateProxyServer(_ProxyServer):
    """A private proxy."""

    def __init__(self, settings: models.PrivateProxySettings, emit: Emit) -> None:
        super().__init__(f"the private proxy {settings.name}", settings, Keeper.PRIVATE, emit)
        self._settings = settings
        self._proxies = http_proxies(settings.proxy_url, os.environ)
        self.forwarder = _forwarder(settings, emit)
        self._proxy: PrivateProxy | None = None

    def assemble(self) -> None:
        """Put the parts in the order in which they start."""
        self.add_steps(nothing, self._client.close)
        self.add_steps(nothing, self._close_store)
        self.add(self.forwarder)
        self.add_steps(self._start_proxy, self._close_proxy)
        self._add_rpc()

    @property
    def proxy(self) -> PrivateProxy:
        """The methods, once started."""
        assert self._proxy is not None, "started before anything calls"
        return self._proxy

    async def _start_proxy(self) -> None:
        self._proxy = PrivateProxy(
            self.name,
            self._call_network,
            await self._open_book(),
            self.forwarder,
            trusted_endpoints=self._settings.internal_endpoints or (),
            proxies=self._proxies,
            now=now,
            emit=self._emit,
        )
        await self._proxy.start()

    async def _close_proxy(self) -> None:
        if self._proxy is not None:
            await self._proxy.close()

    async def _handle(self, call: Call) -> Response:
        return await self.proxy.handle(call)


def build_public_proxy(settings: ProxySettings, emit: Emit, metrics: Metrics) -> PublicProxyServer:
    """A public proxy from its settings."""
    if settings.public is None:
        raise StartError("the settings have no section «public»", hint="or did you mean: proxy run private?")
    server = PublicProxyServer(settings.public, emit)
    add_metrics(server, settings.metrics, metrics, emit)
    server.assemble()
    return server


def build_private_proxy(settings: ProxySettings, emit: Emit, metrics: Metrics) -> PrivateProxyServer:
    """A private proxy from its settings."""
    if settings.private is None:
        raise StartError("the settings have no section «private»", hint="or did you mean: proxy run public?")
    server = PrivateProxyServer(settings.private, emit)
    add_metrics(server, settings.metrics, metrics, emit)
    server.assemble()
    return server


def _forwarder(settings: models.PrivateProxySettings, emit: Emit) -> Forwarder:
    """Raw without ``tls``, else HTTP, or JSON-RPC if ``jsonrpc_client`` is given (PROTOCOL.md section 8)."""
    inside = settings.internal_endpoint
    if inside.tls is None:
        if inside.jsonrpc_client is not None:
            raise StartError(
                "internal_endpoint.jsonrpc_client needs internal_endpoint.tls",
                hint="JSON-RPC can only be forwarded where TLS ends: give tls a certificate_file and a key_file",
            )
        return RawForwarder(inside.address, idle_timeout=settings.idle_timeout, emit=emit)
    tls = tls_files(inside.tls)
    if inside.jsonrpc_client is not None:
        client = jsonrpc_client(inside.jsonrpc_client, called="the internal server")
        return JsonRpcForwarder(client, inside.jsonrpc_path, tls, timeout=inside.timeout, emit=emit)
    return HttpForwarder(inside.address, tls, timeout=inside.timeout, idle_timeout=settings.idle_timeout, emit=emit)
