"""Typed clients from descriptions: what mypy and Python make of the code, and that nobody's words become code."""

import ast
import asyncio
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired

import pytest
from typing_extensions import TypedDict

from eps.client import MethodDescription
from eps.programs.diagnosis import typed_client
from eps.programs.diagnosis.generating import generate
from eps.programs.diagnosis.typed_client import client_code
from eps.service import Service
from eps.testing import Network
from support.machine import ROOT

pytest_plugins = ["eps.testing.fixtures"]


class Point(TypedDict):
    east: float
    north: NotRequired[float]


@dataclass
class Tree:
    name: str
    below: "list[Tree]"
    kind: Literal["hall", "room"] | None = None


def service() -> Service:
    made = Service("places")

    @made.method
    def lookup(name: str, at: Point | None = None, tags: list[str] | None = None, limit: int = 5) -> Tree | None:
        """Where a place is.

        With \\"quotes\\" and more.
        """
        return Tree(name, [Tree(f"{limit}", [])], "hall")

    @made.method
    async def count(by: dict[str, int]) -> dict[str, int]:
        return by

    @made.method(name="import")
    def import_(timeout: float, self_: bool = False) -> None: ...

    return made


PROGRAM = """
from eps.client import Client
from made import Hd2

with Client("http://localhost:1") as client:
    hd_2 = Hd2(client)
    found = hd_2.lookup(name="office", limit=3, timeout=5)
    reveal_type(hd_2.count(by={"a": 1}))
    if found is not None:
        reveal_type(found["below"][0]["below"])
    hd_2.lookup(nome="office")
    reveal_type(hd_2.import_)
"""


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "async"])
def test_a_generated_client_calls(eps_network: Network, capsys: pytest.CaptureFixture[str], is_async: bool) -> None:
    eps_network.operator("hd-2", service())
    assert generate("hd-2", eps_network.endpoint("hd-1").url, is_async=is_async) == 0
    scope: dict[str, Any] = {"__name__": "made"}
    code = capsys.readouterr().out
    exec(compile(code, "made.py", "exec"), scope)
    tree = {"name": "office", "below": [{"name": "3", "below": [], "kind": None}], "kind": "hall"}

    async def later() -> Any:
        async with eps_network.async_client("hd-1") as client:
            return await scope["Hd2"](client).lookup(name="office", limit=3)

    found = (
        asyncio.run(later()) if is_async else scope["Hd2"](eps_network.client("hd-1")).lookup(name="office", limit=3)
    )
    assert found == tree
    assert [call.params for call in eps_network.calls] == [{"name": "office", "limit": 3}]


def test_mypy_strict(eps_network: Network, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    eps_network.operator("hd-2", service())
    assert generate("hd-2", eps_network.endpoint("hd-1").url, is_async=False) == 0
    (tmp_path / "made.py").write_text(capsys.readouterr().out)
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(ROOT / ".mypy_cache"),
        "made.py",
        "program.py",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=tmp_path, check=False)
    wrong = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(wrong) == 1 and "nome" in wrong[0], done.stdout
    assert "dict[builtins.str, builtins.int]" in done.stdout or "dict[str, int]" in done.stdout
    assert "Tree" in done.stdout


def described(**more: Any) -> MethodDescription:
    return MethodDescription(**{"operator": "x", "name": "f", "described_by": "application", **more})


FILES = ("made.py", "program.py")

EVIL = 'x"""\nimport os\nos.abort()\n"""'


def test_nobodys_words_become_code() -> None:
    schema = {"type": "object", "properties": {EVIL: {"enum": [EVIL]}, "a": {"const": EVIL}}, "required": [EVIL, "a"]}
    wild = {"type": "object", "properties": {"a": {"enum": [EVIL]}, "b": {"$ref": EVIL}, "self_": schema}}
    evil = {"$ref": "#/$defs/" + EVIL, "$defs": {EVIL: wild}}
    methods = [
        described(name=EVIL, description=EVIL, params=schema, result=schema),
        described(name=EVIL + "2", description=EVIL * 200, params=wild, result=evil),
        described(name="class"),
        described(name="_client"),
        described(name="f", params={"type": "object", "properties": {"a": {"type": ["string", EVIL]}}}),
        described(name="7"),
        described(name="Σ"),
    ]
    for is_async in (False, True):
        tree = ast.parse(client_code(EVIL, methods, is_async=is_async))
        assert not [one for one in ast.walk(tree) if isinstance(one, ast.Import)]
        kinds = {type(one) for one in tree.body}
        assert kinds == {ast.Expr, ast.ImportFrom, ast.ClassDef}
        calls = {one.func.id for one in ast.walk(tree) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)}
        assert calls <= {"cast"}


