"""Everybody whom our server would dial: proxies, their relays, a peer. What is timed comes first, calls after it."""

import asyncio
from dataclasses import dataclass, field

from eps.core.entries import Directory
from eps.core.names import Operator
from eps.core.ways import Kind, way_between
from eps.programs.diagnosis import way
from eps.programs.diagnosis.finding import Failure
from eps.programs.diagnosis.probes import Reached, Target, reach
from eps.programs.diagnosis.way import Taken
from eps.programs.wiring.eps import ALPN
from eps.programs.wiring.parts import now
from eps.transport.tls import TlsFiles
from eps.transport.tunnel import RelaySettings


@dataclass(slots=True)
class Others:
    """Those.

    Attributes:
        peer: whose whole way is looked at; "": nobody's.
        opened: makes a channel; None: nobody is dialled, since no directory is known, or our settings don't let us.
        relays: how relays are dialled.
        probes: those under way, of proxies and then of relays.
    """

    directory: Directory
    own: Operator
    peer: Operator
    opened: way.Open | None
    files: TlsFiles = field(default_factory=TlsFiles)
    relays: RelaySettings = field(default_factory=RelaySettings)
    proxies: list[Operator] = field(default_factory=list)
    probes: list["asyncio.Task[Reached]"] = field(default_factory=list)

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """See how far one gets to each address."""
        if self.opened is None:
            return
        self.proxies = way.proxies_of_interest(self.directory, self.own, self.peer)
        targets = [self._server_of(proxy) for proxy in self.proxies]
        targets += [self._relay(proxy, one) for proxy in self.proxies for one in self._relays_of(proxy)]
        self.probes = [tasks.create_task(reach(target, now)) for target in targets]

    def call(self, tasks: asyncio.TaskGroup) -> list["asyncio.Task[Taken]"]:
        """Call each proxy's EPS server."""
        return [tasks.create_task(self._in_time(proxy)) for proxy in self.proxies]

    async def take(self) -> Taken | None:
        """The way to the peer; None, if it is none that is taken from here."""
        kinds = (Kind.DIRECT, Kind.PROXY)
        if not self.peer or way_between(self.directory, self.own, self.peer).kind not in kinds:
            return None
        return await self._in_time(self.peer)

    def of_proxies(self) -> tuple[Reached, ...]:
        """What came of the probes, once they are over."""
        return tuple(probe.result() for probe in self.probes[: len(self.proxies)])

    def of_relays(self) -> tuple[Reached, ...]:
        """And of those of relays."""
        return tuple(probe.result() for probe in self.probes[len(self.proxies) :])

    async def _in_time(self, operator: Operator) -> Taken:
        assert self.opened is not None, "else there is nobody"
        try:
            async with asyncio.timeout(way.WAY_SECONDS):
                return await way.take(self.opened, self.own, operator)
        except TimeoutError:
            failure = Failure(f"no answer within {way.WAY_SECONDS:g} s", "look into its log", "peer")
            return Taken(operator, (), failure=failure)

    def _server_of(self, proxy: Operator) -> Target:
        entry = self.directory.entry(proxy)
        address = entry.grpc_server.address if entry is not None and entry.grpc_server is not None else ""
        return Target(address, proxy, self.files, alpn=ALPN, proxy_url=self._proxy_url(address))

    def _relay(self, proxy: Operator, endpoint: str) -> Target:
        return Target(endpoint, proxy, proxy_url=self._proxy_url(endpoint))

    def _relays_of(self, proxy: Operator) -> list[str]:
        return way.relays_of(self.directory, proxy, self.own, self.relays.trusted_endpoints)

    def _proxy_url(self, address: str) -> str | None:
        return self.relays.proxies.url_for(address) if address else None
