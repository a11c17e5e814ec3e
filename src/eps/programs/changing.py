"""The commands ``eps directory …``: the directory as people read it, and how changes come into it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from eps.programs.cli import All, DryRun, Json, Strict, WaitForDirectory, add_group, guarded
from eps.programs.running.runtime import run

Copy = Annotated[
    bool, typer.Option("--copy", help="Ask nobody: use what our server has verified. It may be behind by seconds.")
]
Foreign = Annotated[
    list[str] | None,
    typer.Option(
        "--foreign-key", metavar="KEY", help="A key of settings that we don't know, but servers of another make do."
    ),
]
Name = Annotated[str, typer.Argument(metavar="OPERATOR", help="Only of this one.", show_default=False)]
Changes = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help='Change records ({"records": [...]}) or a folder of such files, an entry as show --json prints it, or a '
        "change slip.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Write it there, not to standard output.")
]


def _do(work: Callable[[Any], int]) -> None:
    """Do a command's work, given our settings."""
    from eps.programs.admin.commands import own_settings

    guarded(lambda: work(own_settings()))


def add_directory_commands(app: typer.Typer) -> None:
    """Give the program ``eps`` the group ``directory``."""
    group = add_group(app, "directory", "The directory: look, propose changes, sign, submit.")
    _add_looks(group)
    _add_proposals(group)
    _add_submissions(group)


def _add_looks(group: typer.Typer) -> None:
    @group.command("show", short_help="Show who is in the directory, or one entry.")
    def show(name: Name = "", copy: Copy = False, as_json: Json = False, whole: All = False) -> None:
        """Show all operators, a line each, or one operator's entry, and who signed its sections.

        The service directory is asked, and what it shows is verified; if it can't be reached, or with --copy, it is
        what our server has verified last. Standard error says which.
        """
        from eps.programs.directory import commands as do

        _do(lambda settings: do.show(name, do.Look(copy, as_json, whole=whole), settings))

    @group.command("log", short_help="Show what was changed, when, and who signed it.")
    def log(
        name: Name = "",
        last: Annotated[
            int | None,
            typer.Option(
                "-n", "--last", help="How many records; default: 20, of which a terminal shows a screen.", min=1
            ),
        ] = None,
        whole: All = False,
        copy: Copy = False,
        as_json: Json = False,
    ) -> None:
        """Show the directory's records, the newest first: what each changed, when, and who signed it."""
        from eps.programs.directory import commands as do

        _do(lambda settings: do.log(name, do.Look(copy, as_json, whole=whole), last, settings))

    @group.command("diff", short_help="Show what a file would change.")
    def diff(file: Changes, copy: Copy = False, as_json: Json = False, whole: All = False) -> None:
        """Show what FILE would change in the directory as it is. Nothing is judged."""
        from eps.programs.directory import commands as do

        _do(lambda settings: do.diff(file, do.Look(copy, as_json, whole=whole), settings))

    @group.command("check", short_help="Say what is wrong or doubtful about a change.")
    def check(
        file: Changes,
        copy: Copy = False,
        strict: Strict = False,
        foreign: Foreign = None,
        as_json: Json = False,
        whole: All = False,
    ) -> None:
        """Show what FILE would change, and what is wrong or doubtful about it; of a slip also whose it is and its code.

        Exit code 0 if it can be signed, 1 if something is wrong, or with --strict doubtful.
        """
        from eps.programs.directory import commands as do

        look = do.Look(copy, as_json, strict, foreign=foreign or (), whole=whole)
        _do(lambda settings: do.check(file, look, settings))

    @group.command("export", short_help="Print our verified copy of the directory.")
    def export() -> None:
        """Print the last directory that our server has verified, record by record, as JSON; it may be running.

        From it, sd store import rebuilds the store of a service directory that was lost or set back.
        """
        from eps.programs.admin import commands as admin
        from eps.programs.admin import recovery

        guarded(lambda: run(recovery.export(admin.own_settings())))


def _add_proposals(group: typer.Typer) -> None:
    @group.command("propose", short_help="Make a change slip, to send to an administrator.")
    def propose(
        file: Changes,
        why: Annotated[str, typer.Option(metavar="TEXT", help="For the administrator.")] = "",
        output: Output = None,
        copy: Copy = False,
        strict: Strict = False,
        foreign: Foreign = None,
    ) -> None:
        """Make a change slip of what FILE changes in our entry, to be sent to an administrator of the directory.

        It is signed if our settings have a key for that. Its code is for comparing on another way, by telephone say.
        """
        from eps.programs.directory import commands as do

        _do(
            lambda settings: do.propose(
                file, why, output, do.Look(copy, strict=strict, foreign=foreign or ()), settings
            )
        )

    @group.command("sign", short_help="Sign a change, to be submitted later.")
    def sign(
        file: Changes, output: Output = None, copy: Copy = False, strict: Strict = False, foreign: Foreign = None
    ) -> None:
        """Check FILE, sign what it changes with our key, and print the signed records; submit takes them.

        They follow the directory's last record: if anything else is submitted before them, sign again.
        """
        from eps.programs.directory import commands as do

        _do(lambda settings: do.sign(file, output, do.Look(copy, strict=strict, foreign=foreign or ()), settings))


def _add_submissions(group: typer.Typer) -> None:
    @group.command("submit", short_help="Submit a change; sign it first, if nobody has.")
    def submit(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="As sign prints it, or as sign takes it.")],
        wait: WaitForDirectory = 0.0,
        as_json: Json = False,
        dry_run: DryRun = False,
        strict: Strict = False,
        foreign: Foreign = None,
    ) -> None:
        """Submit what FILE holds as one batch: all of it, or nothing. What nobody has signed yet is signed first."""
        from eps.programs.admin.commands import Submission
        from eps.programs.directory import commands as do

        how = Submission(False, wait, as_json, strict, dry_run, foreign=foreign or ())
        _do(lambda settings: do.submit(file, how, settings))

    @group.command("remove", short_help="Remove an operator from the directory.")
    def remove(
        name: Annotated[str, typer.Argument(metavar="OPERATOR", help="Who is to go.")],
        wait: WaitForDirectory = 0.0,
        as_json: Json = False,
        dry_run: DryRun = False,
        strict: Strict = False,
    ) -> None:
        """Empty an operator's entry, so that nobody talks to it any more; asks first at a terminal.

        A pin for signing stays that no certificate can meet: with no pin at all, an old certificate of a removed
        administrator could sign again.
        """
        from eps.programs.admin.commands import Submission
        from eps.programs.directory import commands as do

        _do(lambda settings: do.remove(name, Submission(False, wait, as_json, strict, dry_run), settings))
