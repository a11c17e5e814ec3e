"""programs/direct: which command lines run a server without what reads command lines; and what such a server loads."""

import pytest

from eps.core.event import Level
from eps.programs.direct import COMMANDS, read_command
from eps.programs.running.logs import Format
from eps.programs.running.runtime import Options
from eps.programs.serving import SERVERS


def test_every_server_can_be_run() -> None:
    assert set(COMMANDS.values()) == set(SERVERS)
    for (program, *words), kind in COMMANDS.items():
        assert read_command(program, words) == (kind, Options(), False)


def test_options() -> None:
    line = "--level debug --format json --profile p --log-file /var/log/eps.log server run"
    options = Options(Level.DEBUG, level_given=True, format=Format.JSON, profile="p", log_file="/var/log/eps.log")
    assert read_command("eps", line.split()) == ("eps", options, False)
    assert read_command("eps", [*line.split(), "--take-over"]) == ("eps", options, True)
    behind = "server run --level debug --take-over --format json --profile p --log-file /var/log/eps.log"
    assert read_command("eps", behind.split()) == ("eps", options, True)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "version",
        "--level",
        "--level run",
        "--level loud server run",
        "--level WARN server run",
        "--format xml server run",
        "--level=debug server run",
        "-level debug server run",
        "--profile --level server run",
        "server run --help",
        "s run",
        "sd run",
    ],
)
def test_what_is_not_written_plainly_is_left_to_others(line: str) -> None:
    assert read_command("eps", line.split()) is None
