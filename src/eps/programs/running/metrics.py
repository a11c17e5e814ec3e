"""What is counted and what stands, in Prometheus' text format, and the port that serves it, and health besides."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, islice

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from eps import __version__
from eps.core.event import Emit, Event
from eps.jsonrpc.aiohttp_parts import web
from eps.programs.running.families import FAMILIES, Family, Kind, Labels, Program
from eps.programs.running.health import LIVE, READY, Part, is_well, rendered, to_json
from eps.programs.running.log_queue import LineQueue
from eps.programs.running.standing import Standing
from eps.programs.running.tally import Numbers, Tally
from eps.transport.listener import Listener

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

MAX_PEERS = 1_000
"""Of which series are made; the directory names them, and some networks have thousands."""

Rendered = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


def nothing_stands() -> Numbers:
    """Of a program that has not come so far."""
    return {}


class Metrics(Collector):
    """Counts events; an ``Emit``.

    Args:
        log: whose lost and waiting lines are told.

    Attributes:
        health: whether the program is ready for calls, by its parts.
        tally: what was counted.
        standing: makes one value of it, and of what the process is at.
    """

    def __init__(self, log: LineQueue | None = None) -> None:
        self.health: Callable[[], Sequence[Part]] = _starting
        self.tally = Tally()
        self._log = log
        self._program: Program | None = None
        self._standing: Callable[[], Numbers] = nothing_stands
        self._expiries: Mapping[str, float] = {}
        self.standing = Standing(self.numbers)
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(self)

    def __call__(self, event: Event) -> None:
        self.tally(event)
        self.standing.keep(event)

    def belongs_to(self, program: Program, standing: Callable[[], Numbers]) -> None:
        """Show what ``program`` has, and no other; ``standing`` is asked each time for what it is at."""
        self._program = program
        self._standing = standing

    def expire(self, expiries: Mapping[str, float]) -> None:
        """When which setting's certificate ends, in seconds since 1970."""
        self._expiries = expiries

    def life(self) -> list[Part]:
        """Whether the process lives: of one that doesn't, a restart is the cure."""
        is_written = self._log is None or self._log.is_written
        return [Part("event loop"), Part("log", "" if is_written else "nothing writes its lines any more")]

    def numbers(self) -> Numbers:
        """All but the histograms: what was counted, what of it goes on, and what stands now."""
        standing = {**self._own(), **self._standing()}
        counted = {name: dict(series.values) for name, series in self.tally.series.items()}
        for name in counted.keys() & standing.keys():  # bytes of tunnels that are open, say
            for labels, value in standing.pop(name).items():
                counted[name][labels] = counted[name].get(labels, 0) + value
        return {**counted, **standing}

    def _own(self) -> dict[str, Mapping[Labels, float]]:
        """What stands in every program."""
        return {
            "eps_certificate_expiry_timestamp_seconds": {(name,): at for name, at in self._expiries.items()},
            "eps_log_lines_lost": {(): self._log.lost if self._log is not None else 0},
            "eps_log_waiting_characters": {(): self._log.waiting if self._log is not None else 0},
            "eps_build_info": {(self._program or "", __version__): 1},
        }

    def collect(self) -> Iterator[Rendered]:
        """What Prometheus' client renders."""
        numbers = self.numbers()
        for family in FAMILIES.values():
            if self._program is None or self._program in family.programs:
                yield self._histogram(family) if family.kind is Kind.HISTOGRAM else self._plain(family, numbers)

    def _plain(self, family: Family, numbers: Numbers) -> Rendered:
        kind = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
        made: CounterMetricFamily | GaugeMetricFamily = kind(family.name, family.text, labels=family.labels)
        found = numbers.get(family.name, {})
        start = dict.fromkeys(family.starts_of(self._program), 0.0)
        for labels, value in {**start, **_shown(family, found)}.items():
            made.add_metric(labels, value)
        return made

    def _histogram(self, family: Family) -> Rendered:
        made = HistogramMetricFamily(family.name, family.text, labels=family.labels)
        limits = [*map(repr, family.limits), "+Inf"]
        for labels, (*counts, total) in self.tally.buckets[family.name].values.items():
            made.add_metric(labels, list(zip(limits, accumulate(counts), strict=True)), sum_value=total)
        return made

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def _shown(family: Family, found: Mapping[Labels, float]) -> dict[Labels, float]:
    """Beside what is there from the start: other programs' ports are left out as long as nothing is said of them; of
    names there are no more than :data:`MAX_PEERS`."""
    if family.starts:
        return {labels: value for labels, value in found.items() if value}
    return dict(islice(found.items(), MAX_PEERS))


def _starting() -> Sequence[Part]:
    return [Part("program", "it is being started")]


class MetricsServer:
    """``GET /metrics``, ``/livez`` and ``/readyz`` over plain HTTP."""

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
        path = request.path if request.method in ("GET", "HEAD") else ""
        if path == "/metrics":
            return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})
        if path in (LIVE, READY):
            parts = self._metrics.life() if path == LIVE else self._metrics.health()
            return _told(parts, as_json="application/json" in request.headers.get("Accept", ""))
        return web.Response(status=404, text=f"metrics are at /metrics, health is at {LIVE} and {READY}\n")


def _told(parts: Sequence[Part], *, as_json: bool) -> web.Response:
    status, headers = 200 if is_well(parts) else 503, {"Cache-Control": "no-store"}
    if as_json:
        return web.json_response(to_json(parts), status=status, headers=headers)
    return web.Response(text=rendered(parts), status=status, headers=headers)
