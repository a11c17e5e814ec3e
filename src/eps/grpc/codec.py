"""Messages of the network ↔ protobuf messages (PROTOCOL.md sections 2 and 3).

A protobuf ``Struct`` knows one kind of number, the double. Integers come back as integers if a double holds them
exactly; what a double can't hold is refused on the way out rather than changed. ``struct_encoder.py``
and ``struct_decoder.py`` do the Structs.
"""

from typing import Any

from eps.core.address import Address, parse_address
from eps.core.limits import MAX_MESSAGE_BYTES, MAX_NESTING, WIRE_NESTING
from eps.core.message import CLIENT_KEY, Constant, Error, Request, Response, unwrap, wrap
from eps.core.names import Object, Operator
from eps.core.told_seconds import render_timeout
from eps.core.travel import first_problem
from eps.errors import BadParams, BadRequest, TooLarge
from eps.grpc import eps_pb2 as pb
from eps.grpc.struct_decoder import decode_struct
from eps.grpc.struct_encoder import Unfit, encode_struct

INT32 = 2**31

SURELY_FITS = MAX_MESSAGE_BYTES // 2
"""A Struct up to this size makes no message over the limit: names and ids around it are far shorter than that."""


def encode_request(request: Request, sender: Operator) -> pb.Request:
    """``request`` as it goes out. ``_client`` stays here: each receiver sets it anew (section 2).

    Raises:
        BadRequest: the params hold what can't travel; the message says where.
        TooLarge: it is over 4 MiB.
    """
    params = request.params
    if CLIENT_KEY in params:
        params = {key: value for key, value in params.items() if key != CLIENT_KEY}
    encoded = _encoded(params, "params")
    address = request.address
    message = pb.Request(method=address.target, id=str(address), clientName=sender, params=encoded)
    if len(encoded) > SURELY_FITS:
        _check_size(message, f"the call to {request.address.target}")
    return message


def decode_address(message: pb.Request) -> Address:
    """Which method of whom a peer asks for. One parsed address decides who may call it and where it goes.

    Raises:
        AddressError: the id is not OPERATOR.METHOD(ID).
        BadRequest: ``method`` does not repeat the id's.
    """
    address = parse_address(message.id)
    if message.method != address.target:
        raise BadRequest(f"method {message.method[:80]!r} does not repeat the id's {address.target[:80]!r}")
    return address


def decode_params(encoded: bytes) -> Object:
    """The params of a request, whose sender may call.

    Raises:
        BadRequest: they are no Struct, hold NaN or an infinity, or are nested too deep.
    """
    return decode_struct(encoded, "params")


def encode_response(response: Response, message_id: str) -> pb.Response:
    """``response`` as it goes out, under the id that the request came with.

    Raises:
        BadRequest: the result holds what can't travel; the message says where.
        TooLarge: it is over 4 MiB.
    """
    error = response.error
    if error is None:
        encoded = _encoded(response.result, "result")
        message = pb.Response(id=message_id, result=encoded)
        if len(encoded) > SURELY_FITS:
            _check_size(message, "the result")
        return message
    message = pb.Response(id=message_id)
    message.error.code = error.code if -INT32 <= error.code < INT32 else -32603
    message.error.message = error.message.encode("utf-8", "replace").decode()
    message.error.data = _encoded(error.data, "error.data")
    _check_size(message, "the error")
    return message


def decode_response(message: pb.Response, request_id: str) -> Response:
    """A peer's answer, as the answer to ``request_id``. Neither result nor error is an empty result (section 9).

    Raises:
        BadRequest: it holds NaN or an infinity.
    """
    if not message.HasField("error"):
        return Response(request_id, unwrap(decode_struct(message.result, "result")))
    error = message.error
    return Response(request_id, error=Error(error.code, error.message, unwrap(decode_struct(error.data, "error.data"))))


def tell_trace(message: pb.Request, parent: str) -> None:
    """Have a request say to which trace it belongs; unless it is so large that this might not fit."""
    if len(message.params) <= SURELY_FITS:
        message.traceparent = parent


def tell_timeout(message: pb.Request, seconds: float) -> None:
    """Have a request say how long its caller gives it; unless it is so large that this might not fit."""
    if len(message.params) <= SURELY_FITS:
        message.timeout = render_timeout(seconds)


def tell_duration(message: pb.Response, duration: str) -> None:
    """Have an answer say how long it took; unless it is so large that this might not fit."""
    if len(message.result) + len(message.error.data) + len(message.error.message) <= SURELY_FITS:
        message.took = duration


def encoded_size(value: Constant) -> int:
    """Bytes of ``value`` within a message, which are made once and kept; 0 if it can't travel."""
    try:
        return len(encode_struct(value))
    except (Unfit, UnicodeEncodeError, TypeError, ValueError):
        return 0


def _encoded(value: Any, place: str) -> bytes:
    """``value``, wrapped if need be, as the bytes of a Struct: none for ``{}``, which is there nevertheless."""
    wrapped = wrap(value)
    try:
        return encode_struct(wrapped)
    except (Unfit, UnicodeEncodeError, TypeError, ValueError) as error:
        # Only now is it worth knowing where.
        problem = first_problem(value, place, WIRE_NESTING if wrapped is value else MAX_NESTING)
        raise problem or BadParams(f"{place} can't travel: {error}") from error


def _check_size(message: pb.Request | pb.Response, what: str) -> None:
    size = message.ByteSize()
    if size > MAX_MESSAGE_BYTES:
        raise TooLarge(
            f"{what} has {size:,} bytes, at most {MAX_MESSAGE_BYTES:,} (4 MiB) can travel",
            hint="send it in smaller parts",
        )
