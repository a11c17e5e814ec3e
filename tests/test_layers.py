"""Imports point one way: programs → services → channels · directories → rpc · datastores → transport → core."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "eps"
LAYERS = {
    "errors": 0,
    "core": 1,
    "transport": 2,
    "rpc": 3,
    "datastores": 3,
    "channels": 4,
    "directories": 4,
    "services": 5,
    "programs": 6,
}
FREE = {"version", "__version__"}
"""Names of the package itself that all may use."""

ONLY_PROGRAMS = {"settings", "pki", "testing"}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """``core`` for ``eps.core.chain``; empty for ``eps`` itself."""
    return module.removeprefix("eps").lstrip(".").split(".")[0]


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that ``path`` imports, wherever in it."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if part_of(alias.name) and alias.name.startswith("eps."))
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module == "eps":
                yield from (f"eps.{alias.name}" for alias in node.names if alias.name not in FREE)
            elif module.startswith("eps."):
                yield module


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: module_of(path))
def test_imports_point_one_way(path: Path) -> None:
    importer = part_of(module_of(path))
    for module in imported(path):
        part = part_of(module)
        if part in ONLY_PROGRAMS:
            assert importer in ({"programs"} | ONLY_PROGRAMS), f"{module_of(path)} must not import {module}"
        elif importer in LAYERS:
            assert LAYERS[part] <= LAYERS[importer], f"{module_of(path)} must not import {module}"


def test_no_two_parts_need_each_other() -> None:
    """Parts of one layer may know each other's protocols, but only one way round."""
    pairs = {(part_of(module_of(path)), part) for path in SOURCES for part in map(part_of, imported(path))}
    assert [pair for pair in pairs if pair[0] < pair[1] and pair[::-1] in pairs] == []


def test_every_part_has_its_layer() -> None:
    parts = {part_of(module_of(path)) for path in SOURCES} - {""}
    assert parts <= set(LAYERS) | ONLY_PROGRAMS


FORBIDDEN_IN_CORE = {"socket", "ssl", "asyncio", "os", "pathlib", "time", "aiohttp", "grpclib", "threading", "random"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").glob("*.py")), ids=lambda path: path.stem)
def test_core_has_no_sockets_clock_loop_or_files(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert FORBIDDEN_IN_CORE.isdisjoint(name.split(".")[0] for name in names)
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"now", "utcnow", "today"}, "core is told the time"
