"""The ``proxy`` program: public and private proxies, through which those are reached that nobody can dial."""

import typer

from eps.programs.cli import TakeOver, make_app, run_as
from eps.programs.shared import add_shared_commands
from eps.programs.stores import add_store_commands

app = make_app(
    "proxy",
    "Proxy: joins the connections of operators that nobody can dial. It sees only ciphertext.",
    example="settings/dev/roles/public-proxy-1",
)
run = typer.Typer(name="run", help="Run a proxy until Ctrl-C or SIGTERM.", rich_markup_mode=None)
app.add_typer(run)


@run.command("public", short_help="Run the public proxy.")
def run_public(context: typer.Context, take_over: TakeOver = False) -> None:
    """Run the public proxy, through which operators are reached that nobody can dial, until Ctrl-C or SIGTERM."""
    run_as("public proxy", context, take_over=take_over)


@run.command("private", short_help="Run the private proxy.")
def run_private(context: typer.Context, take_over: TakeOver = False) -> None:
    """Run the private proxy, through which TLS clients reach a server in our network, until Ctrl-C or SIGTERM."""
    run_as("private proxy", context, take_over=take_over)


add_store_commands(app, "proxy")
add_shared_commands(app, "proxy")


def main() -> None:
    """The console script."""
    app(prog_name="proxy")


if __name__ == "__main__":
    main()
