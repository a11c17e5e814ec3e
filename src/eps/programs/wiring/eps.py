"""The EPS server: directory source → channels → broker; the source starts first, then the channels."""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from eps import __version__
from eps.broker.broker import Broker, BrokerLimits
from eps.broker.internal_methods import InternalMethods
from eps.channels import Brokered, Deliver, Inbound, Outbound, TunnelAcceptor
from eps.channels.grpc_client import Dialling, GrpcClientChannel
from eps.channels.grpc_server import GrpcServerChannel
from eps.channels.held_streams import Unheld
from eps.channels.jsonrpc_client import JsonRpcClientChannel
from eps.channels.jsonrpc_server import JsonRpcServerChannel
from eps.channels.own_pin import OwnPin
from eps.channels.passed_on import OneOfSeveralServers, WhyAbsent
from eps.channels.siblings import Siblings
from eps.channels.slots import Keeping
from eps.channels.stdout import StdoutChannel
from eps.core.brokering import SERVER_CHANNEL
from eps.core.entries import Directory
from eps.core.event import Emit, ignore
from eps.core.http_proxy import http_proxies
from eps.core.names import Object, Operator
from eps.core.overload import Adaptive, Fixed
from eps.directory import DirectorySource, trusted_roots
from eps.directory.api import ApiDirectory, Following, KeptFiles
from eps.directory.callers import DirectoryRegistry
from eps.directory.confirmed import AgeLimit
from eps.directory.json_files import JsonDirectory
from eps.directory.pace import Pace
from eps.errors import Side, StartError
from eps.jsonrpc.callee import OF_AN_APPLICATION
from eps.jsonrpc.callers import Callers
from eps.jsonrpc.client import JsonRpcClient
from eps.jsonrpc.spread import SpreadClient
from eps.programs.running.draining import Work
from eps.programs.running.health import Part
from eps.programs.running.metrics import Metrics
from eps.programs.running.tally import Numbers
from eps.programs.status.pictures import peers_of, with_streams
from eps.programs.wiring.audit import audit_log
from eps.programs.wiring.composite import Apply, Composite, apply_all
from eps.programs.wiring.credentials import (
    content_digest,
    directory_trust,
    own_fingerprints,
    shown_to_operators,
    tls_files,
)
from eps.programs.wiring.parts import (
    add_metrics,
    add_status,
    directory_cache,
    directory_clients,
    directory_seal_key,
    jsonrpc_client,
    now,
    rate_limits,
    renewed_jsonrpc_server,
    renewed_status,
    serving_of,
    use_keepalive,
)
from eps.programs.wiring.renewal import Renewal
from eps.programs.wiring.siblings import passings, settled, shown, siblings_of
from eps.programs.wiring.told import health_of, streams_told
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
        use_keepalive(settings.keepalive)
        self.name = Operator(settings.name)
        self._digests = _digests(settings)
        self.source = _directory_source(settings, emit)
        self.siblings = siblings_of(settings, emit)
        self.own_pin = OwnPin(self.name, self.source, shown_to_operators(settings), emit)
        made = partial(_channel, own_pin=self.own_pin, source=self.source, settings=settings, siblings=self.siblings)
        self.channels = [made(channel, emit=emit) for channel in settings.channels]
        self.audit = audit_log(settings, emit)
        self._needs_audit = settings.audit is not None and settings.audit.when_failing == "refuse"
        self._broker = _broker(self, settings, emit)
        self._passings = passings(self.channels, self.siblings)
        self._drain_timeout = settings.drain_timeout
        self._shown_peers: tuple[Directory | None, list[Object]] = (None, [])
        if self.audit is not None:
            self.add(self.audit)
        self.add(self.source)
        self.add(self.own_pin)
        add_metrics(self, settings.metrics, metrics, emit)
        add_status(self, settings.status, metrics, _callers(settings, self.name, self.source), emit)
        if self.siblings is not None:
            self.add(self.siblings.leases)
        self._renewal = Renewal(self._stale, emit)
        self.add_open(self._renewal.close)
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
            until = time.monotonic() + self._drain_timeout
            self.cut = await self._broker.settled(self._drain_timeout)
            self.cut += await settled(self._passings, until)
        await self._broker.close()
        await super().close()

    @property
    def _streams(self) -> dict[Operator, Unheld | None]:
        """Why there is no stream to each of those whom we should hold one to; None where there is one."""
        streams: dict[Operator, Unheld | None] = {}
        for channel in self.channels:
            if isinstance(channel, GrpcClientChannel):
                streams.update(channel.streams)
        return streams

    def numbers(self) -> Numbers:
        return {
            "eps_audit_failing": {(): float(self.audit is not None and self.audit.failing)},
            "eps_calls_in_flight": {(): self._running},
            "eps_calls_held": {(): self._broker.held},
            "eps_stream_up": {(peer,): float(why is None) for peer, why in self._streams.items()},
        }

    def health(self) -> list[Part]:
        parts = [*super().health(), *health_of(self.name, self.source, self._streams)]
        if self.audit is not None and self.audit.failing:
            parts.append(Part("audit log", "it can't be written", self._needs_audit))
        return parts

    def picture(self) -> Object:
        directory = self.source.verified
        if self._shown_peers[0] is not directory:
            self._shown_peers = directory, peers_of(directory, self.name)
        return {"peers": with_streams(self._shown_peers[1], self._streams)}

    def status(self) -> Object:
        return super().status() | {"streams": streams_told(self._streams)} | shown(self.siblings)

    @property
    def _running(self) -> int:
        return self._broker.running + sum(one.running for one in self._passings)

    def work(self) -> Work:
        return Work(self._running, "call", self._drain_timeout)

    def take_over(self) -> None:
        if self.siblings is not None:
            self.siblings.leases.take_over()
        for channel in self.channels:
            if isinstance(channel, GrpcClientChannel):
                channel.take_over()

    async def let_go(self) -> None:
        if self.audit is not None:
            await self.audit.let_go()
        if isinstance(self.source, ApiDirectory):
            await self.source.let_go()
        for channel in self.channels:
            if isinstance(channel, JsonRpcServerChannel):
                channel.server.send_away()
            elif isinstance(channel, GrpcClientChannel):
                channel.let_go()

    async def take_back(self) -> None:
        if self.audit is not None:
            await self.audit.take_back()
        if isinstance(self.source, ApiDirectory):
            self.source.take_back()
        for channel in self.channels:
            if isinstance(channel, GrpcClientChannel):
                channel.take_back()

    async def prepare(self, settings: EpsSettings) -> Apply:
        """Make ready what of other settings a running server takes over; see ``Model.alive``.

        Raises:
            StartError: a file that they name can't be used; nothing has changed.
        """
        digests = _digests(settings)
        self._check_pins(settings)
        steps: list[Callable[[], object]] = []
        callers = _callers(settings, self.name, self.source)
        given: dict[str, models.Channel] = {channel.type: channel for channel in settings.channels}
        for channel in self.channels:
            steps += _renewed_channel(channel, given, settings, callers, self._digests != digests)
        steps += renewed_status(self, settings.status, callers)
        steps += await self._renewed_directory(settings)
        if self._digests != digests:
            steps.append(self._renewal.begin)
        steps += [partial(self._broker.limit, _broker_limits(settings)), partial(self._remember, settings)]
        return partial(apply_all, steps)

    def _check_pins(self, settings: EpsSettings) -> None:
        """Raises StartError if others would refuse the next certificate, where they don't refuse the present one."""
        missing = self.own_pin.would_lose(shown_to_operators(settings))
        if missing:
            raise StartError(
                f"the directory pins the certificate in use for {self.name}, and not yet the next one: with that, "
                "others would refuse this server",
                hint=f"have {', '.join(sorted(missing))} submitted as well (key_usage encryption); it is used then",
            )

    async def _renewed_directory(self, settings: EpsSettings) -> list[Callable[[], object]]:
        if not isinstance(settings.directory, models.ApiDirectory) or not isinstance(self.source, ApiDirectory):
            return []
        given = settings.directory.settings
        trust = directory_trust(given)
        refusal = await self.source.refuses(trust)
        if refusal:
            raise StartError(
                f"with the new authorities, the directory that is in use could not be believed: {refusal}",
                hint="keep the former ones in directory.settings until a chain under the new ones is followed",
            )
        return [partial(self.source.renew, directory_clients(given), trust)]

    def _stale(self) -> list[str]:
        """With whom connections are open that were made with another certificate than the present one."""
        found: set[str] = set()
        for channel in self.channels:
            if isinstance(channel, GrpcClientChannel):
                found.update(channel.stale)
            elif isinstance(channel, GrpcServerChannel):
                found.update(channel.endpoint.stale)
        return sorted(found)

    def _remember(self, settings: EpsSettings) -> None:
        self._digests = _digests(settings)
        self._drain_timeout = settings.drain_timeout
        self.own_pin.renew(shown_to_operators(settings))

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


