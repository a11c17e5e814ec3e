"""What records do to the directory: typed data that is exact, forged, or of no use; what is only doubtful."""

import itertools
from typing import Any

import pytest
from hypothesis import given

from eps.core.exact import flaw, foreign_flaw, form_flaw
from eps.core.record import ChangeRecord, parse_change_record
from eps.core.second_reading import MAX_OPEN, doubtful_places, has_second_reading
from eps.core.structure import structured_bytes
from eps.core.verdict import MAX_RECORD_BYTES, Use, judge, unfit
from eps.errors import RecordError
from support.strategies import FREE
from support.vectors import load

PIN = {"fingerprint": "a" * 64, "key_usage": "encryption"}


def change(section: str, data: Any, name: str = "x") -> ChangeRecord:
    value = {"name": name, "section": section, "data": data, "created_at": "2021-05-17T10:00:00Z"}
    return parse_change_record(value)


def bytes_of(record: ChangeRecord) -> bytes:
    return structured_bytes(record.to_json())


def use_of(record: ChangeRecord) -> Use:
    return judge(record, bytes_of(record)).use


def service(**values: Any) -> ChangeRecord:
    return change("services", [{"name": "s", **values}])


# Typed data is exact


@pytest.mark.parametrize("name", ["hd-1", "a", "A.b_c-9", "straße", "x" * 253])
def test_names_of_operators(name: str) -> None:
    assert flaw(change("groups", [], name)) == ""


@pytest.mark.parametrize("name", ["", "a b", "a\0", "a\n", "substring", "x" * 254, "a/b", "a(b", "\u200b"])
def test_names_that_no_operator_has(name: str) -> None:
    record = change("groups", [], name)
    assert flaw(record).startswith("name: must be an operator's name")
    assert ("without the word 'string'" in flaw(record)) == ("string" in name)
    assert unfit(record, bytes_of(record)) == flaw(record)


@pytest.mark.parametrize(
    ("section", "data", "place"),
    [
        ("groups", [""], "data[0]"),
        ("groups", ["a", " b"], "data[1]"),
        ("groups", ["a\0"], "data[0]"),
        ("groups", ["stringent"], "data[0]"),
        ("groups", ["g" * 201], "data[0]"),
        ("certificates", [PIN, PIN | {"fingerprint": "A" * 64}], "data[1].fingerprint"),
        ("certificates", [PIN | {"fingerprint": "a" * 63}], "data[0].fingerprint"),
        ("certificates", [PIN | {"fingerprint": "a" * 64 + "\n"}], "data[0].fingerprint"),
        ("certificates", [PIN | {"key_usage": ""}], "data[0].key_usage"),
        ("certificates", [PIN | {"key_usage": "a b"}], "data[0].key_usage"),
        ("channels", [{"type": ""}], "data[0].type"),
        ("channels", [{"type": "map"}], "data[0].type"),
        ("channels", [{"type": "t" * 101}], "data[0].type"),
        ("channels", [{"type": "grpc_server", "settings": {"address": "host"}}], "data[0].settings.address"),
        ("channels", [{"type": "grpc_server", "settings": {"address": ":80"}}], "data[0].settings.address"),
        ("channels", [{"type": "grpc_server", "settings": {"address": "a\0:80"}}], "data[0].settings.address"),
        ("channels", [{"type": "grpc_server", "settings": {"internal": "true"}}], "data[0].settings.internal"),
        ("channels", [{"type": "grpc_server", "settings": {"proxy": "a b"}}], "data[0].settings.proxy"),
        ("services", [{"name": ""}], "data[0].name"),
        ("services", [{"name": "s", "methods": [{"name": "a\tb"}]}], "data[0].methods[0].name"),
        ("services", [{"name": "s", "permissions": [{"group": ""}]}], "data[0].permissions[0].group"),
        ("settings", [{"operator": "a b", "settings": {}}], "data[0].operator"),
        ("settings", [{"service": "proxy", "settings": {"allowed_domains": ".x"}}], "data[0].settings.allowed_domains"),
        ("settings", [{"settings": {"internal_endpoints": [5]}}], "data[0].settings.internal_endpoints"),
        ("settings", [{"settings": {"allowed_domains": ["substring"]}}], "data[0].settings.allowed_domains"),
    ],
)
def test_what_is_not_exact_empties_the_section(section: str, data: Any, place: str) -> None:
    record = change(section, data)
    assert flaw(record).startswith(f"{place}: must be ")
    verdict = judge(record, bytes_of(record))
    assert (verdict.use, verdict.why) == (Use.EMPTIED, flaw(record))
    assert unfit(record, bytes_of(record)) == flaw(record)


