"""The EPS server: directory source → channels → broker; the source starts first, then the channels."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eps import __version__
from eps.broker.broker import Broker, BrokerLimits
from eps.broker.internal_methods import InternalMethods
from eps.channels import Deliver, Inbound, Outbound, TunnelAcceptor
from eps.channels.grpc_client import GrpcClientChannel
from eps.channels.grpc_server import GrpcServerChannel
from eps.channels.jsonrpc_client import JsonRpcClientChannel
from eps.channels.jsonrpc_server import JsonRpcServerChannel
from eps.channels.pool import Keeping
from eps.channels.stdout import StdoutChannel
from eps.core.brokering import SERVER_CHANNEL
from eps.core.event import Emit
from eps.core.http_proxy import http_proxies
from eps.core.names import Operator
from eps.directory import DirectorySource, trusted_roots
from eps.directory.api import ApiDirectory, KeptFiles
from eps.directory.confirmed import AgeLimit
from eps.directory.json_files import JsonDirectory
from eps.directory.pace import Pace
from eps.errors import Side
from eps.programs.running.metrics import Metrics
from eps.programs.wiring.composite import Composite
from eps.programs.wiring.credentials import directory_trust, tls_files
from eps.programs.wiring.parts import (
    add_metrics,
    directory_cache,
    directory_clients,
    jsonrpc_client,
    jsonrpc_server_options,
    now,
    rate_limits,
)
from eps.settings import EpsSettings, models
from eps.transport.tls import client_context, server_context
from eps.transport.tunnel import RelaySettings

ALPN = ("h2",)

LESSONS_FILE = "tunnel-lifetimes.json"
"""In the state folder: how long the tunnels of each proxy live."""

Channel = GrpcClientChannel | GrpcServerChannel | JsonRpcServerChannel | JsonRpcClientChannel | StdoutChannel


class EpsServer(Composite):
    """An EPS server, with what tests and ``eps demo`` look at.

    Raises:
        StartError: naming the file that can't be used.
    """

    def __init__(self, settings: EpsSettings, emit: Emit, metrics: Metrics) -> None:
        super().__init__(settings.name)
        self.name = Operator(settings.name)
        self.source = _directory_source(settings, emit)
        self.channels = [_channel(channel, self.name, self.source, settings, emit) for channel in settings.channels]
        self._broker = _broker(self.name, self.source, self.channels, settings, emit)
        self._drain_timeout = settings.drain_timeout
        self.add(self.source)
        add_metrics(self, settings.metrics, metrics, emit)
        for channel, given in zip(self.channels, settings.channels, strict=True):
            self._add_channel(channel, self._broker.deliver)
            self._tell_listening(channel, given)

    async def close(self) -> None:
        """Take no new calls, let those that run be answered, then close everything.

        Whatever the order of the channels in the settings: a running call needs the way out as well as the way back.
        """
        if self.is_up:
            for channel in self.channels:
                if not isinstance(channel, JsonRpcClientChannel | StdoutChannel):
                    await channel.stop()
            await self._broker.settled(self._drain_timeout)
        await super().close()

    def channel(self, kind: type[Any]) -> Any:
        """The channel of that class."""
        return next(channel for channel in self.channels if isinstance(channel, kind))

    def _add_channel(self, channel: Channel, deliver: Deliver) -> None:
        if isinstance(channel, JsonRpcClientChannel | StdoutChannel):
            self.add_open(channel.close)
        else:
            inbound: Inbound = channel
            self.add_steps(lambda: inbound.start(deliver), inbound.close)

    def _tell_listening(self, channel: Channel, given: models.Channel) -> None:
        match channel, given:
            case GrpcServerChannel(), models.GrpcServerChannel():
                self.listens("gRPC", given.settings.bind_address, lambda: channel.addresses[0][1])
            case JsonRpcServerChannel(), models.JsonRpcServerChannel():
                self.listens("JSON-RPC", given.settings.bind_address, lambda: channel.port)


def _broker(
    name: Operator, source: DirectorySource, channels: Sequence[Channel], settings: EpsSettings, emit: Emit
) -> Broker:
    tunnels: dict[str, TunnelAcceptor] = {}
    for channel in channels:
        if isinstance(channel, GrpcServerChannel):
            tunnels[SERVER_CHANNEL] = channel
    internal = InternalMethods(name, version=__version__, tunnels=tunnels, now=now)
    outbound: list[Outbound] = [channel for channel in channels if not isinstance(channel, JsonRpcServerChannel)]
    return Broker(
        name, source, outbound, internal, emit=emit, limits=BrokerLimits(settings.call_timeout, settings.patience)
    )


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
                relays=_relays(settings, given.proxy_url),
                use_proxy=given.use_proxy,
                keeping=Keeping(given.idle_timeout, Path(settings.state_path) / LESSONS_FILE),
            )
        case models.GrpcServerChannel(settings=given):
            return GrpcServerChannel(
                name,
                source,
                server_context(tls_files(given.tls), ALPN),
                bind_address=given.bind_address,
                emit=emit,
                rate_limits=rate_limits(given.tcp_rate_limits),
                relays=_relays(settings, given.proxy_url),
            )
        case models.JsonRpcServerChannel(settings=given):
            return JsonRpcServerChannel(name, given.bind_address, **jsonrpc_server_options(given, name, emit))
        case models.JsonRpcClientChannel(settings=given):
            client = jsonrpc_client(given, called=f"{name}'s application", side=Side.OURS)
            return JsonRpcClientChannel(name, client, emit)
        case models.StdoutChannel():
            return StdoutChannel(name)


def _relays(settings: EpsSettings, proxy_url: str | None) -> RelaySettings:
    server = settings.grpc_server
    trusted = (server.internal_endpoints or ()) if server is not None else ()
    return RelaySettings(trusted, http_proxies(proxy_url, os.environ))


def _directory_source(settings: EpsSettings, emit: Emit) -> DirectorySource:
    match settings.directory:
        case models.JsonDirectory(settings=given):
            return JsonDirectory(given.path)
        case models.ApiDirectory(settings=given):
            return ApiDirectory(
                directory_clients(given),
                directory_trust(given),
                emit=emit,
                files=KeptFiles(directory_cache(settings), Path(settings.state_path) / trusted_roots.FILE),
                own_name=Operator(settings.name),
                pace=Pace(given.cache_entries_for),
                age_limit=AgeLimit(given.maximum_age, given.when_too_old == "refuse"),
                now=now,
            )
