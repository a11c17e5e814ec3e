"""JSON-RPC 2.0 as the network speaks it: bytes ↔ messages (PROTOCOL.md section 5). Pure; no HTTP here.

A request's bytes go through three gates: size, syntax (jiter: UTF-8, no duplicate keys, no NaN, no lone surrogates),
and values (integers, infinities, nesting). What passes can be carried over gRPC without loss. The functions that parse
raise nothing but classes of ``eps.errors``.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import jiter
import orjson

from eps.core.json_pieces import PIECE_BYTES, DeeperThan, is_heavy, parse_in_pieces, write_in_pieces
from eps.core.limits import MAX_MESSAGE_BYTES, MAX_NESTING
from eps.core.message import Asker, Error, Response, unwrap
from eps.core.minus_zero import show_minus_zeros
from eps.core.names import Object
from eps.core.place import place_below
from eps.core.taking_apart import forget, forget_rest
from eps.core.travel import SHOWN_CHARS, TOO_DEEP_AT, cut, first_problem, too_deep, travels
from eps.core.wording import counted
from eps.errors import (
    AnswerRefused,
    BadRequest,
    DeliveryError,
    InternalError,
    NotJson,
    OutcomeUnknown,
    TooDeep,
    TooLarge,
)
from eps.reasons import Reason

CANCEL = "_cancel"
"""The method of our EPS server's port by which applications cancel calls: it makes room, so it is never refused for
want of it. A name without a dot is no operator's."""

MAX_METHOD_BYTES = 100
MAX_ID_BYTES = 1024
"""PROTOCOL.md section 5."""

SEARCHED_BYTES = 64 * 1024
"""Of JSON text, for the place of what the parser has found too deep: a millisecond's work."""

EXPECTED_CONTENT_TYPE = "application/json"

_IS_IT_ONE = "check that the endpoint, with its path, is that of a JSON-RPC server"
_ENVELOPE = ("jsonrpc", "id", "result", "error", "Result", "Error")
_WRAP_IT = "its programmer must put what it answers under result, beside jsonrpc and id; and check the endpoint's path"

_INT_ID = re.compile(r"n:-?[0-9]+")
_KINDS = (((b"<!doctype html", b"<html"), "HTML"), ((b"<",), "XML"), ((b"\x1f\x8b",), "compressed data"))
_ESCAPED_ID = re.compile(r"(n+):-?[0-9]+")


