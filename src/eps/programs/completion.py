"""What completes command lines: a short script for each shell, which asks the program itself what may come next.

    eps call hd-2.<TAB> → the shell's function → eps completion words -- call hd-2. → hd-2._ping, hd-2.lookup

The answer is one word a line, behind a tab what it is about. Nothing is asked of the network: operators and methods are
those of our server's verified copy of the directory, and where there is none, none are offered.
"""

from collections.abc import Iterator, Sequence
from enum import Enum, StrEnum
from typing import Any

from typer.core import TyperArgument, TyperOption


class Shell(StrEnum):
    """The words behind ``completion``; the last is what the scripts ask with."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    WORDS = "words"


_SCRIPTS = {
    Shell.BASH: """_{program}_words() {{
    local word
    COMPREPLY=()
    while IFS=$'\\t' read -r word _; do
        COMPREPLY+=("$word")
    done < <({program} completion words -- "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null)
}}
complete -o default -F _{program}_words {program}
""",
    Shell.ZSH: """#compdef {program}
_{program}_words() {{
    local word about
    local -a found
    while IFS=$'\\t' read -r word about; do
        found+=("${{word//:/\\\\:}}:$about")
    done < <({program} completion words -- "${{(@)words[2,CURRENT]}}" 2>/dev/null)
    if (( $#found )); then _describe {program} found; else _files; fi
}}
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit; }}
compdef _{program}_words {program}
""",
    Shell.FISH: """function __{program}_words
    set -l typed (commandline -opc)
    set -e typed[1]
    {program} completion words -- $typed (commandline -ct) 2>/dev/null
end
complete -c {program} -a '(__{program}_words)'
""",
}

OPERATORS = {"PEER", "[PEER]", "CALLER", "CALLEE", "OPERATOR", "[OPERATOR]"}
"""What arguments and options are called whose value is an operator's name."""

CALLS, METHOD = "OPERATOR.METHOD", "METHOD"

Word = tuple[str, str]
"""What may come next, and a few words on it."""


def script(program: str, shell: Shell) -> str:
    """What a shell is to read."""
    return _SCRIPTS[shell].format(program=program)


def print_words(program: Any, typed: Sequence[str]) -> None:
    """Answer a shell: what may stand in the place of the last of the words."""
    for word, about in next_words(program, typed):
        print(f"{word}\t{about}" if about else word)


def next_words(program: Any, typed: Sequence[str]) -> Iterator[Word]:
    """What may stand in the place of the last of ``typed``, the words behind the program's name."""
    *before, begun = typed or [""]
    command, value_of, arguments = _place(program, before)
    found: Iterator[Word]
    if value_of is not None:
        found = _values(value_of)
    elif begun.startswith("-"):
        found = _options(program, command)
    elif hasattr(command, "commands"):
        found = ((name, inner.short_help or "") for name, inner in command.commands.items() if not inner.hidden)
    else:
        found = _values(arguments[0]) if arguments else iter(())
    return ((word, about) for word, about in found if word.startswith(begun))


def _place(program: Any, before: Sequence[str]) -> tuple[Any, Any, list[Any]]:
    """The command, the option whose value is to come (or None), and the arguments that are still to come."""
    command, value_of = program, None
    arguments: list[Any] = []
    for word in before:
        if value_of is not None:
            value_of = None
        elif word.startswith("-") and len(word) > 1:
            option = _option(program, command, word)
            value_of = option if option is not None and not option.is_flag else None
        elif hasattr(command, "commands"):
            command = command.commands.get(word, command)
            arguments = [one for one in command.params if isinstance(one, TyperArgument)]
        elif arguments and arguments[0].nargs == 1:
            arguments = arguments[1:]
    return command, value_of, arguments


def _option(program: Any, command: Any, word: str) -> Any:
    params = (param for one in (command, program) for param in one.params)
    return next((param for param in params if isinstance(param, TyperOption) and word in param.opts), None)


def _options(program: Any, command: Any) -> Iterator[Word]:
    seen: set[str] = set()
    for param in [*command.params, *program.params]:
        if isinstance(param, TyperOption) and not param.hidden:
            for name in [*param.opts, *param.secondary_opts]:
                if name not in seen:
                    seen.add(name)
                    yield name, (param.help or "").partition(".")[0]
    yield "--help", "Show this message and exit"


def _values(param: Any) -> Iterator[Word]:
    """Of an option or an argument, as far as they are known; of files the shell knows more."""
    metavar = str(param.metavar or "")
    if "|" in metavar:
        yield from ((word, "") for word in metavar.strip("[]").split("|"))
    elif choices := choices_of(param):
        yield from ((word, "") for word in choices if word != Shell.WORDS)
    elif metavar == CALLS:
        yield from _known(methods=True)
    elif metavar == METHOD:
        yield from dict.fromkeys((word.rpartition(".")[2], "") for word, _ in _known(methods=True))
    elif metavar in OPERATORS:
        yield from _known(methods=False)


def choices_of(param: Any) -> list[str]:
    """The words that an option or an argument may be, if only some may."""
    kind = param.type_descriptor.annotation
    return [str(one.value) for one in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []


def _known(*, methods: bool) -> list[Word]:
    from eps.programs.diagnosis.known import names_for_completion

    return names_for_completion(methods=methods)
