"""Results at a terminal: whole where they fit, shortened where not, and always whole for scripts."""

import json

import pytest

from eps.programs.admin import screen
from eps.programs.admin.screen import Shown, compact, fitted, on_screen, shortened


def test_what_fits_is_whole() -> None:
    assert fitted({"a": 1}, 80, 20) == Shown('{\n  "a": 1\n}')
    many = {"a": list(range(30))}
    assert fitted(many, 200, 20).text == json.dumps(many)
    assert fitted(many, 200, 20).lines == 0


def test_what_does_not_fit_says_how_much_it_is() -> None:
    answer = {"records": [{"pem": "x" * 100}] * 50, "name": "hd-2"}
    shown = fitted(answer, 80, 20)
    assert shown.text == '{"name": "hd-2", "records": "… 50 signed records"}'
    assert shown.lines == 155
    cut = fitted([["y" * 70]] * 50, 80, 20)
    assert len(cut.text.splitlines()) == 20 and cut.text.endswith("\n…")


def test_scripts_get_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"records": [{"pem": "x" * 100}] * 50}
    screen.show(answer, whole=False)
    assert json.loads(capsys.readouterr().out) == answer


def test_a_terminal_gets_a_screen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    answer = {"records": [{"pem": "x" * 100}] * 50}
    screen.show(answer, whole=False)
    shown = capsys.readouterr()
    assert shown.out == '{"records": "… 50 signed records"}\n'
    assert shown.err == "shortened: --all shows all 154 lines\n"
    screen.show(answer, whole=True)
    assert json.loads(capsys.readouterr().out) == answer
    screen.show({"a": 1}, whole=False)
    assert capsys.readouterr().err == ""


def test_lines_at_a_terminal_are_a_screen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    lines = [f"{number}\nand more" for number in range(30)]
    screen.show_lines(lines)
    assert capsys.readouterr().out == "\n".join(lines) + "\n", "files and pipes get all"
    monkeypatch.setattr(screen, "at_screen", lambda: True)
    screen.show_lines(lines)
    shown = capsys.readouterr()
    assert shown.out.splitlines() == "\n".join(lines).splitlines()[:20]
    assert shown.err == "shortened: --all shows all 60 lines\n"
    screen.show_lines(lines, rest=screen.PIPE, last=True)
    shown = capsys.readouterr()
    assert shown.out.splitlines() == "\n".join(lines).splitlines()[-20:]
    assert shown.err == "shortened: | less shows all 60 lines\n"
    for few, whole in ((lines, True), (lines[:10], False)):
        screen.show_lines(few, whole=whole)
        assert capsys.readouterr() == ("\n".join(few) + "\n", "")
    screen.show_lines([])
    assert capsys.readouterr() == ("", "")


def test_a_long_line_takes_several_of_a_screen() -> None:
    assert on_screen(["a" * 25, "b", "c"], 10, 4) == ["a" * 25, "b"]
    assert on_screen(["a" * 99, "b"], 10, 4) == ["a" * 99], "one at least"
    assert on_screen(["", "", ""], 10, 2) == ["", ""]
    bright = "\x1b[1m" + "a" * 10 + "\x1b[0m"
    assert on_screen([bright, bright, bright], 10, 2) == [bright, bright], "styles take no room"
    assert on_screen(["a", "b" * 11, "c"], 10, 3, last=True) == ["b" * 11, "c"]


def test_the_answer_is_shortened_to_what_people_look_for() -> None:
    answer = {
        "version": "1",
        "params": {"_client": {"entry": {"name": "hd-1"}, "name": "hd-1"}, "x": 1},
        "serverInfo": {
            "settings": [],
            "records": [{}, {}],
            "certificates": [{}],
            "channels": [{"settings": None, "type": "grpc_client"}],
            "services": [{"name": "internals", "permissions": [], "methods": []}],
            "name": "hd-2",
            "properties": {"displayName": ""},
        },
    }
    assert json.dumps(shortened(answer), ensure_ascii=False) == (
        '{"serverInfo": {"name": "hd-2", "services": ["internals"], "channels": [{"type": "grpc_client"}], '
        '"records": "… 2 signed records", "certificates": "… 1 certificates"}, "version": "1", '
        '"params": {"_client": {"name": "hd-1", "entry": "… its directory entry"}, "x": 1}}'
    )
    assert shortened("text") == "text"
    assert shortened([1, {"a": ""}]) == [1, {}]


def test_compact_json_is_json() -> None:
    value = {"short": [1, 2], "long": ["x" * 50, "y" * 50], "deep": {"a": {"b": ["z" * 80]}}, "empty": {}}
    text = compact(value, width=60)
    assert json.loads(text) == value
    assert '  "short": [1, 2]' in text
    for columns in range(20, 60):
        rows = compact({"_client": {"name": "hd-1", "entry": "x" * 10}, "b": [1, 2]}, width=columns).splitlines()
        assert all(len(row) <= columns or row.count('"') == 4 for row in rows), "a text is never torn"
    assert compact(7) == "7"
    assert compact([]) == "[]"
