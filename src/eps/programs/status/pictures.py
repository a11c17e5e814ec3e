"""What each program shows of itself besides what all do, as plain values. Pure, but for looking at what is open."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from eps.core.announcement import Announcement
from eps.core.chain import Chain
from eps.core.changes import entry_changes
from eps.core.entries import Directory, Entry
from eps.core.names import Object, Operator
from eps.core.record import SignedRecord
from eps.core.removal import is_removed
from eps.core.ways import way_between
from eps.proxy.public import PublicProxy

MAX_SHOWN = 200
"""Operators, tunnels and announcements in one value: more than a screen can show; what is left out is counted."""

MAX_CHANGES = 20
"""Records of the directory, the newest: a screen or two."""

MAX_LINES = 8
"""Of what one record has changed."""

MAX_LINE = 160
"""Characters of each."""


def peers_of(directory: Directory, own: Operator) -> list[Object]:
    """Everybody else in the directory, and how each is reached: ``direct``, ``proxy`` (through ``via``), ``stream``
    (it holds one to us) or ``none``. Of a thousand operators behind one proxy it takes some 50 ms: to be kept."""
    found: list[Object] = []
    for name, entry in directory.entries.items():
        if name == own or is_removed(entry):
            continue
        if len(found) == MAX_SHOWN:
            break
        way = way_between(directory, own, name)
        found.append({"name": name, "way": way.kind.value, "via": way.proxy, "groups": list(entry.groups)})
    return found


def with_streams(peers: Iterable[Object], streams: Mapping[Operator, object]) -> list[Object]:
    """``peers``, with ``stream``: whether that which we should hold to one is ``up`` or ``down``."""
    states = {str(name): {"stream": "down" if why else "up"} for name, why in streams.items()}
    return [{**peer, **states.get(peer["name"], {})} for peer in peers]


def tunnels_of(proxy: PublicProxy, now: float) -> list[Object]:
    """Those that are open, the newest first; without names where a TLS client has one end.

    Args:
        now: of the event loop's clock.
    """
    found: list[Object] = []
    for relay, names in list(proxy.relays.items())[: -MAX_SHOWN - 1 : -1]:
        callee, caller = names or ("", "")
        found.append(
            {
                "id": f"{id(relay):x}",
                "caller": caller,
                "callee": callee,
                "age": round(now - relay.started_at, 1),
                "idle": round(now - relay.last_progress, 1),
                "bytes": list(relay.moved),
            }
        )
    return found


def announcements_of(standing: Iterable[Announcement]) -> list[Object]:
    """Domains, and who has announced each; of a private proxy, to whom."""
    return [{"domain": one.domain, "operator": one.holder} for one, _ in zip(standing, range(MAX_SHOWN), strict=False)]


def operators_of(directory: Directory) -> list[Object]:
    """Everybody in it: groups, how reached, how many certificates are pinned."""
    found: list[Object] = []
    for name, entry in directory.entries.items():
        if len(found) == MAX_SHOWN:
            break
        server = entry.grpc_server
        reached = "nobody may dial it" if server is None or server.internal else "directly"
        if server is not None and server.proxy:
            reached = f"through {server.proxy}"
        found.append(
            {
                "name": name,
                "groups": list(entry.groups),
                "reached": "it was removed" if is_removed(entry) else reached,
                "via": server.proxy if server is not None else "",
                "certificates": len(entry.certificates),
            }
        )
    return found


def changes_of(chain: Chain) -> list[Object]:
    """The newest records: whose section, who signed it when, and what goes and comes."""
    records = chain.records
    return [_change(chain, number) for number in range(len(records) - 1, max(len(records) - 1 - MAX_CHANGES, -1), -1)]


def _change(chain: Chain, number: int) -> Object:
    signed = chain.records[number]
    record = signed.record
    before = _section_before(chain.records, number)
    former = Entry(record.name).with_record(before.record) if before is not None else None
    change = next(entry_changes(record.name, former, (former or Entry(record.name)).with_record(record)), None)
    lines = change.lines if change is not None else ()
    subject = chain.trust.leaf(signed.signature.c).subject
    return {
        "at": datetime.fromisoformat(record.created_at.replace("Z", "+00:00")).timestamp(),
        "operator": record.name,
        "section": record.section,
        "signed_by": str(subject) if subject is not None else "",
        "root": signed.is_root,
        "lines": [line[:MAX_LINE] for line in lines[:MAX_LINES]],
        "more": max(len(lines) - MAX_LINES, 0),
    }


def _section_before(records: Sequence[SignedRecord], number: int) -> SignedRecord | None:
    """The record of the same section before that one; comparisons only, two milliseconds for ten thousand."""
    wanted = records[number].record
    for index in range(number - 1, -1, -1):
        record = records[index].record
        if record.section == wanted.section and record.name == wanted.name:
            return records[index]
    return None
