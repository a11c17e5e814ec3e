"""``$NAME`` in settings: where the values come from and how they are put in (PROTOCOL.md section 6).

A file's variables are its own: neither the files it includes nor those it is merged with see them. ``$DIR`` and
``$PATH`` are the file's folder and path. A string that is nothing but ``$NAME`` takes the variable's type.
"""

import getpass
import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eps.settings.node import Broken, Node, Origin, plain
from eps.settings.problems import Loc, Severity, kind, nearest

Prompt = Callable[[str, bool], str]
"""Asks the administrator for a variable by name; the flag says that the answer must not be shown."""


def terminal_prompt() -> Prompt | None:
    """Asks at the terminal; None where there is none (a service, a pipe)."""
    if sys.stdin is None or not sys.stdin.isatty():
        return None

    def ask(name: str, sensitive: bool) -> str:
        if sensitive:
            return getpass.getpass(f"{name}: ")
        print(f"{name}: ", end="", file=sys.stderr, flush=True)  # standard output may be somebody's data
        return input()

    return ask


AddProblem = Callable[[Origin, Loc, str, str, Severity], None]
"""Takes note of a problem: where it stands, what is wrong, a hint."""

_NAME = re.compile(r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*))")
_KEYS = ("source", "type", "variable", "default", "value", "sensitive")
_SOURCES = ("env", "literal", "prompt")
_TYPES = ("string", "int", "float", "any")

Value = str | int | float | bool | None


class Undefined(Exception):
    """A string names a variable that has no value. ``hint`` is None if that has been reported already."""

    def __init__(self, name: str, hint: str | None) -> None:
        super().__init__(name)
        self.name, self.hint = name, hint


@dataclass(slots=True)
class Scope:
    """The variables of one file."""

    values: dict[str, Value] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    @classmethod
    def of_file(cls, path: Path) -> "Scope":
        """A scope with ``$DIR`` and ``$PATH``, both absolute."""
        absolute = os.path.abspath(path)
        return cls({"DIR": os.path.dirname(absolute), "PATH": absolute})

    def substitute(self, text: str) -> Value:
        """``text`` with every ``$NAME`` replaced and ``$$`` as a dollar; any other dollar stays as it is.

        Raises:
            Undefined: there is no such variable.
        """
        alone = _NAME.fullmatch(text)
        if alone and alone[2]:
            return self.get(alone[2])
        result, end = "", 0
        for match in _NAME.finditer(text):
            result += text[end : match.start()]
            value = "$" if match[1] else _as_text(self.get(match[2]))
            if match[2] in ("DIR", "PATH") and result.endswith("/"):
                value = value.removeprefix("/")  # "/$DIR/x" is written where $DIR has no leading slash
            result += value
            end = match.end()
        return result + text[end:]

    def hides(self, text: str) -> bool:
        """Whether variables stand in ``text`` whose values may be secrets: all but where the file is."""
        return any(match[2] not in (None, "DIR", "PATH") for match in _NAME.finditer(text))

    def get(self, name: str) -> Value:
        if name in self.values:
            return self.values[name]
        if name in self.failed:
            raise Undefined(name, None)
        raise Undefined(name, f"define it under vars, or write $$ for a dollar; {nearest(name, self.values)}")


def _as_text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def read_variables(
    definitions: Node, scope: Scope, environment: Mapping[str, str], prompt: Prompt | None, add: AddProblem
) -> None:
    """Work out a file's ``vars`` into ``scope``; a definition may use the ones above it."""
    if definitions.children is None:
        add(definitions.origin, ("vars",), f"must be a map, not {kind(plain(definitions))}", "", Severity.ERROR)
        return
    for name, definition in definitions.children.items():
        for key, child in (definition.children or {}).items():
            if key not in _KEYS:
                add(child.origin, ("vars", name, key), "unknown key, ignored", nearest(key, _KEYS), Severity.WARNING)
        try:
            scope.values[name] = _Definition(name, definition, scope, environment, prompt).value()
        except _DefinitionError as error:
            scope.failed.add(name)
            add(error.origin, ("vars", name, *error.loc), error.text, error.hint, Severity.ERROR)


