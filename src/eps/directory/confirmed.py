"""When a service directory last confirmed what we know, across restarts, and what follows when that is too long ago.

confirmed ─▶ remembered, on disk every 10 minutes
not       ─▶ beyond maximum_age, and daily: a line; with ``refuse`` nobody is trusted any more until it is confirmed
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from eps.core.age import DAY, spoken, spoken_roughly, worth_saying
from eps.core.event import DirectoryConfirmed, Emit, Level, Notice
from eps.datastores.state_file import read_state, write_state

SAVE_SECONDS = 600.0
"""Between two writes of the time: so much older than it is a directory may seem after a restart, of a day or more."""

VERSION = 1

WITHHOLDING = "the service directory is out of reach: what it was told since, revocations too, is not known here"


@dataclass(frozen=True, slots=True)
class AgeLimit:
    """``maximum`` seconds; ``refuse``: an older directory is not used, rather than warned of."""

    maximum: float = DAY
    refuse: bool = False


def kept_time(path: Path) -> float | None:
    """When a directory was confirmed, as ``path`` keeps it: seconds since 1970; None: never, as far as is known."""
    value = read_state(path, VERSION).get("confirmed")
    return float(value) if isinstance(value, float | int) and not isinstance(value, bool) else None


class Confirmed:
    """The time of the last confirmation.

    Args:
        path: the file that keeps it; None keeps nothing.
        now: the time, with a time zone.
    """

    def __init__(self, path: Path | None, limit: AgeLimit, now: Callable[[], datetime], emit: Emit) -> None:
        self._path = path
        self._limit = limit
        self._now = now
        self._emit = emit
        self._time: float | None = None
        self._saved = 0.0
        self._said = 0.0

    async def load(self) -> None:
        """Remember when it was before this start."""
        if self._path is None:
            return
        time = await asyncio.to_thread(kept_time, self._path)
        if time is not None:
            self._saved = time
            self._set(time)

    async def confirm(self) -> None:
        """It is confirmed now."""
        time = self._now().timestamp()
        self._set(time)
        self._said = 0.0
        if abs(time - self._saved) >= SAVE_SECONDS:
            self._saved = time
            await self._save(time)

    @property
    def age(self) -> float | None:
        """Seconds since the last confirmation; None if there never was one, as far as is known."""
        return max(0.0, self._now().timestamp() - self._time) if self._time is not None else None

    @property
    def refused(self) -> bool:
        """Whether the directory may not be used: it is too old, or of an unknown age."""
        return self._limit.refuse and (self.age is None or self.age >= self._limit.maximum)

    def as_of(self) -> str:
        """For messages about pins."""
        age = self.age
        if age is None:
            return "no service directory has confirmed the directory yet"
        return f"the directory was confirmed {spoken_roughly(age)} ago"

    def too_old(self) -> str:
        """Why nothing in the directory counts; "" while it does."""
        if not self.refused:
            return ""
        longer = "" if self.age is None else ", which is longer than maximum_age"
        return f"{self.as_of()}{longer}, so nobody is trusted (when_too_old: refuse)"

    def look(self) -> None:
        """Say how old it is, if that is due."""
        age = self.age
        if age is None or not worth_saying(self._said, age, self._limit.maximum):
            return
        self._said = age
        late = age >= self._limit.maximum
        text = f"no service directory has confirmed the directory for {spoken(age)}"
        if self.refused:
            text += ", longer than maximum_age: it is not used until one does, and nobody is trusted"
        self._emit(Notice(text=text, hint=WITHHOLDING, level=Level.WARN if late else Level.INFO))

    def _set(self, time: float) -> None:
        self._time = time
        self._emit(DirectoryConfirmed(at=time, date=datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")))

    async def _save(self, time: float) -> None:
        if self._path is None:
            return
        try:
            text = orjson.dumps({"version": VERSION, "confirmed": time})
            await asyncio.to_thread(write_state, self._path, text)
        except OSError:
            return  # the cache beside it, of more weight, says so; after a restart the directory only seems older
