"""Calls and steps as OpenTelemetry's spans."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from eps.core.event import CallFinished, Level, Notice, Step
from eps.programs.running import spans as module
from eps.programs.running.spans import MAX_WORD_CHARS, NoSpans, OtelSpans, spans_from
from support.testing import Events

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALL = CallFinished(
    direction="local", sender="hd-1", recipient="hd-2", method="_ping", outcome="ok", seconds=0.25, trace=TRACE,
    there=0.125, opened_by="1" * 32,
)  # fmt: skip
FAILED = CallFinished(
    direction="incoming", sender="hd-1", recipient="hd-2", method="work", outcome="error", seconds=1.0, trace=TRACE,
    stage="call", fault="application", code=17, reason="", detail="Mr. Smith has measles",
)  # fmt: skip


def kept(*events: CallFinished | Step) -> InMemorySpanExporter:
    memory = InMemorySpanExporter()
    spans = OtelSpans(SimpleSpanProcessor(memory), lambda: "hd-1", clock=lambda: 1000.0)
    for event in events:
        spans.keep(event)
    return memory


def test_a_call_is_a_span_of_its_trace() -> None:
    (span,) = kept(CALL).get_finished_spans()
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert (span.name, span.start_time, span.end_time) == ("local _ping", 999_750_000_000, 1000_000_000_000)
    assert span.resource.attributes["service.name"] == "hd-1"
    assert dict(span.attributes or {}) == {
        "eps.direction": "local", "eps.sender": "hd-1", "eps.recipient": "hd-2", "eps.method": "_ping",
        "eps.outcome": "ok", "eps.opened_by": "1" * 32, "eps.there": 0.125,
    }  # fmt: skip


def test_a_failure_is_told_without_an_applications_words() -> None:
    (span,) = kept(FAILED).get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    told = dict(span.attributes or {})
    assert (told["eps.code"], told["eps.fault"], told["eps.stage"]) == (17, "application", "call")
    assert "measles" not in span.to_json()


def test_a_step_is_one_where_it_has_a_time() -> None:
    step = Step(step=5, operator="hd-1", peer="proxy-1" * 100, text="connected", seconds=0.5, trace=TRACE)
    untimed = Step(step=1, operator="hd-1", peer="proxy-1", text="sees", trace=TRACE)
    (span,) = kept(step, untimed).get_finished_spans()
    assert span.name == "step 5 of 6"
    assert len(str((span.attributes or {})["eps.peer"])) == MAX_WORD_CHARS


def test_what_has_no_trace_and_what_is_no_call_is_none() -> None:
    untraced = CallFinished(direction="local", sender="a", recipient="b", method="m", outcome="ok", seconds=0.1)
    assert kept(untraced, Notice(text="hello")).get_finished_spans() == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "environment",
    [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {module.ENDPOINTS[0]: "http://x", "OTEL_SDK_DISABLED": "true"}],
    ids=["nothing", "empty", "disabled"],
)
def test_nothing_is_made_where_none_are_wanted(environment: dict[str, str]) -> None:
    spans = spans_from(environment, lambda: "hd-1", Events())
    assert isinstance(spans, NoSpans)
    spans.keep(CALL)
    spans.close()


def test_nothing_is_imported_where_none_are_wanted() -> None:
    code = "import sys, eps.programs.serving, eps.programs.running.spans as s\n"
    code += "s.spans_from({}, str, print); assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    events = Events()
    assert isinstance(spans_from({module.ENDPOINTS[1]: "http://x"}, lambda: "hd-1", events), NoSpans)
    (notice,) = events.of(Notice)
    assert notice.text == "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed"
    assert "eps[otel]" in notice.hint


def test_a_variable_that_the_sdk_refuses_ends_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    events = Events()
    spans = spans_from({module.ENDPOINTS[1]: "http://x"}, lambda: "hd-1", events)
    assert isinstance(spans, NoSpans)
    (notice,) = events.of(Notice)
    assert notice.level is Level.WARN
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry can't be set up" in notice.text
    assert "max_export_batch_size" in notice.text
    assert "correct the OTEL_ variable" in notice.hint


def test_headers_that_can_not_be_read_are_told_without_their_value(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {module.ENDPOINTS[1]: "http://x", module.HEADERS[1]: "a=1, Bearer geheim"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    events = Events()
    spans_from(environment, lambda: "hd-1", events).close()
    (notice,) = events.of(Notice)
    assert notice.text == "OTEL_EXPORTER_OTLP_HEADERS is not all of the form name=value"
    assert "geheim" not in notice.line() + caplog.text


def test_a_variable_that_the_sdk_refuses_while_it_is_imported_ends_no_start() -> None:
    code = "import eps.programs.running.spans as s\n"
    code += "s.spans_from({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x'}, str, lambda event: print(event.line()))"
    environment = {**os.environ, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"}
    ran = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment, stdout=subprocess.PIPE)
    assert b"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in ran.stdout


def test_a_failure_of_spans_is_told_once_and_reaches_no_call() -> None:
    names, events = [], Events()

    def name() -> str:
        names.append("asked")
        raise ValueError("no name")

    spans = spans_from({module.ENDPOINTS[1]: "http://127.0.0.1:9"}, name, events)
    for _ in range(3):
        spans.keep(CALL)
    spans.close()
    (notice,) = events.of(Notice)
    assert notice.text.endswith("no spans are sent until the next start: ValueError: no name")
    assert names == ["asked"]


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, list[bytes]]]:
    """One that takes OTLP over HTTP; its URL, and the bodies that came."""
    bodies: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        bodies.append(await reader.readexactly(size))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", bodies
    finally:
        server.close()


async def test_a_collector_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector() as (url, bodies):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        spans = spans_from({"OTEL_EXPORTER_OTLP_ENDPOINT": url}, lambda: "hd-1", Events())
        for _ in range(3):
            spans.keep(CALL)
        await asyncio.to_thread(spans.close)
    request = ExportTraceServiceRequest.FromString(bodies[0])
    exported = [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in exported} == {TRACE}
    assert len({span.span_id for span in exported}) == 3


def test_a_collector_that_hangs_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.1)
    is_over, ended = threading.Event(), threading.Event()

    class Hanging(SpanProcessor):
        def shutdown(self) -> None:
            is_over.wait(60)
            ended.set()

    OtelSpans(Hanging(), lambda: "hd-1").close()
    assert not ended.is_set(), "it is left alone"
    is_over.set()
    assert ended.wait(60)
