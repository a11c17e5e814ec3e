"""What a Redis list's state, and its server's settings, mean for a store that is kept there. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class State:
    """What a list looks like.

    Attributes:
        length: how many elements it has.
        last: the last one; empty if there is none.
    """

    length: int = 0
    last: bytes = b""


class Change(Enum):
    """What has become of a list since it was looked at last. The values end a sentence about a store."""

    NONE = "is as this program left it"
    GROWN = "has entries that this program did not write"
    EMPTIED = "is empty now: it was flushed, or another database stands in its place"
    SET_BACK = "was set back to an earlier state, as by a restart from an old dump or a failover"
    REPLACED = "holds something else now: it was replaced, or another program writes under the same key"


def judge(seen: State, now: State, at_seen: bytes, *, old: bool) -> Change:
    """What has happened between two looks.

    Args:
        at_seen: the element that stands now where ``seen.last`` stood; empty if none does.
        old: ``now.last`` is an element that was there before ``seen.last``.
    """
    if now == seen:
        return Change.NONE
    if not now.length:
        return Change.EMPTIED
    if now.length > seen.length and at_seen == seen.last:
        return Change.GROWN
    return Change.SET_BACK if old and now.length < seen.length else Change.REPLACED


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a server may lose what it has acknowledged, and what to set."""

    text: str
    hint: str


def doubts(config: Mapping[str, str], replication: Mapping[str, str], *, sentinel: bool) -> Iterator[Doubt]:
    """What an administrator should know of a server before trusting it with a store.

    Args:
        config: what CONFIG GET says; empty if we may not ask.
        replication: the lines of INFO replication.
        sentinel: the server is found through Sentinel, so a replica may take its place.
    """
    if not config:
        yield Doubt(
            "Redis does not let this program read its settings: nobody has checked that it keeps what it acknowledges",
            "allow the user +config|get, or see to it yourself: appendonly yes, appendfsync always",
        )
    else:
        yield from _on_disk(config)
        yield from _in_memory(config)
    if sentinel or _number(replication, "connected_slaves"):
        yield _on_replicas(config)


def _on_disk(config: Mapping[str, str]) -> Iterator[Doubt]:
    if config.get("appendonly") == "yes":
        if config.get("appendfsync") != "always":
            often = "about once a second" if config.get("appendfsync") == "everysec" else "when its kernel likes to"
            yield Doubt(
                f"Redis acknowledges entries before they are on disk and writes them there {often}: a power cut loses "
                "the last ones, though this program has called them stored",
                "appendfsync always, in redis.conf",
            )
    elif config.get("save"):
        yield Doubt(
            f"Redis writes to disk only now and then (save {config['save']}): after a crash it comes back with a state "
            "of minutes or hours ago, and without what this program has called stored since",
            "appendonly yes and appendfsync always, in redis.conf",
        )
    else:
        yield Doubt(
            "Redis is told not to keep anything on disk: when it restarts, everything in this store is gone",
            "appendonly yes and appendfsync always, in redis.conf",
        )


def _in_memory(config: Mapping[str, str]) -> Iterator[Doubt]:
    if _number(config, "maxmemory") and config.get("maxmemory-policy", "").startswith("allkeys"):
        yield Doubt(
            f"Redis may throw this store away when its memory is full (maxmemory-policy {config['maxmemory-policy']})",
            "maxmemory-policy noeviction, in redis.conf: then it refuses writes instead, and this program says so",
        )


def _on_replicas(config: Mapping[str, str]) -> Doubt:
    hint = "no setting rules this out; a backup made with «store backup» can be compared with «store verify»"
    if config and not _number(config, "min-replicas-to-write"):
        hint = "min-replicas-to-write 1 and min-replicas-max-lag 10, in redis.conf, bound what can be lost"
    return Doubt(
        "Redis acknowledges entries before a replica has them: when a replica takes over, the last ones can be "
        "missing, though this program has called them stored. It will say so then",
        hint,
    )


def connected_replicas(replication: Mapping[str, str]) -> int:
    """How many replicas get what is changed, by the lines of INFO replication."""
    states = [dict(part.partition("=")[::2] for part in value.split(",")) for value in _replica_lines(replication)]
    return sum(state.get("state") == "online" for state in states)


def _replica_lines(replication: Mapping[str, str]) -> list[str]:
    return [value for name, value in replication.items() if name.startswith("slave") and name[5:].isdecimal()]


def _number(values: Mapping[str, str], name: str) -> int:
    """A number of Redis'; 0 where it is missing."""
    text = values.get(name, "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def parse_info(text: str) -> dict[str, str]:
    """The answer to INFO: lines ``name:value``; headings and empty lines are left out."""
    lines = (line.strip() for line in text.splitlines())
    return {name: value for name, found, value in (line.partition(":") for line in lines) if found and name[:1] != "#"}
