"""What is looked at before change records are signed: a signature can't be taken back (PROTOCOL.md section 10)."""

from collections.abc import Sequence

from eps.core.exact import FOREIGN_REASON, foreign_flaw
from eps.core.second_reading import doubtful_places
from eps.core.structure import structured_bytes
from eps.core.verdict import unfit
from eps.directory.json_files import FileRecord
from eps.errors import SettingsError


def check_fit(found: Sequence[FileRecord]) -> None:
    """Refuse records whose typed data are not exact, or whose bytes say something else.

    Raises:
        SettingsError: ``FILE: records[3].data[0].name: …``.
    """
    for item in found:
        why = unfit(item.record, structured_bytes(item.record.to_json()))
        if why:
            raise SettingsError(_at(item, why), hint="nothing was signed; see PROTOCOL.md sections 4 and 10")


def foreign_refusal(found: Sequence[FileRecord]) -> SettingsError | None:
    """Why servers in use could not read one of the records; None if they can."""
    for item in found:
        flaw = foreign_flaw(item.record)
        if flaw:
            return SettingsError(_at(item, flaw), hint=FOREIGN_REASON)
    return None


def doubts(found: Sequence[FileRecord]) -> list[str]:
    """A sentence for each free-form value that somebody could show in another way under the first signature."""
    return [
        f"{item}.{place}: could be read in another way from the same signature, by whoever hands the record on, "
        "except to servers that require canonical signatures"
        for item in found
        for place in doubtful_places(item.record)
    ]


def _at(item: FileRecord, flaw: str) -> str:
    """``flaw`` begins with its place in the record, if it has one."""
    place, colon, _ = flaw.partition(": ")
    return f"{item}.{flaw}" if colon and " " not in place else f"{item}: {flaw}"
