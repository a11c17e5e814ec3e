"""Child programs: started, watched, ended; none is ever left."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from eps.errors import StartError
from eps.programs.dev import processes
from eps.programs.dev.processes import Child, Children, LogLine, Program

FAKE = """
import json, os, signal, sys, time
def say(**line):
    print(json.dumps({"kind": "notice", "message": "", **line}), file=sys.stderr, flush=True)
mode = sys.argv[1]
if mode == "mute":
    os.kill(os.getpid(), 40)
say(kind="started", message="up", pid=os.getpid())
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say(message="deaf")
elif mode == "polite":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # a handler that prints amid a print would fail
    say(message="ready")
    signal.sigwait([signal.SIGTERM])
    say(message="stopping")
    sys.exit(0)
elif mode == "dies":
    say(message="a port is taken")
    sys.exit(2)
elif mode == "chatty":
    print("no JSON: Grüße \\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), file=sys.stderr, flush=True)
elif mode == "silent":
    sys.exit(0)
elif mode == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
elif mode == "talks":
    for number in range(9):
        say(level="info", message=f"line {number}")
    say(level="fatal", message="no disk")
    print("x" * 400, "[1, 2]", sep="\\n", file=sys.stderr, flush=True)
    sys.exit(1)
while True:
    time.sleep(1)
"""


class Watch:
    """What the programs told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, LogLine]] = []
        self._news = asyncio.Event()

    def __call__(self, name: str, line: LogLine) -> None:
        self.lines.append((name, line))
        self._news.set()

    async def until(self, name: str, **wanted: Any) -> LogLine:
        async with asyncio.timeout(20):
            while True:
                for who, line in self.lines:
                    if who == name and wanted.items() <= line.items():
                        return line
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fake_server.py").write_text(FAKE)
    return tmp_path


def program(folder: Path, mode: str, name: str = "") -> Program:
    return Program(name or mode, ("fake_server", mode), {"PYTHONPATH": str(folder)})


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_events_come_as_they_are_logged_and_stay_in_a_file(folder: Path) -> None:
    watch = Watch()
    async with Children(folder / "logs", watch) as children:
        await children.start([program(folder, "polite")])
        started = await watch.until("polite", kind="started")
        await watch.until("polite", message="ready")
    assert not alive(started["pid"])
    await watch.until("polite", message="stopping")  # what it said at the end was read, too
    lines = [json.loads(line) for line in (folder / "logs" / "polite.log").read_text().splitlines()]
    assert [line["message"] for line in lines] == ["up", "ready", "stopping"]


async def test_lines_that_are_no_events(folder: Path) -> None:
    watch = Watch()
    async with Children(folder / "logs", watch) as children:
        await children.start([program(folder, "chatty")])
        line = await watch.until("chatty", kind="text")
    assert line["message"].startswith("no JSON: ")


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("mode", "how", "what_to_do"),
    [
        ("dies", "exit code 2; the last lines of its log:\n    up\n    a port is taken", "mend what its log names"),
        ("silent", "exit code 0; the last lines of its log:\n    up", "find out why"),
        ("killed", "by SIGKILL; the last lines of its log:\n    up", "find out who killed it"),
        ("mute", "by signal 40; the last lines of its log:\n    (none: it is empty)", "find out why"),
        (
            "talks",
            "exit code 1; the last lines of its log:\n    info line 7\n    info line 8\n    fatal no disk\n"
            f"    {'x' * 300}\n    [1, 2]",
            "find out why",
        ),
    ],
)
async def test_a_program_that_ends_by_itself(folder: Path, mode: str, how: str, what_to_do: str, later: bool) -> None:
    """Also one that was started when somebody waited already."""
    watch = Watch()
    async with Children(folder / "logs", watch) as children:
        programs = [program(folder, "polite"), program(folder, mode)]
        await children.start(programs[:1] if later else programs)
        ending = asyncio.create_task(children.first_to_end())
        if later:
            await watch.until("polite", kind="started")
            await children.start(programs[1:])
        async with asyncio.timeout(20):
            with pytest.raises(StartError) as caught:
                await ending
        pid = (await watch.until("polite", kind="started"))["pid"]
        assert alive(pid)
    assert caught.value.message == f"{mode} has ended by itself, {how}"
    assert caught.value.hint.startswith(what_to_do)
    assert caught.value.hint.endswith(f", then start anew; the log is {folder / 'logs' / f'{mode}.log'}")
    assert not alive(pid)


