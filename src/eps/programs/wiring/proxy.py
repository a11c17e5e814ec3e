"""The two proxies."""

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial

from eps.core.announcement import Keeper
from eps.core.event import Emit
from eps.core.http_proxy import http_proxies
from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.core.names import Object, Operator
from eps.core.trace import IDS, brokering_id, current_id
from eps.datastores import Datastore
from eps.datastores.watched import Watched
from eps.errors import StartError
from eps.jsonrpc.callers import Callers
from eps.jsonrpc.client import JsonRpcClient
from eps.jsonrpc.requests import Requests
from eps.jsonrpc.server import HTTP_ALPN, JsonRpcServer, Serving
from eps.programs.running.draining import Work
from eps.programs.running.health import Part
from eps.programs.running.metrics import Metrics
from eps.programs.running.tally import Numbers
from eps.programs.status.pictures import announcements_of, tunnels_of
from eps.programs.wiring.composite import Apply, Composite, apply_all
from eps.programs.wiring.credentials import Shown, content_digest, own_fingerprints, tls_files
from eps.programs.wiring.parts import (
    add_jsonrpc_server,
    add_metrics,
    add_status,
    jsonrpc_client,
    now,
    open_datastore,
    rate_limits,
    renewed_jsonrpc_server,
    renewed_status,
    serving_of,
    use_keepalive,
)
from eps.proxy.announcements import AnnouncementBook
from eps.proxy.callers import ProxyRegistry
from eps.proxy.forwarding import Forwarder, RawForwarder
from eps.proxy.http_forwarding import HttpForwarder
from eps.proxy.jsonrpc_forwarding import JsonRpcForwarder
from eps.proxy.lame_duck import ask_to_renew, drain
from eps.proxy.passthrough import Passthrough
from eps.proxy.private import PrivateProxy
from eps.proxy.public import PublicProxy
from eps.proxy.relay_limits import RelayLimits
from eps.reasons import Reason
from eps.settings import ProxySettings, models
from eps.transport.own_clock import ClockNews
from eps.transport.splice import sum_of
from eps.transport.tls import server_context
from eps.transport.tunnel import RelaySettings

Section = models.PublicProxySettings | models.PrivateProxySettings


