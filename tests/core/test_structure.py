"""The structured hash."""

from typing import Any

import pytest
from hypothesis import given

from eps.core.structure import structured_hash
from support.strategies import VALUES
from support.vectors import load


@pytest.mark.parametrize("vector", load("structured_hash.json"), ids=lambda vector: repr(vector["input"])[:40])
def test_vector(vector: Any) -> None:
    assert structured_hash(vector["input"]).hex() == vector["sha256"]


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def with_empty_keys(value: Any) -> Any:
    """The same value with more keys that count as absent."""
    if isinstance(value, dict):
        inner = {key: with_empty_keys(item) for key, item in value.items()}
        extra = {"null": None, "text": "", "zero": 0, "false": False, "list": []}
        return {key: item for key, item in extra.items() if key not in inner} | inner
    return [with_empty_keys(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
def test_is_stable_under_key_order_and_empty_keys(value: Any) -> None:
    digest = structured_hash(value)
    assert len(digest) == 32
    assert structured_hash(reordered(value)) == digest
    assert structured_hash(with_empty_keys(value)) == digest


def test_what_is_empty() -> None:
    absent = structured_hash({})
    for empty in (None, "", 0, 0.0, False, [], ()):
        assert structured_hash({"a": empty}) == absent
    for full in (-0.0, {}, "0", [None], True):
        assert structured_hash({"a": full}) != absent


def test_tells_apart_what_differs() -> None:
    values = ["1", 1, True, [1], {"a": 1}, {"": 1}, ["", 1], {"1": 1}, [[1]], 1.5, -1]
    assert len({structured_hash(value) for value in values}) == len(values)
    assert structured_hash(1) == structured_hash(1.0)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 10**400, "\ud800", {"\udfff": 1}, {"a": b"x"}, [object()]]
)
def test_refuses_what_is_no_json(value: Any) -> None:
    with pytest.raises(ValueError):
        structured_hash(value)
