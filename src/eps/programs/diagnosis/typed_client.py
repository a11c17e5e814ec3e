"""``eps client generate``: a typed Python client of an operator, from what it says of its methods.

JSON Schema becomes types as mypy knows them: objects TypedDicts, enums Literals, references the class of that name;
what has no such form is ``Any``. Names and texts are another operator's: what is no plain identifier is never written
as one, and texts stand in literals only, so that nothing it says becomes code.
"""

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

from eps.client.described import MethodDescription
from eps.core.wording import plain

MAX_CLASSES = 1_000
"""That one operator's description may need; beyond, objects are plain dictionaries."""

MAX_HINT_CHARS = 1_000
"""Of one type: what refers to others twice over and over would be as long as memory is large."""

MAX_DEPTH = 40
"""Of types inside each other; beyond, they are ``Any``. Python's own limit is not far."""

MAX_TEXT = 2_000
"""Characters of a method's description."""

MAX_NAME_CHARS = 80
"""Of a class: those inside of others have theirs in front."""

WIDTH = 100
"""Columns of a docstring's lines."""

_SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_REFERENCE = "#/$defs/"
_OURS = frozenset(
    ["Any", "AsyncClient", "Client", "Literal", "NotRequired", "TypedDict", "annotations", "bool", "cast", "dict",
     "float",
     "int", "list", "str"]
)  # fmt: skip
"""Names that the module has already, and those of which its types are made: a method or field of such a name, before a
type that uses it, would be what that type means."""

Schema = Mapping[str, Any]


def client_code(operator: str, methods: Sequence[MethodDescription], *, is_async: bool = False) -> str:
    """A module with one class, whose methods are the operator's."""
    types, kind = Types(), "AsyncClient" if is_async else "Client"
    name = types.free(class_name(operator))
    names: dict[str, MethodDescription] = {}
    for one in methods:
        names[types.free(_identifier(one.name))] = one  # no class has a method's name
    bodies = [_method(f"{operator}.{one.name}", called, one, types, is_async) for called, one in names.items()]
    client = f"    def __init__(self, client: {kind}) -> None:\n        self._client = client"
    made = "\n\n".join([f'class {name}:\n    """Methods of {_text(operator)}."""', client, *bodies])
    made = "\n\n\n".join([*types.classes.values(), made])
    uses = [word for word in ("Any", "Literal", "NotRequired", "TypedDict", "cast") if re.search(rf"\b{word}\b", made)]
    head = [f'"""Calls of {_text(operator)}, as it describes its methods. Made by: eps client generate."""', ""]
    head += ["from __future__ import annotations", ""]
    head += [f"from typing import {', '.join(uses)}", ""] if uses else []
    return "\n".join([*head, f"from eps.client import {kind}", "", "", made, ""])


def _method(address: str, called: str, told: MethodDescription, types: "Types", is_async: bool) -> str:
    stem = class_name(told.name)
    result = types.of(told.result, f"{stem}Result", _definitions(told.result))
    arguments, params = _arguments(told.params, stem, types)
    wait, define = ("await ", "async def") if is_async else ("def", "def")
    wait = wait if is_async else ""
    call = f"{wait}self._client.call({address!r}, params, timeout=timeout)"
    return "\n".join(
        [
            f"    {define} {called}(self, {arguments}) -> {result}:",
            *_docstring(told.description or f"Call {address}."),
            *params,
            f"        return {call if result == 'Any' else f'cast({result!r}, {call})'}",
        ]
    )


TIMEOUT = "timeout: float | None = None"


def _arguments(schema: Schema | None, stem: str, types: "Types") -> tuple[str, list[str]]:
    """A method's arguments, and the lines that make ``params`` of them. Where a key of ``params`` can be no argument,
    or nothing is known of them, the dictionary itself is one."""
    properties = schema.get("properties", {}) if schema is not None else None
    if schema is None or not isinstance(properties, dict) or not all(map(_is_argument, properties)):
        return f"params: dict[str, Any] | None = None, *, {TIMEOUT}", []
    needed, shared = _required(schema), _definitions(schema)
    hints = {name: types.of(one, f"{stem}{class_name(name)}", shared) for name, one in properties.items()}
    given = [f"{name}: {hint}" for name, hint in hints.items() if name in needed]
    given += [f"{name}: {_or_none(hint)} = None" for name, hint in hints.items() if name not in needed]
    first = ", ".join(f"{name!r}: {name}" for name in hints if name in needed)
    lines = [f"        params: dict[str, Any] = {{{first}}}"]
    for name in hints:
        if name not in needed:
            lines += [f"        if {name} is not None:", f"            params[{name!r}] = {name}"]
    return ", ".join(["*", *given, TIMEOUT]), lines


