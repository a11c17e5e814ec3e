"""The canonical text (RFC 8785) of what calls carry, quickly: mostly it is what the JSON writer makes anyway.

Theory of operation. The writer puts keys in the order of their UTF-8, canonical JSON in that of their UTF-16: they
differ only where a text has characters beyond the first 65,536. It writes whole numbers of at most 53 bits as canonical
JSON does, and refuses others. Doubles it mostly writes alike, and where it does not, the text shows it. What remains
goes through ``core.canonical``, which is right always, and slow. Pure.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

import orjson

from eps.core import record_text
from eps.core.canonical import canonical_json, ordered
from eps.core.json_pieces import PIECE_VALUES, write_in_pieces
from eps.core.taking_apart import forget

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER

_OTHER_NUMBER = re.compile(rb"(?:\A|[:,\[])-?[0-9]+(?:\.0(?![0-9])|(?:\.[0-9]+)?e)")
"""A number that canonical JSON writes differently, or might: ``1.0``, ``1e16``, ``-0.0``; also where a text looks
so."""

LONG_BYTES = 64 * 1024
"""Of a text that would have to be looked through, or written the slow way, on the loop: that is for a thread."""

_BEYOND = re.compile(rb"[\xf0-\xf4]")
"""The first byte of a character beyond the first 65,536, in UTF-8."""


class Holds(Enum):
    """What is in a value."""

    PLAIN = "texts, whole numbers, …"
    DOUBLES = "also doubles"
    MUCH = "more values than are looked at at once"


def holds(value: Any, most: int = PIECE_VALUES) -> Holds:
    """What a JSON value holds; looks at no more than ``most`` values."""
    layer, left, doubles = [value], most - 1, False
    for item in layer:  # which grows
        kind = type(item)
        if kind is str or kind is int or item is None:
            continue
        if kind is dict or kind is list or isinstance(item, dict):
            left -= len(item)
            if left < 0:
                return Holds.MUCH
            layer += item if kind is list else item.values()
        elif isinstance(item, float):
            doubles = True
    return Holds.DOUBLES if doubles else Holds.PLAIN


class ForAThread(Exception):
    """It would take long."""


def at_once(value: Any, inside: Holds) -> bytes:
    """As :func:`quick_canonical`, for an event loop.

    Raises:
        ForAThread: it would take more than some milliseconds.
    """
    try:
        text = orjson.dumps(value, option=_OPTIONS)
    except orjson.JSONEncodeError:
        raise ForAThread from None
    if inside is Holds.PLAIN and text.isascii():
        return text
    if len(text) > LONG_BYTES:
        raise ForAThread
    return quick_canonical(value, inside)


def quick_canonical(value: Any, inside: Holds) -> bytes:
    """The canonical text of a JSON value.

    Args:
        inside: what :func:`holds` said of it; not ``MUCH``.

    Raises:
        orjson.JSONEncodeError: it can't be written as JSON in UTF-8: half of a surrogate pair.
    """
    try:
        text = orjson.dumps(value, option=_OPTIONS)
    except orjson.JSONEncodeError:
        return canonical_json(value)
    if inside is Holds.DOUBLES and _OTHER_NUMBER.search(text) is not None:
        return canonical_json(value)
    if not text.isascii() and _BEYOND.search(text) is not None:
        return canonical_json(value)
    return text


def canonical_pieces(value: Any) -> Iterator[bytes]:
    """The pieces of the same text, for a thread, of a value that holds much: between them other threads go on."""
    copy = [ordered(value)]
    try:
        yield from write_in_pieces(copy[0], dump=record_text.dumps)
    finally:
        forget(copy)
