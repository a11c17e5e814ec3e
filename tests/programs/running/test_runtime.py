"""What is around a server: signals, start and end, file limit, profiles, exit codes."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from eps.core.event import Emit, Event, Level, Notice, Started
from eps.errors import EpsError, RecordError, SettingsError, Stage, StartError
from eps.programs.running import runtime
from eps.programs.running.logs import Format
from eps.programs.running.metrics import Metrics
from eps.programs.running.runtime import (
    EXIT_CANNOT_START,
    EXIT_FAILED,
    Options,
    Server,
    fail,
    fan_out,
    raise_file_limit,
)
from eps.reasons import Reason


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """``run_server`` takes the libraries' logs over; give them back."""
    import logging

    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    root.handlers, root.level = handlers, level
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)


class FakeServer:
    """A server that signals us when it is asked to."""

    def __init__(
        self, *, at_start: int = 0, at_end: int = 0, slow: bool = False, error: Exception | None = None
    ) -> None:
        self.at_start, self.at_end, self.slow, self.error = at_start, at_end, slow, error
        self.story: list[str] = []

    async def start(self) -> None:
        self.story.append("start")
        if self.error is not None:
            raise self.error
        if self.at_start:
            os.kill(os.getpid(), self.at_start)
        if self.slow:
            try:
                await asyncio.sleep(60)
            finally:
                self.story.append("gave up")

    def started(self) -> Started:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), self.at_end or signal.SIGTERM)
        return Started(name="it", listening=("gRPC localhost:1",))

    async def close(self) -> None:
        self.story.append("close")


