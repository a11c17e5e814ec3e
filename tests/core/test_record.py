"""Change records: their forms, what is dropped, what is refused and where."""

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.free_form import levels
from eps.core.record import (
    MAX_CERTIFICATE_CHARS,
    SECTIONS,
    parse_change_record,
    parse_section,
    parse_signed_record,
    sendable_section,
    signed_payload,
)
from eps.core.record_text import Number
from eps.core.structure import structured_hash
from eps.errors import BadParams
from support.strategies import DATA, VALUES
from support.vectors import load

RECORD = {"name": "hd-1", "section": "groups", "data": ["a"], "created_at": "2026-11-22T10:44:19Z"}
SIGNED = load("records.json")[1]


def record(**changes: Any) -> dict[str, Any]:
    return RECORD | changes


def test_says_what_it_is() -> None:
    parsed = parse_change_record(RECORD)
    assert parsed.instant.text == parsed.created_at
    assert parsed.to_json() == RECORD


def section(name: str, data: Any) -> Any:
    return parse_change_record(record(section=name, data=data)).data


@pytest.mark.parametrize("vector", load("record_hash.json"), ids=lambda v: f"{v['record']['section']}-{v['hash'][:6]}")
def test_vector(vector: Any) -> None:
    parsed = parse_change_record(vector["record"])
    assert json.dumps(parsed.to_json()) == json.dumps(vector["normalized"])  # in the order of their keys, too
    assert parsed.hash() == vector["hash"]
    assert structured_hash(signed_payload(parsed.hash(), "", parsed)).hex() == vector["signed_payload_sha256"]
    with_parent = structured_hash(signed_payload(parsed.hash(), vector["parent_hash"], parsed))
    assert with_parent.hex() == vector["signed_payload_sha256_with_parent"]


@pytest.mark.parametrize("index", range(25))
def test_signed_vector(index: int) -> None:
    value = load("records.json")[index]
    signed = parse_signed_record(value)
    assert json.dumps(signed.to_json()) == json.dumps(value)
    assert signed.record.hash() == signed.hash
    assert signed.is_root == (index == 0)


def test_unknown_keys_are_dropped_and_absent_ones_empty() -> None:
    assert section("channels", [{"type": "x", "settings": None, "y": 1}]) == [{"type": "x"}]
    assert section("channels", [{"type": "x", "settings": {}}]) == [{"type": "x", "settings": {}}]
    assert section("certificates", [{"fingerprint": "f", "key_usage": "signing", "y": 1}]) == [
        {"fingerprint": "f", "key_usage": "signing"}
    ]
    assert section("services", [{"name": "s"}]) == [{"methods": [], "name": "s", "permissions": []}]
    method = {"name": "m", "permissions": [{"group": "g", "y": 1}], "parameters": None, "y": 1}
    assert section("services", [{"name": "s", "methods": [method], "permissions": None}]) == [
        {
            "methods": [{"name": "m", "permissions": [{"group": "g", "rights": []}]}],
            "name": "s",
            "permissions": [],
        }
    ]
    for name in ("settings", "preferences"):
        assert section(name, [{"settings": {"a": None}, "operator": None, "y": 1}]) == [
            {"environment": "", "operator": "", "service": "", "settings": {"a": None}}
        ]


def test_free_values_stay_as_they_are() -> None:
    free = {"b": None, "a": [1, 2.5, True, "", {"x": None, "": []}], "big": 2**53}
    assert section("settings", [{"settings": free}])[0]["settings"] == free
    for parameters in ([{"name": "x"}], {"a": 1}, "text"):
        service = {"name": "s", "methods": [{"name": "m", "parameters": parameters}]}
        assert section("services", [service])[0]["methods"][0]["parameters"] == parameters


