"""What a writer of records is told before they are signed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eps.core.advice import SETTINGS_IN_USE, Surroundings, doubtful, unlike_before, wrong
from eps.core.entries import Directory
from eps.core.exact import known_settings
from eps.core.permission import EVERYONE
from eps.core.record import ChangeRecord, parse_change_record
from eps.errors import BadParams
from support.vectors import load

ROOT = Path(__file__).resolve().parents[2]


def value(section: str, data: Any, **more: Any) -> dict[str, Any]:
    return {"name": "acme", "section": section, "data": data, "created_at": "2026-11-22T12:00:00Z"} | more


def record(section: str, data: Any, name: str = "acme") -> ChangeRecord:
    return parse_change_record(value(section, data, name=name))


HEX = "905369dfb3c29ff3b312071514bd80be9c3bcb0924b76c4358b2e8b7d6fd0a9e"
COLONS = ":".join(HEX[i : i + 2] for i in range(0, 64, 2)).upper()
COMMAND = "openssl x509 -in CERTIFICATE -outform der | sha256sum"


@pytest.mark.parametrize(
    ("written", "text", "hint"),
    [
        (HEX.upper(), "must be 64 lower-case hex digits", f"write {HEX}"),
        (COLONS, "must be 64 lower-case hex digits", f"write {HEX}"),
        (f"sha256 Fingerprint={COLONS}", "must be 64 lower-case hex digits", f"write {HEX}"),
        (f"SHA256:{HEX}", "must be 64 lower-case hex digits", f"write {HEX}"),
        (f" 0x{HEX} ", "must be 64 lower-case hex digits", f"write {HEX}"),
        (HEX[:32] + " " + HEX[32:], "must be 64 lower-case hex digits", f"write {HEX}"),
        (COLONS[:59], "it looks like the certificate's SHA-1 digest; the directory wants SHA-256", COMMAND),
        (HEX[:-1], f"not '{HEX[:-1]}'", COMMAND),
        ("SIGNING", "not 'SIGNING'", COMMAND),
        ("", "not ''", COMMAND),
    ],
    ids=["capitals", "colons", "openssl", "label", "0x", "space", "sha1", "short", "placeholder", "empty"],
)
def test_fingerprints(written: str, text: str, hint: str) -> None:
    (found,) = wrong(record("certificates", [{"fingerprint": written, "key_usage": "signing"}]))
    assert found.text.startswith("data[0].fingerprint: ") and text in found.text
    assert found.hint == hint


@pytest.mark.parametrize(
    ("channel", "text", "hint"),
    [
        ({"type": "grpc"}, "data[0].type: there is no channel type 'grpc'", "one of grpc_client, "),
        ({"type": "grpc-server"}, "data[0].type: there is no channel type", "did you mean grpc_server?"),
        ({"type": "grpc_server"}, "data[0].settings.address: must be given", "localhost:4444"),
        ({"settings": {"address": ""}}, "data[0].settings.address: must be given", "localhost:4444"),
        (
            {"settings": {"address": "a.example"}},
            "must be HOST:PORT, not 'a.example'",
            "dial, for example a.example:4444",
        ),
        ({"settings": {"address": "https://a.example:8/x"}}, "must be HOST:PORT", "write a.example:8"),
        ({"settings": {"address": "::1"}}, "must be HOST:PORT", "for example [::1]:4444"),
        ({"settings": {"address": ":4444"}}, "must be HOST:PORT", "a text like acme.example.org:4444"),
        ({"settings": {"address": 4444}}, "must be HOST:PORT, not 4444", "a text like acme.example.org:4444"),
        ({"settings": {"address": ["a:1"], "proxy": {}}}, "must be HOST:PORT, not a list", "a text like acme."),
        ({"settings": {"address": {"a": 1}}}, "must be HOST:PORT, not an object", "a text like acme."),
        ({"settings": {"adress": "a:1", "address": "a:1"}}, "data[0].settings.adress: nobody", "did you mean address?"),
    ],
    ids=[
        "unknown",
        "misspelt",
        "none",
        "empty",
        "no-port",
        "url",
        "ipv6",
        "no-host",
        "number",
        "list",
        "object",
        "misspelt-key",
    ],
)
def test_channels(channel: dict[str, Any], text: str, hint: str) -> None:
    (found,) = wrong(record("channels", [{"type": "grpc_server", **channel}]))
    assert text in found.text
    assert hint in found.hint


@pytest.mark.parametrize(
    ("name", "what"), [("look up", "a space"), ("a.b", "«.»"), ("f(x)", "«(»"), ("a\u00a0b", "a space")]
)
def test_methods_that_nobody_could_call(name: str, what: str) -> None:
    (found,) = wrong(record("services", [{"name": "a b.c", "methods": [{"name": "ok"}, {"name": name}]}]))
    assert found.text == f"data[0].methods[1].name: {name!r} holds {what}: nobody could call it"


def test_usages_and_settings_that_nobody_knows() -> None:
    (found,) = wrong(record("certificates", [{"fingerprint": HEX, "key_usage": "tls"}]))
    assert found.text == "data[0].key_usage: must be 'encryption' or 'signing', not 'tls'"
    item = {"service": "proxy", "settings": {"allowed_domain": [".x"]}}
    (found,) = wrong(record("settings", [item]))
    assert (found.text, found.hint) == (
        "data[0].settings.allowed_domain: nobody reads this key",
        "did you mean allowed_domains? If servers of another make do: --foreign-key allowed_domain",
    )
    (found,) = wrong(record("settings", [item | {"settings": {"colour": "red", "_note": "ours"}}]))
    assert (found.text, found.hint) == (
        "data[0].settings.colour: nobody reads this key",
        "known here: allowed_domains, internal_endpoints. If servers of another make do: --foreign-key colour",
    )
    assert wrong(record("settings", [item | {"service": "other"}, item | {"service": ""}])) == []


def test_keys_that_reading_drops() -> None:
    permission = {"group": "g", "right": ["call"], "rights": ["call"]}
    method = {"name": "m", "permission": [permission], "parameters": {"any": "form"}, "permissions": [permission, 7]}
    given = value("services", [{"name": "s", "methods": [method], "comment": "ours", "_note": ""}], nam="x", hash="y")
    given["data"][0]["methods"][0]["permissions"].pop()
    parsed = parse_change_record(given)
    assert sorted(one.text.partition(":")[0] for one in wrong(parsed, given)) == [
        "data[0].methods[0].permission",
        "data[0].methods[0].permissions[0].right",
        "nam",
    ]
    assert [text.partition(":")[0] for text in doubtful(parsed, given)] == ["hash", "data[0].comment"]
    assert wrong(parsed) == [] and list(doubtful(parsed)) == []
    for data in ({"no": "list"}, ["no object"], [{"name": "s", "methods": 7}]):
        assert wrong(parsed, value("services", data)) == []


def test_keys_that_servers_of_another_make_read() -> None:
    server = {"type": "grpc_server", "settings": {"address": "a:1", "quic_address": "a:2", "weight": 1}}
    given = record("channels", [server])
    assert [one.text for one in wrong(given)] == ["data[0].settings.quic_address: nobody reads this key"]
    assert [text.partition(":")[0] for text in doubtful(given)] == ["data[0].settings.weight"]
    assert wrong(given, None, ["quic_address"]) == []
    assert list(doubtful(given, None, None, ["weight"])) == [], "whoever names it has no doubt"


def test_a_key_of_another_place_is_none_of_this() -> None:
    (found,) = wrong(record("settings", [{"service": "proxy", "settings": {"weight": 1}}]))
    assert found.text == "data[0].settings.weight: nobody reads this key"
    assert wrong(record("channels", [{"type": "grpc_client", "settings": {"weight": 1}}])) == []


def deep(levels: int) -> Any:
    return {"a": deep(levels - 1)} if levels else "x"


def test_what_no_other_operator_is_needed_to_doubt() -> None:
    assert next(doubtful(record("preferences", [{"settings": {}}]))).startswith("servers in use are upset by an entry")
    assert list(doubtful(record("preferences", []))) == []
    (text,) = doubtful(record("settings", [{"service": "s", "settings": deep(25)}]))
    assert text.startswith("data[0].settings: is left out of what servers send each other, being more than 24 objects")
    (text,) = doubtful(record("channels", [{"type": "grpc_server", "settings": {"address": "a:1", "weight": 3}}]))
    assert text == "data[0].settings.weight: nobody reads this key; known here: address, internal, proxy"
    assert list(doubtful(record("groups", ["g"]))) == []


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("groups", ["a"], []),
        ("preferences", [], []),
        ("preferences", [{"settings": {}}], ["servers in use are upset"]),
        ("channels", [{"type": "grpc_client"}, {"type": "grpc_server", "settings": {"address": "a:1"}}], []),
        (
            "channels",
            [{"type": "grpc_server"}, {"type": "grpc_server", "settings": {"address": "a"}}],
            ["data[0].settings.address: must be given", "data[1].settings.address: "],
        ),
        (
            "settings",
            [{"settings": {}}, {"settings": json.loads('{"a":' * 25 + "1" + "}" * 25)}],
            ["data[1].settings: "],
        ),
        ("certificates", [{"fingerprint": "0" * 64, "key_usage": "signing"}], []),
        (
            "certificates",
            [{"fingerprint": "A" * 64, "key_usage": "encryption"}],
            ["data[0].fingerprint: must be 64 lower-case"],
        ),
        ("certificates", [{"fingerprint": "a" * 64, "key_usage": "tls"}], ["data[0].key_usage: "]),
    ],
)
def test_what_a_writer_is_told_of_one_record(name: str, data: Any, expected: list[str]) -> None:
    found = [*(one.text for one in wrong(record(name, data))), *doubtful(record(name, data))]
    assert len(found) == len(expected)
    assert all(text.startswith(beginning) for text, beginning in zip(found, expected, strict=True))


AROUND = Surroundings.of(
    Directory.from_records([record("groups", ["members"]), record("groups", ["proxy-providers"], "proxy-1.ga")])
)


@pytest.mark.parametrize(
    ("section", "item", "text"),
    [
        ("services", {"name": "s", "permissions": [{"group": "*"}, {"group": "members"}]}, ""),
        (
            "services",
            {"name": "s", "permissions": [{"group": "member"}]},
            "data[0].permissions[0].group: nobody is in the group 'member'; did you mean members?",
        ),
        (
            "services",
            {"name": "s", "methods": [{"name": "a"}, {"name": "b", "permissions": [{"group": "hd"}]}]},
            "data[0].methods[1].permissions[0].group: nobody is in the group 'hd'",
        ),
        ("channels", {"type": "grpc_server", "settings": {"address": "a:1", "proxy": "proxy-1.ga"}}, ""),
        ("channels", {"type": "grpc_client"}, ""),
        ("channels", {"type": "grpc_server", "settings": {"address": "a:1", "proxy": ["odd"]}}, ""),
        (
            "channels",
            {"type": "grpc_server", "settings": {"address": "a:1", "proxy": "proxy-2.ga"}},
            "data[0].settings.proxy: there is no operator 'proxy-2.ga'; did you mean proxy-1.ga?",
        ),
        ("settings", {"operator": "acme", "service": "s", "settings": {}}, ""),
        ("settings", {"operator": "", "service": "s", "settings": {}}, ""),
        (
            "settings",
            {"operator": "beta", "service": "s", "settings": {}},
            "data[0].operator: there is no operator 'beta'",
        ),
    ],
    ids=["known", "group", "method", "proxy", "client", "odd", "no-proxy", "operator", "any", "no-operator"],
)
def test_who_is_named_must_exist(section: str, item: dict[str, Any], text: str) -> None:
    assert list(doubtful(record(section, [item]), None, AROUND)) == ([text] if text else [])


def test_a_group_that_gives_no_right() -> None:
    service = {"name": "s", "permissions": [{"group": "members", "rights": ["call"]}, {"group": "odd", "rights": []}]}
    directory = Directory.from_records([record("services", [service], "beta"), record("groups", ["members"], "beta")])
    around = Surroundings.of(directory.after([record("groups", ["members", "member", "odd", EVERYONE])]))
    assert list(doubtful(record("groups", ["members", "member", "odd", EVERYONE]), None, around)) == [
        "data[1]: no service lets the group 'member' call it; did you mean members?",
        "data[2]: no service lets the group 'odd' call it",
    ]
    before = Directory.from_records([record("groups", ["odd"])])
    around = Surroundings.of(before.after([record("groups", ["odd", "new"])]), before)
    assert list(doubtful(record("groups", ["odd", "new"]), None, around)) == [
        "data[1]: no service lets the group 'new' call it"
    ]


def test_among_very_many_none_is_looked_for() -> None:
    around = Surroundings(frozenset(f"acme-{i}" for i in range(3000)), frozenset(), frozenset())
    proxied = {"type": "grpc_server", "settings": {"address": "a:1", "proxy": "acme"}}
    (text,) = doubtful(record("channels", [proxied]), None, around)
    assert text.endswith("there is no operator 'acme'")


def test_names_that_are_nearly_anothers() -> None:
    before = Directory.from_records([record("groups", ["g"], "acme")])
    after = before.after([record("groups", ["g"], "acne"), record("groups", ["g"], "other")])
    assert list(unlike_before(before, after)) == [("acne", "the name 'acne' is new, and one letter from 'acme'")]
    assert list(unlike_before(after, after)) == []
    assert list(unlike_before(Directory.empty(), before)) == []
    both = list(unlike_before(Directory.empty(), after))
    assert [name for name, _ in both] == ["acme", "acne"], "a typing error in one of an operator's records"


def test_groups_that_are_nearly_others() -> None:
    before = Directory.from_records([record("groups", ["members"], "acme"), record("groups", ["hd-1"], "other")])
    after = before.after([record("groups", ["memers", "hd-2", "new"], "other")])
    assert list(unlike_before(before, after)) == [("other", "the group 'memers' is new, and one letter from 'members'")]


def pin(usage: str = "signing") -> list[dict[str, str]]:
    return [{"fingerprint": HEX, "key_usage": usage}]


def test_a_signers_pin_that_goes() -> None:
    before = Directory.from_records([record("certificates", pin()), record("certificates", pin("encryption"), "other")])
    for after in (before.after([record("certificates", [])]), Directory.empty()):
        ((name, text),) = unlike_before(before, after)
        assert name == "acme"
        assert text.startswith("no certificate that acme signs with is pinned any more: ")
    assert list(unlike_before(before, before.after([record("certificates", [], "other")]))) == []


def test_a_group_whose_last_member_goes() -> None:
    service = {"name": "s", "permissions": [{"group": "g"}, {"group": "h"}]}
    before = Directory.from_records([record("groups", ["g"]), record("services", [service], "other")])
    after = before.after([record("groups", [])])
    assert list(unlike_before(before, after)) == []
    service["permissions"] = [{"group": "g", "rights": ["call"]}]
    before = Directory.from_records([record("groups", ["g"]), record("services", [service], "other")])
    after = before.after([record("groups", [])])
    assert list(unlike_before(before, after)) == [
        ("other", "nobody is in the group g any more, which services of other name")
    ]
    assert list(unlike_before(before, after.after([record("services", [], "other")]))) == []


def proxied(name: str, proxy: str = "") -> ChangeRecord:
    settings = {"address": "a:1", **({"proxy": proxy} if proxy else {})}
    return record("channels", [{"type": "grpc_server", "settings": settings}], name)


def test_a_proxy_that_goes() -> None:
    before = Directory.from_records([proxied("hidden", "proxy-1"), proxied("proxy-1"), proxied("lost", "nowhere")])
    text = "hidden is reached through 'proxy-1', which nobody can reach any more"
    for after in (
        before.after([record("channels", [], "proxy-1")]),
        Directory.from_records([proxied("hidden", "proxy-1")]),
    ):
        assert ("hidden", text) in list(unlike_before(before, after))
    assert list(unlike_before(before, before.after([proxied("hidden", "proxy-1")]))) == []
    emptied = before.after([record("channels", [], "proxy-1")])
    assert list(unlike_before(emptied, emptied)) == []


# Nothing that is in use is refused


def records_in(value: Any) -> list[Any]:
    """All change records anywhere inside a JSON value, also those that stand there as text."""
    if isinstance(value, str) and value.startswith('{"name"'):
        value = json.loads(value)
    if isinstance(value, dict):
        own = [value] if {"section", "data", "name"} <= value.keys() else []
        return own + [one for inner in value.values() for one in records_in(inner)]
    return [one for inner in value for one in records_in(inner)] if isinstance(value, list) else []


VECTORS = ("records", "record_hash", "foreign_numbers", "permissions", "record_verification")
TREE = sorted([*ROOT.glob("settings/**/*.json"), *ROOT.glob("examples/**/*.json")])


@pytest.mark.parametrize("given", [*VECTORS, *TREE], ids=lambda given: getattr(given, "name", given))
def test_what_is_in_use_is_not_refused(given: Any) -> None:
    values = records_in(load(f"{given}.json") if isinstance(given, str) else json.loads(given.read_text()))
    read = []
    for one in values:
        try:
            read.append((parse_change_record({"created_at": "2026-11-22T12:00:00Z", **one}), one))
        except BadParams:
            continue  # a vector of what is no record
    assert read or given == "permissions"
    assert [found for parsed, one in read for found in wrong(parsed, one)] == []


def unknown_in_use(value: Any) -> Iterator[tuple[tuple[str, str], str]]:
    """Keys that are not known, of what stands inside a JSON value: the section and type or service, the key."""
    if isinstance(value, dict) and isinstance(value.get("settings"), dict):
        section, kind = ("channels", "type") if "type" in value else ("settings", "service")
        known = known_settings(section, {kind: "", **value})
        if known:
            yield from (((section, value[kind]), key) for key in value["settings"] if key not in known)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from unknown_in_use(inner)


def test_keys_in_use_are_those_that_were_recorded() -> None:
    found: dict[tuple[str, str], set[str]] = {}
    for name in (*VECTORS, "structured_hash", "ambiguous_records"):
        for place, key in unknown_in_use(load(f"{name}.json")):
            found.setdefault(place, set()).add(key)
    assert found == SETTINGS_IN_USE


@pytest.mark.parametrize("tree", ["dev", "test"])
def test_nothing_in_the_trees_is_doubtful(tree: str) -> None:
    values = records_in(json.loads((ROOT / "settings" / tree / "directory" / "001_base.json").read_text()))
    records = [parse_change_record(one) for one in values]
    after = Directory.from_records(records)
    around = Surroundings.of(after)
    assert [text for parsed, one in zip(records, values, strict=True) for text in doubtful(parsed, one, around)] == []
    assert list(unlike_before(Directory.empty(), after)) == []
