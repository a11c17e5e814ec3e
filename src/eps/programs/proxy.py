"""The ``proxy`` program: public and private proxies, through which those are reached that nobody can dial."""

import typer

from eps.programs.cli import TakeOver, make_app
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
    from eps.programs.serving import serve
    from eps.programs.wiring.proxy import PublicProxyServer
    from eps.settings import load_proxy

    serve(context, "proxy", "PRO", load_proxy, PublicProxyServer, take_over=take_over, kind="public-proxy")


@run.command("private", short_help="Run the private proxy.")
def run_private(context: typer.Context, take_over: TakeOver = False) -> None:
    """Run the private proxy, through which TLS clients reach a server in our network, until Ctrl-C or SIGTERM."""
    from eps.programs.serving import serve
    from eps.programs.wiring.proxy import PrivateProxyServer
    from eps.settings import load_proxy

    serve(context, "proxy", "PRO", load_proxy, PrivateProxyServer, take_over=take_over, kind="private-proxy")


add_store_commands(app, "proxy")


def main() -> None:
    """The console script."""
    app(prog_name="proxy")


if __name__ == "__main__":
    main()
