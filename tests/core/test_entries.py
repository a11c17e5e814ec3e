"""Entries and what the directory is asked."""

import dataclasses
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eps.core.entries import Directory, Entry
from eps.core.names import Fingerprint, Operator
from eps.core.record import SECTIONS, ChangeRecord, parse_change_record, parse_signed_record
from eps.core.sections import Channel, GrpcServerInfo, Method, Permission, PinnedCertificate, Service
from support.record_tools import entry_of
from support.strategies import DATA
from support.vectors import load

VECTOR = load("permissions.json")


def change(name: str, section: str, data: list[Any]) -> ChangeRecord:
    record = {"name": name, "section": section, "data": data, "created_at": "2026-11-22T10:44:19Z"}
    return parse_change_record(record)


def server(address: Any = "localhost:1", **settings: Any) -> dict[str, Any]:
    return {"type": "grpc_server", "settings": {"address": address, **settings}}


CLIENT = {"type": "grpc_client"}
PROXIED = server(proxy="p")


# Entries


@pytest.mark.parametrize("value", VECTOR["entries"], ids=lambda value: value["name"])
def test_entries_of_the_vectors_read_and_write(value: Any) -> None:
    entry = entry_of(value)
    written = entry.to_json()
    assert list(written) == list(value)
    lists = {key: item if item is not None else [] for key, item in value.items()} | {"preferences": None}
    assert json.dumps(written) == json.dumps(lists)
    assert entry_of(written) == entry
    assert entry.to_json() is written


def test_a_channel_type_of_others_passes_and_is_ignored() -> None:
    """The fork Hyper has ``quic`` (PROTOCOL.md section 9)."""
    quic = {"type": "quic", "settings": {"address": "localhost:7"}}
    records = [change(name, "channels", [quic, *more]) for name, more in (("a", [CLIENT, server()]), ("b", []))]
    directory = Directory.from_records(records)
    known, only = directory.entries[Operator("a")], directory.entries[Operator("b")]
    assert known.to_json()["channels"][0] == only.to_json()["channels"][0] == quic
    assert known.grpc_server is not None and known.grpc_server.address == "localhost:1"
    assert only.grpc_server is None


def test_an_entry_from_records() -> None:
    records = [parse_signed_record(value) for value in load("records.json")]
    entry = Entry(Operator("hd-1"))
    for signed in records:
        if signed.record.name == "hd-1":
            entry = entry.with_record(signed.record, signed)
    again = entry.with_record(records[2].record, records[2])
    assert [signed.record.section for signed in again.records] == [
        "channels",
        "settings",
        "services",
        "certificates",
        "groups",
    ]
    assert entry.groups == ("health-departments",)
    assert entry.grpc_server == GrpcServerInfo("localhost:8888", False, Operator("public-proxy-1.ga"))
    assert entry.to_json()["records"][0] == records[1].to_json()
    assert entry.to_json()["settings"] == [
        {
            "operator": "",
            "service": "proxy",
            "environment": "production",
            "settings": {"allowed_domains": [".internal-server.local"]},
        }
    ]
    assert entry.with_record(change("hd-1", "groups", [])).groups == ()
    assert len(entry.with_record(change("hd-1", "groups", [])).records) == 4


@settings(max_examples=40)
@given(st.fixed_dictionaries({section: DATA[section] for section in SECTIONS}))
def test_entries_survive_being_written(sections: dict[str, Any]) -> None:
    entry = Entry(Operator("x"))
    for section, data in sections.items():
        entry = entry.with_record(change("x", section, data))
    assert entry_of(json.loads(json.dumps(entry.to_json()))) == entry


def test_what_peers_are_told() -> None:
    preferences = [{"settings": {"a": 1}}]
    entry = Entry(Operator("x"), display_name="X")
    entry = entry.with_record(change("x", "preferences", preferences))
    entry = entry.with_record(change("x", "channels", [CLIENT, server(), {"type": "grpc_server"}, server(5)]))
    assert entry.to_json()["preferences"][0]["settings"] == {"a": 1}
    assert entry.as_client is entry.as_client
    assert entry.as_client == {
        "name": "x",
        "entry": entry.to_json()
        | {"channels": [{"type": "grpc_client", "settings": None}, server()], "preferences": None},
    }


