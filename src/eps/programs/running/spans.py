"""Calls and steps as OpenTelemetry's spans, for whoever has a collector: behind the extra ``otel``.

    event ─▶ span ─▶ bounded queue ─▶ a thread of the SDK's ─▶ OTLP over HTTP ─▶ the collector

Where the environment names no collector, nothing of OpenTelemetry is imported, and nothing is made. The SDK reads its
own variables (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_BSP_MAX_QUEUE_SIZE``, ``OTEL_SERVICE_NAME`` …); what its queue
has no room for is dropped. A span's trace is the call's (``core.trace``), so that of ``traceparent``. Spans have the
words that metrics and logs have, and operators' names; never params, results, or an application's own words.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from eps.core.event import CallFinished, Emit, Event, Level, Notice, Step
from eps.core.trace import is_trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Either is set where spans are wanted."""

HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
"""They hold secrets. The SDK logs one that it can't read, with its value, under :data:`LOGS_SECRETS`."""

LOGS_SECRETS = "opentelemetry.util.re"

CLOSE_SECONDS = 3.0
"""For the last spans to be sent: a collector that is away shall not hold up the end of a program."""

MAX_WORD_CHARS = 200
"""Of an operator's or a method's name in a span."""

MAX_ERROR_CHARS = 300
"""Of what the SDK says of its failure, in a log line: a sentence or two."""


class Spans(Protocol):
    """Takes events; what :func:`spans_from` gives."""

    def keep(self, event: Event) -> None:
        """Export what has a trace."""
        ...

    def close(self) -> None:
        """Send what is left, for :data:`CLOSE_SECONDS` at most; to be called in a thread."""
        ...


class NoSpans:
    """Where none are wanted."""

    def keep(self, event: Event) -> None:
        pass

    def close(self) -> None:
        pass


def spans_from(environment: Mapping[str, str], service: Callable[[], str], emit: Emit) -> Spans:
    """What the environment says; none where it can't be followed, whatever the SDK makes of it.

    Args:
        service: the server's name, asked when there is something to export.
        emit: told if spans are wanted and can't be had.
    """
    endpoint = next((name for name in ENDPOINTS if environment.get(name)), "")
    if not endpoint or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return NoSpans()
    logging.getLogger(LOGS_SECRETS).setLevel(logging.CRITICAL)
    for name in HEADERS:
        if any(part.strip() and "=" not in part for part in environment.get(name, "").split(",")):
            hint = "separate several by commas; what is no header is left out"
            emit(Notice(level=Level.WARN, text=f"{name} is not all of the form name=value", hint=hint))
    try:  # the SDK reads its variables while it is imported, too
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        processor = BatchSpanProcessor(OTLPSpanExporter())
    except ImportError:
        hint = "install the extra: pip install 'eps[otel]'; or unset it"
        emit(Notice(level=Level.WARN, text=f"{endpoint} is set, but OpenTelemetry is not installed", hint=hint))
        return NoSpans()
    except Exception as error:  # noqa: BLE001  # whatever it makes of them: calls need no spans
        text = f"{endpoint} is set, but OpenTelemetry can't be set up, so no spans are sent: {_told(error)}"
        hint = f"correct the OTEL_ variable of the environment that this is about, or unset {endpoint}, and restart"
        emit(Notice(level=Level.WARN, text=text, hint=hint))
        return NoSpans()
    return GuardedSpans(OtelSpans(processor, service, named="OTEL_SERVICE_NAME" in environment), emit)


class GuardedSpans:
    """Keeps a fault of ``spans`` from the calls that they tell of: the first one is told, and ends the keeping.

    Args:
        emit: told of it; must not lead back here.
    """

    def __init__(self, spans: Spans, emit: Emit) -> None:
        self._spans = spans
        self._emit = emit
        self._failed = False

    def keep(self, event: Event) -> None:
        """See :class:`Spans`; raises nothing."""
        if self._failed:
            return
        try:
            self._spans.keep(event)
        except Exception as error:  # noqa: BLE001  # of the SDK, about which nothing can be known here
            self._failed = True
            text = f"OpenTelemetry failed, so no spans are sent until the next start: {_told(error)}"
            hint = "calls go on without; look at the OTEL_ variables of the environment, and at OpenTelemetry's version"
            self._emit(Notice(level=Level.WARN, text=text, hint=hint))

    def close(self) -> None:
        """See :class:`Spans`."""
        self._spans.close()


class OtelSpans:
    """Gives spans to a processor of OpenTelemetry's.

    Args:
        service: see :func:`spans_from`.
        named: the environment has a name for it.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        processor: "SpanProcessor",
        service: Callable[[], str],
        *,
        named: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._processor = processor
        self._service = service
        self._named = named
        self._clock = clock
        self._make: Callable[[str, str, float, Mapping[str, str | int | float], bool], ReadableSpan] | None = None

    def keep(self, event: Event) -> None:
        """Hand over a call, or a step that took a known time."""
        if isinstance(event, CallFinished) and is_trace(event.trace):
            self._hand_over(event.trace, f"{event.direction} {_word(event.method)}", event.seconds, _of_call(event))
        elif isinstance(event, Step) and event.seconds is not None and is_trace(event.trace):
            about: dict[str, str | int | float] = {"eps.step": event.step, "eps.peer": _word(event.peer)}
            self._hand_over(event.trace, f"step {event.step} of 6", event.seconds, about)

    def _hand_over(self, trace: str, name: str, seconds: float, about: Mapping[str, str | int | float]) -> None:
        if self._make is None:
            self._make = self._maker()
        failed = about.get("eps.outcome", "ok") != "ok"
        self._processor.on_end(self._make(trace, name, seconds, about, failed))

    def _maker(self) -> "Callable[[str, str, float, Mapping[str, str | int | float], bool], ReadableSpan]":
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, TraceFlags
        from opentelemetry.trace.status import Status, StatusCode

        name = self._service()
        ours = {"service.instance.id": name} | ({} if self._named else {"service.name": name})
        resource, scope = Resource.create(ours), InstrumentationScope("eps")
        flags = TraceFlags(TraceFlags.SAMPLED)

        def make(
            trace: str, name: str, seconds: float, about: Mapping[str, str | int | float], failed: bool
        ) -> ReadableSpan:
            ended = int(self._clock() * 1e9)
            return ReadableSpan(
                name,
                SpanContext(int(trace, 16), secrets.randbits(64) or 1, is_remote=False, trace_flags=flags),
                resource=resource,
                attributes=about,
                status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
                start_time=ended - int(seconds * 1e9),
                end_time=ended,
                instrumentation_scope=scope,
            )

        return make

    def close(self) -> None:
        """See :class:`Spans`. The SDK would wait for half a minute."""
        ending = threading.Thread(target=self._processor.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(CLOSE_SECONDS)


def _of_call(event: CallFinished) -> dict[str, str | int | float]:
    words = {
        "eps.direction": event.direction,
        "eps.sender": _word(event.sender),
        "eps.recipient": _word(event.recipient),
        "eps.method": _word(event.method),
        "eps.outcome": event.outcome,
        "eps.stage": event.stage,
        "eps.fault": event.fault,
        "eps.reason": event.reason,
        "eps.opened_by": event.opened_by,
    }
    about: dict[str, str | int | float] = {key: value for key, value in words.items() if value}
    if event.code:
        about["eps.code"] = event.code
    return about if event.there is None else about | {"eps.there": event.there}


def _word(text: str) -> str:
    return text[:MAX_WORD_CHARS]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]
