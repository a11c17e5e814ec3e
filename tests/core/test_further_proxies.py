"""Further proxies of an operator: what the directory may say of them, and what follows."""

from typing import Any

import pytest

from eps.core.advice import Surroundings, doubtful, unlike_before, wrong
from eps.core.entries import Directory, Entry
from eps.core.exact import flaw
from eps.core.layout import known_as_read, layout
from eps.core.names import Operator
from eps.core.reading import read
from eps.core.record import ChangeRecord, parse_change_record
from eps.core.sections import MAX_ALTERNATIVES
from eps.core.structure import structured_bytes
from eps.core.ways import Kind, way_between
from support.fakes import network_directory

A, B, P, Q = (Operator(name) for name in ("hd-1", "hd-2", "public-proxy-1.ga", "q"))


def change(name: str, section: str, data: list[Any]) -> ChangeRecord:
    value = {"name": name, "section": section, "data": data, "created_at": "2026-11-22T12:00:00Z"}
    return parse_change_record(value)


def item(alternatives: Any, operator: str = "", service: str = "proxies") -> dict[str, Any]:
    return {"operator": operator, "service": service, "settings": {"alternatives": alternatives}}


def entry(*items: dict[str, Any], **server: Any) -> Entry:
    settings = {"address": "b:1", "proxy": "p", **server}
    directory = Directory.from_records(
        [change("b", "channels", [{"type": "grpc_server", "settings": settings}]), change("b", "settings", list(items))]
    )
    found = directory.entry("b")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("items", "server", "expected"),
    [
        ([], {}, ["p"]),
        ([item(["q", "r"])], {}, ["p", "q", "r"]),
        ([item(["q", "p", "b", "q"])], {}, ["p", "q"]),
        ([item(["q"], "other"), item(["r"])], {}, ["p", "r"]),
        ([item(["q"], "a"), item(["r"])], {}, ["p", "q"]),
        ([item(["q"], service=""), item(["r"], service="proxy")], {}, ["p"]),
        ([item("q")], {}, ["p"]),
        ([item(None)], {}, ["p"]),
        ([item([str(n) for n in range(20)])], {}, ["p", *(str(n) for n in range(MAX_ALTERNATIVES))]),
        ([item(["q"])], {"proxy": ""}, []),
    ],
    ids=["none", "two", "again", "for others", "for us", "any service", "a text", "nothing", "many", "direct"],
)
def test_through_whom(items: list[dict[str, Any]], server: dict[str, Any], expected: list[str]) -> None:
    assert list(entry(*items, **server).proxies_for("a")) == expected
    assert Entry(Operator("b")).proxies_for("a") == ()


def test_all_that_it_names_may_ask_it_for_tunnels() -> None:
    assert entry(item(["q"], "a"), item(["r"], "c"), item(["s"])).proxies == {"p", "q", "r", "s"}
    assert entry(item(["q"]), proxy="").proxies == frozenset()
    assert Entry(Operator("b")).proxies == frozenset()


def test_the_ways() -> None:
    records = [{"name": B, "section": "settings", "data": [item([Q, "nobody"])]}]
    server = {"type": "grpc_server", "settings": {"address": "q:1"}}
    directory = network_directory(records=records, q=[server])
    way = way_between(directory, A, B)
    assert (way.kind, way.address, way.proxy) == (Kind.PROXY, "localhost:5556", P)
    assert [(other.proxy, other.address) for other in way.others] == [(Q, "q:1"), ("nobody", "")]
    assert way_between(directory, Q, A).kind is Kind.PROXY
    assert way_between(directory, Q, B).kind is not Kind.PROXY  # never through another one


def test_they_are_typed() -> None:
    good = change("b", "settings", [item(["q", "r.s"]), {"service": "proxies", "settings": {"_note": "x"}}])
    data = structured_bytes(good.to_json())
    assert flaw(good) == "" and known_as_read(good) and read(data) == layout(good)
    for wrong_value in ("q", ["q", 1], ["a b"], True):
        bad = change("b", "settings", [item(wrong_value)])
        assert flaw(bad).startswith("data[0].settings.alternatives: must be a list of operators, each ")
        assert read(structured_bytes(bad.to_json())) is None
    assert flaw(change("b", "settings", [item([""])])) and flaw(change("b", "settings", [item([{"name": "q"}])]))
    assert flaw(change("b", "settings", [item("anything", service="other")])) == ""


def test_a_misspelt_key_is_not_signed() -> None:
    (found,) = wrong(change("b", "settings", [{"service": "proxies", "settings": {"alternative": ["q"]}}]))
    assert found.text == "data[0].settings.alternative: nobody reads this key"
    assert "did you mean alternatives?" in found.hint
    assert wrong(change("b", "settings", [item(["q"])])) == []


def test_operators_that_do_not_exist_are_told() -> None:
    around = Surroundings(frozenset({"b", "proxy-2"}), frozenset(), frozenset())
    (text,) = doubtful(change("b", "settings", [item(["proxy-2", "proxy-3"])]), None, around)
    assert text == "data[0].settings.alternatives[1]: there is no operator 'proxy-3'; did you mean proxy-2?"


def test_a_further_proxy_that_goes() -> None:
    proxy = [{"type": "grpc_server", "settings": {"address": "a:1"}}]
    hidden = [{"type": "grpc_server", "settings": {"address": "b:1", "proxy": "p"}}]
    before = Directory.from_records(
        [
            change("b", "channels", hidden),
            change("b", "settings", [item(["q"])]),
            change("p", "channels", proxy),
            change("q", "channels", proxy),
        ]
    )
    after = before.after([change("q", "channels", [])])
    text = "b is reached through 'q', which nobody can reach any more"
    assert list(unlike_before(before, after)) == [("b", text)]