@pytest.mark.parametrize(
    ("section", "data"),
    [
        ("groups", ["*", "Health Departments", "a:b/c"]),
        ("channels", [{"type": "quic", "settings": {"address": 5}}, {"type": "grpc_client"}]),
        ("channels", [{"type": "grpc_server", "settings": {"address": "[::1]:80", "internal": None, "proxy": ""}}]),
        ("settings", [{"settings": {"allowed_domains": None, "internal_endpoints": []}}]),
        ("preferences", [{"service": "proxy", "settings": {"allowed_domains": 5}}]),
    ],
)
def test_what_is_exact(section: str, data: Any) -> None:
    assert use_of(change(section, data)) is Use.REPLACED


# The bytes say something else


@pytest.mark.parametrize("pair", load("ambiguous_records.json"), ids=lambda pair: pair["note"])
def test_forgeries_of_the_vectors(pair: Any) -> None:
    first, second = (parse_change_record(pair[which]) for which in ("first", "second"))
    assert use_of(first) is Use.REPLACED
    if first.section != "settings":
        with pytest.raises(RecordError, match="what was signed says something else"):
            use_of(second)
        assert unfit(second, bytes_of(second)).startswith("name: " if second.data == [] else "data[0]")
        assert not list(doubtful_places(first))
    else:
        assert use_of(second) is Use.REPLACED
        assert list(doubtful_places(first)) == list(doubtful_places(second)) == ["data[0].settings"]


def test_a_text_in_place_of_an_object_is_refused() -> None:
    """``{"environment": "map", "settings": {}}`` has the bytes of ``{"settings": {"map": "environment"}}``."""
    record, other = (
        change("settings", [item])
        for item in ({"environment": "map", "settings": {}}, {"settings": {"map": "environment"}})
    )
    assert bytes_of(record) == bytes_of(other)
    assert use_of(other) is Use.REPLACED
    with pytest.raises(RecordError, match=r"data\[0\]\.environment: must be"):
        use_of(record)


def test_what_is_followed_but_not_signed() -> None:
    record = service(methods=[{"name": "m", "parameters": [{"name": "p", "validators": [{"type": ""}]}]}])
    assert use_of(record) is Use.REPLACED
    place = "data[0].methods[0].parameters[0].validators[0].type: must be "
    assert unfit(record, bytes_of(record)).startswith(place)
    good = service(methods=[{"name": "m", "parameters": [{"name": "p"}]}, {"name": "n"}])
    assert unfit(good, bytes_of(good)) == ""
    server = change("channels", [{"type": "grpc_server", "settings": {"address": "h:1", "note": "a string of pearls"}}])
    assert use_of(server) is Use.REPLACED
    assert unfit(server, bytes_of(server)).startswith("data[0].settings: must hold no text with the word 'string'")
    channels = change("channels", [{"type": "grpc_server"}, {"type": "x", "settings": {"note": "a string of pearls"}}])
    assert unfit(channels, bytes_of(channels)) == ""


def test_an_odd_value_that_seems_to_end_early_is_refused() -> None:
    items = [{"service": "a", "settings": {}}, {"service": "b", "settings": {}}]
    record = change("settings", [{"service": "s", "settings": {"list": items}}])
    with pytest.raises(RecordError, match="a free-form value holds what looks like its end"):
        use_of(record)
    assert "a free-form value holds" in unfit(record, bytes_of(record))


