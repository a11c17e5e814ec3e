"""Places, files, inclusion, references: from the environment variable to one tree."""

import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from eps.settings import loader as module
from eps.settings import node as node_module
from eps.settings.loader import Report, read_settings
from eps.settings.node import Broken, Node, locate, plain

Files = Mapping[str, str]


def put(folder: Path, files: Files) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(folder: Path, files: Files, places: str = "s", **environment: str) -> tuple[Node, Report]:
    put(folder, files)
    return read_settings("EPS_SETTINGS", {"EPS_SETTINGS": places, **environment}, folder)


def settings(folder: Path, files: Files, places: str = "s", **environment: str) -> Any:
    tree, report = read(folder, files, places, **environment)
    assert report.problems == []
    assert not report.unreadable
    return plain(tree)


def problems(folder: Path, files: Files, places: str = "s", **environment: str) -> list[str]:
    return [str(problem) for problem in read(folder, files, places, **environment)[1].problems]


@pytest.mark.parametrize(
    ("files", "places", "result"),
    [
        ({"s/1.yml": "a: [1]", "s/2.json": '{"a": [2]}', "s/10.yml": "a: [10]"}, "s", {"a": [1, 10, 2]}),
        ({"s/x.yaml": "a: 1"}, "s/", {"a": 1}),
        ({"s/x.yml": "a: 1", "s/readme.md": "b: 1", "s/.x.yml": "c: 1", "s/y.yml/z.yml": "d: 1"}, "s", {"a": 1}),
        ({"s/x.yml": "a: 1", "t.yml": "a: 2"}, "s:t.yml", {"a": 2}),
        ({"s/x.yml": "a: 1", "t.yml": "a: 2"}, ":t.yml::s:", {"a": 1}),
        ({"s/x.yml": "a: [1]", "s/y.yml": ""}, "s:s/x.yml", {"a": [1, 1]}),
        ({"s/x.yml": "a: {b!: [1]}"}, "s", {"a": {"b": [1]}}),
    ],
)
def test_places(tmp_path: Path, files: Files, places: str, result: Any) -> None:
    assert settings(tmp_path, files, places) == result


def test_absolute_places(tmp_path: Path) -> None:
    put(tmp_path, {"s/x.yml": "a: 1"})
    environment = {"EPS_SETTINGS": f"{tmp_path}/s"}
    tree, report = read_settings("EPS_SETTINGS", environment, Path("/"))
    assert plain(tree) == {"a": 1}
    assert report.files == [f"{tmp_path}/s/x.yml"]


def test_the_forks_variable_is_read_where_ours_is_not_set(tmp_path: Path) -> None:
    put(tmp_path, {"s/x.yml": "a: 1", "t/x.yml": "a: 2"})
    for environment, value in (
        ({"HYPER_SETTINGS": "s"}, {"a": 1}),
        ({"HYPER_SETTINGS": "s", "EPS_SETTINGS": "t"}, {"a": 2}),
    ):
        tree, report = read_settings("EPS_SETTINGS", environment, tmp_path)
        assert (plain(tree), report.problems) == (value, [])
    tree, _ = read_settings("EPS_SETTINGS", {"HYPER_SETTINGS": "s", "EPS_SETTINGS": ""}, tmp_path)
    assert plain(tree) == {"a": 1}, "an empty one counts as not set"
    for names, said in (
        ({}, "EPS_SETTINGS: is not set, and HYPER_SETTINGS is not set, too"),
        ({"EPS_SETTINGS": ""}, "EPS_SETTINGS: is empty, and HYPER_SETTINGS is not set, too"),
        ({"EPS_SETTINGS": "", "HYPER_SETTINGS": ""}, "EPS_SETTINGS: is empty, and HYPER_SETTINGS is empty, too"),
    ):
        _, report = read_settings("EPS_SETTINGS", names, tmp_path)
        assert str(report.problems[0]).startswith(said)
    _, report = read_settings("EPS_SETTINGS", {"HYPER_SETTINGS": "none"}, tmp_path)
    assert str(report.problems[0]).startswith("none: no such file or folder")
    _, report = read_settings("SD_SETTINGS", {"HYPER_SETTINGS": "s"}, tmp_path)
    assert str(report.problems[0]).startswith("SD_SETTINGS: is not set")


