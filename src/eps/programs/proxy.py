"""The ``proxy`` program: public and private proxies, through which those are reached that nobody can dial."""

from enum import StrEnum
from typing import Annotated

import typer

from eps.programs.cli import guarded, make_app, options_of
from eps.programs.running.runtime import run_server


class Kind(StrEnum):
    """The words behind ``proxy run``."""

    PUBLIC = "public"
    PRIVATE = "private"


app = make_app(
    "proxy",
    "Proxy: joins the connections of operators that nobody can dial. It sees only ciphertext.",
    example="settings/dev/roles/public-proxy-1",
)


@app.command("run")
def run(
    context: typer.Context,
    kind: Annotated[Kind, typer.Argument(metavar="public|private", help="Which kind of proxy to run.")],
) -> None:
    """Run a proxy until Ctrl-C or SIGTERM."""
    from eps.programs.wiring.parts import from_settings
    from eps.programs.wiring.proxy import PrivateProxyServer, PublicProxyServer
    from eps.settings import load_proxy

    build = PrivateProxyServer if kind is Kind.PRIVATE else PublicProxyServer
    guarded(lambda: run_server("PRO", options_of(context), from_settings(load_proxy, build)))


def main() -> None:
    """The console script."""
    app(prog_name="proxy")


if __name__ == "__main__":
    main()
