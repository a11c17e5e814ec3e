"""Imports point one way, as ARCHITECTURE.md draws it: from room to room, and so inside ``programs``."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "eps"
ARCHITECTURE = (PACKAGE.parents[1] / "ARCHITECTURE.md").read_text()

FLOORS: tuple[set[str], ...] = (
    {"reasons"},
    {"errors"},
    {"core"},
    {"settings", "transport", "pki"},
    {"http1", "datastores", "client"},
    {"jsonrpc", "grpc"},
    {"directory", "proxy", "service"},
    {"channels"},
    {"broker"},
    {"testing"},
    {"programs.running"},
    {"programs.status"},
    {"programs.wiring"},
    {"programs.admin"},
    {"programs.diagnosis"},
    {"programs.directory"},
    {"programs.dev"},
    {"programs.direct"},
    {"programs.entry", "programs.spelling"},
    {"programs.guard"},
    {"programs.serving"},
    {"programs.cli"},
    {"programs.completion"},
    {"programs.manual"},
    {"programs.stores", "programs.joining", "programs.changing", "programs.auditing", "programs.shared"},
    {"programs.eps", "programs.sd", "programs.proxy"},
    {"__main__"},
)
"""From the ground up: a room may use those on floors below its own, and none beside it."""

ONLY_PROGRAMS = {"settings", "pki"}
"""What only programs may use: all else is given plain values and certificates."""

EXCEPT = {("client.own_settings", "settings")}
"""Applications may be beside an EPS server, and give its settings."""

FREE = {"version", "__version__"}
"""Names of the package itself that all may use."""

SOURCES = sorted(PACKAGE.rglob("*.py"))
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str:
    """``core`` for ``eps.core.chain``, ``programs.dev`` for ``eps.programs.dev.demo``; empty for ``eps`` itself."""
    parts = module.split(".")[1:]
    return ".".join(parts[: 2 if parts[:1] == ["programs"] else 1])


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in SOURCES}


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that ``path`` imports, wherever in it."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("eps."))
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module == "eps" or module.startswith("eps."):
                yield from sorted(members(module, [alias.name for alias in node.names]))


def members(package: str, names: list[str]) -> set[str]:
    """What ``from package import names`` loads: modules where there are such, else the package itself."""
    inner = {f"{package}.{name}" for name in names if name not in FREE}
    return {name if name in MODULES or package == "eps" else package for name in inner}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: module_of(path))
def test_imports_point_one_way(path: Path) -> None:
    importer = room_of(module_of(path))
    for module in imported(path):
        room = room_of(module)
        if room == importer:
            continue
        assert FLOOR_OF[room] < FLOOR_OF[importer], f"{module_of(path)} must not import {module}"
        if room in ONLY_PROGRAMS and (module_of(path).removeprefix("eps."), room) not in EXCEPT:
            assert importer.startswith("programs."), f"{module_of(path)} must not import {module}"


def test_no_file_imports_itself_round_a_circle() -> None:
    """Also none within a room, and none that only type checkers see."""
    arrows = {module_of(path): set(imported(path)) for path in SOURCES}
    while True:  # take away what imports nothing that is left
        ground = {module for module, used in arrows.items() if not used & set(arrows)}
        if not ground:
            break
        arrows = {module: used for module, used in arrows.items() if module not in ground}
    assert arrows == {}


def test_every_room_has_its_floor() -> None:
    rooms = {room_of(module) for module in MODULES} - {"", "programs"}
    assert rooms == set(FLOOR_OF)


def test_packages_for_applications_are_there() -> None:
    """Under the names that they are promised."""
    assert {"eps.client", "eps.service", "eps.testing"} <= MODULES


def picture() -> set[tuple[str, str]]:
    """The arrows that ARCHITECTURE.md draws: importer, imported."""
    arrows = set()
    for line in ARCHITECTURE.partition("flowchart LR\n")[2].partition("```")[0].splitlines():
        stations = [station.split(" & ") for station in line.strip().split(" --> ")]
        arrows |= {(left, right) for pair in pairwise(stations) for left in pair[0] for right in pair[1]}
    return arrows


def imports_of_rooms() -> set[tuple[str, str]]:
    """Room by room, ``programs`` as one."""
    pairs = {(module_of(path), module) for path in SOURCES for module in imported(path)}
    rooms = {tuple(room_of(module).partition(".")[0] for module in pair) for pair in pairs}
    return {(importer, room) for importer, room in rooms if importer not in (room, "__main__")}


def leads(start: str, end: str, arrows: set[tuple[str, str]]) -> bool:
    return any(left == start and (right == end or leads(right, end, arrows)) for left, right in arrows)


def test_the_picture_shows_every_way_and_no_other() -> None:
    """An arrow is drawn where no longer way is, so that the picture stays one."""
    arrows = picture()
    assert arrows <= imports_of_rooms(), "an arrow that no import takes"
    assert {pair for pair in imports_of_rooms() if not leads(*pair, arrows)} == set(), "an import without a way"
    assert {pair for pair in arrows if leads(*pair, arrows - {pair})} == set(), "an arrow beside a longer way"


def test_the_order_in_words_is_that_of_the_floors() -> None:
    (line,) = re.findall(r"^    programs → .*$", ARCHITECTURE, re.MULTILINE)
    drawn = [set(station.split(" · ")) for station in reversed(line.strip().split(" → "))]
    assert drawn == [floor for floor in FLOORS if "." not in min(floor) and floor != {"__main__"}] + [{"programs"}]


def where_the_steps_are() -> list[tuple[str, str]]:
    """File and function, as the tables of ARCHITECTURE.md name them."""
    named = re.findall(r"`((?:\w+/)+\w+\.py)`((?:, `\w+`)+)", ARCHITECTURE)
    return [(file, function) for file, functions in named for function in re.findall(r"\w+", functions)]


@pytest.mark.parametrize(("file", "function"), where_the_steps_are())
def test_functions_are_where_the_tables_say(file: str, function: str) -> None:
    defined = {getattr(node, "name", "") for node in ast.walk(ast.parse((PACKAGE / file).read_text()))}
    assert function in defined


@pytest.mark.parametrize("room", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: module_of(path))
def test_a_room_has_a_map_that_names_all_in_it(room: Path) -> None:
    text = ast.get_docstring(ast.parse(room.read_text())) or ""
    inside = {path.stem for path in room.parent.glob("*.py")} | {
        path.parent.name for path in room.parent.glob("*/*.py")
    }
    assert inside - {"__init__", "__main__", "eps_pb2"} <= set(re.findall(r"\w+", text))


def test_folders_of_tests_are_no_packages() -> None:
    """With ``tests`` on the path, ``tests/grpc/__init__.py`` would stand before grpcio."""
    tests = PACKAGE.parents[1] / "tests"
    assert [path for path in tests.rglob("__init__.py") if path.relative_to(tests).parts[0] != "support"] == []


def test_tests_import_from_support_and_not_from_each_other() -> None:
    tests = PACKAGE.parents[1] / "tests"
    rooms = {path.name for path in tests.iterdir() if path.is_dir()} - {"support", "grpc"}  # grpc is grpcio
    for path in tests.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            first, *inner = module.split(".")
            assert first not in rooms and not any(part.startswith("test_") for part in (first, *inner)), (
                f"{path.relative_to(tests)} imports {module}: move what both use to tests/support"
            )


FORBIDDEN_IN_CORE = {"socket", "ssl", "asyncio", "os", "pathlib", "time", "aiohttp", "grpclib", "threading", "random"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").glob("*.py")), ids=lambda path: path.stem)
def test_core_has_no_sockets_clock_loop_or_files(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert FORBIDDEN_IN_CORE.isdisjoint(name.split(".")[0] for name in names)
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"now", "utcnow", "today"}, "core is told the time"
