"""A service directory's high-water mark on disk, beside its store and never in it (``core.high_water`` judges).

start ─ mark ─▶ none, or the store goes on from it ─▶ written anew
             └▶ the store is less: told; the mark stays, until the store is whole again or was begun anew
"""

import asyncio
from pathlib import Path

import orjson

from eps.core.chain import Chain
from eps.core.event import Emit, Level, Notice
from eps.core.high_water import HighWater
from eps.datastores.state_file import read_state, write_state
from eps.errors import RecordError

VERSION = 1

RECOVER = "docs/howto-recover-directory.md says how to rebuild the store from any operator's copy"

WHY_LESS = f"was an older copy restored, or a file lost? {RECOVER}"


def not_what_it_was(location: str, lost: str) -> str:
    """That a store is less than it was, for the log."""
    return (
        f"the store {location} is not what it was: {lost}. Servers that verified those records will not believe what "
        "is submitted on top of this, so it is refused, unless it begins the directory anew"
    )


class HighWaterMark:
    """The mark of one store.

    Args:
        path: its file; None keeps none.
        emit: told of a store that is less than it was, and of a mark that can't be written.
    """

    def __init__(self, path: Path | None, emit: Emit) -> None:
        self._path = path
        self._emit = emit
        self._mark: HighWater | None = None
        self._complained = False

    async def compare(self, chain: Chain, location: str) -> None:
        """Say whether ``chain``, the store's at ``location``, is less than it was; call once, at the start."""
        if self._path is None:
            return
        self._mark = HighWater.from_json(await asyncio.to_thread(read_state, self._path, VERSION))
        lost = self.lost(chain)
        if not lost:
            await self.follow(chain)
            return
        self._emit(Notice(text=not_what_it_was(location, lost), hint=f"{WHY_LESS}; {self.forget}", level=Level.ERROR))

    @property
    def forget(self) -> str:
        """What to do where a loss is meant."""
        return f"if this loss is meant, delete {self._path}" if self._path is not None else "a restart forgets it"

    def lost(self, chain: Chain) -> str:
        """In which way ``chain`` is less than the mark; "" if it isn't."""
        return self._mark.lost(chain.records) if self._mark is not None else ""

    def check(self, chain: Chain) -> None:
        """Refuse to go on from less than there was; ``chain`` is the one after a submission that doesn't begin anew.

        Raises:
            RecordError: no server would believe it.
        """
        if lost := self.lost(chain):
            raise RecordError(
                f"the service directory's store is not what it was, no server would believe the batch: with it, {lost}",
                hint=RECOVER,
            )

    async def follow(self, chain: Chain) -> None:
        """The store now holds ``chain``: keep its mark."""
        mark = HighWater.of(chain)
        if self._path is None or mark is None or mark == self._mark:
            return
        self._mark = mark
        text = orjson.dumps({"version": VERSION, **mark.to_json()})
        try:
            await asyncio.to_thread(write_state, self._path, text)
        except OSError as error:
            if not self._complained:
                self._complained = True
                hint = "a store that is set back to before now would not be noticed; check state_path"
                trouble = f"{self._path} can't be written: {error.strerror}"
                self._emit(Notice(text=trouble, hint=hint, level=Level.WARN))
