"""Our directory client against a service directory as those in use, and a foreign client against ours (section 4)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eps.core.entries import Directory
from eps.core.event import DirectoryFailed
from eps.core.signature import TrustStore
from eps.datastores.memory import MemoryDatastore
from eps.directory.api import ApiDirectory, Following
from eps.directory.endpoints import ServiceDirectoryClients
from eps.directory.pace import Pace
from eps.directory.service import ServiceDirectory
from eps.jsonrpc.server import JsonRpcServer
from eps.pki import Authority
from support.foreign.messages import Object
from support.foreign.network import HD_1, HD_2, Network
from support.foreign.records import Signer, entries_of, is_genuine, rfc3339, sign_chain, sign_record
from support.foreign.rpc import ForeignRpcClient, RpcError
from support.foreign.service_directory import ForeignSd
from support.ours import WAIT, Watch, in_thread

CHANGES: list[tuple[str, str, Any]] = [
    (HD_1, "groups", ["health-departments"]),
    (HD_1, "channels", [{"type": "grpc_client", "settings": {}}]),
    (HD_2, "groups", ["health-departments"]),
]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(fast=True)


@pytest.fixture(scope="module")
def signer(authority: Authority) -> Signer:
    issued = authority.issue_signing(HD_1, ["sd-admin"])
    return Signer.from_pem(issued.leaf_pem, issued.key_pem)


@pytest.fixture
def sd(authority: Authority) -> Iterator[ForeignSd]:
    sd = ForeignSd([authority.intermediate])
    yield sd
    sd.close()


def trust(authority: Authority) -> TrustStore:
    return TrustStore.from_pem({"root": authority.root_pem}, {"intermediate": authority.intermediate_pem})


class Follower:
    """Our ``api`` directory on one or more service directories."""

    def __init__(self, authority: Authority, *endpoints: str) -> None:
        self.events = Watch()
        clients = ServiceDirectoryClients(endpoints, tls=None)
        following = Following(pace=Pace(0.1, 0.1))
        self.directory = ApiDirectory(clients, trust(authority), emit=self.events, following=following)

    async def until(self, condition: Any) -> Directory:
        async with asyncio.timeout(WAIT):
            while not condition(self.directory.current):
                await self.directory.changed(self.directory.current)
        return self.directory.current

    async def until_refused(self) -> DirectoryFailed:
        return await self.events.wait_for(DirectoryFailed)


@asynccontextmanager
async def following(authority: Authority, *endpoints: str) -> AsyncIterator[Follower]:
    follower = Follower(authority, *endpoints)
    await follower.directory.start()
    try:
        yield follower
    finally:
        await follower.directory.close()


# --- our client, their server


async def test_ours_follows_what_a_foreign_service_directory_serves(
    sd: ForeignSd, authority: Authority, signer: Signer
) -> None:
    chain = sign_chain(signer, CHANGES)
    sd.records = chain[:1]
    async with following(authority, sd.endpoint) as follower:
        await follower.until(lambda directory: directory.entry(HD_1) is not None)
        sd.records = chain
        directory = await follower.until(lambda directory: directory.entry(HD_2) is not None)
        assert directory.version == chain[-1]["hash"]
        entry = directory.entry(HD_1)
        assert entry is not None
        assert entry.has_channel("grpc_client")
    asked = {call.method for call in sd.rpc.calls}
    assert asked <= {"getRecords", "getTip"}


async def test_ours_starts_before_its_service_directory(authority: Authority, signer: Signer) -> None:
    first = ForeignSd([authority.intermediate])
    first.fails = RpcError(-32603, "not yet")
    try:
        async with following(authority, first.endpoint) as follower:
            await follower.until_refused()
            first.records, first.fails = sign_chain(signer, CHANGES), None
            await follower.until(lambda directory: directory.entry(HD_2) is not None)
    finally:
        await asyncio.to_thread(first.close)


@pytest.mark.parametrize("html", [True, False])
async def test_another_service_behind_the_url_is_no_empty_directory(
    sd: ForeignSd, authority: Authority, signer: Signer, html: bool
) -> None:
    sd.rpc.html_404 = html
    sd.records = sign_chain(signer, CHANGES)
    async with following(authority, sd.endpoint + "/elsewhere") as follower:
        failed = await follower.until_refused()
        assert failed.detail
        assert not follower.directory.current.entries


async def test_the_same_root_with_another_tail_is_refused(sd: ForeignSd, authority: Authority, signer: Signer) -> None:
    chain = sign_chain(signer, CHANGES)
    sd.records = chain
    async with following(authority, sd.endpoint) as follower:
        seen = await follower.until(lambda directory: directory.version == chain[-1]["hash"])
        sd.records = [*chain[:2], *sign_chain(signer, [(HD_2, "groups", ["other"])], chain[1]["hash"])]
        await follower.until_refused()
        assert follower.directory.current is seen


async def test_a_chain_with_a_missing_link_is_refused(sd: ForeignSd, authority: Authority, signer: Signer) -> None:
    chain = sign_chain(signer, CHANGES)
    sd.records = [chain[0], chain[2]]
    async with following(authority, sd.endpoint) as follower:
        await follower.until_refused()
        assert not follower.directory.current.entries


async def test_only_a_newer_root_replaces_the_directory(sd: ForeignSd, authority: Authority, signer: Signer) -> None:
    older, first, newer = (
        sign_record(signer, "", HD_1, "groups", [age], rfc3339(datetime.now(UTC) - timedelta(minutes=minutes)))
        for age, minutes in (("older", 30), ("first", 20), ("newer", 10))
    )
    sd.records = [first]
    async with following(authority, sd.endpoint) as follower:
        seen = await follower.until(lambda directory: bool(directory.entries))
        sd.records = [older]
        await follower.until_refused()
        assert follower.directory.current is seen
        sd.records = [first, newer]
        directory = await follower.until(lambda directory: directory is not seen)
        entry = directory.entry(HD_1)
        assert entry is not None
        assert set(entry.groups) == {"newer"}


async def test_a_record_of_a_stranger_is_refused(sd: ForeignSd, authority: Authority, signer: Signer) -> None:
    issued = Authority.create(fast=True).issue_signing(HD_1, ["sd-admin"])
    stranger = Signer.from_pem(issued.leaf_pem, issued.key_pem)
    chain = sign_chain(signer, CHANGES)
    sd.records = chain
    async with following(authority, sd.endpoint) as follower:
        seen = await follower.until(lambda directory: directory.version == chain[-1]["hash"])
        sd.records = [*chain, *sign_chain(stranger, [(HD_2, "groups", [])], chain[-1]["hash"])]
        await follower.until_refused()
        assert follower.directory.current is seen


async def test_the_second_endpoint_is_asked_when_the_first_is_not_believed(
    sd: ForeignSd, authority: Authority, signer: Signer
) -> None:
    broken = ForeignSd([authority.intermediate])
    chain = sign_chain(signer, CHANGES)
    broken.records, sd.records = [chain[0], chain[2]], chain
    try:
        async with following(authority, broken.endpoint, sd.endpoint) as follower:
            await follower.until(lambda directory: directory.version == chain[-1]["hash"])
    finally:
        await asyncio.to_thread(broken.close)


async def test_what_a_foreign_service_directory_stored_in_part_is_followed_as_far_as_it_goes(
    sd: ForeignSd, authority: Authority, signer: Signer
) -> None:
    chain = sign_chain(signer, CHANGES)
    spoilt = [*chain[:2], {**chain[2], "record": {**chain[2]["record"], "data": ["forged"]}}]
    answer = await in_thread(ForeignRpcClient(sd.endpoint).call, "submitRecords", {"records": spoilt})
    assert answer.error is not None
    async with following(authority, sd.endpoint) as follower:
        directory = await follower.until(lambda directory: directory.version == chain[1]["hash"])
        assert directory.entry(HD_2) is None


# --- their client, our server


@asynccontextmanager
async def our_sd(authority: Authority) -> AsyncIterator[ForeignRpcClient]:
    """Our service directory, and a foreign client of it."""
    events = Watch()
    service = ServiceDirectory(MemoryDatastore(), trust(authority), lambda: datetime.now(UTC), events)
    await service.load()
    server = JsonRpcServer("sd", "127.0.0.1:0", service.handle, emit=events)
    await server.start()
    try:
        yield ForeignRpcClient(f"http://127.0.0.1:{server.port}/jsonrpc")
    finally:
        await server.close()
        await service.close()


def _network_chain(signer: Signer) -> list[Object]:
    with Network() as network:
        records = network.records()
    return sign_chain(signer, [(record["name"], record["section"], record["data"]) for record in records])


async def test_a_foreign_admin_submits_to_ours_and_a_foreign_client_reads_it(
    authority: Authority, signer: Signer
) -> None:
    chain = _network_chain(signer)
    async with our_sd(authority) as client:
        assert (await in_thread(client.call, "getTip", {})).result is None
        submitted = await in_thread(client.call, "submitRecords", {"records": chain})
        assert (submitted.status, submitted.error, submitted.result) == (200, None, "ok")
        served = (await in_thread(client.call, "getRecords", {"after": ""})).result
        assert [record["hash"] for record in served] == [record["hash"] for record in chain]
        assert all(is_genuine(record, [authority.intermediate]) for record in served)
        assert (await in_thread(client.call, "getTip", {})).result["hash"] == chain[-1]["hash"]
        assert (await in_thread(client.call, "getRecords", {"after": chain[4]["hash"]})).result == served[5:]
        assert (await in_thread(client.call, "getRecords", {"after": "0" * 64})).result == served
        ours = {entry["name"]: entry for entry in (await in_thread(client.call, "getEntries", {})).result}
        theirs = {entry["name"]: entry for entry in entries_of(served)}
        assert ours.keys() == theirs.keys()
        for name, entry in theirs.items():
            for section in ("groups", "certificates", "settings"):
                assert (ours[name][section] or []) == (entry[section] or []), (name, section)


async def test_ours_stores_a_foreign_batch_whole_or_not_at_all(authority: Authority, signer: Signer) -> None:
    chain = sign_chain(signer, CHANGES)
    spoilt = [*chain[:2], {**chain[2], "record": {**chain[2]["record"], "data": ["forged"]}}]
    async with our_sd(authority) as client:
        refused = await in_thread(client.call, "submitRecords", {"records": spoilt})
        assert (refused.status, refused.error and refused.error["code"]) == (400, -32603)
        assert (await in_thread(client.call, "getRecords", {"after": ""})).result == []
        await in_thread(client.call, "submitRecords", {"records": chain})
        stale = sign_chain(signer, [(HD_2, "groups", [])], chain[0]["hash"])
        refused = await in_thread(client.call, "submitRecords", {"records": stale})
        assert refused.error is not None
        assert refused.error["code"] == -32603
        malformed = await in_thread(client.call, "submitRecords", {"records": [{**chain[0], "hash": "x"}]})
        assert malformed.error is not None
        assert malformed.error["code"] == -32602
        assert len((await in_thread(client.call, "getRecords", {"after": ""})).result) == 3
