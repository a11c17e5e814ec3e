"""What may be called, with params and results: what ``_describe`` and ``_methods`` answer (PROTOCOL.md section 10).

An application describes itself by OpenRPC (its method ``rpc.discover``); of what it says nothing, the directory's
``parameters`` are told. Each method is an object {``operator``, ``name``, ``service``, ``description``, ``params``,
``result``, ``described_by``}: ``params`` and ``result`` are JSON Schemas, null where nothing is known;
``described_by`` is ``application``, ``directory`` or ``server``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from eps.core.entries import Entry
from eps.core.names import Object

DESCRIBE = "_describe"
"""The method by which servers of ours ask each other."""

DISCOVER = "rpc.discover"
"""OpenRPC's. It has a dot, so nobody in the network can call it: the EPS server beside an application asks."""

EVERYBODY = "*"
"""In the place of an operator, where our own applications ask: all others."""

MAX_METHODS = 1_000
"""Of one operator: a description is read by people, or made into one file of code."""

MAX_CHARS = 256 * 1024
"""Of one application's description, as JSON: a thousand methods with some lines each. It is kept in memory, and sent to
whoever may call one method."""

BUILT_IN: Mapping[str, Object] = {
    "_ping": {"description": "Answers with version, time, the params, and the server's own directory entry."},
    "_directory": {
        "description": "The directory's entries: of an operator, of a group, or of those with certain channels.",
        "params": {
            "type": "object",
            "properties": {
                "operator": {"type": "string"},
                "group": {"type": "string"},
                "channels": {"type": "array", "items": {"type": "string"}},
            },
        },
    },
    "_connectionRequest": {"description": "Opens a tunnel; for proxies."},
}
"""What every EPS server answers itself, if the directory offers it."""

_COMPONENTS, _DEFINITIONS = "#/components/schemas/", "#/$defs/"


def methods_of(entry: Entry, names: Iterable[str], told: Mapping[str, Object] | None = None) -> list[Object]:
    """The methods ``names`` of an operator.

    Args:
        told: by method what its application says, see :func:`offered`.
    """
    services = {method.name: (service.name, method.parameters) for service in reversed(entry.services)
                for method in reversed(service.methods)}  # fmt: skip
    return [_method(entry, name, *services.get(name, ("", None)), (told or {}).get(name)) for name in names]


def _method(entry: Entry, name: str, service: str, parameters: Any, told: Object | None) -> Object:
    found: Object = {"description": "", "params": _params_of_directory(parameters), "result": None}
    by = "directory"
    if name in BUILT_IN:
        found, by = found | BUILT_IN[name], "server"
    elif told is not None:
        found, by = found | told, "application"
    return {"operator": entry.name, "name": name, "service": service, **found, "described_by": by}


def _params_of_directory(parameters: Any) -> Object | None:
    """The directory's free-form ``parameters``; None where they are none."""
    if not isinstance(parameters, list):
        return None
    named = [one for one in parameters if isinstance(one, dict) and isinstance(one.get("name"), str)]
    return {"type": "object", "properties": {one["name"]: _validated(one.get("validators")) for one in named}}


def _validated(validators: Any) -> Object:
    """What the directory says of one parameter, in words: the types of its validators are anybody's."""
    kinds = [one["type"] for one in validators or () if isinstance(one, dict) and isinstance(one.get("type"), str)]
    return {"description": ", ".join(kinds)} if kinds else {}


def offered(document: Any) -> dict[str, Object]:
    """By method what an OpenRPC document says: ``description``, ``params``, ``result``.

    Empty: it is none, or too long.
    """
    methods = document.get("methods") if isinstance(document, dict) else None
    if not isinstance(methods, list) or len(methods) > MAX_METHODS or _length(document) > MAX_CHARS:
        return {}
    shared = _shared(document)
    found: dict[str, Object] = {}
    left = MAX_CHARS
    for one in methods:
        if isinstance(one, dict) and isinstance(one.get("name"), str) and one["name"] not in found:
            found[one["name"]] = _offered(one, shared)
            left -= _length(found[one["name"]])
            if left < 0:  # each repeats what all share
                return {}
    return found


def _offered(method: Object, shared: Object) -> Object:
    text = method.get("description") or method.get("summary")
    result = method.get("result")
    schema = result.get("schema") if isinstance(result, dict) else None
    return {
        "description": text if isinstance(text, str) else "",
        "params": _params(method.get("params"), shared),
        "result": _with_shared(_moved(schema), shared) if isinstance(schema, dict) else None,
    }


def _params(given: Any, shared: Object) -> Object | None:
    if not isinstance(given, list):
        return None
    properties: Object = {}
    definitions: Object = {}
    required: list[str] = []
    for one in given:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str) or not isinstance(one.get("schema"), dict):
            return None
        schema = _moved(one["schema"])
        more = schema.pop("$defs", None)
        definitions |= more if isinstance(more, dict) else {}
        properties[one["name"]] = schema
        if one.get("required") is True:
            required.append(one["name"])
    found: Object = {"type": "object", "properties": properties}
    found |= {"required": required} if required else {}
    found |= {"$defs": definitions} if definitions else {}
    return _with_shared(found, shared)


def _shared(document: Object) -> Object:
    """The schemas that a document's methods refer to, with references as they are below ``$defs``."""
    components = document.get("components")
    schemas = components.get("schemas") if isinstance(components, dict) else None
    return {name: _moved(one) for name, one in schemas.items()} if isinstance(schemas, dict) else {}


def _with_shared(schema: Object, shared: Object) -> Object:
    """With those of the shared schemas that it refers to, by way of others, too."""
    needed: Object = {}
    looked_at: list[Any] = [schema]
    while shared and looked_at:
        for name in _references(looked_at.pop()):
            if name in shared and name not in needed:
                needed[name] = shared[name]
                looked_at.append(shared[name])
    own = schema.get("$defs")
    return schema | {"$defs": needed | (own if isinstance(own, dict) else {})} if needed else schema


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "$ref" and isinstance(one, str):
                yield one.removeprefix(_DEFINITIONS)
            else:
                yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def _moved(value: Any) -> Any:
    """A copy whose references to the document's shared schemas lead to ``$defs``."""
    if isinstance(value, dict):
        return {
            key: _DEFINITIONS + one.removeprefix(_COMPONENTS)
            if key == "$ref" and isinstance(one, str) and one.startswith(_COMPONENTS)
            else _moved(one)
            for key, one in value.items()
        }
    return [_moved(one) for one in value] if isinstance(value, list) else value


def told_by_operator(answer: Any, operator: str) -> list[Object] | None:
    """The methods in another operator's answer to ``_describe``; None: it is none."""
    methods = answer.get("methods") if isinstance(answer, dict) else None
    if not isinstance(methods, list) or len(methods) > MAX_METHODS or not all(_is_method(one) for one in methods):
        return None
    keys = ("name", "service", "description", "params", "result", "described_by")
    return [{"operator": operator, **{key: one.get(key) for key in keys}} for one in methods]


def _is_method(value: Any) -> bool:
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("name", "description")):
        return False
    return all(value.get(key) is None or isinstance(value[key], dict) for key in ("params", "result"))


def _length(value: Any) -> int:
    return len(json.dumps(value))
