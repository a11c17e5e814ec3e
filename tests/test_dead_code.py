"""What nothing in ``src/eps`` refers to is no part of the product: not even if tests run it.

A name counts as used where it is loaded outside its own definition and outside other unused ones. A module's functions,
classes and constants must be loaded there, or where they were imported; a class's members are compared by name alone,
whatever object stands before the dot. Libraries call by names of their own: members that a library's class has, and
functions that one of its decorators registers, are used. So is every member of an enumeration, which may list what
others send, and every field of data.
"""

import ast
import importlib
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "eps"

GENERATED = {"eps_pb2.py"}

REGISTERING = {"command", "callback", "field_validator", "model_validator", "fixture"}
"""Decorators by which Typer, pydantic and pytest are told of a function that only they call."""

ALLOWED = {
    "eps.client.connection._Source.makefile": "http.client reads answers from it",
    "eps.jsonrpc.client.JsonRpcClient.kept_for": "how long a connection is kept, for tests that wait for its end",
    "eps.jsonrpc.server.JsonRpcServer.in_progress": "requests that are being answered, for tests that wait for them",
}
"""Used all the same, and why."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Defined:
    """A name and where it is defined; ``owner`` is the class, empty for what stands in the module itself."""

    module: str
    owner: str
    name: str

    def __str__(self) -> str:
        return ".".join(filter(None, (self.module, self.owner, self.name)))


@dataclass(frozen=True)
class Use:
    """A name that is loaded.

    Attributes:
        module: where it comes from; empty for a ``member``, whose object is anybody's.
        within: the definitions around.
    """

    name: str
    module: str
    member: bool
    within: tuple[Defined, ...]


class Reader(ast.NodeVisitor):
    """What one module defines and uses."""

    def __init__(self, module: str, tree: ast.Module, modules: set[str]) -> None:
        self.module = module
        self.modules = modules
        self.defined: list[Defined] = []
        self.uses: list[Use] = []
        self.imported: dict[str, tuple[str, str]] = {}
        self._within: tuple[Defined, ...] = ()
        self._owners: tuple[str, ...] = ()
        self._in_function = False
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self.imported[alias.asname or alias.name] = (node.module, alias.name)
        self.visit(tree)

    def _define(self, name: str) -> Defined | None:
        if self._in_function or (name.startswith("__") and name.endswith("__")):
            return None
        self.defined.append(Defined(self.module, ".".join(self._owners), name))
        return self.defined[-1]

    def _inside(self, node: ast.AST, defined: Defined | None) -> None:
        before = self._within
        self._within = (*before, defined) if defined else before
        self.generic_visit(node)
        self._within = before

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        defined = self._define(node.name)
        before, self._owners = self._owners, (*self._owners, node.name)
        self._inside(node, defined)
        self._owners = before

    def _function(self, node: Function) -> None:
        defined = None if _registered(node) else self._define(node.name)
        before, self._in_function = self._in_function, True
        self._annotation(node.returns)
        self._inside(node, defined)
        self._in_function = before

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_Assign(self, node: ast.Assign) -> None:
        names = [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        defined = [found for name in names if (found := self._define(name))]
        self._inside(node, defined[0] if len(defined) == 1 else None)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        constant = isinstance(node.target, ast.Name) and not self._owners
        self._inside(node, self._define(node.target.id) if constant else None)  # type: ignore[union-attr]

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            module, name = self.imported.get(node.id, (self.module, node.id))
            self._use(name, module, member=False)

    def _annotation(self, node: ast.expr | None) -> None:
        """What stands in quotes there; the rest is visited as all else is."""
        for inner in ast.walk(node) if node else ():
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                with suppress(SyntaxError):  # a help text
                    self.visit(ast.parse(inner.value, mode="eval"))

    def visit_arg(self, node: ast.arg) -> None:
        self._annotation(node.annotation)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return
        self._use(node.attr, "", member=True)
        if isinstance(node.value, ast.Name):
            parent, name = self.imported.get(node.value.id, ("", ""))
            if f"{parent}.{name}" in self.modules:
                self._use(node.attr, f"{parent}.{name}", member=False)

    def _use(self, name: str, module: str, *, member: bool) -> None:
        self.uses.append(Use(name, module, member, self._within))


def _registered(node: Function) -> bool:
    decorators = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
    names = {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in decorators}
    return not names.isdisjoint(REGISTERING)


def unused(sources: Mapping[str, str], called: Callable[[Defined], bool]) -> set[str]:
    """Definitions of the modules ``sources`` (their texts by name) that none of them uses.

    Args:
        called: whether something is called from outside.
    """
    readers = [Reader(module, ast.parse(text), set(sources)) for module, text in sources.items()]
    moved = {(r.module, here): origin for r in readers for here, origin in r.imported.items()}
    uses: dict[tuple[str, str], list[Use]] = defaultdict(list)
    for use in (use for reader in readers for use in reader.uses):
        place = (use.module, use.name)
        while not use.member and place in moved:  # imported from where it was only imported
            place = moved[place]
        uses["" if use.member else place[0], place[1]].append(use)
    dead: set[Defined] = set()
    left = [one for reader in readers for one in reader.defined if not called(one)]
    while True:
        found = {one for one in left if all(one in use.within or dead & {*use.within} for use in _uses(uses, one))}
        if found == dead:
            return {str(one) for one in dead}
        dead = found


def _uses(uses: Mapping[tuple[str, str], list[Use]], one: Defined) -> Iterator[Use]:
    yield from uses.get((one.module, one.name), ())
    if one.owner:
        yield from uses.get(("", one.name), ())


def library_calls(one: Defined) -> bool:
    """Whether a member overrides one of a library's class, or is one of an enumeration."""
    found = importlib.import_module(one.module)
    for name in filter(None, one.owner.split(".")):
        found = getattr(found, name)
    if not isinstance(found, type):
        return False
    bases = [base for base in found.__mro__[1:] if not base.__module__.startswith("eps.")]
    return issubclass(found, Enum) or any(one.name in vars(base) for base in bases)


