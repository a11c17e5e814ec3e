"""What is told of calls: to the log, to the application's hook, and to who traces. Never params or results."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass

from eps.client.errors import CallError
from eps.core.trace import traceparent

LOG = logging.getLogger("eps.client")
"""Calls at level debug, repetitions and what is wrong with certificates above it. No payload at any level."""


@dataclass(frozen=True, slots=True)
class CallReport:
    """A call that has ended.

    Attributes:
        seconds: in all, with pauses.
        attempts: how often it was sent, or tried to.
        error: what it failed with; None: it has a result.
        trace_id: 32 hex digits.
    """

    method: str
    seconds: float
    attempts: int
    error: CallError | None
    trace_id: str


OnCall = Callable[[CallReport], object]
"""An application's hook: called in the thread, or the task, of each call when it has ended. It should be quick."""


def tell(report: CallReport, on_call: OnCall | None) -> None:
    """Log a call, and call the hook, whose own failure is logged and spoils no call."""
    if LOG.isEnabledFor(logging.DEBUG):
        how = "ok" if report.error is None else f"{type(report.error).__name__}: executed {report.error.executed}"
        LOG.debug("%s: %s in %.1f ms, attempts %d, trace %s", report.method, how, report.seconds * 1000,
                  report.attempts, report.trace_id)  # fmt: skip
    if on_call is None:
        return
    try:
        on_call(report)
    except Exception:
        LOG.exception("the on_call hook failed")


def begin_trace(trace_id: str, span: str) -> tuple[str, str]:
    """The trace of a new call, and what is sent of it: that of OpenTelemetry's present span, where the application uses
    that and is in one, else the given one. OpenTelemetry is never loaded here: who is in a span has done so."""
    if "opentelemetry.trace" in sys.modules and (found := _of_open_telemetry()):
        return found
    return trace_id, traceparent(trace_id, span, sampled=False)


def _of_open_telemetry() -> tuple[str, str] | None:
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    trace_id, span = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return trace_id, traceparent(trace_id, span, sampled=context.trace_flags.sampled)
