"""The one reading of a record's bytes: against brute force, against pairs with equal hashes, and against time."""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eps.core import reading
from eps.core.exact import SHAPES, flaw
from eps.core.layout import is_plain, known_as_read, layout
from eps.core.reading import Reading, read, tail_of
from eps.core.record import ChangeRecord, parse_change_record
from eps.core.record_text import loads
from eps.core.structure import TAG, structured_bytes
from support.brute_reading import readings
from support.vectors import load

BASE = Path(__file__).resolve().parents[2] / "settings" / "dev" / "directory" / "001_base.json"
PARSERS_WORDS = (
    "a b 0 1 2 list map bool float data name section settings type parameters permissions methods service operator "
    "environment validators group rights call fingerprint proxy internal address grpc_server h:1"
)
WORDS = st.sampled_from(PARSERS_WORDS.split())
LABELS = WORDS.filter(lambda word: word != "map")
TYPED = LABELS.filter(lambda word: word != "h:1")
SCALARS = WORDS | st.sampled_from([True, 1, -0.0, "", None, 2.5])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3))
FREE = st.dictionaries(WORDS, VALUES, max_size=3)
PERMISSIONS = st.lists(st.fixed_dictionaries({"group": WORDS, "rights": st.sampled_from([["call"], []])}), max_size=2)
VALIDATORS = st.lists(st.fixed_dictionaries({"type": TYPED}, optional={"parameters": st.none() | FREE}), max_size=2)
PARAMETERS = st.lists(
    st.fixed_dictionaries({"name": WORDS}, optional={"validators": st.none() | VALIDATORS}), max_size=2
)
METHODS = st.lists(
    st.fixed_dictionaries(
        {"name": WORDS}, optional={"parameters": st.none() | PARAMETERS | VALUES, "permissions": PERMISSIONS}
    ),
    max_size=2,
)
FINGERPRINTS = st.sampled_from(["0" * 64, "1" * 64])
SETTINGS = st.lists(
    st.fixed_dictionaries({"settings": FREE}, optional={"environment": LABELS, "operator": TYPED, "service": LABELS}),
    max_size=3,
)
DATA = {
    "channels": st.lists(st.fixed_dictionaries({"type": TYPED}, optional={"settings": FREE}), max_size=3),
    "certificates": st.lists(
        st.fixed_dictionaries({"fingerprint": FINGERPRINTS, "key_usage": st.sampled_from(["signing", "data", "1"])}),
        max_size=3,
    ),
    "services": st.lists(
        st.fixed_dictionaries({"name": WORDS}, optional={"permissions": PERMISSIONS, "methods": METHODS}), max_size=2
    ),
    "settings": SETTINGS,
    "preferences": SETTINGS,
    "groups": st.lists(WORDS, max_size=4),
}
RECORDS = st.sampled_from(sorted(DATA)).flatmap(
    lambda section: st.builds(
        change, st.sampled_from(["x", "data", "1", "name", "list"]), st.just(section), DATA[section]
    )
)


def change(name: str, section: str, data: Any) -> ChangeRecord:
    value = {"name": name, "section": section, "data": data, "created_at": "2021-05-17T10:00:00Z"}
    return parse_change_record(value)


def bytes_of(record: ChangeRecord) -> bytes:
    return structured_bytes(record.to_json())


def passes(record: ChangeRecord) -> bool:
    """Whether a record is the one that its bytes say."""
    return not flaw(record) and read(bytes_of(record)) == layout(record)


# Vectors


@pytest.mark.parametrize("pair", load("ambiguous_records.json"), ids=lambda pair: pair["note"])
def test_of_each_pair_the_honest_one_passes(pair: Any) -> None:
    first, second = (parse_change_record(pair[which]) for which in ("first", "second"))
    assert first.hash() == second.hash() == pair["hash"]
    assert passes(first)
    if first.section == "settings":  # inside a free-form value nobody can tell
        assert passes(second)
    else:
        assert not passes(second)


