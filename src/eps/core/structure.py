"""The structured hash: SHA-256 over a JSON value, whatever the order of its keys (PROTOCOL.md section 4).

Two values that differ only in what is empty (null, "", 0, false, an empty list) have the same hash: an absent key is
as good as an empty one.
"""

import math
import struct
from hashlib import sha256


def structured_hash(value: object) -> bytes:
    """The 32-byte structured hash of a JSON value (PROTOCOL.md section 4).

    Raises:
        ValueError: something that is no JSON value, or a number that is no finite double, or a lone surrogate.
    """
    parts: list[bytes] = []
    _write(value, parts)
    return sha256(b"".join(parts)).digest()


def _tag(text: str) -> bytes:
    return b"string" + text.encode()


_FLOAT, _LIST, _MAP = _tag("float"), _tag("list"), _tag("map")
_TRUE = _tag("bool") + b"\x02" + bytes(9)
_DOUBLE = struct.Struct("<d2x")


def _is_empty(value: object) -> bool:
    """Null, "", 0, false or a list without elements. -0.0 is not empty, nor is an object without keys."""
    if isinstance(value, float):
        return value == 0 and math.copysign(1, value) > 0
    return not value and not isinstance(value, dict)


def _write(value: object, parts: list[bytes]) -> None:
    """Append the bytes that ``value`` contributes to the hash; nothing for an empty one."""
    if _is_empty(value):
        return
    if isinstance(value, str):
        parts.append(_tag(value))
    elif value is True:
        parts.append(_TRUE)
    elif isinstance(value, int | float):
        parts += (_FLOAT, _DOUBLE.pack(_double(value)))
    elif isinstance(value, list | tuple):
        parts.append(_LIST)
        for index, element in enumerate(value):
            parts.append(_tag(str(index)))
            _write(element, parts)
    elif isinstance(value, dict):
        parts.append(_MAP)
        for key in sorted(value):  # by code points, which is the order of their UTF-8 bytes
            if not _is_empty(value[key]):
                _write(value[key], parts)
                parts.append(_tag(key) if key else b"")
    else:
        raise ValueError(f"{type(value).__name__} is no JSON value")


def _double(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number
