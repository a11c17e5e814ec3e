"""Where programs keep what must outlive them: the service directory's records, a proxy's announcements.

    directory · proxy  →  Datastore  ←  sqlite   one file, every acknowledged entry on disk (the default)
                                       ←  file     chunks in an append-only file, as servers in use keep them
                                       ←  redis    a list on a Redis server, as servers in use keep it
                  SharedDatastore      ←  redis_shared   the same, which several service directories continue
                                       ←  memory   gone with the process (tests)

local is what sqlite and file share; redis and redis_shared have redis_link (the connection), redis_state (what has
become of the list, what the server's settings mean) and redis_errors (its refusals, in words).

A store is a growing list of entries {type, id, data} (PROTOCOL.md section 6) and knows nothing of what they mean.
``redis_leases`` is no store: which of several servers of one operator may hold what only one can.
``watched`` reports what fails.
``private`` makes files that only we may read. ``state_file`` is for what is no list: small files of JSON that are put
in place whole.
What an entry looks like in stores that hold plain bytes is :func:`encode_entry`'s business.
"""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from eps.core.wording import counted

RECORD = 1
"""Entry type: a signed record (service directory) or a public announcement (public proxy)."""

ID_BYTES = 16
"""PROTOCOL.md section 6: ids are 16 random bytes."""

FORMAT = 1
"""The first byte of an encoded entry."""

_HEADER = struct.Struct("<BBH")  # format, type, id length


@dataclass(frozen=True, slots=True)
class DataEntry:
    """One entry of a store.

    Attributes:
        type: 0 to 255, what ``data`` is.
        id: 16 bytes in entries of ours; others' may be of any length up to 65,535.
        data: JSON, in every entry that the protocol defines.
    """

    type: int
    id: bytes
    data: bytes


class Datastore(Protocol):
    """An ordered list of entries that survives the program.

    One program at a time has it open, but for stores of public proxies and, on Redis, of service directories: several
    of those may share one. They change it with :meth:`append_if` and :meth:`replace_if` only, which do nothing if
    another one was faster.
    """

    @property
    def location(self) -> str:
        """Where the entries are, for messages to an administrator."""
        ...

    async def append(self, entries: Sequence[DataEntry]) -> None:
        """Add ``entries`` at the end: all of them or none, and durable when this returns.

        A caller that is cancelled does not know whether they were added.

        Raises:
            InternalError: the store can't be written; nothing was added.
        """
        ...

    async def replace(self, entries: Sequence[DataEntry]) -> None:
        """Make the store hold exactly ``entries``; as atomic and durable as :meth:`append`."""
        ...

    async def read_all(self) -> list[DataEntry]:
        """All entries in the order in which they were added.

        Raises:
            InternalError: the store can't be read.
        """
        ...

    async def last_id(self) -> bytes | None:
        """The id of the last entry; None if there is none. Cheap: it tells whether somebody has changed the store."""
        ...

    async def append_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
        """As :meth:`append`, if the id of the last entry is still ``last``; False, and nothing is done, if not.

        The comparison and the change are one step, whoever else has the store open. Since ids are random, an equal id
        says that nobody has changed anything since ``last`` was read.
        """
        ...

    async def replace_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
        """As :meth:`replace`, under the condition of :meth:`append_if`. ``entries`` must have fresh ids."""
        ...

    async def close(self) -> None:
        """Give the store back. Waits for a write that is under way; may be called twice."""
        ...


@runtime_checkable
class SharedDatastore(Datastore, Protocol):
    """A store that others continue, too, while we have it open; what has become of it is for its user to judge."""

    async def read_after(self, count: int, last: bytes | None) -> list[DataEntry] | None:
        """What stands behind the first ``count`` entries.

        Returns:
            None if the id of entry number ``count`` isn't ``last``: the store is no continuation of what it was.

        Raises:
            InternalError: the store can't be read.
        """
        ...

    async def changed(self) -> None:
        """Wait until somebody may have changed the store: soon after each change, and now and then without one."""
        ...


def new_id() -> bytes:
    """A fresh random id."""
    return os.urandom(ID_BYTES)


def encode_entry(entry: DataEntry) -> bytes:
    """An entry's bytes, as stores that hold plain bytes keep it (PROTOCOL.md section 6).

    Raises:
        ValueError: a type beyond one byte or an id beyond 65,535 bytes.
    """
    try:
        return _HEADER.pack(FORMAT, entry.type, len(entry.id)) + entry.id + entry.data
    except struct.error as error:
        raise ValueError(f"entry of type {entry.type}, its id of {counted(len(entry.id), 'byte')}: {error}") from None


def decode_entry(encoded: bytes) -> DataEntry:
    """The entry that ``encoded`` holds; the reverse of :func:`encode_entry`.

    Raises:
        ValueError: too short, or of an unknown format.
    """
    if len(encoded) < _HEADER.size:
        raise ValueError(f"an entry has at least {_HEADER.size} bytes, this one {len(encoded)}")
    version, kind, id_length = _HEADER.unpack_from(encoded)
    if version != FORMAT:
        raise ValueError(f"entry format {version} is unknown, only {FORMAT} is supported")
    end = _HEADER.size + id_length
    if len(encoded) < end:
        raise ValueError(
            f"the entry's id should have {counted(id_length, 'byte')}, only {len(encoded) - _HEADER.size} are there"
        )
    return DataEntry(kind, bytes(encoded[_HEADER.size : end]), bytes(encoded[end:]))
