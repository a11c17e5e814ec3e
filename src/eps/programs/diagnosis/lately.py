"""What the running server has seen go wrong lately: a doctor sees what is there now, and makes no call but a _ping."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eps.core.age import spoken
from eps.core.names import Object
from eps.core.told import quoted
from eps.core.trace import is_trace
from eps.errors import Side, StartError
from eps.programs.diagnosis.finding import Finding, Mark
from eps.programs.diagnosis.status import only_it_knows
from eps.programs.running.control import ask
from eps.programs.running.status import STATUS_SECONDS
from eps.programs.running.troubles import MAX_TEXT, MAX_TOLD, TROUBLES
from eps.programs.status.asking import asked
from eps.reasons import TABLE, reason_of

LATELY = "seen by the running server"

LATELY_SECONDS = 3_600.0
"""What is longer ago is another night's matter; the log has it."""


MAX_SHOWN = 5
"""The latest: a page of old failures hides what is wrong now."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that failed, and has not gone well again since.

    Attributes:
        times: how often; 0: it is so now, as the server's status says.
        seconds: since the last time.
        trace: of the last time; "" where it has none.
    """

    reason: str
    side: str
    what: str
    why: str
    fix: str
    trace: str
    times: int
    seconds: float


async def ask_lately(folder: Path, socket: str) -> tuple[Seen, ...]:
    """Ask the process that has the state folder; nothing, where none tells. Never raises but for cancellation."""
    return (*await _standing(folder, socket), *await _troubles(folder, socket))


async def _standing(folder: Path, socket: str) -> tuple[Seen, ...]:
    """What only the process can know, of the value that its status page shows."""
    try:
        value = await asked(folder, socket)
        return tuple(_now(text) for text in only_it_knows(value)) if value is not None else ()
    except (StartError, OSError, KeyError, TypeError, ValueError):  # of another version, say
        return ()


def _now(text: str) -> Seen:
    return Seen("", Side.OURS.value, text, "", "eps status, or the status page, says more", "", times=0, seconds=0.0)


async def _troubles(folder: Path, socket: str) -> tuple[Seen, ...]:
    try:
        session = ask(folder, socket, {"command": TROUBLES})
        if session is None:
            return ()
        try:
            answer, _ = await session.receive(STATUS_SECONDS)
        finally:
            session.close()
    except (StartError, OSError):
        return ()  # that it does not tell how it is, its status says
    told = answer.get("troubles")  # a server of an older version has no such command
    return tuple(_seen(one) for one in told[:MAX_TOLD]) if isinstance(told, list) else ()


def _seen(told: Object) -> Seen:
    texts = {key: str(told.get(key, ""))[:MAX_TEXT] for key in ("reason", "side", "what", "why", "fix", "trace")}
    return Seen(**texts, times=int(told.get("times", 1)), seconds=float(told.get("seconds", 0.0)))


def judge_lately(seen: Sequence[Seen], found: Sequence[Finding]) -> list[Finding]:
    """What is no finding yet: of what is wrong now, that it was wrong before says nothing new.

    Args:
        found: everything else.
    """
    known = {finding.reason for finding in found if finding.mark in (Mark.WRONG, Mark.DOUBTFUL)}
    new = [one for one in seen if not one.times or (one.seconds < LATELY_SECONDS and one.reason not in known)]
    return [_lately(one) for one in new[:MAX_SHOWN]]


def _lately(seen: Seen) -> Finding:
    if not seen.times:
        return Finding(LATELY, Mark.DOUBTFUL, seen.what, seen.why, seen.side, seen.fix)
    times = f"{seen.times} times, the last" if seen.times > 1 else "once,"
    what = f"{quoted(seen.what)}: {times} {spoken(seen.seconds)} ago"
    return Finding(LATELY, Mark.DOUBTFUL, what, seen.why, seen.side, "; ".join(_fix(seen)), seen.reason)


def _fix(seen: Seen) -> Iterator[str]:
    reason = reason_of(seen.reason)
    do = seen.fix or (TABLE[reason].do if reason is not None else "")
    if do and do not in seen.why:
        yield do
    if is_trace(seen.trace):
        yield f"eps trace {seen.trace} shows its way"
