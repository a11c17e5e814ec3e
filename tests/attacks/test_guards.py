"""The table of guards is true: each is where it says, what is left without it can be run, and its test exists.

Whether the tests notice that a guard is gone takes minutes: ``make mutants``.
"""

import ast
from pathlib import Path

import pytest

from support.attacks.guards import GUARDS
from support.attacks.kinds import Guard

TESTS = Path(__file__).resolve().parents[1]
SOURCE = TESTS.parent / "src" / "eps"


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.what)
def test_a_guard_can_be_removed(guard: Guard) -> None:
    source = (SOURCE / guard.file).read_text()
    assert ast.dump(ast.parse(guard.removed(source))) != ast.dump(ast.parse(source))


def test_guards_are_many_and_differ() -> None:
    assert len(GUARDS) >= 55
    assert len({guard.what for guard in GUARDS}) == len(GUARDS)
    assert len({(guard.file, guard.old, guard.new) for guard in GUARDS}) == len(GUARDS)


def test_a_guard_that_has_moved_is_told() -> None:
    with pytest.raises(ValueError, match="occurs 0 times"):
        GUARDS[0].removed("nothing")