def test_the_record_keeps_nothing_of_what_it_was_read_from() -> None:
    value = record(section="settings", data=[{"settings": {"a": [1]}}])
    parsed = parse_change_record(value)
    value["data"][0]["settings"]["a"].append(2)
    assert parsed.data[0]["settings"] == {"a": [1]}


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([], "record"),
        (record(name=5), "name"),
        (record(name=None), "name"),
        (record(name="\ud800"), "name"),
        (record(section="colours"), "section"),
        (record(section=["groups"]), "section"),
        (record(data=None), "data"),
        (record(data={}), "data"),
        (record(data=["a", 5]), "data[1]"),
        (record(created_at="yesterday"), "created_at"),
        (record(created_at=5), "created_at"),
        (record(created_at="2026-02-30T00:00:00Z"), "created_at"),
        (record(section="channels", data=["x"]), "data[0]"),
        (record(section="channels", data=[{}]), "data[0].type"),
        (record(section="channels", data=[{"type": "x", "settings": []}]), "data[0].settings"),
        (record(section="certificates", data=["evil"]), "data[0]"),
        (record(section="certificates", data=[{"fingerprint": "x"}]), "data[0].key_usage"),
        (record(section="services", data=[{"name": "s", "methods": {}}]), "data[0].methods"),
        (record(section="services", data=[{"name": "s", "methods": [{}]}]), "data[0].methods[0].name"),
        (
            record(
                section="services", data=[{"name": "s", "permissions": [{"group": "g", "rights": ["call", "read"]}]}]
            ),
            "data[0].permissions[0].rights[1]",
        ),
        (
            record(section="services", data=[{"name": "s", "permissions": [{"group": "g", "rights": [{}]}]}]),
            "data[0].permissions[0].rights[0]",
        ),
        (record(section="settings", data=[{"service": "s"}]), "data[0].settings"),
        (record(section="settings", data=[{"service": 5, "settings": {}}]), "data[0].service"),
        (record(section="settings", data=[{"settings": {"a": {"b": [0, 10**400]}}}]), "data[0].settings.a.b[1]"),
        (record(section="settings", data=[{"settings": {"a": float("inf")}}]), "data[0].settings.a"),
        (record(section="settings", data=[{"settings": {"a": "\udc00"}}]), "data[0].settings.a"),
        (record(section="settings", data=[{"settings": {"\udc00": 1}}]), "data[0].settings: a key"),
        (record(section="settings", data=[{"settings": {"a": object()}}]), "data[0].settings.a"),
    ],
)
def test_names_the_place_of_what_is_wrong(value: Any, place: str) -> None:
    with pytest.raises(BadParams) as caught:
        parse_change_record(value)
    assert caught.value.message.startswith(f"{place}: ")
    assert caught.value.code == -32602
    if place != "record":
        with pytest.raises(BadParams) as caught:
            parse_signed_record(SIGNED | {"record": value}, "records[3]")
        assert caught.value.message.startswith(f"records[3].record.{place}: ")


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"hash": None}, "hash"),
        ({"hash": ""}, "hash"),
        ({"hash": SIGNED["hash"].upper()}, "hash"),
        ({"hash": SIGNED["hash"] + "\n"}, "hash"),
        ({"parent_hash": "0"}, "parent_hash"),
        ({"parent_hash": 0}, "parent_hash"),
        ({"signature": None}, "signature"),
        ({"signature": SIGNED["signature"] | {"r": 12345678901}}, "signature.r"),
        ({"signature": SIGNED["signature"] | {"r": "123456789"}}, "signature.r"),
        ({"signature": SIGNED["signature"] | {"s": "1" * 101}}, "signature.s"),
        ({"signature": SIGNED["signature"] | {"s": "-1234567890"}}, "signature.s"),
        ({"signature": SIGNED["signature"] | {"s": "١" * 20}}, "signature.s"),
        ({"signature": SIGNED["signature"] | {"c": None}}, "signature.c"),
        ({"signature": SIGNED["signature"] | {"c": "x" * (MAX_CERTIFICATE_CHARS + 1)}}, "signature.c"),
        ({"record": None}, "record"),
    ],
)
def test_names_the_place_in_a_signed_record(changes: Any, place: str) -> None:
    with pytest.raises(BadParams) as caught:
        parse_signed_record(SIGNED | changes, "records[3]")
    assert caught.value.message.startswith(f"records[3].{place}: ")


def test_a_root_has_no_parent() -> None:
    for parent in ("", None):
        assert parse_signed_record(SIGNED | {"parent_hash": parent}).is_root
    absent = {key: value for key, value in SIGNED.items() if key != "parent_hash"}
    assert parse_signed_record(absent).parent_hash == ""


def test_nesting_and_numbers_are_what_servers_in_use_take() -> None:
    deep: Any = -0.0
    for level in range(5_000):
        deep = [deep] if level % 2 else {"a": deep}
    settings = section("settings", [{"settings": {"a": deep, "b": 10**18, "c": 2**53}}])[0]["settings"]
    assert levels(settings) == 5_001
    assert settings["b"] == 1e18 and isinstance(settings["b"], Number)
    assert settings["c"] == 2**53 and isinstance(settings["c"], int)
    assert len(structured_hash(settings)) == 32


def test_what_is_sent_along_with_calls() -> None:
    def nested(depth: int) -> Any:
        return {"a": nested(depth - 1)} if depth else 1

    for name in ("groups", "certificates", "channels", "settings", "services"):
        assert sendable_section(name, []) == []
    plain = section("settings", [{"settings": nested(24)}, {"settings": {"v": [1, 1e300]}}])
    assert sendable_section("settings", plain) is plain
    odd = section("settings", [{"service": "s", "settings": nested(25)}, {"settings": {"v": [10**18, None]}}])
    assert [item["settings"] for item in sendable_section("settings", odd)] == [{}, {"v": [1e18, None]}]
    assert type(sendable_section("settings", odd)[1]["settings"]["v"][0]) is float
    channels = section("channels", [{"type": "x", "settings": nested(25)}, {"type": "y"}])
    assert sendable_section("channels", channels) == [{"type": "x", "settings": None}, {"type": "y"}]
    methods = [{"name": "m", "parameters": nested(30)}, {"name": "n", "parameters": [1]}]
    services = section("services", [{"name": "s", "methods": methods}, {"name": "t"}])
    sent = sendable_section("services", services)
    assert [method.get("parameters") for method in sent[0]["methods"]] == [None, [1]]
    assert sent[1] is services[1]


@given(st.sampled_from(SECTIONS).flatmap(lambda name: st.tuples(st.just(name), DATA[name])))
def test_normalising_is_idempotent_and_changes_its_input_not(case: tuple[str, Any]) -> None:
    name, data = case
    before = copy.deepcopy(data)
    parsed = parse_change_record(record(section=name, data=data))
    assert data == before
    assert parse_change_record(parsed.to_json()) == parsed
    assert parse_section(name, parsed.data, "data") == parsed.data
    assert parse_change_record(json.loads(json.dumps(parsed.to_json()))).hash() == parsed.hash()
    assert structured_hash(parsed.to_json()).hex() == parsed.hash()


@given(VALUES)
def test_strangers_get_an_answer_never_a_traceback(value: Any) -> None:
    for attempt in (
        value,
        record(data=value),
        record(section="settings", data=[{"settings": value}]),
        SIGNED | {"signature": value},
    ):
        for parse in (parse_change_record, parse_signed_record):
            with contextlib.suppress(BadParams):
                parse(attempt)
