"""The bytes of a protobuf ``Struct`` (google/protobuf/struct.proto) → JSON objects, in one loop.

Half the time that protobuf's Python objects take, and as deep as WIRE_NESTING, where protobuf's parsers stop at 33
objects. A large object is looked up by its bytes before it is taken apart (:class:`Memory`): a directory entry of some
8 KB comes with every answer to ``_ping``.

Theory of operation. The loop reads what every writer of protobuf writes: entries of a key and a value, in this order,
values of one kind. Containers that are not finished wait on a list of our own. Whatever has another form (fields that
nobody knows, a key behind its value) is left to protobuf itself, which is never asked for anything deep.
"""

import itertools
import math
import struct
import threading
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct, Value

from eps.core.json_pieces import FEW_VALUES, has_few
from eps.core.limits import MAX_EXACT_INTEGER, WIRE_NESTING
from eps.core.names import Object
from eps.core.recent import Recent
from eps.core.taking_apart import forget_rest
from eps.core.travel import too_deep
from eps.errors import BadRequest, TooDeep
from eps.grpc.struct_encoder import ENTRY, FALSE, ITEM, KEY, LIST, NULL, NUMBER, STRUCT, TEXT, TRUE, VALUE

REMEMBERED_BYTES = 2 * 1024 * 1024
"""Of encoded objects that came in and are kept with their decoded form, which takes some five times as much. Enough for
the entries of two hundred operators."""

WORTH_REMEMBERING = range(512, 64 * 1024)
"""Sizes in bytes of the objects that are kept: smaller ones are decoded as fast as found, larger ones would push out
many others."""

BYTES_OF_A_VALUE = 8
"""An object with more values for its bytes is not kept: a directory entry's have some 80 bytes each, and of lists with
nothing in them those two MiB would hold half a million, which the cycle collector would look at again and again."""


class Memory(Recent[bytes, Object]):
    """Decoded objects by their bytes. They are shared: not to be changed.

    Args:
        limit: of the bytes of all keys together.
    """

    def __init__(self, limit: int = REMEMBERED_BYTES) -> None:
        super().__init__(limit, len)


class _Memories(threading.local):
    def __init__(self) -> None:
        self.memory = Memory()


_of_this_thread = _Memories()
"""One for all connections, and one for large messages, which are read beside the event loop (transport.aside): what it
finds depends on the bytes alone, so peers can't tell each other anything with it that they don't know already."""


def decode_struct(encoded: bytes, place: str = "", memory: Memory | None = None) -> Object:
    """``encoded`` as a JSON object; integral numbers within ±2^53 as int. Large objects inside may be shared with other
    results: what is returned is not to be changed.

    Args:
        place: what the whole is called in messages.

    Raises:
        TooDeep: more than WIRE_NESTING.
        BadRequest: it holds NaN or an infinity, or is no Struct.
    """
    try:
        return _decode(encoded, place, _of_this_thread.memory if memory is None else memory)
    except (_Unusual, IndexError, KeyError, UnicodeDecodeError):
        return _decode_as_protobuf(encoded, place)


class _Unusual(Exception):
    """There is more than keys and values, or they have another order."""


