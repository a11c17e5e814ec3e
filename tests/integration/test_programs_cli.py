"""The command lines as administrators and their scripts use them."""

import asyncio
import json
import os
import pstats
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from eps import __version__
from eps.errors import EpsError
from support.machine import DIRECTORY, SERVERS, Machine

IRIS_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)) (?P<level>[A-Z]+) (?P<pid>\d+) "
    r"(?P<service>EPS|PRO|SD_) \[nan\] (?P<function>\S+) : (?P<message>.+)"
)
THOUSAND_RECORDS = float(os.environ.get("EPS_THOUSAND_RECORDS_SECONDS", "60"))
"""1 s on a quiet machine, most of it starting Python; the promise is 3 s, and `make soak` asks for it."""

SERVICES = {"sd-1": "SD_", "public-proxy-1": "PRO", "hd-1": "EPS"}


@pytest.mark.parametrize("program", ["eps", "sd", "proxy"])
async def test_help_and_version_need_no_settings(machine: Machine, program: str) -> None:
    bare = ("env", "-u", "EPS_SETTINGS", "-u", "SD_SETTINGS", "-u", "PROXY_SETTINGS", program)
    done = await machine.run(*bare, "--level", "error", "--format", "iris", "version")
    assert (done.code, done.out, done.err) == (0, f"{__version__}\n", "")
    done = await machine.run(*bare, "--help")
    assert done.code == 0
    assert done.out.startswith("Usage: ")
    assert f"{program.upper()}_SETTINGS" in done.out
    assert done.err == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_end_servers_cleanly(machine: Machine, number: int) -> None:
    await machine.ready()
    assert (await machine.ping()).error is None
    for role in SERVERS:
        process = machine.processes[role]
        assert await machine.stop(role, number) == 0
        last = [line["message"] for line in process.lines[-2:]]
        assert "stopped" in last
        assert "stopping" in [line["message"] for line in process.lines]
        assert "Traceback" not in process.log()


@pytest.mark.parametrize("wait", [0.0, 0.2, 0.4, 0.6])
async def test_a_signal_while_it_starts(machine: Machine, wait: float) -> None:
    """From the first moment on: either the system ends it, or it ends cleanly; never with a traceback."""
    process = await machine.launch("hd-1")
    del machine.processes["hd-1"]
    await asyncio.sleep(wait)
    code = await process.end(signal.SIGTERM)
    assert code in (0, -signal.SIGTERM)
    assert "Traceback" not in process.log()


async def test_a_second_signal_does_no_harm(machine: Machine) -> None:
    await machine.start("hd-1")
    process = machine.processes.pop("hd-1")
    for _ in range(3):
        process.send(signal.SIGINT)
    assert await process.end(signal.SIGTERM) == 0
    assert "Traceback" not in process.log()


@pytest.mark.parametrize("role", SERVICES)
async def test_the_iris_log_format(machine: Machine, role: str) -> None:
    process = await machine.launch(role, "--format", "iris", "--level", "trace")
    await process.wait_for(message=" is running")
    await machine.stop(role)
    for line in process.raw:
        found = IRIS_LINE.fullmatch(line.rstrip("\n"))
        assert found, line
        assert found["pid"] == str(process.pid)
        assert found["service"] == SERVICES[role]
    assert any(" INFO " in line and line.endswith(" : stopped\n") for line in process.raw)


async def test_standard_streams_that_are_closed_or_broken(machine: Machine) -> None:
    """A server goes on without anybody to read its log or what its stdout channel prints."""
    printer = {"channels": [{"name": "printer", "type": "stdout", "settings": {}}]}
    (machine.dev / "roles" / "hd-1" / "003_printer.json").write_text(json.dumps(printer))
    await machine.start("sd-1")
    await machine.setup_directory()
    process = await machine.spawn_shell("hd-1", "exec eps server run <&- >&- 2>&-", **machine.environment("hd-1"))
    async with asyncio.timeout(60):
        while True:
            try:
                if (await machine.call("hd-1._ping")).error is None:
                    break
            except EpsError:
                await asyncio.sleep(0.05)
    answer = await machine.call("hd-1.anything")
    assert answer.error is None, answer.error  # printed to nowhere
    assert await process.end(signal.SIGTERM) == 0
    assert process.log() == ""


async def test_levels(machine: Machine) -> None:
    process = await machine.launch("hd-1", "--level", "error")
    port = machine.ports.of[5555]
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                break
    writer.close()
    await writer.wait_closed()
    await machine.stop("hd-1")
    assert process.log() == ""


