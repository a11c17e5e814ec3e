"""What a writer of change records should be told before they are signed, since a signature can't be taken back. Pure.

    wrong      has no sense, or another one than was meant, whoever reads it: nobody should sign it
    doubtful   may be meant: groups that nobody has, proxies that don't exist, names that are nearly another's

No record that stands in a chain is refused for any of it, and nothing here says what is exact (``core.exact``).
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from eps.core.entries import Directory
from eps.core.exact import SHAPES, Many, Text, is_address, is_fingerprint, known_settings
from eps.core.free_form import levels
from eps.core.likeness import Neighbours, meant
from eps.core.limits import MAX_SETTINGS_NESTING
from eps.core.names import Object, shown
from eps.core.permission import EVERYONE
from eps.core.record import ChangeRecord
from eps.core.sections import PROXIES, alternatives_in

KEY_USAGES = ("encryption", "signing")

CHANNEL_TYPES = ("grpc_client", "grpc_server", "jsonrpc_client", "jsonrpc_server", "stdout", "quic")
"""PROTOCOL.md sections 2 and 9: ``quic`` is of a fork in use."""

SETTINGS_IN_USE = {
    ("channels", "grpc_server"): frozenset({"f", "n", "weight"}),
    ("settings", "proxy"): frozenset({"n", "nested"}),
}
"""Keys beside the known ones (``core.exact.known_settings``), of entries that were recorded from servers in use."""

RECORD_KEYS = ("name", "section", "data", "created_at")

_DIGESTS = {32: "MD5", 40: "SHA-1", 96: "SHA-384", 128: "SHA-512"}
"""By the number of hex digits, for those who took another digest than SHA-256."""

_FINGERPRINT_COMMAND = "openssl x509 -in CERTIFICATE -outform der | sha256sum"
_LABEL = re.compile(r"^(?:sha-?256)?[ _]*(?:fingerprint)?[ =:]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Advice:
    """A sentence about a place in a record, ``data[0].fingerprint: …``, and what to write there."""

    text: str
    hint: str = ""


# Wrong


def wrong(record: ChangeRecord, given: object = None, foreign: Collection[str] = ()) -> list[Advice]:
    """What is surely wrong in ``record``.

    Args:
        given: the JSON value that it was read from: keys that reading drops are looked at, too.
        foreign: keys of settings that are known to be read by servers of another make.
    """
    judge = _JUDGES.get(record.section, _free)
    found = [advice for index, item in enumerate(record.data) for advice in judge(item, f"data[{index}]")]
    misspelt = (_misspelt(*one) for one in _dropped(record, given))
    strange = (_strange(*one) for one in _unknown_settings(record, foreign, in_use=False))
    return [*found, *filter(None, misspelt), *strange]


def _free(item: object, place: str) -> tuple[Advice, ...]:
    """Groups may have any name, and services read what settings they like."""
    return ()


def _certificate(item: Object, place: str) -> Iterator[Advice]:
    if not is_fingerprint(item["fingerprint"]):
        yield _about_fingerprint(item["fingerprint"], f"{place}.fingerprint")
    if item["key_usage"] not in KEY_USAGES:
        yield Advice(f"{place}.key_usage: must be {_or(KEY_USAGES)}, not {_quoted(item['key_usage'])}")


def _about_fingerprint(text: str, place: str) -> Advice:
    said = f"{place}: must be 64 lower-case hex digits"
    digits = _hex_digits(text)
    if len(digits) == 64:
        return Advice(said, f"write {digits}")
    if len(digits) in _DIGESTS:
        other = f"it looks like the certificate's {_DIGESTS[len(digits)]} digest; the directory wants SHA-256"
        return Advice(f"{said}; {other}", _FINGERPRINT_COMMAND)
    return Advice(f"{said}, not {_quoted(text)}", _FINGERPRINT_COMMAND)


def _hex_digits(text: str) -> str:
    """The hex digits of a digest, however programs show it: in capitals, with colons, spaces, a label; "" if it is
    none."""
    bare = re.sub(r"[:\s-]", "", _LABEL.sub("", text.strip())).lower().removeprefix("0x")
    return bare if re.fullmatch(r"[0-9a-f]*", bare) else ""


def _channel(item: Object, place: str) -> Iterator[Advice]:
    kind = item["type"]
    if kind not in CHANNEL_TYPES:
        like = meant(kind, CHANNEL_TYPES)
        hint = f"did you mean {like}?" if like else f"one of {', '.join(CHANNEL_TYPES)}"
        yield Advice(f"{place}.type: there is no channel type {_quoted(kind)}", hint)
    if kind == "grpc_server":
        yield from _about_address((item.get("settings") or {}).get("address"), f"{place}.settings.address")


def _about_address(address: Any, place: str) -> Iterator[Advice]:
    if not address:
        why = "must be given, HOST:PORT, also behind a proxy: servers in use are upset by an entry without"
        yield Advice(f"{place}: {why}", "where nobody dials it, any address will do: localhost:4444")
    elif not isinstance(address, str) or not is_address(address):
        yield Advice(f"{place}: must be HOST:PORT, not {_quoted(address)}", _better_address(address))


def _better_address(address: Any) -> str:
    """What may have been meant."""
    text = address.strip() if isinstance(address, str) else ""
    bare = re.sub(r"^[a-z][a-z0-9+.-]*://", "", text, flags=re.IGNORECASE).split("/")[0]
    if is_address(bare):
        return f"write {bare}"
    with_port = f"[{bare}]:4444" if bare.count(":") > 1 else f"{bare}:4444"
    if is_address(with_port):
        return f"with the port that others are to dial, for example {with_port}"
    return "a text like acme.example.org:4444"


def _service(item: Object, place: str) -> Iterator[Advice]:
    for index, method in enumerate(item["methods"]):
        name, where = method["name"], f"{place}.methods[{index}].name"
        odd = next((char for char in name if char in ".(" or char.isspace()), "")
        if odd:
            what = "a space" if odd.isspace() else f"«{odd}»"
            yield Advice(f"{where}: {_quoted(name)} holds {what}: nobody could call it", "letters, digits, - and _")


_JUDGES: Mapping[str, Callable[[Any, str], Iterable[Advice]]] = {
    "certificates": _certificate,
    "channels": _channel,
    "services": _service,
}


# Keys that nobody reads

_Unread = tuple[str, str, tuple[str, ...]]
"""A place, a key there that isn't known, and those that are."""


