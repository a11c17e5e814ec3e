"""One value of several: of workers of one server, of instances, of programs that belong together. Pure."""

from collections.abc import Sequence
from typing import Any

from eps.core.names import Object
from eps.programs.running.families import FAMILIES
from eps.programs.running.standing import MAX_CALLS, MAX_TUNNELS

EARLIEST = frozenset({"eps_certificate_expiry_timestamp_seconds"})
"""Of which the least counts."""

LATEST = frozenset({"eps_directory_confirmed_timestamp_seconds", "eps_build_info", "eps_stream_up"})
LARGEST = frozenset({"eps_directory_operators", "eps_directory_records", "eps_directory_marked_sections"})
"""Of which the greatest does: several followers of one directory have not several directories. All others are added."""


def merged(values: Sequence[Object]) -> Object:
    """What they are at together; of one, itself.

    The sum says of each value whose it is (``parts``). Lists are put in their order again, and cut as each one's.
    """
    if len(values) == 1:
        return values[0]
    first = max(values, key=lambda value: float(value["at"]))
    return {
        **first,
        "name": " + ".join(dict.fromkeys(str(value["name"]) for value in values)),
        "program": " + ".join(dict.fromkeys(str(value["program"]) for value in values)),
        "started_at": min(value["started_at"] for value in values),
        "listening": [line for value in values for line in value["listening"]],
        "numbers": _numbers([value["numbers"] for value in values]),
        "calls": _latest(values, "calls", MAX_CALLS),
        "ended": _latest(values, "ended", MAX_TUNNELS),
        "links": _links(values),
        "parts": [{key: value[key] for key in ("name", "program", "version", "pid", "at")} for value in values],
        **_lists(values),
    }


def _lists(values: Sequence[Object]) -> Object:
    """What only some programs tell: lists one behind the other, each element once."""
    found: Object = {}
    for key in ("peers", "tunnels", "announcements", "operators", "changes"):
        items = [item for value in values for item in value.get(key, [])]
        if items or any(key in value for value in values):
            found[key] = [item for number, item in enumerate(items) if item not in items[:number]]
    return found


def _latest(values: Sequence[Object], key: str, most: int) -> list[Any]:
    whole = [item for value in values for item in value[key]]
    return sorted(whole, key=lambda item: -item["at"])[:most]


def _links(values: Sequence[Object]) -> Object:
    found: dict[str, set[str]] = {}
    for value in values:
        for peer, links in value["links"].items():
            found.setdefault(peer, set()).update(links)
    return {peer: sorted(links) for peer, links in found.items()}


def _numbers(values: Sequence[Object]) -> Object:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for numbers in values:
        for name, series in numbers.items():
            if name in FAMILIES:
                _add(name, found.setdefault(name, {}), series)
    return {name: [[list(labels), value] for labels, value in series.items()] for name, series in found.items()}


def _add(name: str, to: dict[tuple[str, ...], float], series: Sequence[Any]) -> None:
    for words, value in series:
        labels = tuple(words)
        known = to.get(labels)
        if known is None:
            to[labels] = value
        elif name in EARLIEST:
            to[labels] = min(known, value)
        elif name in LATEST | LARGEST:
            to[labels] = max(known, value)
        else:
            to[labels] = known + value
