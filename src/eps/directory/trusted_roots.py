"""Roots that an administrator of ours accepted by hand (``eps sd trust-root``): a small JSON file in the state folder.

The command writes it, the running server reads it whenever it meets a root that would not count otherwise. A file that
can't be read accepts nothing, and must never keep a server from running.
"""

import asyncio
import os
from pathlib import Path

import orjson

from eps.core.event import Emit, Level, Notice
from eps.core.names import Fingerprint, RecordHash
from eps.core.new_root import TrustedRoot
from eps.datastores.private import open_private
from eps.datastores.state_file import write_state

FILE = "trusted-roots.json"
"""Its name in the state folder."""

MAX_ROOTS = 100
"""Kept, the latest: roots are accepted by hand after a key was lost, and need not be known once they were followed."""

MAX_FILE_BYTES = 64 * 1024
"""Three times what :data:`MAX_ROOTS` take. A longer file is not ours."""

VERSION = 1


class TrustedRootsFile:
    """What a running server sees of the file.

    Args:
        path: the file; None: nothing is ever accepted by hand.
        emit: told, once for each reason, that the file can't be used.
    """

    def __init__(self, path: Path | None, emit: Emit) -> None:
        self._path = path
        self._emit = emit
        self._told = ""

    async def read(self) -> frozenset[TrustedRoot]:
        """What is accepted now; nothing if the file can't be used."""
        if self._path is None:
            return frozenset()
        try:
            return frozenset(await asyncio.to_thread(read, self._path))
        except (OSError, ValueError) as error:
            why = f"no root is accepted by hand: {self._path} can't be used: {error}"
            if why != self._told:
                self._told = why
                hint = "remove it, and accept the root again with eps sd trust-root"
                self._emit(Notice(text=why, hint=hint, level=Level.WARN))
            return frozenset()


def read(path: Path) -> list[TrustedRoot]:
    """What the file says, oldest first; nothing if there is no file.

    Raises:
        OSError, ValueError: it can't be read.
    """
    try:
        with open(open_private(path, os.O_RDONLY), "rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return []
    if len(text) > MAX_FILE_BYTES:
        raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
    value = orjson.loads(text)
    if not isinstance(value, dict) or value.get("version") != VERSION or not isinstance(value.get("roots"), list):
        raise ValueError("it does not have the form that eps sd trust-root writes")
    return [_root(item) for item in value["roots"]]


def add(path: Path, root: TrustedRoot) -> None:
    """Accept one more root, for good. All of it or nothing: a server that reads meanwhile sees the file as it was.

    Raises:
        OSError, ValueError: the file can't be read or written.
    """
    roots = [known for known in read(path) if known != root]
    roots = [*roots, root][-MAX_ROOTS:]
    value = {"version": VERSION, "roots": [{"hash": each.hash, "signer": each.signer} for each in roots]}
    write_state(path, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def _root(item: object) -> TrustedRoot:
    found = item if isinstance(item, dict) else {}
    record, signer = found.get("hash"), found.get("signer")
    if not isinstance(record, str) or not isinstance(signer, str):
        raise ValueError("a root in it lacks its hash or its signer")
    return TrustedRoot(RecordHash(record), Fingerprint(signer))
