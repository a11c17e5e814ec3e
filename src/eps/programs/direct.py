"""Command lines that run a server, as units and scripts write them: understood without what reads command lines.

That is some 60 modules, and 2 MiB that a server would hold for as long as it runs. Whatever is not written plainly here
(another spelling, ``--help``, a mistake) is left to them, and means the same.
"""

from collections.abc import Sequence

from eps.core.event import Level
from eps.programs.running.logs import Format
from eps.programs.running.runtime import Options

COMMANDS = {
    ("eps", "server", "run"): "eps",
    ("sd", "run"): "sd",
    ("proxy", "run", "public"): "public proxy",
    ("proxy", "run", "private"): "private proxy",
}
"""What runs which server (``serving.SERVERS``)."""

_OPTIONS = ("--level", "--format", "--profile", "--log-file")


def read_command(program: str, arguments: Sequence[str]) -> tuple[str, Options, bool] | None:
    """Which server to run, its options, and whether it takes over from one that runs.

    None: another command, or one that is not written plainly.
    """
    given: dict[str, str] = {}
    rest: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word in _OPTIONS and words and not words[0].startswith("-"):
            given[word] = words.pop(0)
        else:
            rest.append(word)
    take_over = rest[-1:] == ["--take-over"]
    if take_over:
        rest = rest[:-1]
    kind = COMMANDS.get((program, *rest))
    level, style = given.get("--level", Level.INFO), given.get("--format", Format.TEXT)
    if kind is None or level not in set(Level) or style not in set(Format):
        return None
    options = Options(
        level=Level(level),
        level_given="--level" in given,
        format=Format(style),
        profile=given.get("--profile", ""),
        log_file=given.get("--log-file", ""),
    )
    return kind, options, take_over
