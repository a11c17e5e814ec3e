"""Settings files as text: YAML and JSON into trees that know their lines, with every surprise refused.

Duplicate keys, tags that would run code, several documents, NaN, and files that multiply themselves through aliases
are errors that name file and line.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import yaml

from eps.errors import SettingsError
from eps.settings.node import Node, Origin, list_node, map_node
from eps.settings.problems import kind

MAX_FILE_BYTES = 1024 * 1024
"""Settings files have some kilobytes; YAML of 1 MiB takes seconds to read, beyond that something is wrong."""

SUFFIXES = (".yml", ".yaml", ".json")

_YAML = "tag:yaml.org,2002:"
_TAGS = {_YAML + name for name in ("null", "bool", "int", "float", "str", "map", "seq")}
_TIMESTAMP = _YAML + "timestamp"  # 2026-11-22 without quotes: text to us
_MERGE = _YAML + "merge"


class TextError(Exception):
    """A file can't be read. ``line`` counts from 1; 0 is unknown."""

    def __init__(self, text: str, line: int = 0, hint: str = "") -> None:
        super().__init__(text)
        self.text, self.line, self.hint = text, line, hint


def read_text(path: Path) -> str:
    """The file's text. Raises TextError if it is missing, too large or not UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise TextError(f"no such file: {path}") from None
    except OSError as error:
        raise TextError(f"can't be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise TextError(f"is larger than {MAX_FILE_BYTES} bytes", hint="is this a settings file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError("is not UTF-8 text", line=data.count(b"\n", 0, error.start) + 1) from None


def parse_text(text: str, file: str) -> Node:
    """The tree that ``text`` spells; by its name, ``file`` is JSON or YAML. An empty YAML file is an empty map.

    Raises:
        TextError: it can't be read, with the line.
    """
    try:
        return _parse_json(text, file) if file.endswith(".json") else _parse_yaml(text, file)
    except RecursionError:
        raise TextError("is nested too deeply") from None
    except SettingsError as error:
        raise TextError(error.message) from None


def _add(children: dict[str, Node], lines: dict[str, int], key: str, node: Node, line: int) -> None:
    """Add a key to a map under construction; ``name!`` is kept as a replacing ``name``."""
    if key in lines:
        raise TextError(
            f"duplicate key {key!r}, first in line {lines[key]}", line, "remove one of the two, or merge them"
        )
    lines[key] = line
    if len(key) > 1 and key.endswith("!"):
        children[key[:-1]] = replace(node, replaces=True)
    elif f"{key}!" not in lines:  # beside "name!", a plain "name" is what was there
        children[key] = node


def _writable(value: str, line: int) -> str:
    """Refuse text with half a surrogate pair, which could not be written into a log."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise TextError("text holds half a character (a lone surrogate)", line) from None
    return value


# --- YAML ---


