import json

import pytest

from eps.settings.problems import Problem, Severity, describe_problems, kind, nearest, render_path

MISSING = Problem(
    "settings/dev/roles/hd-1/002_server.yml", 12, "channels[1].settings.tls.key_file", "no such file: /x", "make certs"
)


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (
            MISSING,
            "settings/dev/roles/hd-1/002_server.yml: channels[1].settings.tls.key_file: no such file: /x "
            "(line 12; make certs)",
        ),
        (Problem("a.yml", 0, "name", "is missing"), "a.yml: name: is missing"),
        (Problem("a.yml", 3, "", "is not YAML"), "a.yml: is not YAML (line 3)"),
        (Problem("EPS_SETTINGS", 0, "", "is not set", "set it"), "EPS_SETTINGS: is not set (set it)"),
    ],
)
def test_one_line(problem: Problem, line: str) -> None:
    assert str(problem) == line
    assert describe_problems([problem]) == line


def test_several() -> None:
    other = Problem("b.yml", 0, "", "is empty")
    assert describe_problems([MISSING, other]) == f"2 problems in the settings:\n  {MISSING}\n  {other}"


def test_json() -> None:
    assert json.loads(json.dumps(MISSING.to_json())) == {
        "file": MISSING.file,
        "line": 12,
        "path": MISSING.path,
        "text": "no such file: /x",
        "hint": "make certs",
        "severity": "error",
    }
    assert Problem("f", 0, "", "t", severity=Severity.WARNING).to_json()["severity"] == "warning"


@pytest.mark.parametrize(
    ("loc", "path"),
    [((), ""), (("a",), "a"), (("a", "b", 0, 1, "c"), "a.b[0][1].c"), ((0, "a"), "[0].a")],
)
def test_paths(loc: tuple[str | int, ...], path: str) -> None:
    assert render_path(loc) == path


@pytest.mark.parametrize(
    ("word", "valid", "hint"),
    [
        ("chanels", ["name", "channels"], "did you mean channels?"),
        ("xyz", ["name", "type"], "the nearest valid one is type; valid here: name, type"),
        ("x", [], "nothing may be set here"),
    ],
)
def test_nearest(word: str, valid: list[str], hint: str) -> None:
    assert nearest(word, valid) == hint


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (None, "nothing"),
        (True, "true or false"),
        ("", "text"),
        (1, "a whole number"),
        (1.5, "a number"),
        ([], "a list"),
        ({}, "a map"),
    ],
)
def test_kinds(value: object, word: str) -> None:
    assert kind(value) == word
