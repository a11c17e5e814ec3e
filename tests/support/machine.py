"""The development network as users run it: real processes on one machine, but on ports of its own, so that tests run
side by side and next to a running demo.

async with Machine(tmp_path, certificates) as machine:
    await machine.start(*SERVERS)
    await machine.setup_directory()
    answer = await machine.ping()
"""

import asyncio
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eps.core.certificate import fingerprint_of
from eps.core.message import Response
from eps.core.names import Fingerprint
from eps.core.pem import certificates_in
from eps.errors import EpsError
from eps.jsonrpc.client import JsonRpcClient
from eps.transport.tls import TlsFiles
from support.ports import PortBlock, is_free

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
"""Where the console scripts are."""

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "sd-1": ("sd", "run"),
    "public-proxy-1": ("proxy", "run", "public"),
    "public-proxy-eps-1": ("eps", "server", "run"),
    "hd-1": ("eps", "server", "run"),
    "hd-2": ("eps", "server", "run"),
    "private-proxy-eps-1": ("eps", "server", "run"),
    "private-proxy-1": ("proxy", "run", "private"),
}
"""What each role runs."""

SERVERS = ("sd-1", "public-proxy-1", "public-proxy-eps-1", "hd-1", "hd-2")
"""Those of the seven commands under which README.md runs the pieces."""

PASSTHROUGH = ("private-proxy-eps-1", "private-proxy-1")
"""Those that TLS passthrough needs besides."""

STOP_SECONDS = 60.0
"""Ten of them may be its ``drain_timeout``; seven that stop at once on a machine that others use need the rest."""
LINE_LIMIT = 1 << 20


def shell_environment(**more: str) -> dict[str, str]:
    """Our environment, with the console scripts on PATH and without settings of the developer's own."""
    ours = {name: value for name, value in os.environ.items() if not name.endswith("_SETTINGS")}
    return {**ours, "PATH": f"{BIN}{os.pathsep}{ours['PATH']}", **more}


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


class Process:
    """A running server; its JSON log lines are remembered and can be waited for."""

    def __init__(self, role: str, process: asyncio.subprocess.Process) -> None:
        self.role = role
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    def log(self) -> str:
        return "".join(self.raw)

    async def wait_for(self, timeout: float = 60.0, **wanted: Any) -> dict[str, Any]:
        """The first log line, now or later, with these values; strings need only be contained."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for line in self.lines:
                        if all(_matches(line.get(key), value) for key, value in wanted.items()):
                            return line
                    assert not self._reader.done(), f"{self.role} has ended:\n{self.log()}"
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{self.role} said nothing like {wanted} in {timeout} s:\n{self.log()}") from None

    async def up(self) -> None:
        await self.wait_for(kind="started")

    def send(self, number: int) -> None:
        if self.running:
            self.process.send_signal(number)

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait until it has ended and its log is read; its exit code."""
        self.send(number)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._reader
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise AssertionError(f"{self.role} did not end within {STOP_SECONDS} s:\n{self.log()}") from None

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            self.raw.append(raw.decode())
            try:
                self.lines.append(json.loads(raw))
            except ValueError:
                self.lines.append({"kind": "text", "message": raw.decode()})
            self._news.set()
        self._news.set()


def _matches(value: object, wanted: object) -> bool:
    return wanted in value if isinstance(wanted, str) and isinstance(value, str) else value == wanted