@pytest.mark.parametrize("role", ["sd-1", "hd-1"])
async def test_profiles(machine: Machine, role: str) -> None:
    process = await machine.launch(role, "--profile", "slow")
    await process.up()
    assert await machine.stop(role) == 0
    await process.wait_for(text="profiles are in slow.cpu.prof and slow.memory.txt")
    stats: Any = pstats.Stats(str(machine.folder / "slow.cpu.prof"))
    assert any("eps" in place[0] for place in stats.stats)
    assert "size=" in (machine.folder / "slow.memory.txt").read_text()


async def test_sign_and_verify(machine: Machine) -> None:
    (machine.folder / "order.json").write_text('{"text": "Grüße", "number": 1.5}')
    signed = await machine.run("eps", "sd", "sign", "order.json")
    assert signed.code == 0
    assert set(json.loads(signed.out)) == {"signature", "data"}
    file = machine.folder / "signed.json"
    file.write_text(signed.out)
    good = await machine.run("eps", "sd", "verify", "signed.json", "hd-1", role="hd-2")
    assert (good.code, good.out) == (0, "")
    assert "signed by hd-1" in good.err
    for name, content in (("hd-2", signed.out), ("hd-1", signed.out.replace("Grüße", "Gruß"))):
        file.write_text(content)
        bad = await machine.run("eps", "sd", "verify", "signed.json", name)
        assert (bad.code, bad.out) == (1, "")
        assert "error: signed.json: " in bad.err
    for content in ("{}", "[1]", "no JSON", '{"signature": {}, "data": {}}'):
        file.write_text(content)
        bad = await machine.run("eps", "sd", "verify", "signed.json", "hd-1")
        assert (bad.code, bad.out) == (1, "")
        assert "Traceback" not in bad.err


async def test_the_directory_commands(machine: Machine) -> None:
    await machine.start("sd-1")
    empty = await machine.run("eps", "sd", "get-entries")
    assert (empty.code, json.loads(empty.out)) == (0, [])
    base, certificates = "settings/dev/directory/001_base.json", "settings/dev/directory/002_certificates.json"
    done = await machine.run("eps", "sd", "submit-records", "--json", "--reset", base, certificates)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["records"] == 30
    loaded = await machine.processes["sd-1"].wait_for(kind="directory", records=30)
    assert loaded["tip"] == json.loads(done.out)["tip"]
    entries = await machine.run("eps", "sd", "get-entries")
    assert len(json.loads(entries.out)) == 10
    shown = json.loads(done.out)
    assert (shown["doubts"], {change["operator"] for change in shown["changes"]} >= {"hd-1", "op-1"}) == ([], True)
    one = await machine.run("eps", "sd", "get-entries", "--name", "hd-2")
    assert [entry["name"] for entry in json.loads(one.out)] == ["hd-2"]
    nobody = await machine.run("eps", "sd", "get-entries", "--name", "nobody")
    assert (nobody.code, nobody.out) == (0, "[]\n")  # as servers in use: scripts count on it
    head = await machine.run("sh", "-c", "eps sd get-entries | head -1")
    assert (head.code, head.out, head.err) == (0, "[\n", "")
    closed = await machine.run("sh", "-c", "eps sd get-entries >&-; exit 0")
    assert "Traceback" not in closed.err


async def test_what_would_be_submitted_is_shown_and_doubted(machine: Machine) -> None:
    await machine.start("sd-1")
    await machine.setup_directory()
    change = {"name": "hd-2", "section": "groups", "data": ["health-departments", "more"]}
    dry = await machine.submit([change], "--dry-run")
    assert (dry.code, dry.out) == (0, "hd-2\n  groups\n    + more\n"), dry
    assert dry.err.splitlines()[-1] == "nothing was submitted"
    proxied = {"type": "grpc_server", "settings": {"address": "localhost:8889", "proxy": "public-proxy-1.gb"}}
    doubtful = {"name": "hd-2", "section": "channels", "data": [{"type": "grpc_client"}, proxied]}
    strict = await machine.submit([doubtful], "--strict")
    assert (strict.code, strict.out) == (1, ""), strict
    warning = "change.json: records[0].data[1].settings.proxy: there is no operator 'public-proxy-1.gb'"
    assert f"{warning}; did you mean public-proxy-1.ga?" in strict.err and "--strict allows none" in strict.err
    assert (await machine.submit([change], "--dry-run")).out == dry.out, "nothing has changed"
    done = await machine.submit([doubtful])
    assert done.code == 0 and done.out.startswith("submitted 1 record; the directory's tip is now ")
    assert warning in done.err and "    - grpc_server address=localhost:" in done.err


