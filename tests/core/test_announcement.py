"""Whose domain it is: suffixes, ownership, expiry, and what callers send."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.announcement import (
    MAX_AHEAD,
    MAX_PER_HOLDER,
    Announcement,
    Keeper,
    Wanted,
    allowed_suffixes,
    decide_claims,
    decode,
    domain_key,
    encode,
    is_covered,
    is_domain,
    parse_connection,
    parse_connections,
    proxy_settings,
)
from eps.core.client import Client
from eps.core.instant import Instant, instant_of
from eps.core.names import Object, Operator
from eps.errors import BadParams, EpsError, NotPermitted

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
B, C, P = Operator("b"), Operator("c"), Operator("p")
SUFFIXES = (".example.org",)


def at(hours: float) -> Instant:
    return instant_of(NOW + timedelta(hours=hours))


def book(*announcements: Announcement) -> dict[str, Announcement]:
    return {announcement.key: announcement for announcement in announcements}


def claim(known: dict[str, Announcement], operator: Operator, *wanted: Wanted) -> tuple[list[Announcement], list[int]]:
    """What is kept, and the codes of the answers (0 for null)."""
    kept, answers = decide_claims(known, operator, wanted, SUFFIXES, NOW)
    return kept, [answer.code if answer else 0 for answer in answers]


@pytest.mark.parametrize("kind", Keeper)
@pytest.mark.parametrize("expires_at", [None, at(1)])
def test_an_announcement_comes_back_from_a_store(kind: Keeper, expires_at: Instant | None) -> None:
    announcement = Announcement(B, "A.example.org", expires_at)
    assert decode(encode(announcement, kind), kind) == announcement


def test_what_a_store_holds() -> None:
    announcement = Announcement(B, "a.example.org", at(1))
    public = b'{"operator":"b","domain":"a.example.org","expires_at":"2026-11-22T13:00:00Z"}'
    assert encode(announcement, Keeper.PUBLIC) == public
    assert decode(b'{"domain":"a.example.org","proxy":"p","more":[]}', Keeper.PRIVATE) == Announcement(
        P, "a.example.org"
    )
    assert (Keeper.PUBLIC.value, Keeper.PRIVATE.value) == (1, 2)


@pytest.mark.parametrize("domain", ["a.example.org", "A.Example.ORG", "a.example.org.", "a.EXAMPLE.org."])
def test_one_key_for_all_spellings(domain: str) -> None:
    assert Announcement(P, domain).key == domain_key(domain) == "a.example.org"


def test_two_final_dots_are_another_name() -> None:
    assert domain_key("a.example.org..") == "a.example.org."


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"domain":"a.b"}',
        b'{"operator":"","domain":"a.b"}',
        b'{"operator":"b"}',
        b'{"operator":"b","domain":1}',
        b'{"operator":"b","domain":"a.b","expires_at":1}',
        b'{"operator":"b","domain":"a.b","expires_at":"tomorrow"}',
        pytest.param(b"[" * 100_000, id="nested"),
    ],
)
def test_what_is_no_announcement_in_a_store(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data, Keeper.PUBLIC)


@pytest.mark.parametrize(
    ("domain", "covered"),
    [
        ("a.example.org", True),
        ("A.EXAMPLE.org", True),
        ("x.y_z.-a.example.org", True),
        ("example.org", False),
        (".example.org", False),
        ("badexample.org", False),
        ("bad-example.org", False),
        ("a.example.org.", False),
        ("a..example.org", False),
        ("a.example.org.evil.net", False),
        ("*.example.org", False),
        ("a b.example.org", False),
        ("ä.example.org", False),
        ("\u212a.example.org", False),  # KELVIN SIGN, whose lower case is an ASCII k
        ("a.example.org\n", False),
        ("x" * 64 + ".example.org", False),
        ("x." * 121 + ".example.org", False),
        ("", False),
    ],
)
def test_suffixes_cover_whole_labels(domain: str, covered: bool) -> None:
    assert is_covered(domain, [".Example.ORG"]) is covered
    assert not is_covered(domain, [])


def test_the_longest_domain() -> None:
    name = "x." * 126
    assert is_domain(name + "x") and not is_domain(name + "xx")


LABELS = st.lists(st.from_regex(r"[a-z0-9_-]{1,8}", fullmatch=True), min_size=1, max_size=5)


@given(LABELS, LABELS)
def test_a_name_is_covered_by_the_labels_behind_its_first_ones_and_by_nothing_else(
    front: list[str], back: list[str]
) -> None:
    domain, suffix = ".".join(front + back), "." + ".".join(back)
    assert is_covered(domain, [suffix])
    assert not is_covered(".".join(back), [suffix])
    assert not is_covered(domain, [suffix + "x"])
    assert not is_covered("x" + ".".join(back), ["." + "x".join(back)]) or len(back) > 1


# Ownership


def test_the_first_to_announce_has_the_domain() -> None:
    kept, codes = claim({}, B, Wanted("a.example.org", at(1)), Wanted("b.example.org", None))
    assert kept == [Announcement(B, "a.example.org", at(1)), Announcement(B, "b.example.org")] and codes == [0, 0]
    assert claim(book(*kept), C, Wanted("A.Example.Org", None)) == ([], [409])


def test_it_is_free_when_it_expires() -> None:
    known = book(Announcement(B, "a.example.org", at(0)))
    kept, codes = claim(known, C, Wanted("a.example.org", at(1)))
    assert (kept, codes) == ([Announcement(C, "a.example.org", at(1))], [0])


@pytest.mark.parametrize("later", [at(2), at(0.5), None, at(-1)])
def test_its_owner_can_change_it(later: Instant | None) -> None:
    known = book(Announcement(B, "a.example.org", at(1)))
    assert claim(known, B, Wanted("a.example.org", later)) == ([Announcement(B, "a.example.org", later)], [0])


def test_what_changes_nothing_is_not_kept() -> None:
    known = book(Announcement(B, "a.example.org", at(1)))
    assert claim(known, B, Wanted("a.example.org", at(1))) == ([], [0])
    assert claim({}, B, Wanted("a.example.org", at(-1))) == ([], [0])
    assert claim(book(Announcement(B, "a.example.org", at(-2))), B, Wanted("a.example.org", at(-1))) == ([], [0])


def test_nobody_gives_up_what_is_another_s() -> None:
    known = book(Announcement(B, "a.example.org", at(1)))
    assert claim(known, C, Wanted("a.example.org", at(-1))) == ([], [409])


def test_one_domain_twice_in_one_call() -> None:
    kept, codes = claim({}, B, Wanted("a.example.org", at(1)), Wanted("A.example.org", at(2)))
    assert kept == [Announcement(B, "A.example.org", at(2))] and codes == [0, 0]


def test_every_domain_is_judged_by_itself() -> None:
    known = book(Announcement(C, "c.example.org"))
    wanted = [Wanted("a.example.org", None), Wanted("a.other.org", None), Wanted("c.example.org", None)]
    kept, answers = decide_claims(known, B, wanted, SUFFIXES, NOW)
    assert kept == [Announcement(B, "a.example.org")]
    assert [answer.to_json() if answer else None for answer in answers] == [
        None,
        {"code": 403, "message": "the directory does not allow b to announce a.other.org"},
        {"code": 409, "message": "c.example.org is announced by another operator"},
    ]


def test_an_operator_has_so_many_domains_and_no_more() -> None:
    full = book(*(Announcement(B, f"x{number}.example.org") for number in range(MAX_PER_HOLDER - 1)))
    full |= book(Announcement(B, "gone.example.org", at(-1)), Announcement(C, "c.example.org"))
    wanted = [Wanted(f"{name}.example.org", at(1)) for name in ("a", "x1", "a", "b")]
    kept, codes = claim(full, B, *wanted)
    assert codes == [0, 0, 0, 403]
    assert [announcement.domain for announcement in kept] == ["a.example.org", "x1.example.org"]


# What the directory allows


def client(*settings: Any) -> Client:
    return Client(B, {"name": "b", "settings": list(settings)})


def item(settings: Any, operator: Any = "", service: Any = "proxy") -> Object:
    return {"operator": operator, "service": service, "environment": "", "settings": settings}


def test_the_first_settings_that_are_meant_for_us_count() -> None:
    ours = item({"allowed_domains": [".a"]}, "p")
    others = [None, item({"x": 1}, "q"), item({"x": 1}, service="other")]
    assert allowed_suffixes(client(*others, ours, item({"allowed_domains": [".b"]})), P) == (".a",)
    assert allowed_suffixes(client(item({"allowed_domains": []}, None, None)), P) == ()
    assert proxy_settings({"settings": None}, P) is None


@pytest.mark.parametrize("settings", [[], [item({}, "q")], [item({}, service="x")]])
def test_no_settings(settings: list[Object]) -> None:
    with pytest.raises(NotPermitted, match="no settings") as refused:
        allowed_suffixes(client(*settings), P)
    assert refused.value.code == 403


@pytest.mark.parametrize(
    "settings",
    [
        None,
        {},
        *({"allowed_domains": value} for value in (None, ".a", {}, [1], ["a"], ["."], [""], [".a."], [".a", "*.b"])),
    ],
)
def test_settings_without_valid_suffixes(settings: Any) -> None:
    with pytest.raises(EpsError, match="no valid allowed_domains") as refused:
        allowed_suffixes(client(item(settings)), P)
    assert refused.value.code == 500


# What callers send


def test_connections() -> None:
    last = (NOW + MAX_AHEAD).isoformat()
    params = {"connections": [{"domain": "a"}, {"domain": "b", "expires_at": None, "proxy": "p"}]}
    assert parse_connections(params, NOW) == [Wanted("a", None), Wanted("b", None)]
    wanted, proxy = parse_connection({"domain": "a", "proxy": "p", "expires_at": last}, NOW)
    assert (wanted.domain, proxy, wanted.expires_at) == ("a", "p", instant_of(NOW + MAX_AHEAD))
    assert parse_connections({"connections": []}, NOW) == []


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({}, "connections: "),
        ({"connections": {}}, "connections: "),
        ({"connections": ["a"]}, "connections.0: "),
        ({"connections": [{"domain": "a"}, {}]}, "connections.1.domain: "),
        ({"connections": [{"domain": ""}]}, "connections.0.domain: "),
        ({"connections": [{"domain": "a", "expires_at": 1}]}, "connections.0.expires_at: "),
        ({"connections": [{"domain": "a", "expires_at": "soon"}]}, "connections.0.expires_at: is not a date"),
        (
            {"connections": [{"domain": "a", "expires_at": "2026-11-29T12:00:00.000000001Z"}]},
            "connections.0.expires_at: must be at most 7 days ahead",
        ),
    ],
)
def test_connections_that_are_none(params: Object, place: str) -> None:
    with pytest.raises(BadParams, match=f"^{place}") as refused:
        parse_connections(params, NOW)
    assert refused.value.code == -32602


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"proxy": "p"}, "domain: "),
        ({"domain": "a"}, "proxy: "),
        ({"domain": "a", "proxy": ""}, "proxy: "),
        ({"domain": "a", "proxy": "p", "expires_at": "x"}, "expires_at: "),
    ],
)
def test_a_connection_that_is_none(params: Object, place: str) -> None:
    with pytest.raises(BadParams, match=f"^{place}"):
        parse_connection(params, NOW)
