"""What the three command lines share: the options before the command, ``version``, and how they fail."""

import sys
import warnings
from collections.abc import Callable
from typing import Annotated

import typer

from eps.core.event import Level
from eps.errors import EpsError
from eps.programs.entry import EXIT_INTERRUPTED, interruptible
from eps.programs.running.logs import Format
from eps.programs.running.runtime import EXIT_FAILED, Options, fail
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
    """Do a command's work and leave with its exit code; an expected failure is one clear message, never a traceback."""
    if not sys.warnoptions:  # what libraries advise programmers, about certificates of others say, is not for users
        warnings.filterwarnings("ignore", category=UserWarning, module=r"eps\.")
    try:
        with interruptible():
            code = work() or _flushed()
    except EpsError as error:
        code = fail(error)
    except BrokenPipeError:
        # Whoever read our output has enough (head, less). Python would complain once more at exit.
        sys.stderr.close()
        code = 1
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    raise typer.Exit(code)


def _flushed() -> int:
    """0 if what was printed has reached its file or pipe: a script must not take half a result for a whole one."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"error: the output can't be written: {error.strerror}", file=sys.stderr)
        return EXIT_FAILED
    return 0
