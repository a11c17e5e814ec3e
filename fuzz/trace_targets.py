"""Fuzz targets: traces, which callers give, and what other operators' servers and files tell of them."""

from collections.abc import Hashable
from datetime import UTC, datetime
from typing import Any

from core_targets import WORDS, as_text, texts
from engine import Target

from eps.core.clock import ahead_of, date_in
from eps.core.trace import durations_in, is_trace, seconds_in, trace_of, trace_of_brokering
from eps.programs.diagnosis.paper import Paper
from eps.programs.diagnosis.trace import MAX_SHOWN, export_of, timeline

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE_WORDS = (
    *WORDS,
    *("at", "text", "seconds", "trace", "opened_by", "there", "peer", "more", "server", "durations", "asked", TRACE),
)


def run_traceparent(data: bytes) -> Hashable:
    text = as_text(data)
    trace, brokered, seconds = trace_of(text), trace_of_brokering(text), seconds_in(text)
    assert all(not one or is_trace(one) or one == "0" * 32 for one in (trace, brokered))
    assert seconds is None or seconds >= 0
    return bool(trace), bool(brokered), seconds is None


def run_http_date(data: bytes) -> Hashable:
    ahead = ahead_of(date_in(as_text(data)), NOW)
    return ahead is None


def run_export(value: Any) -> Hashable:
    told = durations_in(value)
    assert all(seconds >= 0 for _, seconds in told)
    if not isinstance(value, dict) or not isinstance(value.get("events"), list):
        return "none", len(told)
    export = export_of(value)
    assert all(one.text.isprintable() and len(one.text) <= 10 * MAX_SHOWN for one in export.events)
    shown = timeline([export], Paper(80))
    assert all(char.isprintable() or char == "\n" for char in shown)
    return len(export.events), bool(export.trace), len(told)


def exports() -> list[Any]:
    call = {
        "at": 1.8e9,
        "text": "a call",
        "seconds": 0.1,
        "trace": TRACE,
        "opened_by": TRACE,
        "there": 0.05,
        "peer": "b",
    }
    return [
        {"server": "hd-1", "trace": TRACE, "events": [call, {"at": 1.8e9, "text": "a step\x1b[31m"}], "more": 2},
        {"events": []},
        {"token": "", "endpoint": "a:1", "durations": {"asked": 0.1, "arrived": "0.05"}},
    ]


TARGETS = [
    Target(
        "traceparent",
        run_traceparent,
        lambda: texts(f"00-{TRACE}-00f067aa0ba902b7-01", f"{TRACE}-00f067aa0ba902b7", "0.25"),
        tokens=texts("-", "ff", "0" * 32, "٣", "\n", "nan", "inf"),
    ),
    Target(
        "http_date",
        run_http_date,
        lambda: texts("HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 11:59:00 GMT\r\n", "HTTP/1.1 400\r\ndate: x\r\n"),
        tokens=texts("\r\n", "Date:", "GMT", "-0000", "+9999", "99999", "٣", "31 Feb"),
    ),
    Target("trace_export", run_export, exports, values=True, tokens=TRACE_WORDS),
]
