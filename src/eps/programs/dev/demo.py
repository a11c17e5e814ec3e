"""``eps demo``: the development network on this machine, shown step by step.

hd-1 pings hd-2 through the public proxy; then a TLS client reaches a server behind a private proxy.
"""

import asyncio
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from eps.core.message import Response
from eps.core.wording import counted
from eps.errors import EpsError, StartError
from eps.programs.admin.screen import compact, shortened
from eps.programs.dev import scaled
from eps.programs.dev.certs import make_dev_certs
from eps.programs.dev.network import (
    DEV,
    INTERNAL_DOMAIN,
    PASSTHROUGH_PROGRAMS,
    PORTS,
    PROGRAMS,
    STATUS_PORTS,
    TLS_PORT,
    application_of,
    setup_directory,
)
from eps.programs.dev.ports import check_ports_free
from eps.programs.dev.processes import Children, LogLine, Program
from eps.programs.dev.rendering import folded, in_order, render_step
from eps.programs.dev.stores import REDIS, Store, free_port, redis_program, with_store
from eps.programs.dev.tree import ensure_tree

T = TypeVar("T")

UP_TIMEOUT = 20.0
"""Seconds from starting the programs to a working network; on an idle machine it takes two or three."""

SETTLE = 0.15
"""Seconds to wait after the answer for log lines of the other programs that are still on their way, and after a
failure for the news that a program has ended."""

CURL = (
    "curl --cert settings/dev/certs/hd-1.crt \\\n"
    "  --key settings/dev/certs/hd-1.key \\\n"
    "  --cacert settings/dev/certs/root.crt \\\n"
    "  --resolve hd-1:5555:127.0.0.1 \\\n"
    '  --header "Content-Type: application/json" \\\n'
    """  --data '{"jsonrpc": "2.0", "id": "1",\n"""
    """    "method": "hd-2._ping", "params": {}}' \\\n"""
    "  https://hd-1:5555/jsonrpc"
)
"""What is shown fits in 60 columns; so does the next."""

CURL_PASSTHROUGH = (
    "curl --cacert settings/dev/certs/root.crt \\\n"
    "  --resolve test.internal-server.local:4433:127.0.0.1 \\\n"
    "  https://test.internal-server.local:4433/jsonrpc"
)


@dataclass(slots=True)
class Signs:
    """What the programs' logs have told so far; the demo waits for these rather than for time to pass."""

    running: set[str]
    connected: set[str]
    directory: set[str]

    def ready(self) -> bool:
        """Whether hd-1 can call hd-2: both know the directory, and both are connected to the proxy's operator."""
        return {"hd-1", "hd-2"} <= self.connected and {"hd-1", "hd-2", "public-proxy-eps-1"} <= self.directory

    def passthrough_ready(self) -> bool:
        """Whether a domain can be announced."""
        programs = {program.name for program in PASSTHROUGH_PROGRAMS}
        return programs <= self.running and "private-proxy-eps-1" in self.directory


