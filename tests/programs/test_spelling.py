"""Command lines as scripts have them for servers in use: each is what our own spelling of it is."""

import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.core import TyperGroup
from typer.testing import CliRunner

from eps import __version__
from eps.core.event import Level
from eps.programs import serving
from eps.programs.cli import level_of
from eps.programs.running.logs import Format
from eps.programs.running.runtime import Options
from eps.programs.spelling import in_our_words
from support.command_lines import APPS, command_of

SAME = [
    ("eps -level debug server run", "eps --level debug server run"),
    ("eps --level=DEBUG s run", "eps --level=DEBUG server run"),
    ("eps -level=debug -format iris s run", "eps --level=debug --format iris server run"),
    ("eps -profile p -log-file=l server run", "eps --profile p --log-file=l server run"),
    ("eps -version", "eps --version"),
    ("eps -help", "eps --help"),
    ("eps server -h", "eps server -h"),
    ("eps", "eps --help"),
    ("eps -level debug", "eps --level debug --help"),
    ("eps --level", "eps --level --help"),
    ("eps help", "eps --help"),
    ("eps h", "eps --help"),
    ("eps help sd", "eps sd --help"),
    ("eps help s", "eps server --help"),
    ("eps sd", "eps sd --help"),
    ("eps sd help sign", "eps sd sign --help"),
    ("eps help sd verify", "eps sd verify --help"),
    ("eps sd get-entries -name hd-1", "eps sd get-entries --name hd-1"),
    ("eps sd get-entries -name=hd-1", "eps sd get-entries --name=hd-1"),
    ("eps sd submit-records -reset a.json b.json", "eps sd submit-records --reset a.json b.json"),
    ("eps sd submit-records --reset=true a.json", "eps sd submit-records --reset a.json"),
    ("eps sd submit-records --reset=F a.json", "eps sd submit-records a.json"),
    ("eps sd submit-records --reset=maybe a.json", "eps sd submit-records --reset=maybe a.json"),
    ("eps sd submit-records a.json -reset", "eps sd submit-records a.json --reset"),
    ("eps sd submit-records a.json -- -reset", "eps sd submit-records a.json -- -reset"),
    ("eps sd submit-records -- -reset", "eps sd submit-records -- -reset"),
    ("eps dev internal-server -tls=false", "eps dev internal-server --no-tls"),
    ("eps call hd-2._ping - -timeout 5", "eps call hd-2._ping - --timeout 5"),
    ("eps call help", "eps call help"),
    ("eps nonsense -level debug", "eps nonsense --level debug"),
    ("eps -nonsense", "eps -nonsense --help"),
    ("sd -level debug run", "sd --level debug run"),
    ("eps server run --level debug", "eps --level debug server run"),
    ("eps server run -level=debug --take-over", "eps --level=debug server run --take-over"),
    ("eps --format json s run --level warn", "eps --level warn --format json server run"),
    ("eps sd sign x.json --level error", "eps --level error sd sign x.json"),
    ("eps call hd-2._ping -- --level", "eps call hd-2._ping -- --level"),
    ("eps server --version", "eps --version server"),
    ("proxy run public --log-file l", "proxy --log-file l run public"),
    ("sd help run", "sd run --help"),
    ("sd h", "sd --help"),
    ("sd", "sd --help"),
    ("proxy -level=warning run public", "proxy --level=warning run public"),
    ("proxy run", "proxy run --help"),
    ("proxy run help", "proxy run --help"),
    ("proxy help run private", "proxy run private --help"),
    ("proxy", "proxy --help"),
]


def program(name: str) -> TyperGroup:
    command = command_of(name)
    assert isinstance(command, TyperGroup)
    return command


@pytest.mark.parametrize(("typed", "ours"), SAME)
def test_spellings(typed: str, ours: str) -> None:
    name, *words = typed.split()
    assert " ".join([name, *in_our_words(program(name), words)]) == ours


OURS = [ours for _, ours in SAME if "nonsense" not in ours and not ours.endswith("--level --help")]


@pytest.mark.parametrize("ours", OURS)
def test_our_own_spelling_stays(ours: str) -> None:
    name, *words = ours.split()
    assert in_our_words(program(name), words) == words


@given(st.lists(st.text("-=shelp", max_size=6), max_size=5))
def test_whatever_is_typed(words: list[str]) -> None:
    in_our_words(program("eps"), words)


def run(typed: str) -> Any:
    name, *words = typed.split()
    return CliRunner().invoke(APPS[name], words, env=dict.fromkeys(("EPS_SETTINGS", "SD_SETTINGS", "PROXY_SETTINGS")))


@pytest.mark.parametrize("typed", [typed for typed, ours in SAME if "--help" in ours and "nonsense" not in typed])
def test_help_goes_to_standard_output_and_is_no_failure(typed: str) -> None:
    if typed != "eps --level":  # its value is missing
        result = run(typed)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.startswith("Usage: ")


@pytest.mark.parametrize(
    ("typed", "says"),
    [("eps -nonsense", "-n"), ("eps help nonsense", "nonsense"), ("eps sd submit-records --reset=maybe x", "--reset")],
)
def test_what_is_no_spelling_is_refused(typed: str, says: str) -> None:
    result = run(typed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


@pytest.mark.parametrize("typed", ["{} version", "{} -level debug version", "{} -version", "{} --level=WARN version"])
@pytest.mark.parametrize("name", APPS)
def test_the_version_is_one_line(name: str, typed: str) -> None:
    result = run(typed.format(name))
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("word", "level"),
    [
        *((str(level), level) for level in Level),
        *((str(level).upper(), level) for level in Level),
        *(("warning", Level.WARN), ("Warning", Level.WARN)),
    ],
)
def test_levels(word: str, level: Level) -> None:
    assert level_of(word) is level


def test_they_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Options] = []
    monkeypatch.setattr(serving, "run_server", lambda service, options, *_: seen.append(options))
    assert run("eps -level WARNING --format=iris -profile p s run").exit_code == 0
    assert run("eps s run -level WARNING --format=iris -profile p").exit_code == 0
    assert seen == [Options(Level.WARN, level_given=True, format=Format.IRIS, profile="p")] * 2


def test_python_m_eps_is_the_program_eps() -> None:
    command = [sys.executable, "-m", "eps"]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_SETTINGS")}
    for words, code, begins in ((["version"], 0, __version__), ([], 0, "Usage: eps "), (["s", "run"], 2, "")):
        done = subprocess.run(
            [*command, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout[: len(begins)]) == (code, begins)
    assert "EPS_SETTINGS: is not set" in done.stderr


@pytest.mark.parametrize("typed", ["eps -v", "sd --verbose", "proxy -V", "eps -v server run", "eps sd sign -v x.json"])
def test_what_means_several_things_elsewhere_is_explained(typed: str) -> None:
    name, *words = typed.split()
    result = CliRunner().invoke(APPS[name], words)
    assert result.exit_code == 2
    assert "--version prints the version" in result.output and "--level debug" in result.output
