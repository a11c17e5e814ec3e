"""Rows about the relay: the public proxy as a real process, between near.py (A) and far.py (B, and the EPS server)."""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from calls import Effort, turns
from network import HERE, Network, free_port
from table import Row, Target
from workers import CpuShares, Worker, cpu_seconds, resident_bytes

from support.machine import BIN

LOADS: dict[bool, tuple[int, ...]] = {False: (1, 8, 64), True: (1, 8)}
"""With how many tunnels, each with ends that copy (False) and with light ones (True); see docs/performance.md."""

IDLE_TUNNELS = 2_000
GB = 1e9

PROXIES: dict[str, dict[str, str]] = {
    "splice": {},
    "copying": {"COPY_BYTES": "0"},
    "copying 4 KiB": {"COPY_BYTES": "4096"},
}
"""The program as it is, with its own fallback, and with the copies that servers in use make (proxy_variant.py)."""


class Stand:
    """near, far, and what is between them.

    Args:
        user: the numeric user as whom the relays run; None: ours.
    """

    def __init__(self, folder: Path, tree: Path, user: int | None) -> None:
        folder.mkdir()
        self.folder = folder
        self.user = user
        self.network = Network(folder / "network", tree)
        self.ports = self.network.ports.of
        self.plain_port = free_port(self.ports[2112] + 200)
        self.stack = AsyncExitStack()
        self.far = Worker("far.py", self._options(rpc_port=self.ports[5544], plain_port=self.plain_port))
        self.near = Worker("near.py", self._options(rpc_port=self.ports[6655]))
        if user is not None:
            self._let_in(user)

    def _let_in(self, user: int) -> None:
        """Give the copies of settings and (throwaway) keys to the unprivileged user."""
        for path in [self.folder, *self.folder.rglob("*")]:
            os.chown(path, user, -1)

    def _options(self, **more: int) -> str:
        return json.dumps({**self.network.files("public-proxy-1.ga"), **more})

    @classmethod
    @asynccontextmanager
    async def made(cls, folder: Path, tree: Path, user: int | None = None) -> AsyncIterator["Stand"]:
        stand = cls(folder, tree, user)
        async with stand.stack:
            await stand.stack.enter_async_context(stand.far)
            await stand.far.hear()
            await stand.stack.enter_async_context(stand.near)
            yield stand
        stand.network.ports.close()

    @asynccontextmanager
    async def proxy(self, kind: str = "splice") -> AsyncIterator[int]:
        """A running public proxy; its process id. Its log, at the usual level, goes to a file."""
        environment = PROXIES[kind]
        command = [str(BIN / "proxy")]
        if self.user is not None:
            environment = {**environment, "RUN_AS": str(self.user)}
        if environment:
            command = [sys.executable, str(HERE / "proxy_variant.py")]
        log = self.folder / "proxy.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *command,
                "--format",
                "json",
                "run",
                "public",
                cwd=self.network.folder,
                env={**os.environ, "PROXY_SETTINGS": "settings/dev/roles/public-proxy-1", **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stderr=file,
            )
        try:
            await until(lambda: b'"started"' in log.read_bytes() or process.returncode is not None)
            if b'"started"' not in log.read_bytes():
                raise RuntimeError(f"the proxy did not start:\n{log.read_text()}")
            yield process.pid
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()

    @asynccontextmanager
    async def haproxy(self, program: str, tuning: str = "") -> AsyncIterator[tuple[int, int]]:
        """A running HAProxy that forwards to far; its process id and port."""
        port = free_port(self.plain_port + 1)
        settings = self.folder / f"haproxy-{port}.cfg"
        settings.write_text(HAPROXY.format(port=port, server=self.plain_port, tuning=tuning))
        settings.chmod(0o644)
        process = await asyncio.create_subprocess_exec(
            *(program, "-db", "-q", "-f", str(settings)), user=self.user, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await until(lambda: accepts(port) or process.returncode is not None)
            if not accepts(port):
                raise RuntimeError("haproxy did not start")
            yield process.pid, port
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()


TUNED = "HAProxy with large pipes"
LARGE_PIPES = f"tune.pipesize {1 << 20}"
"""As large as ours; by default the kernel's 64 KiB. Only with one tunnel: it says what the pipes' size makes of it."""

WITH_SBIN = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
"""Where Debian puts HAProxy, and where not every user looks."""

HAPROXY = """
global
    maxconn 4096
    {tuning}
defaults
    mode tcp
    option splice-auto
    option splice-request
    option splice-response
    timeout connect 5s
    timeout client 1m
    timeout server 1m
listen relay
    bind 127.0.0.1:{port}
    server far 127.0.0.1:{server}
"""


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Look again and again until ``condition`` holds, or the time is up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.05)


