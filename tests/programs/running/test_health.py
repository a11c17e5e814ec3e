"""Who asks whether a program lives, and whether it is ready, learns why not, part by part."""

from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest

from eps.channels.held_streams import Unheld
from eps.core.entries import Directory
from eps.core.event import ignore
from eps.core.names import Operator
from eps.errors import DirectoryUnavailable, EpsError, Side
from eps.programs.running.health import Part, is_well, rendered, to_json
from eps.programs.running.log_queue import LineQueue
from eps.programs.running.metrics import Metrics, MetricsServer
from eps.programs.wiring.told import Streams, health_of, streams_told
from eps.reasons import Reason
from support.fakes import FakeSource, network_directory, removed_from

HD_1, PROXY = Operator("hd-1"), Operator("public-proxy-1.ga")
DOWN = Unheld("connection refused at http://internal", "start it", Side.PEER, Reason.UNREACHABLE)


def test_what_is_not_needed_decides_nothing() -> None:
    parts = [Part("program"), Part("stream to p", "unreachable", is_needed=False)]
    assert is_well(parts)
    assert rendered(parts) == "ok\n[+] program: ok\n[!] stream to p: unreachable\n"
    parts.append(Part("directory", "own-entry"))
    assert not is_well(parts)
    assert rendered(parts).startswith("not ok\n") and "[-] directory: own-entry\n" in rendered(parts)
    assert to_json(parts)["ok"] is False
    assert to_json(parts)["parts"][1] == {"name": "stream to p", "ok": False, "why": "unreachable", "needed": False}


class Source(FakeSource):
    """A directory, and what is wrong with it."""

    def __init__(self, directory: Directory, *, too_old: str = "", failing: EpsError | None = None) -> None:
        super().__init__(directory)
        self._too_old, self._failing = too_old, failing

    def too_old(self) -> str:
        return self._too_old

    def failing(self) -> EpsError | None:
        return self._failing


WRONG_CA = DirectoryUnavailable("no TLS connection at http://internal", reason=Reason.OWN_CA)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (Source(network_directory()), ""),
        (Source(network_directory(empty=True)), "no-directory: none is known yet"),
        (Source(network_directory(empty=True), failing=WRONG_CA), "own-ca: none is known yet"),
        (Source(network_directory(empty=True), too_old="it is 3 days old"), "directory-too-old"),
        (Source(network_directory(without="hd-1")), "own-entry: hd-1 is not in it"),
        (Source(removed_from(network_directory(), "hd-1")), "own-entry: hd-1 is not in it"),
        (Source(network_directory(), failing=WRONG_CA), ""),  # what was verified last is in use
    ],
    ids=["well", "none", "own ca", "too old", "no entry", "removed", "cached"],
)
def test_the_directory(source: Source, why: str) -> None:
    (part,) = health_of(HD_1, source, {})
    assert part == Part("directory", why)


def test_streams_are_told_without_addresses() -> None:
    streams: Streams = {PROXY: DOWN, Operator("p-2"): None, Operator("p-3"): Unheld("it is being opened")}
    _, *parts = health_of(HD_1, Source(network_directory()), streams)
    assert [part.why for part in parts] == ["unreachable", "", "it is being opened"]
    assert is_well(parts)
    assert streams_told(streams)["p-2"] == {}
    assert streams_told(streams)[PROXY] == {
        "why": "connection refused at http://internal", "fix": "start it", "side": "peer", "reason": "unreachable"
    }  # fmt: skip


class Served:
    """A port with health, and what it says."""

    def __init__(self, log: LineQueue | None = None) -> None:
        self.metrics = Metrics(log)
        self._server = MetricsServer("localhost:0", self.metrics, ignore)

    async def __aenter__(self) -> "Served":
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    async def get(self, path: str, method: str = "GET", accept: str = "*/*") -> tuple[int, str]:
        url = f"http://localhost:{self._server.addresses[0][1]}{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url, headers={"Accept": accept}) as said:
            assert said.status == 404 or said.headers["Cache-Control"] == "no-store"
            return said.status, await said.text()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with Served() as made:
        yield made


async def test_a_program_that_has_not_come_so_far_lives_and_is_not_ready(served: Served) -> None:
    assert await served.get("/livez") == (200, "ok\n[+] event loop: ok\n[+] log: ok\n")
    assert await served.get("/readyz") == (503, "not ok\n[-] program: it is being started\n")


async def test_who_asks_for_json_gets_it(served: Served) -> None:
    parts: Sequence[Part] = [Part("program")]
    served.metrics.health = lambda: parts
    assert await served.get("/readyz") == (200, "ok\n[+] program: ok\n")
    status, text = await served.get("/readyz", accept="application/json")
    assert (status, text) == (
        200,
        '{"ok": true, "parts": [{"name": "program", "ok": true, "why": "", "needed": true}]}',
    )
    assert await served.get("/readyz", "HEAD") == (200, "")
    for method, path in (("POST", "/readyz"), ("GET", "/livez/"), ("GET", "/healthz")):
        assert await served.get(path, method) == (404, "metrics are at /metrics, health is at /livez and /readyz\n")


async def test_a_program_whose_log_nobody_writes_is_to_be_restarted() -> None:
    log = LineQueue("/dev/null", ignore)  # type: ignore[arg-type]  # nothing is lost here
    async with Served(log) as served:
        with log:
            assert (await served.get("/livez"))[0] == 200
        assert await served.get("/livez") == (
            503,
            "not ok\n[+] event loop: ok\n[-] log: nothing writes its lines any more\n",
        )
