"""An application behind an EPS server that keeps books: which calls it ran, how often, and when."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eps.core.message import Response
from eps.jsonrpc.requests import Requests
from eps.jsonrpc.server import Call, JsonRpcServer, Serving
from support.machine import Machine

METHOD = "answer"


class Application:
    """Answers ``answer`` {``call``: name} with the same name, after a while; behind hd-2 of a machine.

    Attributes:
        ran: how often each call was begun.
        seconds: that each takes from now on.
        may_answer: while it is not set, none ends.
        running: calls that are not answered yet.

    Args:
        workers: how many calls it works at; others wait inside it. 0: at all of them.
    """

    def __init__(self, seconds: float = 0.0, workers: int = 0, host: str = "127.0.0.1") -> None:
        self.ran: Counter[str] = Counter()
        self.seconds = seconds
        self.running = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._workers = asyncio.Semaphore(workers or 1_000_000)
        self._host = host
        self._news = asyncio.Event()
        self._server = JsonRpcServer("application", f"{host}:0", self._answer, serving=Serving(Requests("/")))

    async def __aenter__(self) -> "Application":
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    @property
    def endpoint(self) -> str:
        return f"http://{self._host}:{self._server.port}/"

    async def until_running(self, calls: int) -> None:
        """Wait until so many calls run at once."""
        async with asyncio.timeout(60):
            while self.running < calls:
                self._news.clear()
                await self._news.wait()

    async def _answer(self, call: Call) -> Response:
        name = str(call.params["call"])
        self.ran[name] += 1
        self.running += 1
        self._news.set()
        try:
            async with self._workers:
                await asyncio.sleep(self.seconds)
                await self.may_answer.wait()
        finally:
            self.running -= 1
        return Response(call.id, {"call": name})

    def serve(self, machine: Machine, *, first: str = "", everybody: bool = False, **more: Any) -> None:
        """Put it behind hd-2: in its settings, and in the directory. Before the machine starts.

        Args:
            first: the type of the channel that the settings name first; "" leaves their order.
            more: further settings of the channel that leads to it.
            everybody: whether all operators may call it; else it is for hd-1's group.
        """
        offer(machine, [{"group": "*", "rights": ["call"]}] if everybody else [])
        channels = channels_of(machine.dev / "roles" / "hd-2")
        channels.append(
            {"name": "the application", "type": "jsonrpc_client", "settings": {"endpoint": self.endpoint, **more}}
        )
        put_first(channels, first)
        write_channels(machine.dev / "roles" / "hd-2", channels)


def offer(machine: Machine, permissions: Sequence[Mapping[str, Any]] = (), method: str = METHOD) -> None:
    """The directory lets hd-1 call the application's method, or another, on hd-2."""
    path = machine.dev / "directory" / "001_base.json"
    directory = json.loads(path.read_text())
    for record in directory["records"]:
        if record["name"] == "hd-2" and record["section"] == "services":
            record["data"][1]["methods"].append({"name": method, "permissions": list(permissions)})
    path.write_text(json.dumps(directory))


def channels_of(role: Path) -> list[dict[str, Any]]:
    """The channels of a role's settings."""
    import yaml

    loaded = yaml.safe_load((role / "002_server.yml").read_text())
    return list(loaded["channels"])


def put_first(channels: list[dict[str, Any]], kind: str) -> None:
    """Move the channel of that type to the front."""
    channels.sort(key=lambda channel: channel["type"] != kind)


def write_channels(role: Path, channels: list[dict[str, Any]]) -> None:
    """These channels instead of those that the settings have."""
    (role / "003_channels.yml").write_text("channels!: " + json.dumps(channels))