def _misspelt(place: str, key: str, known: Sequence[str]) -> Advice | None:
    like = meant(key, known)
    return Advice(f"{place}: nobody reads this key", f"did you mean {like}?") if like else None


def _strange(place: str, key: str, known: Sequence[str]) -> Advice:
    like = meant(key, known)
    hint = f"did you mean {like}?" if like else f"known here: {', '.join(known)}."
    return Advice(f"{place}: nobody reads this key", f"{hint} If servers of another make do: --foreign-key {key[:80]}")


def _dropped(record: ChangeRecord, given: object) -> Iterator[_Unread]:
    """Keys that are not part of the record, though they stand where it was read from."""
    if isinstance(given, dict):
        yield from ((key, key, RECORD_KEYS) for key in given.keys() - set(RECORD_KEYS))
        yield from _dropped_in(SHAPES[record.section], given.get("data"), "data")


def _dropped_in(shape: Many, items: object, place: str) -> Iterator[_Unread]:
    if shape.or_free or isinstance(shape.element, Text) or not isinstance(items, list):
        return
    known = tuple(field.key for field in shape.element)
    for index, item in enumerate(items):
        if isinstance(item, dict):
            here = f"{place}[{index}]"
            yield from ((f"{here}.{key}", key, known) for key in item if key not in known)
            for field in shape.element:
                if isinstance(field, Many):
                    yield from _dropped_in(field, item.get(field.key), f"{here}.{field.key}")


def _unknown_settings(record: ChangeRecord, foreign: Collection[str], *, in_use: bool) -> Iterator[_Unread]:
    """Those that entries in use have, or the others; what begins with _ is a note, as everywhere."""
    for index, item in enumerate(record.data if record.section in ("channels", "settings") else ()):
        kind = item["type"] if record.section == "channels" else item["service"]
        # What is for every service is read by services that nobody here knows.
        known = tuple(known_settings(record.section, item)) if kind else ()
        for key in item.get("settings") or {} if known else ():
            unknown = key not in known and key not in foreign and not key.startswith("_")
            if unknown and in_use is (key in SETTINGS_IN_USE.get((record.section, kind), ())):
                yield f"data[{index}].settings.{key}", key, known


