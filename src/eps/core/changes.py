"""What changes between two states of the directory, and entries in words, without certificates. Pure."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eps.core import record_text
from eps.core.entries import Directory, Entry
from eps.core.names import Object, Operator
from eps.core.permission import EVERYONE
from eps.core.record import SECTIONS
from eps.core.sections import Permission


@dataclass(frozen=True, slots=True)
class SectionChange:
    """A section of an operator's entry that is another one afterwards.

    Attributes:
        new: the operator had no entry before.
        before, after: the section's elements as JSON values.
        lines: what goes and what comes, in words: ``- members``, ``+ staff``.
    """

    operator: Operator
    section: str
    new: bool
    before: list[Any]
    after: list[Any]
    lines: tuple[str, ...]

    def to_json(self) -> Object:
        """For scripts."""
        return {"operator": self.operator, "section": self.section, "before": self.before, "after": self.after}


def changes(before: Directory, after: Directory) -> list[SectionChange]:
    """What is another in ``after``: by operator in its order, then by section."""
    names = dict.fromkeys([*after.entries, *before.entries])
    return [change for name in names for change in entry_changes(name, before.entry(name), after.entry(name))]


def entry_changes(name: Operator, before: Entry | None, after: Entry | None) -> Iterator[SectionChange]:
    """What is another in one operator's entry."""
    old, new = before or Entry(name), after or Entry(name)
    for section in SECTIONS:
        was, now = getattr(old, section), getattr(new, section)
        if was != now:
            lines = _differing(in_words(old, section), in_words(new, section))
            yield SectionChange(name, section, before is None, _json(was), _json(now), tuple(lines))


def _json(section: Iterable[Any]) -> list[Any]:
    return [item if isinstance(item, str) else item.to_json() for item in section]


def _differing(before: Sequence[str], after: Sequence[str]) -> list[str]:
    found: list[str] = []
    steps = difflib.SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes()
    for kind, i1, i2, j1, j2 in steps:
        if kind != "equal":
            found += [f"- {line}" for line in before[i1:i2]] + [f"+ {line}" for line in after[j1:j2]]
    return found or ["~ written in another way; it means the same to callers"]


def render(found: Sequence[SectionChange]) -> Iterator[str]:
    """Lines of text: the operator, its sections, what goes and what comes."""
    operator = None
    for change in found:
        if change.operator != operator:
            operator = change.operator
            yield f"{operator} (new in the directory)" if change.new else f"{operator}"
        yield f"  {change.section}" if change.after else f"  {change.section}: empty from then on"
        yield from (f"    {line}" for line in change.lines)


# An entry in words


def in_words(entry: Entry, section: str) -> list[str]:
    """A section's content: a line for each element, of ``services`` for each method."""
    return [line for item in getattr(entry, section) for line in _WORDS[section](item)]


def _group(group: str) -> Iterator[str]:
    yield group


def _channel(channel: Any) -> Iterator[str]:
    yield " ".join([channel.type, *_pairs(channel.settings or {})])


def _certificate(certificate: Any) -> Iterator[str]:
    yield f"{certificate.key_usage} {certificate.fingerprint}"


def _service(service: Any) -> Iterator[str]:
    for method in service.methods:
        callers = _callers((*service.permissions, *method.permissions))
        parameters = "" if method.parameters is None else f", parameters {_text(method.parameters)}"
        yield f"{service.name}: {method.name}, callable by {callers}{parameters}"
    if not service.methods:
        yield f"{service.name}: no methods"


def _callers(permissions: Iterable[Permission]) -> str:
    groups = sorted({permission.group for permission in permissions if "call" in permission.rights})
    return "anybody" if EVERYONE in groups else ", ".join(groups) or "nobody"


def _settings(item: Any) -> Iterator[str]:
    where = {"operator": item.operator, "service": item.service, "environment": item.environment}
    whom = ", ".join(f"{key} {value}" for key, value in where.items() if value)
    yield " ".join([f"for {whom or 'all'}:", *_pairs(item.settings)])


_WORDS: dict[str, Callable[[Any], Iterator[str]]] = {
    "groups": _group,
    "channels": _channel,
    "certificates": _certificate,
    "services": _service,
    "settings": _settings,
    "preferences": _settings,
}


def _pairs(settings: Object) -> Iterator[str]:
    for key, value in settings.items():
        yield f"{key}={value if isinstance(value, str) and value and value.isprintable() else _text(value)}"


def _text(value: Any) -> str:
    return record_text.dumps(value).decode()
