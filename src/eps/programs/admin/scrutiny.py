"""What is looked at before change records are signed: a signature can't be taken back (PROTOCOL.md section 10).

surely wrong   is refused, all of it at once (``core.advice``, ``core.exact``)
doubtful       is a list of sentences; whoever signs decides
"""

from collections.abc import Iterator, Sequence

from eps.core import advice
from eps.core.entries import Directory
from eps.core.exact import FOREIGN_REASON, foreign_flaw
from eps.core.second_reading import doubtful_places
from eps.core.structure import structured_bytes
from eps.core.verdict import unfit
from eps.core.wording import counted
from eps.directory.json_files import FileRecord
from eps.errors import SettingsError

MAX_TOLD = 20
"""Sentences in one message: about a screen. Who has more mends these first."""


def check_fit(found: Sequence[FileRecord]) -> None:
    """Refuse records that are surely not meant so, whose typed data are not exact, or whose bytes say something else.

    Raises:
        SettingsError: ``FILE: records[3].data[0].name: …``; of several, the first ones in lines of their own.
    """
    wrong = [(_at(item, one.text), one.hint) for item in found for one in _wrong(item)]
    if len(wrong) == 1:
        text, hint = wrong[0]
        raise SettingsError(text, hint=hint or "nothing was signed; see PROTOCOL.md sections 4 and 10")
    if wrong:
        lines = [f"{text} ({hint})" if hint else text for text, hint in wrong[:MAX_TOLD]]
        more = [f"and {len(wrong) - MAX_TOLD} more"] if len(wrong) > MAX_TOLD else []
        text = "\n  ".join([f"{counted(len(wrong), 'mistake')} in the records:", *lines, *more])
        raise SettingsError(text, hint="nothing was signed; see PROTOCOL.md sections 4 and 10")


def _wrong(item: FileRecord) -> list[advice.Advice]:
    found = advice.wrong(item.record, item.given, item.foreign)
    if found:
        return found
    why = unfit(item.record, structured_bytes(item.record.to_json()))
    return [advice.Advice(why)] if why else []


def foreign_refusal(found: Sequence[FileRecord]) -> SettingsError | None:
    """Why servers in use could not read one of the records; None if they can."""
    for item in found:
        flaw = foreign_flaw(item.record)
        if flaw:
            return SettingsError(_at(item, flaw), hint=FOREIGN_REASON)
    return None


def doubts(found: Sequence[FileRecord], before: Directory | None, after: Directory) -> list[str]:
    """A sentence for each thing that may be meant, but probably isn't.

    Args:
        before: the directory as it is; None: that isn't known.
        after: as it is to be.
    """
    around = advice.Surroundings.of(after, before) if before is not None else None
    told = [_at(item, text) for item in found for text in _doubts_in(item, around)]
    return [*told, *(_of_whole(found, before, after) if before is not None else ())]


def _doubts_in(item: FileRecord, around: advice.Surroundings | None) -> Iterator[str]:
    yield from advice.doubtful(item.record, item.given, around, item.foreign)
    for place in doubtful_places(item.record):
        yield (
            f"{place}: could be read in another way from the same signature, by whoever hands the record on, "
            "except to servers that require canonical signatures"
        )


def _of_whole(found: Sequence[FileRecord], before: Directory, after: Directory) -> Iterator[str]:
    """What no single record shows; told at the operator's first."""
    first: dict[str, FileRecord] = {item.record.name: item for item in reversed(found)}
    for name, text in advice.unlike_before(before, after):
        yield f"{first[name]}: {text}" if name in first else text


def _at(item: FileRecord, flaw: str) -> str:
    """``flaw`` begins with its place in the record, if it has one."""
    place, colon, _ = flaw.partition(": ")
    return f"{item}.{flaw}" if colon and " " not in place else f"{item}: {flaw}"