def honest() -> list[Any]:
    base = json.loads(BASE.read_text())["records"]
    records = [value["record"] for name in ("records.json", "record_hash.json") for value in load(name)]
    numbers = [loads(value["record_text"].encode(), max_bytes=10_000) for value in load("foreign_numbers.json")]
    return [*records, *numbers, *base]


def test_honest_records_pass() -> None:
    for value in honest():
        record = parse_change_record(value)
        assert passes(record)
        assert is_plain(record, bytes_of(record)) or record.section == "services"
        assert known_as_read(record)


# Against brute force


@settings(max_examples=1500)
@given(RECORDS)
def test_the_parser_finds_what_brute_force_finds_first(record: ChangeRecord) -> None:
    data = bytes_of(record)
    found = read(data)
    every = list(itertools.islice(readings(data), 200))
    if found is None:
        # Brute force doesn't look at the settings that programs read.
        assert not every or record.section in ("channels", "settings")
    elif record.section in ("channels", "settings"):
        assert found.bounds in every
    else:
        assert found.bounds == every[0]


@settings(max_examples=1500)
@given(RECORDS)
def test_a_plain_record_is_its_own_reading(record: ChangeRecord) -> None:
    assume(not flaw(record))
    data = bytes_of(record)
    if is_plain(record, data) and known_as_read(record):
        assert read(data) == layout(record)
    elif is_plain(record, data):
        assert read(data) != layout(record)


@settings(max_examples=500)
@given(RECORDS, st.data())
def test_other_tokens_are_read_alike(record: ChangeRecord, more: st.DataObject) -> None:
    tokens = bytes_of(record).split(TAG)[1:]
    for _ in range(more.draw(st.integers(1, 3))):
        at = more.draw(st.integers(0, len(tokens) - 1))
        word = more.draw(WORDS).encode()
        tokens[at : at + more.draw(st.integers(0, 1))] = [word][: more.draw(st.integers(0, 1))]
        assume(tokens)
    data = TAG + TAG.join(tokens)
    found, every = read(data), list(itertools.islice(readings(data), 200))
    if tokens[0] != b"map" or tokens[2:3] != [b"created_at"] or tokens[1] != b"2021-05-17T10:00:00Z":
        assert found is None
    elif found is not None:
        assert found.bounds in every
        assert found.section in ("channels", "settings") or found.bounds == every[0]
    else:
        assert not every or tokens[-2] in (b"channels", b"settings")


def universe() -> Any:
    """All records without free-form values over a few words that mean something to the parser."""
    words = ["a", "0", "1", "list", "data", "name", "type"]
    permissions: list[Any] = [[], *([{"group": word, "rights": ["call"]}] for word in ("1", "group", "permissions"))]
    methods: list[Any] = [[]]
    methods += [[{"name": word, "permissions": p}] for word in ("1", "methods", "list") for p in permissions]
    methods += [[{"name": "a"}, {"name": word}] for word in words]
    for name in ("x", "data", "name"):
        for count in range(4):
            for chosen in itertools.product(words, repeat=count):
                yield change(name, "groups", list(chosen))
                yield change(name, "channels", [{"type": word} for word in chosen])
        for word, own, inside in itertools.product(words, permissions, methods):
            yield change(name, "services", [{"name": word, "permissions": own, "methods": inside}])


def test_without_free_form_values_no_two_records_have_one_hash() -> None:
    seen: dict[bytes, ChangeRecord] = {}
    for record in universe():
        data = bytes_of(record)
        assert seen.setdefault(data, record) == record
        assert passes(record)


# Forgeries


def forged(honest: ChangeRecord, other: ChangeRecord) -> None:
    assert honest.hash() == other.hash()
    assert passes(honest)
    assert not passes(other)