def test_what_is_too_deep_for_calls_is_left_out() -> None:
    deep: Any = 1
    for _ in range(25):
        deep = [deep]
    usual = Entry(Operator("x")).with_record(change("x", "channels", [server()]))
    assert usual.to_message() is usual.to_json()
    entry = usual.with_record(change("x", "settings", [{"settings": {"v": deep}}, {"settings": {"v": 10**18}}]))
    assert entry.to_json()["settings"][0]["settings"] == {"v": deep}
    assert entry.to_message() is entry.to_message()
    assert entry.to_message() == entry.to_json() | {
        "settings": [
            {"operator": "", "service": "", "environment": "", "settings": {}},
            {"operator": "", "service": "", "environment": "", "settings": {"v": 1e18}},
        ]
    }
    assert entry.as_client["entry"] is entry.to_message()
    channels = [{"type": "x", "settings": {"v": deep}}, {"type": "grpc_server"}]
    upsetting = entry.with_record(change("x", "channels", channels))
    assert upsetting.as_client["entry"]["channels"] == [{"type": "x", "settings": None}]
    assert upsetting.as_client["entry"]["settings"] == entry.to_message()["settings"]


def test_records_that_travel_are_those_whose_values_do() -> None:
    records = [parse_signed_record(value) for value in load("records.json")]
    mine = [signed for signed in records if signed.record.name == "hd-1"]
    entry = Entry(Operator("hd-1"))
    for signed in mine:
        entry = entry.with_record(signed.record, signed)
    odd = dataclasses.replace(mine[0], record=change("hd-1", "channels", [{"type": "x", "settings": {"v": 10**18}}]))
    entry = entry.with_record(odd.record, odd)
    assert len(entry.to_message()["records"]) == len(entry.to_json()["records"]) - 1


def test_an_entry_that_upsets_nobody_is_sent_as_it_is() -> None:
    entry = Entry(Operator("x")).with_record(change("x", "channels", [CLIENT, server()]))
    assert entry.as_client["entry"] is entry.to_json()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (None, ("", False, "")),
        ({}, ("", False, "")),
        ({"address": 5, "proxy": 5, "internal": "yes"}, ("", False, "")),
        ({"address": "a:1"}, ("a:1", False, "")),
        ({"address": "a:1", "internal": True}, ("a:1", True, "")),
        ({"address": "a:1", "proxy": "p"}, ("a:1", False, "p")),
    ],
)
def test_grpc_server(settings: Any, expected: tuple[str, bool, str]) -> None:
    entry = Entry(Operator("x"), channels=(Channel("grpc_client"), Channel("grpc_server", settings)))
    info = entry.grpc_server
    assert info is not None
    assert (info.address, info.internal, info.proxy) == expected
    assert entry.has_channel("grpc_client")
    assert not Entry(Operator("x")).has_channel("grpc_client")
    assert Entry(Operator("x")).grpc_server is None


# The directory


def test_pins() -> None:
    certificates = [
        {"fingerprint": name, "key_usage": usage}
        for name, usage in [
            ("e1", "encryption"),
            ("s1", "signing"),
            ("e2", "encryption"),
            ("s2", "signing"),
            ("x", "x"),
        ]
    ]
    directory = Directory.from_records([change("a", "certificates", certificates), change("b", "groups", [])], "tip")
    assert directory.version == "tip"
    assert directory.pins("a") == {"e1", "e2"}
    assert directory.pins("b") == directory.pins("nobody") == frozenset()
    entry, bare = directory.entry("a"), directory.entry("b")
    assert entry is not None
    assert bare is not None
    assert entry.signing_pin == "s2"
    assert bare.signing_pin is None
    assert entry.certificates[0] == PinnedCertificate(Fingerprint("e1"), "encryption")


INCOMING = [case for case in VECTOR["peers"] if case["incoming_only"]]
REACHABLE = (Channel("grpc_server", {"address": "localhost:1"}),)


@pytest.mark.parametrize("case", INCOMING, ids=lambda case: case["base"])
def test_vector_of_those_who_may_call(case: Any) -> None:
    """Of operators that can be reached, just these are held a stream to."""
    entries = [dataclasses.replace(entry_of(value), channels=REACHABLE) for value in VECTOR["entries"]]
    assert Directory.empty().replace(entries, "").stream_targets(case["base"]) == case["peers"]


def test_nobody_holds_a_stream_to_oneself() -> None:
    own = Service("s", (Permission("g", ("call",)),), (Method("m", ()),))
    entries = [Entry(Operator(name), groups=("g",), services=(own,), channels=REACHABLE) for name in "ab"]
    directory = Directory.empty().replace(entries, "")
    assert directory.stream_targets("nobody") == []
    assert directory.stream_targets("a") == ["b"]


