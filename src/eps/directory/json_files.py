"""The directory ``json``: unsigned records from files, for tests (PROTOCOL.md section 4, «Directory types»).

The same files are what ``eps sd submit-records`` reads; both get them from here, so both complain alike.
"""

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eps.core import record_text
from eps.core.entries import Directory
from eps.core.names import Object
from eps.core.record import ChangeRecord, parse_change_record
from eps.core.wording import BYTE_ORDER_MARK, UTF_16
from eps.errors import BadParams, EpsError, NotJson, SettingsError

MAX_FILE_BYTES = 512 * 1024 * 1024
"""What a client accepts of a service directory's answer; no file of records needs more."""

UNDATED = "1970-01-01T00:00:00Z"
"""For records without ``created_at``: nothing compares the dates of unsigned ones."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A change record and where it was read; ``str()`` is ``FILE: records[3]``.

    Attributes:
        given: the JSON value as it stands there, with the keys that are no part of a record.
        foreign: keys of settings that whoever gives the file knows to be read by servers of another make.
    """

    file: str
    index: int
    record: ChangeRecord
    given: object = field(default=None, repr=False, compare=False)
    foreign: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.file}: records[{self.index}]"


def read_record_file(path: str | os.PathLike[str], created_at: str | None = None) -> list[FileRecord]:
    """The records of one file of the form ``{"records": [{name, section, data, created_at}]}``.

    Args:
        created_at: the date that all records get, RFC 3339; None keeps the file's.

    Raises:
        SettingsError: ``FILE: records[3].data[0].name: …``.
    """
    return records_of(read_json(path), str(path), created_at)


def records_of(content: object, path: str, created_at: str | None = None) -> list[FileRecord]:
    """The same of what stands in the file ``path``."""
    values = _list_of(content, path)
    records = []
    for index, value in enumerate(values):
        try:
            records.append(FileRecord(path, index, _parse(value, f"records[{index}]", created_at), value))
        except BadParams as error:
            raise SettingsError(f"{path}: {error.message}{_whose(value)}", hint=error.hint) from None
    return records


def knowing(found: Iterable[FileRecord], foreign: Iterable[str]) -> list[FileRecord]:
    """The same records, with the keys that servers of another make read."""
    keys = frozenset(foreign)
    return [replace(item, foreign=keys) for item in found]


def record_files(path: str | os.PathLike[str]) -> list[Path]:
    """The file itself, or a folder's ``*.json`` files in the order of their names.

    Raises:
        SettingsError: there is no such file, or none in the folder.
    """
    place = Path(path)
    if not place.is_dir():
        return [place]
    files = sorted(file for file in place.glob("*.json") if file.is_file() and file.name[0] != ".")
    if not files:
        raise SettingsError(f"{place}: the folder has no .json files", hint="put files of records there")
    return files


class JsonDirectory:
    """See :class:`eps.directory.DirectorySource`. The files are read once, by ``start``.

    Args:
        path: a file, or a folder whose files are read in name order; a later record replaces an earlier one's section.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._current = Directory.empty()

    @property
    def current(self) -> Directory:
        return self._current

    @property
    def verified(self) -> Directory:
        return self._current

    async def loaded(self) -> bool:
        """Servers start it before they accept anything."""
        return True

    def as_of(self) -> str:
        """Files are what they are."""
        return ""

    def too_old(self) -> str:
        return ""

    def failing(self) -> EpsError | None:
        return None

    async def start(self) -> None:
        """Read the files.

        Raises:
            SettingsError: naming file and record.
        """
        self._current = await asyncio.to_thread(self._read)

    async def refresh(self) -> None:
        """Nothing to ask: the files are read at the start."""

    async def changed(self, seen: Directory) -> Directory:
        if self._current is seen:
            await asyncio.get_running_loop().create_future()  # never: whoever waits is cancelled
        return self._current

    async def close(self) -> None:
        """Nothing runs."""

    def _read(self) -> Directory:
        found = [item for file in record_files(self._path) for item in read_record_file(file)]
        return Directory.from_records([item.record for item in found])


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value of a JSON file, read as strictly as what comes over a wire: no duplicate keys; numbers are doubles.

    Raises:
        SettingsError: naming the file and what is wrong with it.
    """
    try:
        content = Path(path).read_bytes().removeprefix(BYTE_ORDER_MARK)  # some editors write one
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror or error}", hint="check the path") from error
    what, hint = _no_json(content)
    if what:
        raise SettingsError(f"{path}: {what}", hint=hint)
    try:
        return record_text.loads(content, max_bytes=MAX_FILE_BYTES)
    except NotJson as error:
        hint = "look at that place in the file; python3 -m json.tool FILE says more"
        raise SettingsError(f"{path}: {error.message}", hint=hint) from None
    except EpsError as error:
        raise SettingsError(f"{path}: {error.message}", hint=error.hint) from None


def _no_json(content: bytes) -> tuple[str, str]:
    """What a file holds that was not meant to be JSON, and what to do; empty if it may be some."""
    if content.startswith(UTF_16):
        return "is text in UTF-16", "save it as UTF-8"
    if content.startswith(b"-----BEGIN "):
        return "holds a certificate or a key, not JSON", "name another file"
    return ("", "") if content.strip() else ("is empty", "it should hold JSON")


def _list_of(content: object, path: str) -> Sequence[object]:
    records = content.get("records") if isinstance(content, dict) else None
    if not isinstance(records, list):
        raise SettingsError(
            f'{path}: records: must be a list of change records, in an object {{"records": […]}}',
            hint="each record is {name, section, data}; change slips and entries are for eps directory submit",
        )
    return records


def _parse(value: object, place: str, created_at: str | None) -> ChangeRecord:
    if isinstance(value, dict):
        dated: Object = {**value, "created_at": created_at or value.get("created_at") or UNDATED}
        return parse_change_record(dated, place)
    return parse_change_record(value, place)


def _whose(value: object) -> str:
    name = value.get("name") if isinstance(value, dict) else None
    return f" (operator {name[:80]!r})" if isinstance(name, str) and name else ""
