"""Manual pages: all of the help, in roff that man reads without a complaint."""

import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from eps.programs import eps
from eps.programs.manual import manual
from support.command_lines import APPS, command_of


def page(program: str) -> str:
    return manual(command_of(program), program)


@pytest.mark.parametrize("program", APPS)
def test_every_command_and_option_is_there(program: str) -> None:
    text = page(program).replace("\\-", "-")
    assert text.startswith(f".TH {program.upper()} 1\n.SH NAME\n{program} - ")
    for line in (f".SS {program} version\n", f".SS {program} store verify STORE\n", ".B --level ["):
        assert line in text
    assert "words" not in text.partition(f".SS {program} completion")[2].partition(".SS")[0]


def test_what_is_printed_is_the_page() -> None:
    done = CliRunner().invoke(eps.app, ["man"])
    assert (done.exit_code, done.stdout) == (0, page("eps"))


@pytest.mark.parametrize("program", APPS)
@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed (tests/packages.sh)")
def test_roff_has_nothing_to_complain_of(program: str) -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-Kutf8"],
        input=page(program),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "SIGTERM, in a command" in done.stdout
