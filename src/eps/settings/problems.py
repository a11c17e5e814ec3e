"""What is wrong with settings, and where: the one form of every error and warning about a settings file."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from eps.core.wording import counted

Loc = tuple[str | int, ...]
"""The way to a setting: keys and positions, as in ``("channels", 1, "settings")``."""

CLOSE = 0.6
"""From this likeness on (0 to 1, difflib's default) another word is offered as what was probably meant."""


class Severity(StrEnum):
    """An error keeps a program from starting; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: as the administrator named it; for a problem of no one file, the environment variable.
        line: from 1; 0 where it is unknown.
        path: the setting, as in ``channels[1].settings.tls.key_file``; empty for a file as a whole.
        text: what is wrong.
        hint: what to try; may be empty.
    """

    file: str
    line: int
    path: str
    text: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.path) if part)
        more = "; ".join(part for part in (f"line {self.line}" if self.line else "", self.hint) if part)
        return f"{where}: {self.text}" + (f" ({more})" if more else "")

    def to_json(self) -> dict[str, str | int]:
        """For ``--json``."""
        return {key: str(value) if isinstance(value, StrEnum) else value for key, value in asdict(self).items()}


def render_path(loc: Iterable[str | int]) -> str:
    """``("channels", 1, "settings")`` as ``channels[1].settings``."""
    path = ""
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return path


def describe_problems(problems: Sequence[Problem]) -> str:
    """All of them as text: one line, or a heading and one line for each."""
    if len(problems) == 1:
        return str(problems[0])
    return f"{counted(len(problems), 'problem')} in the settings:" + "".join(f"\n  {problem}" for problem in problems)


def nearest(word: str, valid: Iterable[str]) -> str:
    """A hint that names the valid word most like ``word``."""
    words = sorted(valid)
    if not words:
        return "nothing may be set here"
    best = difflib.get_close_matches(word, words, n=1, cutoff=CLOSE)
    if best:
        return f"did you mean {best[0]}?"
    best = difflib.get_close_matches(word, words, n=1, cutoff=0.0)
    return f"the nearest valid one is {best[0]}; valid here: {', '.join(words)}"


def kind(value: object) -> str:
    """What a value is, in an administrator's words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list | tuple):
        return "a list"
    for type_, word in ((str, "text"), (int, "a whole number"), (float, "a number")):
        if isinstance(value, type_):
            return word
    return "a map"
