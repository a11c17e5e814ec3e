"""What a doctor finds: one form for all groups. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from eps.core.message import Error
from eps.core.names import Object
from eps.core.told import quoted
from eps.errors import EpsError
from eps.reasons import TABLE, Reason, reason_of


class Mark(StrEnum):
    """How it is.

    ``WRONG`` is what an exit code tells; ``DOUBTFUL`` works today; ``UNKNOWN`` could not be looked at, mostly since
    something before it is wrong, or has nothing to be looked at.
    """

    WELL = "well"
    DOUBTFUL = "doubtful"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        group: the heading under which it stands.
        what: how it is, in a line.
        why: more of it.
        side: whose it is: ``ours``, ``proxy``, ``peer``, ``directory``; empty where all is well.
        fix: what to do.
        reason: the stable word for it, as in answers and logs.
        seconds: how long it took, where that says something.
    """

    group: str
    mark: Mark
    what: str
    why: str = ""
    side: str = ""
    fix: str = ""
    reason: str = ""
    seconds: float | None = None

    def to_json(self) -> Object:
        """For ``--json``."""
        return {key: str(value) if isinstance(value, StrEnum) else value for key, value in asdict(self).items()}


def well(group: str, what: str, why: str = "", seconds: float | None = None) -> Finding:
    """It is as it should be."""
    return Finding(group, Mark.WELL, what, why, seconds=seconds)


def unknown(group: str, what: str, why: str = "", fix: str = "") -> Finding:
    """It could not be looked at."""
    return Finding(group, Mark.UNKNOWN, what, why, fix=fix)


@dataclass(frozen=True, slots=True)
class Failure:
    """What an error says: facts hold these, and no exceptions."""

    text: str
    hint: str = ""
    side: str = ""
    stage: str = ""
    reason: str = ""

    @classmethod
    def of(cls, error: EpsError) -> "Failure":
        """An error of ours."""
        place = f" [{error.place}]" if error.place else ""
        return cls(f"{error.message}{place}", error.hint, error.side.value, error.stage.value, error.reason.value)

    @classmethod
    def told(cls, error: Error) -> "Failure":
        """What an answer says that is an error."""
        data: Object = error.data if isinstance(error.data, dict) else {}
        hint, side, stage, reason = (quoted(str(data.get(key) or "")) for key in ("hint", "side", "stage", "reason"))
        return cls(f"{quoted(error.message)} (code {error.code})", hint, side, stage, reason)

    def of_a_proxy(self) -> "Failure":
        """The same, where the other operator is a proxy of ours."""
        side = "proxy" if self.side == "peer" else self.side
        reason = Reason.PROXY_UNREACHABLE if self.reason == Reason.UNREACHABLE else self.reason
        return replace(self, side=side, reason=reason)

    def found(self, group: str, what: str) -> Finding:
        """The finding that it makes."""
        return Finding(group, Mark.WRONG, what, self.text, self.side, self.fix(), self.reason)

    def fix(self) -> str:
        """What to do: what the error says, else what the reason's row does."""
        known = reason_of(self.reason)
        return self.hint or (TABLE[known].do if known is not None else "")


def exit_code(findings: Sequence[Finding]) -> int:
    """0: well; 1: something is wrong."""
    return int(any(finding.mark is Mark.WRONG for finding in findings))
