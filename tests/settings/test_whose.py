"""Settings of one program, given to another: that is all that is said."""

from pathlib import Path

import pytest

from eps.errors import SettingsError
from eps.settings import PROGRAMS, load_eps, read_program
from support.machine import ROOT

WHOSE = {"sd-1": "sd", "hd-1": "eps", "public-proxy-1": "proxy", "private-proxy-1": "proxy", "op-1": "eps"}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("role", WHOSE)
def test_another_programs_settings(program: str, role: str) -> None:
    variable = PROGRAMS[program].variable
    places = {variable: str(ROOT / "settings" / "dev" / "roles" / role)}
    reading = read_program(program, PROGRAMS[program].model, places, ROOT)
    said = [problem.text for problem in reading.problems if "look like" in problem.text]
    if WHOSE[role] == program:
        assert said == []
    else:
        assert said == [f"these look like {WHOSE[role]}'s settings, not {program}'s"] and len(reading.problems) == 1
        assert PROGRAMS[WHOSE[role]].variable in reading.problems[0].hint


def test_a_start_says_it(tmp_path: Path) -> None:
    (tmp_path / "sd.yml").write_text("jsonrpc_server: {bind_address: ':1'}\ndirectory: {}\n")
    with pytest.raises(SettingsError, match=r"sd\.yml: these look like sd's settings, not eps's \(EPS_SETTINGS must"):
        load_eps({"EPS_SETTINGS": "sd.yml"}, tmp_path)


def test_our_own_with_an_error_are_ours(tmp_path: Path) -> None:
    (tmp_path / "eps.yml").write_text("name: hd-1\nchanels: []\n")
    with pytest.raises(SettingsError) as caught:
        load_eps({"EPS_SETTINGS": "eps.yml"}, tmp_path)
    assert "look like" not in caught.value.message