def test_a_method_cannot_hide_in_anothers_parameters() -> None:
    validator = {"type": "t", "parameters": {"min": 1}}
    methods = [
        {"name": "open", "parameters": [{"name": "p", "validators": [validator]}]},
        {"name": "shut", "parameters": [{"name": "p", "validators": [validator]}]},
    ]
    record = change("x", "services", [{"name": "s", "methods": methods}])
    tokens = bytes_of(record).split(TAG)
    inner = tokens.index(b"parameters")
    swallowed = tokens[inner + 1 : len(tokens) - 1 - tokens[::-1].index(b"t") + 1]
    assert b"shut" in swallowed
    # The same bytes as one method whose validator is given an object with all that lies between, by key.
    bounds = read(bytes_of(record))
    assert bounds is not None and len(bounds.bounds) == 2
    own = layout(record)
    assert bounds == own
    hidden = Reading(own.name, own.section, ((own.bounds[0][0], own.bounds[1][1]),), ())
    assert hidden.bounds in list(readings(bytes_of(record)))
    assert hidden != bounds


def test_a_channel_cannot_hide_in_anothers_settings() -> None:
    record = change("x", "channels", [{"type": "a", "settings": {"k": "v"}}, {"type": "b", "settings": {"k": "w"}}])
    # settings {k: v, settings: …} needs ascending keys; what lies between is one object, whose keys are k, …
    assert layout(record) == read(bytes_of(record))
    every = list(readings(bytes_of(record)))
    assert len(every) == 2 and every[0] == layout(record).bounds


def test_what_looks_like_the_end_is_the_end() -> None:
    """An odd record, whose value holds what could be the end of the element and the whole of another one."""
    items = [{"service": "a", "settings": {"k": "1"}}, {"service": "b", "settings": {"k": "2"}}]
    record = change("x", "settings", [{"service": "s", "settings": {"list": items}}])
    assert not flaw(record)
    assert not is_plain(record, bytes_of(record))
    assert not passes(record)
    plain = change("x", "settings", [{"service": "s", "settings": {"list": [{"service": "a"}, {"service": "b"}]}}])
    assert is_plain(plain, bytes_of(plain)) and passes(plain)
    validators = [{"type": "t", "parameters": {"v": 1}}]
    method = {"name": "m", "parameters": [{"name": "p", "validators": validators}]}
    service = change("x", "services", [{"name": "s", "methods": [method]}])
    assert not is_plain(service, bytes_of(service)) and passes(service)


def test_settings_that_programs_read_are_read_exactly() -> None:
    def server(**values: Any) -> ChangeRecord:
        return change("x", "channels", [{"type": "grpc_server", "settings": values}])

    for record in (
        server(address="h:1"),
        server(address="h:1", internal=True, proxy="p"),
        server(address="h:1", internal=False, proxy=""),
        server(address="h:1", f=1.25, proxy="p", weight=3, list=["a", "b"]),
        server(address="h:1", note="of kind proxy", kind="proxy"),
        server(address="h:1", a={"b": {"c": "d"}}, proxy="p"),
        server(),
    ):
        assert passes(record) and known_as_read(record)
    nested = server(a={"proxy": "q"}, b={"x": "y"}, proxy="p")
    assert not flaw(nested) and not passes(nested) and not known_as_read(nested)
    # One text with the bytes of true.
    forged(server(internal=True), server(internal="bool\x02" + "\0" * 9))
    # A list with the bytes of a text and a key.
    proxy = {"service": "proxy", "settings": {"allowed_domains": [".x"]}}
    other = {"service": "proxy", "settings": {"0": "list", "allowed_domains": ".x"}}
    forged(change("x", "settings", [proxy]), change("x", "settings", [other]))


