"""Free-form values in change records: the ``settings`` of channels and services, what validators are given.

They mean nothing here and are copied as they are, nulls inside included, once it is sure that they can be hashed and
written. Their keys are put in order, as other servers do, so that one record has one text. Numbers are doubles
(``core.record_text``). They may be nested deeper than Python's own calls go, so all is done by loops.
"""

import math
from collections.abc import Iterator
from typing import Any

from eps.core.limits import MAX_EXACT_INTEGER, MAX_SETTINGS_NESTING
from eps.core.place import Path, where
from eps.core.record_text import Number

MAX_LEVELS = 1_000
"""Objects and lists inside each other in a value that is used: no honest record has a tenth of it."""


class Unfit(ValueError):
    """A value that no record can hold.

    Attributes:
        where: its place inside the free-form value, ``.a[0].b``.
        what: what is wrong with it.
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(what)
        self.where = where
        self.what = what


def copy_value(value: Any) -> Any:
    """The normal form of ``value``; shares nothing that can change with it.

    Raises:
        Unfit: it holds what is no JSON, or a number beyond a double's range, or half of a surrogate pair.
    """
    holder: list[Any] = [None]
    todo: list[tuple[Any, Any, Any, Path | None]] = [(value, holder, 0, None)]
    while todo:
        item, target, place, path = todo.pop()
        kind = type(item)
        if kind is str:
            target[place] = _text(item, path)
        elif kind is dict:
            copied = target[place] = dict.fromkeys(sorted(item))
            todo += [(item[_text(key, path, ": a key")], copied, key, (path, f".{key}")) for key in copied]
        elif kind is list:
            elements = target[place] = [None] * len(item)
            todo += [(element, elements, index, (path, f"[{index}]")) for index, element in enumerate(item)]
        else:
            target[place] = _scalar(item, path)
    return holder[0]


def levels(value: Any) -> int:
    """How many objects and lists are inside each other in ``value``; 0 for a scalar."""
    return max((level for _, level in _containers(value)), default=0)


def sendable(value: Any) -> Any:
    """``value`` as it can be sent along with calls: numbers as plain ones; null if it is nested too deep for that."""
    plain = True
    for container, level in _containers(value):
        if level > MAX_SETTINGS_NESTING:
            return None
        items = container.values() if isinstance(container, dict) else container
        plain = plain and not any(type(item) is Number for item in items)
    return value if plain else _with_plain_numbers(value)


def _with_plain_numbers(value: Any) -> Any:
    """A copy; at most :data:`MAX_SETTINGS_NESTING` deep."""
    if isinstance(value, dict):
        return {key: _with_plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_plain_numbers(item) for item in value]
    return float(value) if type(value) is Number else value


def _containers(value: Any) -> Iterator[tuple[Any, int]]:
    todo = [(value, 1)]
    while todo:
        item, level = todo.pop()
        if isinstance(item, dict):
            todo += [(inner, level + 1) for inner in item.values() if isinstance(inner, dict | list)]
        elif isinstance(item, list):
            todo += [(inner, level + 1) for inner in item if isinstance(inner, dict | list)]
        else:
            continue  # only ``value`` itself can be a scalar
        yield item, level


def _scalar(item: Any, path: Path | None) -> Any:
    if item is None or isinstance(item, bool):
        return item
    if isinstance(item, int) and abs(item) > MAX_EXACT_INTEGER:
        item = Number(str(item)) if abs(item) < 10**309 else math.inf
    if not isinstance(item, int | float):
        raise Unfit(where(path), f"must be a JSON value, not {type(item).__name__}")
    if not math.isfinite(item):
        raise Unfit(where(path), "is not a finite number")
    return item


def _text(text: Any, path: Path | None, which: str = "") -> str:
    try:
        text.encode()
    except (UnicodeEncodeError, AttributeError):
        raise Unfit(where(path) + which, "holds half of a surrogate pair") from None
    return str(text)