class Machine:
    """A folder with settings like the repository's, and the processes that run there.

    Args:
        folder: an empty folder; stands for the repository's root.
        made: a tree ``settings/dev`` with certificates (the fixture ``dev_tree``).
        ports: by default free ones.
    """

    def __init__(self, folder: Path, made: Path, ports: PortBlock | None = None) -> None:
        self.folder = folder
        self.ports = ports or PortBlock()
        self.dev = folder / "settings" / "dev"
        shutil.copytree(made, self.dev)
        for file in [*self.dev.rglob("*.yml"), self.dev / "directory" / "001_base.json"]:
            file.write_text(self.ports.rewrite(file.read_text()))
        self.processes: dict[str, Process] = {}
        self.ended: list[Process] = []

    async def __aenter__(self) -> "Machine":
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        codes = await asyncio.gather(*(self.stop(role) for role in list(self.processes)), return_exceptions=True)
        self.ports.close()
        if kind is None:
            assert set(codes) <= {0}, codes
            for process in self.ended:
                assert "Traceback" not in process.log() and "unexpected" not in process.log(), process.log()
            taken = [port for port in self.ports.of.values() if not is_free(port)]
            assert not taken, f"still taken: {taken}"

    # Servers

    def environment(self, role: str) -> dict[str, str]:
        """What a user types before a command of that role."""
        variable = f"{COMMANDS[role][0].upper()}_SETTINGS"
        return {variable: f"settings/dev/roles/{role}"}

    async def launch(self, role: str, *options: str, **environment: str) -> Process:
        """Start the server of ``role`` and return at once."""
        program, *command = COMMANDS[role]
        process = await self.spawn(role, program, "--format", "json", "--level", "debug", *options, *command,
                                   **environment)  # fmt: skip
        self.processes[role] = process
        return process

    async def spawn(self, role: str, program: str, *arguments: str, **environment: str) -> Process:
        """Start any command that logs to standard error; the caller ends it."""
        return await self.spawn_shell(role, shlex.join(["exec", program, *arguments]),
                                      **{**self.environment(role), **environment})  # fmt: skip

    async def spawn_shell(self, role: str, line: str, **environment: str) -> Process:
        """As :meth:`spawn`, for a line that a user types."""
        made = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            line,
            cwd=self.folder,
            env=shell_environment(**environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
        )
        return Process(role, made)

    async def start(self, *roles: str) -> None:
        """Start servers side by side and wait until each says that it is running."""
        for role in roles:
            await self.launch(role)
        await asyncio.gather(*(self.processes[role].up() for role in roles))

    async def stop(self, role: str, number: int = signal.SIGTERM) -> int:
        """End a server; its exit code."""
        return await self.leaves(role).end(number)

    def leaves(self, role: str) -> Process:
        """The process of a role, which ends: whoever says so waits until it has."""
        process = self.processes.pop(role)
        self.ended.append(process)
        return process

    async def restart(self, role: str) -> None:
        """kill -9, and start it again."""
        assert await self.stop(role, signal.SIGKILL) == -signal.SIGKILL
        await self.start(role)

    async def take_over(self, role: str) -> Process:
        """Start another process of a role in the place of the one that runs; that one, once it has ended."""
        old = self.leaves(role)
        program, *command = COMMANDS[role]
        arguments = ["--format", "json", "--level", "debug", *command, "--take-over"]
        self.processes[role] = await self.spawn(role, program, *arguments)
        await self.processes[role].up()
        async with asyncio.timeout(60):
            assert await old.process.wait() == 0
        await old.wait_for(text="has taken over")
        return old

    async def ready(self) -> None:
        """All servers up, the directory submitted, hd-1 and hd-2 connected."""
        await self.start(*SERVERS)
        await self.setup_directory()
        await asyncio.gather(
            *(self.processes["public-proxy-eps-1"].wait_for(kind="peer", link="connected", peer=name, up=True)
              for name in ("hd-1", "hd-2")),
            *(self.processes[role].wait_for(kind="directory") for role in ("hd-1", "hd-2", "public-proxy-eps-1")),
        )  # fmt: skip

    # Commands

    async def run(
        self, *arguments: str, role: str = "hd-1", stdin: str | None = None, timeout: float = 30.0, **environment: str
    ) -> Done:
        """Run a console script, or any other program, to its end."""
        made = await asyncio.create_subprocess_exec(
            *arguments,
            cwd=self.folder,
            env=shell_environment(**{**self.environment(role), **environment}),
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(timeout):
                out, err = await made.communicate(stdin.encode() if stdin is not None else None)
        except BaseException:
            made.kill()
            await made.wait()
            raise
        assert made.returncode is not None
        return Done(made.returncode, out.decode(), err.decode())

    async def setup_directory(self) -> Done:
        """What ``make sd-setup`` runs."""
        done = await self.run("eps", "sd", "submit-records", "--reset", "--wait", "30", DIRECTORY)
        assert done.code == 0, done
        return done

    async def submit(self, records: list[dict[str, Any]], *options: str) -> Done:
        """Sign and submit change records as hd-1's administrator."""
        file = self.folder / "change.json"
        dated = [{"created_at": "2026-11-22T00:00:00Z", **record} for record in records]
        file.write_text(json.dumps({"records": dated}))
        return await self.run("eps", "sd", "submit-records", *options, str(file))

    # Calls, as an application makes them

    def application(self, operator: str = "hd-1", certificate: str = "") -> JsonRpcClient:
        """A client of that operator's server, with the operator's certificate or another. The caller closes it."""
        port = self.ports.of[
            {"hd-1": 5555, "hd-2": 3334, "public-proxy-1.ga": 5544, "private-proxy-1.ga": 7766}[operator]
        ]
        files = self.application_files(certificate or operator)
        return JsonRpcClient(f"https://{self.host_of(operator)}:{port}/jsonrpc", tls=files, server_name=operator)

    def application_files(self, name: str = "hd-1") -> TlsFiles:
        """The TLS files of an application with that certificate."""
        certs = self.dev / "certs"
        return TlsFiles((str(certs / "root.crt"),), str(certs / f"{name}.crt"), str(certs / f"{name}.key"))

    def fingerprint(self, name: str) -> Fingerprint:
        """What the directory pins that certificate by."""
        file = self.dev / "certs" / f"{name}.crt"
        return fingerprint_of(certificates_in(file.read_bytes(), str(file), "")[0])

    def host_of(self, operator: str) -> str:
        """Where that operator's server is."""
        return "localhost"

    async def call(self, method: str, params: dict[str, Any] | None = None, operator: str = "hd-1") -> Response:
        """One call by an application of ``operator``."""
        client = self.application(operator)
        try:
            return await client.call(method, params or {}, request_id="1")
        finally:
            await client.close()

    async def ping(self) -> Response:
        return await self.call("hd-2._ping")

    async def until_ping(self, timeout: float) -> float:
        """Ping, again and again, until hd-2 answers; the seconds that it took.

        Raises:
            AssertionError: it did not within ``timeout`` seconds; with what went wrong last.
        """
        began = time.monotonic()
        last = ""
        while True:
            try:
                response = await self.ping()
                if response.error is None:
                    assert response.result["serverInfo"]["name"] == "hd-2"
                    took = time.monotonic() - began
                    assert took < timeout, f"{took:.1f} s; before: {last}"
                    return took
                last = response.error.message
            except EpsError as error:
                last = error.message
            assert time.monotonic() - began < timeout, last
            await asyncio.sleep(0.05)


DIRECTORY = "settings/dev/directory"
