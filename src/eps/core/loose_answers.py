"""Answers of applications that follow JSON-RPC loosely, and yet can mean one thing only. Pure.

An HTTP exchange has one request and one answer, so an answer belongs to its request whatever its id says. Servers in
use take answers without id, with null or another id, and with any HTTP status around valid JSON-RPC (PROTOCOL.md
section 9, «Results»); a byte order mark, or bytes behind the JSON, take nothing from its meaning either. What is no
JSON-RPC answer stays an error: an HTML page, a JSON text about something else, a request sent back, and two answers in
one body.
"""

import re
from collections.abc import Generator
from enum import Enum
from typing import Any

from eps.core.json_steps import end_of_object
from eps.core.jsonrpc_text import Load, is_request, parse_error, strict_loads
from eps.core.message import Response
from eps.errors import BadRequest, DeliveryError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Of UTF-8, which RFC 8259 (section 8.1) forbids to add and allows to ignore."""

_ANOTHER_ANSWER = re.compile(rb'"(?:result|error)"\s*:')


class Flaw(Enum):
    """What is loose about an answer: what the application does, and what to mend."""

    MARK = "puts a byte order mark before its JSON", "send UTF-8 without one"
    SURPLUS = "sends bytes behind its JSON", "end the body with the JSON's last brace"
    NO_ID = "answers without an id", "repeat the request's id in each answer"
    NULL_ID = "answers with the id null", "repeat the request's id in each answer"
    OTHER_ID = "answers with another id than the request's", "repeat the request's id in each answer, as it came"
    STATUS = "sends its answers with another HTTP status than 200", "answer JSON-RPC with HTTP status 200"

    @property
    def what(self) -> str:
        """What the application does."""
        return self.value[0]

    @property
    def hint(self) -> str:
        """What its programmer can do about it."""
        return self.value[1]


def read_loosely(
    body: bytes, request_id: str, *, status: int, max_bytes: int, load: Load | None = None
) -> Generator[None, None, tuple[Response, list[Flaw]] | None]:
    """The answer in a body that :func:`eps.core.jsonrpc_text.parse_response` has refused, and what is loose about it.

    A generator: each ``next`` is a step of some milliseconds at most, but for what ``load`` takes. None is returned if
    there is not exactly one answer.
    """
    flaws = [Flaw.MARK] if body.startswith(BYTE_ORDER_MARK) else []
    text = body.removeprefix(BYTE_ORDER_MARK)
    loads = load or strict_loads
    try:
        answer = loads(text, max_bytes=max_bytes)
    except BadRequest:
        end = yield from end_of_object(text)
        if end is None or _ANOTHER_ANSWER.search(text, end):
            return None
        flaws.append(Flaw.SURPLUS)
        try:
            answer = loads(text[:end], max_bytes=max_bytes)
        except BadRequest:
            return None
    response = _response(answer, request_id, status)
    return (response, flaws + _flaws(answer, request_id, status)) if response is not None else None


def _response(answer: Any, request_id: str, status: int) -> Response | None:
    """What ``answer`` answers; None if it is no JSON-RPC answer."""
    if not isinstance(answer, dict) or is_request(answer):
        return None
    is_ours = answer.get("id") == request_id
    says_so = str(answer.get("jsonrpc", "")).startswith("2.0")
    if answer.get("error") is not None:
        try:
            return Response(request_id, error=parse_error(answer["error"], b"", "", status))
        except DeliveryError:
            return None
    is_good = 200 <= status < 300
    if "result" in answer:
        return Response(request_id, result=answer["result"]) if is_good or is_ours or says_so else None
    return Response(request_id, result={}) if is_good and (is_ours or says_so) else None


def _flaws(answer: Any, request_id: str, status: int) -> list[Flaw]:
    is_error, answered = answer.get("error") is not None, answer.get("id")
    flaws = []
    if answered is None and not is_error:
        flaws.append(Flaw.NULL_ID if "id" in answer else Flaw.NO_ID)
    elif answered not in (None, request_id):
        flaws.append(Flaw.OTHER_ID)
    if not is_error and not 200 <= status < 300:
        flaws.append(Flaw.STATUS)
    return flaws
