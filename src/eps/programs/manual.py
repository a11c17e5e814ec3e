"""Manual pages, made of the programs' help: what ``--help`` says of each command, in one page of roff (man(7))."""

from collections.abc import Iterator
from typing import Any

from typer.core import TyperArgument, TyperOption

from eps.programs.completion import choices_of

EXIT_CODES = (
    ("0", "all is well"),
    ("1", "the command failed; standard error says why"),
    ("2", "a server can't start until somebody changes something, or the command line is wrong"),
    ("130", "Ctrl-C"),
    ("143", "SIGTERM, in a command"),
)


def manual(app: Any, program: str) -> str:
    """The page of a program: ``app`` is its command line."""
    return "".join(f"{line}\n" for line in _page(app, program))


def _page(app: Any, program: str) -> Iterator[str]:
    summary, _, more = str(app.help).partition("\n\n")
    yield f".TH {program.upper()} 1"
    yield ".SH NAME"
    yield f"{program} \\- {_plain(summary).rstrip('.')}"
    yield ".SH SYNOPSIS"
    yield f".B {program}"
    yield "[OPTIONS] COMMAND [ARGUMENTS]"
    yield ".SH DESCRIPTION"
    yield _plain(more)
    yield ".SH OPTIONS"
    yield "They may stand before the command or behind it."
    yield from _parameters(app)
    yield ".SH COMMANDS"
    for words, command in _commands(app, program):
        yield from _command(words, command)
    yield ".SH EXIT STATUS"
    for code, meaning in EXIT_CODES:
        yield from _item(code, meaning)


def _commands(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from _commands(inner, f"{words} {name}")
        else:
            yield f"{words} {name}", inner


def _command(words: str, command: Any) -> Iterator[str]:
    arguments = [str(param.metavar or param.name.upper()) for param in command.params if _is_shown_argument(param)]
    yield f".SS {_plain(' '.join([words, *arguments]))}"
    for number, paragraph in enumerate(str(command.help or "").split("\n\n")):
        yield from (".PP",) * (number > 0)
        yield _plain(paragraph)
    yield from _parameters(command)


def _is_shown_argument(param: Any) -> bool:
    return isinstance(param, TyperArgument) and not param.hidden


def _parameters(command: Any) -> Iterator[str]:
    for param in command.params:
        if _is_shown_argument(param):
            yield from _item(str(param.metavar or param.name.upper()), str(param.help or ""))
        elif isinstance(param, TyperOption) and not param.hidden:
            names = ", ".join([*param.opts, *param.secondary_opts])
            value = "" if param.is_flag else f" {_value(param)}"
            yield from _item(names + value, str(param.help or ""))


def _value(param: Any) -> str:
    """What stands for an option's value."""
    return str(param.metavar or "|".join(choices_of(param)) or param.name.upper())


def _item(what: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield f".B {_plain(what)}"
    yield _plain(text)


def _plain(text: str) -> str:
    """Text of one paragraph, in which roff sees no commands."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text[:1] in (".", "'") else text
