"""The development network under measurement: the real programs, as processes, on ports and in a folder of their own.

What differs from ``settings/dev``: hd-2 also has a ``jsonrpc_client`` (to application.py) and answers ``_kib``
(eps_with_kib.py); the log level is ``info``, as in use, not ``debug``, which the tests want.
"""

import base64
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))  # machine.py starts the programs for the tests, too

from workers import Worker  # noqa: E402

from eps.core.address import Address  # noqa: E402
from eps.core.message import Request, Response  # noqa: E402
from eps.core.names import Operator  # noqa: E402
from eps.grpc import codec  # noqa: E402
from eps.programs.dev.certs import make_dev_certs  # noqa: E402
from support.machine import ROOT, Machine, Process  # noqa: E402 - found through the line above
from support.ports import is_free  # noqa: E402

METHODS = ["_ping", "_kib", "answer"]
"""What hd-1 may call on hd-2: a directory entry, 1 KiB from inside the server, 1 KiB from the application behind it."""

LOG_LEVEL = "info"


class Network(Machine):
    """A :class:`support.machine.Machine` set up to be measured.

    Args:
        idle_timeout: of hd-1's kept connections, in seconds; None: the default.
    """

    def __init__(self, folder: Path, made: Path, idle_timeout: float | None = None) -> None:
        super().__init__(folder, made)
        self.application_port = free_port(max(self.ports.numbers) + 1)  # behind those that are the network's
        roles = self.dev / "roles"
        channel = {
            "name": "the application",
            "type": "jsonrpc_client",
            "settings": {"endpoint": f"http://127.0.0.1:{self.application_port}/"},
        }
        (roles / "hd-2" / "003_application.yml").write_text(f"channels:\n  - {json.dumps(channel)}\n")
        if idle_timeout is not None:
            text = (roles / "hd-1" / "002_server.yml").read_text()
            first = "type: grpc_client\n    settings:\n"
            text = text.replace(first, f"{first}      idle_timeout: {idle_timeout}\n")
            (roles / "hd-1" / "002_server.yml").write_text(text)
        self._offer_methods()

    def _offer_methods(self) -> None:
        path = self.dev / "directory" / "001_base.json"
        directory = json.loads(path.read_text())
        for record in directory["records"]:
            if record["name"] == "hd-2" and record["section"] == "services":
                record["data"][1]["methods"] = [{"name": name, "permissions": []} for name in METHODS]
        path.write_text(json.dumps(directory))

    async def launch(self, role: str, *options: str, **environment: str) -> Process:
        if role != "hd-2":
            return await super().launch(role, "--level", LOG_LEVEL, *options, **environment)
        options = ("--format", "json", "--level", LOG_LEVEL, *options, "server", "run")
        process = await self.spawn(role, sys.executable, str(HERE / "eps_with_kib.py"), *options, **environment)
        self.processes[role] = process
        return process

    @property
    def pids(self) -> dict[str, int]:
        return {role: process.pid for role, process in self.processes.items()}

    def load(self, operator: str = "hd-1") -> Worker:
        """A load generator for that operator's JSON-RPC port."""
        port = self.ports.of[{"hd-1": 5555, "hd-2": 3334}[operator]]
        return Worker("load.py", json.dumps({"port": port, "host": operator, **self.files(operator)}))

    def files(self, operator: str) -> dict[str, str]:
        certs = self.dev / "certs"
        names = {"ca": "root.crt", "certificate": f"{operator}.crt", "key": f"{operator}.key"}
        return {key: str(certs / name) for key, name in names.items()}

    async def messages(self, method: str, params: dict[str, Any]) -> tuple[str, str]:
        """Request and answer of a call as they travel between the servers: base64 of the protobuf messages."""
        response = await self.call(method, params)
        if response.error is not None:
            raise RuntimeError(f"{method}: {response.error}")
        operator, name = method.rsplit(".", 1)
        address = Address(Operator(operator), name, "c1")
        request = codec.encode_request(Request(address, params), Operator("hd-1"))
        answer = codec.encode_response(Response(str(address), response.result), str(address))
        return _text(request.SerializeToString()), _text(answer.SerializeToString())


class Bare:
    """A grpclib server and client, two processes (bare.py)."""

    def __init__(self, server: Worker, client: Worker) -> None:
        self.server = server
        self.client = client

    @classmethod
    @asynccontextmanager
    async def between(cls, network: Network) -> AsyncIterator["Bare"]:
        """With the certificates of hd-1 and hd-2."""
        port = free_port(network.application_port + 1)
        async with AsyncExitStack() as stack:
            workers = []
            for role, operator in (("server", "hd-2"), ("client", "hd-1")):
                arguments = json.dumps({"port": port, **network.files(operator)})
                workers.append(await stack.enter_async_context(Worker("bare.py", role, arguments)))
                if role == "server":
                    await workers[0].hear()
            yield cls(*workers)


def make_tree(folder: Path) -> Path:
    """``settings/dev`` of the repository with new certificates, below ``folder``."""
    tree = folder / "settings" / "dev"
    source = ROOT / "settings" / "dev"
    shutil.copytree(source / "roles", tree / "roles")
    (tree / "directory").mkdir()
    shutil.copy(source / "directory" / "001_base.json", tree / "directory")
    make_dev_certs(folder, lambda _: None)
    return tree


@asynccontextmanager
async def running(
    folder: Path, made: Path, roles: Sequence[str] = (), make: Callable[..., Network] = Network, **options: Any
) -> AsyncIterator[Network]:
    """A network whose servers all run and have answered a first relayed call."""
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(make(folder, made, **options))
        application = Worker("application.py", str(network.application_port))
        await stack.enter_async_context(application)
        await application.hear()
        await network.ready()
        await network.until_ping(20.0)
        yield network


def free_port(first: int) -> int:
    return next(port for port in range(first, first + 1000) if is_free(port))


def _text(message: bytes) -> str:
    return base64.b64encode(message).decode()
