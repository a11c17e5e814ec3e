"""From settings to running servers: the one place where the parts are put together.

build_eps      directory source → channels → broker → started in that order, closed in the reverse
build_sd       datastore → service directory → JSON-RPC server

(The proxies are put together in ``proxy_wiring``.)
"""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from eps import __version__
from eps.broker.broker import Broker, BrokerLimits
from eps.broker.internal_methods import InternalMethods
from eps.channels import Deliver, Inbound, Outbound, TunnelAcceptor
from eps.channels.grpc_client import GrpcClientChannel
from eps.channels.grpc_server import GrpcServerChannel
from eps.channels.jsonrpc_client import JsonRpcClientChannel
from eps.channels.jsonrpc_server import JsonRpcServerChannel
from eps.channels.stdout import StdoutChannel
from eps.core.brokering import SERVER_CHANNEL
from eps.core.event import Emit, Level, Notice, Started
from eps.core.host_port import parse_host_port, render_host_port
from eps.core.http_proxy import http_proxies
from eps.core.message import Response
from eps.core.names import Operator
from eps.core.record_text import loads
from eps.core.signature import TrustStore
from eps.datastores import Datastore
from eps.datastores.memory import MemoryDatastore
from eps.datastores.sqlite import SqliteDatastore
from eps.directory import DirectorySource
from eps.directory.api import ApiDirectory
from eps.directory.endpoints import ServiceDirectoryClients
from eps.directory.json_files import JsonDirectory
from eps.directory.service import ServiceDirectory
from eps.errors import Side, StartError
from eps.jsonrpc.client import JsonRpcClient
from eps.jsonrpc.server import Cors, JsonRpcServer
from eps.programs.running.metrics import Metrics, MetricsServer
from eps.programs.running.runtime import Build, Server
from eps.settings import EpsSettings, Loaded, ProxySettings, SdSettings, models
from eps.transport.listener import RateLimit
from eps.transport.tls import TlsFiles, client_context, server_context

S = TypeVar("S", EpsSettings, SdSettings, ProxySettings)

ALPN = ("h2",)

Channel = GrpcClientChannel | GrpcServerChannel | JsonRpcServerChannel | JsonRpcClientChannel | StdoutChannel


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


class _Part(Protocol):
    async def start(self) -> None: ...

    async def close(self) -> None: ...


class Composite:
    """Parts that are started in order and closed in the reverse; what had started is closed if a later one fails.

    Args:
        title: what it is, for the log.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._listening: list[tuple[str, str, Callable[[], int]]] = []
        self._steps: list[tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]] = []
        self._stack = AsyncExitStack()

    def add(self, part: _Part) -> None:
        """Another part, started behind those that are here."""
        self.add_steps(part.start, part.close)

    def add_steps(self, start: Callable[[], Awaitable[None]], close: Callable[[], Awaitable[None]]) -> None:
        """As :meth:`add`, for what is no object with both methods."""
        self._steps.append((start, close))

    def listens(self, what: str, bind_address: str, port: Callable[[], int]) -> None:
        """Tell the log that ``what`` listens on ``bind_address``; ``port`` gives the real one, once started."""
        self._listening.append((what, parse_host_port(bind_address)[0] or "*", port))

    def started(self) -> Started:
        """Who this is and what it has open."""
        ordered = sorted(self._listening, key=lambda item: item[0] == "metrics")  # last: it is no business of peers
        listening = tuple(f"{what} {render_host_port(host, port())}" for what, host, port in ordered)
        return Started(name=self._title, listening=listening)

    async def start(self) -> None:
        """Start all parts; raises what the first failing one does, after closing the others."""
        async with AsyncExitStack() as stack:
            for start, close in self._steps:
                stack.push_async_callback(close)
                await start()
            self._stack = stack.pop_all()

    async def close(self) -> None:
        """Close all parts."""
        await self._stack.aclose()


async def nothing() -> None:
    """A step that does nothing."""


# EPS server


class EpsServer(Composite):
    """An EPS server, with what tests and ``eps demo`` look at."""

    def __init__(self, name: Operator, source: DirectorySource, channels: Sequence[Channel]) -> None:
        super().__init__(name)
        self.name = name
        self.source = source
        self.channels = channels

    def channel(self, kind: type[Any]) -> Any:
        """The channel of that class."""
        return next(channel for channel in self.channels if isinstance(channel, kind))


def build_eps(settings: EpsSettings, emit: Emit, metrics: Metrics) -> EpsServer:
    """An EPS server from its settings; raises StartError naming the file that can't be used."""
    name = Operator(settings.name)
    source = _directory_source(settings, emit)
    channels = [_channel(channel, name, source, settings, emit) for channel in settings.channels]
    tunnels: dict[str, TunnelAcceptor] = {}
    for channel in channels:
        if isinstance(channel, GrpcServerChannel):
            tunnels[SERVER_CHANNEL] = channel
    internal = InternalMethods(name, version=__version__, tunnels=tunnels, now=now)
    outbound: list[Outbound] = [channel for channel in channels if not isinstance(channel, JsonRpcServerChannel)]
    broker = Broker(name, source, outbound, internal, emit=emit, limits=BrokerLimits(settings.call_timeout))
    server = EpsServer(name, source, channels)
    server.add(source)
    add_metrics(server, settings.metrics, metrics, emit)
    for channel, given in zip(channels, settings.channels, strict=True):
        server.add_steps(_starter(channel, broker.deliver), channel.close)
        _tell_listening(server, channel, given)
    return server