class _ProxyServer(Composite):
    """What both proxies have: a store with announcements, a client to their EPS server, and a server for its calls."""

    def __init__(self, kind: Keeper, section: Section, settings: ProxySettings, emit: Emit, metrics: Metrics) -> None:
        super().__init__(f"the {kind.name.lower()} proxy {section.name}", f"{section.name} (proxy)")
        use_keepalive(settings.keepalive)
        self.name = Operator(section.name)
        self._section = section
        self._keeper = kind
        self._emit = emit
        self._store: Datastore | None = None
        self._book: AnnouncementBook | None = None
        self._is_let_go = False
        self.rpc: JsonRpcServer
        self._client = _eps_client(section)
        self._clock = ClockNews(emit, _called(section))
        self._registry = ProxyRegistry(self.name, self.call_network, time.monotonic, emit)
        add_metrics(self, settings.metrics, metrics, emit)
        add_status(self, settings.status, metrics, self._callers(section), emit)
        self.add_open(self._client.close)
        ours = [section.jsonrpc_client, section.jsonrpc_server]
        self._shown = Shown(self.title, "its EPS server", ours, emit)
        self.add(self._shown)

    def _renewed(self, section: Section) -> list[Callable[[], object]]:
        """What both take over of other settings while they run."""
        return [
            renewed_jsonrpc_server(self.rpc, section.jsonrpc_server, self._callers(section)),
            partial(self._client.become, _eps_client(section)),
            self._shown.renewed(section.jsonrpc_client, section.jsonrpc_server),
        ]

    def picture(self) -> Object:
        return {"announcements": announcements_of(self._book.standing())} if self._book is not None else {}

    async def call_network(self, method: str, params: Object, timeout: float) -> Response:
        """Call others through the EPS server; raises EpsError if no answer comes. What is asked for a traced call has
        an id that says so."""
        trace = current_id()
        request_id = brokering_id(trace, IDS.span()) if trace else ""
        try:
            return await self._client.call(method, params, timeout=timeout, request_id=request_id)
        finally:
            self._clock.look()

    async def let_go(self) -> None:
        """Serve no further call of our EPS server, and let the store go, unless several may have it."""
        self._is_let_go = True
        self.rpc.send_away()
        if self._store is not None and not self._is_shared:
            await self._store.close()

    async def take_back(self) -> None:
        self._is_let_go = False
        if self._book is not None and not self._is_shared:
            self._store = await self._open_store()
            self._book.use(self._store)

    @property
    def _is_shared(self) -> bool:
        """Whether several processes may have the store open."""
        return self._keeper is Keeper.PUBLIC and not isinstance(self._section.datastore, models.FileDatastore)

    async def _open_store(self) -> Datastore:
        store = await open_datastore(self._section.datastore, self._emit, shared=self._keeper is Keeper.PUBLIC)
        return Watched(store, self._emit)

    async def _open_book(self) -> AnnouncementBook:
        self._store = await self._open_store()
        self._book = AnnouncementBook(self._store, self._keeper, now, self._emit)
        await self._book.load()
        return self._book

    async def _close_store(self) -> None:
        if self._store is not None:
            await self._store.close()

    async def _handle(self, call: Call) -> Response:
        raise NotImplementedError  # each proxy answers its own methods

    async def close(self) -> None:
        """Take no new connections, let those that are there end, then close everything.

        Where another process has taken over, our EPS server must come to that one now, not over a connection kept here.
        """
        if self.is_up and self._is_let_go:
            await self.rpc.stop()
        if self.is_up:
            self.cut = await self._drain()
        await super().close()

    def work(self) -> Work:
        return Work(self._connections if self.is_up else 0, "connection", self._section.drain_timeout)

    @property
    def _connections(self) -> int:
        raise NotImplementedError  # each proxy knows its own

    async def _drain(self) -> int:
        raise NotImplementedError  # and what to do about them

    def _serve(self) -> JsonRpcServer:
        given = self._section.jsonrpc_server
        return add_jsonrpc_server(
            self, given, self._handle, serving_of(given, self._callers(self._section)), self._emit
        )

    def _callers(self, section: Section) -> Callers:
        """Who is ours: not who has the key of what a private proxy shows to clients on the Internet, since the server
        behind it may have that, too."""
        ours = own_fingerprints(section.jsonrpc_client, section.jsonrpc_server)
        return Callers(self.name, ours, self._registry)