@pytest.mark.parametrize("environment", [{}, {"SD_SETTINGS": ""}, {"SD_SETTINGS": "::"}])
def test_nothing_named(environment: dict[str, str], tmp_path: Path) -> None:
    _, report = read_settings("SD_SETTINGS", environment, tmp_path)
    assert report.unreadable
    state = "is empty" if environment else "is not set"
    assert str(report.problems[0]).startswith(f"SD_SETTINGS: {state} (name your settings")


@pytest.mark.parametrize(
    ("files", "places", "problem"),
    [
        ({}, "s", "s: no such file or folder (places are relative to the working directory, {folder})"),
        ({"s/x.txt": ""}, "s", "s: holds no settings files (names of settings files end in .yml, .yaml, .json)"),
        ({"x.txt": "a: 1"}, "x.txt", "x.txt: is neither YAML nor JSON (names of settings files end in .yml"),
        ({"s/x.yml": "- a"}, "s", "s/x.yml: must hold a map, not a list (line 1)"),
        ({"s/x.yml": "just text"}, "s", "s/x.yml: must hold a map, not text (line 1)"),
        ({"s/x.json": "[]"}, "s", "s/x.json: must hold a map, not a list (line 1)"),
        ({"s/x.yml": "a: 1\nb: 2\na: 3"}, "s", "s/x.yml: duplicate key 'a', first in line 1 (line 3; remove"),
        ({"s/x.yml": "a: ["}, "s", "s/x.yml: is not YAML"),
    ],
)
def test_places_that_are_no_use(tmp_path: Path, files: Files, places: str, problem: str) -> None:
    tree, report = read(tmp_path, files, places)
    assert report.unreadable
    assert len(report.problems) == 1
    assert str(report.problems[0]).startswith(problem.format(folder=tmp_path))
    assert plain(tree) == {}


