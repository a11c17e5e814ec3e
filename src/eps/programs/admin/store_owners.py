"""Whose a datastore is: where each program's settings name it, and what it must hold for the program to work."""

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eps.core.announcement import Keeper, decode
from eps.core.event import ignore
from eps.core.signature import TrustStore
from eps.core.wording import counted
from eps.datastores import RECORD, DataEntry
from eps.datastores.memory import MemoryDatastore
from eps.directory.service import ServiceDirectory
from eps.errors import SettingsError, StartError
from eps.programs.wiring.credentials import directory_trust
from eps.programs.wiring.parts import directory_cache, now
from eps.settings import PROGRAMS, Problem, describe_problems, load_eps, load_proxy, load_sd, models


@dataclass(frozen=True, slots=True)
class Owner:
    """A program's store.

    Attributes:
        store: as its settings name it.
        check: says in a few words what entries mean; raises StartError naming the one that the program could not use.
            Its second argument is where they are.
    """

    store: models.Datastore
    check: Callable[[Sequence[DataEntry], str], Awaitable[str]]


def owner_of(program: str, paths: str = "") -> Owner:
    """The store that settings name.

    Args:
        program: ``sd``, ``proxy`` or ``eps``.
        paths: of the settings; by default those that the environment lists.

    Raises:
        SettingsError: they can't be used, or name no store.
    """
    environment = {**os.environ, PROGRAMS[program].variable: paths} if paths else os.environ
    folder = Path.cwd()
    if program == "sd":
        loaded_sd = load_sd(environment, folder)
        tell_warnings(loaded_sd.warnings)
        given = loaded_sd.settings.directory
        trust = directory_trust(given)
        return Owner(given.datastore, _checks_records(trust))
    if program == "proxy":
        loaded_proxy = load_proxy(environment, folder)
        tell_warnings(loaded_proxy.warnings)
        return _proxy(loaded_proxy.settings)
    loaded_eps = load_eps(environment, folder)
    tell_warnings(loaded_eps.warnings)
    return _eps(loaded_eps.settings)


def tell_warnings(warnings: Sequence[Problem]) -> None:
    """What is doubtful in settings, on standard error."""
    if warnings:
        print(describe_problems(warnings), file=sys.stderr)


def _proxy(settings: models.ProxySettings) -> Owner:
    if settings.public is not None and settings.private is not None:
        raise SettingsError(
            "the settings have both a public and a private proxy, each with a store of its own",
            hint="name the store itself, as in sqlite:PATH",
        )
    if settings.public is not None:
        return Owner(settings.public.datastore, _checks_announcements(Keeper.PUBLIC))
    if settings.private is not None:
        return Owner(settings.private.datastore, _checks_announcements(Keeper.PRIVATE))
    raise SettingsError("the settings have neither a public nor a private proxy", hint="add one of both sections")


def _eps(settings: models.EpsSettings) -> Owner:
    if not isinstance(settings.directory, models.ApiDirectory):
        raise SettingsError(
            f"directory.type is {settings.directory.type}: this server keeps no directory",
            hint="only servers that follow a service directory (type: api) keep a copy of it",
        )
    given = settings.directory.settings
    cache = models.SqliteSettings(path=directory_cache(settings))
    trust = directory_trust(given)
    return Owner(models.SqliteDatastore(type="sqlite", settings=cache), _checks_records(trust))


def _checks_records(trust: TrustStore) -> Callable[[Sequence[DataEntry], str], Awaitable[str]]:
    async def check(entries: Sequence[DataEntry], location: str) -> str:
        service = ServiceDirectory(MemoryDatastore(entries, location), trust, now, ignore)
        await service.load()
        chain = service.chain
        if not chain.tip:
            return "no records"
        parts = (
            counted(sum(entry.type == RECORD for entry in entries), "record"),
            f"of which the newest chain, {counted(len(chain.records), 'record')} about",
            f"{counted(len(chain.directory.entries), 'operator')},",
            f"verifies; its tip is {chain.tip}",
        )
        return " ".join(parts)

    return check


def _checks_announcements(keeper: Keeper) -> Callable[[Sequence[DataEntry], str], Awaitable[str]]:
    async def check(entries: Sequence[DataEntry], location: str) -> str:
        standing = {}
        for number, entry in enumerate(entries, 1):
            if entry.type != keeper.value:
                continue
            try:
                announcement = decode(entry.data, keeper)
            except ValueError as error:
                raise StartError(
                    f"{location} holds an entry that is no announcement, as number {number}: it {error}",
                    hint="the proxy would go on without it; restore a backup to have it back",
                ) from error
            standing[announcement.key, announcement.holder if keeper is Keeper.PRIVATE else ""] = announcement
        count = sum(announcement.stands(now()) for announcement in standing.values())
        return (
            f"{counted(count, 'announcement stands', 'announcements stand')}, "
            f"{counted(len(standing) - count, 'has expired', 'have expired')}"
        )

    return check
