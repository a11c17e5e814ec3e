"""From the environment variable to one tree of settings (PROTOCOL.md section 6).

    EPS_SETTINGS ─ places ─ files ─ text.parse_text ─ variables ─ $include ─ $ref ─ node.compose ─ one tree

Everything that goes wrong on the way is collected, so that an administrator sees all of it at once. A value that could
not be worked out (an undefined variable) is marked as broken, and what follows says nothing more about it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from eps.errors import SettingsError
from eps.settings.node import Broken, Node, Origin, child, compose, list_node, map_node
from eps.settings.problems import Loc, Problem, Severity, kind, render_path
from eps.settings.text import SUFFIXES, TextError, parse_text, read_text
from eps.settings.variables import Prompt, Scope, Undefined, read_variables

MAX_FILES = 256
"""Files that one program's settings may consist of; a few dozen is much."""

MAX_INCLUDE_DEPTH = 16
"""Files that include each other in a row."""

INCLUDE = "$include"
REF = "$ref"


@dataclass(slots=True)
class Report:
    """What was read, and what was wrong with it."""

    files: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unreadable: bool = False
    """A whole file is missing from the tree: checking the rest would only find its holes."""

    def add(self, origin: Origin, loc: Loc, text: str, hint: str = "", severity: Severity = Severity.ERROR) -> None:
        self.problems.append(Problem(origin.file, origin.line, render_path(loc), text, hint, severity))

    def lost(self, file: str, text: str, hint: str = "", line: int = 0) -> None:
        """A file, or a place in the list, could not be used at all."""
        self.unreadable = True
        self.add(Origin(file, line), (), text, hint)


EXAMPLES = {"EPS_SETTINGS": "hd-1", "SD_SETTINGS": "sd-1", "PROXY_SETTINGS": "public-proxy-1"}
"""A role of the development network for each variable, for messages."""


OTHER_NAMES = {"EPS_SETTINGS": "HYPER_SETTINGS"}
"""Read where the first is not set, or empty: the fork Hyper of the EPS server has its settings there (PROTOCOL.md
section 9)."""


def read_settings(
    variable: str, environment: Mapping[str, str], folder: Path, prompt: Prompt | None = None
) -> tuple[Node, Report]:
    """Read and merge every file that ``variable`` names.

    Args:
        variable: ``EPS_SETTINGS``, ``SD_SETTINGS`` or ``PROXY_SETTINGS``; see also OTHER_NAMES.
        environment: where it and the settings' own variables are looked up.
        folder: the working directory, for relative places.
        prompt: asks the administrator for a value; None where nobody can be asked.

    Returns:
        the merged tree and the report. Never raises for what the files hold.
    """
    report = Report()
    variable = _variable(variable, environment)
    places = places_in(variable, environment)
    if not places:
        state = "is empty" if variable in environment else "is not set"
        if other := OTHER_NAMES.get(variable, ""):
            state += f", and {other} {'is empty' if other in environment else 'is not set'}, too"
        example = f"{variable}=settings/dev/roles/{EXAMPLES.get(variable, 'hd-1')}"
        report.lost(variable, state, f"name your settings: files or folders, as in {example}")
    loader = _Loader(environment, prompt, report)
    tree = map_node({}, Origin(variable))
    for place in places:
        for name, path in _files_of(place, folder, report):
            patch = loader.load(name, path, ())
            if patch is not None:
                tree = _composed(tree, patch, report)
    return tree, report


def places_in(variable: str, environment: Mapping[str, str]) -> list[str]:
    """The files and folders that an environment variable lists; see also OTHER_NAMES."""
    return [place for place in environment.get(_variable(variable, environment), "").split(":") if place]


def _variable(variable: str, environment: Mapping[str, str]) -> str:
    """Which one counts: an empty one counts as not set, as compose files write it."""
    other = OTHER_NAMES.get(variable, "")
    return other if not environment.get(variable) and environment.get(other) else variable