def _broker_limits(settings: EpsSettings) -> BrokerLimits:
    return BrokerLimits(
        settings.call_timeout,
        settings.patience,
        max_call_timeout=settings.max_call_timeout,
        tells_durations=settings.tell_durations,
        makes_ids=settings.siblings is not None,
    )


def _broker(server: EpsServer, settings: EpsSettings, emit: Emit) -> Broker:
    tunnels: dict[str, TunnelAcceptor] = {}
    channels = server.channels
    for channel in channels:
        if isinstance(channel, GrpcServerChannel):
            tunnels[SERVER_CHANNEL] = channel
    others = [server.siblings] if server.siblings is not None else []
    ours = [channel for channel in channels if isinstance(channel, GrpcClientChannel | GrpcServerChannel)]
    brokered: list[Brokered] = [*ours, *others]
    internal = InternalMethods(server.name, version=__version__, tunnels=tunnels, now=now, brokered=brokered)
    outbound: list[Outbound] = [channel for channel in channels if not isinstance(channel, JsonRpcServerChannel)]
    outbound += others
    outbound += [WhyAbsent(channel) for channel in channels if isinstance(channel, OneOfSeveralServers)]
    return Broker(
        server.name,
        server.source,
        outbound,
        internal,
        emit=emit,
        limits=_broker_limits(settings),
        audit=server.audit,
    )


