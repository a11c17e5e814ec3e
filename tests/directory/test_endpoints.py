"""Asking service directories over a real loopback connection with mutual TLS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import eps.directory.endpoints as module
from eps.core.event import ignore
from eps.core.message import Error, Response
from eps.core.names import Object
from eps.datastores.sqlite import SqliteDatastore
from eps.directory.api import ApiDirectory
from eps.directory.endpoints import Endpoints, ServiceDirectoryClients
from eps.directory.service import ServiceDirectory
from eps.errors import DeliveryError, EpsError, OutcomeUnknown, Unreachable
from eps.jsonrpc.server import JsonRpcServer
from support import testing
from support.promptness import A_THOUSAND_RECORDS
from support.record_tools import NOW, Clock, chain_of, trust


@asynccontextmanager
async def served(path: Path, **options: Any) -> AsyncIterator[tuple[ServiceDirectory, str]]:
    """A service directory behind TLS, and its URL."""
    store = await SqliteDatastore.open(path)
    service = ServiceDirectory(store, trust(), Clock(NOW + timedelta(seconds=1)), ignore)
    server = JsonRpcServer("sd", "127.0.0.1:0", service.handle, tls=testing.tls_files("sd-1"), **options)
    await server.start()
    try:
        yield service, f"https://127.0.0.1:{server.port}/jsonrpc"
    finally:
        await server.close()
        await service.close()
        await store.close()


def clients(*urls: str, **options: Any) -> ServiceDirectoryClients:
    return ServiceDirectoryClients(urls, ["sd-1"] * len(urls), tls=testing.tls_files("hd-1"), **options)


async def test_two_thousand_records_from_signer_to_follower(tmp_path: Path) -> None:
    async with served(tmp_path / "sd.db", max_body=64 * 1024 * 1024) as (_, url):
        writer, reader = clients(url), clients("https://127.0.0.1:1/jsonrpc", url)
        directory = ApiDirectory(
            reader.call,
            reader.names,
            trust(),
            emit=ignore,
            cache_path=str(tmp_path / "cache.db"),
            cache_entries_for=0.1,
            now=Clock(NOW + timedelta(seconds=1)),
            release=reader.close,
        )
        await directory.start()
        parent = ""
        for batch in range(2):
            chain = chain_of(1000, parent=parent, name=f"batch-{batch}")
            parent = chain[-1].hash
            async with asyncio.timeout(A_THOUSAND_RECORDS):
                response = await writer.call(0, "submitRecords", {"records": [record.to_json() for record in chain]})
                assert response.result == "ok"
                while directory.current.version != parent:
                    await directory.changed(directory.current)
        assert len(directory.current.entries) == 2000
        await writer.close()
        await directory.close()


async def test_a_client_without_a_certificate_is_turned_away(tmp_path: Path) -> None:
    async with served(tmp_path / "sd.db") as (_, url):
        nobody = testing.tls_files("hd-1", certificate_file="", key_file="")
        try:
            stranger = ServiceDirectoryClients([url], ["sd-1"], tls=nobody)
        except EpsError:
            return  # our own client doesn't even start without one
        with pytest.raises(EpsError):
            await stranger.call(0, "getTip", {})
        await stranger.close()


async def test_an_answer_beyond_the_cap_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path / "sd.db") as (service, url):
        asking = clients(url, max_answer=1000)
        await service.handle(
            testing.Call("submitRecords", {"records": [record.to_json() for record in chain_of(3)]}, "1")
        )
        with pytest.raises(OutcomeUnknown, match="limit is 1000"):
            await asking.call(0, "getRecords", {"after": ""})
        await asking.close()


async def test_names_are_by_position_and_may_be_fewer() -> None:
    some = ServiceDirectoryClients(["http://127.0.0.1:1/a", "http://127.0.0.1:1/b"], [], tls=None)
    assert some.names == ("http://127.0.0.1:1/a", "http://127.0.0.1:1/b")
    with pytest.raises(Unreachable):
        await some.call(1, "getTip", {})
    await some.close()


async def test_the_first_good_answer_wins_and_the_others_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STAGGER_SECONDS", 0.01)
    ended = []

    async def call(index: int, method: str, params: Object) -> Response:
        if index == 1:
            return Response("1", f"{method} by {index}")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(index)
        raise AssertionError

    endpoints = Endpoints(call, ["a", "b", "c"])
    assert await endpoints.first([0, 1, 2], "getTip", {}, 5.0) == (1, "getTip by 1")
    assert ended == [0]
    assert endpoints.order() == [0, 1, 2]
    endpoints.prefer(2)
    assert endpoints.order() == [2, 0, 1]


async def test_a_single_error_keeps_its_code() -> None:
    async def call(index: int, method: str, params: Object) -> Response:
        return Response("1", error=Error(-32601, "no such method"))

    with pytest.raises(DeliveryError, match="the service directory at a answered getTip") as caught:
        await Endpoints(call, ["a"]).first([0], "getTip", {}, 5.0)
    assert caught.value.code == -32601