class PublicProxyServer(_ProxyServer):
    """A public proxy.

    Raises:
        StartError: the settings have no such section, or name a file that can't be used.
    """

    def __init__(self, settings: ProxySettings, emit: Emit, metrics: Metrics) -> None:
        given = settings.public
        if given is None:
            raise StartError("the settings have no section «public»", hint="or did you mean: proxy run private?")
        super().__init__(Keeper.PUBLIC, given, settings, emit, metrics)
        self._given = given
        self._passthrough: Passthrough | None = None
        self.proxy = PublicProxy(
            self.name,
            self.call_network,
            internal_bind_address=given.internal_bind_address,
            internal_endpoint=given.internal_endpoint,
            rate_limits=rate_limits(given.tcp_rate_limits),
            limits=RelayLimits(given.accept_timeout, given.idle_timeout, tells_durations=given.tell_durations),
            emit=emit,
        )
        self.add(self.proxy)
        self.add_steps(self._start_passthrough, self._close_passthrough)
        self.rpc = self._serve()
        self.listens("relay", given.internal_bind_address, lambda: self.proxy.addresses[0][1])
        self.listens("TLS", given.tls_bind_address, lambda: self.passthrough.addresses[0][1])

    @property
    def passthrough(self) -> Passthrough:
        """The listener for TLS clients, once started."""
        assert self._passthrough is not None, "started before anything calls"
        return self._passthrough

    def numbers(self) -> Numbers:
        return relay_numbers(self.proxy)

    def health(self) -> list[Part]:
        is_full = self.proxy.tunnels >= self.proxy.limits.max_tunnels
        return [*super().health(), Part("room for tunnels", Reason.PROXY_FULL.value if is_full else "")]

    def picture(self) -> Object:
        return super().picture() | {"tunnels": tunnels_of(self.proxy, asyncio.get_running_loop().time())}

    async def _start_passthrough(self) -> None:
        given = self._given
        self._passthrough = Passthrough(
            self.proxy,
            await self._open_book(),
            tls_bind_address=given.tls_bind_address,
            rate_limits=rate_limits(given.tcp_rate_limits),
            emit=self._emit,
        )
        await self._passthrough.start()

    @property
    def _connections(self) -> int:
        return self.proxy.tunnels + self.proxy.waiting

    async def _drain(self) -> int:
        proxy = self.proxy
        await self.passthrough.rest()
        proxy.stop()
        await self.passthrough.stop()
        operators = {Operator(name) for names in proxy.relays.values() for name in names}
        return await drain(
            lambda: self._connections,
            self._given.drain_timeout,
            self._emit,
            lambda: ask_to_renew(operators, self.call_network, self._emit),
        )

    async def _close_passthrough(self) -> None:
        if self._passthrough is not None:
            await self._passthrough.close()
        await self._close_store()

    async def _handle(self, call: Call) -> Response:
        return await self.passthrough.handle(call)

    async def let_go(self) -> None:
        """Wait until every offer is met or withdrawn: the tokens are this process's, and so are its relay's ports."""
        self.rpc.send_away()
        await self.passthrough.rest()  # their offers, too, are to be met
        await self.proxy.hand_over()
        await super().let_go()

    async def take_back(self) -> None:
        self.proxy.take_back()
        await super().take_back()

    async def prepare(self, settings: ProxySettings) -> Apply:
        """As :meth:`eps.programs.wiring.eps.EpsServer.prepare`."""
        given = settings.public
        if given is None:
            return partial(apply_all, ())
        limits = rate_limits(given.tcp_rate_limits)
        steps = [*self._renewed(given), *renewed_status(self, settings.status, self._callers(given))]
        return partial(apply_all, [*steps, partial(self.proxy.limit, limits), partial(self.passthrough.limit, limits)])


