"""Commands that mean the same on all three programs: ``config check``, ``status``, ``completion``, ``man``."""

from typing import Annotated

import typer

from eps.programs import completion as completing
from eps.programs.cli import Json, add_group, guarded
from eps.programs.completion import Shell
from eps.programs.manual import manual

CHECK = "Say all that is wrong or doubtful in settings."
CHECK_HELP = "Read the settings and say all that is wrong or doubtful: files, keys, types, certificates."


def add_shared_commands(app: typer.Typer, program: str) -> None:
    """Give a program these commands."""
    _add_config_check(app, program)
    _add_status(app, program)

    @app.command("completion", short_help="Print what completes our command lines in a shell.")
    def completion(
        shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="Which shell.")],
        words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    ) -> None:
        """Print a script for bash, zsh or fish that completes commands, options, operators and methods.

        For this shell: source <(eps completion bash). For every one: the same line in ~/.bashrc or ~/.zshrc, or
        eps completion fish > ~/.config/fish/completions/eps.fish. Operators and methods are those of our server's
        verified copy of the directory.
        """
        if shell is Shell.WORDS:
            guarded(lambda: completing.print_words(typer.main.get_command(app), words or []))
        else:
            guarded(lambda: print(completing.script(program, shell), end=""))

    @app.command("man", short_help="Print the manual page.")
    def man() -> None:
        """Print this program's manual page, made of its help: read it with eps man | man -l -, or keep it as eps.1."""
        guarded(lambda: print(manual(typer.main.get_command(app), program), end=""))


def _add_status(app: typer.Typer, program: str) -> None:
    @app.command("status", short_help="Say what the running server is at.")
    def status(
        watch: Annotated[bool, typer.Option("--watch", help="Again each second, until Ctrl-C.")] = False,
        as_json: Json = False,
    ) -> None:
        """Say what the running server with these settings' state folder is at: what is wrong, calls, tunnels, peers,
        directory, certificates. The status page shows the same, if settings say where.
        """
        from eps.programs.diagnosis import commands as looking

        guarded(lambda: looking.status(program, as_json, watch))


def _add_config_check(app: typer.Typer, program: str) -> None:
    group = add_group(app, "config", "Settings files.")
    command = group.command("check", short_help=CHECK, help=CHECK_HELP)
    if program == "eps":

        @command
        def check_any(
            which: Annotated[
                str,
                typer.Option(
                    "--program", metavar="eps|sd|proxy", help="Whose settings; default: of each whose variable is set."
                ),
            ] = "",
            as_json: Json = False,
        ) -> None:
            _check(which, as_json=as_json)

    else:

        @command
        def check_own(as_json: Json = False) -> None:
            _check(program, as_json=as_json)


def _check(program: str, *, as_json: bool) -> None:
    from eps.programs.admin import commands as admin

    guarded(lambda: admin.check_config(program, as_json=as_json))