def network(**channels: list[Any]) -> Directory:
    """Operators of one group, each of whom may call the others."""
    services = [{"name": "s", "permissions": [{"group": "g", "rights": ["call"]}], "methods": [{"name": "m"}]}]
    records = []
    for name, data in channels.items():
        records += [change(name, "channels", data), change(name, "groups", ["g"]), change(name, "services", services)]
    return Directory.from_records(records)


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        ([CLIENT], [server()], True),
        ([CLIENT], [server(), CLIENT], True),
        ([CLIENT, PROXIED], [server(), CLIENT], True),
        ([CLIENT, server(internal=True)], [server(), CLIENT], True),
        ([CLIENT, server()], [server(), CLIENT], False),
        ([CLIENT, server()], [server()], True),
        ([CLIENT], [PROXIED], False),
        ([CLIENT], [server(internal=True)], False),
        ([CLIENT], [{"type": "grpc_server"}], False),
        ([CLIENT], [CLIENT], False),
        ([], [server()], True),
    ],
)
def test_stream_targets(own: list[Any], other: list[Any], expected: bool) -> None:
    directory = network(own=own, other=other)
    assert directory.stream_targets("own") == (["other"] if expected else [])
    stranger = Directory.empty().replace([Entry(Operator("own")), directory.entries[Operator("other")]], "")
    assert stranger.stream_targets("own") == []
    assert stranger.stream_targets("nobody") == []


def test_service_settings() -> None:
    def item(operator: str, service: str, value: int) -> dict[str, Any]:
        return {"operator": operator, "service": service, "settings": {"value": value}}

    items = [item("p", "proxy", 1), item("q", "", 2), item("", "proxy", 3), item("", "", 4)]
    directory = Directory.from_records([change("a", "settings", items)])

    def asked(service: str, asking: str, owner: str = "a") -> Any:
        settings = directory.service_settings(owner, service, asking)
        return settings and settings["value"]

    assert asked("proxy", "p") == 1
    assert asked("proxy", "q") == asked("other", "q") == 2
    assert asked("proxy", "r") == 3
    assert asked("other", "r") == asked("other", "p") == 4
    assert asked("proxy", "p", "nobody") is None
    one = Directory.from_records([change("a", "settings", items[:1])])
    assert one.service_settings("a", "proxy", "q") is None


def test_snapshots_do_not_change() -> None:
    before = network(a=[], b=[])
    entry = before.entries[Operator("a")]
    after = before.replace([dataclasses.replace(entry, groups=("h",)), Entry(Operator("c"))], "tip")
    assert before.entries[Operator("a")].groups == ("g",)
    assert after.entries[Operator("a")].groups == ("h",)
    assert list(after.entries) == ["a", "b", "c"]
    assert after.entries[Operator("b")] is before.entries[Operator("b")]
    assert after.version == "tip"
    with pytest.raises(TypeError):
        after.entries[Operator("a")] = entry  # type: ignore[index]  # it must not be possible


def test_replacing_one_of_many_is_cheap() -> None:
    many = Directory.empty().replace([Entry(Operator(f"op-{number}")) for number in range(10_000)], "")
    times = []
    for _ in range(5):
        began = time.process_time()
        changed = many.replace([Entry(Operator("op-5"), groups=("g",))], "x")
        times.append(time.process_time() - began)
    assert min(times) < 0.02
    assert len(changed.entries) == 10_000


OFFERS = [
    ("address", ["h:1", "", 5, None]),
    ("internal", [True, False, 1, None]),
    ("proxy", ["p", "", 5, None]),
]


@given(st.lists(st.sampled_from(["grpc_client", "grpc_server"]), max_size=3), st.data())
def test_stream_targets_are_what_the_typed_entries_say(types: list[str], data: st.DataObject) -> None:
    def entry(name: str) -> Entry:
        channels = tuple(
            Channel(kind, {key: data.draw(st.sampled_from(values)) for key, values in OFFERS}) for kind in types
        )
        services = (Service("s", (), (Method("f", (Permission("all", ("call",)),)),)),)
        return Entry(Operator(name), groups=("all",), channels=channels, services=services)

    def direct(one: Entry) -> bool:
        info = one.grpc_server
        return info is not None and bool(info.address) and not info.internal and not info.proxy

    own, *others = made = [entry(name) for name in ("a", "b", "c")]
    directory = Directory({one.name: one for one in made})
    assert directory.stream_targets("a") == [
        one.name for one in others if direct(one) and not (direct(own) and one.has_channel("grpc_client"))
    ]


def test_a_record_without_a_name_is_passed_over() -> None:
    assert list(Directory.from_records([change("", "groups", ["a"]), change("b", "groups", [])]).entries) == ["b"]