class Demo:
    """Starts, shows, ends.

    Args:
        root: the repository's root.
        once: end after the ping rather than at Ctrl-C.
        console: where to show it.
        store: where the programs keep what they keep.
        scale: with several of everything, on Redis.
    """

    def __init__(
        self, root: Path, console: Console, *, once: bool, store: Store = Store.SQLITE, scale: bool = False
    ) -> None:
        self._root = root
        self._scale = scale
        self._store = Store.REDIS if scale else store
        self._more: list[Path] = []
        self._redis_port = 0
        self._console = console
        self._once = once
        self._signs = Signs(set(), set(), set())
        self._news = asyncio.Event()
        self._steps: list[LogLine] = []
        self._logs = root / ".eps" / "demo-logs"

    async def run(self) -> None:
        """The whole show; raises EpsError if some part fails."""
        started = time.monotonic()
        self._say("The network on this machine", style="bold")
        ensure_tree(self._root, self._say)
        await asyncio.to_thread(self._certificates)
        check_ports_free(PORTS)
        async with Children(self._logs, self.on_event) as children:
            await self._start_store(children)
            await (self._start_scaled(children) if self._scale else self._start(children, PROGRAMS))
            ending = asyncio.create_task(children.first_to_end())
            showing = asyncio.create_task(self._show(started, children))
            try:
                await asyncio.wait({showing, ending}, return_when=asyncio.FIRST_COMPLETED)
                if showing.done() and showing.exception() is not None:
                    await asyncio.wait({ending}, timeout=SETTLE)  # a program that has just ended explains it better
                if ending.done():
                    ending.result()  # raises: a program has ended by itself
                showing.result()
                if not self._once:
                    await ending
            finally:
                showing.cancel()
                ending.cancel()
                await asyncio.gather(showing, ending, return_exceptions=True)

    async def _start_store(self, children: Children) -> None:
        if self._store is Store.REDIS:
            self._redis_port = free_port()
            await children.start([redis_program(self._root / ".eps" / "demo-redis", self._redis_port)])
            await self.wait_for(lambda: REDIS in self._signs.running, "redis-server")
            self._say(f"a Redis server of our own keeps what the programs keep: 127.0.0.1:{self._redis_port}")

    async def _start(self, children: Children, programs: Sequence[Program]) -> None:
        self._say(f"starting {', '.join(program.name for program in programs)}")
        folder = self._root / ".eps" / "demo-stores" / self._store
        await children.start(with_store(programs, self._store, folder, self._redis_port))

    async def _start_scaled(self, children: Children) -> None:
        ports = {name: free_port() for name in scaled.NAMES}
        folder = self._root / ".eps" / "demo-scaled"
        ground = scaled.Ground(self._root / DEV, folder, lambda port: port, ports, self._redis_port)
        programs = scaled.programs(scaled.write_settings(ground))
        self._more.append(scaled.relay_file(ground))
        self._say("starting, several of everything:")
        for program in programs:
            (place,) = program.environment.values()
            self._say(f"  {program.name:20}{Path(place).relative_to(self._root)}", fold=False)
        await children.start(programs)

    async def _show(self, started: float, children: Children) -> None:
        await self.wait_for(lambda: "sd-1" in self._signs.running, "the service directory")
        count = await setup_directory(self._root, self._more)
        self._say(f"signed and submitted the directory: {counted(count, 'record')}")
        await self.wait_for(self._signs.ready, "hd-1, hd-2 and the proxy")
        self._say(f"everybody is connected, {time.monotonic() - started:.1f} s after the start")
        await self._ping()
        self._say(f"from start to answer: {time.monotonic() - started:.1f} s", style="dim")
        if self._scale:
            self._say("\ndocs/howto-scale.md says what happens when one of them ends. (Here, the demo ends with it.)")
        else:
            await self._passthrough(children)
        if not self._once:
            self._how_to_go_on()

    async def _ping(self) -> None:
        self._say("\nhd-1 calls hd-2._ping. Neither can dial the other, so:", style="bold")
        async with application_of(self._root, "hd-1") as hd_1:
            async with self.showing_steps():
                response, took = await timed(hd_1.call("hd-2._ping", {}, request_id="1"))
            self.show_answer(response, took)
            _, took = await timed(hd_1.call("hd-2._ping", {}, request_id="2"))
        self._say(f"\na second call, on the kept connections: {took * 1000:.1f} ms")

    async def _passthrough(self, children: Children) -> None:
        self._say("\nA web server inside a network that nobody can dial into, reached all the same:", style="bold")
        await self._start(children, PASSTHROUGH_PROGRAMS)
        await self.wait_for(self._signs.passthrough_ready, "the private proxy")
        async with application_of(self._root, "hd-1") as hd_1:
            params = {"domain": INTERNAL_DOMAIN, "proxy": "public-proxy-1.ga"}
            response = await hd_1.call("private-proxy-1.ga.announceConnection", params)
        if response.error is not None:
            raise EpsError(f"the announcement failed: {response.error.message}", hint=f"the logs are in {self._logs}")
        self._say(f"hd-1 had private-proxy-1.ga announce {INTERNAL_DOMAIN} to public-proxy-1.ga: {response.result}")
        async with self.showing_steps():
            text, took = await timed(fetch(self._root, f"https://{INTERNAL_DOMAIN}:{TLS_PORT}/jsonrpc"))
        self._say(f"The answer to GET /jsonrpc, after {took * 1000:.0f} ms: {text}", style="bold")

    @asynccontextmanager
    async def showing_steps(self) -> AsyncIterator[None]:
        """Show the steps that happen inside, in their order: their programs' logs come by different pipes."""
        self._steps.clear()  # of calls before, come late
        asked = time.time()
        try:
            yield
        finally:
            await asyncio.sleep(SETTLE)
            steps, self._steps = self._steps, []
            self.show_steps(steps, asked)

    def show_steps(self, steps: Sequence[LogLine], asked: float) -> None:
        """The steps of a call that was made then, in seconds since the epoch."""
        for step in in_order(steps):
            self._console.print(render_step(step, asked, self._width), soft_wrap=True)

    @property
    def _width(self) -> int | None:
        """Columns, where somebody looks; None for files and pipes, in whose lines programs search."""
        return self._console.width if self._console.is_terminal else None

    def show_answer(self, response: Response, seconds: float) -> None:
        """The ping's answer and how long it took; raises EpsError if it is an error."""
        if response.error is not None:
            raise EpsError(f"the ping failed: {response.error.message}", hint=f"the logs are in {self._logs}")
        self._say(f"\nThe answer from hd-2, after {seconds * 1000:.0f} ms in all (shortened):", style="bold")
        self._say(compact(shortened(response.result), width=min((self._width or 80) - 1, 79)), fold=False)

    def _how_to_go_on(self) -> None:
        self._say("\nThe network stays up until you press Ctrl-C. Try, in another shell:", style="bold")
        self._say(f"\n{CURL}\n\n{CURL_PASSTHROUGH}\n", fold=False)
        self._say("or, " + _with_programs_on_path(self._root))
        self._say("\nEPS_SETTINGS=settings/dev/roles/hd-1 eps ping hd-2\n", fold=False)
        self._say(f"logs: {self._logs.relative_to(self._root)}/")
        self._say("metrics of hd-1: http://localhost:2112/metrics")
        self._say("\nWatch it live, in a browser:", style="bold")
        for name, port in STATUS_PORTS.items():
            self._say(f"  http://localhost:{port}  {name}", fold=False)

    async def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Until ``condition`` holds; raises StartError, naming ``what``, if it never does."""
        try:
            async with asyncio.timeout(UP_TIMEOUT):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise StartError(
                f"{what} did not come up within {UP_TIMEOUT:.0f} s", hint=f"look into the logs in {self._logs}"
            ) from None

    def on_event(self, program: str, event: LogLine) -> None:
        """A line of a program's log has come."""
        kind = event.get("kind")
        if self._scale and program in scaled.COMMANDS:
            program = scaled.COMMANDS[program][0]
        if kind == "started":
            self._signs.running.add(program)
        elif kind == "directory" and event.get("operators"):
            self._signs.directory.add(program)
        elif kind == "peer" and event.get("link") == "connected" and event.get("up"):
            self._signs.connected.add(str(event.get("peer")))
        elif kind in ("step", "forwarding"):
            self._steps.append(event)
        self._news.set()

    def _certificates(self) -> None:
        if not (self._root / DEV / "directory" / "002_certificates.json").exists():
            self._say(f"making certificates for everybody in {DEV / 'certs'}")
            make_dev_certs(self._root, lambda line: None)

    def _say(self, text: str, style: str = "", *, fold: bool = True) -> None:
        if fold and self._width is not None:
            before, text = text[: len(text) - len(text.lstrip("\n"))], text.lstrip("\n")
            text = before + "\n".join(folded(text, self._width - 1))
        self._console.print(Text(text, style=style), soft_wrap=True)


