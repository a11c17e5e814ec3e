"""What is said last."""

from collections.abc import Sequence

import pytest

from eps.programs.diagnosis.finding import Finding, Mark, well
from eps.programs.diagnosis.paper import Paper
from eps.programs.diagnosis.report import report

PORT = Finding("running server", Mark.WRONG, "the port", reason="no-permission")
PIN = Finding("our pin", Mark.WRONG, "the pin", reason="own-pin")
DOUBT = Finding("key modes", Mark.DOUBTFUL, "the key", reason="key-readable")


@pytest.mark.parametrize(
    ("found", "last"),
    [
        ([well("a", "b")], "nothing is wrong"),
        ([DOUBT], "nothing is wrong; 1 warning"),
        ([PORT], "1 thing is wrong; begin with this ✗: the port"),
        ([DOUBT, PORT, PIN], "2 things are wrong; 1 warning; begin with this ✗: the pin"),
    ],
    ids=["well", "doubt", "first", "root"],
)
def test_what_to_begin_with(found: Sequence[Finding], last: str) -> None:
    assert report("hd-1", found, Paper(80)).splitlines()[-1] == last
