"""The three command lines, in process: options, help, exit codes, and how a command ends."""

import errno
import io
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from eps import __version__
from eps.core.event import Level
from eps.errors import StartError
from eps.programs import cli, eps, proxy, sd, serving
from eps.programs.dev import internal_server
from eps.programs.running.logs import Format
from eps.programs.running.runtime import Options

PROGRAMS = {"eps": eps.app, "sd": sd.app, "proxy": proxy.app}
ALL = pytest.mark.parametrize("program", PROGRAMS)


def run(program: str, *words: str, **environment: str) -> Any:
    blank = {"EPS_SETTINGS": None, "SD_SETTINGS": None, "PROXY_SETTINGS": None}
    return CliRunner().invoke(PROGRAMS[program], words, env={**blank, **environment})


@ALL
def test_version(program: str) -> None:
    for words in (["version"], ["--version"], ["--level", "trace", "version"]):
        result = run(program, *words)
        assert (result.exit_code, result.stdout, result.stderr) == (0, f"{__version__}\n", "")


@ALL
def test_help_names_the_variable_and_the_options(program: str) -> None:
    for words in (["--help"], ["-h"]):
        result = run(program, *words)
        assert result.exit_code == 0
        for text in (f"{program.upper()}_SETTINGS", "--level", "--format", "--profile", "version"):
            assert text in result.stdout


def commands(app: typer.Typer, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [(*path, command.name or "") for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        found += commands(group.typer_instance, (*path, str(group.typer_instance.info.name)))
    return found


@pytest.mark.parametrize(
    ("program", "command"), [(name, command) for name, app in PROGRAMS.items() for command in commands(app)]
)
def test_every_command_has_help_without_settings(program: str, command: tuple[str, ...]) -> None:
    result = run(program, *command, "--help")
    assert result.exit_code == 0
    first = result.stdout.strip().splitlines()[2].strip()
    assert first[0].isupper()


@ALL
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["--level", "loud", "version"], "'loud' is not one of 'panic', 'fatal', 'error'"),
        (["--format", "xml", "version"], "'xml' is not one of 'text', 'iris', 'json'"),
        (["--nonsense"], "No such option: --nonsense"),
    ],
)
def test_wrong_words(program: str, words: list[str], says: str) -> None:
    result = run(program, *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert says in " ".join(result.stderr.split())


def test_proxy_wants_a_kind() -> None:
    result = run("proxy", "run", "sideways")
    assert result.exit_code == 2
    assert "No such command 'sideways'" in result.stderr
    assert all(kind in run("proxy", "run").stdout for kind in ("public", "private"))


@pytest.mark.parametrize(
    ("program", "words"),
    [("eps", ["server", "run"]), ("sd", ["run"]), ("proxy", ["run", "public"]), ("proxy", ["run", "private"])],
)
def test_servers_without_settings(program: str, words: list[str]) -> None:
    result = run(program, *words)
    assert result.exit_code == 2
    assert f"fatal {program.upper()}_SETTINGS: is not set" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["sd", "submit-records", "x.json"],
        ["sd", "get-entries"],
        ["sd", "sign", "x.json"],
        ["sd", "verify", "x.json", "hd-1"],
        ["config", "check"],
        ["call", "hd-2._ping"],
        ["call", "hd-2._ping", "-"],
    ],
)
def test_commands_without_settings(words: list[str]) -> None:
    result = CliRunner().invoke(eps.app, words, env={"EPS_SETTINGS": None}, input="{}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "EPS_SETTINGS" in result.stderr


def test_the_options_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, Options]] = []
    monkeypatch.setattr(serving, "run_server", lambda service, options, *_: seen.append((service, options)))
    assert run("sd", "--level", "debug", "--format", "iris", "--profile", "p", "run").exit_code == 0
    assert seen == [("SD_", Options(Level.DEBUG, level_given=True, format=Format.IRIS, profile="p"))]


@pytest.mark.parametrize(
    ("environment", "words", "seen"),
    [
        ({}, [], ("localhost:7777", True)),
        ({"IS_BIND_ADDRESS": ":8", "USE_TLS": "false"}, [], (":8", False)),
        ({"IS_BIND_ADDRESS": "", "USE_TLS": ""}, [], ("localhost:7777", True)),
        ({"USE_TLS": "1"}, [], ("localhost:7777", True)),
        ({"IS_BIND_ADDRESS": ":8", "USE_TLS": "true"}, ["--bind-address", ":9", "--no-tls"], (":9", False)),
    ],
)
def test_the_internal_server_reads_the_environment(
    environment: dict[str, str], words: list[str], seen: tuple[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, bool]] = []

    def record(root: Path, bind_address: str, emit: object, *, tls: bool) -> None:
        made.append((bind_address, tls))

    monkeypatch.setattr(internal_server, "InternalServer", record)
    monkeypatch.setattr(eps, "run_server", lambda service, options, build: build(None, None))
    blank: dict[str, str | None] = {"IS_BIND_ADDRESS": None, "USE_TLS": None}
    result = CliRunner().invoke(eps.app, ["dev", "internal-server", *words], env={**blank, **environment})
    assert (result.exit_code, made) == (0, [seen])


def leave(work: Any) -> int:
    with pytest.raises(typer.Exit) as caught:
        cli.guarded(work)
    return caught.value.exit_code


def test_how_commands_end(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: BaseException) -> Any:
        raise error

    assert leave(lambda: None) == 0
    assert leave(lambda: 3) == 3
    assert leave(lambda: fail(KeyboardInterrupt())) == 130
    assert leave(lambda: fail(StartError("no", hint="try"))) == 1
    assert capsys.readouterr().err == "error: no\nhint:  try\n"
    with pytest.raises(ZeroDivisionError):
        cli.guarded(lambda: fail(ZeroDivisionError()))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert leave(lambda: fail(BrokenPipeError())) == 1
    assert sys.stderr.closed


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 1), (errno.EPIPE, 1)])
def test_output_that_cannot_be_written(
    number: int, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(number, os.strerror(number))

    errors = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "stderr", errors)
    assert leave(lambda: None) == code
    if number == errno.EPIPE:
        assert errors.closed  # whoever read has enough: nothing to say
    else:
        assert errors.getvalue() == "error: the output can't be written: No space left on device\n"


@pytest.mark.parametrize("module", [eps, sd, proxy])
def test_the_console_scripts(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "version"])
    with pytest.raises(SystemExit) as caught:
        module.main()
    assert caught.value.code == 0


@pytest.mark.parametrize(("wanted", "count"), [([], 0), (["default"], 1)])
def test_what_libraries_say_to_programmers_is_kept_from_users(
    monkeypatch: pytest.MonkeyPatch, wanted: list[str], count: int
) -> None:
    """A stranger's certificate can cause such warnings. Who asks for them with -W gets them."""
    monkeypatch.setattr(sys, "warnoptions", wanted)

    def work() -> None:
        warnings.warn_explicit("serial number", UserWarning, "pem.py", 1, module="eps.core.pem")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        with pytest.raises(typer.Exit):
            cli.guarded(work)
    assert len(caught) == count
