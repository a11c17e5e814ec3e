"""JSON objects ↔ the bytes of a protobuf ``Struct``, without a second look at what is known already.

A directory entry of some 8 KB goes out with every ``_ping`` and comes back with every answer. Through protobuf's Python
objects that is 100 to 200 µs each way, more than all the rest of a call. So

    out: the bytes are written here, and those of a :class:`~eps.core.message.Constant` are kept with it;
    in:  a large object is looked up by its bytes before it is taken apart (:class:`Memory`).

The bytes are those of google/protobuf/struct.proto; protobuf itself reads and writes the messages around them.
"""

import math
import struct
from collections.abc import Callable
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

from eps.core.limits import LIST_LEVELS, MAX_EXACT_INTEGER, MAX_LEVELS, OBJECT_LEVELS
from eps.core.message import Constant
from eps.core.names import Object
from eps.core.recent import Recent
from eps.errors import BadRequest

KNOWN_KEYS = 1_024
"""Keys whose bytes are kept: those of directory entries and of an application's messages are a few dozen."""

REMEMBERED_BYTES = 2 * 1024 * 1024
"""Of encoded objects that came in and are kept with their decoded form, which takes some five times as much. Enough for
the entries of two hundred operators."""

WORTH_REMEMBERING = range(512, 64 * 1024)
"""Sizes in bytes of the objects that are kept: smaller ones are decoded as fast as found, larger ones would push out
many others."""


class Unfit(Exception):
    """Some value can't travel."""


# -- Python to protobuf. The tags are (field number << 3 | wire type).

_ENTRY, _KEY, _VALUE = b"\x0a", b"\x0a", b"\x12"  # Struct.fields; of a map entry
_NULL, _NUMBER, _TEXT, _STRUCT, _LIST = b"\x08\x00", b"\x11", b"\x1a", b"\x2a", b"\x32"  # of a Value
_TRUE, _FALSE = b"\x20\x01", b"\x20\x00"
_ITEM = b"\x0a"  # ListValue.values

_double = struct.Struct("<d").pack
_known_keys: dict[str, bytes] = {}


def encode_struct(value: Object, depth: int = MAX_LEVELS) -> bytes:
    """The bytes of ``value`` as a Struct.

    Args:
        depth: how many messages deep protobuf may go here.

    Raises:
        Unfit: a number that a double can't hold, something that is not JSON, or too deep nesting.
        UnicodeEncodeError: a lone surrogate.
    """
    if type(value) is Constant:
        encoded, levels = _encoded_constant(value)
        if levels > depth:
            raise Unfit
        return encoded
    return _encode_fields(value, depth)


def _encoded_constant(value: Constant) -> tuple[bytes, int]:
    """Its bytes, and how deep they are; made once."""
    if value.encoded is None:
        value.encoded = _encode_fields(value, MAX_LEVELS), _levels(value)
    return value.encoded


def _levels(value: Any) -> int:
    if isinstance(value, dict):
        return OBJECT_LEVELS + max(map(_levels, value.values()), default=0)
    if isinstance(value, list | tuple):
        return LIST_LEVELS + max(map(_levels, value), default=0)
    return 0


def _encode_fields(value: Object, depth: int) -> bytes:
    depth -= OBJECT_LEVELS
    if depth < 0:
        raise Unfit
    parts: list[bytes] = []
    for key, item in value.items():
        name = _known_keys.get(key) or _encode_key(key)
        encoded = _encode(item, depth)
        size = _size(len(encoded))
        parts += (_ENTRY, _size(len(name) + len(size) + len(encoded)), name, size, encoded)
    return b"".join(parts)


def _encode_key(key: str) -> bytes:
    if not isinstance(key, str):
        raise Unfit
    text = key.encode()
    name = _KEY + _size(len(text)) + text + _VALUE
    if len(_known_keys) < KNOWN_KEYS and len(text) <= 64:
        _known_keys[key] = name
    return name


def _encode(item: Any, depth: int) -> bytes:
    """A Value's bytes."""
    kind = type(item)
    if kind is str:
        text: bytes = item.encode()
        return _TEXT + _size(len(text)) + text
    if kind is bool:
        return _TRUE if item else _FALSE
    if item is None:
        return _NULL
    if kind is dict or kind is Constant:
        fields = encode_struct(item, depth)
        return _STRUCT + _size(len(fields)) + fields
    if kind is list or kind is tuple:
        return _encode_list(item, depth - LIST_LEVELS)
    if kind is int or kind is float:
        if not (-MAX_EXACT_INTEGER <= item <= MAX_EXACT_INTEGER if kind is int else math.isfinite(item)):
            raise Unfit
        return _NUMBER + _double(item)
    return _encode(_plain(item), depth)


