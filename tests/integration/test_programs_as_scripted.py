"""The seven commands, letter by letter as users have them in their scripts, on the real ports."""

import asyncio
import json
import shutil

import pytest

from support.machine import SERVERS, Machine

pytestmark = pytest.mark.xdist_group("dev-network")

COMMANDS = {
    "sd-1": "SD_SETTINGS=settings/dev/roles/sd-1 sd run",
    "public-proxy-1": "PROXY_SETTINGS=settings/dev/roles/public-proxy-1 proxy run public",
    "hd-1": "EPS_SETTINGS=settings/dev/roles/hd-1 eps server run",
    "hd-2": "EPS_SETTINGS=settings/dev/roles/hd-2 eps server run",
    "public-proxy-eps-1": "EPS_SETTINGS=settings/dev/roles/public-proxy-eps-1 eps server run",
}

CURL = (
    "curl --cert settings/dev/certs/hd-1.crt --key settings/dev/certs/hd-1.key --cacert settings/dev/certs/root.crt "
    "--resolve hd-1:5555:127.0.0.1 https://hd-1:5555/jsonrpc "
    '--header "Content-Type: application/json" '
    """--data '{"method": "hd-2._ping", "id": "1", "params": {}, "jsonrpc": "2.0"}'"""
)


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("make") is None, reason="there is no curl or no make")
async def test_the_seven_commands(dev: Machine) -> None:
    for role, command in COMMANDS.items():
        dev.processes[role] = await dev.spawn_shell(role, command.replace(" ", " exec ", 1))
    # -o: what is installed counts as up to date, although a copy of the Makefile asks
    setup = await dev.run("make", "-o", ".venv/.run", "sd-setup")
    assert setup.code == 0, setup
    assert "submitted 30 records" in setup.out
    await asyncio.gather(*(dev.processes[role].wait_for(message=" is running") for role in SERVERS))
    async with asyncio.timeout(30):
        while "serverInfo" not in (answer := await dev.run("sh", "-c", CURL)).out:
            await asyncio.sleep(0.1)
    assert answer.code == 0, answer
    body = json.loads(answer.out)
    assert body["jsonrpc"] == "2.0"
    assert body["id"] == "1"
    assert body["result"]["serverInfo"]["name"] == "hd-2"
    assert body["result"]["params"]["_client"]["name"] == "hd-1"
    if shutil.which("jq") is not None:
        piped = await dev.run("sh", "-c", f"{CURL} | jq .")
        assert piped.code == 0
        assert json.loads(piped.out)["result"]["version"] == body["result"]["version"]
    text = dev.processes["hd-1"].log()
    assert "step 1 of 6" in text and "step 6 of 6" in text


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
async def test_the_setup_for_tests_takes_the_whole_folder(dev: Machine) -> None:
    test = dev.folder / "settings" / "test"
    shutil.copytree(dev.folder / "settings" / "dev", test)
    for file in test.glob("roles/*/*.yml"):
        file.write_text(file.read_text().replace("settings/dev", "settings/test").replace(".eps/", ".eps/test/"))
    more = {"name": "op-9", "section": "groups", "data": ["last"], "created_at": "2026-11-22T00:00:00Z"}
    (test / "directory" / "100_more.json").write_text(json.dumps({"records": [more]}))
    (test / "directory" / "notes.txt").write_text("no records")
    dev.processes["sd-1"] = await dev.spawn_shell("sd-1", "SD_SETTINGS=settings/test/roles/sd-1 exec sd run")
    setup = await dev.run("make", "-o", ".venv/.run", "sd-test-setup")
    assert setup.code == 0, setup
    assert "submitted 31 records" in setup.out
    for options, groups in ((("--name", "op-9"), [["last"]]), (("-name=nobody",), [])):
        told = await dev.run("eps", "sd", "get-entries", *options, EPS_SETTINGS="settings/test/roles/hd-1")
        assert told.code == 0, told
        assert told.err == ""
        assert [entry["groups"] for entry in json.loads(told.out)] == groups
    assert told.out == "[]\n"