# Doubtful


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What records are judged by: the directory as it is to be.

    Attributes:
        names: of the operators.
        groups: that at least one of them has, and everybody's.
        named: those that a service lets call it, and everybody's.
        had: the groups that operators had before: what was meant then is meant now.
    """

    names: frozenset[str]
    groups: frozenset[str]
    named: frozenset[str]
    had: Directory = field(default_factory=Directory.empty)

    @classmethod
    def of(cls, after: Directory, before: Directory | None = None) -> "Surroundings":
        groups = {group for entry in after.entries.values() for group in entry.groups}
        had = before if before is not None else Directory.empty()
        named = {group for entry in after.entries.values() for group in entry.named_groups}
        return cls(frozenset(after.entries), frozenset(groups | {EVERYONE}), frozenset(named | {EVERYONE}), had)


def doubtful(
    record: ChangeRecord, given: object = None, around: Surroundings | None = None, foreign: Collection[str] = ()
) -> Iterator[str]:
    """What may be meant in ``record``, but probably isn't; a sentence for each.

    Args:
        given: the JSON value that it was read from.
        around: None: the rest of the directory isn't known.
        foreign: as for :func:`wrong`.
    """
    if record.section == "preferences" and record.data:
        yield "servers in use are upset by an entry with preferences"
    for place, key, known in (*_dropped(record, given), *_unknown_settings(record, foreign, in_use=True)):
        if not meant(key, known) and not key.startswith("_"):
            yield f"{place}: nobody reads this key; known here: {', '.join(known)}"
    for index, item in enumerate(record.data):
        if isinstance(item, dict) and levels(item.get("settings")) > MAX_SETTINGS_NESTING:
            yield (
                f"data[{index}].settings: is left out of what servers send each other, being more than "
                f"{MAX_SETTINGS_NESTING} objects or lists deep"
            )
    if around is not None:
        yield from _strangers(record, around)


def _strangers(record: ChangeRecord, around: Surroundings) -> Iterator[str]:
    """Groups and operators that are named, but that nobody has, and who don't exist."""
    was = around.had.entry(record.name)
    settled = around.named | set(was.groups if was is not None else ())
    for index, item in enumerate(record.data):
        place = f"data[{index}]"
        if record.section == "groups" and item not in settled:
            yield f"{place}: no service lets the group {_quoted(item)} call it{_perhaps(item, around.named)}"
        elif record.section == "services":
            yield from (f"{place}{where}" for where in _empty_groups(item, around))
        elif record.section == "channels":
            proxy = (item.get("settings") or {}).get("proxy") if item["type"] == "grpc_server" else None
            if isinstance(proxy, str) and proxy and proxy not in around.names:
                yield f"{place}.settings.proxy: there is no operator {_quoted(proxy)}{_perhaps(proxy, around.names)}"
        elif record.section in ("settings", "preferences"):
            named = [("operator", item["operator"])]
            if item["service"] == PROXIES:
                further = alternatives_in(item["settings"])
                named += [(f"settings.alternatives[{number}]", one) for number, one in enumerate(further)]
            for where, name in named:
                if name and name not in around.names:
                    yield f"{place}.{where}: there is no operator {_quoted(name)}{_perhaps(name, around.names)}"


def _empty_groups(service: Object, around: Surroundings) -> Iterator[str]:
    places = [("", service), *((f".methods[{index}]", method) for index, method in enumerate(service["methods"]))]
    for place, item in places:
        for index, permission in enumerate(item["permissions"]):
            group = permission["group"]
            if group not in around.groups:
                perhaps = _perhaps(group, around.groups)
                yield f"{place}.permissions[{index}].group: nobody is in the group {_quoted(group)}{perhaps}"


def unlike_before(before: Directory, after: Directory) -> Iterator[tuple[str, str]]:
    """What is doubtful in the directory as it is to be, compared with what it is: the operator, and a sentence."""
    new = [name for name in after.entries if name not in before.entries]
    neighbours = Neighbours([*after.entries, *before.entries]) if new and (before.entries or len(new) > 1) else None
    for name in new:
        if neighbours and (like := neighbours.of(name)):
            yield name, f"the name {_quoted(name)} is new, and one letter from {_quoted(like)}"
    had, have = Surroundings.of(before).groups, Surroundings.of(after).groups
    if before.entries:
        yield from _new_groups(had, after)
    for name, was in before.entries.items():
        now = after.entry(name)
        if was.signing_pin and not (now and now.signing_pin):
            yield (
                name,
                f"no certificate that {name} signs with is pinned any more: whoever has one that names it an "
                "administrator may sign again, an old one too (eps directory remove leaves a pin that nobody can meet)",
            )
    yield from _orphans(had - have, before, after)
    yield from _cut_off(before, after)


def _new_groups(known: frozenset[str], after: Directory) -> Iterator[tuple[str, str]]:
    """Groups that nobody was in before, one letter from others."""
    neighbours = Neighbours(known - {EVERYONE})
    for name, entry in after.entries.items():
        for group in entry.groups:
            if group not in known and (like := neighbours.of(group)):
                yield name, f"the group {_quoted(group)} is new, and one letter from {_quoted(like)}"


def _cut_off(before: Directory, after: Directory) -> Iterator[tuple[str, str]]:
    """Operators whose proxy has been one, and is none any more."""
    for name, entry in after.entries.items():
        for proxy in sorted(entry.proxies):
            was, now = before.entry(proxy), after.entry(proxy)
            if was and was.grpc_server and not (now and now.grpc_server):
                yield name, f"{name} is reached through {_quoted(proxy)}, which nobody can reach any more"


def _orphans(gone: frozenset[str], before: Directory, after: Directory) -> Iterator[tuple[str, str]]:
    """Groups whose last member goes, though services name them."""
    for name, entry in after.entries.items() if gone else ():
        missed = sorted(gone & entry.named_groups)
        if missed and before.entry(name) is not None:
            yield name, f"nobody is in the group {shown(missed)} any more, which services of {name} name"


@lru_cache(maxsize=100)
def _perhaps(word: str, known: frozenset[str]) -> str:
    like = meant(word, known)
    return f"; did you mean {like}?" if like else ""


def _quoted(value: Any) -> str:
    if isinstance(value, str):
        return repr(value[:80])
    return repr(value) if isinstance(value, int | float) else "an object" if isinstance(value, dict) else "a list"


def _or(words: Sequence[str]) -> str:
    return " or ".join(repr(word) for word in words)