class _DefinitionError(Exception):
    def __init__(self, origin: Origin, loc: Loc, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.origin, self.loc, self.text, self.hint = origin, loc, text, hint


class _Definition:
    """One variable: ``{source, type, …}``."""

    def __init__(
        self, name: str, node: Node, scope: Scope, environment: Mapping[str, str], prompt: Prompt | None
    ) -> None:
        if node.children is None:
            raise _DefinitionError(node.origin, (), "must be a map with source and type")
        self.name, self.node, self.children = name, node, node.children
        self.scope, self.environment, self.prompt = scope, environment, prompt

    def value(self) -> Value:
        source, type_ = self.word("source", _SOURCES), self.word("type", _TYPES)
        if source == "literal":
            return self.typed(self.given("value"), type_, "value")
        if source == "env":
            return self.from_environment(type_)
        return self.parsed(self.ask(), type_, ())

    def from_environment(self, type_: str) -> Value:
        variable = self.given("variable")
        if not isinstance(variable, str) or not variable:
            raise self.error(("variable",), f"must be the name of an environment variable, not {kind(variable)}")
        if variable in self.environment:
            return self.parsed(self.environment[variable], type_, ("variable",))
        if "default" in self.children:
            return self.typed(self.given("default"), type_, "default")
        hint = f"set it, or give ${self.name} a default"
        raise self.error(("variable",), f"the environment variable {self.children['variable'].value} is not set", hint)

    def ask(self) -> str:
        sensitive = self.given("sensitive") if "sensitive" in self.children else False
        if not isinstance(sensitive, bool):
            raise self.error(("sensitive",), f"must be true or false, not {kind(sensitive)}")
        if self.prompt is None:
            raise self.error((), "needs somebody to ask", "start the program in a terminal, or use source: env")
        try:
            return self.prompt(self.name, sensitive)
        except EOFError:
            raise self.error((), "was asked for, and not given") from None

    def word(self, key: str, valid: tuple[str, ...]) -> str:
        value = self.given(key)
        if not isinstance(value, str) or value not in valid:
            raise self.error((key,), f"must be one of {', '.join(valid)}")
        return value

    def given(self, key: str) -> Any:
        """The value of a mandatory key, its own variables replaced."""
        if key not in self.children:
            raise self.error((), f"{key} is missing")
        value = plain(self.children[key])
        if not isinstance(value, str):
            return value
        try:
            return self.scope.substitute(value)
        except Undefined as error:
            raise self.error((key,), f"${error.name} is not defined here", error.hint or "") from None

    def parsed(self, text: str, type_: str, loc: Loc) -> Value:
        """Text from outside as a value of the type; never shown, since it may be a secret."""
        try:
            if type_ == "int":
                return int(text)
            if type_ == "float":
                return _finite(float(text))
        except ValueError:
            raise self.error(loc, f"its value is not of the type {type_}") from None
        return text

    def typed(self, value: Any, type_: str, key: str) -> Value:
        """A value from the file, which must already be of the type."""
        types: dict[str, tuple[type, ...]] = {"string": (str,), "int": (int,), "float": (int, float)}
        if isinstance(value, dict | list | Broken) or (
            type_ != "any" and (isinstance(value, bool) or not isinstance(value, types[type_]))
        ):
            raise self.error((key,), f"must be of the type {type_}, not {kind(value)}")
        return float(value) if type_ == "float" else value

    def error(self, loc: Loc, text: str, hint: str = "") -> _DefinitionError:
        node = self.children.get(str(loc[0]), self.node) if loc else self.node
        return _DefinitionError(node.origin, loc, text, hint)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number
