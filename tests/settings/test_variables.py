"""Where variables come from, what they turn into, and what is said of bad ones."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.settings.problems import Problem, Severity, render_path
from eps.settings.text import parse_text
from eps.settings.variables import Prompt, Scope, Undefined, read_variables, terminal_prompt
from support.testing import Terminal

ENVIRONMENT = {"PORT": "8080", "RATE": "2.5", "EMPTY": "", "NAME": "hd-1", "INF": "inf"}


def define(
    definitions: Any, environment: dict[str, str] | None = None, prompt: Prompt | None = None
) -> tuple[Scope, list[str]]:
    scope = Scope.of_file(Path("/here/x.json"))
    problems: list[str] = []
    node = parse_text(json.dumps({"vars": definitions}), "x.json").children
    assert node is not None

    def add(origin: Any, loc: Any, text: str, hint: str, severity: Severity) -> None:
        problem = Problem(origin.file, origin.line, render_path(loc), text, hint, severity)
        problems.append(f"{problem.severity}: {problem.path}: {problem.text} ({problem.hint})")

    read_variables(node["vars"], scope, ENVIRONMENT if environment is None else environment, prompt, add)
    return scope, problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("$N", 5),
        ("$F", 1.5),
        ("$B", True),
        ("$NULL", None),
        ("$S", "text"),
        ("a$N", "a5"),
        ("$N$N", "55"),
        ("$F/$S", "1.5/text"),
        ("is $B, $NULL!", "is true, !"),
        ("$$", "$"),
        ("$$N", "$N"),
        ("$$$N", "$5"),
        ("$$$$", "$$"),
        ("^a$", "^a$"),
        ("a$ b", "a$ b"),
        ("${N}", "${N}"),
        ("$1", "$1"),
        ("$S-x", "text-x"),
        ("$DIR", "/here"),
        ("$PATH", "/here/x.json"),
        ("$DIR/../a", "/here/../a"),
        ("/$DIR/../a", "/here/../a"),
        ("/$PATH", "/here/x.json"),
        ("file:///$DIR/a", "file:///here/a"),
        ("x$DIR", "x/here"),
        ("/$S", "/text"),
        ("/$SLASH", "//x"),
        ("$DOLLAR", "$N"),
        ("$DOLLAR$DOLLAR", "$N$N"),
    ],
)
def test_substitution(text: str, value: Any) -> None:
    scope = Scope.of_file(Path("/here/x.json"))
    scope.values |= {"N": 5, "F": 1.5, "B": True, "NULL": None, "S": "text", "SLASH": "/x", "DOLLAR": "$N"}
    result = scope.substitute(text)
    assert result == value
    assert type(result) is type(value)


def test_relative_files_have_absolute_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Scope.of_file(Path("a/x.yml")).substitute("/$DIR/b") == f"{tmp_path}/a/b"


@pytest.mark.parametrize("text", ["$NOPE", "a$NOPE", "$DIRX", "$dir"])
def test_undefined(text: str) -> None:
    with pytest.raises(Undefined) as info:
        Scope.of_file(Path("x.yml")).substitute(text)
    assert info.value.hint is not None
    assert "DIR" in info.value.hint


@given(st.text())
def test_escaped_text_comes_back(text: str) -> None:
    assert Scope().substitute(text.replace("$", "$$")) == text


@pytest.mark.parametrize(
    ("definition", "value"),
    [
        ({"source": "env", "variable": "PORT", "type": "string"}, "8080"),
        ({"source": "env", "variable": "PORT", "type": "int"}, 8080),
        ({"source": "env", "variable": "RATE", "type": "float"}, 2.5),
        ({"source": "env", "variable": "PORT", "type": "float"}, 8080.0),
        ({"source": "env", "variable": "PORT", "type": "any"}, "8080"),
        ({"source": "env", "variable": "EMPTY", "type": "string"}, ""),
        ({"source": "env", "variable": "EMPTY", "type": "string", "default": "x"}, ""),
        ({"source": "env", "variable": "NOPE", "type": "string", "default": "x"}, "x"),
        ({"source": "env", "variable": "NOPE", "type": "int", "default": 7}, 7),
        ({"source": "env", "variable": "NOPE", "type": "float", "default": 7}, 7.0),
        ({"source": "env", "variable": "NOPE", "type": "any", "default": True}, True),
        ({"source": "literal", "value": "x", "type": "string"}, "x"),
        ({"source": "literal", "value": 3, "type": "int"}, 3),
        ({"source": "literal", "value": 3, "type": "any"}, 3),
        ({"source": "literal", "value": "$DIR/x", "type": "string"}, "/here/x"),
        ({"source": "literal", "value": "$$", "type": "string"}, "$"),
    ],
)
def test_sources(definition: Any, value: Any) -> None:
    scope, problems = define({"V": definition})
    assert problems == []
    assert scope.substitute("$V") == value
    assert type(scope.substitute("$V")) is type(value)


def test_later_definitions_use_earlier_ones() -> None:
    scope, problems = define(
        {
            "HOST": {"source": "literal", "value": "localhost", "type": "string"},
            "ADDRESS": {"source": "literal", "value": "$HOST:1", "type": "string"},
        }
    )
    assert problems == []
    assert scope.substitute("$ADDRESS") == "localhost:1"


def test_prompting() -> None:
    asked = []

    def prompt(name: str, sensitive: bool) -> str:
        asked.append((name, sensitive))
        return "42"

    definitions = {
        "A": {"source": "prompt", "type": "int"},
        "B": {"source": "prompt", "type": "string", "sensitive": True},
    }
    scope, problems = define(definitions, prompt=prompt)
    assert problems == []
    assert scope.substitute("$A") == 42
    assert scope.substitute("$B") == "42"
    assert asked == [("A", False), ("B", True)]


def test_asking_at_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("5\n"))
    monkeypatch.setattr("getpass.getpass", lambda question: f"secret {question}")
    ask = terminal_prompt()
    assert ask is not None
    assert ask("PORT", False) == "5"
    assert ask("PASSWORD", True) == "secret PASSWORD: "
    assert capsys.readouterr() == ("", "PORT: ")


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(""))
    _, problems = define({"V": {"source": "prompt", "type": "string"}}, prompt=terminal_prompt())
    assert problems == ["error: vars.V: was asked for, and not given ()"]


@pytest.mark.parametrize("stdin", [None, io.StringIO("5\n")])
def test_no_terminal(stdin: io.StringIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    assert terminal_prompt() is None


@pytest.mark.parametrize(
    ("definitions", "problem"),
    [
        ([1], "error: vars: must be a map, not a list ()"),
        ({"V": 1}, "error: vars.V: must be a map with source and type ()"),
        ({"V": {"source": "env", "variable": "PORT"}}, "error: vars.V: type is missing ()"),
        ({"V": {"type": "int"}}, "error: vars.V: source is missing ()"),
        ({"V": {"source": "file", "type": "int"}}, "error: vars.V.source: must be one of env, literal, prompt ()"),
        ({"V": {"source": ["env"], "type": "int"}}, "error: vars.V.source: must be one of env, literal, prompt ()"),
        (
            {"V": {"source": "env", "type": "bool", "variable": "PORT"}},
            "error: vars.V.type: must be one of string, int, float, any ()",
        ),
        ({"V": {"source": "env", "type": "int"}}, "error: vars.V: variable is missing ()"),
        (
            {"V": {"source": "env", "type": "int", "variable": 5}},
            "error: vars.V.variable: must be the name of an environment variable, not a whole number ()",
        ),
        (
            {"V": {"source": "env", "type": "int", "variable": "NOPE"}},
            "error: vars.V.variable: the environment variable NOPE is not set (set it, or give $V a default)",
        ),
        (
            {"V": {"source": "env", "type": "int", "variable": "NAME"}},
            "error: vars.V.variable: its value is not of the type int ()",
        ),
        (
            {"V": {"source": "env", "type": "float", "variable": "INF"}},
            "error: vars.V.variable: its value is not of the type float ()",
        ),
        (
            {"V": {"source": "env", "type": "int", "variable": "NOPE", "default": "7"}},
            "error: vars.V.default: must be of the type int, not text ()",
        ),
        ({"V": {"source": "literal", "type": "int"}}, "error: vars.V: value is missing ()"),
        (
            {"V": {"source": "literal", "type": "int", "value": True}},
            "error: vars.V.value: must be of the type int, not true or false ()",
        ),
        (
            {"V": {"source": "literal", "type": "any", "value": [1]}},
            "error: vars.V.value: must be of the type any, not a list ()",
        ),
        (
            {"V": {"source": "literal", "type": "string", "value": "$NOPE"}},
            "error: vars.V.value: $NOPE is not defined here (define it under vars, or write $$ for a dollar; "
            "the nearest valid one is PATH; valid here: DIR, PATH)",
        ),
        (
            {"V": {"source": "prompt", "type": "string"}},
            "error: vars.V: needs somebody to ask (start the program in a terminal, or use source: env)",
        ),
        (
            {"V": {"source": "prompt", "type": "string", "sensitive": "yes"}},
            "error: vars.V.sensitive: must be true or false, not text ()",
        ),
    ],
)
def test_bad_definitions(definitions: Any, problem: str) -> None:
    scope, problems = define(definitions)
    assert problems == [problem]
    if isinstance(definitions, dict):
        with pytest.raises(Undefined) as info:
            scope.substitute("$V")
        assert info.value.hint is None


def test_a_failed_definition_is_reported_once() -> None:
    _, problems = define(
        {
            "A": {"source": "env", "variable": "NOPE", "type": "string"},
            "B": {"source": "literal", "value": "$A", "type": "string"},
        }
    )
    assert problems == [
        "error: vars.A.variable: the environment variable NOPE is not set (set it, or give $A a default)",
        "error: vars.B.value: $A is not defined here ()",
    ]


def test_unknown_keys_are_only_warned_about() -> None:
    scope, problems = define({"V": {"source": "literal", "value": "x", "type": "string", "sensitiv": True}})
    assert problems == ["warning: vars.V.sensitiv: unknown key, ignored (did you mean sensitive?)"]
    assert scope.substitute("$V") == "x"


def test_values_from_outside_are_not_shown() -> None:
    _, problems = define({"V": {"source": "env", "variable": "SECRET", "type": "int"}}, {"SECRET": "hunter2"})
    assert len(problems) == 1
    assert "hunter2" not in problems[0]
