"""Whether a free-form value could be read in another way from the same bytes (PROTOCOL.md section 10).

No parser can decide which of two such values was signed: ``{"p": {"a": "1"}, "q": "z"}`` and ``{"q": {"a": "1", "z":
"p"}}`` have the same bytes. So nobody is refused for it; who follows a directory warns, and who signs is told.

Texts that hold the word ``string``, or NUL, are taken for what they look like: pieces of something else. Without them
the search asks for two ways to put the tokens together, and stops at the second, or when it has taken too many steps.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from eps.core.exact import OBJECT_WORD, TAG_WORD, has_form, known_settings
from eps.core.record import ChangeRecord
from eps.core.structure import TAG, structured_bytes

MAX_STEPS = 10_000
"""Of a search: 20 ms at most. What it has not found by then is not said."""

MAX_OPEN = 100
"""Objects and lists inside each other that are searched."""

FREE_SECTIONS = ("channels", "services", "settings", "preferences")
"""Sections with free-form values."""

_Tokens = Sequence[bytes]


def doubtful_places(record: ChangeRecord) -> Iterator[str]:
    """The places of free-form values in ``record`` that could be read in another way, ``data[0].settings``."""
    for place, value in _free_values(record):
        if has_second_reading(value):
            yield place


def has_second_reading(value: Any) -> bool:
    """Whether another value than ``value``, which is not empty, has its bytes; False if that was not found in time."""
    if holds_pieces(value):
        return True
    return _ways(structured_bytes(value).split(TAG)[1:], objects_only=isinstance(value, dict)) > 1


def is_some_object(tokens: _Tokens) -> bool:
    """Whether an object without odd texts has these tokens; True also if that was not found out in time."""
    return _ways(tokens, objects_only=True, unknown=2) > 0


def _ways(tokens: _Tokens, *, objects_only: bool, unknown: int = 0) -> int:
    search = _Search(tokens)
    try:
        return search.ways(objects_only=objects_only)
    except _Enough:
        return unknown


def _free_values(record: ChangeRecord) -> Iterator[tuple[str, Any]]:
    for index, item in enumerate(record.data):
        if record.section in ("channels", "settings", "preferences"):
            settings = item.get("settings") or {}
            # What our programs read is read exactly; if there is nothing else, there is nothing to doubt.
            if settings.keys() - known_settings(record.section, item).keys():
                yield f"data[{index}].settings", settings
        elif record.section == "services":
            for number, method in enumerate(item["methods"]):
                yield from _free_parameters(method.get("parameters"), f"data[{index}].methods[{number}].parameters")


def _free_parameters(parameters: Any, place: str) -> Iterator[tuple[str, Any]]:
    if not has_form(parameters):
        if parameters:
            yield place, parameters
        return
    for index, item in enumerate(parameters):
        for number, validator in enumerate(item.get("validators") or ()):
            if validator.get("parameters"):
                yield f"{place}[{index}].validators[{number}].parameters", validator["parameters"]


def holds_pieces(value: Any) -> bool:
    """Whether ``value`` holds a text or a key with the word ``string`` or NUL in it."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            if TAG_WORD in item or "\0" in item:
                return True
        elif isinstance(item, dict):
            todo += item
            todo += item.values()
        elif isinstance(item, list):
            todo += item
    return False


class _Enough(Exception):
    """The search has taken too long, or goes too deep. Never leaves this module."""


class _Search:
    """Puts tokens together in every way."""

    def __init__(self, tokens: _Tokens) -> None:
        self._tokens = tokens
        self._steps = 0

    def ways(self, *, objects_only: bool) -> int:
        """How many values have exactly these tokens: 0, 1, or 2 for two and more."""
        count = 0
        for end in self._fields(1, b"", 1, first=True) if objects_only else self._value(0, 0):
            count += end == len(self._tokens)
            if count > 1:
                break
        return count

    def _value(self, at: int, depth: int) -> Iterator[int]:
        """Where a value that begins at ``at`` can end, each end as often as there are ways to get there."""
        self._steps += 1
        if self._steps > MAX_STEPS or depth > MAX_OPEN:
            raise _Enough
        if at >= len(self._tokens):
            return
        token = self._tokens[at]
        if _is_number(token) or _is_text(token):
            yield at + 1
        if token == OBJECT_WORD.encode():
            yield from self._fields(at + 1, b"", depth + 1, first=True)
        elif token == b"list":
            yield from self._elements(at + 1, 0, depth + 1)

    def _fields(self, at: int, last: bytes, depth: int, *, first: bool = False) -> Iterator[int]:
        """An object's further fields, whose keys come behind ``last``; none is a way, too."""
        yield at
        for end in self._value(at, depth):
            if first:
                yield from self._fields(end, b"", depth + 1)  # the empty key, which is written as nothing
            if end < len(self._tokens) and (self._tokens[end] > last) and _is_text(self._tokens[end]):
                yield from self._fields(end + 1, self._tokens[end], depth + 1)

    def _elements(self, at: int, index: int, depth: int) -> Iterator[int]:
        """A list's further elements; an empty one is its index only."""
        if index:
            yield at
        if at < len(self._tokens) and self._tokens[at] == b"%d" % index:
            yield from self._elements(at + 1, index + 1, depth + 1)
            for end in self._value(at + 1, depth):
                yield from self._elements(end, index + 1, depth + 1)


def _is_number(token: bytes) -> bool:
    """A number, or true."""
    if token.startswith(b"float"):
        return len(token) == 15 and token.endswith(b"\0\0")
    return token == b"bool\x02" + bytes(9)


def _is_text(token: bytes) -> bool:
    try:
        return bool(token) and "\0" not in token.decode()
    except UnicodeDecodeError:
        return False
