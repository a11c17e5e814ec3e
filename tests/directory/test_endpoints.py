"""Asking service directories over a real loopback connection with mutual TLS."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

import eps.directory.endpoints as module
from eps.core import record_text
from eps.core.event import ignore
from eps.core.message import Error, Response
from eps.core.names import Object
from eps.core.record_text import Number
from eps.datastores.sqlite import SqliteDatastore
from eps.directory.api import ApiDirectory, Following, KeptFiles
from eps.directory.endpoints import Endpoints, ServiceDirectoryClients
from eps.directory.pace import Pace
from eps.directory.service import ServiceDirectory
from eps.errors import DeliveryError, EpsError, OutcomeUnknown, Unreachable
from eps.jsonrpc.requests import Requests
from eps.jsonrpc.server import JsonRpcServer, ServerLimits, Serving
from support import testing
from support.fakes import FakeClients
from support.promptness import A_THOUSAND_RECORDS
from support.record_tools import NOW, Clock, chain_of, sign_chain, trust
from support.vectors import load


@asynccontextmanager
async def served(path: Path, **options: Any) -> AsyncIterator[tuple[ServiceDirectory, str]]:
    """A service directory behind TLS, and its URL."""
    store = await SqliteDatastore.open(path)
    service = ServiceDirectory(store, trust(), Clock(NOW + timedelta(seconds=1)), ignore)
    server = JsonRpcServer(
        "sd", "127.0.0.1:0", service.handle, serving=Serving(tls=testing.tls_files("sd-1"), **options)
    )
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
    async with served(tmp_path / "sd.db", limits=ServerLimits(max_body=64 * 1024 * 1024)) as (_, url):
        writer, reader = clients(url), clients("https://127.0.0.1:1/jsonrpc", url)
        directory = ApiDirectory(
            reader,
            trust(),
            emit=ignore,
            files=KeptFiles(str(tmp_path / "cache.db")),
            following=Following(pace=Pace(0.1)),
            now=Clock(NOW + timedelta(seconds=1)),
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


async def test_numbers_and_depth_of_others_survive_the_passage(tmp_path: Path) -> None:
    """Signed elsewhere, with numbers that JSON libraries lose and four hundred objects inside each other."""
    values = [json.loads(v["record_text"], parse_int=Number, parse_float=Number) for v in load("foreign_numbers.json")]
    values.append(
        values[0]
        | {
            "name": "deep",
            "data": [{"settings": record_text.loads(b'{"k":' * 400 + b"1" + b"}" * 400, max_bytes=4000)}],
        }
    )
    chain = sign_chain([value | {"created_at": NOW.isoformat()} for value in values])
    texts = [record_text.dumps(record.to_json()) for record in chain]
    async with served(tmp_path / "sd.db", requests=Requests(load=record_text.loads)) as (service, url):
        asking = clients(url)
        sent = {"records": [orjson.Fragment(text) for text in texts]}
        assert (await asking.call(0, "submitRecords", sent)).result == "ok"
        await service.load()  # once more, from the store
        answer = await asking.call(0, "getRecords", {"after": ""})
        assert [record_text.dumps(record) for record in answer.result] == texts
        assert b'{"v":-0}' in texts[0] and b'{"v":1637000000000000000}' in texts[4]
        directory = ApiDirectory(
            asking,
            trust(),
            emit=ignore,
            files=KeptFiles(str(tmp_path / "cache.db")),
            now=Clock(NOW + timedelta(seconds=1)),
        )
        await directory.start()
        async with asyncio.timeout(30):
            while directory.current.version != chain[-1].hash:
                await directory.changed(directory.current)
        entry = directory.current.entry("deep")
        assert entry is not None
        assert entry.to_message()["settings"][0]["settings"] == {}
        assert entry.to_message()["records"] == []
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

    endpoints = Endpoints(FakeClients(call, ["a", "b", "c"]))
    assert await endpoints.first([0, 1, 2], "getTip", {}, 5.0) == (1, "getTip by 1")
    assert ended == [0]
    assert endpoints.order() == [0, 1, 2]
    endpoints.prefer(2)
    assert endpoints.order() == [2, 0, 1]


async def test_a_single_error_keeps_its_code() -> None:
    async def call(index: int, method: str, params: Object) -> Response:
        return Response("1", error=Error(-32601, "no such method"))

    with pytest.raises(DeliveryError, match="the service directory at a answered getTip") as caught:
        await Endpoints(FakeClients(call, ["a"])).first([0], "getTip", {}, 5.0)
    assert caught.value.code == -32601