def _channel(
    channel: models.Channel,
    own_pin: OwnPin,
    source: DirectorySource,
    settings: EpsSettings,
    siblings: Siblings | None,
    emit: Emit,
) -> Channel:
    name = own_pin.name
    match channel:
        case models.GrpcClientChannel(settings=given):
            return GrpcClientChannel(
                name,
                source,
                client_context(tls_files(given.tls), ALPN),
                emit=emit,
                dialling=Dialling(_relays(settings, given.proxy_url), given.use_proxy),
                keeping=Keeping(given.idle_timeout, Path(settings.state_path) / LESSONS_FILE, siblings),
                own_pin=own_pin,
            )
        case models.GrpcServerChannel(settings=given):
            kind = GrpcServerChannel if siblings is None else OneOfSeveralServers
            return kind(
                name,
                source,
                server_context(tls_files(given.tls), ALPN),
                bind_address=given.bind_address,
                emit=emit,
                rate_limits=rate_limits(given.tcp_rate_limits),
                relays=_relays(settings, given.proxy_url),
            )
        case models.JsonRpcServerChannel(settings=given):
            serving = serving_of(given, _callers(settings, name, source))
            return JsonRpcServerChannel(name, given.bind_address, serving, emit)
        case models.JsonRpcClientChannel(settings=given):
            limit = Fixed(given.max_concurrent) if given.max_concurrent is not None else Adaptive(time.monotonic())
            return JsonRpcClientChannel(
                name, _application_client(given, name, emit), limit, emit, is_short=given.client_entry == "short"
            )
        case models.StdoutChannel():
            return StdoutChannel(name)


def _callers(settings: EpsSettings, name: Operator, source: DirectorySource) -> Callers:
    return Callers(name, own_fingerprints(*settings.channels, settings.directory), DirectoryRegistry(source))


def _renewed_channel(
    channel: Channel, given: Mapping[str, models.Channel], settings: EpsSettings, callers: Callers, is_other: bool
) -> list[Callable[[], object]]:
    """What has a channel take its new settings over; nothing if they have none for it any more."""
    match channel, given.get(_TYPES[type(channel)]):
        case GrpcClientChannel(), models.GrpcClientChannel(settings=new):
            context = client_context(tls_files(new.tls), ALPN)
            relays = _relays(settings, new.proxy_url)
            return [partial(channel.renew, context, Dialling(relays, new.use_proxy), is_other=is_other)]
        case GrpcServerChannel(), models.GrpcServerChannel(settings=new):
            context = server_context(tls_files(new.tls), ALPN)
            relays, limits = _relays(settings, new.proxy_url), rate_limits(new.tcp_rate_limits)
            return [partial(channel.renew, context, rate_limits=limits, relays=relays, is_other=is_other)]
        case JsonRpcServerChannel(), models.JsonRpcServerChannel(settings=new):
            return [renewed_jsonrpc_server(channel.server, new, callers)]
        case JsonRpcClientChannel(), models.JsonRpcClientChannel(settings=new):
            application = _application_client(new, Operator(settings.name), ignore)
            return [partial(channel.become, application, is_short=new.client_entry == "short")]
        case _:
            return []


_TYPES: Mapping[type[Any], str] = {
    GrpcClientChannel: "grpc_client",
    GrpcServerChannel: "grpc_server",
    OneOfSeveralServers: "grpc_server",
    JsonRpcServerChannel: "jsonrpc_server",
    JsonRpcClientChannel: "jsonrpc_client",
    StdoutChannel: "stdout",
}


def _digests(settings: EpsSettings) -> tuple[bytes, ...]:
    """Of the files with which other operators are spoken to."""
    channels = (settings.grpc_client, settings.grpc_server)
    return tuple(content_digest(tls_files(given.tls)) for given in channels if given is not None)


def _application_client(given: models.ApplicationSettings, name: Operator, emit: Emit) -> JsonRpcClient | SpreadClient:
    make = partial(
        jsonrpc_client, given, f"{name}'s application", Side.OURS, given.max_concurrent, reasons=OF_AN_APPLICATION
    )
    if not given.further_endpoints:
        return make()
    return SpreadClient([make(one_of=endpoint) for endpoint in (given.endpoint, *given.further_endpoints)], emit)


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
                files=KeptFiles(
                    directory_cache(settings),
                    Path(settings.state_path) / trusted_roots.FILE,
                    directory_seal_key(given),
                ),
                following=Following(
                    Operator(settings.name),
                    Pace(given.cache_entries_for),
                    AgeLimit(given.maximum_age, given.when_too_old == "refuse"),
                ),
                now=now,
            )
