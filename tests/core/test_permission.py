"""Who may call what."""

from typing import Any

import pytest

from eps.core.entries import Entry
from eps.core.names import Operator
from eps.core.permission import Allowed, Denied, may_call
from eps.core.sections import Method, Permission, Service
from support.record_tools import entry_of
from support.vectors import load

CASES = load("permissions.json")["can_call"]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['caller']['name']}-{c['callee']['name']}-{c['method']}")
def test_vector(case: Any) -> None:
    verdict = may_call(entry_of(case["caller"]), entry_of(case["callee"]), case["method"])
    assert isinstance(verdict, Allowed if case["can_call"] else Denied)


def callee(*services: Service) -> Entry:
    return Entry(Operator("ls-1"), services=services)


def permit(*groups: str, right: str = "call") -> tuple[Permission, ...]:
    return tuple(Permission(group, (right,)) for group in groups)


CALLER = Entry(Operator("hd-1"), groups=("a", "b"))
NOBODY = Entry(Operator("hd-9"))


def reason(caller: Entry, of: Entry, method: str = "m") -> str:
    verdict = may_call(caller, of, method)
    assert isinstance(verdict, Denied)
    return verdict.reason


def test_reasons() -> None:
    closed = callee(Service("s", (), (Method("m", ()),)))
    assert reason(CALLER, callee()) == "the directory lists no service of ls-1 with a method 'm'"
    assert reason(CALLER, closed) == "the directory permits nobody to call 'm' on ls-1"
    for_others = callee(Service("s", permit("z"), (Method("m", permit("y")),)))
    assert reason(CALLER, for_others) == "'m' on ls-1 is for the group y or z; the groups of hd-1: a, b"
    assert reason(NOBODY, for_others).endswith("the groups of hd-9: none")


def test_the_first_service_with_the_method_decides() -> None:
    first, second = Service("1", (), (Method("m", ()),)), Service("2", permit("a"), (Method("m", ()), Method("n", ())))
    assert isinstance(may_call(CALLER, callee(first, second), "m"), Denied)
    assert isinstance(may_call(CALLER, callee(first, second), "n"), Allowed)
    assert isinstance(may_call(CALLER, callee(second, first), "m"), Allowed)


def test_permissions_of_service_and_method_add_up() -> None:
    entry = callee(Service("s", permit("a"), (Method("m", permit("c")),)))
    for group in "ac":
        assert isinstance(may_call(Entry(Operator("x"), groups=(group,)), entry, "m"), Allowed)
    assert isinstance(may_call(NOBODY, callee(Service("s", permit("*"), (Method("m", ()),))), "m"), Allowed)


def test_other_rights_permit_nothing() -> None:
    assert isinstance(
        may_call(CALLER, callee(Service("s", permit("a", right="read"), (Method("m", ()),))), "m"), Denied
    )
