"""``eps|sd|proxy status``: what the running server is at, in words; the same value as the status page has."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from eps.core.age import spoken
from eps.core.certificate import SOON
from eps.core.names import Object
from eps.core.wording import counted
from eps.errors import StartError
from eps.programs.admin import commands as admin
from eps.programs.diagnosis.paper import Paper, terminal
from eps.programs.status.asking import asked
from eps.programs.status.merging import merged

LABEL = 14
"""Columns of the labels."""

SHOWN_CALLS, SHOWN_TUNNELS, SHOWN_PEERS = 10, 8, 12
"""Of each list: with the rest a screen."""

WATCH_SECONDS = 1.0
"""Between two looks."""

CLEAR = "\x1b[H\x1b[2J"
"""Of ECMA-48: to the first line, and all of the screen away."""

NEARLY_FULL = 0.8
"""As the alert says it."""

OLD_SECONDS = 900.0
"""Without a confirmation a directory is old, as for the alert ``EpsDirectoryOld``."""


async def show(folder: Path, sockets: Sequence[str], *, as_json: bool, watch: bool) -> None:
    """Print it; with ``watch`` again and again, until Ctrl-C.

    Raises:
        StartError: no server runs there, or it does not tell.
    """
    while True:
        values = [value for socket in sockets if (value := await asked(folder, socket)) is not None]
        if not values:
            hint = "start it, or see its log for why it ended"
            raise StartError(f"no server runs with the state folder {folder}", hint=hint)
        value = merged(values)
        if as_json:
            admin.print_json(value)
        else:
            is_screen = watch and sys.stdout.isatty()
            print((CLEAR if is_screen else "") + rendered(value, terminal(), time.time()), flush=True)
        if not watch:
            return
        await asyncio.sleep(WATCH_SECONDS)


def rendered(value: Object, paper: Paper, now: float) -> str:
    """The value in words."""
    rows = [("", text) for text in _head(value, now)]
    for part in (_wrong, _calls, _streams, _tunnels, _directory, _certificates):
        rows += list(part(value, now))
    lines = [paper.row(label, text, LABEL) if label else paper.folded(text, 2, "") for label, text in rows]
    lines[0] = paper.styled(lines[0].strip(), "bold")
    for title, made in _LISTS:
        if items := made(value):
            lines += ["", paper.styled(title, "bold"), *(paper.folded(item, 4, "  ") for item in items)]
    return "\n".join(lines)


def _head(value: Object, now: float) -> Iterator[str]:
    up = spoken(now - value["started_at"])
    yield f"{value['name']}: {value['program']} {value['version']}, process {value['pid']}, up {up}"
    yield ", ".join(value["listening"])


def _sum(value: Object, name: str, matches: Callable[[list[str]], bool] = lambda words: True) -> float:
    return float(sum(number for words, number in value["numbers"].get(name, []) if matches(words)))


def _wrong(value: Object, now: float) -> Iterator[tuple[str, str]]:
    """What should wake somebody."""
    for peer in value.get("peers", []):
        if peer.get("stream") == "down":
            name = peer["name"]
            yield "wrong", f"no stream to {name}: who reaches us through it can't call us (eps doctor {name})"
    for text in only_it_knows(value):
        yield "wrong", text


def only_it_knows(value: Object) -> Iterator[str]:
    """What is wrong, and nobody sees who looks from outside: doctors say it, too."""
    unknown = _sum(value, "eps_calls", lambda words: words[:2] == ["local", "unknown"])
    if unknown:
        yield f"of {counted(int(unknown), 'call', 'calls')} nobody knows whether it was executed"
    if _sum(value, "eps_audit_failing"):
        yield "the audit log can't be written: its disk may be full, or its folder may not be written to"
    lost = _sum(value, "eps_audit_lines_lost")
    if lost:
        yield f"{counted(int(lost), 'call has', 'calls have')} no line in the audit log"
    limit, taken = (
        _sum(value, "eps_tunnels_limit"),
        _sum(value, "eps_tunnels_open") + _sum(value, "eps_tunnels_waiting"),
    )
    if limit and taken / limit > NEARLY_FULL:
        yield f"{taken / limit:.0%} of the proxy's places are taken: beyond them no tunnel can be made"


def _calls(value: Object, now: float) -> Iterator[tuple[str, str]]:
    if "eps_calls_in_flight" not in value["numbers"]:
        return
    whole, well = _sum(value, "eps_calls"), _sum(value, "eps_calls", lambda words: words[1] == "ok")
    part = f", {100 * well / whole:.1f} % answered well" if whole else ""
    held = _sum(value, "eps_calls_held")
    text = f"{int(whole):,} since the start{part}; {int(_sum(value, 'eps_calls_in_flight'))} in flight"
    yield "calls", text + (f", {int(held)} of them wait for their peer" if held else "")


def _streams(value: Object, now: float) -> Iterator[tuple[str, str]]:
    for peer in value.get("peers", []):
        if "stream" in peer:
            yield "stream", f"to {peer['name']}: {peer['stream']}"


def _tunnels(value: Object, now: float) -> Iterator[tuple[str, str]]:
    if "eps_tunnels_open" in value["numbers"]:
        limit = _sum(value, "eps_tunnels_limit")
        of = f" of {int(limit):,}" if limit else ""
        waiting = int(_sum(value, "eps_tunnels_waiting"))
        yield "tunnels", f"{int(_sum(value, 'eps_tunnels_open')):,}{of} open, {waiting} wait for a side"


def _directory(value: Object, now: float) -> Iterator[tuple[str, str]]:
    records = int(_sum(value, "eps_directory_records"))
    if not records:
        return
    text = f"{counted(int(_sum(value, 'eps_directory_operators')), 'operator')}, {counted(records, 'record')}"
    confirmed = _sum(value, "eps_directory_confirmed_timestamp_seconds")
    yield "directory", text + (f", confirmed {spoken(now - confirmed)} ago" if confirmed else "")
    if confirmed and now - confirmed > OLD_SECONDS:
        yield "wrong", "no service directory confirms it: news, revocations too, are not known here (eps doctor)"


def _certificates(value: Object, now: float) -> Iterator[tuple[str, str]]:
    ends = value["numbers"].get("eps_certificate_expiry_timestamp_seconds", [])
    if ends:
        (setting,), at = min(ends, key=lambda item: item[1])
        yield "certificates", f"the first ends {'in' if at > now else 'since'} {spoken(abs(at - now))}: {setting}"
        if at - now < SOON.total_seconds():
            what = "ends within 30 days" if at > now else "has ended"
            yield "wrong", f"a certificate {what}: have the next one made, and pinned (eps config check)"


def _last_calls(value: Object) -> list[str]:
    return [_call(call) for call in value["calls"][:SHOWN_CALLS]]


def _call(call: Object) -> str:
    arrow = "→" if call["direction"] == "local" else "←"
    words = [call["stage"], call["reason"]] if call["outcome"] != "ok" else []
    why = " · ".join(filter(None, words))
    ended = f"{call['outcome']} ({why})" if why else call["outcome"]
    return f"{_clock(call['at'])}  {arrow} {call['peer']}.{call['method']}  {ended}  {call['ms']} ms"


def _open_tunnels(value: Object) -> list[str]:
    return [_tunnel(one) for one in value.get("tunnels", [])[:SHOWN_TUNNELS]]


def _tunnel(one: Object) -> str:
    who = f"{one['caller'] or 'a TLS client'} → {one['callee'] or 'a private proxy'}"
    return f"{who}, for {spoken(one['age'])}, {sum(one['bytes']):,} bytes"


def _ended_tunnels(value: Object) -> list[str]:
    return [_ended(one) for one in value["ended"][:SHOWN_TUNNELS]] if "proxy" in value["program"] else []


def _ended(one: Object) -> str:
    why = f" ({one['reason']})" if one["reason"] else ""
    return f"{_clock(one['at'])}  {one['caller'] or '?'} → {one['callee'] or '?'}  {one['outcome']}{why}"


def _links(value: Object) -> list[str]:
    return [f"{peer}: {', '.join(links)}" for peer, links in list(value["links"].items())[:SHOWN_PEERS]]


def _announced(value: Object) -> list[str]:
    return [f"{one['domain']}: {one['operator']}" for one in value.get("announcements", [])[:SHOWN_PEERS]]


def _changes(value: Object) -> list[str]:
    return [_change(one) for one in value.get("changes", [])[:SHOWN_TUNNELS]]


def _change(one: Object) -> str:
    date = f"{datetime.fromtimestamp(one['at'], UTC):%Y-%m-%d %H:%M} UTC"
    return f"{date}  {one['operator']}: {one['section']}, signed by {one['signed_by']}"


_LISTS: tuple[tuple[str, Callable[[Object], list[str]]], ...] = (
    ("Last calls", _last_calls),
    ("Connected", _links),
    ("Open tunnels", _open_tunnels),
    ("Ended tunnels", _ended_tunnels),
    ("Announced", _announced),
    ("Changes of the directory", _changes),
)


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC).astimezone():%H:%M:%S}"
