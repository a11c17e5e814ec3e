"""What the three command lines share: the options before the command, ``version``, and how they fail."""

from collections.abc import Callable
from typing import Annotated

import typer

from eps.core.event import Level
from eps.programs.guard import exit_code_of
from eps.programs.running.logs import Format
from eps.programs.running.runtime import Options
from eps.programs.spelling import Program

SETTINGS_HELP = (
    "Settings come from the files and folders that the environment variable {variable} lists, "
    "separated by colons, for example {variable}={example}"
)


TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over", help="Take the place of the process that runs with this state folder: no connection is refused."
    ),
]

All = Annotated[bool, typer.Option("--all", help="All of the result, also if it is more than a screen.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change; sign and submit nothing.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse what is doubtful, too.")]
WaitForDirectory = Annotated[
    float, typer.Option(help="Seconds to wait for the service directory to come up.", min=0, show_default=True)
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it has ended, and say whether something was cut.")]


def make_app(program: str, summary: str, *, example: str) -> typer.Typer:
    """An app with the common options and the ``version`` command."""
    variable = f"{program.upper()}_SETTINGS"
    app = typer.Typer(
        name=program,
        cls=Program,
        help=f"{summary}\n\n{SETTINGS_HELP.format(variable=variable, example=example)}",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    app.command("version", help="Print the version.")(print_version)
    return app


def add_group(app: typer.Typer, name: str, text: str) -> typer.Typer:
    """Give a program a group of commands."""
    group = typer.Typer(name=name, help=text, rich_markup_mode=None)
    app.add_typer(group)
    return group


def _version_option(wanted: bool) -> None:
    if wanted:
        print_version()
        raise typer.Exit


def level_of(text: str) -> Level:
    """A word behind ``--level``; in any case of letters, and as older servers' scripts have it."""
    word = text.lower()
    try:
        return Level({"warning": "warn"}.get(word, word))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, map(str, Level)))}.") from None


def _common(
    context: typer.Context,
    level: Annotated[
        Level,
        typer.Option(
            parser=level_of, metavar=f"[{'|'.join(Level)}]", help="The least severe messages to log.", show_default=True
        ),
    ] = Level.INFO,
    style: Annotated[
        Format,
        typer.Option("--format", help="How log lines look: for people, as older servers wrote them, or as JSON."),
    ] = Format.TEXT,
    profile: Annotated[
        str,
        typer.Option(metavar="NAME", help="Write a CPU and a memory profile to NAME.cpu.prof and NAME.memory.txt."),
    ] = "",
    log_file: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="Write the log of a server there, not to standard error; SIGUSR1 reopens it."
        ),
    ] = "",
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_version_option),
    ] = False,
) -> None:
    source = context.get_parameter_source("level")
    given = source is not None and source.name != "DEFAULT"
    context.obj = Options(level=level, level_given=given, format=style, profile=profile, log_file=log_file)


def print_version() -> None:
    """Print the version."""
    from eps import __version__

    print(__version__)


def options_of(context: typer.Context) -> Options:
    """The options before the command."""
    options = context.find_object(Options)
    assert options is not None
    return options


def guarded(work: Callable[[], int | None]) -> None:
    """Do a command's work and leave with its exit code."""
    raise typer.Exit(exit_code_of(work))


def run_as(kind: str, context: typer.Context, *, take_over: bool) -> None:
    """Run a server, one of ``serving.SERVERS``, and leave with its exit code."""
    from eps.programs.serving import serve

    raise typer.Exit(serve(kind, options_of(context), take_over=take_over))
