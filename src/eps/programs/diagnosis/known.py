"""The directory as an administrator's command knows it: what our own server has verified, whether it runs or not."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from eps.core.age import spoken
from eps.core.entries import Directory, Entry
from eps.core.likeness import meant
from eps.core.names import Operator
from eps.core.permission import callable_by
from eps.directory.api import KeptFiles
from eps.directory.confirmed import kept_time
from eps.directory.json_files import JsonDirectory
from eps.errors import EpsError, StartError, UnknownOperator
from eps.programs.admin import commands as admin
from eps.programs.admin.records import verified_directory
from eps.programs.admin.recovery import copy_of
from eps.programs.running.runtime import run
from eps.programs.wiring.credentials import directory_trust
from eps.programs.wiring.parts import directory_cache, now
from eps.settings import EpsSettings, load_eps, models


@dataclass(frozen=True, slots=True)
class Known:
    """A directory.

    Attributes:
        source: where it is from, and how old it is.
    """

    directory: Directory
    source: str

    def entry(self, name: str) -> Entry:
        """That of an operator; raises UnknownOperator with what was probably meant."""
        found = self.directory.entry(name)
        if found is not None:
            return found
        raise unknown_operator(self, name)


def unknown_operator(known: Known, name: str) -> UnknownOperator:
    """With what was probably meant."""
    similar = meant(name, known.directory.entries)
    hint = f"did you mean {similar}?" if similar else named(known.directory.entries)
    return UnknownOperator(f"{name[:80]} is not in the directory ({known.source})", hint=hint)


MAX_NAMED = 12
"""Operators that a hint lists: two lines."""


def named(names: Collection[str]) -> str:
    """Whom there is."""
    shown = sorted(names)[:MAX_NAMED]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"there are {', '.join(shown)}{more}" if shown else "nobody is in it yet"


async def known_directory(settings: EpsSettings) -> Known:
    """Our server's verified copy; where it has none, what the service directory shows, verified here.

    Raises:
        EpsError: neither is to be had.
    """
    if isinstance(settings.directory, models.JsonDirectory):
        files = JsonDirectory(settings.directory.settings.path)
        await files.start()
        return Known(files.current, f"unsigned, from {settings.directory.settings.path}")
    try:
        chain = await copy_of(settings)
    except StartError as none:
        try:
            return await _asked(settings)
        except EpsError as error:
            raise EpsError(f"{none.message}; and {error.message}", hint=error.hint or none.hint) from error
    return Known(chain.directory, f"our server's verified copy{_age(settings, now())}")


def names_for_completion(*, methods: bool) -> list[tuple[str, str]]:
    """Operators, or what we may call of each as ``OPERATOR.METHOD``, with a few words; none where nothing is known.

    Only what our server has verified counts: nobody waits for a network while a word is completed.
    """
    try:
        settings = load_eps(os.environ, Path.cwd()).settings
        directory = run(copy_of(settings)).directory
    except EpsError:
        return []
    if not methods:
        return [(name, ", ".join(entry.groups)) for name, entry in directory.entries.items()]
    own = directory.entry(settings.name) or Entry(Operator(settings.name))
    return [
        (f"{name}.{method}", "")
        for name, entry in directory.entries.items()
        for method in (entry.callers if entry is own else callable_by(own, entry))
    ]


async def _asked(settings: EpsSettings) -> Known:
    given = admin.api_settings(settings)
    async with admin.directory_of(settings) as calls:
        found = await verified_directory(calls, directory_trust(given), now())
    return Known(found, "from the service directory just now, verified here")


def _age(settings: EpsSettings, at: datetime) -> str:
    age = confirmed_age(settings, at)
    return f", confirmed {spoken(age)} ago or later" if age is not None else ", never confirmed"


def confirmed_age(settings: EpsSettings, at: datetime) -> float | None:
    """Seconds since a service directory last confirmed our copy, as our server wrote it down (every 10 minutes)."""
    path = KeptFiles(directory_cache(settings)).confirmed
    assert path is not None, "there is one where there is a cache"
    time = kept_time(path)
    return max(0.0, at.timestamp() - time) if time is not None else None
