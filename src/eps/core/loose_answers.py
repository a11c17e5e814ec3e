"""Answers of applications that follow JSON-RPC loosely, and yet can mean one thing only. Pure.

An HTTP exchange has one request and one answer, so an answer belongs to its request whatever its id says. Servers in
use take answers without id, with null or another id, and with any HTTP status around valid JSON-RPC (PROTOCOL.md
section 9, «Results»). A byte order mark, bytes behind the JSON, members in another case (``Result``), and numbers
beside the result that could not travel take nothing from its meaning either. What is no JSON-RPC answer stays an
error: an HTML page, a JSON text about something else, a request sent back, and two answers in one body.
"""

import re
from collections.abc import Generator
from enum import Enum
from typing import Any

from eps.core.json_steps import end_of_object
from eps.core.jsonrpc_text import Load, is_request, parse_error, parse_text
from eps.core.limits import MAX_NESTING
from eps.core.message import Response
from eps.core.names import Object
from eps.core.taking_apart import forget, forget_rest
from eps.core.travel import travels
from eps.core.wording import BYTE_ORDER_MARK
from eps.errors import BadRequest, DeliveryError

_MEMBERS = ("jsonrpc", "id", "method", "result", "error")
_OF_ERRORS = ("code", "message", "data")
_BARE = {"code": -32603, "message": ""}
"""What an error is that says no more: JSON-RPC's «internal error»."""

_ANOTHER_ANSWER = re.compile(rb'"(?:result|error)"\s*:')


class Flaw(Enum):
    """What is loose about an answer: what the application does, and what to mend."""

    MARK = "puts a byte order mark before its JSON", "send UTF-8 without one"
    SURPLUS = "sends bytes behind its JSON", "end the body with the JSON's last brace"
    NO_ID = "answers without an id", "repeat the request's id in each answer"
    NULL_ID = "answers with the id null", "repeat the request's id in each answer"
    OTHER_ID = "answers with another id than the request's", "repeat the request's id in each answer, as it came"
    CASE = "names members of its answers in another case, such as Result", "write result, error and id in small letters"
    BARE = "answers errors without a code or a message", "give each error an integer code and a message"
    PACKED = "compresses its answers, though it was asked not to", "send them as they are: Accept-Encoding is identity"
    NOT_PACKED = "says that its answers are compressed, which they are not", "leave out the header Content-Encoding"
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
    loads = load or _anything
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
    understood = _understood(answer, request_id, status, flaws)
    if understood is None:
        forget(answer)
    else:
        forget_rest(answer)
    return understood


def _understood(answer: Any, request_id: str, status: int, flaws: list[Flaw]) -> tuple[Response, list[Flaw]] | None:
    members = _in_small_letters(answer, _MEMBERS)
    if members is None or not travels([members.get("result"), members.get("error")], MAX_NESTING + 1):
        return None
    response = _response(members, request_id, status, is_empty=not answer)
    if response is None:
        return None
    is_spelled_otherwise = any(name not in answer for name in members) or any(
        name not in members["error"] for name in _error_members(members)
    )
    return response, flaws + [Flaw.CASE] * is_spelled_otherwise + _flaws(members, request_id, status)


def _anything(text: bytes, /, *, max_bytes: int) -> Any:
    """The value of JSON text. Whether it can travel is asked of what will."""
    return parse_text(text, max_bytes)


def _in_small_letters(given: Any, names: tuple[str, ...]) -> Object | None:
    """What ``given`` holds under ``names``, in whatever case; None if it is no object, or holds a name twice."""
    members: Object = {}
    for key, value in given.items() if isinstance(given, dict) else [("", None)]:
        name = key.lower()
        if not key or name in members:
            return None
        if name in names:
            members[name] = value
    return members


def _response(answer: Object, request_id: str, status: int, *, is_empty: bool) -> Response | None:
    """What ``answer`` answers; None if it is no JSON-RPC answer."""
    if is_request(answer):
        return None
    is_ours = answer.get("id") == request_id
    says_so = str(answer.get("jsonrpc", "")).startswith("2.0")
    if answer.get("error") is not None:
        try:
            error = _completed(answer["error"]) if is_ours or says_so else answer["error"]
            return Response(request_id, error=parse_error(error, b"", "", status))
        except DeliveryError:
            return None
    is_good = 200 <= status < 300
    if "result" in answer:
        return Response(request_id, result=answer["result"]) if is_good or is_ours or says_so else None
    return Response(request_id, result={}) if is_good and (is_ours or says_so or is_empty) else None


def _completed(error: Any) -> Any:
    """``error`` with a code and a message, if it is an object that may have them."""
    given = _in_small_letters(error, _OF_ERRORS)
    return error if given is None else _BARE | {name: value for name, value in given.items() if value is not None}


def _error_members(answer: Object) -> Object:
    """What its error holds, by names in small letters; nothing if it has none with members."""
    return _in_small_letters(answer.get("error"), _OF_ERRORS) or {}


def _flaws(answer: Object, request_id: str, status: int) -> list[Flaw]:
    is_error, answered = answer.get("error") is not None, answer.get("id")
    flaws = []
    if answered is None and not is_error:
        flaws.append(Flaw.NULL_ID if "id" in answer else Flaw.NO_ID)
    elif answered not in (None, request_id):
        flaws.append(Flaw.OTHER_ID)
    if isinstance(answer.get("error"), dict) and any(_error_members(answer).get(name) is None for name in _BARE):
        flaws.append(Flaw.BARE)
    if not is_error and not 200 <= status < 300:
        flaws.append(Flaw.STATUS)
    return flaws