def accepts(port: int) -> bool:
    """Whether somebody listens on that port; asked of the kernel, so that the server does not notice."""
    wanted = f":{port:04X} "
    return any(wanted in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines())


# Throughput


async def relay_rows(folder: Path, tree: Path, effort: Effort, tell: Callable[[Row], None]) -> None:
    """The relay beside plain loopback, HAProxy, and copies; then the same without privileges."""
    await _throughput(folder / "relay", tree, None, effort, tell)
    if os.getuid() != 0:
        tell(Row("unprivileged", "GB/s", missing="only root can start a program as another user; the rows above are"))
        return
    nobody = pwd.getpwnam("nobody").pw_uid
    try:
        await _throughput(folder / "unprivileged", tree, nobody, effort, tell)
    except RuntimeError as error:
        tell(Row("unprivileged", "GB/s", missing=str(error).splitlines()[-1]))


async def _throughput(folder: Path, tree: Path, user: int | None, effort: Effort, tell: Callable[[Row], None]) -> None:
    async with Stand.made(folder, tree, user) as stand, AsyncExitStack() as stack:
        ways = {"loopback": (stand.plain_port, None)}
        pid = await stack.enter_async_context(stand.proxy())
        ways["splice"] = None, pid
        if program := shutil.which("haproxy", path=WITH_SBIN):
            pid, port = await stack.enter_async_context(stand.haproxy(program))
            ways["HAProxy"] = port, pid
            pid, port = await stack.enter_async_context(stand.haproxy(program, LARGE_PIPES))
            ways[TUNED] = port, pid
        for light, sizes in LOADS.items():
            for number in sizes:
                chosen = {name: way for name, way in ways.items() if number == 1 or name != TUNED}
                got = await _rounds(stand, chosen, number, effort, light)
                for row in _throughput_rows(_Load(number, light, user), got):
                    tell(row)
        await stack.aclose()
        if user is None:
            for light, sizes in LOADS.items():
                for number in sizes:
                    await _copying_rows(stand, "copying", _Load(number, light), effort, tell)
                await _copying_rows(stand, "copying 4 KiB", _Load(1, light), effort, tell)
            tell(await _iperf_row(stand, effort))


@dataclass(frozen=True, slots=True)
class _Load:
    """What a row is loaded with; for its name, and for the figures that it must show."""

    number: int
    light: bool
    user: int | None = None

    def name(self, what: str) -> str:
        prefix = "" if self.user is None else "unprivileged: "
        return f"{prefix}{what}, {tunnels(self.number)}{', light ends' if self.light else ''}"

    def targets(self, beside: str) -> list[Target]:
        if self.number > 1:
            return []
        if beside == "loopback" and not self.light and self.user is None:
            return [Target(0.6, of_ratio=True)]
        if beside == "HAProxy" and self.light:
            return [Target(1.8 if self.user is None else 1.6, of_ratio=True)]
        return [Target(3.0, of_ratio=True)] if beside == "copying" and self.light else []