def _encode_list(items: list[Any] | tuple[Any, ...], depth: int) -> bytes:
    if depth < 0:
        raise Unfit
    parts: list[bytes] = []
    for item in items:
        encoded = _encode(item, depth)
        parts += (_ITEM, _size(len(encoded)), encoded)
    values = b"".join(parts)
    return _LIST + _size(len(values)) + values


def _plain(item: Any) -> Any:
    """Subclasses of JSON's types (an enum's word, an Operator) as what they are."""
    bases: tuple[Callable[[Any], Any], ...] = (str, int, float, dict, list)
    for base in bases:
        if isinstance(item, base):  # type: ignore[arg-type]  # they are types; typed as callables to be called with Any
            return base(item)
    raise Unfit


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_SIZES = tuple(_varint(number) for number in range(1024))


def _size(number: int) -> bytes:
    return _SIZES[number] if number < 1024 else _varint(number)


# -- protobuf to Python


class Memory(Recent[bytes, Object]):
    """Decoded objects by their bytes. They are shared: not to be changed.

    Args:
        limit: of the bytes of all keys together.
    """

    def __init__(self, limit: int = REMEMBERED_BYTES) -> None:
        super().__init__(limit, len)


_memory = Memory()
"""One for all connections: what it finds depends on the bytes alone, so peers can't tell each other anything with it
that they don't know already."""


def decode_struct(message: Struct, memory: Memory = _memory) -> Object:
    """``message`` as a JSON object; integral numbers within ±2^53 as int. Large objects inside may be shared with other
    results: what is returned is not to be changed.

    Raises:
        BadRequest: it holds NaN or an infinity.
    """
    encoded = message.SerializeToString()
    if len(encoded) < WORTH_REMEMBERING.start:
        return _decode_message(message)
    try:
        return _decode_bytes(encoded, memory)
    except _Unusual:
        return _decode_message(message)


def _decode_message(message: Struct) -> Object:
    return {key: _KINDS[value.WhichOneof("kind")](value) for key, value in message.fields.items()}


class _Unusual(Exception):
    """There is more than keys and values, such as fields that protobuf does not know and keeps."""


def _decode_bytes(encoded: bytes, memory: Memory) -> Object:
    """A Struct that protobuf itself has written, so that each entry is a key and a value, in that order."""
    fields: Object = {}
    position, end = 0, len(encoded)
    while position < end:
        entry_begin, entry_end = _field(encoded, position, _ENTRY)
        key_begin, key_end = _field(encoded, entry_begin, _KEY)
        begin, position = _field(encoded, key_end, _VALUE)
        if position != entry_end:
            raise _Unusual
        fields[encoded[key_begin:key_end].decode()] = _decode_value(encoded[begin:position], memory)
    return fields


def _decode_value(encoded: bytes, memory: Memory) -> Any:
    if len(encoded) < WORTH_REMEMBERING.start or encoded[:1] != _STRUCT:
        value = Value.FromString(encoded)
        return _KINDS[value.WhichOneof("kind")](value)
    found = memory.get(encoded)
    if found is None:
        begin, end = _field(encoded, 0, _STRUCT)
        if end != len(encoded):
            raise _Unusual
        found = _decode_bytes(encoded[begin:], memory)
        if len(encoded) in WORTH_REMEMBERING:
            memory.put(encoded, found)
    return found


def _field(encoded: bytes, position: int, tag: bytes) -> tuple[int, int]:
    """Where the content of the field at ``position`` begins and ends; it must have this tag."""
    if encoded[position] != tag[0]:
        raise _Unusual
    size, begin = _read_size(encoded, position + 1)
    return begin, begin + size


def _read_size(encoded: bytes, position: int) -> tuple[int, int]:
    """A length and where the bytes of that length begin."""
    number = encoded[position]
    if number < 0x80:
        return number, position + 1
    number &= 0x7F
    shift = 7
    while True:
        position += 1
        byte = encoded[position]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position + 1
        shift += 7


def _decode_number(value: Value) -> int | float:
    number = value.number_value
    if number.is_integer() and -MAX_EXACT_INTEGER <= number <= MAX_EXACT_INTEGER:
        return int(number)
    if not math.isfinite(number):
        raise BadRequest(f"the message holds {number}, which is not a JSON number")
    return number


def _decode_list(value: Value) -> list[Any]:
    return [_KINDS[item.WhichOneof("kind")](item) for item in value.list_value.values]


_KINDS: dict[str | None, Callable[[Value], Any]] = {
    "string_value": lambda value: value.string_value,
    "number_value": _decode_number,
    "bool_value": lambda value: value.bool_value,
    "struct_value": lambda value: _decode_message(value.struct_value),
    "list_value": _decode_list,
    "null_value": lambda value: None,
    None: lambda value: None,
}
