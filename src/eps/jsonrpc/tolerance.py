"""What an application does loosely is understood, and told once, so that somebody mends it."""

from eps.core.event import Emit, Level, Notice
from eps.core.loose_answers import Flaw


class Tolerance:
    """Tells each kind of looseness of one application once. An ``answers.Tolerate``.

    Args:
        who: the application, for the log (``JsonRpcClient.label``).
    """

    def __init__(self, who: str, emit: Emit) -> None:
        self._who = who
        self._emit = emit
        self._reported: set[Flaw] = set()

    def __call__(self, flaw: Flaw) -> None:
        if flaw in self._reported:
            return
        self._reported.add(flaw)
        text = f"{self._who} {flaw.what}; its answers are understood all the same"
        hint = f"tell its programmer: {flaw.hint}; this is said once"
        self._emit(Notice(level=Level.WARN, text=text, hint=hint))