class PrivateProxyServer(_ProxyServer):
    """A private proxy. Raises as :class:`PublicProxyServer` does."""

    def __init__(self, settings: ProxySettings, emit: Emit, metrics: Metrics) -> None:
        given = settings.private
        if given is None:
            raise StartError("the settings have no section «private»", hint="or did you mean: proxy run public?")
        super().__init__(Keeper.PRIVATE, given, settings, emit, metrics)
        self._given = given
        self.relays = _relays(given)
        self._shown_to_clients = Shown(self.title, "TLS clients", _shown_inside(given), emit)
        self.add(self._shown_to_clients)
        self.forwarder = _forwarder(given, emit)
        self._proxy: PrivateProxy | None = None
        self.add_open(self._close_store)
        self.add(self.forwarder)
        self.add_steps(self._start_proxy, self._close_proxy)
        self.rpc = self._serve()

    @property
    def proxy(self) -> PrivateProxy:
        """The methods, once started."""
        assert self._proxy is not None, "started before anything calls"
        return self._proxy

    def numbers(self) -> Numbers:
        from_callee, from_caller = self.forwarder.moved
        return {
            "eps_tunnels_open": {(): self.forwarder.open},
            "eps_tunnels_waiting": {(): self.proxy.dialling if self.is_up else 0},
            "eps_tunnel_bytes": {("callee",): from_callee, ("caller",): from_caller},
        }

    async def _start_proxy(self) -> None:
        self._proxy = PrivateProxy(
            self.name,
            self.call_network,
            await self._open_book(),
            self.forwarder,
            relays=self.relays,
            emit=self._emit,
        )
        await self._proxy.start()

    @property
    def _connections(self) -> int:
        return self.proxy.dialling + self.forwarder.open

    async def _drain(self) -> int:
        await self.proxy.stop()
        return await drain(lambda: self._connections, self._given.drain_timeout, self._emit, self._end_unused)

    async def _end_unused(self) -> int:
        """No operator is to be asked: it is TLS clients who are connected."""
        await self.forwarder.stop()
        return 0

    async def _close_proxy(self) -> None:
        if self._proxy is not None:
            await self._proxy.close()

    async def _handle(self, call: Call) -> Response:
        return await self.proxy.handle(call)

    async def prepare(self, settings: ProxySettings) -> Apply:
        """As :meth:`eps.programs.wiring.eps.EpsServer.prepare`."""
        given = settings.private
        if given is None:
            return partial(apply_all, ())
        relays, show = _relays(given), self._shown_to_clients.renewed(*_shown_inside(given))
        steps = [*self._renewed(given), *_renewed_forwarder(self.forwarder, given)]
        steps += renewed_status(self, settings.status, self._callers(given))
        return partial(apply_all, [*steps, partial(self.proxy.renew, relays), show])


def relay_numbers(proxy: PublicProxy) -> Numbers:
    """What a public proxy is at, for the metrics."""
    from_callee, from_caller = sum_of(relay.moved for relay in proxy.relays)
    return {
        "eps_tunnels_open": {(): proxy.tunnels},
        "eps_tunnels_limit": {(): proxy.limits.max_tunnels},
        "eps_tunnels_waiting": {(): proxy.waiting},
        "eps_tunnel_bytes": {("callee",): from_callee, ("caller",): from_caller},
    }


def _eps_client(section: Section) -> JsonRpcClient:
    return jsonrpc_client(section.jsonrpc_client, called=_called(section), tells_hour=True)


def _called(section: Section) -> str:
    """How messages name our EPS server."""
    return f"the EPS server of {section.name}"


def _shown_inside(given: models.PrivateProxySettings) -> list[models.ServerTlsSettings]:
    """Whose certificate TLS clients see, if TLS ends here."""
    return [given.internal_endpoint.tls] if given.internal_endpoint.tls is not None else []


def _relays(given: models.PrivateProxySettings) -> RelaySettings:
    return RelaySettings(given.internal_endpoints or (), http_proxies(given.proxy_url, os.environ))


def _renewed_forwarder(forwarder: Forwarder, settings: models.PrivateProxySettings) -> list[Callable[[], object]]:
    inside = settings.internal_endpoint
    match forwarder, inside.tls, inside.jsonrpc_client:
        case HttpForwarder(), models.ServerTlsSettings() as given, None:
            tls = tls_files(given)
            return [partial(forwarder.renew, server_context(tls, HTTP_ALPN), tls)]
        case JsonRpcForwarder(), models.ServerTlsSettings() as given, models.JsonRpcClientSettings() as called:
            tls = tls_files(given)
            mark = content_digest(tls)  # before the files are loaded: if they change just then, it is noticed later
            return [
                partial(forwarder.renew, server_context(tls, HTTP_ALPN), tls, mark),
                partial(forwarder.become, jsonrpc_client(called, called="the internal server")),
            ]
        case _:
            return []


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
        serving = Serving(Requests(inside.jsonrpc_path), tls, mark=content_digest(tls))
        return JsonRpcForwarder(client, serving, timeout=inside.timeout, emit=emit)
    return HttpForwarder(inside.address, tls, timeout=inside.timeout, idle_timeout=settings.idle_timeout, emit=emit)
