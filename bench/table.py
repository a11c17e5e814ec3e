"""The benchmark's result: rows, as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """What a row must show at least (at most, for times and costs); ``of``: "" for the value itself, else the ratio."""

    number: float
    of_ratio: bool = False
    at_most: bool = False

    def met(self, value: float, ratio: float | None) -> bool:
        shown = ratio if self.of_ratio else value
        return shown is not None and (shown <= self.number if self.at_most else shown >= self.number)

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        return f"{sign} {self.number:,g}" + (" ×" if self.of_ratio else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        value: the median of ``values``, in ``unit``.
        beside: what was measured in turns with it; None where there is nothing to compare with.
        ratio: median of the rounds' ratios: each round has both, one after the other.
        cpu: what each process took, in the unit that ``cpu_unit`` says.
        missing: why there is nothing to show.
    """

    name: str
    unit: str
    values: Sequence[float] = ()
    beside: str = ""
    beside_values: Sequence[float] = ()
    targets: Sequence[Target] = ()
    cpu: dict[str, float] = field(default_factory=dict)
    cpu_unit: str = ""
    note: str = ""
    missing: str = ""

    @property
    def value(self) -> float:
        return median(self.values) if self.values else float("nan")

    @property
    def ratio(self) -> float | None:
        if not self.beside_values:
            return None
        return median(mine / other for mine, other in zip(self.values, self.beside_values, strict=True))

    def to_json(self) -> Json:
        targets = [{"target": str(t), "met": t.met(self.value, self.ratio)} for t in self.targets if not self.missing]
        computed = {} if self.missing else {"median": self.value, "ratio": self.ratio}
        return {**asdict(self), "targets": targets, **computed}

    def cells(self) -> tuple[str, ...]:
        """name, measured, beside, ratio, wanted, CPU."""
        if self.missing:
            return self.name, "not measured", "", "", " ".join(map(str, self.targets)), self.missing
        beside = f"{self.beside} {_short(median(self.beside_values))}" if self.beside_values else ""
        ratio = f"{self.ratio:.2f}" if self.ratio is not None else ""
        wanted = "  ".join(f"{t} {'✓' if t.met(self.value, self.ratio) else '✗'}" for t in self.targets)
        cpu = "  ".join(f"{name} {_short(value)}" for name, value in self.cpu.items())
        return self.name, f"{_short(self.value)} {self.unit}", beside, ratio, wanted, f"{cpu} {self.cpu_unit}".strip()


HEAD = ("", "median", "beside it", "ratio", "wanted", "CPU")


def render(title: str, rows: Sequence[Row]) -> str:
    """One section of the table, as text; notes below."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    text = [title]
    text += ["  " + "  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    text += [f"  · {note}" for note in dict.fromkeys(row.note for row in rows if row.note)]
    return "\n".join(text)


def markdown(title: str, rows: Sequence[Row]) -> str:
    """One section for docs/performance.md."""
    lines = [("row", *HEAD[1:]), ("---",) * len(HEAD), *(row.cells() for row in rows)]
    text = [f"### {title}", "", *("| " + " | ".join(line) + " |" for line in lines)]
    notes = [f"- {note}" for note in dict.fromkeys(row.note for row in rows if row.note)]
    return "\n".join([*text, "", *notes, ""] if notes else [*text, ""])


def _short(number: float) -> str:
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"
