"""The ``sd`` program: the service directory."""

from pathlib import Path
from typing import Annotated

import typer

from eps.programs.cli import Json, TakeOver, guarded, make_app, run_as
from eps.programs.running.runtime import run as run_command
from eps.programs.shared import add_shared_commands
from eps.programs.stores import add_store_commands

app = make_app(
    "sd",
    "Service directory: keeps the signed records that say who is in the network and who may do what.",
    example="settings/dev/roles/sd-1",
)


@app.command("run", short_help="Run the service directory.")
def run(context: typer.Context, take_over: TakeOver = False) -> None:
    """Run the service directory's JSON-RPC server until Ctrl-C or SIGTERM."""
    run_as("sd", context, take_over=take_over)


@app.command("doctor", short_help="Look at everything and say what is wrong, and what to do.")
def doctor(as_json: Json = False) -> None:
    """Look at settings, key modes, certificates, the running service directory, its records, and its store's past.

    It changes nothing, and works while it is down. Exit code: 0 all is well, 1 something is wrong, 2 wrong settings.
    """
    from eps.programs.diagnosis import commands as looking

    guarded(lambda: looking.sd_doctor(as_json))


store = add_store_commands(app, "sd")
add_shared_commands(app, "sd")


@store.command("import", short_help="Rebuild the store from an exported directory.")
def import_records(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What eps directory export has printed.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Also drop what the store holds and FILE lacks; it is named.")
    ] = False,
) -> None:
    """Put the records of an exported directory into this program's store, verified. Stop the program before.

    What the store has already stays; where it holds records that FILE lacks, nothing is changed without --replace.
    """
    from eps.programs.admin import commands as admin
    from eps.programs.admin import recovery

    guarded(lambda: run_command(recovery.import_records(file, replace=replace, settings=admin.sd_settings())))


def main() -> None:
    """The console script."""
    app(prog_name="sd")


if __name__ == "__main__":
    main()