def _parse_yaml(text: str, file: str) -> Node:
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        node = None if root is None else _YamlReader(file, loader).node(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise TextError(f"is not YAML: {error.problem or error.context}", mark.line + 1 if mark else 0) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise TextError(f"is not YAML: {error.reason}", line) from None
    except (ValueError, OverflowError) as error:  # "\UFFFFFFFF" in a string
        raise TextError(f"is not YAML: {error}") from None
    if node is None or node.value is None:
        return map_node({}, Origin(file, 1))
    return node


class _YamlReader:
    """Turns PyYAML's nodes into ours. An alias shares its anchor's tree, whose size is counted each time."""

    def __init__(self, file: str, loader: yaml.SafeLoader) -> None:
        self.file = file
        self.loader = loader
        self.done: dict[int, Node | None] = {}

    def node(self, source: yaml.Node) -> Node:
        known = self.done.get(id(source), source)
        if known is None:
            raise TextError("an alias stands inside the value it names", source.start_mark.line + 1)
        if isinstance(known, Node):
            return known
        self.done[id(source)] = None
        made = self.make(source, Origin(self.file, source.start_mark.line + 1))
        self.done[id(source)] = made
        return made

    def make(self, source: yaml.Node, origin: Origin) -> Node:
        if source.tag not in _TAGS and source.tag != _TIMESTAMP:
            raise TextError(f"the tag {source.tag} is not allowed", origin.line)
        if isinstance(source, yaml.MappingNode):
            return self.map(source, origin)
        if isinstance(source, yaml.SequenceNode):
            return list_node([self.node(item) for item in source.value], origin)
        return Node(self.scalar(source, origin.line), origin)

    def map(self, source: yaml.MappingNode, origin: Origin) -> Node:
        children: dict[str, Node] = {}
        lines: dict[str, int] = {}
        merged: dict[str, Node] = {}
        for key, value in source.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                self.merge(merged, self.node(value), line)
                continue
            name = self.scalar(key, line) if isinstance(key, yaml.ScalarNode) else None
            if not isinstance(name, str):
                raise TextError(f"a key must be text, not {kind(name)}", line, "put it in quotes")
            _add(children, lines, name, self.node(value), line)
        return map_node({**merged, **children}, origin)

    def merge(self, merged: dict[str, Node], source: Node, line: int) -> None:
        """YAML's ``<<``: keys of other maps, the first of which wins."""
        for item in [source] if source.elements is None else source.elements:
            if item.children is None:
                raise TextError("<< takes a map or a list of maps", line)
            for key, node in item.children.items():
                merged.setdefault(key, node)

    def scalar(self, source: yaml.Node, line: int) -> str | int | float | bool | None:
        if source.tag == _TIMESTAMP:
            return str(source.value)
        try:
            value: Any = self.loader.construct_object(source)
        except (ValueError, LookupError, yaml.constructor.ConstructorError):
            raise TextError(f"{source.value!r} is not a value", line, "put it in quotes") from None
        return _writable(value, line) if isinstance(value, str) else value


# --- JSON ---

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_LITERAL = re.compile(r"[^\s,\]}]+")


def _parse_json(text: str, file: str) -> Node:
    try:
        json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise TextError(f"is not JSON: {error.msg}", error.lineno) from None
    except ValueError as error:  # a number with thousands of digits
        raise TextError(f"is not JSON: {error}") from None
    return _JsonReader(text, file).node(_skip(text, 0))[0]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


class _JsonReader:
    """Reads JSON that is known to be well-formed; the standard library's parser keeps neither lines nor duplicates."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.seen = 0
        self.line = 1

    def origin(self, at: int) -> Origin:
        """Positions are asked for in rising order, so every line end is counted once."""
        self.line += self.text.count("\n", self.seen, at)
        self.seen = at
        return Origin(self.file, self.line)

    def node(self, at: int) -> tuple[Node, int]:
        """The value that begins at ``at``, and where it ends."""
        first, origin = self.text[at], self.origin(at)
        if first == "{":
            return self.map(at + 1, origin)
        if first == "[":
            return self.list(at + 1, origin)
        if first == '"':
            value, end = self.string(at, origin.line)
            return Node(value, origin), end
        match = _LITERAL.match(self.text, at)
        assert match is not None, "json.loads has accepted this text"
        scalar: Any = json.loads(match.group())
        return Node(scalar, origin), match.end()

    def map(self, at: int, origin: Origin) -> tuple[Node, int]:
        children: dict[str, Node] = {}
        lines: dict[str, int] = {}
        at = _skip(self.text, at)
        while self.text[at] != "}":
            line = self.origin(at).line
            key, at = self.string(at, line)
            at = _skip(self.text, _skip(self.text, at) + 1)  # behind the colon
            node, at = self.node(at)
            _add(children, lines, key, node, line)
            at = self.next(at)
        return map_node(children, origin), at + 1

    def list(self, at: int, origin: Origin) -> tuple[Node, int]:
        elements: list[Node] = []
        at = _skip(self.text, at)
        while self.text[at] != "]":
            node, at = self.node(at)
            elements.append(node)
            at = self.next(at)
        return list_node(elements, origin), at + 1

    def string(self, at: int, line: int) -> tuple[str, int]:
        value, end = _DECODER.raw_decode(self.text, at)
        return _writable(str(value), line), end

    def next(self, at: int) -> int:
        """The next element's place, or that of the closing bracket."""
        at = _skip(self.text, at)
        return _skip(self.text, at + 1) if self.text[at] == "," else at
