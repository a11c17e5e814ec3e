"""The ``proxy`` program: public and private proxies, through which those are reached that nobody can dial."""

from enum import StrEnum
from typing import Annotated

import typer

from eps.programs.cli import All, Json, TakeOver, Wait, add_group, guarded, make_app, run_as
from eps.programs.shared import add_shared_commands
from eps.programs.stores import add_store_commands

app = make_app(
    "proxy",
    "Proxy: joins the connections of operators that nobody can dial. It sees only ciphertext.",
    example="settings/dev/roles/public-proxy-1",
)
run = add_group(app, "run", "Run a proxy until Ctrl-C or SIGTERM.")


@run.command("public", short_help="Run the public proxy.")
def run_public(context: typer.Context, take_over: TakeOver = False) -> None:
    """Run the public proxy, through which operators are reached that nobody can dial, until Ctrl-C or SIGTERM."""
    run_as("public proxy", context, take_over=take_over)


@run.command("private", short_help="Run the private proxy.")
def run_private(context: typer.Context, take_over: TakeOver = False) -> None:
    """Run the private proxy, through which TLS clients reach a server in our network, until Ctrl-C or SIGTERM."""
    run_as("private proxy", context, take_over=take_over)


class Kind(StrEnum):
    """Which proxy."""

    PUBLIC = "public"
    PRIVATE = "private"


@app.command("drain", short_help="Tell the running proxy to end.")
def drain_proxy(
    kind: Annotated[
        Kind | None, typer.Argument(metavar="KIND", help="Which; by default the one that the settings have.")
    ] = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Tell the running proxy to end as on SIGTERM: it takes no new connections, and has its tunnels replaced.

    It ends when the last connection has. What has not ended within drain_timeout is cut. The proxy that runs with
    these settings' state folder is meant. With --wait, exit code 1 says that something was cut.
    """
    from eps.programs.admin import drain

    guarded(lambda: drain.drain_proxy(kind or "", wait=wait, as_json=as_json))


@app.command("trace", short_help="Show what the running proxy saw of a call.")
def trace(
    wanted: Annotated[str, typer.Argument(metavar="ID", help="32 hex digits.")],
    as_json: Json = False,
    whole: All = False,
) -> None:
    """Show the steps that the running proxy did for the call with trace ID; with --json for eps trace FILE..."""
    from eps.programs.diagnosis import commands as looking

    guarded(lambda: looking.proxy_trace(wanted, as_json, whole))


@app.command("doctor", short_help="Look at everything and say what is wrong, and what to do.")
def doctor(as_json: Json = False) -> None:
    """Look at settings, key modes, clock, certificates, the running proxy, its EPS server, its relay and its directory
    settings.

    It changes nothing, and works while the proxy or its EPS server is down. Exit code: 0 all is well, 1 something is
    wrong, 2 wrong settings.
    """
    from eps.programs.diagnosis import commands as looking

    guarded(lambda: looking.proxy_doctor(as_json))


add_store_commands(app, "proxy")
add_shared_commands(app, "proxy")


def main() -> None:
    """The console script."""
    app(prog_name="proxy")


if __name__ == "__main__":
    main()
