"""Prometheus' own tool: what real programs said of themselves, before a fault and during it, as series for its rules.

A recording becomes ten minutes of calm and thirty of the fault: counters that had grown go on growing each minute by as
much, gauges stay as the fault left them, and moments (``…_timestamp_seconds``) keep their distance from the clock.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (tests/packages.sh)"
)

CALM, FAULT = 10, 30
"""Minutes of each."""

MOMENT = "_timestamp_seconds"


def promtool(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        ["promtool", *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


@dataclass(frozen=True)
class Recording:
    """What one program exposed.

    Attributes:
        alerts: that are to fire, and no others.
        calm, fault: the text before, and while it lasts; None: nobody answers.
        at: when both were read, in seconds since 1970.
        stood: moments that did not move while the fault lasted; others move with the clock.
    """

    alerts: set[str]
    calm: str
    fault: str | None
    at: tuple[float, float]
    stood: frozenset[str] = field(default_factory=frozenset)


def samples(text: str) -> dict[str, float]:
    """``name{label="value",…}`` → value, of the text that a program exposes."""
    return {
        sample.name + _labels(sample.labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.startswith("python_")
    }


def _labels(labels: Mapping[str, str]) -> str:
    told = ",".join(
        f"{name}={json.dumps(value)}" for name, value in {**labels, "instance": "x:1", "job": "eps"}.items()
    )
    return f"{{{told}}}"


def unit_tests_of(rules: Path, recordings: Mapping[str, Recording]) -> dict[str, Any]:
    """A file for ``promtool test rules``: of each recording, that its alerts fire during the fault and none before."""
    return {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "name": name,
                "interval": "1m",
                "input_series": list(_series(recording)),
                "promql_expr_test": [_firing(CALM - 1, set()), _firing(CALM + FAULT - 5, recording.alerts)],
            }
            for name, recording in recordings.items()
        ],
    }


def _firing(minute: int, alerts: Iterable[str]) -> dict[str, Any]:
    found = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)]
    expression = 'group by (alertname) (ALERTS{alertstate="firing"})'
    return {"expr": expression, "eval_time": f"{minute}m", "exp_samples": found}


def _series(recording: Recording) -> Iterable[dict[str, str]]:
    before = samples(recording.calm)
    during = samples(recording.fault) if recording.fault is not None else {}
    for name in before | during:
        first, then = before.get(name, during.get(name, 0.0)), during.get(name)
        yield {"series": name, "values": f"{_calm(name, first, recording)} {_fault(name, first, then, recording)}"}
    gone = 0 if recording.fault is None else 1
    yield {"series": "up" + _labels({}), "values": f"1x{CALM - 1} {gone}x{FAULT}"}


def _calm(name: str, value: float, recording: Recording) -> str:
    base = _base(name)
    if not base.endswith(MOMENT):
        return f"{value:.6f}+0x{CALM - 1}"
    moves = 60 if "confirmed" in base else 0
    return f"{value - recording.at[0]:.6f}+{moves}x{CALM - 1}"


def _fault(name: str, first: float, then: float | None, recording: Recording) -> str:
    base = _base(name)
    if then is None:
        return "stale"
    if base.endswith(MOMENT):
        moves = 60 if "confirmed" in base and base not in recording.stood else 0
        start = then - recording.at[1] + (60 * CALM if moves or base in recording.stood else 0)
        return f"{start:.6f}+{moves}x{FAULT}"
    if re.search("_total$|_bucket$|_count$|_sum$", base):
        return f"{then:.6f}+{max(then - first, 0):.6f}x{FAULT}"
    return f"{then:.6f}+0x{FAULT}"


def _base(name: str) -> str:
    return name.partition("{")[0]
