"""The bounds that a record with exact typed data ought to have, to be held against those that its bytes say.

``core.reading`` reads the bytes, and parses them where :func:`is_plain` doesn't say that it can be saved.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from eps.core.exact import SHAPES, Fields, Many, Text, has_form, known_settings
from eps.core.reading import HEAD, Reading, Tokens, read_known
from eps.core.record import ChangeRecord
from eps.core.structure import TAG, is_empty, structured_bytes


def layout(record: ChangeRecord) -> Reading:
    """The reading that ``record``, whose typed data are exact, ought to have."""
    bounds: list[tuple[int, int]] = []
    known: list[Mapping[str, Tokens]] = []
    _lay_out_list(SHAPES[record.section], record.data, HEAD, bounds)
    if record.section in ("channels", "settings"):
        for item in record.data:
            if item.get("settings") is not None and (wanted := known_settings(record.section, item)):
                settings = item["settings"]
                known.append(
                    {key: _tokens(settings[key]) for key in wanted if not is_empty(settings.get(key))},
                )
    return Reading(record.name, record.section, tuple(bounds), tuple(known))


def is_plain(record: ChangeRecord, data: bytes) -> bool:
    """Whether the bounds of ``record``, whose typed data are exact, need no parser: no value holds a closing key.

    Then the parser, too, has one place only where each value can end. Settings that our programs read are another
    matter: see :func:`known_as_read`.
    """
    if record.section in ("certificates", "groups"):
        return True
    if record.section == "services":
        return data.count(TAG + b"parameters") == 0
    own = sum(item.get("settings") is not None for item in record.data) + (record.section == "settings")
    return data.count(TAG + b"settings") == own


def known_as_read(record: ChangeRecord) -> bool:
    """Whether the settings that our programs read are those that their bytes say, in a record with exact typed data."""
    if record.section not in ("channels", "settings"):
        return True
    for item in record.data:
        settings = item.get("settings")
        wanted = known_settings(record.section, item) if settings is not None else None
        if wanted and read_known(_tokens(settings), wanted) != {
            key: _tokens(settings[key]) for key in wanted if not is_empty(settings.get(key))
        }:
            return False
    return True


def _tokens(value: object) -> list[bytes]:
    return structured_bytes(value).split(TAG)[1:]


def _lay_out_list(shape: Many, items: Sequence[Any], at: int, bounds: list[tuple[int, int]]) -> int:
    """Note the bounds of what is free-form in a list whose word ``list`` is token ``at``; gives where it ends."""
    if not items:
        return at
    at += 1
    for item in items:
        at += 2  # index, and ``map`` or the text
        if not isinstance(shape.element, Text):
            at = _lay_out_object(shape.element, item, at, bounds)
    return at


def _lay_out_object(fields: Fields, item: Mapping[str, Any], at: int, bounds: list[tuple[int, int]]) -> int:
    for field in fields:
        value = item.get(field.key)
        if isinstance(field, Text):
            at += 2 if value else 0
        elif isinstance(field, Many) and (not field.or_free or has_form(value)):
            at = _lay_out_list(field, value, at, bounds) + 1 if value else at
        elif value is not None and not is_empty(value):
            end = at + structured_bytes(value).count(TAG)
            bounds.append((at, end))
            at = end + 1
    return at
