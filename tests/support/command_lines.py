"""The command lines of the three programs."""

from typing import Any

import typer.main

from eps.programs import eps, proxy, sd

APPS = {"eps": eps.app, "sd": sd.app, "proxy": proxy.app}


def command_of(program: str) -> Any:
    """All of a program's commands and options, as Typer runs them."""
    return typer.main.get_command(APPS[program])
