"""Lines of a given width."""

import io

import pytest

from eps.programs.diagnosis.paper import NARROWEST, WIDEST, Paper, terminal
from support.testing import Terminal


def test_colour_takes_no_columns() -> None:
    plain = Paper(40).row("why", "word " * 20, 12, "red")
    bright = Paper(40, colour=True).row("why", "word " * 20, 12, "red")
    assert plain.startswith("why         word word")
    assert max(map(len, plain.splitlines())) <= 40
    for code in ("\x1b[31m", "\x1b[36m", "\x1b[0m"):
        bright = bright.replace(code, "")
    assert bright == plain


def test_nothing_to_say_is_a_line() -> None:
    assert Paper(40).row("why", "", 12) == "why         "
    assert Paper(40, colour=True).styled("", "red") == ""


@pytest.mark.parametrize(("columns", "width"), [("10", NARROWEST), ("80", 80), ("500", WIDEST)])
def test_a_terminal(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert terminal(Terminal()) == Paper(width, colour=True)
    assert terminal(io.StringIO()) == Paper(width)
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal(Terminal()) == Paper(width)


def test_strangers_words_move_no_cursor() -> None:
    assert Paper(80).folded("a\x1b[2Jb\x9b1m\nc", 0) == "a\\x1b[2Jb\\x9b1m c"
