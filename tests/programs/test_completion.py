"""What completes command lines: what may come next, and bash asking for it."""

import subprocess

import pytest
from typer.testing import CliRunner

from eps.programs import eps
from eps.programs.completion import Shell, next_words, script
from eps.programs.diagnosis import known
from support.command_lines import APPS, command_of
from support.machine import shell_environment


def words(*typed: str, program: str = "eps") -> list[str]:
    return [word for word, _ in next_words(command_of(program), typed)]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (("ser",), ["server"]),
        (("sd", "get"), ["get-entries"]),
        (("server", "run", "--ta"), ["--take-over"]),
        (("server", "run", "--lev"), ["--level"]),
        (("--level", "de"), ["debug"]),
        (("server", "run", "--level", "w"), ["warn"]),
        (("demo", "--store", ""), ["sqlite", "file", "redis"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("config", "check", "--program", ""), ["eps", "sd", "proxy"]),
        (("sd", "sign", ""), []),
        (("call", "--timeout", ""), []),
        (("--level=debug", "ver"), ["version"]),
        (("nonsense", "ver"), ["version"]),
        (("explain", "a", "b", "c", ""), []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_may_come_next(typed: tuple[str, ...], found: list[str]) -> None:
    assert words(*typed) == found


def test_every_program_has_commands_that_mean_the_same() -> None:
    for program in APPS:
        assert {"version", "store", "config", "completion", "man"} <= set(words(program=program))


def test_operators_and_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    def names(*, methods: bool) -> list[tuple[str, str]]:
        return [("hd-2._ping", ""), ("ls-1.add", "")] if methods else [("hd-2", "health-departments"), ("ls-1", "")]

    monkeypatch.setattr(known, "names_for_completion", names)
    assert words("call", "hd") == ["hd-2._ping"]
    assert words("ping", "") == ["hd-2", "ls-1"] == words("explain", "hd-1", "")
    assert words("explain", "hd-1", "hd-2", "") == ["_ping", "add"] and words("doctor", "l") == ["ls-1"]
    assert words("sd", "get-entries", "--name", "h") == ["hd-2"] == words("directory", "show", "hd")
    assert words("call", "hd-2._ping", "") == []


def test_what_is_not_known_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings, no copy: nobody is asked on the network."""
    monkeypatch.delenv("EPS_SETTINGS", raising=False)
    assert known.names_for_completion(methods=True) == [] == known.names_for_completion(methods=False)


@pytest.mark.parametrize("program", APPS)
def test_bash_asks_the_program(program: str) -> None:
    line = f"source <({program} completion bash); COMP_WORDS=({program} vers); COMP_CWORD=1; "
    line += f'_{program}_words; echo "${{COMPREPLY[@]}}"; complete -p {program}'
    done = subprocess.run(
        ["bash", "-c", line],
        env=shell_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["version", f"complete -o default -F _{program}_words {program}"], done


@pytest.mark.parametrize("shell", [Shell.ZSH, Shell.FISH])
def test_other_shells_ask_the_same(shell: Shell) -> None:
    text = script("sd", shell)
    assert "sd completion words -- " in text and "{" not in text.replace("{ autoload", "").replace("${", "").replace(
        "() {", ""
    )


def test_the_command_prints_the_script() -> None:
    done = CliRunner().invoke(eps.app, ["completion", "fish"])
    assert (done.exit_code, done.stdout) == (0, script("eps", Shell.FISH))
