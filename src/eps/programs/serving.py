"""What the commands share that run a server: it is made of its settings, and takes over what changes in them.

    SIGHUP, or a look every 10 s that finds other files → read → the checks of ``config check`` → prepared → applied
                                                            └──────────── bad: said, and nothing changes ───────┘

A certificate that is replaced before its key doesn't fit for a moment: that is bad settings like all others, and as
soon as the key is there, too, the files are others again.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from eps.core.event import Emit, Level, Notice, Started
from eps.core.names import Object
from eps.errors import EpsError, SettingsError, StartError
from eps.programs.guard import exit_code_of
from eps.programs.running import systemd
from eps.programs.running.control import Control, Handler
from eps.programs.running.draining import COMMAND as DRAIN
from eps.programs.running.draining import Draining, Work
from eps.programs.running.families import Program
from eps.programs.running.handover import COMMAND, HandOver, Predecessor, Yields, ask_to_hand_over
from eps.programs.running.health import Part
from eps.programs.running.logs import LogWriter
from eps.programs.running.metrics import Metrics
from eps.programs.running.remembered import TRACE, Remembered
from eps.programs.running.runtime import Options, Server, fan_out, run, run_server
from eps.programs.running.spans import spans_from
from eps.programs.running.status import STATUS, Status
from eps.programs.running.tally import Numbers
from eps.programs.running.troubles import TROUBLES, Troubles
from eps.programs.status.asking import STANDING, Telling
from eps.programs.wiring.certificates import expiries
from eps.programs.wiring.composite import Apply
from eps.programs.wiring.credentials import named_files
from eps.programs.wiring.parts import Loads, S, settings_from, tell_of_certificates, warn_of
from eps.settings import Loaded, Severity, describe_problems, load_eps, load_proxy, load_sd, places_of
from eps.settings.answers import answers_of_terminal
from eps.settings.changes import changes
from eps.transport.inherited import SOCKETS, from_systemd
from eps.transport.listener import sockets_in_use
from eps.transport.tls import OF_DATES, dated

LOOK_SECONDS = 10.0
"""Between two looks at the files: a few calls of stat."""

YOUNG_SECONDS = 2.0
"""A file that was changed so shortly before a look may change again and look the same: so it is looked at again."""

REMIND_SECONDS = 86_400.0
"""Between two lines about a certificate that is about to expire, or whatever else a start would say of certificates."""

NO_CHANGE = "everything goes on as before"


C = TypeVar("C", contravariant=True)


class Renewable(Server, Yields, Protocol[C]):
    """A server that takes settings over while it runs, and can say what it is at.

    Attributes:
        title: what it is called.
        short: the same in a column.
        cut: how many of the things that it was at had not ended in time when it was closed.
    """

    title: str
    short: str
    cut: int

    async def prepare(self, settings: C) -> Apply:
        """Make ready what changes; raises StartError if it can't be used, and then nothing has changed."""
        ...

    def status(self) -> Object:
        """What its administrator's commands are told of it."""
        ...

    def numbers(self) -> Numbers:
        """What it is at, for the metrics."""
        ...

    def picture(self) -> Object:
        """What it shows of itself besides, for the status page."""
        ...

    def health(self) -> list[Part]:
        """Whether it can serve calls, by its parts."""
        ...

    def stopping(self) -> None:
        """It is about to be closed."""
        ...

    def take_over(self) -> None:
        """Another process serves until this one has started; before ``start``."""
        ...

    def work(self) -> Work:
        """What it is at."""
        ...


Make = Callable[[S, Emit, Metrics], Renewable[S]]
"""Makes a server of settings."""


def _eps(options: Options, take_over: bool) -> Callable[[], int]:
    from eps.programs.wiring.eps import EpsServer  # here, and below: each program loads what it is made of

    return lambda: _run(options, "eps", "EPS", load_eps, EpsServer, take_over=take_over)


def _sd(options: Options, take_over: bool) -> Callable[[], int]:
    from eps.programs.wiring.sd import SdServer

    return lambda: _run(options, "sd", "SD_", load_sd, SdServer, take_over=take_over)


def _public_proxy(options: Options, take_over: bool) -> Callable[[], int]:
    from eps.programs.wiring.proxy import PublicProxyServer

    return lambda: _run(
        options, "proxy", "PRO", load_proxy, PublicProxyServer, take_over=take_over, kind="public-proxy"
    )


def _private_proxy(options: Options, take_over: bool) -> Callable[[], int]:
    from eps.programs.wiring.proxy import PrivateProxyServer

    return lambda: _run(
        options, "proxy", "PRO", load_proxy, PrivateProxyServer, take_over=take_over, kind="private-proxy"
    )


SERVERS = {"eps": _eps, "sd": _sd, "public proxy": _public_proxy, "private proxy": _private_proxy}


