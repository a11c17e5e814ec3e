"""What all three programs do around their servers: event loop, signals, file limit, logs, profiles, exit codes."""

import asyncio
import contextlib
import cProfile
import os
import resource
import signal
import sys
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from eps.core.event import Emit, Event, Level, LogLinesLost, Notice, Started
from eps.datastores.local import NO_ROOM
from eps.errors import DiskFull, EpsError, StartError
from eps.programs.running.collector import collect_at_leisure
from eps.programs.running.log_queue import LineQueue
from eps.programs.running.logs import Format, LogWriter, adopt_library_logs
from eps.programs.running.quiet import give_back_when_quiet
from eps.transport.memory import give_back_libraries, give_back_memory, keep_large_blocks_apart

if TYPE_CHECKING:
    from eps.programs.running.metrics import Metrics

T = TypeVar("T")

EXIT_FAILED = 1
"""A command that failed; a server that can't start now, but may when it is tried again: the disk is full."""

EXIT_CANNOT_START = 2
"""Settings or surroundings don't let the program start."""


SWITCH_SECONDS = 0.001
"""How long a thread that works on something large goes on while the event loop wants its turn. With Python's 5 ms,
calls beside four megabytes of JSON, which are read in such a thread, took six times as long: each has a dozen turns."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options before the command, the same for all programs.

    Attributes:
        level_given: the command line names ``level``, so it has the last word.
    """

    level: Level = Level.INFO
    level_given: bool = False
    format: Format = Format.TEXT
    profile: str = ""
    log_file: str = ""


class Server(Protocol):
    """What a program runs."""

    async def start(self) -> None:
        """Open everything; raises EpsError if it can't, having closed what it had opened."""
        ...

    async def close(self) -> None:
        """End everything that was started, also after a ``start`` that was cancelled."""
        ...

    def started(self) -> Started:
        """Who this is and what it has open."""
        ...


Build = Callable[[Emit, "Metrics"], Server]
"""Makes the server from its settings; raises SettingsError or StartError."""


def _ignore(_: object) -> None:
    """Nobody wants it."""


def run_server(service: str, options: Options, build: Build, with_log: Callable[[LogWriter], None] = _ignore) -> int:
    """Run a server until SIGINT or SIGTERM; the program's exit code.

    Args:
        with_log: is given the log, before ``build`` is called.
    """
    open_standard_streams()
    try:
        lines = LineQueue(options.log_file or sys.stderr, lambda lost: log.line(LogLinesLost(lines=lost)))
    except OSError as error:
        refusal = _no_log_file(options.log_file, error)
        fail(refusal)
        return _exit_code(refusal)
    log = LogWriter(service, options.level, options.format, stream=lines)
    with_log(log)
    with lines:
        _heed_signals(lines)
        return _run(build, options, log, lines)


def _heed_signals(lines: LineQueue) -> None:
    """SIGUSR1 opens the log file anew, as log rotation asks for; SIGUSR2 means nothing and ends nothing; nor does
    SIGHUP before a server is up that heeds it: what it asks for, to read the settings, is still being done."""
    signal.signal(signal.SIGUSR1, lambda *_: lines.reopen())
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _run(build: Build, options: Options, log: LogWriter, lines: LineQueue) -> int:
    from eps.programs.running.metrics import Metrics  # here: it brings an HTTP server along, which commands don't need

    keep_large_blocks_apart()
    metrics = Metrics(lines)
    emit = fan_out([log, metrics])
    adopt_library_logs(log)
    raise_file_limit(emit)
    try:
        server = build(emit, metrics)
        with profiled(options.profile, emit):
            run(_serve(server, emit))
    except EpsError as error:
        for line in error.message.splitlines():
            log(fatal(error, line.strip()))
        return _exit_code(error)
    return 0


def fatal(error: EpsError, text: str) -> Notice:
    """The line with which a start ends."""
    reason, side = error.reason.value, error.side.value
    return Notice(level=Level.FATAL, text=text, hint=error.hint, reason=reason, stage=error.step, side=side)


def _no_log_file(path: str, error: OSError) -> StartError:
    what = f"the log file {path} can't be opened"
    if error.errno in NO_ROOM:
        return DiskFull(what, os.strerror(error.errno), Path(path).absolute().parent)
    return StartError(f"{what}: {error.strerror}", hint="see --log-file")


def _exit_code(error: EpsError) -> int:
    """Of a server that can't start: whether another attempt, without a change of settings, may succeed."""
    return EXIT_FAILED if isinstance(error, DiskFull) else EXIT_CANNOT_START


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end on uvloop, or on asyncio's own event loop where uvloop is missing."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(work)
    finally:
        sys.setswitchinterval(before)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop

    return uvloop.new_event_loop


async def _serve(server: Server, emit: Emit) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if await _started(server, stopped):
        # Both begin at the first await, when all was looked at.
        memory = [asyncio.create_task(work) for work in (collect_at_leisure(), give_back_when_quiet())]
        try:
            emit(server.started())
            give_back_memory()  # of loading and reading settings
            give_back_libraries()
            await stopped.wait()
            emit(Notice(text="stopping"))
        finally:
            for task in memory:
                task.cancel()
            await server.close()
    emit(Notice(text="stopped"))


async def _started(server: Server, stopped: asyncio.Event) -> bool:
    """Start the server; False if a signal came in the meantime, and then nothing is open."""
    starting, stopping = asyncio.create_task(server.start()), asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not starting.done():
            starting.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
    if starting.cancelled():
        return False
    starting.result()  # raises what start did
    return True


def fan_out(emits: Sequence[Emit]) -> Emit:
    """One ``Emit`` that passes each event to all of ``emits``."""

    def emit(event: Event) -> None:
        for each in emits:
            each(event)

    return emit


def open_standard_streams() -> None:
    """Replace standard streams that are closed (``2>&-``): else a socket gets their number, and what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def raise_file_limit(emit: Emit) -> None:
    """Allow as many open files as the system lets us: every connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        emit(Notice(level=Level.WARN, text=f"at most {soft} open files, since the limit can't be raised: {error}"))
    else:
        emit(Notice(text=f"the limit of open files was raised from {soft} to {hard}"))


@contextlib.contextmanager
def profiled(name: str, emit: Emit) -> Iterator[None]:
    """Write ``NAME.cpu.prof`` (for pstats) and ``NAME.memory.txt`` (the places that hold most) at the end."""
    if not name:
        yield
        return
    profile = cProfile.Profile()
    tracemalloc.start()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        profile.dump_stats(f"{name}.cpu.prof")
        places = tracemalloc.take_snapshot().statistics("lineno")[:100]
        tracemalloc.stop()
        Path(f"{name}.memory.txt").write_text("".join(f"{place}\n" for place in places))
        emit(Notice(text=f"profiles are in {name}.cpu.prof and {name}.memory.txt"))


def fail(error: EpsError) -> int:
    """Say on standard error why a command failed; its exit code."""
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint:  {error.hint}", file=sys.stderr)
    return EXIT_FAILED