def test_an_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").mkdir()

    def refuse(path: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    assert problems(tmp_path, {}) == ["s: can't be read: Permission denied"]


def test_a_file_that_vanishes(tmp_path: Path) -> None:
    """It was there when its folder was listed, and is gone when its turn comes."""
    put(tmp_path, {"s/1.yml": "vars: {p: {source: prompt, type: any}}\na: $p", "s/2.yml": "b: 1"})

    def remove(name: str, sensitive: bool) -> str:
        (tmp_path / "s/2.yml").unlink()
        return "x"

    _, report = read_settings("EPS_SETTINGS", {"EPS_SETTINGS": "s"}, tmp_path, remove)
    assert [str(problem) for problem in report.problems] == [f"s/2.yml: no such file: {tmp_path}/s/2.yml"]


def test_all_problems_at_once(tmp_path: Path) -> None:
    files = {"s/1.yml": "a: [", "s/2.yml": "a: $X\nb: $Y", "s/3.json": "{"}
    assert [text.split(":")[0] for text in problems(tmp_path, files, "s:nowhere")] == [
        "s/1.yml",
        "s/2.yml",
        "s/2.yml",
        "s/3.json",
        "nowhere",
    ]


# --- variables ---

VARS = """
vars:
  HOST: {source: env, variable: HOST, type: string, default: here}
  N: {source: literal, value: 5, type: int}
"""


def test_variables_are_replaced_everywhere(tmp_path: Path) -> None:
    files = {"s/x.yml": VARS + "a: $N\nb: ['$HOST:$N', {c: $HOST, d: 1}]\ne: $$N\nf: null"}
    assert settings(tmp_path, files, HOST="there") == {"a": 5, "b": ["there:5", {"c": "there", "d": 1}], "e": "$N"}
    assert settings(tmp_path, files)["b"][0] == "here:5"


def test_variables_are_the_files_own(tmp_path: Path) -> None:
    files = {"s/1.yml": VARS + "a: $N", "s/2.yml": "b: $N"}
    assert problems(tmp_path, files) == [
        "s/2.yml: b: $N is not defined (line 1; define it under vars, or write $$ for a dollar; "
        "the nearest valid one is PATH; valid here: DIR, PATH)"
    ]


def test_undefined_values_are_broken_not_missing(tmp_path: Path) -> None:
    tree, report = read(tmp_path, {"s/x.yml": "a: [$NOPE, 1]"})
    assert len(report.problems) == 1
    assert not report.unreadable
    assert isinstance(locate(tree, ("a", 0))[1].value, Broken)


def test_a_failed_variable_is_reported_where_it_is_defined(tmp_path: Path) -> None:
    text = "vars:\n  V: {source: env, variable: NOPE, type: string}\na: $V\nb: x$V"
    assert problems(tmp_path, {"s/x.yml": text}) == [
        "s/x.yml: vars.V.variable: the environment variable NOPE is not set (line 2; set it, or give $V a default)"
    ]


def test_folders(tmp_path: Path) -> None:
    files = {"s/x.yml": "a: /$DIR/../b\nc: $DIR/d\ne: $PATH"}
    assert settings(tmp_path, files) == {"a": f"{tmp_path}/s/../b", "c": f"{tmp_path}/s/d", "e": f"{tmp_path}/s/x.yml"}


# --- $include ---


@pytest.mark.parametrize(
    ("files", "result"),
    [
        ({"s/x.yml": "$include: ../i/a.yml", "i/a.yml": "a: 1"}, {"a": 1}),
        ({"s/x.yml": "b: {$include: ../i/a.yml}", "i/a.yml": "a: 1"}, {"b": {"a": 1}}),
        ({"s/x.yml": "b: [{$include: ../i/a.yml}]", "i/a.yml": "a: 1"}, {"b": [{"a": 1}]}),
        (
            {
                "s/x.yml": "$include: [../i/a.yml, ../i/b.json]",
                "i/a.yml": "a: [1]\nb: 1",
                "i/b.json": '{"a": [2], "b": 2}',
            },
            {"a": [1, 2], "b": 2},
        ),
        ({"s/x.yml": "$include: ../i/a.yml\na: [2]\nb: 2", "i/a.yml": "a: [1]\nb: 1"}, {"a": [1, 2], "b": 2}),
        ({"s/x.yml": "$include: ../i/a.yml\na!: [2]", "i/a.yml": "a: [1]"}, {"a": [2]}),
        ({"s/1.yml": "a: [1]", "s/2.yml": "$include: ../i/a.yml", "i/a.yml": "a!: [2]"}, {"a": [2]}),
        ({"s/1.yml": "m: {a: 1}", "s/2.yml": "m!: {$include: ../i/a.yml}", "i/a.yml": "b: 2"}, {"m": {"b": 2}}),
        (
            {"s/x.yml": "$include: ../i/a.yml", "i/a.yml": "$include: b/c.yml", "i/b/c.yml": "a: $DIR"},
            {"a": "{folder}/i/b"},
        ),
        ({"s/x.yml": VARS + "$include: '../$HOST.yml'", "here.yml": "a: 1"}, {"a": 1}),
        ({"s/x.yml": "$include: []\na: 1"}, {"a": 1}),
        (
            {"s/x.yml": "a: {$include: ../i.yml}\nb: {$include: ../i.yml}", "i.yml": "c: 1"},
            {"a": {"c": 1}, "b": {"c": 1}},
        ),
    ],
)
def test_including(tmp_path: Path, files: Files, result: Any) -> None:
    found = settings(tmp_path, files)
    assert found == {
        key: value.format(folder=tmp_path) if isinstance(value, str) else value for key, value in result.items()
    }


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (
            {"s/x.yml": "$include: /etc/x.yml"},
            "s/x.yml: $include: takes a relative path, or a list of them (line 1; a path is relative",
        ),
        (
            {"s/x.yml": "a:\n  $include: [5]"},
            "s/x.yml: a.$include[0]: takes a relative path, or a list of them (line 2; a path is relative",
        ),
        ({"s/x.yml": "$include: ../i/none.yml"}, "i/none.yml: no such file: {folder}/s/../i/none.yml"),
        ({"s/x.yml": "$include: x.yml"}, "s/x.yml: includes itself (by way of x.yml)"),
        (
            {"s/x.yml": "$include: ../a.yml", "a.yml": "$include: b.yml", "b.yml": "$include: ./a.yml"},
            "a.yml: includes itself (by way of x.yml → a.yml → b.yml)",
        ),
        ({"s/x.yml": "$include: ../a.txt", "a.txt": ""}, "a.txt: is neither YAML nor JSON (names of settings files"),
        ({"s/x.yml": "$include: $NOPE\na: 1"}, "s/x.yml: $include: $NOPE is not defined (line 1; "),
    ],
)
def test_bad_inclusions(tmp_path: Path, files: Files, problem: str) -> None:
    found = problems(tmp_path, files)
    assert len(found) == 1
    assert found[0].startswith(problem.format(folder=tmp_path))


