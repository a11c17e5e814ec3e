"""Settings as trees that remember where each value was written, and how two trees merge.

A tree is a *patch*: what a file adds to the files before it. :func:`compose` puts one patch on another. It is
associative, with null and the empty map as its neutral elements, so it does not matter whether a file is included by
another or stands before it in a folder. The rules (PROTOCOL.md section 6): maps merge by key, lists are appended,
scalars are replaced, a key that was written with ``!`` replaces whatever was there, and a null never overrides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eps.errors import SettingsError
from eps.settings.problems import Loc

MAX_NODES = 100_000
"""Values in one tree, counted as if every alias, reference and inclusion were written out. Real settings have some
hundred; this stops files that multiply themselves ("billion laughs") long before memory is at risk."""

MAX_DEPTH = 64
"""Maps and lists within each other; real settings have about eight."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written. ``line`` counts from 1; 0 is unknown."""

    file: str
    line: int = 0


class Broken:
    """Stands for a value that could not be worked out; the problem has been reported already."""


Scalar = str | int | float | bool | None | Broken


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its origin. Make maps and lists with :func:`map_node` and :func:`list_node`.

    Attributes:
        value: a scalar, or nodes.
        replaces: the key was written with ``!`` (or the value replaces one of another kind).
        size: how many values it holds, itself included.
        depth: maps and lists within each other.
        written: a text as the file has it, where values of variables were put in; messages show that.
    """

    value: "Scalar | Mapping[str, Node] | Sequence[Node]"
    origin: Origin
    replaces: bool = False
    size: int = 1
    depth: int = 0
    written: str | None = None

    @property
    def shown(self) -> str:
        """The text for messages: what variables hold may be a secret."""
        return self.written if self.written is not None else str(self.value)

    @property
    def children(self) -> "Mapping[str, Node] | None":
        """The values of a map by key; None for anything else."""
        return self.value if isinstance(self.value, Mapping) else None

    @property
    def elements(self) -> "Sequence[Node] | None":
        """The elements of a list; None for anything else."""
        return self.value if isinstance(self.value, Sequence) and not isinstance(self.value, str) else None


def map_node(children: Mapping[str, Node], origin: Origin, replaces: bool = False) -> Node:
    """A map of nodes. Raises SettingsError if it grows beyond all bounds."""
    return _bounded(children, list(children.values()), origin, replaces)


def list_node(elements: Sequence[Node], origin: Origin, replaces: bool = False) -> Node:
    """A list of nodes. Raises SettingsError if it grows beyond all bounds."""
    return _bounded(tuple(elements), elements, origin, replaces)


def _bounded(value: Mapping[str, Node] | Sequence[Node], nodes: Sequence[Node], origin: Origin, replaces: bool) -> Node:
    size = 1 + sum(node.size for node in nodes)
    depth = 1 + max((node.depth for node in nodes), default=0)
    if size > MAX_NODES:
        raise SettingsError(f"holds more than {MAX_NODES} values, written out")
    if depth > MAX_DEPTH:
        raise SettingsError(f"is nested more than {MAX_DEPTH} levels deep")
    return Node(value, origin, replaces, size, depth)


def compose(first: Node, second: Node) -> Node:
    """The patch that does what ``first`` and then ``second`` do."""
    if second.value is None:
        return first
    if first.value is None:
        return second
    if second.replaces:
        return second
    if (theirs := first.children) is not None and (ours := second.children) is not None:
        merged = dict(theirs)
        for key, node in ours.items():
            merged[key] = compose(merged[key], node) if key in merged else node
        return map_node(merged, second.origin, first.replaces)
    if (before := first.elements) is not None and (after := second.elements) is not None:
        return list_node([*before, *after], second.origin, first.replaces)
    scalars = not _is_compound(first) and not _is_compound(second)
    # A value of another kind replaces the earlier one whole, as if its key had been written with "!".
    return replace(second, replaces=first.replaces or not scalars)


def _is_compound(node: Node) -> bool:
    return node.children is not None or node.elements is not None


def plain(node: Node) -> Any:
    """The tree as dicts, lists and scalars. Nulls in maps are left out: they mean "not set"."""
    if (children := node.children) is not None:
        return {key: plain(child) for key, child in children.items() if child.value is not None}
    if (elements := node.elements) is not None:
        return [plain(element) for element in elements]
    return node.value


def child(node: Node, step: str | int) -> Node | None:
    """The value at a key or position of ``node``, if there is one."""
    if isinstance(step, int):
        elements = node.elements
        return elements[step] if elements is not None and 0 <= step < len(elements) else None
    return (node.children or {}).get(step)


def locate(node: Node, loc: Loc) -> tuple[Loc, Node, bool]:
    """Walk along ``loc`` as far as the tree goes.

    A step that only names the ``type`` of the map it stands at (pydantic writes these into its locations) is left out.

    Returns:
        the way as an administrator knows it, the last node on it, and whether a broken value was met.
    """
    way: list[str | int] = []
    for position, step in enumerate(loc):
        found = child(node, step)
        if found is None:
            kind = child(node, "type")
            if kind is not None and kind.value == step:
                continue
            way += loc[position:]
            break
        way.append(step)
        node = found
    return tuple(way), node, isinstance(node.value, Broken)
