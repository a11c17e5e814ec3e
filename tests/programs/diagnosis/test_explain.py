"""Why a call is allowed, or not, and what may be called."""

import pytest

from eps.core.entries import Directory, Entry
from eps.core.names import Operator
from eps.errors import UnknownOperator
from eps.programs.diagnosis.explain import BUILT_IN, explain, explained, listed, offers, with_descriptions
from eps.programs.diagnosis.known import Known
from eps.programs.diagnosis.paper import Paper
from support.fakes import network_directory
from support.record_tools import ADMIN, group_record, sign_chain

KNOWN = Known(network_directory(), "unsigned, from a test")


def test_the_built_in_methods_are_those_that_need_a_right() -> None:
    assert {"_ping", "_directory", "_connectionRequest"} == BUILT_IN


@pytest.mark.parametrize(
    ("callee", "method", "allowed", "why"),
    [
        ("hd-2", "_ping", True, "the group health-departments may call the whole service"),
        ("private-proxy-1.ga", "_ping", True, "everybody (*) may call"),
        ("hd-1", "anything", True, "hd-1 is asked by its own applications, which need no right in the directory"),
        ("hd-2", "nix", False, "the directory lists no service of hd-2 with a method 'nix'"),
        ("hd-2", "_connectionRequest", False, "is for the group proxy-providers; the groups of hd-1: "),
    ],
)
def test_why(callee: str, method: str, allowed: bool, why: str) -> None:
    found = explain(KNOWN, "hd-1", callee, method)
    assert found.allowed is allowed
    assert why in found.why


def test_a_misspelt_method() -> None:
    found = explain(KNOWN, "hd-1", "hd-2", "ping")
    assert found.meant == "_ping"
    assert explained(found, KNOWN, Paper(80)).endswith("  what to do  did you mean _ping?")
    assert explain(KNOWN, "hd-1", "hd-2", "_connectionRequest").meant == "", "it is there, for others"


def test_who_is_not_there() -> None:
    with pytest.raises(UnknownOperator, match="hd-22 is not in the directory") as caught:
        explain(KNOWN, "hd-1", "hd-22", "_ping")
    assert caught.value.hint == "did you mean hd-2?"
    with pytest.raises(UnknownOperator) as caught:
        explain(KNOWN, "nobody-like-that", "hd-2", "_ping")
    assert caught.value.hint.startswith("there are hd-1, hd-2, ls-1, ")
    with pytest.raises(UnknownOperator) as caught:
        explain(Known(network_directory(empty=True), ""), "hd-1", "hd-2", "_ping")
    assert caught.value.hint == "nobody is in it yet"


ALLOWED = """\
✓ hd-1 may call _ping of hd-2
  why         the group health-departments may call the whole service
  service     internals (every server answers it itself)
  records     services of hd-2: no signed record
              groups of hd-1: no signed record
              channels of hd-2: no signed record
  way         hd-1 → hd-2, behind the proxy public-proxy-1.ga
  directory   unsigned, from a test"""


def test_for_people() -> None:
    assert explained(explain(KNOWN, "hd-1", "hd-2", "_ping"), KNOWN, Paper(80)) == ALLOWED
    narrow = explained(explain(KNOWN, "hd-1", "hd-2", "nix"), KNOWN, Paper(60))
    assert max(map(len, narrow.splitlines())) <= 60
    assert " ".join(narrow.split()).endswith(
        "what to do hd-2's administrator grants rights in the section «services» of its directory entry"
    )
    assert narrow.startswith("✗ hd-1 may not call nix of hd-2\n")


def test_who_signed() -> None:
    (signed,) = sign_chain([group_record("hd-1", "a")])
    entry = Entry(Operator("hd-1")).with_record(signed.record, signed)
    known = Known(Directory.empty().replace([entry], "v"), "")
    found = explain(known, "hd-1", "hd-1", "_ping")
    groups = next(source for source in found.sources if source.section == "groups")
    assert groups.fingerprint == ADMIN.subject.fingerprint
    assert str(groups).startswith(f"groups of hd-1: signed by admin (certificate {groups.fingerprint[:12]}…) on 20")
    assert "." not in str(groups).partition(" on ")[2].partition(",")[0]


def test_what_may_be_called() -> None:
    own = KNOWN.entry("hd-1")
    found = [f"{one.operator}.{one.method}" for one in offers(KNOWN.directory, own)]
    assert {"hd-2._ping", "ls-1.lookup", "public-proxy-1.ga.requestConnection"} <= set(found)
    assert not any(name.startswith("hd-1.") or name.endswith("._connectionRequest") for name in found)
    ours = offers(KNOWN.directory, own, "hd-1")
    assert {one.method for one in ours} >= {"_connectionRequest", "_ping"}
    text = listed([*offers(KNOWN.directory, own, "hd-2"), *ours], Paper(80))
    assert "hd-2._ping\n    service internals; granted to health-departments" in text
    assert "ours: our applications need no right" in text


def test_params_that_the_directory_names() -> None:
    parameters = [{"name": "name", "validators": None}, {"name": "zip"}]
    methods = [
        {"name": "lookup", "permissions": [], "parameters": parameters},
        {"name": "tell", "permissions": [], "parameters": []},
        {"name": "lookup", "permissions": [{"group": "*", "rights": ["call"]}]},
    ]
    directory = network_directory(services={"hd-2": [{"name": "s", "permissions": [EVERYONE], "methods": methods}]})
    text = listed(offers(directory, KNOWN.entry("hd-1"), "hd-2"), Paper(80))
    assert "hd-2.lookup (name, zip)\n    service s; granted to everybody" in text
    assert "hd-2.tell (no params)" in text
    assert text.count("hd-2.lookup") == 1


@pytest.mark.parametrize("properties", [[], None, "x", 5, {"name": 1}], ids=str)
def test_odd_descriptions(properties: object) -> None:
    parameters = [{"name": "name", "validators": None}]
    methods = [{"name": "lookup", "permissions": [EVERYONE], "parameters": parameters}]
    directory = network_directory(services={"hd-2": [{"name": "s", "permissions": [], "methods": methods}]})
    told = {"methods": [{"name": "lookup", "description": "", "params": {"properties": properties, "required": 1}}]}
    found = with_descriptions(offers(directory, KNOWN.entry("hd-1"), "hd-2"), told)
    assert "hd-2.lookup (name" in listed(found, Paper(80))


def test_what_an_operator_says_of_its_methods() -> None:
    methods = [{"name": name, "permissions": [EVERYONE]} for name in ("lookup", "add", "none")]
    directory = network_directory(services={"hd-2": [{"name": "s", "permissions": [], "methods": methods}]})
    found = offers(directory, KNOWN.entry("hd-1"), "hd-2")
    schema = {"properties": {"name": {"type": "string"}, "at\x1b": {}}, "required": ["name"]}
    lookup = {
        "name": "lookup",
        "description": "Where\x1b it\nis.\n\nMore.",
        "params": schema,
        "described_by": "application",
    }
    told = {"methods": [lookup, {"name": "add", "description": ""}]}
    text = listed(with_descriptions(found, told), Paper(80))
    assert "hd-2.lookup (name: string, at" in text and "\x1b" not in text and "More" not in text
    assert "\n    Where" in text and "hd-2.none\n" in text
    assert with_descriptions(found, {}) == found
    (first, *_) = with_descriptions(found, told)
    assert first.to_json()["params"] == schema and first.described_by == "application"


EVERYONE = {"group": "*", "rights": ["call"]}