async def test_who_does_not_stop_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_GRACE", 0.2)
    watch = Watch()
    async with Children(folder / "logs", watch) as children:
        await children.start([program(folder, "stubborn")])
        await watch.until("stubborn", message="deaf")
        pid = (await watch.until("stubborn", kind="started"))["pid"]
    assert not alive(pid)


async def test_ending_what_was_killed_or_never_started(folder: Path) -> None:
    watch = Watch()
    child = Child(program(folder, "polite"), folder / "log", watch)
    await child.stop()
    await child.start()
    pid = (await watch.until("polite", kind="started"))["pid"]
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        assert await child.wait() == -signal.SIGKILL
    await child.stop()


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_cancelled_while_starting(folder: Path, turns: int) -> None:
    """However early the cancellation comes, what was started is ended."""
    watch = Watch()
    programs = [program(folder, "polite", f"p{number}") for number in range(4)]

    async def run() -> None:
        async with Children(folder / "logs", watch) as children:
            await children.start(programs)
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [line["pid"] for _, line in watch.lines if "pid" in line and alive(line["pid"])]
    assert not [process for process in Path("/proc").iterdir() if str(folder).encode() in environment(process)]


def environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes() if process.name.isdigit() else b""
    except OSError:
        return b""


STARTER = """
import asyncio, json, sys
from pathlib import Path
from eps.programs.dev.processes import Children, Program

async def main(folder, *modes):
    def tell(name, line):
        print(json.dumps([name, line]), flush=True)

    async with Children(Path(folder) / "logs", tell) as children:
        await children.start([Program(mode, ("fake_server", mode), {"PYTHONPATH": folder}) for mode in modes])
        print(json.dumps(["starter", {"message": "all are started"}]), flush=True)
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


def gone(pid: int) -> bool:
    """Whether the process has ended, even if its new parent has not asked about it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.parametrize("early", [False, True])
async def test_no_child_outlives_a_starter_that_is_killed(folder: Path, early: bool) -> None:
    """Neither one that stops when it is told to, nor one that is deaf, nor one that had hardly begun."""
    wanted = {("starter", "all are started")} if early else {("polite", "ready"), ("stubborn", "deaf")}
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTER, folder, "polite", "stubborn", stdout=asyncio.subprocess.PIPE
    )
    assert starter.stdout is not None
    try:
        async with asyncio.timeout(20):
            while wanted:
                name, line = json.loads(await starter.stdout.readline())
                wanted.discard((name, line["message"]))
            pids: list[int] = []
            while len(pids) < 2:  # a process that is just becoming a program has no environment for a moment
                mark = f"PYTHONPATH={folder}\0".encode()
                pids = [int(at.name) for at in Path("/proc").iterdir() if mark in environment(at)]
        assert len(pids) == 2
    finally:
        starter.kill()
        await starter.communicate()
    async with asyncio.timeout(30):
        while not all(gone(pid) for pid in pids):
            await asyncio.sleep(0.02)


async def test_what_a_child_is_given(folder: Path) -> None:
    """Its own arguments as with python -m, nothing to read, and all its signals."""
    (folder / "fake_server.py").write_text("""
import os, signal, sys
print(__name__, *sys.argv[1:], repr(sys.stdin.read()), file=sys.stderr)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(os.getpid(), signal.SIGTERM)  # stays pending, unless another thread takes it, and its default: the end
print(signal.sigwait([signal.SIGTERM]).name, file=sys.stderr)
""")
    watch = Watch()
    async with Children(folder / "logs", watch) as children:
        await children.start([program(folder, "--mode", "fake")])
        await watch.until("fake", message="__main__ --mode ''")
        await watch.until("fake", message="SIGTERM")


async def test_a_python_that_this_user_may_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(folder))
    child = Child(Program("hd-1", ("fake",), {}), folder / "hd-1.log", lambda *_: None)
    with pytest.raises(StartError, match=f"hd-1 can't be started with {folder}: Permission denied"):
        await child.start()
    await child.stop()


async def test_a_log_that_cannot_be_written_leaves_nothing_running(folder: Path) -> None:
    watch = Watch()
    (folder / "logs" / "polite.log").mkdir(parents=True)

    async def run(told: bool = False) -> None:
        async with Children(folder / "logs", watch) as children:
            await children.start([program(folder, "polite"), program(folder, "polite", "other")])
            await watch.until("other", kind="started")
            if told:
                await children.first_to_end()

    with pytest.raises(IsADirectoryError):
        await run()
    with pytest.raises(StartError, match=r"polite\.log can't be written: Is a directory"):
        await run(told=True)
    assert not alive((await watch.until("other", kind="started"))["pid"])