def test_a_file_is_read_once(tmp_path: Path) -> None:
    names = [f"i{n}.yml" for n in range(12)]
    files = {name: f"$include: [{following}, {following}]" for name, following in pairwise(names)}
    _, report = read(tmp_path, {**files, names[-1]: "a: [1]"}, names[0])
    assert report.problems == []
    assert report.files == names


def test_inclusion_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"i{n}.yml": f"$include: i{n + 1}.yml" for n in range(40)}
    assert problems(tmp_path, files, "i0.yml") == ["i16.yml: more than 256 files, or 16 that include each other"]
    monkeypatch.setattr(module, "MAX_FILES", 2)
    assert problems(tmp_path, {"s/1.yml": "", "s/2.yml": "", "s/3.yml": ""}) == [
        "s/3.yml: more than 2 files, or 16 that include each other"
    ]


@pytest.mark.parametrize(
    "files",
    [
        {"s/1.yml": "a: [1, 2, 3, 4]", "s/2.yml": "a: [1, 2, 3, 4]"},
        {"s/1.yml": "$include: [../i.yml, ../j.yml]", "i.yml": "a: [1, 2, 3, 4]", "j.yml": "a: [1, 2, 3, 4]"},
        {"s/1.yml": "a: [1, 2]\nb: {$ref: a}\nc: {$ref: a}\nd: {$ref: a}"},
    ],
)
def test_size_is_bounded(tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "MAX_NODES", 9)
    _, report = read(tmp_path, files)
    assert [problem.text for problem in report.problems] == ["holds more than 9 values, written out"]
    assert report.unreadable


