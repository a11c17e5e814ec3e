"""The ``proxy`` program: the public proxy, through which operators reach each other that nobody can dial."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from eps.core.event import Emit
from eps.errors import StartError
from eps.programs.cli import guarded, make_app, options_of
from eps.programs.metrics import Metrics
from eps.programs.runtime import Server, run_server


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
    build = _build_private if kind is Kind.PRIVATE else _build_public
    guarded(lambda: run_server("PRO", options_of(context), build))


def _build_public(emit: Emit, metrics: Metrics) -> Server:
    from eps.programs.wiring import build_public_proxy, tell_warnings
    from eps.settings import load_proxy

    loaded = load_proxy(os.environ, Path.cwd())
    tell_warnings(loaded.warnings, emit)
    return build_public_proxy(loaded.settings, emit, metrics)


def _build_private(emit: Emit, metrics: Metrics) -> Server:
    raise StartError(
        "this version has no private proxy yet", hint="run the public proxy; TLS passthrough follows in a later version"
    )


def main() -> None:
    """The console script."""
    app(prog_name="proxy")


if __name__ == "__main__":
    main()