def test_what_is_of_no_use_still_belongs_to_whom_it_was_signed_for() -> None:
    """The pins of hd-1, written in capitals: shown as somebody else's, they would stay what they were."""
    honest = change("certificates", [PIN | {"fingerprint": "A" * 64}], "hd-1")
    assert use_of(honest) is Use.EMPTIED
    moved = bytes_of(honest).split(b"created_at", 1)[1].partition(b"stringname")[0].removeprefix(b"string").decode()
    other = change("certificates", [], moved)
    assert bytes_of(other) == bytes_of(honest)
    with pytest.raises(RecordError, match=r"it was signed for hd-1, certificates"):
        use_of(other)


def test_a_name_that_is_empty_is_passed_over() -> None:
    record = change("groups", ["a"], "")
    assert judge(record, bytes_of(record)).use is Use.NONE


# Beyond all bounds


def test_depth_and_size() -> None:
    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value]
        return value

    fits, deep = (change("preferences", [{"settings": {"v": nested(depth)}}]) for depth in (997, 999))
    assert use_of(fits) is Use.REPLACED
    assert judge(deep, bytes_of(deep)).why == "a value is nested more than 1000 deep"
    assert use_of(deep) is Use.KEPT
    large = change("settings", [{"settings": {"v": "x" * MAX_RECORD_BYTES}}])
    assert use_of(large) is Use.KEPT
    assert "bytes" in unfit(large, bytes_of(large))
    with pytest.raises(RecordError, match="it was signed for x, settings"):
        judge(change("groups", [], "y"), bytes_of(large))


# What servers in use can't read


VALIDATOR = {"type": "t", "parameters": {"min": 1}}


@pytest.mark.parametrize(
    "parameters",
    [
        None,
        [],
        [{"name": "p"}],
        [{"name": "p", "validators": None}],
        [{"name": "p", "validators": [VALIDATOR, {"type": "u"}]}],
    ],
)
def test_parameters_that_all_can_read(parameters: Any) -> None:
    assert form_flaw(parameters, "p") == ""
    record = service(methods=[{"name": "m", "parameters": parameters}])
    assert foreign_flaw(record) == ""
    assert use_of(record) is Use.REPLACED


@pytest.mark.parametrize(
    ("parameters", "place"),
    [
        ("text", ""),
        (5, ""),
        ({"a": 1}, ""),
        (["p"], "[0]"),
        ([{}], "[0]"),
        ([{"name": 5}], "[0]"),
        ([{"name": "p", "more": 1}], "[0]"),
        ([{"name": "p", "validators": {}}], "[0].validators"),
        ([{"name": "p", "validators": ["v"]}], "[0].validators[0]"),
        ([{"name": "p", "validators": [VALIDATOR, {"type": 5}]}], "[0].validators[1]"),
        ([{"name": "p", "validators": [{"type": "t", "parameters": []}]}], "[0].validators[0]"),
        ([{"name": "p", "validators": [{"type": "t", "more": 1}]}], "[0].validators[0]"),
    ],
)
def test_parameters_that_only_ours_can_read(parameters: Any, place: str) -> None:
    record = service(methods=[{"name": "n"}, {"name": "m", "parameters": parameters}])
    assert foreign_flaw(record).startswith(f"data[0].methods[1].parameters{place}: must be ")
    assert use_of(record) is Use.REPLACED  # what is in a chain is followed


def test_a_right_named_twice() -> None:
    twice = [{"group": "a", "rights": ["call"]}, {"group": "b", "rights": ["call", "call"]}]
    assert foreign_flaw(service(permissions=twice)) == "data[0].permissions[1].rights: names a right twice"
    record = service(methods=[{"name": "m", "permissions": twice}])
    assert foreign_flaw(record) == "data[0].methods[0].permissions[1].rights: names a right twice"
    assert use_of(record) is Use.REPLACED
    assert foreign_flaw(change("groups", ["a"])) == ""


# Second readings


