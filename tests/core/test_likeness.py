"""Names and words that are nearly others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.likeness import Neighbours, meant


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("adress", ["address", "proxy", "internal"], "address"),
        ("ADDRESS", ["address", "proxy"], "address"),
        ("weight", ["address", "proxy", "internal"], ""),
        ("f", ["address"], ""),
        ("x", [], ""),
        ("members", ["Member", "staff"], "Member"),
    ],
)
def test_what_was_most_likely_meant(word: str, known: list[str], expected: str) -> None:
    assert meant(word, known) == expected


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("acme", ["acne"], "acne"),
        ("acme", ["acm"], "acm"),
        ("acme", ["acmee"], "acmee"),
        ("acme", ["amce"], "amce"),
        ("acme", ["zcme", "acne"], "acne"),
        ("hd-l", ["hd-1"], "hd-1"),
        ("hd1", ["hd-1"], "hd-1"),
        ("acme", ["acme"], ""),
        ("aacme", ["aacme"], ""),
        ("acme", ["axxe", "ac", "emca"], ""),
        ("hd-1", ["hd-2"], ""),
        ("hd-1", ["hd-11", "hd-", "hd-12"], ""),
        ("hd-12", ["hd-21", "hd-1", "hd-2"], ""),
        ("a", [], ""),
        ("hd-1", ["sd-1", "dh-1", "h-1", "hhd-1"], ""),
        ("ab", ["ba"], ""),
        ("a", ["*", "-", "b"], ""),
        ("a-", ["a"], ""),
    ],
)
def test_one_letter_apart(name: str, names: list[str], expected: str) -> None:
    assert Neighbours(names).of(name) == expected
    if expected:
        assert Neighbours([*names, name]).of(name) == expected
        assert Neighbours([name]).of(expected) == name


def one_apart(a: str, b: str) -> bool:
    """By trying everything that can be done with one letter."""
    made = set()
    for i in range(len(a) + 1):
        for letter in "abc":
            made.add(a[:i] + letter + a[i:])
            if i < len(a):
                made.add(a[:i] + letter + a[i + 1 :])
        if i < len(a):
            made.add(a[:i] + a[i + 1 :])
        if i + 1 < len(a):
            made.add(a[:i] + a[i + 1] + a[i] + a[i + 2 :])
    return b in made - {a}


@given(st.text("abc", min_size=5, max_size=6), st.sets(st.text("abc", min_size=4, max_size=7), max_size=5))
def test_all_neighbours_are_found_and_no_others(name: str, names: set[str]) -> None:
    assert Neighbours(names).of(name) == min((other for other in names if one_apart(name, other)), default="")
