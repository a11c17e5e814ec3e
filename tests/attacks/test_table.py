"""The table of attacks points to tests that exist, and so does that of guards."""

import ast
from functools import cache
from pathlib import Path

import pytest

from eps.core.event import Event
from support.attacks.guards import GUARDS
from support.attacks.table import GROUPS

TESTS = Path(__file__).resolve().parents[1]
NAMED = sorted({test for group in GROUPS.values() for attack in group for test in attack.tests})


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("test", [*NAMED, *sorted({guard.test for guard in GUARDS} - set(NAMED))])
def test_a_named_test_exists(test: str) -> None:
    file, _, name = test.partition("::")
    assert name in functions(file)


def test_every_test_of_this_folder_is_in_the_table() -> None:
    here = {path.name for path in Path(__file__).parent.glob("test_*.py")} - {"test_table.py", "test_guards.py"}
    for name in here:
        for test in functions(f"attacks/{name}"):
            assert not test.startswith("test_") or f"attacks/{name}::{test}" in NAMED, test


def test_what_the_log_says_is_a_kind_of_event_or_nothing() -> None:
    kinds = {kind.kind for kind in Event.__subclasses__() if kind.__module__.startswith("eps.")}
    free = ("–", "the same", "the words")
    for attack in (attack for group in GROUPS.values() for attack in group):
        assert attack.logged.startswith(free) or attack.logged.strip("`").partition("`")[0] in kinds, attack.what
