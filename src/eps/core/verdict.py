"""What a properly signed and hashed record does to the directory (PROTOCOL.md sections 4 and 10).

A good signature covers bytes; whether they mean what the record shows is decided here. One record that can't be used
must not keep all later ones, revocations included, from being followed. So

    the bytes say something else        it was changed after it was signed, and is refused, as if its hash were wrong
    typed data that is not exact        the section is empty from here on: no pins, no groups, no rights
    free-form values beyond all bounds  the section stays as it was, and is marked
    no operator's name                  nothing changes
    all else                            the section is replaced
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from eps.core.exact import flaw, known_settings, parameters_flaw
from eps.core.free_form import MAX_LEVELS, levels
from eps.core.layout import is_plain, known_as_read, layout
from eps.core.limits import MAX_MESSAGE_BYTES
from eps.core.reading import read, tail_of
from eps.core.record import ChangeRecord
from eps.core.second_reading import holds_pieces
from eps.errors import RecordError

MAX_RECORD_BYTES = MAX_MESSAGE_BYTES
"""Of what a record's hash covers: an entry with more could be sent to nobody."""


class Use(Enum):
    """What becomes of the section that a record is for."""

    REPLACED = "replaced"
    EMPTIED = "emptied"
    KEPT = "kept"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a record does, and why, if that is not what it was signed for."""

    use: Use
    why: str = ""


REPLACED = Verdict(Use.REPLACED)

_OTHERWISE = "what was signed says something else than this record"


def judge(record: ChangeRecord, data: bytes) -> Verdict:
    """What ``record`` does, whose bytes (``structured_bytes``) are ``data``, and were signed.

    Raises:
        RecordError: the bytes are those of another record.
    """
    if not record.name:
        return Verdict(Use.NONE, "it names no operator")
    if len(data) > MAX_RECORD_BYTES:
        _check_tail(record, data)
        return Verdict(Use.KEPT, f"it has more than {MAX_RECORD_BYTES} bytes")
    why = flaw(record)
    if why:
        if read(data, doubting=True) is not None:
            raise _changed(why)
        _check_tail(record, data)
        return Verdict(Use.EMPTIED, why)
    if not (is_plain(record, data) and known_as_read(record)) and read(data) != layout(record):
        raise _changed("a free-form value holds what looks like its end and something behind it")
    deepest = max(map(levels, record.data), default=0)
    if deepest > MAX_LEVELS:
        return Verdict(Use.KEPT, f"a value is nested more than {MAX_LEVELS} deep")
    return REPLACED


def unfit(record: ChangeRecord, data: bytes) -> str:
    """Why ``record`` should not be signed, nor taken by a service directory; "" if nothing speaks against it."""
    why = flaw(record) or next(_flaws_at_signing(record), "")
    if why:
        return why
    try:
        return judge(record, data).why
    except RecordError as error:
        return error.message


def _flaws_at_signing(record: ChangeRecord) -> Iterator[str]:
    """What is followed where it stands in a chain, though it is not as exact as what is signed now has to be."""
    for index, item in enumerate(record.data if record.section in ("channels", "settings") else ()):
        if known_settings(record.section, item) and holds_pieces(item.get("settings")):
            yield f"data[{index}].settings: must hold no text with the word 'string' or NUL in it"
    for index, service in enumerate(record.data if record.section == "services" else ()):
        for number, method in enumerate(service["methods"]):
            if found := parameters_flaw(method.get("parameters"), f"data[{index}].methods[{number}].parameters"):
                yield found


def _check_tail(record: ChangeRecord, data: bytes) -> None:
    """Refuse a record that is shown as another operator's, or for another section, than its bytes end with."""
    tail = tail_of(data)
    if tail is not None and tail != (record.name, record.section):
        raise _changed(f"it was signed for {tail[0]}, {tail[1]}")


def _changed(why: str) -> RecordError:
    return RecordError(
        f"{_OTHERWISE}: {why}", hint="it was changed on its way, or is so odd that nobody can tell; ask its signer"
    )
