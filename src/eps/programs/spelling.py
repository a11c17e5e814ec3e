"""Command lines as scripts have them for servers in use, put into the one spelling that ours are read in.

    -level debug, --level=debug     one dash or two before a long option, a value behind a = or a space
    server run --level debug        an option of the program behind the command, where people type it
    --reset=true, --reset=false     a value for an option that takes none
    s run                           short for server run
    help, h, sd help sign           the same as --help
    (nothing more)                  the same as --help, where a command is missing

What is none of this passes unchanged, so that complaints quote what was typed.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from typer import BadParameter
from typer.core import TyperGroup, TyperOption

HELP = "--help"
HELP_WORDS = ("help", "h")

ENOUGH = {HELP, "-h", "--version"}
"""Options that need no command."""

ALIASES = {"s": "server"}
"""Short names of commands."""

VERBOSE = ("-v", "-V", "--verbose")
"""Elsewhere they mean the version, or more words: whoever types one is told both."""

VERBOSE_HINT = "--version prints the version, and --level debug logs more"

YES, NO = ("1", "t", "true"), ("0", "f", "false")
"""Values of options that take none, in any case of letters."""


class Program(TyperGroup):
    """The command that a program is: it understands its words in every spelling above."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Called by typer with what was typed."""
        return super().parse_args(ctx, in_our_words(self, args))


def in_our_words(program: TyperGroup, typed: Sequence[str]) -> list[str]:
    """``typed`` as ``program`` understands it."""
    said, behind = _read(program, deque(typed))
    return [*behind, *said]


def _read(program: TyperGroup, rest: deque[str]) -> tuple[list[str], list[str]]:
    """What was typed, and options of the program itself that stood behind the command; all in our words."""
    command: Any = program
    said: list[str] = []
    behind: list[str] = []
    wants_help = False
    while rest:
        word = rest.popleft()
        if word == "--":
            return [*said, word, *rest], behind
        inner = getattr(command, "commands", {}).get(ALIASES.get(word, word))
        if inner is not None:
            command = inner
            said.append(inner.name)
        elif word in HELP_WORDS and hasattr(command, "commands"):
            wants_help = True
        elif word[:1] == "-" and len(word) > 1:
            _sort(program, command, word, rest, (said, behind))
        else:
            said.append(word)
            _read_arguments(program, command, rest, (said, behind))
            return said, behind
    wants_help = wants_help or hasattr(command, "commands")
    if wants_help and ENOUGH.isdisjoint([*said, *behind]):
        said.append(HELP)
    return said, behind


def _read_arguments(program: TyperGroup, command: Any, rest: deque[str], into: tuple[list[str], list[str]]) -> None:
    """What follows the first argument of a command, or a word that is no command."""
    while rest:
        word = rest.popleft()
        if word == "--":
            into[0].extend([word, *rest])
            return
        if word[:1] == "-" and len(word) > 1:
            _sort(program, command, word, rest, into)
        else:
            into[0].append(word)


def _sort(program: TyperGroup, command: Any, word: str, rest: deque[str], into: tuple[list[str], list[str]]) -> None:
    """Read one option: it is the command's, or else the program's."""
    is_programs = command is not program and _named(command, word) is None and _named(program, word) is not None
    into[is_programs].extend(_option(program if is_programs else command, word, rest))


def _long(word: str) -> str:
    name = word.partition("=")[0]
    return name if name.startswith("--") or len(name) == 2 else f"-{name}"


def _named(command: Any, word: str) -> TyperOption | None:
    """The command's option that ``word`` names."""
    options = [param for param in command.params if isinstance(param, TyperOption)]
    return next((option for option in options if _long(word) in option.opts), None)


def _option(command: Any, word: str, rest: deque[str]) -> list[str]:
    """One option; its value is taken off ``rest``, if it stands there."""
    _, equals, value = word.partition("=")
    long = _long(word)
    if long == HELP:
        return [HELP]
    option = _named(command, word)
    if option is None:
        if word in VERBOSE:
            raise BadParameter(f"there is no option {word}; {VERBOSE_HINT}")
        return [word]
    if not option.is_flag:
        return [f"{long}={value}"] if equals else [long, *([rest.popleft()] if rest else [])]
    if not equals or value.lower() in YES:
        return [long]
    return option.secondary_opts[:1] if value.lower() in NO else [word]
