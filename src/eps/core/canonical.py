"""Canonical JSON (RFC 8785): one text for each JSON value, which says where every text, list and object ends.

What a change record's first signature covers has no such marks (``core.structure``), so it can be read in several ways.
A second one, over this text, can't (PROTOCOL.md section 10).

Numbers are doubles, as everywhere in records: 1637000000000000000 is a number here, and not an error as in libraries
that refuse what they can't hold. Values may be nested as deep as memory goes: nothing here calls itself.
"""

from typing import Any

from eps.core import record_text
from eps.core.limits import MAX_EXACT_INTEGER
from eps.core.record_text import Number

_PLAIN_DIGITS = 21
"""Numbers below 10 to this power are written without an exponent (ECMAScript, Number::toString)."""

_PLAIN_ZEROS = 6
"""And those with fewer zeros behind the point."""


def canonical_json(value: Any) -> bytes:
    """The canonical text of ``value``, which is one that ``record_text.loads`` or ``free_form.copy_value`` gave:
    finite numbers, no lone surrogates."""
    return record_text.dumps(ordered(value))


def ordered(value: Any) -> Any:
    """A copy whose keys are in the order of their UTF-16 code units, and whose numbers are written the one way."""
    holder: list[Any] = [None]
    todo: list[tuple[Any, Any, Any]] = [(value, holder, 0)]
    while todo:
        item, target, place = todo.pop()
        if isinstance(item, dict):
            copied = target[place] = dict.fromkeys(sorted(item, key=_utf_16))
            todo += [(inner, copied, key) for key, inner in item.items()]
        elif isinstance(item, list):
            elements = target[place] = [None] * len(item)
            todo += [(element, elements, index) for index, element in enumerate(item)]
        elif isinstance(item, float) or (type(item) is int and not -MAX_EXACT_INTEGER <= item <= MAX_EXACT_INTEGER):
            target[place] = Number(number_text(float(item)))
        else:
            target[place] = item
    return holder[0]


def _utf_16(key: str) -> bytes:
    return key.encode("utf-16-be")


def number_text(number: float) -> str:
    """How ECMAScript writes a finite double: the shortest digits that are it; ``-0`` as ``0``."""
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or "0") - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    return sign + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    """``digits`` with the decimal point behind the ``point``-th of them."""
    if len(digits) <= point <= _PLAIN_DIGITS:
        return digits + "0" * (point - len(digits))
    if 0 < point <= _PLAIN_DIGITS:
        return f"{digits[:point]}.{digits[point:]}"
    if -_PLAIN_ZEROS < point <= 0:
        return "0." + "0" * -point + digits
    return digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + f"e{point - 1:+d}"
