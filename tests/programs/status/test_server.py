"""The status page over HTTP: what it answers, to whom, and how it stays up to date."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from eps.core.event import CallFinished, Refused, Started
from eps.core.names import Operator
from eps.errors import StartError
from eps.jsonrpc.callers import Callers
from eps.programs.running.metrics import Metrics
from eps.programs.status import server as module
from eps.programs.status.server import FILES, StatusServer, is_local
from eps.transport.tls import TlsFiles
from support.testing import Events, certificates

CALL = CallFinished(direction="local", sender="hd-1", recipient="hd-2", method="f", outcome="ok", seconds=0.01)


@asynccontextmanager
async def a_page(
    metrics: Metrics, tls: TlsFiles | None = None, events: Events | None = None
) -> AsyncIterator[tuple[StatusServer, str]]:
    server = StatusServer("localhost:0", metrics.standing, tls, Callers(Operator("hd-1")), events or Events())
    await server.start()
    try:
        yield server, f"http{'s' if tls else ''}://localhost:{server.addresses[0][1]}"
    finally:
        async with asyncio.timeout(30):
            await server.close()


async def test_what_it_answers() -> None:
    metrics = Metrics()
    metrics(Started(name="hd-1"))
    async with a_page(metrics) as (_, url), aiohttp.ClientSession() as session:
        for path, (_, kind) in FILES.items():
            async with session.get(url + path) as answer:
                assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
                policy = answer.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "*" not in policy
                assert answer.headers["Cache-Control"] == "no-store"
                text = await answer.text()
                assert "style=" not in text and "http://" not in text.replace("http://www.w3.org", "")
                assert "https://" not in text
        async with session.get(url + "/status.json") as answer:
            assert answer.headers["Content-Type"] == "application/json"
            assert (await answer.json())["name"] == "hd-1"
        async with session.get(url + "/../../etc/passwd") as answer:
            assert answer.status == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            async with session.request(method, url + "/") as answer:
                assert answer.status == 405
                assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((host, True) for host in ("localhost", "localhost:2132", "LocalHost.:1", "127.0.0.1", "[::1]:2132")),
        *((host, False) for host in ("evil.example", "localhost.evil.example:1", "192.168.0.1", "127.0.0.1.evil")),
        *((host, False) for host in ("", "a b", "0.0.0.0")),
    ],
)
def test_only_names_of_loopback(host: str, local: bool) -> None:
    assert is_local(host) is local


async def test_a_web_site_under_a_name_of_its_own_reads_nothing() -> None:
    async with a_page(Metrics()) as (_, url), aiohttp.ClientSession() as session:
        for path in ("/", "/status.json", "/events"):
            async with session.get(url + path, headers={"Host": "evil.example"}) as answer:
                assert (answer.status, await answer.text()) == (403, "ask for it as localhost\n")


async def events_of(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.content:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


async def test_who_watches_hears_of_a_call() -> None:
    metrics = Metrics()
    async with (
        asyncio.timeout(30),
        a_page(metrics) as (_, url),
        aiohttp.ClientSession() as session,
        session.get(url + "/events") as one,
        session.get(url + "/events") as two,
    ):
        assert one.headers["Content-Type"] == "text/event-stream"
        streams = [events_of(one), events_of(two)]
        for stream in streams:
            assert (await anext(stream))["calls"] == []
        metrics(CALL)
        for stream in streams:
            while not (value := await anext(stream))["calls"]:
                pass
            assert value["calls"][0]["peer"] == "hd-2"


async def test_watchers_have_a_limit_and_leave_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WATCHERS", 1)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.02)
    async with a_page(Metrics()) as (_, url), aiohttp.ClientSession() as session:
        async with session.get(url + "/events") as one:
            await anext(events_of(one))
            async with session.get(url + "/events") as two:
                assert two.status == 503
        async with asyncio.timeout(30):
            while True:
                async with session.get(url + "/events") as again:
                    if again.status == 200:
                        return
                await asyncio.sleep(0.02)


async def test_the_port_is_taken() -> None:
    async with a_page(Metrics()) as (server, _):
        other = StatusServer(f"localhost:{server.addresses[0][1]}", Metrics().standing, None, Callers(), Events())
        with pytest.raises(StartError, match="status: can't listen on localhost"):
            await other.start()
        await other.close()


def client(name: str) -> ssl.SSLContext:
    files = certificates().tls_files(name)
    context = ssl.create_default_context(cafile=files.ca_certificate_files[0])
    context.load_cert_chain(files.certificate_file, files.key_file)
    context.check_hostname = False
    return context


async def test_with_tls_names_decide() -> None:
    events = Events()
    tls = certificates().tls_files("hd-1", allowed_names=("hd-1",))
    anybody = ssl.create_default_context(cafile=tls.ca_certificate_files[0])
    anybody.check_hostname = False
    for context, status in ((client("hd-1"), 200), (client("hd-2"), 403)):
        async with a_page(Metrics(), tls, events) as (_, url), aiohttp.ClientSession() as session:
            answer = await session.get(url + "/status.json", ssl=context, headers={"Host": "hd-1"})
            assert answer.status == status, await answer.text()
            answer.close()
    (refused,) = events.of(Refused)
    assert (refused.listener, refused.why) == ("status", "name")
    async with a_page(Metrics(), tls, events) as (_, url), aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(url + "/", ssl=anybody)


async def test_it_takes_over_certificates_and_names_while_it_runs() -> None:
    metrics = Metrics()
    tls = certificates().tls_files("hd-1", allowed_names=("hd-1",))
    hd_2 = client("hd-2")
    async with a_page(metrics, tls) as (server, url), aiohttp.ClientSession() as session:

        async def status(context: ssl.SSLContext) -> int:
            async with session.get(url + "/status.json", ssl=context) as answer:
                return answer.status

        assert (await status(client("hd-1")), await status(hd_2)) == (200, 403)
        watching = await session.get(url + "/events", ssl=client("hd-1"))
        assert (await watching.content.readline()).startswith(b"retry")
        other = certificates().tls_files("hd-2", allowed_names=("hd-2",))
        renew = server.renewed(other, Callers(Operator("hd-2")))
        assert await status(hd_2) == 403  # not before it is taken over
        renew()
        with pytest.raises(aiohttp.ClientPayloadError):  # who watched is let go, and comes back by itself
            async with asyncio.timeout(30):
                await watching.content.read()
        watching.close()
        assert (await status(client("hd-1")), await status(hd_2)) == (403, 200)
        shown = await asyncio.to_thread(ssl.get_server_certificate, ("localhost", server.addresses[0][1]))
        assert shown.strip() in Path(other.certificate_file or "").read_text()


async def test_whether_there_is_tls_stays_as_it_was() -> None:
    async with a_page(Metrics()) as (server, url), aiohttp.ClientSession() as session:
        server.renewed(certificates().tls_files("hd-1"), Callers())()
        async with session.get(url + "/status.json") as answer:
            assert answer.status == 200
        server.renewed(None, Callers())()
        async with session.get(url + "/status.json") as answer:
            assert answer.status == 200
