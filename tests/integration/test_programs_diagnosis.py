"""The commands that look, beside the real programs: what they say while all is well, and when something is not."""

import asyncio
import http.client
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from eps.programs.diagnosis import commands as looking
from eps.transport.tls import client_context
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
        return await self.run(lambda: looking.with_settings(partial(looking.methods, operator, as_json, True)))

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


@pytest.mark.timeout(600)  # some twenty commands: half a minute, and several on a machine that is busy
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

    await what_was_traced(machine, here, monkeypatch)
    await what_went_down_a_stream(machine, here, monkeypatch)
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
    done = await here.methods("ls-1", as_json=True)
    assert {one["method"] for one in json.loads(done.out)} == {"add", "lookup", "_ping"}
    done = await here.methods("hd-9")
    assert (done.code, done.out) == (2, "")
    assert "hd-9 is not in the directory" in done.err

    found = await here.doctor("hd-2")
    assert found["well"], found
    timed = [one["what"] for one in found["findings"] if one["group"] == "the way to hd-2" and one["seconds"]]
    assert len(timed) == 4, timed
    assert (await here.run(lambda: looking.doctor("hd-9", False))).code == 2


GIVEN = "4bf92f3577b34da6a3ce929d0e0e4736"


async def what_was_traced(machine: Machine, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    await machine.restart("hd-2")  # so that a connection is brokered anew
    await machine.until_ping(30.0)
    files = machine.application_files()
    context = client_context(files)
    context.check_hostname = False
    answer = await asyncio.to_thread(post, machine.ports.of[5555], context, f"00-{GIVEN}-00f067aa0ba902b7-01")
    assert answer["result"]["serverInfo"]["name"] == "hd-2"
    await asyncio.to_thread(post, machine.ports.of[5555], context, f"00-{GIVEN.upper()}-00f067aa0ba902b7-01")

    done = await here.run(partial(looking.trace, [GIVEN], True, True))
    (call,) = json.loads(done.out)["events"]
    assert call["text"] == "local call hd-1 → hd-2._ping: ok"
    assert 0 < call["there"] <= call["seconds"]
    opened_by = call["opened_by"]
    exports = []
    for name, work in (
        ("hd-1", partial(looking.trace, [opened_by], True, True)),
        ("hd-2", partial(looking.trace, [opened_by], True, True)),
        ("public-proxy-1", partial(looking.proxy_trace, opened_by, True, False)),
    ):
        monkeypatch.setenv("PROXY_SETTINGS" if "proxy" in name else "EPS_SETTINGS", f"settings/dev/roles/{name}")
        done = await here.run(work)
        assert done.code == 0, done
        exports.append(machine.folder / f"{name}.json")
        exports[-1].write_text(done.out)
    monkeypatch.setenv("EPS_SETTINGS", "settings/dev/roles/hd-1")
    done = await here.run(lambda: looking.trace([str(file) for file in exports], False, True))
    for step in range(1, 7):
        assert f"step {step} of 6" in done.out
    assert "by the proxy's clock hd-2 had answered after" in " ".join(done.out.split())
    assert f"trace {GIVEN}, over the connection that was opened for this one" in " ".join(done.out.split())

    listed = await here.run(partial(looking.trace, [], False, False))
    assert GIVEN in listed.out and GIVEN.upper() not in listed.out
    assert (await here.run(partial(looking.trace, ["1" * 32], False, False))).code == 1
    assert (await here.run(partial(looking.trace, ["no trace"], False, False))).code == 2
    assert (await here.run(partial(looking.proxy_trace, "no trace", False, False))).code == 2


async def what_went_down_a_stream(machine: Machine, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's operator can't dial hd-2: its call goes down the stream that hd-2 holds, and the trace with it."""
    given = "5" * 32
    context = client_context(machine.application_files("public-proxy-1.ga"))
    context.check_hostname = False
    answer = await asyncio.to_thread(post, machine.ports.of[5544], context, f"00-{given}-00f067aa0ba902b7-01")
    assert answer["error"]["data"]["reason"] == "no-permission", "so hd-2 was asked"
    exports = []
    for role in ("public-proxy-eps-1", "hd-2"):
        monkeypatch.setenv("EPS_SETTINGS", f"settings/dev/roles/{role}")
        done = await here.run(partial(looking.trace, [given], True, True))
        assert done.code == 0, done
        exports.append(machine.folder / f"{role}-stream.json")
        exports[-1].write_text(done.out)
    monkeypatch.setenv("EPS_SETTINGS", "settings/dev/roles/hd-1")
    done = await here.run(lambda: looking.trace([str(file) for file in exports], False, True))
    shown = " ".join(done.out.split())
    assert f"trace {given} from " in shown
    assert "local call public-proxy-1.ga → hd-2._ping: not_sent" in shown
    assert "incoming call public-proxy-1.ga → hd-2._ping: not_sent" in shown
    assert "of these at hd-2: not told" not in shown and "; of these at hd-2: " in shown


def post(port: int, context: ssl.SSLContext, traceparent: str) -> dict[str, Any]:
    """A call as an application makes it that traces its calls."""
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
    body = json.dumps({"method": "hd-2._ping", "id": "1", "params": {}, "jsonrpc": "2.0"})
    headers = {"Content-Type": "application/json", "traceparent": traceparent, "tracestate": "a=b"}
    try:
        connection.request("POST", "/jsonrpc", body, headers)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return answer


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