def _decode(encoded: bytes, place: str, memory: Memory) -> Object:
    root: Object = {}
    present: Any = root  # the container that is being read
    named, position, end = True, 0, len(encoded)
    outer: list[tuple[Any, bool, int, bytes]] = []  # those around it, and the bytes by which it is to be remembered
    key = ""
    try:
        while True:
            while position < end:
                if encoded[position] != _FIELD:
                    raise _Unusual
                length, position = encoded[position + 1], position + 2
                if length >= 0x80:
                    length, position = _long(encoded, position, length)
                stop = position + length
                if stop > end:
                    raise _Unusual
                if named:
                    if encoded[position] != _KEY:
                        raise _Unusual
                    length, position = encoded[position + 1], position + 2
                    if length >= 0x80:
                        length, position = _long(encoded, position, length)
                    begin, position = position, position + length
                    key = encoded[begin:position].decode()
                    if encoded[position] != _VALUE:
                        raise _Unusual
                    length, position = encoded[position + 1], position + 2
                    if length >= 0x80:
                        length, position = _long(encoded, position, length)
                    if position + length != stop:
                        raise _Unusual
                # What lies from position to stop is a Value.
                value: Any
                tag = encoded[position] if position < stop else _NOTHING
                if tag in _BEHIND_A_LENGTH:
                    begin = position
                    length, position = encoded[position + 1], position + 2
                    if length >= 0x80:
                        length, position = _long(encoded, position, length)
                    if position + length != stop:
                        raise _Unusual
                    if tag == _TEXT:
                        value = encoded[position:stop].decode()
                    else:
                        known = encoded[begin:stop] if tag == _STRUCT and stop - begin in WORTH_REMEMBERING else b""
                        value = memory.get(known) if known else None
                        if value is None:  # the loop goes on inside; what is around it waits
                            if len(outer) + 2 > WIRE_NESTING:
                                raise _too_deep(place, [*(waiting[0] for waiting in outer), present], key)
                            value = {} if tag == _STRUCT else []
                            if named:
                                present[key] = value
                            else:
                                present.append(value)
                            outer.append((present, named, end, known))
                            present, named, end = value, tag == _STRUCT, stop
                            continue
                elif tag == _NUMBER:
                    if position + 9 != stop:
                        raise _Unusual
                    value = _json_number(_double(encoded, position + 1)[0], place)
                else:
                    value = _FIXED[encoded[position:stop]]
                if named:
                    present[key] = value
                else:
                    present.append(value)
                position = stop
            if not outer:
                return root
            complete = present
            present, named, end, known = outer.pop()
            if known and has_few(complete, min(len(known) // BYTES_OF_A_VALUE, FEW_VALUES)):
                memory.put(known, complete)
    except BaseException:
        for container in [present, *(waiting[0] for waiting in outer)]:
            forget_rest(container)  # what memory has stays
        raise


_FIELD, _KEY, _VALUE = ENTRY[0], KEY[0], VALUE[0]
_NUMBER, _TEXT, _STRUCT, _LIST = NUMBER[0], TEXT[0], STRUCT[0], LIST[0]
_BEHIND_A_LENGTH = frozenset((_TEXT, _STRUCT, _LIST))
_NOTHING = -1
_FIXED = {NULL: None, FALSE: False, TRUE: True, b"": None}
"""Values without content; one without a kind is null, too."""

assert ENTRY == ITEM, "objects and lists are read by the same lines"

_double = struct.Struct("<d").unpack_from

MAX_LENGTH_BITS = 35
"""A varint of five bytes: lengths in protobuf have 31 bits."""


def _long(encoded: bytes, position: int, first: int) -> tuple[int, int]:
    """A length of more than one byte, the ``first`` of which lies before ``position``; and where it ends."""
    number, shift = first & 0x7F, 7
    while shift < MAX_LENGTH_BITS:
        byte = encoded[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
    raise _Unusual


def _json_number(number: float, place: str) -> int | float:
    if number.is_integer() and -MAX_EXACT_INTEGER <= number <= MAX_EXACT_INTEGER:
        return int(number) or (0 if math.copysign(1.0, number) > 0 else number)
    if not math.isfinite(number):
        raise BadRequest(f"{place or 'the message'} holds a number that JSON doesn't know (infinite, or none at all)")
    return number


def _too_deep(place: str, containers: list[Any], key: str) -> TooDeep:
    """The error for what would stand in the last of ``containers``, which lie in each other, the outermost first."""
    steps = [place]
    for container, inner in itertools.pairwise([*containers, None]):
        if isinstance(container, list):
            steps.append(f"[{len(container) - (inner is not None)}]")
        else:
            steps.append(f".{key if inner is None else next(reversed(container))}")
    return too_deep("".join(steps).removeprefix("."))


# What other forms there are, by protobuf's own objects: 33 objects deep at the most


def _decode_as_protobuf(encoded: bytes, place: str) -> Object:
    try:
        return _fields(Struct.FromString(encoded), place)
    except DecodeError:
        raise BadRequest(f"{place or 'the message'} can't be read: it is no protobuf Struct") from None


def _fields(message: Struct, place: str) -> Object:
    return {key: _value(value, place) for key, value in message.fields.items()}


def _value(value: Value, place: str) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _fields(value.struct_value, place)
        case "list_value":
            return [_value(item, place) for item in value.list_value.values]
        case "number_value":
            return _json_number(value.number_value, place)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None
