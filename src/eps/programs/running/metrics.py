"""Events as Prometheus metrics, and the endpoint that serves them."""

import asyncio
import socket
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from eps.core.event import (
    Announced,
    CallFinished,
    DirectoryChanged,
    DirectoryConfirmed,
    DirectoryFailed,
    Emit,
    Event,
    PeerChanged,
    Refused,
    Step,
    TunnelFinished,
)
from eps.transport.listener import Listener

CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: from a call on a kept connection to the usual deadline."""

LINKS = ("direct", "tunnel", "stream", "incoming", "connected")
"""The kinds of links (core.event.PeerChanged)."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

M = TypeVar("M", Counter, Gauge, Histogram)


class Metrics:
    """Counts events; an ``Emit``. Labels hold fixed words only, never names that a peer chooses."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second time series for each counter, of no use to anybody here
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._calls = _labelled(
            self._counter("eps_calls", "Calls that ended, by outcome", ["direction", "outcome", "stage", "fault"])
        )
        self._seconds = _labelled(
            Histogram(
                "eps_call_seconds",
                "Seconds from a call to its answer",
                ["direction"],
                buckets=CALL_BUCKETS,
                registry=self.registry,
            )
        )
        self._links = _labelled(self._gauge("eps_links", "Links with peers that are up", ["link"]))
        for link in LINKS:
            self._links(link)  # shown as 0 from the start, so that an alert needs no absent()
        self._steps = _labelled(self._counter("eps_broker_steps", "Steps of brokered connections done here", ["step"]))
        self._tunnels = _labelled(
            self._counter("eps_tunnels", "Relayed connections that ended, by outcome", ["outcome"])
        )
        self._bytes = _labelled(self._counter("eps_tunnel_bytes", "Bytes relayed", ["from"]))
        self._refused = _labelled(self._counter("eps_refused", "Connections turned away", ["listener", "why"]))
        self._announced = _labelled(self._counter("eps_announcements", "Domains announced, by outcome", ["outcome"]))
        self._operators = self._gauge("eps_directory_operators", "Operators in the verified directory", [])
        self._records = self._gauge("eps_directory_records", "Records in the verified directory", [])
        self._marked = self._gauge(
            "eps_directory_marked_sections",
            "Sections that are not what their last record says",
            [],
        )
        self._confirmed = self._gauge(
            "eps_directory_confirmed_timestamp_seconds", "When a service directory last confirmed the directory", []
        )
        self._failures = self._counter("eps_directory_failures", "Directory updates that failed", [])
        self._count: dict[type[Event], Callable[..., None]] = {
            CallFinished: self._call,
            PeerChanged: self._peer,
            Step: lambda event: self._steps(event.step).inc(),
            TunnelFinished: self._tunnel,
            Refused: lambda event: self._refused(event.listener, event.why).inc(),
            Announced: lambda event: self._announced(event.outcome).inc(),
            DirectoryChanged: self._directory,
            DirectoryConfirmed: lambda event: self._confirmed.set(event.at),
            DirectoryFailed: lambda event: self._failures.inc(),
        }

    def __call__(self, event: Event) -> None:
        count = self._count.get(type(event))
        if count is not None:
            count(event)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: list[str]) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _call(self, event: CallFinished) -> None:
        self._calls(event.direction, event.outcome, event.stage, event.fault).inc()
        self._seconds(event.direction).observe(event.seconds)

    def _peer(self, event: PeerChanged) -> None:
        self._links(event.link).inc(1 if event.up else -1)

    def _tunnel(self, event: TunnelFinished) -> None:
        self._tunnels(event.outcome).inc()
        self._bytes("callee").inc(event.first_bytes)
        self._bytes("caller").inc(event.second_bytes)

    def _directory(self, event: DirectoryChanged) -> None:
        self._operators.set(event.operators)
        self._records.set(event.records)
        self._marked.set(event.marked)


def _labelled(metric: M) -> Callable[..., M]:
    """What counts under given label values: looked up once for each, as that costs more than to count."""
    return cache(metric.labels)


class MetricsServer:
    """``GET /metrics`` over plain HTTP."""

    def __init__(self, bind_address: str, metrics: Metrics, emit: Emit) -> None:
        self._metrics = metrics
        self._server: web.Server | None = None
        self._listener = Listener("metrics", bind_address, self._accept, emit=emit)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return self._listener.addresses

    async def start(self) -> None:
        """Bind; raises StartError if the port is taken."""
        self._server = web.Server(self._answer, access_log=None)
        await self._listener.start()

    async def close(self) -> None:
        """Stop."""
        await self._listener.close()
        if self._server is not None:
            await self._server.shutdown(1.0)

    async def _accept(self, sock: socket.socket) -> None:
        assert self._server is not None
        await asyncio.get_running_loop().connect_accepted_socket(self._server, sock)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.path != "/metrics" or request.method not in ("GET", "HEAD"):
            return web.Response(status=404, text="metrics are at /metrics\n")
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})