def _tell_listening(server: EpsServer, channel: Channel, given: models.Channel) -> None:
    match channel, given:
        case GrpcServerChannel(), models.GrpcServerChannel():
            server.listens("gRPC", given.settings.bind_address, lambda: channel.addresses[0][1])
        case JsonRpcServerChannel(), models.JsonRpcServerChannel():
            server.listens("JSON-RPC", given.settings.bind_address, lambda: channel.port)


def _starter(channel: Channel, deliver: Deliver) -> Callable[[], Awaitable[None]]:
    if isinstance(channel, JsonRpcClientChannel | StdoutChannel):
        return nothing
    inbound: Inbound = channel
    return lambda: inbound.start(deliver)


def _channel(
    channel: models.Channel, name: Operator, source: DirectorySource, settings: EpsSettings, emit: Emit
) -> Channel:
    match channel:
        case models.GrpcClientChannel(settings=given):
            return GrpcClientChannel(
                name,
                source,
                client_context(tls_files(given.tls), ALPN),
                emit=emit,
                use_proxy=given.use_proxy,
                idle_timeout=given.idle_timeout,
                trusted_endpoints=_trusted_endpoints(settings),
                proxies=http_proxies(given.proxy_url, os.environ),
            )
        case models.GrpcServerChannel(settings=given):
            return GrpcServerChannel(
                name,
                source,
                server_context(tls_files(given.tls), ALPN),
                bind_address=given.bind_address,
                emit=emit,
                rate_limits=rate_limits(given.tcp_rate_limits),
                trusted_endpoints=_trusted_endpoints(settings),
                proxies=http_proxies(given.proxy_url, os.environ),
            )
        case models.JsonRpcServerChannel(settings=given):
            return JsonRpcServerChannel(name, given.bind_address, **jsonrpc_server_options(given, name, emit))
        case models.JsonRpcClientChannel(settings=given):
            client = jsonrpc_client(given, called=f"{name}'s application", side=Side.OURS)
            return JsonRpcClientChannel(name, client)
        case models.StdoutChannel():
            return StdoutChannel(name)


def _trusted_endpoints(settings: EpsSettings) -> tuple[str, ...]:
    server = settings.grpc_server
    return (server.internal_endpoints or ()) if server is not None else ()


def _directory_source(settings: EpsSettings, emit: Emit) -> DirectorySource:
    match settings.directory:
        case models.JsonDirectory(settings=given):
            return JsonDirectory(given.path)
        case models.ApiDirectory(settings=given):
            clients = directory_clients(given)
            return ApiDirectory(
                clients.call,
                given.endpoints,
                trust_store(given.ca_certificate_files, given.ca_intermediate_certificate_files),
                emit=emit,
                cache_path=str(Path(settings.state_path) / "directory-cache.sqlite"),
                own_name=Operator(settings.name),
                cache_entries_for=given.cache_entries_for,
                now=now,
                release=clients.close,
            )


def directory_clients(given: models.ApiDirectorySettings) -> ServiceDirectoryClients:
    """Clients for the service directories that settings name."""
    tls = given.jsonrpc_client.tls
    return ServiceDirectoryClients(
        given.endpoints,
        given.server_names,
        tls=tls_files(tls) if tls is not None else None,
        proxies=http_proxies(given.jsonrpc_client.proxy_url, os.environ),
        max_answer=given.max_answer,
    )


# Service directory


class SdServer(Composite):
    """A service directory and its JSON-RPC server."""

    def __init__(self, settings: SdSettings, emit: Emit) -> None:
        super().__init__("the service directory")
        self._settings = settings
        self._emit = emit
        self._trust = trust_store(
            settings.directory.ca_certificate_files, settings.directory.ca_intermediate_certificate_files
        )
        self._store: Datastore | None = None
        self._service: ServiceDirectory | None = None
        given = settings.jsonrpc_server
        options = jsonrpc_server_options(given, None, emit)
        self.rpc = JsonRpcServer(
            "jsonrpc", given.bind_address, self._handle, max_body=given.max_request_body, load=loads, **options
        )
        self.add_steps(self._load, self._unload)
        self.listens("JSON-RPC", given.bind_address, lambda: self.rpc.port)

    async def _load(self) -> None:
        self._store = await open_datastore(self._settings.directory.datastore)
        self._service = ServiceDirectory(self._store, self._trust, now, self._emit)
        await self._service.load()

    async def _unload(self) -> None:
        if self._service is not None:
            await self._service.close()
        if self._store is not None:
            await self._store.close()

    async def _handle(self, call: Any) -> Response:
        assert self._service is not None, "the server accepts nothing before the store is loaded"
        return await self._service.handle(call)


