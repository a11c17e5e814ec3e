"""Who may call what (PROTOCOL.md section 4)."""

from dataclasses import dataclass

from eps.core.entries import Entry

EVERYONE = "*"
"""The group that every operator with an entry belongs to, where a call is judged."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The caller may."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The caller may not; ``reason`` is a sentence for the administrator.

    Attributes:
        is_unknown: no service has the method.
    """

    reason: str
    is_unknown: bool = False


def may_call(caller: Entry, callee: Entry, method: str) -> Allowed | Denied:
    """Whether ``caller`` may call ``method`` on ``callee``: by the first service of ``callee`` that has the method."""
    groups = callee.callers.get(method)
    if groups is None:
        return Denied(f"the directory lists no service of {callee.name} with a method {method!r}", is_unknown=True)
    if EVERYONE in groups or not groups.isdisjoint(caller.groups):
        return Allowed()
    if not groups:
        return Denied(f"the directory permits nobody to call {method!r} on {callee.name}")
    needed = " or ".join(sorted(groups))
    own = ", ".join(caller.groups) or "none"
    return Denied(f"{method!r} on {callee.name} is for the group {needed}; the groups of {caller.name}: {own}")


def callable_by(caller: Entry, callee: Entry) -> list[str]:
    """The methods of ``callee`` that ``caller`` may call, and none of the others; in the directory's order."""
    return [method for method in callee.callers if isinstance(may_call(caller, callee, method), Allowed)]