def _files_of(place: str, folder: Path, report: Report) -> list[tuple[str, Path]]:
    """The files at one place of the list, in name order, as the administrator and as the system names them."""
    path = folder / place
    if path.is_file():
        return [(place, path)]
    if not path.is_dir():
        report.lost(place, "no such file or folder", f"places are relative to the working directory, {folder}")
        return []
    try:
        entries = sorted(entry for entry in os.listdir(path) if entry.endswith(SUFFIXES) and entry[0] != ".")
    except OSError as error:
        report.lost(place, f"can't be read: {error.strerror}")
        return []
    names = [entry for entry in entries if (path / entry).is_file()]
    if not names:
        report.lost(place, "holds no settings files", f"names of settings files end in {', '.join(SUFFIXES)}")
    return [(os.path.join(place, name), path / name) for name in names]


def _composed(tree: Node, patch: Node, report: Report) -> Node:
    try:
        return compose(tree, patch)
    except SettingsError as error:
        report.lost(patch.origin.file, error.message)
        return tree


class _Loader:
    """Reads files, each once, and follows what they include."""

    def __init__(self, environment: Mapping[str, str], prompt: Prompt | None, report: Report) -> None:
        self.environment = environment
        self.prompt = prompt
        self.report = report
        self.done: dict[str, Node | None] = {}

    def load(self, name: str, path: Path, including: tuple[str, ...], shown: str = "") -> Node | None:
        """The patch that a file amounts to, or None if it can't be used (which has then been reported).

        Args:
            name: the path as the administrator knows it.
            path: absolute, or relative to the process's working directory.
            including: the real paths of the files that are being read, outermost first.
            shown: as problems should call it; "": by its name.
        """
        shown = shown or name
        real = os.path.realpath(path)
        if real in including:
            way = f"by way of {' → '.join(map(os.path.basename, including))}" if shown == name else ""
            self.report.lost(shown, "includes itself", way)
            return None
        if real not in self.done:
            if len(self.done) >= MAX_FILES or len(including) >= MAX_INCLUDE_DEPTH:
                self.report.lost(shown, f"more than {MAX_FILES} files, or {MAX_INCLUDE_DEPTH} that include each other")
                return None
            self.done[real] = None
            self.report.files.append(name)
            self.done[real] = self.read(shown, path, (*including, real))
        return self.done[real]

    def read(self, name: str, path: Path, including: tuple[str, ...]) -> Node | None:
        if not path.name.endswith(SUFFIXES):
            self.report.lost(name, "is neither YAML nor JSON", f"names of settings files end in {', '.join(SUFFIXES)}")
            return None
        try:
            root = parse_text(read_text(path), name)
            if root.children is None:
                raise TextError(f"must hold a map, not {kind(root.value)}", root.origin.line)
            tree = _File(self, name, path, including).expand_all(root)
            if tree.children is not None:
                return tree
            self.report.unreadable = True  # a $ref in place of the whole file leads nowhere, as has been reported
        except TextError as error:
            text = error.text if name.endswith(path.name) else error.text.partition(": ")[0]  # a variable's value
            self.report.lost(name, text, error.hint, error.line)
        except SettingsError as error:
            self.report.lost(name, error.message)
        except RecursionError:
            self.report.lost(name, "is nested too deeply")
        return None