def build_sd(settings: SdSettings, emit: Emit, metrics: Metrics) -> SdServer:
    """A service directory from its settings."""
    server = SdServer(settings, emit)
    add_metrics(server, settings.metrics, metrics, emit)
    server.add(server.rpc)
    return server


async def open_datastore(given: models.Datastore, *, shared: bool = False) -> Datastore:
    """The datastore that settings name.

    Args:
        shared: others may have it open too, as several public proxies have.

    Raises:
        StartError: it can't be opened, or this version doesn't have the type yet.
    """
    match given:
        case models.SqliteDatastore():
            return await SqliteDatastore.open(given.settings.path, shared=shared)
        case models.MemoryDatastore():
            return MemoryDatastore()
        case _:
            raise StartError(
                f"this version has no datastore of type {given.type}", hint="use type: sqlite, with settings: {path: …}"
            )


# Values of settings as the lower layers take them


def tls_files(given: models.TlsSettings, own: Operator | None = None) -> TlsFiles:
    """TLS settings as plain values; ``own`` is always among the allowed names."""
    allowed = given.allowed_names
    if allowed is not None and own is not None:
        allowed = tuple(dict.fromkeys((own, *allowed)))  # without repetitions: refusals list them
    return TlsFiles(
        ca_certificate_files=given.ca_certificate_files,
        certificate_file=given.certificate_file or "",
        key_file=given.key_file or "",
        server_name=given.server_name,
        verify_client=given.verify_client,
        request_client_cert=given.request_client_cert,
        insecure_skip_verify=given.insecure_skip_verify,
        allowed_names=allowed,
    )


def rate_limits(given: Sequence[models.RateLimitSettings]) -> tuple[RateLimit, ...]:
    """``tcp_rate_limits``."""
    return tuple(RateLimit(item.type, item.limit) for item in given)


def trust_store(roots: Sequence[str], intermediates: Sequence[str]) -> TrustStore:
    """Whose signatures count; raises StartError naming a file that can't be used."""
    return TrustStore.from_pem([read_file(path) for path in roots], [read_file(path) for path in intermediates])


def read_file(path: str) -> bytes:
    """A file that settings name; raises StartError if it can't be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}", hint="check the path and its permissions") from error


def jsonrpc_server_options(given: models.JsonRpcServerSettings, own: Operator | None, emit: Emit) -> dict[str, Any]:
    """The keyword arguments of a ``JsonRpcServer``."""
    return {
        "path": given.path,
        "tls": tls_files(given.tls, own) if given.tls is not None else None,
        "cors": Cors(**dict(given.cors)) if given.cors is not None else None,
        "rate_limits": rate_limits(given.tcp_rate_limits),
        "emit": emit,
    }


def jsonrpc_client(given: models.JsonRpcClientSettings, **options: Any) -> JsonRpcClient:
    """A client as settings describe it; ``options`` are further keyword arguments of its."""
    return JsonRpcClient(
        given.endpoint,
        tls=tls_files(given.tls) if given.tls is not None else None,
        proxy_url=given.proxy_url,
        keep_alive=given.keep_alive,
        **options,
    )


def add_metrics(server: Composite, given: models.MetricsSettings | None, metrics: Metrics, emit: Emit) -> None:
    """Serve the metrics, if the settings say where."""
    if given is not None:
        endpoint = MetricsServer(given.bind_address, metrics, emit)
        server.add(endpoint)
        server.listens("metrics", given.bind_address, lambda: endpoint.addresses[0][1])


def from_settings(
    load: Callable[[Mapping[str, str], Path], Loaded[S]], build: Callable[[S, Emit, Metrics], Server]
) -> Build:
    """What ``runtime.run_server`` starts: read a program's settings, then build its server of them."""
    return lambda emit, metrics: build(settings_from(load, emit), emit, metrics)


def settings_from(load: Callable[[Mapping[str, str], Path], Loaded[S]], emit: Emit) -> S:
    """A program's settings, from the files that its environment names; what is doubtful about them is logged.

    Args:
        load: ``load_eps``, ``load_sd`` or ``load_proxy``; raises SettingsError.
    """
    loaded = load(os.environ, Path.cwd())
    for warning in loaded.warnings:
        emit(Notice(level=Level.WARN, text=str(warning)))
    return loaded.settings
