"""What an administrator is shown, and asked, before records are signed.

Who sits at a terminal is asked about what is doubtful; a script is warned, and goes on, unless it is strict.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice

from eps.core.changes import SectionChange, render
from eps.core.wording import counted, plain
from eps.errors import EpsError

MAX_LINES = 60
"""Of changes, and of doubts, that are shown beside something else: two screens."""

DRY_RUN, DIFF = "--dry-run", "eps directory diff FILE"
"""What shows all changes: of a command that submits, and of the others."""


def lines_of(changes: Sequence[SectionChange], most: int | None = None, rest: str = DIFF) -> Iterator[str]:
    """What changes, as lines that any terminal can show.

    Args:
        most: no more lines than that, and how many there are.
        rest: what shows the others.
    """
    lines = [plain(line) for line in render(changes)] or ["nothing changes: the directory says all of this already"]
    yield from islice(lines, most)
    if most is not None and len(lines) > most:
        yield f"… and {len(lines) - most} lines more; {rest} shows all"


def tell(*lines: str) -> None:
    """Say it to whoever watches."""
    for line in lines:
        print(plain(line), file=sys.stderr)


def warn(text: str) -> None:
    """One warning."""
    print(f"warning: {plain(text)}", file=sys.stderr)


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def agrees(question: str) -> bool:
    """The answer of whoever sits there; anything but a y is a no."""
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def settle(doubts: Sequence[str], *, strict: bool, ask: bool) -> bool:
    """Warn of what is doubtful; whether to go on.

    Args:
        strict: refuse, rather than warn.
        ask: whether somebody who can be asked is to decide.

    Raises:
        EpsError: there are doubts, and none are allowed.
    """
    for doubt in doubts[:MAX_LINES]:
        warn(doubt)
    if len(doubts) > MAX_LINES:
        warn(f"and {counted(len(doubts) - MAX_LINES, 'doubt')} more")
    if doubts and strict:
        hint = "nothing was signed; mend them, or leave out --strict if all of it is meant"
        raise EpsError(f"{counted(len(doubts), 'doubt')}, and --strict allows none", hint=hint)
    return not (doubts and ask and at_terminal()) or agrees("Is all of this meant? [y/N] ")
