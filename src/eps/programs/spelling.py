"""Command lines as scripts have them for servers in use, put into the one spelling that ours are read in.

    -level debug, --level=debug     one dash or two before a long option, a value behind a = or a space
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

VERBOSE_HINT = "--version prints the version, and --level debug, before the command, logs more"

YES, NO = ("1", "t", "true"), ("0", "f", "false")
"""Values of options that take none, in any case of letters."""


class Program(TyperGroup):
    """The command that a program is: it understands its words in every spelling above."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Called by typer with what was typed."""
        return super().parse_args(ctx, in_our_words(self, args))


def in_our_words(program: TyperGroup, typed: Sequence[str]) -> list[str]:
    """``typed`` as ``program`` understands it."""
    command: Any = program
    said: list[str] = []
    rest = deque(typed)
    wants_help = False
    while rest:
        word = rest.popleft()
        if word == "--":
            return [*said, word, *rest]
        inner = getattr(command, "commands", {}).get(ALIASES.get(word, word))
        if inner is not None:
            command = inner
            said.append(inner.name)
        elif word in HELP_WORDS and hasattr(command, "commands"):
            wants_help = True
        elif word[:1] == "-" and len(word) > 1:
            said += _option(command, word, rest)
        else:
            return [*said, word, *_options(command, rest)]
    wants_help = wants_help or hasattr(command, "commands")
    return [*said, HELP] if wants_help and ENOUGH.isdisjoint(said) else said


def _options(command: Any, rest: deque[str]) -> list[str]:
    """What follows the first argument of a command, or a word that is no command."""
    said: list[str] = []
    while rest:
        word = rest.popleft()
        if word == "--":
            return [*said, word, *rest]
        said += _option(command, word, rest) if word[:1] == "-" and len(word) > 1 else [word]
    return said


def _option(command: Any, word: str, rest: deque[str]) -> list[str]:
    """One option; its value is taken off ``rest``, if it stands there."""
    name, equals, value = word.partition("=")
    long = name if name.startswith("--") or len(name) == 2 else f"-{name}"
    if long == HELP:
        return [HELP]
    options = [param for param in command.params if isinstance(param, TyperOption)]
    option = next((option for option in options if long in option.opts), None)
    if option is None:
        if word in VERBOSE:
            raise BadParameter(f"there is no option {word}; {VERBOSE_HINT}")
        return [word]
    if not option.is_flag:
        return [f"{long}={value}"] if equals else [long, *([rest.popleft()] if rest else [])]
    if not equals or value.lower() in YES:
        return [long]
    return option.secondary_opts[:1] if value.lower() in NO else [word]
