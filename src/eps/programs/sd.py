"""The ``sd`` program: the service directory."""

import typer

from eps.programs.cli import guarded, make_app, options_of
from eps.programs.running.runtime import run_server
from eps.programs.stores import add_store_commands

app = make_app(
    "sd",
    "Service directory: keeps the signed records that say who is in the network and who may do what.",
    example="settings/dev/roles/sd-1",
)


@app.command("run", short_help="Run the service directory.")
def run(context: typer.Context) -> None:
    """Run the service directory's JSON-RPC server until Ctrl-C or SIGTERM."""
    from eps.programs.wiring.parts import from_settings
    from eps.programs.wiring.sd import SdServer
    from eps.settings import load_sd

    guarded(lambda: run_server("SD_", options_of(context), from_settings(load_sd, SdServer)))


add_store_commands(app, "sd")


def main() -> None:
    """The console script."""
    app(prog_name="sd")


if __name__ == "__main__":
    main()
