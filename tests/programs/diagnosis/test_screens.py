"""The screens in docs are what the commands show."""

import re

import pytest

from eps.programs.diagnosis.paper import Paper
from support.machine import ROOT
from support.screens import SCREENS, WIDTHS, picture

NEVER_FOLDED = re.compile(r"[0-9a-f]{32}")
"""Fingerprints and traces, which are copied."""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
def test_screens(name: str, width: int) -> None:
    plain = SCREENS[name](Paper(width))
    assert "\x1b" not in plain
    too_long = [line for line in plain.splitlines() if len(line) > width and not NEVER_FOLDED.search(line)]
    assert too_long == []
    bright = SCREENS[name](Paper(width, colour=True))
    assert bright != plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", bright) == plain
    assert (ROOT / "docs" / "screens" / f"{name}-{width}.svg").read_text() == picture(name, width), (
        "run: python docs/generate.py"
    )