def _with_programs_on_path(root: Path) -> str:
    folder = Path(sys.executable).parent
    inside = folder.relative_to(root) if folder.is_relative_to(root) else folder
    return f"with {inside} on PATH:"


async def fetch(root: Path, url: str) -> str:
    """The text at a URL whose host lies on this machine, as any HTTPS client gets it."""
    context = ssl.create_default_context(cafile=str(root / DEV / "certs" / "root.crt"))
    host = urlsplit(url)
    try:
        async with asyncio.timeout(UP_TIMEOUT):
            reader, writer = await asyncio.open_connection(
                "localhost", host.port, ssl=context, server_hostname=host.hostname
            )
            try:
                request = f"GET {host.path} HTTP/1.1\r\nHost: {host.netloc}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                answer = await reader.read()
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except OSError as error:
        why = str(error) or f"not within {UP_TIMEOUT:g} s"  # a deadline's error says nothing
        raise EpsError(f"{url} gave no answer: {why}", hint="look into the demo's logs") from error
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise EpsError(f"{url} answered {head[:80]!r}", hint="look into the demo's logs")
    return body.decode()


async def timed(work: Awaitable[T]) -> tuple[T, float]:
    """The result of ``work``, and the seconds that it took."""
    began = time.perf_counter()
    result = await work
    return result, time.perf_counter() - began


async def show(root: Path, *, once: bool, store: Store = Store.SQLITE, scale: bool = False) -> None:
    """Run the demo until it ends, Ctrl-C or SIGTERM; nothing it started is left."""
    console = Console(file=sys.stdout, highlight=False)
    demo = asyncio.ensure_future(Demo(root, console, once=once, store=store, scale=scale).run())
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if stopping:  # an impatient second Ctrl-C must not keep us from ending the programs in order
            return
        stopping = True
        demo.cancel()
        with suppress(OSError):  # the terminal may be what has gone
            console.print("\nstopping…")

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    try:
        await demo
    except asyncio.CancelledError:
        if once:
            raise StartError("the demo was interrupted") from None
