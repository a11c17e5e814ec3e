"""What a service offers, as JSON Schema and as OpenRPC, by which EPS servers and tools ask for it."""

from collections.abc import Iterable
from typing import Any

from eps.service.method import Method

OPENRPC = "1.3.2"


def schemas(methods: Iterable[Method]) -> dict[str, Any]:
    """By method: ``description``, and ``params`` and ``result`` in JSON Schema."""
    return {
        one.name: {"description": one.description, "params": one.params_schema(), "result": one.result_schema()}
        for one in methods
    }


def openrpc(title: str, version: str, methods: Iterable[Method]) -> dict[str, Any]:
    """The document that ``rpc.discover`` answers."""
    return {
        "openrpc": OPENRPC,
        "info": {"title": title, "version": version},
        "methods": [_openrpc(one) for one in methods],
    }


def _openrpc(method: Method) -> dict[str, Any]:
    schema = method.params_schema()
    required, definitions = schema.get("required", ()), schema.get("$defs")
    more = {"$defs": definitions} if definitions else {}
    return {
        "name": method.name,
        "description": method.description,
        "paramStructure": "by-name",
        "params": [
            {"name": name, "required": name in required, "schema": {**one, **more}}
            for name, one in schema.get("properties", {}).items()
        ],
        "result": {"name": "result", "schema": method.result_schema()},
    }
