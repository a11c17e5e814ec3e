"""Messages of the network ↔ protobuf messages (PROTOCOL.md sections 2 and 3).

A protobuf ``Struct`` knows one kind of number, the double. Integers come back as integers if a double holds them
exactly; what a double can't hold is refused on the way out rather than changed. ``structs.py`` does the Structs.
"""

import math
from typing import Any

from google.protobuf.struct_pb2 import Struct

from eps.core.address import parse_address
from eps.core.limits import LIST_LEVELS, MAX_EXACT_INTEGER, MAX_LEVELS, MAX_MESSAGE_BYTES, OBJECT_LEVELS
from eps.core.message import CLIENT_KEY, Constant, Error, Request, Response, unwrap, wrap
from eps.core.names import Object, Operator
from eps.errors import BadParams, BadRequest, TooLarge
from eps.grpc import eps_pb2 as pb
from eps.grpc.structs import (
    Unfit,
    decode_struct,
    encode_struct,
)

INT32 = 2**31

SURELY_FITS = MAX_MESSAGE_BYTES // 2
"""A Struct up to this size makes no message over the limit: names and ids around it are far shorter than that."""


def encode_request(request: Request, sender: Operator) -> pb.Request:
    """``request`` as it goes out. ``_client`` stays here: each receiver sets it anew (section 2).

    Raises:
        BadParams: the params hold what can't travel; the message says where.
        TooLarge: it is over 4 MiB.
    """
    message = pb.Request(method=request.address.target, id=str(request.address), clientName=sender)
    params = request.params
    if CLIENT_KEY in params:
        params = {key: value for key, value in params.items() if key != CLIENT_KEY}
    if _fill_top(message.params, params, "params") > SURELY_FITS:
        _check_size(message, f"the call to {request.address.target}")
    return message


def decode_request(message: pb.Request) -> Request:
    """What a peer asks. One parsed address decides who may call it and where it goes.

    Raises:
        AddressError: the id is not OPERATOR.METHOD(ID).
        BadRequest: ``method`` does not repeat the id's, or the params hold NaN or an infinity.
    """
    address = parse_address(message.id)
    if message.method != address.target:
        raise BadRequest(f"method {message.method[:80]!r} does not repeat the id's {address.target[:80]!r}")
    return Request(address, struct_to_dict(message.params))


def encode_response(response: Response, message_id: str) -> pb.Response:
    """``response`` as it goes out, under the id that the request came with.

    Raises:
        BadParams: the result holds what can't travel; the message says where.
        TooLarge: it is over 4 MiB.
    """
    message = pb.Response(id=message_id)
    error = response.error
    if error is None:
        if _fill_top(message.result, wrap(response.result), "result") > SURELY_FITS:
            _check_size(message, "the result")
        return message
    message.error.code = error.code if -INT32 <= error.code < INT32 else -32603
    message.error.message = error.message.encode("utf-8", "replace").decode()
    _fill_top(message.error.data, wrap(error.data), "error.data")
    _check_size(message, "the error")
    return message


def decode_response(message: pb.Response, request_id: str) -> Response:
    """A peer's answer, as the answer to ``request_id``. Neither result nor error is an empty result (section 9).

    Raises:
        BadRequest: it holds NaN or an infinity.
    """
    if not message.HasField("error"):
        return Response(request_id, unwrap(struct_to_dict(message.result)))
    error = message.error
    return Response(request_id, error=Error(error.code, error.message, unwrap(struct_to_dict(error.data))))


def encoded_size(value: Constant) -> int:
    """Bytes of ``value`` within a message, which are made once and kept; 0 if it can't travel."""
    try:
        return len(encode_struct(value))
    except (Unfit, UnicodeEncodeError, TypeError, ValueError):
        return 0


def struct_to_dict(struct: Struct) -> Object:
    """``struct`` as a JSON object; integral numbers within ±2^53 as int. Not to be changed: parts of it may be shared.

    Raises:
        BadRequest: it holds NaN or an infinity.
    """
    return decode_struct(struct)


# -- Python to protobuf


def _fill_top(struct: Struct, value: Object, place: str) -> int:
    """Put ``value`` into an empty ``struct``; its size in bytes."""
    if not value:
        struct.SetInParent()  # present and empty: «a null result becomes {}»
        return 0
    try:
        encoded = encode_struct(value)
    except (Unfit, UnicodeEncodeError, TypeError, ValueError) as error:
        # Only now is it worth knowing where.
        raise BadParams(_first_problem(value, place, MAX_LEVELS) or f"{place} can't travel: {error}") from error
    struct.MergeFromString(encoded)
    return len(encoded)


def _first_problem(value: Any, place: str, depth: int) -> str:
    """Where the first value is that can't travel, and why; empty if there is none."""
    if isinstance(value, str):
        return _text_problem(value, place)
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        return _number_problem(value, place)
    if isinstance(value, dict):
        children = [(f"{place}.{key}" if place else str(key), item) for key, item in value.items()]
        cost = OBJECT_LEVELS
    elif isinstance(value, list | tuple):
        children = [(f"{place}[{index}]", item) for index, item in enumerate(value)]
        cost = LIST_LEVELS
    else:
        return f"{place}: {type(value).__name__} is not a JSON value"
    if depth < cost:
        return f"{place[:200]}: nested too deeply; at most 33 objects, or 48 lists in an object, can travel"
    if isinstance(value, dict):
        for key in value:
            if problem := _text_problem(key, place) if isinstance(key, str) else f"{place}: a key is not a string":
                return problem
    return next(filter(None, (_first_problem(item, path, depth - cost) for path, item in children)), "")


def _text_problem(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{place.encode(errors='replace').decode()}: holds a lone surrogate, which is not a character"
    return ""


def _number_problem(number: float, place: str) -> str:
    if isinstance(number, float):
        return "" if math.isfinite(number) else f"{place}: {number} is not a JSON number"
    fits = -MAX_EXACT_INTEGER <= number <= MAX_EXACT_INTEGER
    return "" if fits else f"{place}: the integer is beyond ±2^53 and would not arrive as it is; send it as a string"


def _check_size(message: pb.Request | pb.Response, what: str) -> None:
    size = message.ByteSize()
    if size > MAX_MESSAGE_BYTES:
        raise TooLarge(
            f"{what} has {size:,} bytes, at most {MAX_MESSAGE_BYTES:,} (4 MiB) can travel",
            hint="send it in smaller parts",
        )