def run_it(server: Server, capsys: pytest.CaptureFixture[str], **options: Any) -> tuple[int, list[str]]:
    code = runtime.run_server("EPS", Options(format=Format.IRIS, **options), lambda emit, metrics: server)
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, [line.partition(" [nan] ")[2] for line in captured.err.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    server = FakeServer(at_end=number)
    code, lines = run_it(server, capsys)
    assert code == 0
    assert server.story == ["start", "close"]
    assert lines == [
        "started : it is running: gRPC localhost:1",
        "notice : stopping",
        "notice : stopped",
    ]


def test_the_log_goes_to_a_file_that_rotation_opens_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"

    class Rotated(FakeServer):
        async def start(self) -> None:
            await super().start()
            while not path.exists() or "building" not in path.read_text():
                await asyncio.sleep(0.001)
            path.rename(old)
            os.kill(os.getpid(), signal.SIGUSR2)  # means nothing
            os.kill(os.getpid(), signal.SIGUSR1)
            while not path.exists():
                await asyncio.sleep(0.001)

    options = Options(format=Format.IRIS, log_file=str(path))

    def build(emit: Emit, metrics: Metrics) -> Server:
        emit(Notice(text="building"))
        return Rotated(at_end=signal.SIGTERM)

    assert runtime.run_server("EPS", options, build) == 0
    assert capsys.readouterr() == ("", "")
    assert " : building\n" in old.read_text()
    assert path.read_text().endswith(" : stopped\n")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (StartError("no port", reason=Reason.PORT_TAKEN), ("port-taken", "", "ours")),
        (StartError("no key", stage=Stage.TLS, reason=Reason.KEY_MISFIT), ("key-misfit", "tls", "ours")),
        (RecordError("dated ahead", reason=Reason.RECORD_AHEAD), ("record-ahead", "directory", "directory")),
    ],
    ids=["port", "key", "record"],
)
def test_the_last_line_of_a_start_has_its_words(
    error: EpsError, words: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def build(emit: Emit, metrics: Metrics) -> Server:
        raise error

    assert runtime.run_server("EPS", Options(format=Format.JSON), build) == EXIT_CANNOT_START
    line = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (line["level"], line["text"]) == ("fatal", error.message)
    assert (line["reason"], line["stage"], line["side"]) == words


def test_a_log_file_that_cannot_be_opened_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = Options(log_file=str(tmp_path / "nowhere" / "log"))
    assert runtime.run_server("EPS", options, lambda emit, metrics: FakeServer()) == EXIT_CANNOT_START
    assert f"error: the log file {options.log_file} can't be opened: No such file" in capsys.readouterr().err


def test_a_signal_while_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    server = FakeServer(at_start=signal.SIGTERM, slow=True)
    code, lines = run_it(server, capsys)
    assert (code, lines) == (0, ["notice : stopped"])
    assert server.story == ["start", "gave up"]


@pytest.mark.parametrize("kind", [StartError, SettingsError])
def test_what_keeps_it_from_starting_is_one_line_each(kind: type[EpsError], capsys: pytest.CaptureFixture[str]) -> None:
    server = FakeServer(error=kind("first\n  second", hint="try"))
    code, lines = run_it(server, capsys)
    assert code == EXIT_CANNOT_START
    assert lines == ["notice : first (try)", "notice : second (try)"]


def test_a_failure_while_building(capsys: pytest.CaptureFixture[str]) -> None:
    def build(emit: Emit, metrics: Metrics) -> Server:
        raise SettingsError("x.yml: name: is missing")

    assert runtime.run_server("SD_", Options(), build) == EXIT_CANNOT_START
    assert "fatal x.yml: name: is missing" in capsys.readouterr().err


def test_an_unexpected_error_is_not_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        run_it(FakeServer(error=ZeroDivisionError()), capsys)


def test_profiles_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = str(tmp_path / "p")
    code, lines = run_it(FakeServer(), capsys, profile=name)
    assert code == 0
    assert lines[-1] == f"notice : profiles are in {name}.cpu.prof and {name}.memory.txt"
    assert Path(f"{name}.cpu.prof").stat().st_size > 100
    assert "size=" in Path(f"{name}.memory.txt").read_text()


def test_while_it_runs_the_event_loop_waits_for_no_thread_for_long() -> None:
    before = sys.getswitchinterval()

    async def work() -> float:
        return sys.getswitchinterval()

    meanwhile = runtime.run(work())
    assert meanwhile == pytest.approx(runtime.SWITCH_SECONDS)
    assert meanwhile < before
    assert sys.getswitchinterval() == before


def test_fan_out_passes_each_event_to_all() -> None:
    first: list[Event] = []
    second: list[Event] = []
    fan_out([first.append, second.append])(Notice(text="x"))
    assert first == second == [Notice(text="x")]


def test_the_file_limit_is_raised_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = min(soft, hard - 1 if hard > 0 else soft, 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
    events: list[Event] = []
    raise_file_limit(events.append)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    assert [event.message() for event in events] == [f"the limit of open files was raised from {lower} to {hard}"]
    raise_file_limit(events.append)
    assert len(events) == 1


def test_a_file_limit_that_cannot_be_raised_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: int, limits: tuple[int, int]) -> None:
        raise ValueError("not allowed")

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (10, 20))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    events: list[Event] = []
    raise_file_limit(events.append)
    assert [(event.level, event.message()) for event in events] == [
        (Level.WARN, "at most 10 open files, since the limit can't be raised: not allowed")
    ]


def test_commands_fail_with_what_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(StartError("it broke", hint="mend it")) == EXIT_FAILED
    assert fail(StartError("it broke")) == EXIT_FAILED
    assert capsys.readouterr().err == "error: it broke\nhint:  mend it\nerror: it broke\n"


def test_without_uvloop_asyncio_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async def loop_module() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert runtime.run(loop_module()) == "uvloop"
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert runtime.run(loop_module()).startswith("asyncio")


def test_http_clients_dial_addresses_without_a_lookup() -> None:
    """uvloop's own ``sock_connect`` would start libuv's threads; see ``transport.dial``."""
    script = """
        import asyncio, os
        from eps.core.message import Response
        from eps.programs.running.runtime import run
        from eps.jsonrpc.client import JsonRpcClient
        from eps.jsonrpc.server import JsonRpcServer
        async def answer(call):
            return Response(call.id, len(os.listdir("/proc/self/task")))
        async def call():
            server = JsonRpcServer("x", "127.0.0.1:0", answer)
            await server.start()
            client = JsonRpcClient(f"http://127.0.0.1:{server.port}/jsonrpc", tls=None)
            print((await client.call("threads", {})).result)
            await client.close()
            await server.close()
        run(call())
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("1\n", "")