# --- $ref ---


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("a: 1\nb: {$ref: a}", {"a": 1, "b": 1}),
        ("b: {$ref: a}\na: 1", {"a": 1, "b": 1}),
        (
            "a: {x: [1, {y: 2}]}\nb: {$ref: a.x.1.y}\nc: {$ref: a.x}",
            {"a": {"x": [1, {"y": 2}]}, "b": 2, "c": [1, {"y": 2}]},
        ),
        ("a: {x: 1}\nb: {$ref: a, y: 2}", {"a": {"x": 1}, "b": {"x": 1, "y": 2}}),
        ("a: {x: [1]}\nb: {$ref: a, x: [2]}", {"a": {"x": [1]}, "b": {"x": [1, 2]}}),
        ("a: {x: [1]}\nb: {$ref: a, x!: [2]}", {"a": {"x": [1]}, "b": {"x": [2]}}),
        ("a: {$ref: b}\nb: {$ref: c}\nc: 1", {"a": 1, "b": 1, "c": 1}),
        ("a: {$ref: b.x}\nb: {$ref: c}\nc: {x: 1}", {"a": 1, "b": {"x": 1}, "c": {"x": 1}}),
        ("a: {x: 1, y: {$ref: a.x}}", {"a": {"x": 1, "y": 1}}),
        ("a: {0: 1}\nb: 2", None),
        ("a: {'0': 1}\nb: {$ref: a.0}", {"a": {"0": 1}, "b": 1}),
        ("a: [[1]]\nb: [{$ref: a.0}]", {"a": [[1]], "b": [[1]]}),
        (VARS + "a: $N\nb: {$ref: a}", {"a": 5, "b": 5}),
        ("a: {x: 1}\nb!: {$ref: a}", {"a": {"x": 1}, "b": {"x": 1}}),
    ],
)
def test_references(tmp_path: Path, text: str, result: Any) -> None:
    if result is None:
        assert problems(tmp_path, {"s/x.yml": text}) == [
            "s/x.yml: a key must be text, not a whole number (line 1; put it in quotes)"
        ]
    else:
        assert settings(tmp_path, {"s/x.yml": text}) == result


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: {$ref: a}", ["s/x.yml: a.$ref: $ref leads in a circle (line 1; copy from"]),
        ("a: {$ref: b}\nb: {$ref: a}", ["s/x.yml: a.$ref.$ref: $ref leads in a circle (line 1; copy from"]),
        ("a: {b: [{$ref: a}]}", ["s/x.yml: a.b[0].$ref: $ref leads in a circle (line 1; copy from"]),
        ("a: {$ref: b}", ["s/x.yml: a.$ref: there is no b in this file (line 1; b was not found"]),
        ("b: {c: [1]}\na: {$ref: b.c.1}", ["s/x.yml: a.$ref: there is no b.c.1 in this file (line 2; 1 was not found"]),
        ("b: {c: [1]}\na: {$ref: b.c.x}", ["s/x.yml: a.$ref: there is no b.c.x in this file (line 2; x was not found"]),
        ("b: 1\na: {$ref: b.c}", ["s/x.yml: a.$ref: there is no b.c in this file (line 2; c was not found"]),
        ("a: {$ref: 5}", ["s/x.yml: a.$ref: takes a path such as a.b.0, not a whole number (line 1)"]),
        ("a: {$ref: ''}", ["s/x.yml: a.$ref: takes a path such as a.b.0, not text (line 1)"]),
        ("a: {$ref: $NOPE}", ["s/x.yml: a.$ref: $NOPE is not defined (line 1; "]),
        ("a: $NOPE\nb: {$ref: a}", ["s/x.yml: a: $NOPE is not defined (line 1; "]),
        ("a: $NOPE\nb: {$ref: a.x}", ["s/x.yml: a: $NOPE is not defined (line 1; "]),
        ("a: 1\nb: {$ref: a, c: 2}", ["s/x.yml: b.$ref: can't add settings to a whole number (line 2)"]),
        ("a: [1]\nb: {$ref: a, c: 2}", ["s/x.yml: b.$ref: can't add settings to a list (line 2)"]),
    ],
)
def test_bad_references(tmp_path: Path, text: str, found: list[str]) -> None:
    result = problems(tmp_path, {"s/x.yml": text})
    assert len(result) == len(found)
    assert all(line.startswith(start) for line, start in zip(result, found, strict=True)), result


def test_references_stay_in_their_file(tmp_path: Path) -> None:
    files = {
        "s/x.yml": "a: 1\ni: {$include: ../i.yml}\nb: {$ref: i.y}",
        "i.yml": "y: {$ref: z}\nz: 2\na: 3\nc: {$ref: a}",
    }
    assert settings(tmp_path, files) == {"a": 1, "i": {"y": 2, "z": 2, "a": 3, "c": 3}, "b": 2}
    files = {"s/1.yml": "a: 1", "s/2.yml": "b: {$ref: a}"}
    assert problems(tmp_path, {"s/x.yml": "", **files})[0].startswith("s/2.yml: b.$ref: there is no a in this file")


def test_references_that_nest_without_end(tmp_path: Path) -> None:
    deep = "[" * 60 + "{$ref: %s}" + "]" * 60
    text = "\n".join([f"a{n}: {deep % f'a{n + 1}'}" for n in range(60)] + ["a60: 1"])
    assert problems(tmp_path, {"s/x.yml": text})[0].startswith("s/x.yml: is nested ")


def test_copies_remember_where_they_were_written(tmp_path: Path) -> None:
    tree, _ = read(tmp_path, {"s/x.yml": "a:\n  x: 1\nb: {$ref: a}"})
    assert locate(tree, ("b", "x"))[1].origin.line == 2


@pytest.mark.parametrize("text", ["$ref: a.b.0", "$ref: ''", "$ref: $ref", "$ref: a\nb: 1"])
def test_a_reference_in_place_of_the_file_leaves_a_map(tmp_path: Path, text: str) -> None:
    tree, report = read(tmp_path, {"s/1.yml": "c: 1", "s/2.yml": text})
    assert plain(tree) == {"c": 1}
    assert report.problems and report.unreadable
