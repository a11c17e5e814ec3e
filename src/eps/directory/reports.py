"""What following a directory tells the log: each failure once, and what is still missing."""

from collections.abc import Sequence
from itertools import islice

from eps.core.chain import Chain
from eps.core.entries import Directory
from eps.core.event import DirectoryChanged, DirectoryFailed, DirectoryStillFailing, Emit, Level, Notice
from eps.core.names import Operator
from eps.core.record import SignedRecord
from eps.core.wording import counted
from eps.errors import EpsError, Side, Unreachable
from eps.reasons import Reason

MAX_OPERATORS = 20
"""Operators whose changes one log line names: some 2 KB. A directory that is begun anew names hundreds, and its records
say them all."""

MAX_REASONS = 100
"""Distinct failures that are remembered as reported: endpoints may invent new ones for ever."""


class Reports:
    """The state that decides what is worth a line.

    Args:
        own_name: whose entry the directory should have; None: any entry will do.

    Attributes:
        failure: the last one; None since something has succeeded.
    """

    def __init__(self, emit: Emit, own_name: Operator | None) -> None:
        self._emit = emit
        self._own_name = own_name
        self._failures: set[str] = set()
        self.failure: EpsError | None = None
        self._missing_reported = False

    @property
    def failing(self) -> bool:
        """Whether nothing has succeeded since the last failure."""
        return bool(self._failures)

    def lacks_something(self, directory: Directory) -> bool:
        """Whether our own entry, or any at all, is still to come."""
        return not directory.entries if self._own_name is None else directory.entry(self._own_name) is None

    def changed(self, chain: Chain, source: str) -> None:
        """Another chain is in use."""
        directory = chain.directory
        self._emit(
            DirectoryChanged(
                records=len(chain.records),
                operators=len(directory.entries),
                tip=chain.tip,
                source=source,
                marked=directory.marked,
            )
        )

    def failed(self, reason: str, hint: str, cause: EpsError | None = None) -> None:
        """Nobody gave an answer of use; each distinct reason is told once, until something succeeds, and counted
        each time."""
        cause = cause or Unreachable("", reason=Reason.DIRECTORY_UNREACHABLE, side=Side.DIRECTORY)
        self.failure = EpsError(reason, hint=hint, side=cause.side, reason=cause.reason)
        if reason not in self._failures and len(self._failures) < MAX_REASONS:
            self._failures.add(reason)
            word, side = cause.reason.value, cause.side.value
            self._emit(DirectoryFailed(detail=reason, hint=hint, reason=word, side=side))
        else:
            self._emit(DirectoryStillFailing())

    def passed_over(self, reason: str, hint: str) -> None:
        """An endpoint is not believed, but another one had a good answer."""
        self._emit(Notice(text=reason, hint=hint, level=Level.WARN))

    def drops_signatures(self, endpoint: str, what: str) -> None:
        """An endpoint does not hand on canonical signatures."""
        hint = "use one that keeps them; until then free-form settings are not protected, see explanation-trust.md"
        self._emit(Notice(text=f"the service directory at {endpoint} {what}", hint=hint, level=Level.WARN))

    def succeeded(self, endpoint: str, directory: Directory) -> None:
        """``endpoint`` gave a good answer; ``directory`` is what is known now."""
        if self._failures:
            self._failures.clear()
            self.failure = None
            self._emit(Notice(text=f"the service directory at {endpoint} answers again"))
        missing = self.lacks_something(directory)
        if missing and not self._missing_reported:
            self._tell_missing()
        self._missing_reported = missing

    def _tell_missing(self) -> None:
        who = f"no entry for {self._own_name}, this server's operator" if self._own_name else "no entries"
        self._emit(
            Notice(
                text=f"the directory has {who} yet",
                hint="submit its records with eps sd submit-records (development network: make sd-setup); "
                "this server notices within a second",
                level=Level.WARN,
            )
        )


def changed_sections(records: Sequence[SignedRecord]) -> tuple[str, ...]:
    """Whose sections ``records`` change, in their order: ``hd-1: certificates, groups``; no more than fit a line."""
    sections: dict[str, dict[str, None]] = {}
    for signed in records:
        sections.setdefault(signed.record.name, {})[signed.record.section] = None
    named = [f"{name[:80]}: {', '.join(of)}" for name, of in islice(sections.items(), MAX_OPERATORS)]
    more = len(sections) - len(named)
    return (*named, f"and {counted(more, 'more operator')}") if more else tuple(named)
