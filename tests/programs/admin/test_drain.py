"""``proxy drain`` and ``eps server drain``: which server is meant, what is printed, and the exit code."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from eps.errors import EpsError, StartError
from eps.programs.admin import drain
from eps.programs.running.control import Session
from eps.programs.running.draining import Drained
from support.machine import Machine

PUBLIC = "the public proxy p"


class Server:
    """What a running server answers."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] | None = {
            "name": PUBLIC, "running": 2, "what": "connection", "timeout": 10.0, "already": False
        }  # fmt: skip
        self.words: list[dict[str, Any]] = [{"cut": 0}]
        self.asked: list[tuple[Path, str]] = []
        self.closed = False

    async def drain(self, folder: Path, name: str) -> Drained | None:
        self.asked.append((folder, name))
        return Drained(cast(Session, self), self.answer) if self.answer is not None else None

    async def receive(self, seconds: float) -> tuple[dict[str, Any], list[int]]:
        if not self.words:
            raise ConnectionResetError
        return self.words.pop(0), []

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def server(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(drain, "drain", made.drain)
    monkeypatch.chdir(machine.folder)
    for role in ("public-proxy-1", "hd-1"):
        for name, value in machine.environment(role).items():
            monkeypatch.setenv(name, value)
    return made


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_it_is_told_and_nobody_waits(server: Server, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert drain.drain_proxy("", wait=False, as_json=False) == 0
    assert said(capsys) == (
        f"{PUBLIC} ends: it takes no new connections, and the 2 connections that it has may end within 10 s\n"
    )
    assert server.asked == [(machine.folder / ".eps" / "public-proxy-1", "public-proxy.control")]
    assert server.closed
    assert len(server.words) == 1


def test_an_eps_server_has_calls(server: Server, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    server.answer = {"name": "hd-1", "running": 0, "what": "call", "timeout": 5.0, "already": True}
    assert drain.drain_server(wait=False, as_json=False) == 0
    assert said(capsys) == "hd-1 was ending already: it takes no new calls, and has none\n"
    assert server.asked == [(machine.folder / ".eps" / "hd-1", "eps.control")]


def test_its_end_is_waited_for(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert drain.drain_proxy("public", wait=True, as_json=False) == 0
    assert said(capsys).splitlines()[1] == f"{PUBLIC} has ended, after 0.0 s; nothing was cut"
    assert not server.words


def test_what_was_cut_is_a_failure(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.words = [{"cut": 1}]
    assert drain.drain_proxy("public", wait=True, as_json=False) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == (
        f"error: {PUBLIC} has ended, but 1 connection had not within drain_timeout (10 s), and had to be cut"
    )
    assert hint.startswith("hint:  calls that were running there may have been executed")


@pytest.mark.parametrize(
    ("wait", "cut", "code", "told"),
    [
        (False, 0, 0, {"ended": False, "cut": None}),
        (True, 0, 0, {"ended": True, "cut": 0}),
        (True, 2, 1, {"ended": True, "cut": 2}),
    ],
    ids=["at once", "ended", "cut"],
)
def test_json(
    server: Server, wait: bool, cut: int, code: int, told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server.words = [{"cut": cut}]
    assert drain.drain_proxy("", wait=wait, as_json=True) == code
    found = json.loads(capsys.readouterr().out)
    assert (found.pop("seconds") is not None) is wait
    assert found == {"name": PUBLIC, "connections": 2, "drain_timeout": 10.0, **told}


def test_nobody_runs(server: Server, machine: Machine) -> None:
    server.answer = None
    with pytest.raises(EpsError, match=f"no private proxy runs with the state folder {machine.folder}") as caught:
        drain.drain_proxy("private", wait=True, as_json=True)
    assert "those that it was started with" in caught.value.hint


def test_of_two_proxies_one_is_named(server: Server, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ":".join(f"settings/dev/roles/{role}" for role in ("public-proxy-1", "private-proxy-1"))
    monkeypatch.setenv("PROXY_SETTINGS", both)
    with pytest.raises(StartError, match="say which one"):
        drain.drain_proxy("", wait=False, as_json=False)
    assert server.asked == []
    assert drain.drain_proxy("private", wait=False, as_json=False) == 0
    assert [name for _, name in server.asked] == ["private-proxy.control"]


def test_what_is_doubtful_in_the_settings_is_said(
    server: Server, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine.dev / "roles" / "public-proxy-1" / "009_more.yml").write_text("metricks: {}\n")
    assert drain.drain_proxy("", wait=False, as_json=False) == 0
    assert "metricks" in capsys.readouterr().err
