"""One warning a second: whoever can cause a log line as often as he likes, a stranger or a broken program, must not
fill the log with it. The further ones are DEBUG lines; the metrics count every one of them all the same.
"""

from collections.abc import Callable
from dataclasses import replace

from eps.core.event import Emit, Event, Level
from eps.core.recent import Recent

WARN_SECONDS = 1.0
"""Between two warnings of one kind: as fast as anybody reads, and some 100,000 lines a day at the very most."""

MAX_KEYS = 1_000
"""Of which it is remembered when the last warning was: more than an administrator tells apart; some 100 bytes each."""


class WarnRate:
    """Whose turn it is to be warned of. Time is passed in, in seconds of any clock that does not run backwards."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._last: Recent[str, tuple[float, int]] = Recent(max_keys)

    def judge(self, now: float, key: str) -> tuple[Level, int]:
        """The level of what ``key`` has done now, WARN or DEBUG; with WARN, how many warnings were left out before."""
        since, left_out = self._last.get(key) or (now - WARN_SECONDS, 0)
        if now - since < WARN_SECONDS:
            self._last.put(key, (since, left_out + 1))
            return Level.DEBUG, 0
        self._last.put(key, (now, 0))
        return Level.WARN, left_out


def sparing(emit: Emit, clock: Callable[[], float]) -> Emit:
    """``emit`` for events that others cause: of each kind, one a second keeps a level of WARN or ERROR, and says how
    many were left out before.

    Args:
        clock: seconds; see :class:`WarnRate`.
    """
    rate = WarnRate()

    def emit_sparingly(event: Event) -> None:
        if event.level in (Level.WARN, Level.ERROR):
            level, left_out = rate.judge(clock(), event.kind)
            if level is Level.DEBUG:
                event = replace(event, level=level)
            elif left_out:
                event = replace(event, left_out=left_out)
        emit(event)

    return emit_sparingly
