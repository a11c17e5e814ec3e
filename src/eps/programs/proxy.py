"""The ``proxy`` program: public and private proxies, through which those are reached that nobody can dial."""

from enum import StrEnum
from typing import Annotated

import typer

from eps.core.event import Emit
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
    from eps.programs.proxy_wiring import build_public_proxy
    from eps.programs.wiring import settings_from
    from eps.settings import load_proxy

    return build_public_proxy(settings_from(load_proxy, emit), emit, metrics)


def _build_private(emit: Emit, metrics: Metrics) -> Server:
    from eps.programs.proxy_wiring import build_private_proxy
    from eps.programs.wiring import settings_from
    from eps.settings import load_proxy

    return build_private_proxy(settings_from(load_proxy, emit), emit, metrics)


def main() -> None:
    """The console script."""
    app(prog_name="proxy")


if __name__ == "__main__":
    main()