@pytest.mark.parametrize(
    "values", [{"address": 5}, {"address": "h"}, {"proxy": ["p"]}, {"internal": "yes"}, {"internal": 1}], ids=repr
)
def test_settings_that_are_not_exact_have_no_reading(values: Any) -> None:
    record = change("x", "channels", [{"type": "grpc_server", "settings": values}])
    assert flaw(record).startswith(f"data[0].settings.{next(iter(values))}: must be ")
    assert read(bytes_of(record)) is None


def test_known_lists_in_any_object() -> None:
    def proxy(**values: Any) -> ChangeRecord:
        return change("x", "settings", [{"service": "proxy", "settings": values}])

    many = [f".d{index}" for index in range(12)]
    nested = {"z": {"a": [1, 2, {"b": None}]}}
    for values in ({"allowed_domains": many}, {"allowed_domains": many, **nested}, {"internal_endpoints": ["0", "1"]}):
        record = proxy(**values)
        assert passes(record) and known_as_read(record)
    for values in ({"allowed_domains": []}, {"allowed_domains": None}, {"other": many}, {"0": "a", **nested}):
        record = proxy(**values)
        assert passes(record) and layout(record).known == ({},)


def test_what_typed_data_cannot_be() -> None:
    assert read(b"") is None
    assert read(bytes_of(change("x", "groups", ["a"]))[:-1]) is None
    good = bytes_of(change("x", "groups", ["a"]))
    assert tail_of(good) == ("x", "groups")
    for old, new in [
        (b"2021-05-17T10:00:00Z", b"2021-05-17T10:00:00.10Z"),
        (b"stringx", b"stringx y"),
        (b"stringx", b"string\xff"),
        (b"stringgroups", b"stringgroup"),
        (b"stringname", b"stringmane"),
        (b"stringlist", b"stringtsil"),
        (b"stringdata", b"stringatad"),
        (b"string0", b"string1"),
        (b"string0stringa", b""),
        (b"stringa", b"string\xff"),
    ]:
        changed = good.replace(old, new, 1)
        assert changed != good and read(changed) is None
    assert tail_of(good.replace(b"stringdata", b"stringatad", 1)) is None
    assert tail_of(b"") is None


# Time


def test_the_search_is_bounded() -> None:
    """Objects that seem to end at each of a thousand places, and can't end at any."""
    inside = {f"k{number:04}": {"settings": "1", "type": "map"} for number in range(1000)}
    record = change("x", "channels", [{"type": "a", "settings": inside}] * 3)
    begun = time.process_time()
    found = read(bytes_of(record))
    assert time.process_time() - begun < 1.0
    assert found == layout(record)
    tokens = bytes_of(record).replace(b"stringdata", b"stringmore", 1)
    assert read(tokens) is None


def test_no_way_is_gone_twice_and_none_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each method's parameters may be typed, absent or free-form; the end, which nothing fits, is reached once."""
    validators = [{"type": "t", "parameters": {"k": "v"}}]
    methods = [{"name": f"m{n}", "parameters": [{"name": "p", "validators": validators}]} for n in range(30)]
    record = change("x", "services", [{"name": "s", "methods": methods}])
    data = bytes_of(record)
    assert read(data) == layout(record)
    begun = time.process_time()
    assert read(data.replace(b"stringsstringname", b"string\0stringname")) is None
    assert time.process_time() - begun < 1.0
    monkeypatch.setattr(reading, "STEPS_PER_TOKEN", 0)
    assert read(data) is None


def test_settings_that_programs_read_are_not_read_again_for_ever() -> None:
    """Objects that are a grpc_server's settings, up to each of a thousand places."""
    piece = b"map map localhost:5556 address settings grpc_server type 1 map map k x"
    tokens = b"map 2026-11-22T10:44:19Z created_at list 0 map " + b" ".join([piece] * 1000)
    begun = time.process_time()
    assert read(b"string" + b"string".join((tokens + b" data x name channels section").split(b" "))) is None
    assert time.process_time() - begun < 1.0


def test_every_section_has_a_shape() -> None:
    assert set(SHAPES) == set(DATA)