async def test_a_batch_is_all_or_nothing_and_its_error_names_the_record(machine: Machine) -> None:
    await machine.start("sd-1")
    await machine.setup_directory()
    good = [{"name": "new", "section": "groups", "data": ["g"]}]
    bad = [*good, {"name": "new", "section": "groups", "data": "no list"}]
    done = await machine.submit(bad)
    assert (done.code, done.out) == (1, "")
    assert "change.json" in done.err
    assert "records[1]" in done.err
    assert (await machine.run("eps", "sd", "get-entries", "--name", "new")).out == "[]\n"
    done = await machine.run("eps", "sd", "submit-records", "settings/dev/directory/001_base.json", role="hd-2")
    assert (done.code, done.out) == (1, "")
    assert "sd-admin" in done.err
    done = await machine.run("eps", "sd", "submit-records", "missing.json")
    assert done.code == 1
    assert "missing.json: can't be read" in done.err
    assert (await machine.submit(good)).code == 0


async def test_submitting_waits_no_longer_than_it_is_told(machine: Machine) -> None:
    began = time.monotonic()
    done = await machine.run("eps", "sd", "submit-records", "--wait", "1", "settings/dev/directory/001_base.json")
    assert 1 <= time.monotonic() - began < 15
    assert (done.code, done.out) == (1, "")
    assert (
        f"the service directory at https://localhost:{machine.ports.of[3322]}/jsonrpc: connection refused" in done.err
    )


async def test_ctrl_c_in_a_command(machine: Machine) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", machine.ports.of[3322]):
        waiting = await machine.spawn("hd-1", "eps", "sd", "submit-records", "--wait", "60", DIRECTORY)
        async with asyncio.timeout(60):
            await asked.wait()
        assert await waiting.end(signal.SIGINT) == 130
    told = waiting.log().splitlines()  # no traceback, and nothing of what was under way
    assert all(line.startswith(("warning: it can't be told", "  ", "hint")) for line in told), told


async def test_a_thousand_records_in_one_command_and_the_next_as_fast(machine: Machine) -> None:
    await machine.start("sd-1")
    took = []
    for part in range(3):
        records = [
            {"name": f"op-{part}-{number}", "section": "groups", "data": ["g", str(number)],
             "created_at": "2026-11-22T00:00:00Z"}
            for number in range(1000)
        ]  # fmt: skip
        (machine.folder / "many.json").write_text(json.dumps({"records": records}))
        began = time.monotonic()
        reset = ["--reset"] if not part else []
        done = await machine.run("eps", "sd", "submit-records", *reset, "many.json", timeout=THOUSAND_RECORDS + 10)
        took.append(time.monotonic() - began)
        assert done.code == 0, done
    print(f"\n1,000 records each: {', '.join(f'{seconds:.2f} s' for seconds in took)}")
    assert max(took) < THOUSAND_RECORDS


async def test_config_check(machine: Machine) -> None:
    everything = {
        "EPS_SETTINGS": "settings/dev/roles/hd-1",
        "SD_SETTINGS": "settings/dev/roles/sd-1",
        "PROXY_SETTINGS": "settings/dev/roles/public-proxy-1",
    }
    done = await machine.run("eps", "config", "check", **everything)
    assert done.code == 0
    assert [line.split(":")[0] for line in done.out.splitlines() if ": the settings are fine" in line] == [
        "eps",
        "sd",
        "proxy",
    ]
    (machine.dev / "certs" / "sd-1.key").unlink()
    done = await machine.run("eps", "config", "check", "--json", **everything)
    assert done.code == 1
    reports = json.loads(done.out)
    assert [(report["program"], report["ok"]) for report in reports] == [("eps", True), ("sd", False), ("proxy", True)]
    assert any("sd-1.key" in problem["text"] for problem in reports[1]["problems"])
    done = await machine.run("eps", "config", "check", "--program", "sd", **everything)
    assert done.code == 1
    assert "sd-1.key" in done.out + done.err
    done = await machine.run("eps", "config", "check", "--program", "fax")
    assert done.code == 1
    assert "fax" in done.err
    done = await machine.run("env", "-u", "EPS_SETTINGS", "eps", "config", "check")
    assert done.code == 1
    assert "EPS_SETTINGS, SD_SETTINGS, PROXY_SETTINGS" in done.err


async def test_certificates_are_not_renewed_under_a_running_server(machine: Machine) -> None:
    await machine.start("sd-1")
    before = (machine.dev / "certs" / "root.crt").read_bytes()
    done = await machine.run("eps", "dev", "certs")
    assert done.code == 1
    assert "a server is running on .eps/sd-1" in done.err.replace(f"{machine.folder}/", "")
    assert (machine.dev / "certs" / "root.crt").read_bytes() == before
    await machine.stop("sd-1")
    done = await machine.run("eps", "dev", "certs")
    assert done.code == 0
    assert "removed the old network's state" in done.out
    assert not Path(machine.folder / ".eps" / "sd-1").exists()