async def _copying_rows(stand: Stand, kind: str, load: _Load, effort: Effort, tell: Callable[[Row], None]) -> None:
    """Two proxies can't have the same ports at once, so each round starts both, one after the other."""
    got: dict[str, list[dict[str, float]]] = {"splice": [], kind: []}
    loopback = []
    for index in range(min(effort.rounds, 3)):
        for each in turns(got, index):
            async with stand.proxy(each) as pid:
                got[each].append(await _stream(stand, None, pid, load.number, effort, load.light))
        plain = await _stream(stand, stand.plain_port, None, load.number, effort, load.light)
        loopback.append(plain["rate"])
    row = Row(
        name=load.name("splice"),
        unit="GB/s",
        values=[one["rate"] for one in got["splice"]],
        beside=kind,
        beside_values=[one["rate"] for one in got[kind]],
        targets=load.targets(kind),
        cpu={name: middle(results, "cpu_per_gb") for name, results in got.items()},
        cpu_unit="s/GB",
    )
    tell(row)
    if load.number == 1:
        tell(_bound_row(load, loopback, kind, row.beside_values))


def _bound_row(load: _Load, loopback: Sequence[float], beside: str, values: Sequence[float]) -> Row:
    """What the ratio of a relay to another one would be if it cost nothing at all."""
    note = "bound: loopback without any relay, so the most that a relay could reach of what stands beside it"
    return Row(load.name("bound: no relay"), "GB/s", loopback, beside, values, note=note)


async def _rounds(
    stand: Stand, ways: dict[str, tuple[int | None, int | None]], number: int, effort: Effort, light: bool
) -> dict[str, list[dict[str, float]]]:
    got: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for index in range(effort.rounds):
        for name in turns(ways, index):
            port, pid = ways[name]
            got[name].append(await _stream(stand, port, pid, number, effort, light))
    return got


async def _stream(
    stand: Stand, port: int | None, pid: int | None, number: int, effort: Effort, light: bool = False
) -> dict[str, float]:
    """One way, one round: GB/s, and CPU seconds for each GB of the process between and of the generators."""
    shares = CpuShares({"relay": pid} if pid is not None else {})
    before = cpu_seconds(stand.near.pid) + cpu_seconds(stand.far.pid)
    await stand.far.ask(mode="discard" if light else "sink")
    got = await stand.near.ask(work="stream", port=port, connections=number, seconds=effort.seconds, light=light)
    ends = cpu_seconds(stand.near.pid) + cpu_seconds(stand.far.pid) - before
    gigabytes = got["bytes_in_all"] / GB
    relay = shares.seconds().get("relay", 0.0)
    return {
        "rate": got["bytes"] / GB / got["seconds"],
        "cpu_per_gb": relay / gigabytes,
        "ends_cpu_per_gb": ends / gigabytes,
    }


def _throughput_rows(load: _Load, got: dict[str, list[dict[str, float]]]) -> list[Row]:
    values = [one["rate"] for one in got["splice"]]
    cpu = {name: middle(results, "cpu_per_gb") for name, results in got.items() if name != "loopback"}
    cpu["the two ends"] = middle(got["splice"], "ends_cpu_per_gb")

    def row(beside: str) -> Row:
        name, targets = load.name("splice"), load.targets(beside)
        if beside not in got:
            why = f"{beside} is not installed (apt-get install {beside.lower()})"
            return Row(name, "GB/s", beside=beside, targets=targets, missing=why)
        others = [one["rate"] for one in got[beside]]
        return Row(name, "GB/s", values, beside, others, targets=targets, cpu=cpu, cpu_unit="s/GB")

    rows = [row("loopback"), row("HAProxy")]
    if TUNED in got:
        rows.append(row(TUNED))
    if "HAProxy" in got and load.number == 1:
        loopback, haproxy = ([one["rate"] for one in got[name]] for name in ("loopback", "HAProxy"))
        rows.append(_cpu_row(load, got))
        rows.append(_bound_row(load, loopback, "HAProxy", haproxy))
    return rows


def _cpu_row(load: _Load, got: dict[str, list[dict[str, float]]]) -> Row:
    """What a GB costs the relay, beside HAProxy."""
    ours, theirs = ([one["cpu_per_gb"] for one in got[name]] for name in ("splice", "HAProxy"))
    most = [Target(1.0, of_ratio=True, at_most=True)]
    return Row(load.name("CPU of splice"), "s/GB", ours, "HAProxy", theirs, targets=most)


def tunnels(number: int) -> str:
    return f"{number} tunnel" + "s" * (number > 1)


def middle(results: list[dict[str, float]], key: str) -> float:
    """The median of one of the values that rounds have."""
    ordered = sorted(one[key] for one in results)
    return ordered[len(ordered) // 2]


async def _iperf_row(stand: Stand, effort: Effort) -> Row:
    """near and far over loopback beside iperf3 itself: they must load as it does."""
    name = "check: near and far over loopback"
    if not shutil.which("iperf3"):
        return Row(name, "GB/s", beside="iperf3", missing="iperf3 is not installed (apt-get install iperf3)")
    port = str(free_port(25_201))
    server = await asyncio.create_subprocess_exec(
        *("iperf3", "-s", "-p", port, "-B", "127.0.0.1"),
        **dict.fromkeys(("stdout", "stderr"), asyncio.subprocess.DEVNULL),
    )
    ours, rates = [], []
    try:
        await until(lambda: accepts(int(port)))
        for _ in range(effort.rounds):
            ours.append((await _stream(stand, stand.plain_port, None, 1, effort))["rate"])
            client = await asyncio.create_subprocess_exec(
                *("iperf3", "-c", "127.0.0.1", "-p", port, "-J", "-t", str(max(1, round(effort.seconds)))),
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await client.communicate()
            rates.append(json.loads(out)["end"]["sum_received"]["bits_per_second"] / 8 / GB)
    finally:
        server.terminate()
        await server.wait()
    note = "check: a ratio of about 1 or more says that near.py and far.py are no brake"
    return Row(name, "GB/s", ours, "iperf3", rates, note=note)


# Pair set-ups


async def pair_rows(folder: Path, tree: Path, effort: Effort, tell: Callable[[Row], None]) -> None:
    """Request, the proxy's call to its EPS server, two dials, a byte through and back."""
    async with Stand.made(folder / "pairs", tree) as stand, stand.proxy() as pid:
        for callers, wanted, writes_twice in ((1, 700, False), (16, 1_400, False), (1, 400, True)):
            await stand.far.ask(mode="echo", writes_twice=writes_twice)
            rates = []
            pids = {"proxy": pid, "near": stand.near.pid, "far": stand.far.pid}
            shares, pairs = CpuShares(pids), 0.0
            for _ in range(effort.rounds):
                got = await stand.near.ask(work="pairs", callers=callers, seconds=effort.seconds)
                rates.append(got["pairs"] / got["seconds"])
                pairs += rates[-1] * (got["seconds"] + 0.3)
            cpu = {name: seconds / pairs * 1e6 for name, seconds in shares.seconds().items()}
            name = f"pair set-ups, {callers} at a time" + ", answered in two writes" * writes_twice
            tell(Row(name, "/s", rates, targets=[Target(wanted)], cpu=cpu, cpu_unit="µs/pair"))


# Idle tunnels


async def idle_rows(folder: Path, tree: Path, effort: Effort, tell: Callable[[Row], None]) -> None:
    """Memory and CPU time of tunnels that nobody uses."""
    async with Stand.made(folder / "idle", tree) as stand, stand.proxy() as pid:
        await stand.far.ask(mode="sink")
        await stand.near.ask(work="hold", connections=100)  # what is made once is there afterwards
        before = resident_bytes(pid)
        number = IDLE_TUNNELS - 100
        await stand.near.ask(work="hold", connections=number)
        kib = (resident_bytes(pid) - before) / number / 1024
        shares, seconds = CpuShares({"proxy": pid}), max(3.0, 4 * effort.seconds)
        await asyncio.sleep(seconds)
        percent = shares.seconds()["proxy"] / seconds * 100
        await stand.near.ask(work="release")
    note = (
        f"idle: {IDLE_TUNNELS:,} joined tunnels; growth of the proxy's own memory, and its CPU time in {seconds:.0f} s"
    )
    tell(Row("idle tunnels, memory of each", "KiB", [kib], targets=[Target(4, at_most=True)], note=note))
    tell(Row("idle tunnels, CPU of all", "% of a core", [percent], targets=[Target(0.5, at_most=True)], note=note))
