"""``sd|proxy|eps store``: copy, verify, back up and restore what a program keeps, in datastores of any type.

    place (settings, sqlite:PATH, file:PATH, redis://…) → datastore → entries → written → read again → the same?

Reading does not disturb a program that has the store open. Writing needs the store for itself, where that can be known:
the lock of an SQLite store or a file says who has it, Redis does not.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import ValidationError

from eps.core.event import Event, ignore
from eps.core.wording import counted
from eps.datastores import DataEntry, encode_entry
from eps.datastores.file import read_content, write_content
from eps.datastores.local import obstacle
from eps.datastores.sqlite import read_entries
from eps.errors import EpsError, SettingsError, StartError
from eps.programs.admin.store_owners import owner_of
from eps.programs.wiring.parts import open_datastore
from eps.settings import models

PASSWORD = "EPS_STORE_PASSWORD"  # noqa: S105 - its name, not a password
"""The environment variable with the password for redis://…, since everybody on a machine sees command lines."""

FORMS = "settings, settings:PATH, sqlite:PATH, file:PATH, or redis://[USER@]HOST:PORT/DATABASE?key=KEY"


@dataclass(frozen=True, slots=True)
class Held:
    """What a store holds.

    Attributes:
        notes: what is doubtful about it.
    """

    location: str
    entries: list[DataEntry]
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over all entries, in order; the same for the same content in any type of store."""
        total = hashlib.sha256()
        for entry in self.entries:
            encoded = encode_entry(entry)
            total.update(len(encoded).to_bytes(8, "little") + encoded)
        return total.hexdigest()

    def describe(self) -> str:
        """In a sentence's place."""
        return counted(len(self.entries), "entry", "entries")


def say(event: Event) -> None:
    """An ``Emit`` for commands: on standard error."""
    print(f"{event.level}: {event.message()}", file=sys.stderr)


# Places


def place(text: str, program: str) -> models.Datastore:
    """The datastore that a command line names.

    Raises:
        SettingsError: it names none.
    """
    kind, colon, rest = text.partition(":")
    try:
        if kind == "settings":
            return owner_of(program, rest).store
        if kind == "sqlite" and rest:
            sqlite = models.SqliteSettings(path=str(Path(rest).resolve()))
            return models.SqliteDatastore(type="sqlite", settings=sqlite)
        if kind == "file" and rest:
            file = models.FileSettings(filename=str(Path(rest).resolve()))
            return models.FileDatastore(type="file", settings=file)
        if kind == "redis" and colon:
            return models.RedisDatastore(type="redis", settings=_redis(text))
    except ValidationError as error:
        why = "; ".join(str(each["msg"]) for each in error.errors())
        raise SettingsError(f"{text} names no datastore: {why}", hint=f"write it as {FORMS}") from None
    raise SettingsError(f"{text} names no datastore", hint=f"write it as {FORMS}")


def _redis(text: str) -> models.RedisSettings:
    parts = urlsplit(text)
    if parts.password is not None:  # not shown again
        raise SettingsError(
            "there is a password on the command line, where others can see it",
            hint=f"put it into the variable {PASSWORD}",
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(options) - {"key", "master_name"}):
        raise SettingsError(
            f"{text}: there is no option {', '.join(unknown)}", hint="for TLS, and all else, use settings:PATH"
        )
    database = parts.path.strip("/") or "0"
    if not (database.isascii() and database.isdecimal()):
        raise SettingsError(f"{text}: the database must be a number, not {database!r}", hint=f"write it as {FORMS}")
    hosts = parts.netloc.rpartition("@")[2]
    return models.RedisSettings(
        addresses=tuple(hosts.split(",")),
        username=unquote(parts.username or ""),
        password=os.environ.get(PASSWORD, ""),
        database=int(database),
        key=options.get("key", "entries"),
        master_name=options.get("master_name", ""),
    )


# Reading and writing


async def read(store: models.Datastore) -> Held:
    """What a store holds just now, also while a program has it open.

    Raises:
        EpsError: it can't be read.
    """
    match store:
        case models.SqliteDatastore(settings=given):
            return Held(given.path, read_entries(given.path))
        case models.FileDatastore(settings=given):
            return _read_file(given.filename)
        case models.RedisDatastore():
            opened = await open_datastore(store, ignore, shared=True)
            try:
                return Held(opened.location, await opened.read_all())
            finally:
                await opened.close()
        case models.MemoryDatastore():
            raise StartError("a store of type memory is inside its program", hint="only that program can read it")


