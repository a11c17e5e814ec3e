"""A call as the bytes that are sent (PROTOCOL.md section 5)."""

import json
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from typing import Any

from eps.client.endpoint import Place
from eps.client.errors import BadCall, Details
from eps.core.host_port import render_host_port
from eps.core.told_seconds import TIMEOUT

MAX_METHOD_BYTES = 100
"""PROTOCOL.md section 5."""


def plain(value: object) -> Any:
    """What JSON has for a dataclass, a pydantic model, or a date.

    Raises:
        TypeError: it is none of these.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json", by_alias=True)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


_WRITER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=plain)


@dataclass(frozen=True, slots=True)
class Call:
    """What is to be called.

    Attributes:
        trace_id, traceparent: see ``telling``.
        own: our operator, where that is known.
        timeout: seconds that the servers are told; empty: as many as their settings say.
        id: of the request; another one for each attempt, since servers refuse one that is in flight.
    """

    method: str
    params: dict[str, Any]
    trace_id: str
    traceparent: str
    id: str
    own: str = ""
    timeout: str = ""

    def details(self, **more: Any) -> Details:
        """Of an error of this call."""
        return Details(method=self.method, trace_id=self.trace_id, **more)


def body_of(call: Call) -> bytes:
    """The JSON text.

    Raises:
        BadCall: the params can't be written as JSON, or the method is none.
    """
    if not isinstance(call.method, str) or not 0 < len(call.method.encode("utf-8", "replace")) <= MAX_METHOD_BYTES:
        text = f"a method is a text of 1 to {MAX_METHOD_BYTES} bytes, OPERATOR.METHOD"
        raise BadCall(text, call.details(executed="no", code=-32600, reason="bad-request", stage="call", side="ours"))
    envelope = {"jsonrpc": "2.0", "method": call.method, "params": call.params, "id": call.id}
    try:
        return _WRITER.encode(envelope).encode()
    except (TypeError, ValueError, RecursionError) as error:
        text = f"the params of {call.method} can't be written as JSON: {_plain(error)}"
        details = call.details(executed="no", code=-32600, reason="bad-request", stage="call", side="ours")
        raise BadCall(text, details) from None


def _plain(error: Exception) -> str:
    """Without the values themselves."""
    if isinstance(error, UnicodeEncodeError):
        return "a text holds half of a surrogate pair"
    if isinstance(error, RecursionError):
        return "they are nested too deep"
    return "a number is infinite or none" if "float values" in str(error) else str(error)


def head_of(place: Place, length: int, call: Call, *, target: str = "", credentials: str = "") -> bytes:
    """An HTTP request's head.

    Args:
        length: of its body.
        target: what stands in its first line, where that is not the path.
        credentials: for an HTTP proxy that is spoken to directly.
    """
    host = render_host_port(place.host, place.port)
    timeout = f"{TIMEOUT}: {call.timeout}\r\n" if call.timeout else ""
    proxy = f"Proxy-Authorization: Basic {credentials}\r\n" if credentials else ""
    return (
        f"POST {target or place.path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\ntraceparent: {call.traceparent}\r\n{timeout}{proxy}\r\n"
    ).encode("ascii")