@pytest.mark.parametrize(
    "value",
    [
        {"p": {"a": "1"}, "q": "z"},
        {"k": {}},
        {"k": "map"},
        {"allowed_domains": [".x"]},
        {"0": "list", "allowed_domains": ".x"},
        {"a": "a string"},
        {"a string": 1},
        {"a": [["\0"]]},
    ],
)
def test_values_that_could_be_others(value: Any) -> None:
    assert has_second_reading(value)


@pytest.mark.parametrize("value", [{"a": "1", "b": "2"}, {"a": True, "b": 3, "c": -0.0, "d": 1.5}, {"a": "list"}, {}])
def test_values_that_can_only_be_themselves(value: Any) -> None:
    assert has_second_reading(value) == (value == {} and False)


WORDS = ["a", "b", "0", "map", "list"]


def small() -> Any:
    """All objects of up to two keys over a few words, one level of objects and lists inside."""
    inner: list[Any] = [*WORDS, True, {}, [None], *([word] for word in WORDS), [None, "a"]]
    inner += [{key: word} for key in ("a", "0", "") for word in WORDS]
    for key, value in itertools.product([*WORDS, ""], inner):
        yield {key: value}
    for (first, second), one, two in itertools.product([("0", "a"), ("a", "b"), ("", "a")], inner, inner):
        yield {first: one, second: two}


def test_of_two_values_with_the_same_bytes_each_is_doubtful() -> None:
    values: dict[bytes, list[Any]] = {}
    for value in small():
        values.setdefault(structured_bytes(value), []).append(value)
    shared = [group for group in values.values() if len(group) > 1]
    assert len(shared) > 100
    assert all(has_second_reading(value) for group in shared for value in group)


@given(FREE)
def test_the_search_finds_the_value_itself_and_is_bounded(value: Any) -> None:
    assert has_second_reading(value) in (True, False)


def test_a_value_that_is_empty_but_for_the_form() -> None:
    """``parameters: []`` of a validator is as good as none, and its method's parameters are typed all the same."""
    validators = [{"type": "t", "parameters": []}, {"type": "u", "parameters": None, "more": 0}]
    record = service(methods=[{"name": "m", "parameters": [{"name": "p", "validators": validators}]}])
    assert use_of(record) is Use.REPLACED


def test_the_search_gives_up() -> None:
    wide = {f"k{number:04}": {f"x{inner}": "y" for inner in range(20)} for number in range(100)}
    assert not has_second_reading(wide)
    deep: Any = "x"
    for _ in range(2 * MAX_OPEN):
        deep = {"k": deep}
    assert not has_second_reading(deep)


def test_only_what_nobody_reads_exactly_is_doubtful() -> None:
    domains = {"allowed_domains": [".x"]}
    assert not list(doubtful_places(change("settings", [{"service": "proxy", "settings": domains}])))
    assert list(doubtful_places(change("settings", [{"service": "s", "settings": domains}]))) == ["data[0].settings"]
    server = {"type": "grpc_server", "settings": {"address": "h:1", "proxy": "p"}}
    other = {"type": "x", "settings": {"k": {}}}
    assert list(doubtful_places(change("channels", [server, other, {"type": "y"}]))) == ["data[1].settings"]
    methods = [{"name": "m"}, {"name": "n", "parameters": [{"name": "p"}]}]
    assert not list(doubtful_places(service(methods=methods)))
    typed = {"name": "p", "validators": [VALIDATOR, {"type": "u"}]}
    odd = [{"name": "m", "parameters": {"k": {}}}, {"name": "n", "parameters": [typed]}]
    assert list(doubtful_places(service(methods=odd))) == ["data[0].methods[0].parameters"]
    typed["validators"] = [VALIDATOR, {"type": "u", "parameters": {"k": {}}}]
    place = "data[0].methods[1].parameters[0].validators[1].parameters"
    assert list(doubtful_places(service(methods=odd)))[1:] == [place]
    assert not list(doubtful_places(change("groups", ["a"])))
