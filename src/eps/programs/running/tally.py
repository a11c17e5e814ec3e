"""Events as numbers: plain ones, so that those of several processes can be put together.

A call costs some dictionary look-ups and additions here, and no name that a peer chooses becomes a label.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from eps.core.event import (
    Announced,
    AuditLinesLost,
    CallFinished,
    DirectoryChanged,
    DirectoryConfirmed,
    DirectoryFailed,
    DirectoryStillFailing,
    Event,
    Forwarding,
    PeerChanged,
    Refused,
    Step,
    StoreError,
    TunnelFinished,
)
from eps.programs.running.families import COUNTED, OTHER, Family, Kind, Labels

JOINED = frozenset({"finished", "reset", "idle"})
"""How tunnels end that there were: a reason, if any, is not why there was none."""

Values = Mapping[Labels, float]
"""A metric's series."""

Numbers = Mapping[str, Values]
"""Metrics by name; see ``running.families``."""


class Series:
    """The series of one counter or gauge."""

    __slots__ = ("_other", "values")

    def __init__(self, family: Family) -> None:
        self.values: dict[Labels, float] = dict.fromkeys(family.starts, 0)
        self._other = (OTHER,) * len(family.labels)

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Count ``amount`` more."""
        values = self.values
        if labels in values:
            values[labels] += amount
        else:
            values[self._other] = values.get(self._other, 0) + amount


class Buckets:
    """The series of a histogram: of each, how many were in which bucket, and their sum.

    Attributes:
        values: labels → counts of the buckets, the last one without a limit, and the sum at the end.
    """

    __slots__ = ("_limits", "values")

    def __init__(self, family: Family) -> None:
        self._limits = family.limits
        self.values: dict[Labels, list[float]] = {labels: [0.0] * (len(family.limits) + 2) for labels in family.starts}

    def observe(self, labels: Labels, seconds: float) -> None:
        """One more; with labels that are not known, none."""
        if (counts := self.values.get(labels)) is not None:
            counts[bisect_left(self._limits, seconds)] += 1
            counts[-1] += seconds


class Tally:
    """Counts events; an ``Emit``.

    Attributes:
        series, buckets: what is counted, by the names of ``families.COUNTED``.
    """

    def __init__(self) -> None:
        histograms = [family for family in COUNTED if family.kind is Kind.HISTOGRAM]
        self.series = {family.name: Series(family) for family in COUNTED if family not in histograms}
        self.buckets = {family.name: Buckets(family) for family in histograms}
        count = {name: each.add for name, each in self.series.items()}
        self._calls, self._failures = count["eps_calls"], count["eps_call_failures"]
        self._seconds = self.buckets["eps_call_seconds"].observe
        self._tunnels, self._bytes = count["eps_tunnels"], count["eps_tunnel_bytes"]
        self._set = {name: self.series[name].values for name in self.series if name.startswith("eps_directory")}
        self._count: dict[type[Event], Callable[[Any], None]] = {
            CallFinished: self._call,
            PeerChanged: lambda event: count["eps_links"]((event.link,), 1 if event.up else -1),
            Step: self._step,
            Forwarding: self._forwarding,
            TunnelFinished: self._tunnel,
            Refused: lambda event: count["eps_refused"]((event.listener, event.why)),
            Announced: lambda event: count["eps_announcements"]((event.outcome,)),
            DirectoryChanged: self._directory,
            DirectoryConfirmed: self._confirmed,
            DirectoryFailed: lambda event: count["eps_directory_failures"](()),
            DirectoryStillFailing: lambda event: count["eps_directory_failures"](()),
            AuditLinesLost: lambda event: count["eps_audit_lines_lost"]((), event.lines),
            StoreError: lambda event: count["eps_store_errors"]((event.operation,)),
        }

    def __call__(self, event: Event) -> None:
        count = self._count.get(type(event))
        if count is not None:
            count(event)

    def _call(self, event: CallFinished) -> None:
        self._calls((event.direction, event.outcome, event.stage, event.fault))
        self._seconds((event.direction,), event.seconds)
        if event.reason:
            self._failures((event.direction, event.reason))

    def _step(self, event: Step) -> None:
        labels = (str(event.step),)
        self.series["eps_broker_steps"].add(labels)
        if event.seconds is not None:
            self.buckets["eps_broker_step_seconds"].observe(labels, event.seconds)

    def _forwarding(self, event: Forwarding) -> None:
        if event.seconds is not None:
            self.buckets["eps_forwarding_seconds"].observe((), event.seconds)

    def _tunnel(self, event: TunnelFinished) -> None:
        self._tunnels((event.outcome,))
        self._bytes(("callee",), event.first_bytes)
        self._bytes(("caller",), event.second_bytes)
        if event.reason and event.outcome not in JOINED:
            self.series["eps_tunnel_failures"].add((event.reason,))

    def _directory(self, event: DirectoryChanged) -> None:
        self._set["eps_directory_operators"][()] = event.operators
        self._set["eps_directory_records"][()] = event.records
        self._set["eps_directory_marked_sections"][()] = event.marked

    def _confirmed(self, event: DirectoryConfirmed) -> None:
        self._set["eps_directory_confirmed_timestamp_seconds"][()] = event.at
