"""How trees merge: examples of each rule, and the laws that make the order of including and listing irrelevant."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.errors import SettingsError
from eps.settings import node as module
from eps.settings.node import Broken, Node, Origin, child, compose, list_node, locate, map_node, plain
from eps.settings.text import parse_text

HERE = Origin("a.yml", 1)


def tree(value: Any, file: str = "x.json") -> Node:
    return parse_text(json.dumps(value), file)


def merged(*values: Any) -> Any:
    result = tree({})
    for value in values:
        result = compose(result, tree(value))
    return plain(result)


@pytest.mark.parametrize(
    ("files", "result"),
    [
        ([{"a": 1}, {"b": 2}], {"a": 1, "b": 2}),
        ([{"a": 1}, {"a": 2}], {"a": 2}),
        ([{"a": {"x": 1, "y": 1}}, {"a": {"y": 2, "z": 2}}], {"a": {"x": 1, "y": 2, "z": 2}}),
        ([{"a": [1]}, {"a": [2, 3]}], {"a": [1, 2, 3]}),
        ([{"a": [{"x": 1}]}, {"a": [{"x": 2}]}], {"a": [{"x": 1}, {"x": 2}]}),
        ([{"a": [1]}, {"a!": [2]}], {"a": [2]}),
        ([{"a": {"x": 1}}, {"a!": {"y": 2}}], {"a": {"y": 2}}),
        ([{"a!": [1]}, {"a": [2]}], {"a": [1, 2]}),
        ([{"a": [1]}, {"a!": [2]}, {"a": [3]}], {"a": [2, 3]}),
        ([{"m": {"a": [1], "b": [1]}}, {"m": {"a!": [2], "b": [2]}}], {"m": {"a": [2], "b": [1, 2]}}),
        ([{"a": 1}, {"a": None}], {"a": 1}),
        ([{"a": 1}, {"a!": None}], {"a": 1}),
        ([{"a": None}, {"a": 1}], {"a": 1}),
        ([{"a": None}], {}),
        ([{"a": [None, 1]}], {"a": [None, 1]}),
        ([{"a": {"x": 1}}, {"a": {"x": None}}], {"a": {"x": 1}}),
        ([{"a": 0}, {"a": False}], {"a": False}),
        ([{"a": "x"}, {"a": ""}], {"a": ""}),
        ([{"a": [1]}, {"a": 2}], {"a": 2}),
        ([{"a": 1}, {"a": {"x": 2}}], {"a": {"x": 2}}),
        ([{"a": {"x": 1}}, {"a": [2]}], {"a": [2]}),
        ([{"l": [{"a!": 1}]}], {"l": [{"a": 1}]}),
        ([{"a!": 1, "a": 2}], {"a": 1}),
        ([{"a": 2, "a!": 1}], {"a": 1}),
        ([{"!": 1}], {"!": 1}),
        ([{"a": {}}, {"a": {}}], {"a": {}}),
        ([{"a": [1]}, {"a": []}], {"a": [1]}),
    ],
)
def test_rules(files: list[Any], result: Any) -> None:
    assert merged(*files) == result
    assert json.dumps(merged(*files)) == json.dumps(result)  # 0 and False are equal, but not the same


keys = st.sampled_from(["a", "b", "c", "a!", "b!"])
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
maps = st.dictionaries(keys, values, max_size=4)


@given(maps, maps, maps)
def test_merging_is_associative(a: Any, b: Any, c: Any) -> None:
    left = compose(compose(tree(a), tree(b)), tree(c))
    right = compose(tree(a), compose(tree(b), tree(c)))
    assert plain(left) == plain(right)


@given(maps)
def test_the_empty_map_changes_nothing(a: Any) -> None:
    assert plain(compose(tree({}), tree(a))) == plain(tree(a)) == plain(compose(tree(a), tree({})))


@given(maps, st.sets(st.sampled_from(["a", "b", "c"])))
def test_nulls_change_nothing(a: Any, nulls: set[str]) -> None:
    assert merged(a, dict.fromkeys(nulls)) == plain(tree(a)) == merged(dict.fromkeys(nulls), a)


@given(maps, maps)
def test_lists_only_grow_and_scalars_are_the_last_given(a: Any, b: Any) -> None:
    result, first, second = merged(a, b), plain(tree(a)), plain(tree(b))
    for key, value in second.items():
        if f"{key}!" in b:
            continue
        if isinstance(value, list) and isinstance(first.get(key), list):
            assert result[key] == first[key] + value
        elif not isinstance(value, dict):
            assert result[key] == value


@given(maps, maps)
def test_replacing_forgets_what_was_there(a: Any, b: Any) -> None:
    replacing = {f"{key.removesuffix('!')}!": value for key, value in b.items() if value is not None}
    result, expected = merged(a, replacing), plain(tree(replacing))
    assert {key: result[key] for key in expected} == expected


@given(maps, maps)
def test_keys_come_from_either(a: Any, b: Any) -> None:
    assert set(merged(a, b)) == set(plain(tree(a))) | set(plain(tree(b)))


@given(maps)
def test_sizes_count_every_value(a: Any) -> None:
    def count(node: Node) -> int:
        nodes = node.elements if node.elements is not None else list((node.children or {}).values())
        return 1 + sum(count(item) for item in nodes)

    assert tree(a).size == count(tree(a))


def test_origins_survive() -> None:
    first = parse_text('{"m": {\n"a": 1,\n"b": [1]}}', "one.json")
    second = parse_text('{\n\n\n"m": {"b": [\n2]}}', "two.json")
    both = compose(first, second)
    assert locate(both, ("m", "a"))[1].origin == Origin("one.json", 2)
    assert locate(both, ("m", "b", 0))[1].origin == Origin("one.json", 3)
    assert locate(both, ("m", "b", 1))[1].origin == Origin("two.json", 5)


def test_growth_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NODES", 10)
    five = list_node([Node(1, HERE)] * 4, HERE)
    with pytest.raises(SettingsError, match="more than 10 values"):
        list_node([five, five], HERE)
    monkeypatch.setattr(module, "MAX_DEPTH", 3)
    deep = map_node({"a": map_node({"b": map_node({}, HERE)}, HERE)}, HERE)
    with pytest.raises(SettingsError, match="3 levels"):
        map_node({"c": deep}, HERE)


@pytest.mark.parametrize(
    ("step", "found"),
    [("a", [1, 2]), ("b", None), (0, None)],
)
def test_children(step: str | int, found: Any) -> None:
    at = child(tree({"a": [1, 2]}), step)
    assert (plain(at) if at else None) == found


def test_elements_by_position() -> None:
    items = tree({"a": [1, 2]}).children
    assert items is not None
    assert [child(items["a"], index) is not None for index in (-1, 0, 1, 2)] == [False, True, True, False]
    assert child(items["a"], "x") is None


CHANNELS = {"channels": [{"type": "stdout", "settings": {"x": 1}}]}


@pytest.mark.parametrize(
    ("loc", "way", "value"),
    [
        (("channels", 0, "stdout", "settings", "x"), ("channels", 0, "settings", "x"), 1),
        (("channels", 0, "stdout", "name"), ("channels", 0, "name"), CHANNELS["channels"][0]),
        (("channels", 0, "settings"), ("channels", 0, "settings"), {"x": 1}),
        (("nothing", "here"), ("nothing", "here"), CHANNELS),
        ((), (), CHANNELS),
    ],
)
def test_locating(loc: tuple[str | int, ...], way: tuple[str | int, ...], value: Any) -> None:
    found_way, node, broken = locate(tree(CHANNELS), loc)
    assert (found_way, plain(node), broken) == (way, value, False)


def test_locating_a_broken_value() -> None:
    node = map_node({"a": Node(Broken(), HERE)}, HERE)
    assert locate(node, ("a", "b"))[2]
    assert not locate(node, ())[2]
