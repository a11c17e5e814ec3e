"""What time it is at a server: from each answer; where TLS fails for a date, from one that nobody verifies."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from eps.core.clock import Comparisons
from eps.errors import Side, TlsFailed
from eps.jsonrpc.callee import Callee
from eps.jsonrpc.client import JsonRpcClient
from eps.jsonrpc.hour import HourQuestion
from eps.reasons import Reason
from eps.transport.own_clock import OWN_CLOCK
from eps.transport.tls import peer_certificate
from support.testing import certificates, tls_files

DATE = "%a, %d %b %Y %H:%M:%S GMT"
SD = Callee("the service directory", Side.DIRECTORY, tells_hour=True)
BODY = b'{"jsonrpc": "2.0", "id": "1", "result": []}'


@pytest.fixture
def old(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate that was good for a day, ten days ago, and its key."""
    past = datetime.now(UTC) - timedelta(days=10)
    issued = certificates().authority.issue_tls("sd-1", not_before=past, not_after=past + timedelta(days=1))
    return issued.write(tmp_path, "sd-1")


@pytest.fixture
def then(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """A time that servers tell; nobody has told one yet."""
    monkeypatch.setattr(OWN_CLOCK, "comparisons", Comparisons())
    return datetime.now(UTC) - timedelta(days=9, hours=12)


@asynccontextmanager
async def answering(
    date: datetime | None, files: tuple[Path, Path] | None = None, says: str = "Connection: close"
) -> AsyncIterator[tuple[int, list[bytes | None]]]:
    """A server that answers each request with that Date, or, without one, never; its port, and for each request the
    certificate that the client has shown."""
    context, asked = None, []
    if files is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        context.load_verify_locations(tls_files("hd-1").ca_certificate_files[0])
        context.verify_mode = ssl.CERT_OPTIONAL

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.append(peer_certificate(writer.get_extra_info("ssl_object")))
        if date is None:
            await reader.read()
            writer.close()
            return
        length = f"Date: {date.strftime(DATE)}\r\nContent-Length: {len(BODY)}\r\n{says}"
        writer.write(f"HTTP/1.1 200 OK\r\n{length}\r\n\r\n".encode() + BODY)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("says", ["Connection: close", "Connection: keep-alive"])
async def test_the_date_of_an_answer_is_compared(then: datetime, says: str) -> None:
    async with answering(then, says=says) as (port, _):
        client = JsonRpcClient(f"http://127.0.0.1:{port}/jsonrpc", tls=None, callee=SD)
        try:
            assert (await client.call("getRecords", {}, request_id="1")).result == []
            assert OWN_CLOCK.off() == f"our clock is 9 days ahead of that of {client.label}"
        finally:
            await client.close()


async def test_others_dates_are_not_looked_at(then: datetime) -> None:
    async with answering(then) as (port, _):
        client = JsonRpcClient(f"http://127.0.0.1:{port}/jsonrpc", tls=None)
        try:
            await client.call("work", {}, request_id="1")
            assert OWN_CLOCK.off() == ""
        finally:
            await client.close()


async def test_where_tls_fails_for_its_date_the_time_is_asked_for_once(then: datetime, old: tuple[Path, Path]) -> None:
    async with answering(then, old) as (port, asked):
        client = JsonRpcClient(
            f"https://127.0.0.1:{port}/jsonrpc", tls=tls_files("hd-1"), server_name="sd-1", callee=SD
        )
        try:
            for _ in range(2):
                with pytest.raises(TlsFailed) as caught:
                    await client.call("getRecords", {})
                assert (
                    f"no TLS connection: our clock is 9 days ahead of that of {client.label} (not verified); "
                    "by our clock, its certificate has expired" in caught.value.message
                )
                assert (caught.value.reason, caught.value.side) == (Reason.OWN_CLOCK, Side.OURS)
                assert "set the clock" in caught.value.hint
            assert asked == [None], "asked once, and our certificate was not shown to whom nobody has verified"
        finally:
            await client.close()


def following(port: int) -> JsonRpcClient:
    return JsonRpcClient(f"https://127.0.0.1:{port}/jsonrpc", tls=tls_files("hd-1"), server_name="sd-1", callee=SD)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that would wait for an hour: what ends it is something else."""
    monkeypatch.setattr("eps.jsonrpc.hour.HOUR_SECONDS", 3600.0)


async def test_one_that_answers_nothing_is_asked_once_by_all(
    then: datetime, old: tuple[Path, Path], patient: None
) -> None:
    async with answering(None, old) as (port, asked):
        client = following(port)
        try:
            calls = (client.call("getRecords", {}, timeout=3.0) for _ in range(3))
            for error in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(error, TlsFailed), "told in time, not that there was no connection in time"
                assert (error.reason, error.side) == (Reason.PEER_EXPIRED, Side.DIRECTORY)
            assert len(asked) == 1
        finally:
            await client.close()


async def test_a_question_ends_with_its_client(then: datetime, old: tuple[Path, Path], patient: None) -> None:
    async with answering(None, old) as (port, _):
        client = following(port)
        with pytest.raises(TlsFailed):
            await client.call("getRecords", {}, timeout=2.0)
        assert len(questions()) == 1
        await client.close()
        assert questions() == []


async def test_a_question_ends_when_another_client_takes_over(
    then: datetime, old: tuple[Path, Path], patient: None
) -> None:
    async with answering(None, old) as (port, asked):
        client = following(port)
        try:
            async with asyncio.timeout(60.0):
                call = asyncio.create_task(client.call("getRecords", {}, timeout=7200.0))
                while not asked:
                    await asyncio.sleep(0.01)
                client.become(following(port))
                with pytest.raises(TlsFailed):
                    await call
            assert questions() == []
        finally:
            await client.close()


def questions() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "what time is it there"]


async def test_it_is_the_attempt_that_is_remembered(patient: None) -> None:
    began: list[str] = []

    async def ask() -> None:
        began.append("asked")

    question, loop = HourQuestion(ask), asyncio.get_running_loop()
    for _ in range(3):
        await question.ask(loop.time() + 60.0)
    assert began == ["asked"]
    await question.close()


async def test_a_question_that_takes_long_keeps_nobody(patient: None) -> None:
    began: list[str] = []

    async def ask() -> None:
        began.append("asked")
        await asyncio.sleep(3600.0)

    question, loop = HourQuestion(ask), asyncio.get_running_loop()
    await question.ask(loop.time() - 1.0)
    await question.ask(loop.time() + 0.02)
    assert began == ["asked"]
    await question.close()


async def test_a_question_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.jsonrpc.hour.HOUR_SECONDS", 0.02)
    question = HourQuestion(lambda: asyncio.sleep(3600.0))
    await question.ask(asyncio.get_running_loop().time())
    async with asyncio.timeout(60.0):
        while questions():
            await asyncio.sleep(0.01)
    await question.close()


@pytest.mark.parametrize("ending", ["close", "give_up"])
async def test_after_its_end_nothing_is_asked(ending: str) -> None:
    began: list[str] = []

    async def ask() -> None:
        began.append("asked")

    question = HourQuestion(ask)
    if ending == "close":
        await question.close()
    else:
        question.give_up()
    await question.ask(asyncio.get_running_loop().time() + 60.0)
    assert (began, questions()) == ([], [])


async def test_a_certificate_that_has_expired_by_every_clock(old: tuple[Path, Path]) -> None:
    async with answering(datetime.now(UTC), old) as (port, _):
        client = JsonRpcClient(
            f"https://127.0.0.1:{port}/jsonrpc", tls=tls_files("hd-1"), server_name="sd-1", callee=SD
        )
        try:
            with pytest.raises(
                TlsFailed, match="no TLS connection: by our clock, its certificate has expired"
            ) as caught:
                await client.call("getRecords", {})
            assert (caught.value.reason, caught.value.side) == (Reason.PEER_EXPIRED, Side.DIRECTORY)
        finally:
            await client.close()
