"""Descriptions of methods: OpenRPC's, the directory's, another operator's."""

from typing import Any

import pytest

from eps.core.descriptions import MAX_METHODS, methods_of, offered, told_by_operator
from eps.core.entries import Entry
from eps.core.names import Operator
from eps.core.sections import Method, Service

LOOKUP = {
    "name": "lookup",
    "description": "Where a place is.",
    "params": [
        {"name": "name", "required": True, "schema": {"type": "string"}},
        {"name": "at", "schema": {"$ref": "#/$defs/Point", "$defs": {"Point": {"type": "object"}}}},
    ],
    "result": {"name": "result", "schema": {"type": "boolean"}},
}


def entry(*methods: Method) -> Entry:
    return Entry(
        Operator("ls-1"), services=(Service("locations", (), methods), Service("later", (), (Method("f", ()),)))
    )


def test_an_openrpc_document() -> None:
    assert offered({"openrpc": "1.3.2", "methods": [LOOKUP, LOOKUP | {"description": "again"}]}) == {
        "lookup": {
            "description": "Where a place is.",
            "params": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "at": {"$ref": "#/$defs/Point"}},
                "required": ["name"],
                "$defs": {"Point": {"type": "object"}},
            },
            "result": {"type": "boolean"},
        }
    }


def test_shared_schemas_come_along_where_they_are_referred_to() -> None:
    reference = {"$ref": "#/components/schemas/Place"}
    document = {
        "components": {
            "schemas": {"Place": {"items": [{"$ref": "#/components/schemas/Name"}]}, "Name": {}, "Other": {}}
        },
        "methods": [
            {"name": "f", "summary": "F.", "params": [{"name": "a", "schema": {}}], "result": {"schema": reference}},
            {"name": "g", "params": [], "result": {"schema": {"$ref": 7}}},
            {"name": "h", "params": [], "result": {"schema": {"anyOf": [reference, reference, {"$ref": "#/x"}]}}},
        ],
    }
    found = offered(document)
    assert found["f"]["result"] == {
        "$ref": "#/$defs/Place",
        "$defs": {"Place": {"items": [{"$ref": "#/$defs/Name"}]}, "Name": {}},
    }
    assert set(found["h"]["result"]["$defs"]) == {"Place", "Name"}, "once each, and what is there"
    assert found["f"]["description"] == "F." and "$defs" not in found["f"]["params"]
    assert found["g"] == {"description": "", "params": {"type": "object", "properties": {}}, "result": {"$ref": 7}}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"methods": {}},
        {"methods": [LOOKUP] * (MAX_METHODS + 1)},
        {"methods": [LOOKUP], "x": "x" * 300_000},
    ],
    ids=["null", "list", "empty", "object", "many", "long"],
)
def test_what_describes_nothing(document: Any) -> None:
    assert offered(document) == {}


def test_what_repeats_much_is_too_long() -> None:
    schemas = {"A": {"description": "x" * 10_000}}
    one = {"params": [], "result": {"schema": {"$ref": "#/components/schemas/A"}}}
    many = [one | {"name": f"f{number}"} for number in range(100)]
    assert offered({"methods": many[:20], "components": {"schemas": schemas}})
    assert offered({"methods": many, "components": {"schemas": schemas}}) == {}


@pytest.mark.parametrize(
    "method",
    [{}, {"params": {}}, {"params": [1]}, {"params": [{"name": 1, "schema": {}}]}, {"params": [{"name": "a"}]},
     {"params": None, "result": [], "description": 1}],
    ids=["bare", "object", "number", "no name", "no schema", "others"],
)  # fmt: skip
def test_what_is_not_said(method: dict[str, Any]) -> None:
    document = {"methods": [{"name": "f"} | method, {"name": 1}, 2], "components": {"schemas": []}}
    assert offered(document) == {"f": {"description": "", "params": None, "result": None}}


def test_definitions_that_are_none() -> None:
    place = {"$defs": 5, "$ref": "#/components/schemas/x"}
    document = {"methods": [{"name": "f", "result": {"schema": place}}], "components": {"schemas": {"x": {}}}}
    assert offered(document)["f"]["result"] == {"$ref": "#/$defs/x", "$defs": {"x": {}}}
    method = {"name": "f", "params": [{"name": "a", "schema": {"$defs": 1}}]}
    assert offered({"methods": [method], "components": 1})["f"]["params"] == {"type": "object", "properties": {"a": {}}}


def test_what_the_directory_says() -> None:
    parameters = [
        {"name": "name", "validators": [{"type": "string", "parameters": None}, {"type": "length"}, 1, {}]},
        {"name": "other", "validators": None},
        {"validators": None},
        "x",
    ]
    ls_1 = entry(Method("lookup", (), parameters), Method("_ping", ()), Method("add", ()), Method("f", (), []))
    lookup, ping, add, first = methods_of(ls_1, ["lookup", "_ping", "add", "f"])
    assert lookup == {
        "operator": "ls-1",
        "name": "lookup",
        "service": "locations",
        "description": "",
        "params": {"type": "object", "properties": {"name": {"description": "string, length"}, "other": {}}},
        "result": None,
        "described_by": "directory",
    }
    assert ping["described_by"] == "server" and ping["description"]
    assert add["params"] is None
    assert (first["service"], first["params"]) == ("locations", {"type": "object", "properties": {}}), (
        "of the first service"
    )


def test_what_the_application_says_counts_more() -> None:
    told = offered({"methods": [LOOKUP]})
    lookup, unlisted = methods_of(entry(Method("lookup", (), [])), ["lookup", "unlisted"], told)
    assert (lookup["described_by"], lookup["params"]["required"]) == ("application", ["name"])
    assert (unlisted["service"], unlisted["described_by"]) == ("", "directory")


def test_another_operators_answer() -> None:
    (mine,) = methods_of(entry(Method("lookup", (), [])), ["lookup"])
    assert told_by_operator({"methods": [mine | {"operator": "hd-9", "more": 1}]}, "ls-1") == [mine]


@pytest.mark.parametrize(
    "answer",
    [None, {}, {"methods": 1}, {"methods": [1]}, {"methods": [{"name": "f"}]}, {"methods": [{"description": "f"}]},
     {"methods": [{"name": "f", "description": "", "params": 1}]},
     {"methods": [{"name": "f", "description": ""}] * (MAX_METHODS + 1)}],
    ids=["null", "empty", "number", "no object", "no description", "no name", "params", "many"],
)  # fmt: skip
def test_what_is_no_answer(answer: Any) -> None:
    assert told_by_operator(answer, "ls-1") is None
