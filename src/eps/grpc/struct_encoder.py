"""JSON objects → the bytes of a protobuf ``Struct`` (google/protobuf/struct.proto), without protobuf's own objects.

A directory entry of some 8 KB comes back with every ``_ping``. Through protobuf's Python objects that would be 100 to
200 µs, more than all the rest of a call; and protobuf's parsers stop at 33 nested objects. So the bytes are written
here, and those of a :class:`~eps.core.message.Constant` are kept with it.

Theory of operation. Each object stands behind its own length, which is known only when it is written. So everything is
written from its end: when the loop comes to the begin of an object, all that it holds is there, and counted. Containers
that are not finished wait on a list of our own; nothing here calls itself, however deep a value is.
"""

import itertools
import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

from eps.core.limits import MAX_EXACT_INTEGER, WIRE_NESTING
from eps.core.message import Constant
from eps.core.names import Object

KNOWN_KEYS = 1_024
"""Keys whose bytes are kept: those of directory entries and of an application's messages are a few dozen."""

MAX_KNOWN_KEY_BYTES = 64
"""Of a key that is kept; see above."""

JOINED_PIECES = 4_096
"""Pieces that are put together as soon as there are so many: to forget a million at once takes 30 ms."""

# Tags: field number << 3 | wire type.
ENTRY, KEY, VALUE = b"\x0a", b"\x0a", b"\x12"
"""Struct.fields; of one of its entries."""

ITEM = b"\x0a"
"""ListValue.values."""

NUMBER, TEXT, STRUCT, LIST = b"\x11", b"\x1a", b"\x2a", b"\x32"
"""Of a Value, before its content."""

NULL, FALSE, TRUE = b"\x08\x00", b"\x20\x00", b"\x20\x01"
"""Whole Values."""


class Unfit(Exception):
    """Some value can't travel: :func:`eps.core.travel.first_problem` says which, and why."""


def encode_struct(value: Object) -> bytes:
    """The bytes of ``value`` as a Struct.

    Raises:
        Unfit: a number that a double can't hold, something that is not JSON, or more than WIRE_NESTING.
        UnicodeEncodeError: a lone surrogate.
    """
    return _constant(value)[0] if type(value) is Constant else _encode(value)[0]


def _constant(value: Constant) -> tuple[bytes, int]:
    """Its bytes, and how deep they are; made once."""
    if value.encoded is None:
        value.encoded = _encode(value)
    return value.encoded


def _encode(value: Object) -> tuple[bytes, int]:
    """The bytes, and how many objects and lists are inside each other there."""
    pieces: list[bytes] = []  # the last one first
    blocks: list[bytes] = []  # of those that were there before them
    size = begun = 0  # of all pieces; where the present container's end is
    deepest = 1
    outer: list[tuple[Iterator[Any], bool, int, bytes]] = []  # the containers around the present one
    items: Iterator[Any] = iter(reversed(value.items()))
    item: Any
    named, name = True, b""
    while True:
        for item in items:
            if named:
                key, item = item
                name = _known_keys.get(key) or _key(key)
            kind = type(item)
            if kind is str:
                text = item.encode()
                encoded = TEXT + _size(len(text)) + text
            elif kind is int or kind is float:
                if not (-MAX_EXACT_INTEGER <= item <= MAX_EXACT_INTEGER if kind is int else math.isfinite(item)):
                    raise Unfit
                encoded = NUMBER + _double(item)
            elif kind is bool:
                encoded = TRUE if item else FALSE
            elif item is None:
                encoded = NULL
            elif kind is dict or kind is list or kind is tuple:
                outer.append((items, named, begun, name))
                deepest = max(deepest, len(outer) + 1)
                if deepest > WIRE_NESTING:
                    raise Unfit
                named, begun = kind is dict, size
                items = iter(reversed(item.items() if named else item))
                break
            elif kind is Constant:
                fields, levels = _constant(item)
                deepest = max(deepest, len(outer) + 1 + levels)
                if deepest > WIRE_NESTING:
                    raise Unfit
                encoded = STRUCT + _size(len(fields)) + fields
            else:  # once more, as what it is
                plain = _plain(item)
                items = itertools.chain([(key, plain) if named else plain], items)
                break
            head = _size(len(encoded))
            head = ENTRY + _size(len(name) + len(head) + len(encoded)) + name + head if named else ITEM + head
            pieces.append(head + encoded)
            size += len(head) + len(encoded)
            if len(pieces) >= JOINED_PIECES:
                _join(pieces, blocks)
        else:
            if not outer:
                _join(pieces, blocks)
                return b"".join(reversed(blocks)), deepest
            # The present container is complete: its heads, and on with the one around it.
            inner = size - begun
            head = (STRUCT if named else LIST) + _size(inner)
            items, named, begun, name = outer.pop()
            whole = _size(inner + len(head))
            if named:
                head = ENTRY + _size(len(name) + len(whole) + inner + len(head)) + name + whole + head
            else:
                head = ITEM + whole + head
            pieces.append(head)
            size += len(head)
            if len(pieces) >= JOINED_PIECES:
                _join(pieces, blocks)


def _join(pieces: list[bytes], blocks: list[bytes]) -> None:
    """Make one block of the pieces, which then are none."""
    blocks.append(b"".join(reversed(pieces)))
    pieces.clear()


_double = struct.Struct("<d").pack
_known_keys: dict[str, bytes] = {}


def _key(key: Any) -> bytes:
    """An entry's key with its head, and the tag of the value that follows."""
    if not isinstance(key, str):
        raise Unfit
    text = key.encode()
    name = KEY + _size(len(text)) + text + VALUE
    if len(_known_keys) < KNOWN_KEYS and len(text) <= MAX_KNOWN_KEY_BYTES:
        _known_keys[key] = name
    return name


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
