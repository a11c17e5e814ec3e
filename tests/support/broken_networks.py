"""Broken networks, made with the real programs on one machine, and what is told of each: to the caller, at a start, by
a command. One tour through all of them, since a restart costs more than what breaks.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from eps.errors import EpsError
from eps.pki import Authority
from support.broken_networks_doctors import DOCTORS, PROXY, PROXY_EPS, named, who_looks
from support.doctors import Says, doctor_says
from support.machine import Machine, Process

T = TypeVar("T", bound="Tour")


TOUR_SECONDS = 570
"""For all networks; a little less than the tests have that wait for them."""


@dataclass(frozen=True)
class Told:
    """What is told of one network.

    Attributes:
        where: ``call`` (the caller's answer), ``log``, ``start``, ``command``.
        text: the message, and what to do.
        stage, side, outcome, reason: of a call; of others the reason, where the line has one.
    """

    where: str
    text: str
    stage: str = "-"
    side: str = ""
    outcome: str = ""
    reason: str = ""


Stop = Callable[[], Awaitable[object]]


class Tour:
    """Makes the networks. ``told`` has what each tells, by its id in ``broken_networks.json``; ``doctors`` what
    doctors say of it then."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.told: dict[str, Told] = {}
        self.doctors: dict[str, list[Says]] = {}
        self._as_they_were: dict[Path, str] = {}
        self._answer = ""
        self._application: asyncio.Server | None = None

    async def run(self) -> None:
        """All of them."""
        await self._prepare()
        await self._start_and_commands()
        await self.machine.ready()
        await self._well_connected()
        await self._peer_and_proxy()
        await self._ours()
        await self._directory()
        assert self._application is not None
        self._application.close()

    # What is common

    def edit(self, role: str, old: str, new: str, file: str = "*.yml", count: int = -1) -> None:
        """Change the settings of ``role`` until :meth:`mend`."""
        files = [path for path in sorted((self.machine.dev / "roles" / role).glob(file)) if old in path.read_text()]
        assert files, (role, old)
        for path in files:
            self._as_they_were.setdefault(path, path.read_text())
            path.write_text(path.read_text().replace(old, new, count))

    def mend(self) -> None:
        """All settings as they were."""
        for path, text in self._as_they_were.items():
            path.write_text(text)
        self._as_they_were.clear()

    async def call(self, name: str, method: str = "hd-2._ping") -> None:
        """Note what a caller is told."""
        try:
            error = (await self.machine.call(method)).error
        except EpsError as local:
            told = _told_of_call(local.message, local.data())
        else:
            assert error is not None, name
            told = _told_of_call(error.message, error.data)
        await self.note(name, told)

    async def note(self, name: str, told: Told, **environment: str) -> None:
        """Note what is told, and what doctors say in that environment."""
        self.told[name] = told
        self.doctors[name] = [await doctor_says(self.machine, each, **environment) for each in who_looks(name)]

    async def logged(self, name: str, process: Process, side: str = "ours", **wanted: Any) -> None:
        """Note a line of a log."""
        line = await process.wait_for(**wanted)
        words = (line.get("side") or side, "executed", line.get("reason", ""))
        await self.note(name, Told("log", line["message"], line.get("stage") or "-", *words))

    async def start_fails(self, name: str, role: str = "hd-1", **environment: str) -> None:
        """Note with what line a start ends."""
        process = await self.machine.launch(role, **environment)
        line = await process.wait_for(level="fatal")
        assert await self.machine.stop(role) != 0
        self.machine.ended.remove(process)
        words = (line["stage"] or "-", line["side"], "not_sent", line["reason"])
        await self.note(name, Told("start", line["message"], *words), **environment)

    async def restarted(self, *roles: str, connects: bool = True) -> None:
        """Start ``roles`` anew. If they can connect, wait until the streams to the proxy's EPS server stand again."""
        for role in roles:
            if role in self.machine.processes:
                await self.machine.stop(role)
        await self.machine.start(*roles)
        for role in ("hd-1", "hd-2"):
            if connects and role in self.machine.processes and {role, PROXY_EPS} & {*roles}:
                await self.machine.processes[role].wait_for(kind="peer", link="stream", up=True)

    # 1: before anything runs

    async def _prepare(self) -> None:
        await self._start_application()
        hd_1 = self.machine.dev / "roles" / "hd-1" / "001_default.yml"
        hd_1.write_text(hd_1.read_text() + "patience: 0\ncall_timeout: 6\n")
        proxy = self.machine.dev / "roles" / PROXY / "001_default.yml"
        proxy.write_text(proxy.read_text().replace("accept_timeout: 10", "accept_timeout: 4"))
        (self.machine.dev / "certs" / "other.crt").write_bytes(Authority.create(fast=True).root_pem)

    async def _start_application(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(65_536)
            if self._answer:
                body = self._answer.encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
            writer.close()

        self._application = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = self._application.sockets[0].getsockname()[1]
        channels = self.machine.dev / "roles" / "hd-2" / "002_server.yml"
        more = (
            f"  - name: app\n    type: jsonrpc_client\n    settings:\n      endpoint: http://127.0.0.1:{port}/secret\n"
        )
        channels.write_text(channels.read_text().rstrip() + "\n" + more)

    async def _start_and_commands(self) -> None:
        certs = self.machine.dev / "certs"
        self.edit("hd-1", "certs/hd-1.key", "certs/hd-2.key")
        await self.start_fails("key-misfit")
        self.mend()
        self.edit("hd-1", "name: hd-1\n", "name: [hd-1]\n")
        await self.start_fails("settings-type")
        self.mend()
        self.edit("hd-1", "name: hd-1\n", "name: $NOWHERE\n")
        await self.start_fails("settings-variable")
        self.mend()
        port = self.machine.ports.of[5555]
        with socket.create_server(("127.0.0.1", port)):
            await self.start_fails("port-taken")
        os.chmod(certs / "hd-1.key", 0o644)
        process = await self.machine.launch("hd-1")
        await self.logged("key-readable", process, text="may read this private key")
        os.chmod(certs / "hd-1.key", 0o600)
        await process.up()
        await self.machine.stop("hd-1")
        shutil.rmtree(self.machine.folder / ".eps")

    # 2: everything runs

    async def _well_connected(self) -> None:
        await self._grant("work")
        await self.call("operator-unknown", "hd-3._ping")
        await self.call("method-unknown", "hd-2._pin")
        await self.call("no-permission", "hd-2.secret")
        self._answer = "<html>secret</html>"
        await self.call("application-html", "hd-2.work")
        self._answer = ""
        await self.call("application-crashes", "hd-2.work")
        assert self._application is not None
        self._application.close()
        await self.call("application-down", "hd-2.work")
        colons = {"fingerprint": ":".join(["AB"] * 32), "key_usage": "encryption"}
        await self._command("fingerprint-colons", {"name": "hd-1", "section": "certificates", "data": [colons]})
        hd_2 = self.machine.processes["hd-2"]
        hd_2.send(signal.SIGSTOP)
        await self.call("peer-hangs-kept")
        hd_2.send(signal.SIGCONT)

    async def _grant(self, method: str) -> None:
        everybody = [{"group": "health-departments", "rights": ["call"]}]
        proxies = [{"group": "proxy-providers", "rights": ["call"]}]
        data = [
            _service("connection-requests", proxies, "_connectionRequest"),
            _service("app", everybody, method),
            _service("private", [{"group": "laboratories", "rights": ["call"]}], "secret"),
            _service("internals", everybody, "_ping"),
        ]
        done = await self.machine.submit([{"name": "hd-2", "section": "services", "data": data}])
        assert done.code == 0, done
        while (error := (await self.machine.call(f"hd-2.{method}")).error) and error.code == 403:
            await asyncio.sleep(0.1)

    async def _command(self, name: str, record: dict[str, Any]) -> None:
        done = await self.machine.submit([record])
        assert done.code != 0, (name, done)
        await self.note(name, Told("command", done.err, stage="directory", side="ours", outcome="not_sent"))

    # 3: the callee, and its proxy

    async def _peer_and_proxy(self) -> None:
        await self.restarted("hd-1")
        hd_2 = self.machine.processes["hd-2"]
        hd_2.send(signal.SIGSTOP)
        await self.call("peer-hangs-new")
        hd_2.send(signal.SIGCONT)
        await self.machine.stop("hd-2")
        await self.machine.processes[PROXY_EPS].wait_for(kind="peer", link="connected", peer="hd-2", up=False)
        await self.call("peer-off")
        self.edit("hd-2", "certs/hd-2.", "certs/hd-2-alt.")
        await self.machine.start("hd-2")
        shown = self.machine.fingerprint("hd-2-alt")
        await self.machine.processes[PROXY_EPS].wait_for(kind="refused", why="pin", detail=shown)
        await self.call("peer-unpinned")
        self.mend()
        await self.restarted("hd-2")
        await self._second_server()
        await self._the_relay()
        await self.machine.stop(PROXY)
        await self.call("proxy-program-down")
        await self.machine.start(PROXY)
        await self.machine.stop(PROXY_EPS)
        await self.call("proxy-eps-down")
        await self.restarted(PROXY_EPS)

    async def _the_relay(self) -> None:
        port = self.machine.ports.of[9999]
        self.edit(PROXY, f"internal_bind_address: localhost:{port}", "internal_bind_address: localhost:0")
        await self.restarted(PROXY)
        await self.call("relay-nothing-listens")
        await self._their_own_logs()
        self.mend()
        self.edit(PROXY, f"internal_endpoint: localhost:{port}", f"internal_endpoint: 127.0.0.1:{port}")
        await self.restarted(PROXY)
        await self.call("endpoint-not-listed")
        self.mend()

    async def _their_own_logs(self) -> None:
        """The administrators of callee and proxy find for whom, with which id and why a tunnel failed."""
        wanted = {"kind": "call", "method": "_connectionRequest", "reason": "relay-unreachable"}
        callee = await self.machine.processes["hd-2"].wait_for(**wanted, detail="[a tunnel for hd-1]")
        wanted = {"kind": "tunnel", "reason": "relay-unreachable", "caller": "hd-1", "callee": "hd-2"}
        proxy = await self.machine.processes[PROXY].wait_for(**wanted)
        assert callee["call_id"] and proxy["call_id"] and "refuses connections" in proxy["message"]
        assert f"localhost:{self.machine.ports.of[9999]}: connection refused" in callee["detail"], "not told to hd-1"

    async def _second_server(self) -> None:
        roles = self.machine.dev / "roles"
        shutil.copytree(roles / "hd-2", roles / "hd-2b")
        ports = {str(self.machine.ports.of[port]) for port in (3334, 8889)}
        for file in (roles / "hd-2b").glob("*.yml"):
            text = re.sub(r"localhost:(\d+)\s*\n", lambda m: m[0].replace(m[1], "0") if m[1] in ports else m[0],
                          file.read_text())  # fmt: skip
            text = re.sub(r"(metrics|status):\n  bind_address: .*\n", "", text)
            file.write_text(text.replace(".eps/hd-2", ".eps/hd-2b"))
        command = ("eps", "--format", "json", "server", "run")
        second = await self.machine.spawn("hd-2", *command, EPS_SETTINGS="settings/dev/roles/hd-2b")
        await second.up()
        for process in (self.machine.processes["hd-2"], second, self.machine.processes[PROXY_EPS]):
            wanted = {"kind": "notice", "reason": "second-server", "text": "two servers of hd-2"}
            await self.logged("second-server", process, side="peer", **wanted)
        async with asyncio.timeout(60):  # while hd-2's stream is just down, its doctor names that first
            while not all(named(names, self.doctors["second-server"]) for names in DOCTORS["second-server"]):
                await self.note("second-server", self.told["second-server"])
        assert await second.end() == 0

    # 4: our own server

    async def _ours(self) -> None:
        await self._with_settings("own-unpinned", "certs/hd-1.", "certs/hd-1-alt.", file="002*")
        await self._with_settings("ca-wrong-grpc-client", "certs/root.crt", "certs/other.crt", file="002*", count=1)
        async with _http_proxy() as (url, stop):
            client = "    type: grpc_client\n    settings:\n"
            self.edit("hd-1", client, f"{client}      proxy_url: http://user:pw@{url}\n")
            await self.restarted("hd-1", connects=False)
            await self._directory_there()
            await self.call("http-proxy-refuses")
            await stop()
            await self.call("http-proxy-down")
            self.mend()

    async def _with_settings(self, name: str, old: str, new: str, file: str, count: int = -1) -> None:
        self.edit("hd-1", old, new, file=file, count=count)
        await self.restarted("hd-1", connects=False)
        await self._directory_there()
        await self.call(name)
        if name == "own-unpinned":
            done = await self.machine.run("eps", "config", "check")
            assert done.code == 1 and "does not pin" in done.out, done
        self.mend()

    async def _directory_there(self) -> None:
        await self.machine.processes["hd-1"].wait_for(kind="directory")

    # 5: the directory

    async def _directory(self) -> None:
        await self._stale()
        await self.machine.stop("sd-1")
        await self.restarted("hd-1")
        hd_1 = self.machine.processes["hd-1"]
        assert (await self.machine.ping()).error is None
        await self.logged("sd-down-cached", hd_1, side="directory", kind="directory_failed")
        await self._fresh("sd-down-fresh")
        await self.machine.start("sd-1")
        self.edit("hd-1", "certs/root.crt", "certs/other.crt", file="001*", count=1)
        await self._fresh("ca-wrong-everywhere")
        self.mend()

    async def _fresh(self, name: str) -> None:
        await self.machine.stop("hd-1")
        shutil.rmtree(self.machine.folder / ".eps" / "hd-1")
        await self.machine.start("hd-1")
        await self.machine.processes["hd-1"].wait_for(kind="directory_failed")
        await self.call(name)

    async def _stale(self) -> None:
        """hd-2 shows a new certificate, and its operator has submitted it; our link to the SD is dead since before."""
        await self.restarted("hd-1")
        await self.machine.stop("hd-1")
        entries = json.loads((await self.machine.run("eps", "sd", "get-entries", "--name", "hd-2")).out)
        pins = [{"fingerprint": self.machine.fingerprint("hd-2-alt"), "key_usage": "encryption"}, *_pins_of(entries)]
        done = await self.machine.submit([{"name": "hd-2", "section": "certificates", "data": pins}])
        assert done.code == 0, done
        self.edit("hd-2", "certs/hd-2.", "certs/hd-2-alt.", file="002*")
        await self.restarted("hd-2")
        self.edit("hd-1", f"localhost:{self.machine.ports.of[3322]}/jsonrpc", "localhost:1/jsonrpc")
        await self.machine.start("hd-1")
        await self.machine.processes["hd-1"].wait_for(kind="directory_failed")
        await self.call("directory-stale")
        self.mend()
        await self.restarted("hd-2")


def _pins_of(entries: Any) -> list[Any]:
    entry = entries[0] if isinstance(entries, list) else entries
    return list(entry["certificates"])


def _service(name: str, permissions: list[Any], method: str) -> dict[str, Any]:
    return {"name": name, "permissions": permissions, "methods": [{"name": method, "permissions": []}]}


def _told_of_call(message: str, data: Any) -> Told:
    words = (str(data.get(key, "")) for key in ("stage", "side", "outcome", "reason"))
    return Told("call", f"{message} ({data['hint']})" if data.get("hint") else message, *words)


@asynccontextmanager
async def _http_proxy() -> AsyncIterator[tuple[str, Stop]]:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", stop
    finally:
        server.close()


def toured(kind: type[T], folder: Path, made: Path) -> T:
    """A tour of that kind, at its end; for fixtures of a module, which have no event loop."""

    async def whole() -> T:
        async with asyncio.timeout(TOUR_SECONDS), Machine(folder, made) as machine:
            tour = kind(machine)
            await tour.run()
        return tour

    return asyncio.run(whole())