class Load(Protocol):
    """Reads JSON that strangers sent: :func:`strict_loads` is one. Raises nothing but ``errors.BadRequest``."""

    def __call__(self, body: bytes, /, *, max_bytes: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it arrived by JSON-RPC.

    Attributes:
        method: 1 to 100 bytes, as the caller wrote it (``hd-2._ping``).
        params: the caller's object.
        id: in the form it has inside the network (:func:`network_id`), never empty; ``Response.id`` repeats it.
        client_names: names of the client's verified certificate, CN first; empty without one.
        asker: who waits for the answer.
    """

    method: str
    params: Object
    id: str
    client_names: tuple[str, ...] = ()
    asker: Asker = field(default_factory=Asker, compare=False, repr=False)


def strict_loads(body: bytes, *, max_bytes: int = MAX_MESSAGE_BYTES) -> Any:
    """The value of untrusted JSON text, without anything that doesn't survive the network.

    Raises:
        TooLarge: more than ``max_bytes``; nothing is parsed then.
        NotJson: not UTF-8, not JSON, NaN, Infinity, a lone surrogate.
        BadRequest: a duplicate key, an integer beyond ±2^53, a number beyond a double's range, or too deep nesting;
            the message has the path.
    """
    value = parse_text(body, max_bytes)
    try:
        check_value(value, "", MAX_NESTING + 1)  # one for the answer around the result
    except BadRequest:
        forget(value)
        raise
    return value


def check_value(value: Any, place: str, most: int = MAX_NESTING) -> None:
    """Refuse integers, infinities and nesting that can't travel; ``place`` is where ``value`` stands, for the message.

    Args:
        most: objects and lists that may be inside each other.

    Raises:
        BadRequest: with the place of the first offender.
    """
    if not travels(value, most):  # only now is it worth knowing where
        raise first_problem(value, place, most) or BadRequest(f"{place or 'the value'} can't travel")


def parse_request(
    body: bytes,
    content_type: str | None,
    *,
    max_bytes: int = MAX_MESSAGE_BYTES,
    new_id: Callable[[], str] = lambda: secrets.token_hex(16),
    load: Load | None = None,
    client_names: tuple[str, ...] = (),
) -> Call:
    """The request in an HTTP POST's body.

    Args:
        content_type: the header's value; parameters and case don't matter.
        new_id: makes the id of a request that comes without one.
        load: reads the JSON; the usual way, if None, which takes only what can travel over gRPC.
        client_names: see :class:`Call`.

    Raises:
        NotJson: another content type, or the body isn't a JSON object.
        BadRequest: a member is missing, has the wrong type or is too long (also the reasons of ``strict_loads``).
        TooLarge: a body of more than ``max_bytes``.
    """
    kind = (content_type or "").split(";")[0].strip().lower()
    if kind != EXPECTED_CONTENT_TYPE:
        raise NotJson(
            f"the request's Content-Type is {cut(kind) or 'absent'}, not {EXPECTED_CONTENT_TYPE}",
            hint="send the header Content-Type: application/json",
        )
    envelope = load(body, max_bytes=max_bytes) if load is not None else parse_text(body, max_bytes)
    with _needed(envelope, body):
        call = _call(envelope, new_id, client_names)
        if load is None:
            check_value(call.params, "params")
        return call


def _call(envelope: Any, new_id: Callable[[], str], client_names: tuple[str, ...]) -> Call:
    if not isinstance(envelope, dict):
        raise NotJson(f"the body is {_kind(envelope)}, not an object", hint="send one request per POST; no batches")
    if envelope.get("jsonrpc") != "2.0":
        raise BadRequest('"jsonrpc" must be "2.0"', hint='add "jsonrpc": "2.0" to the request')
    method = envelope.get("method")
    if not isinstance(method, str) or not 1 <= len(method.encode()) <= MAX_METHOD_BYTES:
        raise BadRequest(f'"method" must be a string of 1 to {MAX_METHOD_BYTES} bytes', hint="name it OPERATOR.METHOD")
    params = envelope.get("params")
    if not isinstance(params, dict):
        raise BadRequest(f'"params" must be an object, not {_kind(params)}', hint='send "params": {} if there are none')
    return Call(method, params, network_id(envelope.get("id")) or new_id(), client_names)


@contextmanager
def _needed(message: Any, body: bytes) -> Iterator[None]:
    """What is taken out of a ``message`` inside is kept; the rest, or all if it is refused, is forgotten, in pieces
    where ``body`` is large."""
    try:
        yield
    except BaseException:
        forget(message)
        raise
    if len(body) > PIECE_BYTES and isinstance(message, dict):
        forget_rest(message)


def network_id(value: Any) -> str:
    """A JSON-RPC id in its form inside the network; "" where there is none and a random one is due.

    Integers become ``n:7``; a string that looks like one of those gets its n's doubled, so that it comes back as it
    was.

    Raises:
        BadRequest: neither a string of up to 1,024 bytes nor a 32-bit integer nor null.
    """
    if value is None:
        return ""
    if isinstance(value, str) and len(value.encode()) <= MAX_ID_BYTES:
        match = _ESCAPED_ID.fullmatch(value)
        return match[1] + value if match else value
    if isinstance(value, int | float) and not isinstance(value, bool) and -(2**31) <= value < 2**31 and value % 1 == 0:
        return f"n:{int(value)}"
    raise BadRequest(f'"id" must be a string of at most {MAX_ID_BYTES} bytes or a 32-bit integer, not {_kind(value)}')


def caller_id(request_id: str) -> str | int | None:
    """The reverse of :func:`network_id`: the id as the caller wrote it; null for ""."""
    if not request_id:
        return None
    if _INT_ID.fullmatch(request_id) and len(request_id) < 20:  # longer ones are no integers of ours
        return int(request_id[2:])
    match = _ESCAPED_ID.fullmatch(request_id)
    if match and len(match[1]) % 2 == 0:
        return request_id[len(match[1]) // 2 :]
    return request_id


def render_request(method: str, params: Object, request_id: str, *, in_pieces: bool = False) -> bytes:
    """A request's body. ``request_id`` is sent as it is, as a string.

    Args:
        in_pieces: for a thread, which lets others go on between the pieces (``json_pieces``).

    Raises:
        InternalError: ``params`` holds something that JSON can't express.
    """
    return _dump({"jsonrpc": "2.0", "method": method, "params": params, "id": request_id}, in_pieces)


def render_response(response: Response, *, in_pieces: bool = False) -> bytes:
    """An answer's body; ``response.id`` is the request's in network form, "" where it never became known.

    Args:
        in_pieces: as for :func:`render_request`.

    Raises:
        InternalError: the result holds something that JSON can't express.
    """
    answered = caller_id(response.id)
    if response.error is None:
        return _dump({"jsonrpc": "2.0", "result": response.result, "id": answered}, in_pieces)
    error = {"code": response.error.code, "message": response.error.message, "data": response.error.data}
    return _dump({"jsonrpc": "2.0", "error": error, "id": answered}, in_pieces)


def parse_response(
    body: bytes,
    request_id: str,
    *,
    source: str,
    status: int = 200,
    max_bytes: int = MAX_MESSAGE_BYTES,
    load: Load | None = None,
) -> Response:
    """The answer in an HTTP response's body. An error that the other side answered is a ``Response`` with ``error``.

    Accepts what peers in use send (``"jsonrpc": "2.0,"``, errors with a null id, an absent result for ``{}``), but no
    body that doesn't answer this request: an HTML page is an error, never an empty success.

    Args:
        request_id: the id that was sent, and must come back.
        source: the endpoint, for messages.
        status: the HTTP status.
        load: reads the JSON; :func:`strict_loads`, if None.

    Raises:
        AnswerRefused: a result, or with HTTP status 2xx other JSON, that can't travel: the call was executed.
        OutcomeUnknown: HTTP status 2xx, but the body is no answer to this request: it may have been executed.
        DeliveryError: the same with another status.
    """
    try:
        answer = (load or strict_loads)(body, max_bytes=max_bytes)
    except BadRequest as refused:
        refused_answer(body, source, status, refused)
    with _needed(answer, body):
        return read_answer(answer, body, request_id, source=source, status=status)


def read_answer(answer: Any, body: bytes, request_id: str, *, source: str, status: int = 200) -> Response:
    """The same as :func:`parse_response`, where the body has been parsed to ``answer`` already."""
    if not isinstance(answer, dict):
        no_answer(body, source, status, f"the body is {_kind(answer)}, not an object")
    answered, error = answer.get("id"), answer.get("error")
    if is_request(answer):
        no_answer(body, source, status, "it is a request, with a method and without result or error")
    if answer.keys().isdisjoint(_ENVELOPE):
        no_answer(body, source, status, "it has neither result nor error", _WRAP_IT)
    if error is not None and answered in (request_id, None):
        return Response(request_id, error=parse_error(error, body, source, status))
    if answered != request_id:
        no_answer(body, source, status, f"its id is {_kind_of_id(answered)}, not {cut(request_id)!r}")
    if not 200 <= status < 300:
        no_answer(body, source, status, "it has no error")
    if "result" not in answer and any(key.lower() in ("result", "error") for key in answer if key != "error"):
        no_answer(body, source, status, "its result or error is not named in small letters")
    return Response(request_id, result=answer.get("result", {}))


def is_request(message: Object) -> bool:
    """Whether somebody sends a request, ours perhaps, where an answer is due: no result was left out there."""
    return "method" in message and "result" not in message and message.get("error") is None


def parse_error(error: Any, body: bytes, source: str, status: int) -> Error:
    """``error`` of an answer; raises as :func:`parse_response` if it is none."""
    code, message = (error.get("code"), error.get("message", "")) if isinstance(error, dict) else (None, None)
    if isinstance(code, bool) or not isinstance(code, int) or not -(2**31) <= code < 2**31:
        no_answer(body, source, status, "its error has no 32-bit integer code")
    if not isinstance(message, str):
        no_answer(body, source, status, "its error's message is not a string")
    data = error.get("data")
    return Error(code, message, {} if data is None else unwrap(data) if isinstance(data, dict) else data)


def _kind_of_id(value: Any) -> str:
    """An id of an answer, as a message shows it: unquoted, since it may be anything."""
    return "absent or null" if value is None else "another text" if isinstance(value, str) else _kind(value)


def refused_answer(body: bytes, source: str, status: int, refused: BadRequest) -> NoReturn:
    """Raise the error for an answer that was not taken because of ``refused``; see :func:`parse_response`."""
    refused = _told_exactly(body) or refused if isinstance(refused, NotJson) else refused
    # Who answers with a result has run the call, whatever the HTTP status says.
    is_result = refused.message.removeprefix(TOO_DEEP_AT).startswith("result")
    if isinstance(refused, NotJson | TooLarge) or not (200 <= status < 300 or is_result):
        no_answer(body, source, status, refused.message)
    text = f"{source} executed the call, but its answer can't be passed on: {refused.message}"
    raise AnswerRefused(text, hint=refused.hint.replace("send", "answer with", 1)) from refused


def _told_exactly(body: bytes) -> BadRequest | None:
    """What is no JSON in an answer, and where, if it is what JSON libraries in use write all the same: NaN, Infinity,
    a lone surrogate."""
    if len(body) > SEARCHED_BYTES:
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return first_problem(value, "", MAX_NESTING + 1)


def no_answer(body: bytes, source: str, status: int, why: str, hint: str = _IS_IT_ONE) -> NoReturn:
    """Raise the error for an HTTP body that answers nothing; see :func:`parse_response`. It says what kind of body it
    is, and quotes none of it: it goes to whoever called, and into logs."""
    kind = OutcomeUnknown if 200 <= status < 300 else DeliveryError
    raise kind(
        f"{source} answered HTTP {status} with no JSON-RPC answer to our request, but {_described(body)}: {why}",
        hint=hint,
        reason=Reason.BAD_ANSWER,
    )


def _described(body: bytes) -> str:
    start = body[:SHOWN_CHARS].lstrip().lower()
    size = counted(len(body), "byte")
    if not start:
        return "an empty body" if not body else f"{size} of nothing but space"
    kind = next((kind for begins, kind in _KINDS if start.startswith(begins)), "")
    return size + f" of {kind}" * bool(kind)


def parse_text(body: bytes, max_bytes: int) -> Any:
    """As :func:`parse_json`, in pieces if that would take long; then at most as deep as a message may be."""
    if len(body) > max_bytes or not is_heavy(body):
        return parse_json(body, max_bytes)
    try:
        return parse_in_pieces(body, lambda piece: parse_json(piece, max_bytes), most=MAX_NESTING + 1)
    except DeeperThan:
        raise _too_deep_in(body) from None


def _too_deep_in(body: bytes) -> TooDeep:
    return too_deep(place_below(body[:SEARCHED_BYTES], MAX_NESTING + 1) or "a place far behind the begin")


def parse_json(body: bytes, max_bytes: int) -> Any:
    """The first two gates: size and syntax."""
    if len(body) > max_bytes:
        raise TooLarge(f"{len(body)} bytes of JSON, the limit is {max_bytes}", hint="send less at once")
    try:
        return jiter.from_json(
            show_minus_zeros(body), allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys"
        )
    except ValueError as error:
        reason = str(error)
    if "recursion limit" in reason:
        raise _too_deep_in(body)
    if "duplicate key" in reason:
        where = reason.rpartition('"')[2]  # not the key: it may be another organisation that reads this of an answer
        raise BadRequest(f"the JSON is refused: a duplicate key{cut(where)}", hint="each key once in an object")
    raise NotJson(f"this is not JSON in UTF-8: {cut(reason)}", hint="NaN, Infinity and lone surrogates are not JSON")


def _dump(value: Object, in_pieces: bool) -> bytes:
    try:
        return b"".join(write_in_pieces(value)) if in_pieces else orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise InternalError(f"a message can't be written as JSON: {cut(str(error))}") from error


def _kind(value: Any) -> str:
    if value is None:
        return "null or absent"
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")