def read_sources() -> dict[str, str]:
    texts = {}
    for path in PACKAGE.rglob("*.py"):
        if path.name not in GENERATED:
            name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            texts[name.removesuffix(".__init__")] = path.read_text()
    return texts


SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].values()


FOR_APPLICATIONS = ("eps.client", "eps.service", "eps.testing")
"""Packages that applications import: what their ``__all__`` lists is used, and what the classes there offer."""


def offered(one: Defined) -> bool:
    """Whether it is for applications."""
    package = next((name for name in FOR_APPLICATIONS if one.module.startswith(name)), "")
    if not package:
        return False
    module = importlib.import_module(package)
    named = [getattr(module, name) for name in module.__all__]
    holder = getattr(importlib.import_module(one.module), one.owner.partition(".")[0] or one.name, None)
    is_named = any(holder is base for each in named for base in getattr(each, "__mro__", (each,)))
    return is_named and not (one.owner and one.name.startswith("_"))


def called_from_outside(one: Defined) -> bool:
    return str(one) in {script.replace(":", ".") for script in SCRIPTS} or offered(one) or library_calls(one)


def test_everything_is_used_by_the_product() -> None:
    found = unused(read_sources(), lambda one: str(one) in ALLOWED or called_from_outside(one))
    assert found == set(), "delete it, with its tests; what tests need belongs to tests/support"


def test_what_is_allowed_needs_to_be() -> None:
    assert set(ALLOWED) - unused(read_sources(), called_from_outside) == set(), "used now, or gone: strike it off"


SAMPLE = {
    "p.a": """
from p import b
from p.b import moved as renamed, again

LIMIT, UNUSED_LIMIT = 1, 2
TYPED: int = 3

def used(text: "Quoted") -> None:
    b.through_the_module(renamed, again, LIMIT)

def calls_itself():
    calls_itself()

def unused():
    only_from_unused(TYPED)

def only_from_unused(x):
    x.only_there()

class Quoted:
    field: int = 0
    CONSTANT = 1
    OTHER = 2

    def method(self):
        return self.CONSTANT, self.shown

    @property
    def shown(self): ...

    def only_there(self): ...

    def splice(self): ...

class UnusedClass:
    def method(self): ...

used("").method()
""",
    "p.b": """
import os
from p.c import again as again

def through_the_module(): ...
def moved(): ...
def splice(): ...
def imported_only(): ...

os.splice()
""",
    "p.c": """
from p.b import imported_only

def again(): ...
@app.command("x")
def registered(): ...
""",
}


def test_what_is_found() -> None:
    assert unused(SAMPLE, lambda one: False) == {
        "p.a.UNUSED_LIMIT",
        "p.a.TYPED",
        "p.a.calls_itself",
        "p.a.unused",
        "p.a.only_from_unused",
        "p.a.Quoted.OTHER",
        "p.a.Quoted.only_there",
        "p.a.UnusedClass",
        "p.b.splice",
        "p.b.imported_only",
    }
    assert "p.a.only_from_unused" not in unused(SAMPLE, lambda one: one.name == "unused")