@dataclass(slots=True)
class Types:
    """The classes that types need.

    Attributes:
        classes: their code, by name.
    """

    classes: dict[str, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=lambda: set(_OURS))
    _known: dict[tuple[str, str], str] = field(default_factory=dict)
    _depth: int = 0

    def of(self, schema: Any, name: str, shared: Schema) -> str:
        """The type that ``schema`` describes.

        Args:
            name: of a class, if it needs one.
            shared: ``$defs``.
        """
        if self._depth >= MAX_DEPTH:
            return "Any"
        self._depth += 1
        try:
            hint = self._of(schema, name[:MAX_NAME_CHARS], shared)
        finally:
            self._depth -= 1
        return hint if len(hint) <= MAX_HINT_CHARS else "Any"

    def _of(self, schema: Any, name: str, shared: Schema) -> str:
        if not isinstance(schema, dict):
            return "Any"
        if isinstance(reference := schema.get("$ref"), str):
            return self._referred(reference.removeprefix(_REFERENCE), shared)
        if (values := _literals(schema)) is not None:
            return values
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._union([(schema | {"type": one}, name) for one in kind], shared)
        if (members := schema.get("anyOf") or schema.get("oneOf")) and isinstance(members, list):
            return self._union([(one, f"{name}{number}") for number, one in enumerate(members, 1)], shared)
        if kind == "array":
            return f"list[{self.of(schema.get('items'), f'{name}Item', shared)}]"
        if kind == "object":
            return self._object(schema, name, shared)
        return _SIMPLE.get(kind, "Any") if isinstance(kind, str) else "Any"

    def free(self, name: str) -> str:
        """A class's name that nobody has yet; it is taken now."""
        found = _unused(name, self._taken)
        self._taken.add(found)
        return found

    def _union(self, members: Iterable[tuple[Any, str]], shared: Schema) -> str:
        hints = dict.fromkeys(self.of(one, name, shared) for one, name in members)
        return "Any" if "Any" in hints or not hints else " | ".join(hints)

    def _referred(self, name: str, shared: Schema) -> str:
        """A class may refer to itself, so its name is known before its fields are."""
        schema: Any = shared.get(name)
        key = (name, repr(schema))
        if key not in self._known:
            if self._is_class(schema):
                self._known[key] = wanted = self.free(class_name(name))
                self._fill(wanted, schema, shared)
            else:
                self._known[key] = "Any"  # what refers to itself without a class between has no form
                self._known[key] = self.of(schema, class_name(name), shared)
        return self._known[key]

    def _object(self, schema: Schema, name: str, shared: Schema) -> str:
        if self._is_class(schema):
            name = self.free(name)
            self._fill(name, schema, shared)
            return name
        return f"dict[str, {self.of(schema.get('additionalProperties'), f'{name}Value', shared)}]"

    def _is_class(self, schema: Any) -> bool:
        """Whether it is an object of which each field can be one of Python's."""
        properties = schema.get("properties") if isinstance(schema, dict) and schema.get("type") == "object" else None
        return (
            bool(properties)
            and isinstance(properties, dict)
            and len(self.classes) < MAX_CLASSES
            and all(map(_is_name, properties))
        )

    def _fill(self, name: str, schema: Schema, shared: Schema) -> None:
        self.classes[name] = ""  # its place is before those that it needs
        lines, needed = [f"class {name}(TypedDict):"], _required(schema)
        for key, one in schema["properties"].items():
            hint = self.of(one, f"{name}{class_name(key)}", shared)
            lines.append(f"    {key}: {hint if key in needed else f'NotRequired[{hint}]'}")
        self.classes[name] = "\n".join(lines)


def _literals(schema: Schema) -> str | None:
    """The type of an enum or a constant; None: it is neither, or of what no Literal can hold."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list) or not values:
        return None
    if not all(one is None or isinstance(one, str | int) for one in values):
        return None
    return f"Literal[{', '.join(dict.fromkeys(repr(one) for one in values))}]"


def _or_none(hint: str) -> str:
    return hint if hint == "Any" or hint.endswith("None") else f"{hint} | None"


def _required(schema: Schema) -> frozenset[str]:
    required = schema.get("required")
    return frozenset(one for one in required if isinstance(one, str)) if isinstance(required, list) else frozenset()


def _definitions(schema: Schema | None) -> Schema:
    found = schema.get("$defs") if schema is not None else None
    return found if isinstance(found, dict) else {}


def class_name(name: str) -> str:
    """``hd-2`` is ``Hd2``."""
    found = "".join(part[:1].upper() + part[1:] for part in re.findall("[A-Za-z0-9]+", name))[:MAX_NAME_CHARS]
    return f"Of{found}" if not found[:1].isalpha() or keyword.iskeyword(found) else found


def _is_name(name: str) -> bool:
    """Whether it can be a field: not one that Python would change inside of a class."""
    is_one = bool(re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)) and not keyword.iskeyword(name) and name[:2] != "__"
    return is_one and name not in _OURS


def _is_argument(name: str) -> bool:
    return _is_name(name) and name not in ("self", "params", "timeout")


def _identifier(name: str) -> str:
    found = re.sub("[^A-Za-z0-9_]", "_", name).lstrip("_") if not _is_name(name) else name
    found = found[:MAX_NAME_CHARS]
    found = found if found[:1].isalpha() or found[:1] == "_" else f"of_{found}"
    return f"{found}_" if keyword.iskeyword(found) or found == "_client" or found in _OURS else found


def _unused(name: str, taken: Iterable[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}{number}", number + 1
    return found


def _text(words: str) -> str:
    """For a docstring: one line of what can be printed, without a quote or a backslash."""
    return plain(words[:MAX_TEXT]).replace("\\", "/").replace('"', "'")


def _docstring(words: str) -> list[str]:
    words = words[:MAX_TEXT]
    lines = [line for paragraph in words.split("\n\n") for line in (*wrap(_text(paragraph), WIDTH - 8), "")][:-1]
    if len(lines) <= 1:
        return [f'        """{(lines or [""])[0]}"""']
    return [f'        """{lines[0]}', *(f"        {line}".rstrip() for line in lines[1:]), '        """']
