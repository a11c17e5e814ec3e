"""The commands that look, beside the real programs: what they say while all is well, and when something is not."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from eps.programs.diagnosis import commands as looking
from support.machine import Done, Machine


@dataclass(frozen=True)
class Here:
    """Runs commands in this process, which spares it the start of so many."""

    capsys: pytest.CaptureFixture[str]

    async def run(self, work: Callable[[], int]) -> Done:
        self.capsys.readouterr()
        code = await asyncio.to_thread(work)
        return Done(code, *self.capsys.readouterr())

    async def ping(self, peer: str) -> Done:
        return await self.run(lambda: looking.with_settings(partial(looking.ping, peer, 2, 15.0, False)))

    async def explain(self, method: str) -> Done:
        return await self.run(lambda: looking.with_settings(partial(looking.explain, "hd-1", "hd-2", method, False)))

    async def methods(self, operator: str, as_json: bool = False) -> Done:
        return await self.run(lambda: looking.with_settings(partial(looking.methods, operator, as_json)))

    async def doctor(self, peer: str = "") -> dict[str, Any]:
        done = await self.run(lambda: looking.doctor(peer, True))
        found: dict[str, Any] = json.loads(done.out)
        assert done.code == (0 if found["well"] else 1), done
        return found

    async def wrong(self, peer: str = "") -> list[dict[str, Any]]:
        return [one for one in (await self.doctor(peer))["findings"] if one["mark"] == "wrong"]


@pytest.fixture
def here(machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    monkeypatch.chdir(machine.folder)
    for name, value in machine.environment("hd-1").items():
        monkeypatch.setenv(name, value)
    return Here(capsys)


async def test_looking_at_a_network(machine: Machine, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    await machine.ready()
    await what_is_well(here)
    done = await machine.run("eps", "doctor", "hd-2", COLUMNS="120")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("nothing is wrong\n")
    done = await machine.run("eps", "completion", "words", "--", "call", "")
    assert {"hd-2._ping", "ls-1.add", "hd-1._ping"} <= set(done.out.split()) and "op-2" not in done.out
    done = await machine.run("eps", "completion", "words", "--", "ping", "hd-")
    assert done.out == "hd-1\thealth-departments\nhd-2\thealth-departments\n"

    for variable, role, work in (
        ("SD_SETTINGS", "sd-1", looking.sd_doctor),
        ("PROXY_SETTINGS", "public-proxy-1", looking.proxy_doctor),
    ):
        monkeypatch.setenv(variable, f"settings/dev/roles/{role}")
        done = await here.run(partial(work, False))
        assert done.code == 0, done.out
        assert done.out.endswith("nothing is wrong\n")
    monkeypatch.setenv("PROXY_SETTINGS", "settings/dev/roles/private-proxy-1")
    done = await here.run(partial(looking.proxy_doctor, True))
    assert [one["group"] for one in json.loads(done.out)["findings"] if one["mark"] == "wrong"] == [
        "running server",
        "our EPS server",
        "internal server",
    ]

    await machine.stop("hd-2")
    (first, *_) = await here.wrong("hd-2")
    assert (first["group"], first["side"]) == ("the way to hd-2", "peer")
    done = await here.ping("hd-2")
    assert done.code == 1
    assert done.out.splitlines()[1:] == ["version     not reached", "times       none answered"]
    assert "where: stage broker, side peer" in done.err

    await machine.stop("sd-1")
    await machine.stop("hd-1")
    assert [one["group"] for one in await here.wrong()] == ["running server", "service directory"]
    assert (await here.run(lambda: looking.sd_doctor(False))).code == 1


async def what_is_well(here: Here) -> None:
    done = await here.ping("hd-2")
    assert done.code == 0, done
    path, version, times = done.out.splitlines()
    assert path == "path        hd-1 → hd-2, behind the proxy public-proxy-1.ga"
    assert version.startswith("version     ")
    assert times.startswith("times       2 of 2 answered; min ")
    done = await here.explain("_ping")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("✓ hd-1 may call _ping of hd-2\n")
    assert "signed by hd-1 (certificate " in done.out
    assert "our server's verified copy, confirmed " in done.out
    assert (await here.explain("nix")).code == 1
    done = await here.methods("ls-1", as_json=True)
    assert {one["method"] for one in json.loads(done.out)} == {"add", "lookup", "_ping"}
    assert "may call no method of sd-9" not in (await here.methods("")).err
    done = await here.methods("hd-9")
    assert (done.code, done.out) == (2, "")
    assert "hd-9 is not in the directory" in done.err

    assert (await here.doctor())["findings"][-1]["group"] == "streams"
    found = await here.doctor("hd-2")
    assert found["well"], found
    timed = [one["what"] for one in found["findings"] if one["group"] == "the way to hd-2" and one["seconds"]]
    assert len(timed) == 4, timed
    assert (await here.run(lambda: looking.doctor("hd-9", False))).code == 2


async def test_nothing_runs_and_nothing_is_known(machine: Machine, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    done = await machine.run("eps", "explain", "hd-1", "hd-2", "_ping")
    assert (done.code, done.out) == (1, "")
    assert "there is no verified copy of the directory" in done.err
    assert "connection refused" in done.err
    assert (await here.ping("hd-2")).out.startswith("path        not known here")
    found = await here.doctor("hd-2")
    assert [one["group"] for one in found["findings"] if one["mark"] == "wrong"] == [
        "running server",
        "service directory",
        "service directory",
    ]
    monkeypatch.setenv("EPS_SETTINGS", "nowhere")
    done = await here.run(lambda: looking.doctor("", False))
    assert done.code == 2
    assert "✗ nowhere" in done.out
    assert (await here.ping("hd-2")).code == 2
    for variable, work in (("SD_SETTINGS", looking.sd_doctor), ("PROXY_SETTINGS", looking.proxy_doctor)):
        monkeypatch.setenv(variable, "nowhere")
        assert (await here.run(partial(work, False))).code == 2