class _File:
    """One file's variables, inclusions and references. None of them reach beyond the file they stand in."""

    def __init__(self, loader: _Loader, name: str, path: Path, including: tuple[str, ...]) -> None:
        self.loader = loader
        self.report = loader.report
        self.name = name
        self.path = path
        self.including = including
        self.scope = Scope.of_file(path)

    def expand_all(self, root: Node) -> Node:
        children = dict(root.children or {})
        variables = children.pop("vars", None)
        if variables is not None:
            read_variables(variables, self.scope, self.loader.environment, self.loader.prompt, self.report.add)
        tree = self.expand(map_node(children, root.origin), ())
        return _References(tree, self.report).resolve(tree, ())

    def expand(self, node: Node, loc: Loc) -> Node:
        """Replace variables, and merge what is included."""
        if (elements := node.elements) is not None:
            expanded = [self.expand(element, (*loc, index)) for index, element in enumerate(elements)]
            return list_node(expanded, node.origin, node.replaces)
        if (children := node.children) is not None:
            own = {key: self.expand(value, (*loc, key)) for key, value in children.items()}
            included = own.pop(INCLUDE, None)
            made = map_node(own, node.origin)
            if included is not None:
                made = self.include(included, made, (*loc, INCLUDE))
            return replace(made, replaces=node.replaces)
        if isinstance(node.value, str):
            return self.substitute(node, node.value, loc)
        return node

    def substitute(self, node: Node, text: str, loc: Loc) -> Node:
        try:
            return replace(node, value=self.scope.substitute(text), written=text if self.scope.hides(text) else None)
        except Undefined as error:
            if error.hint is not None:  # else its definition has been reported
                self.report.add(node.origin, loc, f"${error.name} is not defined", error.hint)
            return replace(node, value=Broken())

    def include(self, names: Node, own: Node, loc: Loc) -> Node:
        """The named files, in order, then what stands beside ``$include``: each may override what comes before."""
        merged = map_node({}, own.origin)
        listed = names.elements
        for index, name in enumerate([names] if listed is None else listed):
            if isinstance(name.value, Broken):
                continue
            place = loc if listed is None else (*loc, index)
            if not isinstance(name.value, str) or os.path.isabs(name.value):
                self.report.unreadable = True
                text = "takes a relative path, or a list of them"
                self.report.add(name.origin, place, text, f"a path is relative to the folder of {self.name}")
                continue
            folder = os.path.dirname(self.name)
            real, shown = (os.path.normpath(os.path.join(folder, text)) for text in (name.value, name.shown))
            patch = self.loader.load(real, self.path.parent / name.value, self.including, shown)
            if patch is not None:
                merged = compose(merged, patch)
        return compose(merged, own)


class _References:
    """Puts copies of other settings where ``$ref`` asks for them.

    Trees are immutable and shared, so a copy costs nothing; its size counts, though (node.MAX_NODES).
    """

    def __init__(self, root: Node, report: Report) -> None:
        self.root = root
        self.report = report
        self.done: dict[int, Node] = {}
        self.open: set[int] = set()

    def resolve(self, node: Node, loc: Loc) -> Node:
        """``node`` without references."""
        if node.children is None and node.elements is None:
            return node
        if id(node) not in self.done:
            if id(node) in self.open:
                self.report.add(node.origin, loc, "$ref leads in a circle", "copy from a setting that is written out")
                return replace(node, value=Broken())
            self.open.add(id(node))
            self.done[id(node)] = self.resolved(node, loc)
            self.open.discard(id(node))
        return self.done[id(node)]

    def resolved(self, node: Node, loc: Loc) -> Node:
        if (elements := node.elements) is not None:
            items = [self.resolve(element, (*loc, index)) for index, element in enumerate(elements)]
            return list_node(items, node.origin, node.replaces)
        children = dict(node.children or {})
        path = children.pop(REF, None)
        own = map_node({key: self.resolve(value, (*loc, key)) for key, value in children.items()}, node.origin)
        if path is None:
            return replace(own, replaces=node.replaces)
        target = self.follow(path, (*loc, REF))
        if not children or isinstance(target.value, Broken):
            return replace(target, replaces=node.replaces)
        if target.children is None:
            self.report.add(node.origin, (*loc, REF), f"can't add settings to {kind(target.value)}")
        return replace(compose(target, own), replaces=node.replaces)

    def follow(self, path: Node, loc: Loc) -> Node:
        """The setting that ``a.b.0`` names, itself without references."""
        broken = replace(path, value=Broken())
        if isinstance(path.value, Broken):
            return broken
        if not isinstance(path.value, str) or not path.value:
            self.report.add(path.origin, loc, f"takes a path such as a.b.0, not {kind(path.value)}")
            return broken
        node = self.root
        for step in path.value.split("."):
            if REF in (node.children or {}):
                node = self.resolve(node, loc)
            found = child(node, int(step) if node.elements is not None and step.isdecimal() else step)
            if found is None:
                if not isinstance(node.value, Broken):
                    text = f"there is no {path.shown} in this file"
                    missing = "it" if path.written is not None else step
                    self.report.add(path.origin, loc, text, f"{missing} was not found; positions in lists count from 0")
                return broken
            node = found
        return self.resolve(node, loc)