def _read_file(path: str) -> Held:
    content = read_content(path)
    notes: list[str] = []
    if content.torn:
        torn = counted(len(content.torn), "byte that is", "bytes that are")
        notes.append(f"{path} ends with {torn} no whole chunk: torn, or being written")
    if content.incomplete:
        what = counted(content.incomplete, "entry that is not whole; it was", "entries that are not whole; they were")
        notes.append(f"{path} holds {what} left out")
    return Held(path, content.entries, tuple(notes))


async def write(store: models.Datastore, entries: Sequence[DataEntry], *, replace: bool) -> Held:
    """Make a store hold exactly ``entries``, and read it again.

    Args:
        replace: also if it holds something.

    Raises:
        EpsError: another program has it, it holds something, or it can't be written. It is unchanged then.
    """
    opened = await open_datastore(store, say)
    try:
        there = len(await opened.read_all())
        if there and not replace:
            raise _occupied(opened.location, there)
        await opened.replace(list(entries))
        return Held(opened.location, await opened.read_all())
    finally:
        await opened.close()


def _occupied(location: str, there: int) -> StartError:
    return StartError(
        f"{location} holds {counted(there, 'entry', 'entries')} already; nothing was changed",
        hint="--replace puts the others in their place: back them up before",
    )


# Commands


async def copy(program: str, source: str, target: str, *, replace: bool, as_json: bool = False) -> None:
    """``store copy``: what is read again afterwards must be the same."""
    kind, _, rest = target.partition(":")
    if kind in ("sqlite", "file"):
        _check_folder(Path(rest))
    held = _noted(await read(place(source, program)))
    written = await write(place(target, program), held.entries, replace=replace)
    _check_same(held, written)
    later = await read(place(source, program))
    if later.digest != held.digest:
        text = f"{held.location} has changed meanwhile, it holds {later.describe()} now"
        print(f"warning: {text}: stop the program that uses it, and copy again", file=sys.stderr)
    _report("copied", held, written, as_json)


async def verify(program: str, where: str, *, as_json: bool = False) -> None:
    """``store verify``: whether the program could work with what is there."""
    owner = owner_of(program)
    store = place(where, program)
    held = _noted(await read(store))
    sense = await owner.check(held.entries, held.location)
    if why := _obstacle(store):
        print(f"warning: a start would fail, as far as this user can tell: {why.message} ({why.hint})", file=sys.stderr)
    if as_json:
        print(json.dumps({"store": held.location, "entries": len(held.entries), "sha256": held.digest}))
    else:
        print(f"{held.location}: {held.describe()}: {sense}; sha256 {held.digest}")


def _obstacle(store: models.Datastore) -> StartError | None:
    match store:
        case models.SqliteDatastore(settings=given):
            return obstacle(given.path)
        case models.FileDatastore(settings=given):
            return obstacle(given.filename)
        case _:
            return None  # read as a program reads it


async def backup(program: str, file: Path, *, replace: bool, as_json: bool = False) -> None:
    """``store backup``: into a file of the format that servers in use read, too."""
    held = _noted(await read(owner_of(program).store))
    _write_backup(file, held.entries, replace=replace)
    written = _read_file(str(file))
    _check_same(held, written)
    _report("backed up", held, written, as_json)


def _write_backup(file: Path, entries: Sequence[DataEntry], *, replace: bool) -> None:
    _check_folder(file)
    if file.exists() and not replace:
        raise StartError(f"{file} is there already", hint="name another file, or say --replace")
    write_content(file, entries)


def _check_folder(file: Path) -> None:
    """A store's folder is made at a program's first start; one on a command line is more likely mistyped."""
    folder = file.absolute().parent
    if not folder.is_dir():
        raise StartError(f"{folder}: no such folder; nothing was written", hint="make it, or name another file")


async def restore(program: str, file: Path, *, replace: bool, as_json: bool = False) -> None:
    """``store restore``: only what the program could work with."""
    owner = owner_of(program)
    held = _noted(_read_file(str(file)))
    await owner.check(held.entries, held.location)
    written = await write(owner.store, held.entries, replace=replace)
    _check_same(held, written)
    _report("restored", held, written, as_json)


def _noted(held: Held) -> Held:
    for note in held.notes:
        print(f"warning: {note}", file=sys.stderr)
    return held


def _check_same(held: Held, written: Held) -> None:
    if held.digest != written.digest:
        raise EpsError(
            f"{written.location} does not hold what {held.location} does: {written.describe()}, not {held.describe()}",
            hint="does a program write to it at the same time? Stop it, and try again",
        )


def _report(done: str, held: Held, written: Held, as_json: bool) -> None:
    if as_json:
        fields = {"from": held.location, "to": written.location, "entries": len(held.entries), "sha256": held.digest}
        print(json.dumps(fields))
        return
    print(f"{done} {held.describe()} from {held.location} to {written.location}")
    print(f"read again, both hold the same: sha256 {held.digest}")
