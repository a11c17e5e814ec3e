"""What differs between two directories, and entries in words."""

from typing import Any

from eps.core.changes import changes, in_words, render
from eps.core.entries import Directory
from eps.core.names import Operator
from eps.core.record import ChangeRecord, parse_change_record


def record(name: str, section: str, data: list[Any]) -> ChangeRecord:
    value = {"name": name, "section": section, "data": data, "created_at": "2026-11-22T12:00:00Z"}
    return parse_change_record(value)


def directory(*records: ChangeRecord) -> Directory:
    return Directory.from_records(records)


CALL = ["call"]
SERVICE = {
    "name": "locations",
    "permissions": [{"group": "staff", "rights": CALL}],
    "methods": [
        {"name": "add", "permissions": [{"group": "members", "rights": CALL}, {"group": "none", "rights": []}]},
        {"name": "find", "permissions": [{"group": "*", "rights": CALL}], "parameters": [{"name": "id"}]},
    ],
}


def test_a_new_operator_and_a_changed_one() -> None:
    before = directory(record("a", "groups", ["g", "h"]), record("b", "groups", ["g"]))
    after = before.after([record("a", "groups", ["h", "i"]), record("c", "services", [SERVICE])])
    found = changes(before, after)
    assert [(change.operator, change.section, change.new) for change in found] == [
        ("a", "groups", False),
        ("c", "services", True),
    ]
    assert found[0].to_json() == {"operator": "a", "section": "groups", "before": ["g", "h"], "after": ["h", "i"]}
    assert list(render(found)) == [
        "a",
        "  groups",
        "    - g",
        "    + i",
        "c (new in the directory)",
        "  services",
        "    + locations: add, callable by members, staff",
        '    + locations: find, callable by anybody, parameters [{"name":"id"}]',
    ]


def test_what_goes_altogether() -> None:
    before = directory(record("a", "groups", ["g"]), record("b", "groups", ["g"]))
    after = before.after([record("a", "groups", [])])
    assert list(render(changes(before, after))) == ["a", "  groups: empty from then on", "    - g"]
    assert [change.operator for change in changes(before, Directory.empty())] == ["a", "b"]
    assert changes(before, before.after([record("a", "groups", ["g"])])) == []
    after = after.after([record("a", "channels", [{"type": "grpc_client"}])])
    assert list(render(changes(before, after))) == [
        "a",
        "  channels",
        "    + grpc_client",
        "  groups: empty from then on",
        "    - g",
    ]


def test_the_order_of_certificates_matters_and_is_shown() -> None:
    one, two = ({"fingerprint": letter * 64, "key_usage": "signing"} for letter in "ab")
    before = directory(record("a", "certificates", [one, two]))
    (change,) = changes(before, before.after([record("a", "certificates", [two, one])]))
    assert len(change.lines) == 2 and {line[0] for line in change.lines} == {"+", "-"}


def test_the_same_written_otherwise() -> None:
    plain = {"name": "s", "permissions": [{"group": "g", "rights": CALL}], "methods": [{"name": "m"}]}
    other = {"name": "s", "methods": [{"name": "m", "permissions": [{"group": "g", "rights": CALL}]}]}
    before = directory(record("a", "services", [plain]))
    (change,) = changes(before, before.after([record("a", "services", [other])]))
    assert change.lines == ("~ written in another way; it means the same to callers",)


def test_every_section_has_words() -> None:
    entry = directory(
        record("a", "groups", ["g"]),
        record("a", "channels", [{"type": "grpc_client"}, {"type": "grpc_server", "settings": {"address": "h:1"}}]),
        record("a", "certificates", [{"fingerprint": "f" * 64, "key_usage": "encryption"}]),
        record("a", "services", [{"name": "empty"}, {"name": "shut", "methods": [{"name": "m"}]}]),
        record("a", "settings", [{"operator": "b", "service": "proxy", "settings": {"allowed_domains": [".x"]}}]),
        record("a", "preferences", [{"settings": {"n": 1.5, "t": "", "o": "odd\n"}}]),
    ).entries[Operator("a")]
    assert in_words(entry, "groups") == ["g"]
    assert in_words(entry, "channels") == ["grpc_client", "grpc_server address=h:1"]
    assert in_words(entry, "certificates") == ["encryption " + "f" * 64]
    assert in_words(entry, "services") == ["empty: no methods", "shut: m, callable by nobody"]
    assert in_words(entry, "settings") == ['for operator b, service proxy: allowed_domains=[".x"]']
    assert in_words(entry, "preferences") == ['for all: n=1.5 o="odd\\n" t=""']
