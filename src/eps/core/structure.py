"""The structured hash: SHA-256 over a JSON value, whatever the order of its keys (PROTOCOL.md section 4).

Two values that differ only in what is empty (null, "", 0, false, an empty list) have the same hash: an absent key is
as good as an empty one. Values may be nested as deep as memory goes: nothing here calls itself.
"""

import math
import struct
from collections.abc import Iterator
from hashlib import sha256


def structured_hash(value: object) -> bytes:
    """The 32-byte structured hash of a JSON value (PROTOCOL.md section 4).

    Raises:
        ValueError: something that is no JSON value, or a number that is no finite double, or a lone surrogate.
    """
    return sha256(structured_bytes(value)).digest()


def structured_bytes(value: object) -> bytes:
    """What :func:`structured_hash` is the SHA-256 of. Raises like it."""
    parts: list[bytes] = []
    frames, tails = [iter([(b"", value, b"")])], [b""]
    while frames:
        for head, item, tail in frames[-1]:
            parts.append(head)
            if not is_empty(item):
                inner = _write(item, parts)
                if inner is not None:
                    frames.append(inner)
                    tails.append(tail)
                    break
            parts.append(tail)
        else:
            frames.pop()
            parts.append(tails.pop())
    return b"".join(parts)


def tag(text: str) -> bytes:
    """``text`` as it stands in the bytes that are hashed."""
    return TAG + text.encode()


TAG = b"string"
"""The word in front of every text in the bytes that are hashed; they say neither how long it is nor where it ends."""

_FLOAT, _LIST, _MAP = tag("float"), tag("list"), tag("map")
TRUE = tag("bool") + b"\x02" + bytes(9)
"""The bytes of ``true``."""

_DOUBLE = struct.Struct("<d2x")
_Part = tuple[bytes, object, bytes]
"""Bytes in front of a value, the value, bytes behind it."""


def is_empty(value: object) -> bool:
    """Null, "", 0, false or a list without elements. -0.0 is not empty, nor is an object without keys."""
    if isinstance(value, float):
        return value == 0 and math.copysign(1, value) > 0
    return not value and not isinstance(value, dict)


def _write(value: object, parts: list[bytes]) -> Iterator[_Part] | None:
    """Append the bytes that ``value``, which is not empty, begins with; gives what is inside, if it is a container."""
    if isinstance(value, str):
        parts.append(tag(value))
    elif value is True:
        parts.append(TRUE)
    elif isinstance(value, int | float):
        parts += (_FLOAT, _DOUBLE.pack(_double(value)))
    elif isinstance(value, list | tuple):
        parts.append(_LIST)
        return iter([(tag(str(index)), element, b"") for index, element in enumerate(value)])
    elif isinstance(value, dict):
        parts.append(_MAP)
        # Sorted by code points, which is the order of their UTF-8 bytes.
        return iter([(b"", value[key], tag(key) if key else b"") for key in sorted(value) if not is_empty(value[key])])
    else:
        raise ValueError(f"{type(value).__name__} is no JSON value")
    return None


def _double(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number