def hint(schema: Any, **shared: Any) -> str:
    return typed_client.Types().of(schema, "X", shared)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "str"),
        ({"type": ["integer", "null"]}, "int | None"),
        ({"anyOf": [{"type": "number"}, {"type": "boolean"}]}, "float | bool"),
        ({"oneOf": [{"type": "number"}, {}]}, "Any"),
        ({"type": "array", "items": {"type": "null"}}, "list[None]"),
        ({"type": "array"}, "list[Any]"),
        ({"type": "object"}, "dict[str, Any]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "dict[str, int]"),
        ({"type": "object", "properties": {"a-b": {}}}, "dict[str, Any]"),
        ({"type": "object", "properties": {"a": {}}}, "X"),
        ({"enum": ["a", 1, None]}, "Literal['a', 1, None]"),
        ({"enum": [1.5]}, "Any"),
        ({"const": True}, "Literal[True]"),
        ({"$ref": "#/$defs/nowhere"}, "Any"),
        ({"type": 7}, "Any"),
        (True, "Any"),
    ],
    ids=str,
)
def test_types(schema: Any, expected: str) -> None:
    assert hint(schema) == expected


def test_references() -> None:
    assert hint({"$ref": "#/$defs/A"}, A={"$ref": "#/$defs/A"}) == "Any", "no form"
    types = typed_client.Types()
    tree = {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#/$defs/T"}}}}
    assert types.of({"$ref": "#/$defs/T"}, "X", {"T": tree}) == "T"
    assert types.of({"$ref": "#/$defs/T"}, "X", {"T": tree | {"more": 1}}) == "T2", "another of that name"
    assert types.classes["T"] == "class T(TypedDict):\n    below: NotRequired[list[T]]"


def chain(length: int, link: Any) -> dict[str, Any]:
    """Schemas of which each refers to the next."""
    return {f"D{n}": link({"$ref": f"#/$defs/D{n + 1}"}) for n in range(length)}


@pytest.mark.parametrize(
    "link",
    [
        lambda one: {"anyOf": [{"type": "array", "items": one}, {"type": "object", "additionalProperties": one}]},
        lambda one: one,
        lambda one: {"type": "object", "properties": {"next": one}},
    ],
    ids=["doubling", "reference", "class"],
)
def test_chains_without_end(link: Any) -> None:
    shared = chain(900, link)
    types = typed_client.Types()
    assert len(types.of({"$ref": "#/$defs/D0"}, "X", shared)) <= typed_client.MAX_HINT_CHARS
    assert sum(map(len, types.classes.values())) < 100_000


def test_names_that_python_and_types_have_are_others(tmp_path: Path) -> None:
    names = ["list", "dict", "str", "True", "none", "Point", "cast"]
    point = {"$ref": "#/$defs/none", "$defs": {"none": {"type": "object", "properties": {"list": {}, "a": {}}}}}
    places = {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}
    params = {"type": "object", "properties": {"dict": {"type": "string"}, "str": {"type": "integer"}}}
    methods = [described(name=one, params=params, result=places) for one in names]
    methods.append(described(name="point", result=point | {"title": "x"}))
    methods.append(described(name="x", params={"properties": {"list": {}}}))
    (tmp_path / "made.py").write_text(client_code("none", methods))
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache"), "made.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout


def test_a_long_text_is_cut() -> None:
    code = client_code("x", [described(description="a\n\n" * 10_000)])
    assert len(code) < 20_000


def test_as_many_classes_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed_client, "MAX_CLASSES", 1)
    types, schema = typed_client.Types(), {"type": "object", "properties": {"a": {}}}
    assert [types.of(schema, name, {}) for name in "XY"] == ["X", "dict[str, Any]"]


def test_nothing_to_make_it_of(eps_network: Network, capsys: pytest.CaptureFixture[str]) -> None:
    eps_network.operator("hd-2")
    assert generate("hd-2", eps_network.endpoint("hd-1").url, is_async=False) == 1
    said = capsys.readouterr()
    assert not said.out and "we may call no method of hd-2" in said.err
