"""What is shown, and asked, before records are signed."""

import sys

import pytest

from eps.core.changes import changes
from eps.core.entries import Directory
from eps.core.record import parse_change_record
from eps.errors import EpsError
from eps.programs.admin import review
from support.record_tools import group_record
from support.testing import Terminal


def after(*groups: str) -> Directory:
    return Directory.from_records([parse_change_record(group_record("acme", *groups))])


def test_as_many_lines_as_fit() -> None:
    found = changes(Directory.empty(), after(*(f"g-{i}" for i in range(100))))
    assert len(list(review.lines_of(found))) == 102
    shown = list(review.lines_of(found, 10, review.DRY_RUN))
    assert (len(shown), shown[-1]) == (11, "… and 92 lines more; --dry-run shows all")
    assert list(review.lines_of([])) == ["nothing changes: the directory says all of this already"]


def test_strangers_words_move_no_cursor() -> None:
    odd = changes(Directory.empty(), after("a\x1b[2J\u202eb"))
    assert list(review.lines_of(odd))[-1] == "    + a\\x1b[2J\\u202eb"


def test_without_a_terminal_it_is_warned_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert review.settle(["odd\n"], strict=False, ask=True)
    assert capsys.readouterr().err == "warning: odd\\n\n"
    with pytest.raises(EpsError, match="2 doubts, and --strict allows none"):
        review.settle(["one", "two"], strict=True, ask=True)
    assert review.settle([], strict=True, ask=True)
    capsys.readouterr()
    assert review.settle([f"{i}" for i in range(100)], strict=False, ask=True)
    assert capsys.readouterr().err.splitlines()[-1] == "warning: and 40 doubts more"


@pytest.mark.parametrize(("answer", "goes_on"), [("y\n", True), ("YES\n", True), ("n\n", False), ("", False)])
def test_at_a_terminal_it_is_asked(monkeypatch: pytest.MonkeyPatch, answer: str, goes_on: bool) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert review.settle(["odd"], strict=False, ask=True) is goes_on
    assert terminal.getvalue() == "warning: odd\nIs all of this meant? [y/N] "
    assert review.settle([], strict=False, ask=True)
    assert review.settle(["odd"], strict=False, ask=False), "nothing is to be signed"
