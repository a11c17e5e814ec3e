"""What a file would change: change records, an entry as ``eps directory show --json`` prints it, or a slip."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eps.core.entries import Directory
from eps.core.likeness import meant
from eps.core.names import Object
from eps.core.record import SECTIONS
from eps.directory.json_files import FileRecord, knowing, read_json, record_files, records_of
from eps.errors import BadParams, SettingsError
from eps.programs.directory.signed import is_signed
from eps.programs.directory.slip import Slip, is_slip, parse

FORMS = 'change records ({"records": [...]}), an entry from eps directory show OPERATOR --json, or a change slip'

BESIDE = ("name", "signed", "marks", "records", "properties")
"""What entries are shown with besides their sections; it is passed over."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Changes that a file holds, as records.

    Attributes:
        slip: where they stand in one.
    """

    found: Sequence[FileRecord]
    slip: Slip | None = None


def read_wanted(path: Path, present: Directory, foreign: Iterable[str] = ()) -> Wanted:
    """The changes that ``path``, a file or a folder of files, asks for.

    Args:
        present: what an entry is compared with: of it, those sections count that are another there.
        foreign: keys of settings in it that servers of another make read.

    Raises:
        SettingsError: naming the file and what is wrong with it, or that it changes nothing.
    """
    values = [(str(file), read_json(file)) for file in record_files(path)]
    if len(values) == 1 and is_slip(values[0][1]):
        slip = _of_slip(*values[0])
        return replace(slip, found=knowing(slip.found, foreign))
    found = [item for file, value in values for item in records_of(_as_records(value, file, present), file)]
    if not found:
        raise changes_nothing(path)
    return Wanted(knowing(found, foreign))


def changes_nothing(path: Path) -> SettingsError:
    """What is said of a file that asks for what there is."""
    return SettingsError(f"{path}: changes nothing", hint="the directory says all of this already")


def _of_slip(file: str, value: Any) -> Wanted:
    try:
        slip = parse(value)
    except BadParams as error:
        raise SettingsError(f"{file}: {error.message}", hint=error.hint) from None
    return Wanted(records_of({"records": list(slip.changes)}, file), slip)


def _as_records(value: Any, file: str, present: Directory) -> Any:
    if isinstance(value, dict) and "records" in value and "name" not in value:
        if is_signed(value):
            hint = "eps directory submit submits it; the others want what was signed"
            raise SettingsError(f"{file}: holds records that are signed already", hint=hint)
        return value
    entries = value if isinstance(value, list) else [value]
    if not entries or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in entries):
        raise SettingsError(f"{file}: is none of what can be proposed", hint=FORMS)
    for entry in entries:
        _check_entry(entry, file)
    return {"records": [record for entry in entries for record in _differences(entry, present)]}


def _check_entry(entry: Object, file: str) -> None:
    """Refuse keys that an entry doesn't have: a misspelt section would seem to stay as it is."""
    if "section" in entry:
        raise SettingsError(f"{file}: holds a change record by itself", hint='put records into {"records": [...]}')
    for key in entry:
        if key not in (*SECTIONS, *BESIDE):
            like = meant(key, SECTIONS)
            hint = f"did you mean {like}?" if like else f"the sections are {', '.join(SECTIONS)}"
            what = f"the entry of {entry['name'][:80]}: there is no section {key[:80]!r}"
            raise SettingsError(f"{file}: {what}", hint=hint)


def _differences(entry: Any, present: Directory) -> list[Any]:
    """Records for what is another in ``entry`` than it is now; a section that isn't there stays as it is."""
    records = [
        {"name": entry["name"], "section": section, "data": entry[section] or []}
        for section in SECTIONS
        if section in entry
    ]
    now = present.entry(entry["name"])
    shown = now.to_json() if now is not None else {}
    return [record for record in records if record["data"] != (shown.get(record["section"]) or [])]