def serve(kind: str, options: Options, *, take_over: bool) -> int:
    """Run a server to its end; the exit code.

    Args:
        kind: a key of ``SERVERS``.
        take_over: see ``_run``.
    """
    return exit_code_of(SERVERS[kind](options, take_over))  # loaded before Ctrl-C is an exception (entry)


def _run(
    options: Options,
    program: str,
    service: str,
    load: Loads[S],
    make: Make[S],
    *,
    take_over: bool,
    kind: str = "",
) -> int:
    """Run a server.

    Args:
        program: a key of ``settings.PROGRAMS``.
        service: how the log calls it (PROTOCOL.md section 1).
        take_over: the process that runs already hands its sockets over.
        kind: which of the program's servers it is, where it has several; those may have one state folder.
    """
    living = _Living(program, options, load, make, kind or program, take_over=take_over)
    return run_server(service, options, living.build, living.take_log)


class _Living(Generic[S]):
    """A server that takes over what changes in its files; for ``running.runtime``, a Server."""

    def __init__(
        self, program: str, options: Options, load: Loads[S], make: Make[S], kind: str, *, take_over: bool
    ) -> None:
        self._kind = kind
        self._socket = f"{kind}.control"
        self._take_over = take_over
        self._program = program
        self._options = options
        self._load = load
        self._make = make
        self._answers = answers_of_terminal()
        self._hung_up = asyncio.Event()
        self._said = ""

    def take_log(self, log: LogWriter) -> None:
        """Whose level settings may change."""
        self._log = log

    def build(self, emit: Emit, metrics: Metrics) -> Server:
        """Read the settings and make the server; a ``runtime.Build``."""
        self._emit = emit
        self._seen = Look(places_of(self._program, os.environ))
        loaded = settings_from(self._load, emit, self._answers)
        self._settings, self._warned = loaded.settings, loaded.warnings
        self._seen.add(named_files(self._settings))
        self._in_use = self._seen
        self._set_level(self._settings)
        remembered, troubles = Remembered(lambda: self._server.short), Troubles()
        self._spans = spans_from(os.environ, lambda: self._server.short, emit)
        self._server = self._made(fan_out([emit, remembered.keep, troubles.keep, self._spans.keep]), metrics)
        self._metrics = metrics
        metrics.health = self._server.health
        metrics.belongs_to(Program(self._kind), self._server.numbers)
        metrics.standing.belongs_to(self._kind, self._server.picture)
        metrics.expire(expiries(self._settings))
        self._hand_over = HandOver(self._server, _stop, emit)
        self._draining = Draining(self._server.title, self._server.work, _stop, emit)
        commands: dict[str, Handler] = {
            COMMAND: self._hand_over,
            DRAIN: self._draining,
            STATUS: Status(self._server.status),
            TRACE: remembered,
            STANDING: Telling(metrics.standing),
            TROUBLES: troubles,
        }
        self._control = Control(Path(self._settings.state_path), self._socket, commands, emit)
        return self

    def _made(self, emit: Emit, metrics: Metrics) -> Renewable[S]:
        """The server. If a date keeps it from starting, our clock is looked at, and named first if it is wrong."""
        try:
            return self._make(self._settings, emit, metrics)
        except StartError as error:
            if error.reason not in OF_DATES:
                raise
            from eps.programs.diagnosis.clock import compare_clocks  # here: a start that goes well needs none of it

            run(compare_clocks(self._settings))
            raise dated(error) from error

    async def start(self) -> None:
        SOCKETS.adopt(from_systemd(os.environ, os.getpid()))
        predecessor = await self._predecessor() if self._take_over else None
        try:
            await self._server.start()
        except BaseException:
            if predecessor is not None:
                predecessor.give_up()
            raise
        finally:
            self._close_unused()
        self._control.start()
        if predecessor is not None:
            predecessor.ready()
        systemd.tell_up(os.environ, sockets_in_use())
        if self._answers is not None:
            self._answers.close()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hung_up.set)
        self._following = asyncio.create_task(self._follow(), name="settings")
        self._alive = asyncio.create_task(systemd.keep_telling(os.environ, os.getpid()), name="watchdog")

    async def _predecessor(self) -> Predecessor | None:
        """The process whose place we take, with its sockets adopted; None if there is none."""
        found = await ask_to_hand_over(Path(self._settings.state_path), self._socket)
        if found is None:
            self._emit(Notice(text="no process runs whose place could be taken: this is a start like any other"))
            return None
        predecessor, sockets = found
        SOCKETS.adopt(sockets)
        self._server.take_over()
        return predecessor

    def _close_unused(self) -> None:
        unused = SOCKETS.close_unused()
        systemd.forget(os.environ, [named.name for named in unused])
        for named in unused:
            text = f"a socket that was handed over is closed: no setting says to listen at {named.address}"
            hint = "bind_address and ListenStream= of the socket unit have to name the same address"
            self._emit(Notice(level=Level.WARN, text=text, hint=hint))

    async def close(self) -> None:
        systemd.tell_stopping(os.environ)
        self._server.stopping()
        await self._hand_over.end()
        self._draining.stopping()
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        await self._server.close()
        self._draining.tell(self._server.cut)
        await self._control.close()
        await asyncio.to_thread(self._spans.close)
        self._alive.cancel()
        await asyncio.gather(self._alive, return_exceptions=True)

    def started(self) -> Started:
        return self._server.started()

    async def _follow(self) -> None:
        told = time.monotonic()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):  # wait_for of Python 3.11 can lose a cancellation
                    await self._hung_up.wait()
            if time.monotonic() - told >= REMIND_SECONDS:
                told = time.monotonic()
                await asyncio.to_thread(tell_of_certificates, self._settings, self._emit)
            asked = self._hung_up.is_set()
            self._hung_up.clear()
            look = await asyncio.to_thread(Look, self._seen.files)
            if asked or self._said or self._seen.is_young or look.files != self._seen.files:
                await self._reread(look, asked=asked)

    async def _reread(self, look: "Look", *, asked: bool) -> None:
        self._seen = look
        try:
            loaded = await asyncio.to_thread(self._read)
            settings = loaded.settings
            apply = await self._server.prepare(settings)
            await apply()
        except EpsError as error:
            self._refuse(error, asked=asked)
            return
        except Exception as error:  # noqa: BLE001  # a fault of ours must not end the looking for good
            self._refuse(SettingsError(f"unexpected {error!r}", hint="please report this"), asked=asked)
            return
        self._said = ""
        self._tell(settings, look.others_than(self._in_use), asked=asked)
        warn_of((one for one in loaded.warnings if asked or one not in self._warned), self._emit)
        self._warned = loaded.warnings
        self._in_use = look
        self._settings = settings
        self._set_level(settings)
        self._metrics.expire(await asyncio.to_thread(expiries, settings))

    def _read(self) -> Loaded[S]:
        """Read and check; in a thread.

        Raises:
            SettingsError: an error that ``config check`` finds.
        """
        from eps.programs.admin.check import check  # here: it is needed rarely

        report = check(self._program, os.environ, Path.cwd(), self._answers)
        self._seen.add((*report.files, *report.certificates))
        errors = [problem for problem in report.problems if problem.severity is Severity.ERROR]
        if errors:
            raise SettingsError(describe_problems(errors))
        loaded = self._load(os.environ, Path.cwd(), self._answers)
        self._seen.add(named_files(loaded.settings))
        return loaded

    def _refuse(self, error: EpsError, *, asked: bool) -> None:
        if error.message == self._said and not asked:
            return  # it was told
        self._said = error.message
        self._emit(
            Notice(
                level=Level.ERROR,
                text=f"the settings were read again and are not used, {NO_CHANGE}: {error.message}",
                hint=error.hint or f"they are looked at again every {LOOK_SECONDS:.0f} s; {self._check}",
            )
        )

    @property
    def _check(self) -> str:
        return f"eps config check --program {self._program} says more"

    def _tell(self, settings: S, files: Sequence[str], *, asked: bool) -> None:
        found = changes(self._settings, settings)
        credentials = set(named_files(settings))
        renewed = [name for name in files if name in credentials]
        parts = [f"changed settings in use now: {', '.join(found.now)}"] if found.now else []
        parts += [f"changed certificates and keys in use now: {', '.join(renewed)}"] if renewed else []
        if parts or (asked and not found.later):
            text = "; ".join(parts) or f"nothing has changed that is used while it runs, {NO_CHANGE}"
            self._emit(Notice(text=f"the settings were read again: {text}"))
        if found.later:
            text = f"changed settings that take effect at the next start: {', '.join(found.later)}"
            self._emit(Notice(level=Level.WARN, text=text))

    def _set_level(self, settings: S) -> None:
        if not self._options.level_given:
            wanted = settings.log_level
            self._log.set_level(Level(wanted) if wanted is not None else self._options.level)


def _stop() -> None:
    """End this process, as whoever has started it would."""
    os.kill(os.getpid(), signal.SIGTERM)


class Look:
    """How files look from outside.

    Attributes:
        files: path → what changes when its content does; None for one that isn't there.
        is_young: one of them had been changed just before.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.files: dict[str, tuple[int, ...] | None] = {}
        self.is_young = False
        self.add(paths)

    def add(self, paths: Iterable[str]) -> None:
        """Look at more files."""
        now = time.time()
        for path in paths:
            if path not in self.files:
                self.files[path] = stamp = _stamp(path)
                self.is_young |= stamp is not None and abs(now - stamp[0] / 1e9) < YOUNG_SECONDS

    def others_than(self, before: "Look") -> list[str]:
        """The files that look different."""
        return [path for path, stamp in self.files.items() if path in before.files and before.files[path] != stamp]


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev
