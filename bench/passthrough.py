"""Rows about TLS passthrough: both proxies and their EPS servers as real processes, raw forwarding.

    new connections   ab → public proxy → private proxy → openssl s_server
    throughput        near.py → public proxy → private proxy → far.py: what the relay's rows are loaded with

Straight, that is without the proxies, ab and near.py connect to the very same server, in turns with the other way.
"""

import asyncio
import base64
import json
import re
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from calls import Effort
from network import Network
from relay import GB, accepts, middle, until
from table import Row, Target
from workers import CpuShares, Worker, cpu_seconds

from eps.errors import EpsError

DOMAIN = "test.internal-server.local"
PUBLIC, PRIVATE = "public-proxy-1.ga", "private-proxy-1.ga"
ROLES = ("sd-1", "public-proxy-1", "public-proxy-eps-1", "private-proxy-eps-1", "private-proxy-1")
WANTED = {1: 100, 32: 200}
"""New connections a second, at so many at a time."""

PATIENCE = 60.0
"""Seconds until everybody knows the directory; and for ab beyond its time: it waits 30 s for an answer."""


async def passthrough_rows(folder: Path, tree: Path, effort: Effort, tell: Callable[[Row], None]) -> None:
    """New TLS connections, then bulk throughput."""
    (folder / "passthrough").mkdir()
    async with Network(folder / "passthrough", tree) as network:
        await network.start(*ROLES)
        await network.setup_directory()
        await _announce(network)
        await _connection_rows(network, effort, tell)
        tell(await _throughput_row(network, effort))


async def _announce(network: Network) -> None:
    """Again and again until everybody knows the directory."""
    params = {"domain": DOMAIN, "proxy": PUBLIC, "expires_at": None}
    last, until_when = "", time.monotonic() + PATIENCE
    while time.monotonic() < until_when:
        try:
            answer = await network.call(f"{PRIVATE}.announceConnection", params, PRIVATE)
            if answer.error is None:
                return
            last = answer.error.message
        except EpsError as error:
            last = error.message
        await asyncio.sleep(0.1)
    raise RuntimeError(f"no announcement in {PATIENCE:.0f} s: {last}")


# New connections


async def _connection_rows(network: Network, effort: Effort, tell: Callable[[Row], None]) -> None:
    names = {number: f"new TLS connections, {number} at a time" for number in WANTED}
    if not (shutil.which("ab") and shutil.which("openssl")):
        why = "ab or openssl is not installed (apt-get install apache2-utils openssl)"
        for number, name in names.items():
            tell(Row(name, "/s", targets=[Target(WANTED[number])], missing=why))
        return
    async with _s_server(network) as server:
        await _ab(network.ports.of[4433], 1, requests=4)  # the first one makes the operators connect
        for number, name in names.items():
            tell(await _connection_row(network, server, number, name, effort))


async def _connection_row(network: Network, server: int, number: int, name: str, effort: Effort) -> Row:
    seconds = max(1, round(effort.seconds))  # ab knows whole ones only
    pids = {**network.pids, "s_server": server}
    through, straight, made = [], [], 0
    used = dict.fromkeys(pids, 0.0)
    for _ in range(effort.rounds):
        shares = CpuShares(pids)
        rate, count = await _ab(network.ports.of[4433], number, seconds=seconds)
        for role, cpu in shares.seconds().items():
            used[role] += cpu
        made += count
        through.append(rate)
        straight.append((await _ab(network.ports.of[7777], number, seconds=seconds))[0])
    return Row(
        name=name,
        unit="/s",
        values=through,
        beside="straight",
        beside_values=straight,
        targets=[Target(WANTED[number])],
        cpu={role: cpu / made * 1e6 for role, cpu in used.items() if cpu / made > 5e-6},
        cpu_unit="µs/connection",
    )


@asynccontextmanager
async def _s_server(network: Network) -> AsyncIterator[int]:
    """``openssl s_server`` as the internal server; its process id."""
    port, files = network.ports.of[7777], network.files("internal-server")
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_server", "-quiet", "-www", "-accept", f"127.0.0.1:{port}"),
        *("-cert", files["certificate"], "-key", files["key"]),
        **dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.DEVNULL),
    )
    try:
        await until(lambda: accepts(port) or process.returncode is not None)
        if process.returncode is not None or not accepts(port):
            raise RuntimeError("openssl s_server did not start")
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ab(port: int, number: int, *, seconds: int = 30, requests: int = 1_000_000) -> tuple[float, int]:
    """Connections a second, and how many: a handshake, a request, its answer, close. ab takes what follows -X for an
    HTTP proxy but begins TLS with it at once, so the name need not be known to any resolver.

    Raises:
        RuntimeError: ab failed, or one of its requests did.
    """
    process = await asyncio.create_subprocess_exec(
        *("ab", "-q", "-l", "-c", str(min(number, requests)), "-t", str(seconds), "-n", str(requests)),
        *("-X", f"127.0.0.1:{port}", f"https://{DOMAIN}/"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(seconds + PATIENCE):
            text = (await process.communicate())[0].decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    figures = {name: float(value) for name, value in re.findall(r"^([A-Z][\w -]+): +([\d.]+)", text, re.MULTILINE)}
    bad = figures.get("Failed requests") or figures.get("Non-2xx responses")
    if process.returncode or bad or not figures.get("Complete requests"):
        raise RuntimeError(f"ab, {number} at a time, port {port}: {text[-600:]}")
    return figures["Requests per second"], int(figures["Complete requests"])


# Throughput


async def _throughput_row(network: Network, effort: Effort) -> Row:
    """One connection, full of bytes; only its hello is TLS."""
    ports, files = network.ports.of, network.files(PUBLIC)
    got: dict[str, list[dict[str, float]]] = {"through": [], "straight": []}
    # hd-2 does not run here, so far may have its port for the calls that nobody makes
    to_far = json.dumps({**files, "rpc_port": ports[3334], "plain_port": ports[7777]})
    to_near = json.dumps({**files, "rpc_port": ports[6655]})
    async with Worker("far.py", to_far) as far, Worker("near.py", to_near) as near:
        await far.hear()
        await far.ask(mode="greet")
        for _ in range(effort.rounds):
            for way, port in (("through", ports[4433]), ("straight", ports[7777])):
                got[way].append(await _stream(network, near, far, port, effort.seconds))
    return Row(
        name="throughput, 1 connection",
        unit="GB/s",
        values=[one["rate"] for one in got["through"]],
        beside="straight",
        beside_values=[one["rate"] for one in got["straight"]],
        cpu={name: middle(got["through"], name) for name in ("public-proxy-1", "private-proxy-1", "the two ends")},
        cpu_unit="s/GB",
    )


async def _stream(network: Network, near: Worker, far: Worker, port: int, seconds: float) -> dict[str, float]:
    """One round: GB/s, and CPU seconds for each GB."""
    shares = CpuShares({role: network.pids[role] for role in ("public-proxy-1", "private-proxy-1")})
    ends = cpu_seconds(near.pid) + cpu_seconds(far.pid)
    got = await near.ask(work="stream", port=port, connections=1, seconds=seconds, hello=_hello())
    used = {**shares.seconds(), "the two ends": cpu_seconds(near.pid) + cpu_seconds(far.pid) - ends}
    gigabytes = got["bytes_in_all"] / GB
    return {"rate": got["bytes"] / GB / got["seconds"], **{name: cpu / gigabytes for name, cpu in used.items()}}


def _hello() -> str:
    """A ClientHello of this Python's for ``DOMAIN``, in base64."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=DOMAIN)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass  # it has said hello and waits for an answer
    return base64.b64encode(outgoing.read()).decode()
