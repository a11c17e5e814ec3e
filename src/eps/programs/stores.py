"""The commands ``store …``, which all three programs have: what each of them keeps, in datastores of any type."""

from pathlib import Path
from typing import Annotated

import typer

from eps.programs.cli import Json, guarded
from eps.programs.running.runtime import run

PLACES = (
    "settings (of this program), settings:PATH (of another installation of it), sqlite:PATH, file:PATH, or "
    "redis://[USER@]HOST:PORT/DATABASE?key=KEY, whose password is taken from EPS_STORE_PASSWORD"
)

Replace = Annotated[bool, typer.Option("--replace", help="Also where something is already; it is gone then.")]
Backup = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


def add_store_commands(app: typer.Typer, program: str) -> typer.Typer:
    """Give a program the commands ``store copy | verify | backup | restore``; returns the group of them."""
    group = typer.Typer(
        name="store",
        help="What this program keeps: copy, check, back up, restore.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.add_typer(group)

    @group.command("copy", short_help="Copy a store, also to one of another type.")
    def copy(
        source: Annotated[str, typer.Argument(metavar="FROM", help=PLACES)],
        target: Annotated[str, typer.Argument(metavar="TO", help="The same.")],
        replace: Replace = False,
        as_json: Json = False,
    ) -> None:
        """Copy all entries from one store to another, and read both again: they must hold the same.

        FROM may be in use. TO must not be, and must be empty, unless --replace is given.
        """
        from eps.programs.admin import stores

        guarded(lambda: run(stores.copy(program, source, target, replace=replace, as_json=as_json)))

    @group.command("verify", short_help="Check that a store's content is whole.")
    def verify(
        where: Annotated[str, typer.Argument(metavar="STORE", help=PLACES)] = "settings",
        as_json: Json = False,
    ) -> None:
        """Read a store, also one in use, and check that this program could work with what it holds."""
        from eps.programs.admin import stores

        guarded(lambda: run(stores.verify(program, where, as_json=as_json)))

    @group.command("backup", short_help="Copy this program's store into a file.")
    def backup(file: Backup, replace: Replace = False, as_json: Json = False) -> None:
        """Copy this program's store, also while it is in use, into a file, and read that again."""
        from eps.programs.admin import stores

        guarded(lambda: run(stores.backup(program, file, replace=replace, as_json=as_json)))

    @group.command("restore", short_help="Bring a backup back.")
    def restore(file: Backup, replace: Replace = False, as_json: Json = False) -> None:
        """Check a backup, put it into this program's store, and read that again. Stop the program before."""
        from eps.programs.admin import stores

        guarded(lambda: run(stores.restore(program, file, replace=replace, as_json=as_json)))

    return group
