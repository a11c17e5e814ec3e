"""The commands that look, beside the real programs: what they say while all is well, and when something is not."""

import json

from support.machine import Machine


async def test_looking_at_a_network(machine: Machine) -> None:
    done = await machine.run("eps", "explain", "hd-1", "hd-2", "_ping")
    assert (done.code, done.out) == (1, "")
    assert "there is no verified copy of the directory" in done.err
    assert "connection refused" in done.err
    await machine.ready()

    done = await machine.run("eps", "ping", "hd-2", "-n", "2")
    assert done.code == 0, done
    path, version, times = done.out.splitlines()
    assert path == "path        hd-1 → hd-2, behind the proxy public-proxy-1.ga"
    assert version.startswith("version     ")
    assert times.startswith("times       2 of 2 answered; min ")

    done = await machine.run("eps", "explain", "hd-1", "hd-2", "_ping")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("✓ hd-1 may call _ping of hd-2\n")
    assert "signed by hd-1 (certificate " in done.out
    assert "our server's verified copy, confirmed " in done.out
    done = await machine.run("eps", "explain", "hd-1", "hd-2", "nix", "--json")
    assert done.code == 1
    assert json.loads(done.out)["allowed"] is False

    done = await machine.run("eps", "methods", "ls-1", "--json")
    assert done.code == 0
    assert {one["method"] for one in json.loads(done.out)} == {"add", "lookup", "_ping"}
    done = await machine.run("eps", "methods", "hd-9")
    assert done.code == 2
    assert "hd-9 is not in the directory" in done.err

    done = await machine.run("eps", "completion", "words", "--", "call", "")
    assert {"hd-2._ping", "ls-1.add", "hd-1._ping"} <= set(done.out.split()) and "op-2" not in done.out
    done = await machine.run("eps", "completion", "words", "--", "ping", "hd-")
    assert done.out == "hd-1\thealth-departments\nhd-2\thealth-departments\n"

    await machine.stop("hd-2")
    done = await machine.run("eps", "ping", "hd-2")
    assert done.code == 1
    assert done.out.splitlines()[1:] == ["version     not reached", "times       none answered"]
    assert "where: stage broker, side peer; it was not executed" in done.err
    done = await machine.run("eps", "ping", "hd-2", EPS_SETTINGS="nowhere")
    assert done.code == 2
