"""``eps demo`` on a stand-in for a fresh clone: what it shows, and that it leaves nothing running however it ends."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
from pathlib import Path

import pytest

from support.machine import BIN, Machine
from support.redis_server import needs_redis

pytestmark = pytest.mark.xdist_group("dev-network")

STEP = re.compile(r"^  ([1-6])  +-?([0-9.]+) ms  (\S+) +\S")


def left_running(folder: Path) -> list[str]:
    """The command lines of all processes that work in ``folder``."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and Path(os.readlink(process / "cwd")) == folder:
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


class Show:
    """A running demo."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until(self, text: str) -> None:
        """Read on until a line with ``text``."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            async for raw in self.process.stdout:
                self.lines.append(raw.decode().rstrip("\n"))
                if text in self.lines[-1]:
                    return
        raise AssertionError(f"no {text!r} in {self.lines} {await self.process.communicate()}")

    async def end(self) -> tuple[int, str, str]:
        """Exit code, output and messages."""
        async with asyncio.timeout(60):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, "\n".join(self.lines) + out.decode(), err.decode()


async def demo(dev: Machine, *options: str) -> Show:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_SETTINGS")}
    made = await asyncio.create_subprocess_exec(
        BIN / "eps",
        "demo",
        *options,
        cwd=dev.folder,
        env=environment | {"COLUMNS": "80"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return Show(made)


async def test_once(dev: Machine) -> None:
    shutil.rmtree(dev.dev / "certs")  # a fresh clone has none
    (dev.dev / "directory" / "002_certificates.json").unlink()
    code, out, err = await (await demo(dev, "--once")).end()
    assert (code, err) == (0, ""), out
    lines = out.splitlines()
    steps = [(int(found[1]), float(found[2]), found[3]) for line in lines if (found := STEP.match(line))]
    assert [(step, who) for step, _, who in steps[:8]] == [
        (1, "hd-1"),
        (2, "hd-1"),
        (3, "public-proxy-1.ga"),
        *sorted([(4, "public-proxy-1.ga"), (4, "hd-2")], key=lambda item: [s[::2] for s in steps].index(item)),
        (5, "hd-1"),
        *sorted([(6, "public-proxy-1.ga"), (6, "hd-1")], key=lambda item: [s[::2] for s in steps].index(item)),
    ]
    assert 0 <= steps[0][1] <= steps[7][1] < 5000
    assert '"name": "hd-2"' in out
    assert "from start to answer: " in out
    assert left_running(dev.folder) == []


async def test_ctrl_c_during_the_wait_pressed_twice(dev: Machine) -> None:
    show = await demo(dev)
    await show.until("metrics of hd-1")
    logs = sorted(path.name for path in (dev.folder / ".eps" / "demo-logs").iterdir())
    assert {"hd-1.log", "hd-2.log", "public-proxy-1.log", "public-proxy-eps-1.log", "sd-1.log"} <= set(logs)
    answer = await dev.run("eps", "call", "hd-2._ping")
    assert answer.code == 0, answer
    show.process.send_signal(signal.SIGINT)
    await show.until("stopping")
    show.process.send_signal(signal.SIGINT)
    show.process.send_signal(signal.SIGTERM)
    code, _, err = await show.end()
    assert (code, err) == (0, "")
    assert left_running(dev.folder) == []


@pytest.mark.parametrize(
    ("sign", "once"), [("The network", False), ("starting", True), ("signed", False), ("hd-1 calls", True)]
)
async def test_ended_while_it_starts(dev: Machine, sign: str, once: bool) -> None:
    show = await demo(dev, *(["--once"] if once else []))
    await show.until(sign)
    show.process.send_signal(signal.SIGTERM if once else signal.SIGINT)
    code, out, err = await show.end()
    assert "Traceback" not in err
    assert (code, err) == ((1, "error: the demo was interrupted\n") if once else (0, "")), out
    assert left_running(dev.folder) == []


async def test_whoever_reads_has_enough(dev: Machine) -> None:
    done = await dev.run("sh", "-c", "eps demo | head -2")
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == 2
    async with asyncio.timeout(20):
        while left_running(dev.folder):  # head and its shell end before the demo does
            await asyncio.sleep(0.05)


async def test_a_terminal_that_is_closed(dev: Machine) -> None:
    """Whoever started it has hung up, and nobody reads."""
    show = await demo(dev)
    await show.until("starting")
    transport = show.process._transport  # type: ignore[attr-defined]  # there is no public way to hang up
    transport.get_pipe_transport(1).close()
    show.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(30):
        assert await show.process.wait() in (0, 1)
    assert left_running(dev.folder) == []


@pytest.mark.parametrize("sign", ["starting", "metrics of hd-1"])
async def test_killed_it_leaves_nothing_either(dev: Machine, sign: str) -> None:
    show = await demo(dev)
    await show.until(sign)
    show.process.kill()
    await show.end()
    async with asyncio.timeout(30):
        while left_running(dev.folder):
            await asyncio.sleep(0.02)


async def test_a_taken_port_is_named(dev: Machine) -> None:
    with socket.create_server(("127.0.0.1", 5556)):
        code, out, err = await (await demo(dev, "--once")).end()
    assert code == 1
    assert "starting" not in out
    assert "5556 (for public-proxy-eps-1)" in err
    assert "ss -ltnp" in err


@pytest.mark.parametrize("role", ["hd-2", "private-proxy-eps-1"])
async def test_a_server_that_dies_is_told(dev: Machine, role: str) -> None:
    show = await demo(dev)
    await show.until("metrics of hd-1")
    log = (dev.folder / ".eps" / "demo-logs" / f"{role}.log").read_text()
    os.kill(json.loads(log.splitlines()[0])["pid"], signal.SIGKILL)
    code, _, err = await show.end()
    assert code == 1
    assert f"error: {role} has ended by itself, by SIGKILL; the last lines of its log:\n    " in err
    assert f"{role}.log" in err
    assert left_running(dev.folder) == []


@pytest.mark.parametrize("role", ["hd-2", "internal-server"])
async def test_a_server_that_cannot_start_is_told_with_its_reason(dev: Machine, role: str) -> None:
    (dev.dev / "certs" / f"{role}.key").write_bytes((dev.dev / "certs" / "hd-1.key").read_bytes())
    code, _, err = await (await demo(dev, "--once")).end()
    assert code == 1
    assert f"error: {role} has ended by itself, exit code 2; the last lines of its log:\n    " in err
    assert re.search(rf"fatal .*{role}.key: the key does not fit", err)
    assert "hint:  mend what its log names, then start anew; the log is " in err
    assert left_running(dev.folder) == []


async def test_the_wrong_place(dev: Machine) -> None:
    shutil.rmtree(dev.dev / "roles")
    code, _, err = await (await demo(dev, "--once")).end()
    assert code == 1
    assert "there is no settings/dev/roles in" in err
    assert "in the root of the repository" in err


@needs_redis
@pytest.mark.parametrize("store", ["redis", "file"])
async def test_the_demo_on_another_store(dev: Machine, store: str) -> None:
    show = await demo(dev, "--once", "--store", store)
    code, out, err = await show.end()
    assert code == 0, out + err
    assert "The answer to GET /jsonrpc" in out
    kept = dev.folder / ".eps" / "demo-stores" / store
    assert {path.name for path in kept.glob("*.json")} == {"sd-1.json", "public-proxy-1.json", "private-proxy-1.json"}
    if store == "redis":
        log = (dev.folder / ".eps" / "demo-redis" / "redis.log").read_text()
        assert "a Redis server of our own" in out and "bye bye" in log
    else:
        assert (kept / "sd-1.entries").stat().st_size > 1000
    assert left_running(dev.folder) == []
