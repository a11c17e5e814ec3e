"""The service directory's methods, over real SQLite files (PROTOCOL.md section 4)."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

import eps.directory.pages as pages
import eps.directory.service as module
from eps.core.event import DirectoryChanged, Event, Notice
from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.core.names import Object
from eps.core.record import SignedRecord
from eps.core.signature import TrustStore
from eps.datastores import DataEntry
from eps.datastores.memory import MemoryDatastore
from eps.datastores.sqlite import SqliteDatastore
from eps.directory.service import ServiceDirectory
from eps.errors import InternalError, StartError
from support.promptness import A_THOUSAND_RECORDS, A_TURN, shortest_longest_turn
from support.record_tools import (
    ADMIN,
    NOW,
    STRANGER,
    Clock,
    as_json,
    chain_of,
    group_record,
    sign_chain,
    signer,
    signing_pin_record,
    trust,
)


class Network:
    """A service directory on a file, and someone who asks it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.events: list[Event] = []

    async def start(self) -> None:
        self.store = await SqliteDatastore.open(self.path)
        self.service = ServiceDirectory(self.store, trust(), self.clock, self.events.append)
        await self.service.load()

    async def stop(self) -> None:
        await self.service.close()
        await self.store.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def ask(self, method: str, params: Object | None = None) -> Any:
        """The result as it arrives at the client."""
        response = await self.call(method, params)
        assert response.error is None, response.error
        return orjson.loads(orjson.dumps(response.result))

    async def call(self, method: str, params: Object | None = None) -> Response:
        response = await self.service.handle(Call(method, params or {}, "n:7", ("hd-1",)))
        assert response.id == "n:7"
        return response

    async def submit(self, records: Sequence[SignedRecord]) -> Response:
        return await self.call("submitRecords", {"records": as_json(records)})

    async def refused(self, records: Sequence[SignedRecord], code: int = -32603) -> str:
        """Submit what must be refused and leave no trace; gives message and hint."""
        before, tip = len(await self.store.read_all()), await self.ask("getTip")
        error = (await self.submit(records)).error
        assert error is not None
        assert error.code == code
        assert len(await self.store.read_all()) == before
        assert await self.ask("getTip") == tip
        return f"{error.message} | {error.data['hint']}"


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    network = Network(tmp_path / "sd" / "store.db")
    await network.start()
    yield network
    await network.stop()


async def test_an_empty_directory(network: Network) -> None:
    assert await network.ask("getTip") is None
    assert await network.ask("getRecords", {"after": ""}) == []
    assert await network.ask("getRecords") == []
    assert await network.ask("getEntries") == []


async def test_records_are_given_as_they_were_submitted(network: Network) -> None:
    chain = chain_of(5)
    assert (await network.submit(chain)).result == "ok"
    assert await network.ask("getRecords", {"after": ""}) == as_json(chain)
    assert await network.ask("getRecords", {"after": None}) == as_json(chain)
    assert await network.ask("getRecords", {"after": chain[2].hash}) == as_json(chain[3:])
    assert await network.ask("getRecords", {"after": chain[4].hash}) == []
    assert await network.ask("getRecords", {"after": "unknown"}) == as_json(chain)
    assert await network.ask("getTip") == chain[4].to_json()
    changed = [event for event in network.events if isinstance(event, DirectoryChanged)]
    assert [(event.records, event.operators, event.tip) for event in changed] == [(5, 5, chain[4].hash)]
    assert "hd-1" in changed[0].source
    assert changed[0].changed == tuple(f"op-{i}: groups" for i in range(5))


async def test_records_are_given_in_pages(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = chain_of(7)
    assert await network.ask("getPage", {"after": ""}) == {"records": [], "more": False}
    await network.submit(chain)
    monkeypatch.setattr(pages, "PAGE_RECORDS", 3)
    for after, first, end in (("", 0, 3), ("unknown", 0, 3), (chain[2].hash, 3, 6), (chain[3].hash, 4, 7)):
        page = await network.ask("getPage", {"after": after})
        assert page == {"records": as_json(chain[first:end]), "more": end < 7}
    monkeypatch.setattr(pages, "PAGE_BYTES", 1)
    assert await network.ask("getPage", {"after": chain[4].hash}) == {"records": as_json(chain[5:6]), "more": True}
    assert (await network.call("getPage", {"after": 3})).error is not None


async def test_what_servers_in_use_cannot_read_is_refused(network: Network) -> None:
    methods = [{"name": "m", "parameters": {"a": 1}}]
    record = group_record("x") | {"section": "services", "data": [{"name": "s", "methods": methods}]}
    chain = sign_chain([record])
    refusal = await network.refused(chain)
    assert "record 0 (x, services, " in refusal
    assert "data[0].methods[0].parameters: must be a list" in refusal and "foreign_peers: false" in refusal
    assert await network.ask("getRules") == {"foreign_peers": True, "canonical_signatures": True}
    alone = ServiceDirectory(network.store, trust(), network.clock, network.events.append, foreign_peers=False)
    response = await alone.handle(Call("submitRecords", {"records": as_json(chain)}, "1"))
    assert response.result == "ok"
    assert (await alone.handle(Call("getRules", {}, "1"))).result == {
        "foreign_peers": False,
        "canonical_signatures": True,
    }
    await alone.close()
    await network.restart()  # what is in a chain is followed
    assert (await network.ask("getEntry", {"name": "x"}))["services"][0]["methods"][0]["parameters"] == {"a": 1}


async def test_what_is_not_exact_is_refused_and_followed_where_it_stands(network: Network) -> None:
    chain = sign_chain([group_record("x", "a"), group_record("x", "a "), group_record("", "b"), group_record("y", "c")])
    assert "data[0]: must be 1 to 200 printable" in await network.refused(chain)
    await network.store.append([DataEntry(1, bytes(16), orjson.dumps(record)) for record in as_json(chain)])
    await network.restart()
    entries = await network.ask("getEntries")
    assert [(entry["name"], entry["groups"]) for entry in entries] == [("x", []), ("y", ["c"])]
    assert entries[0]["marks"][0]["record"] == chain[1].hash
    told = [event.message() for event in network.events if isinstance(event, Notice)]
    assert len([text for text in told if "the section groups of x is empty, since its record" in text]) == 1
    changed = [event for event in network.events if isinstance(event, DirectoryChanged)]
    assert changed[-1].marked == 1


async def test_entries(network: Network) -> None:
    await network.submit(chain_of(250))
    entries = await network.ask("getEntries")
    assert [entry["name"] for entry in entries] == [f"op-{i}" for i in range(250)]
    assert entries[0]["groups"] == ["g"]
    assert await network.ask("getEntry", {"name": "op-1"}) == entries[1]
    more = sign_chain([group_record("op-1", "h", at=NOW + timedelta(seconds=1))], network.service.chain.tip)
    await network.submit(more)
    assert (await network.ask("getEntry", {"name": "op-1"}))["groups"] == ["h"]
    assert (await network.ask("getEntries"))[1]["groups"] == ["h"]
    error = (await network.call("getEntry", {"name": "nobody"})).error
    assert error is not None
    assert error.code == 404
    assert "nobody" in error.message


async def test_everything_is_there_after_a_restart(network: Network) -> None:
    chain = chain_of(120)
    await network.submit(chain[:70])
    await network.submit(chain[70:])
    await network.restart()
    assert await network.ask("getRecords") == as_json(chain)
    assert network.events[-1].message().endswith(f"from the store {network.store.location}")


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("getRecords", {"after": 3}, -32602),
        ("getEntry", {}, -32602),
        ("submitRecords", {}, -32602),
        ("submitRecords", {"records": {}}, -32602),
        ("submitRecords", {"records": ["x"]}, -32602),
        ("submitRecords", {"records": [{"hash": "00", "record": {"name": "a", "section": "b"}}]}, -32602),
        ("getrecords", {}, -32601),
    ],
)
async def test_malformed_calls(network: Network, method: str, params: Object, code: int) -> None:
    error = (await network.call(method, params)).error
    assert error is not None
    assert error.code == code
    assert set(error.data) >= {"stage", "side", "outcome", "hint"}


async def test_a_malformed_record_is_named_and_nothing_is_stored(network: Network) -> None:
    values = as_json(chain_of(4))
    values[2]["record"]["section"] = "secrets"
    error = (await network.call("submitRecords", {"records": values})).error
    assert error is not None
    assert error.code == -32602
    assert "records[2].record.section" in error.message
    assert "operator 'op-2', section 'secrets'" in error.message
    assert await network.store.read_all() == []


async def test_an_empty_batch_changes_nothing(network: Network) -> None:
    assert (await network.submit([])).result == "ok"
    assert await network.ask("getTip") is None


async def test_a_forged_record_anywhere_refuses_the_whole_batch(network: Network) -> None:
    await network.submit(chain_of(3))
    tip = network.service.chain.tip
    good = chain_of(150, parent=tip, name="new")
    forged = [*good[:149], *sign_chain([group_record("evil", "g")], good[148].hash, signer("eve", (), STRANGER))]
    text = await network.refused(forged)
    assert "record 149 (evil, groups" in text
    assert "nothing of the batch was stored" in text
    warned = [event.message() for event in network.events if isinstance(event, Notice)]
    assert any("150 records by hd-1 was refused" in text for text in warned)
    assert (await network.submit(good)).result == "ok"
    await network.restart()
    assert network.service.chain.tip == good[-1].hash


@pytest.mark.parametrize(
    ("names", "who"),
    [
        (("hd-1", "*.hd-1.local", "hd-1.example.org"), "hd-1"),
        (("x" * 300,), "x" * 80),
        ((), "a client without a certificate"),
    ],
)
async def test_a_submitter_is_logged_by_the_operators_name_alone(
    network: Network, names: tuple[str, ...], who: str
) -> None:
    chain = chain_of(2)
    for records in (chain, chain[1:]):  # one that is accepted, one that is refused
        await network.service.handle(Call("submitRecords", {"records": as_json(records)}, "n:7", names))
    texts = [event.message() for event in network.events]
    assert any(f"a submission of 2 records by {who}, which changed op-0" in text for text in texts), texts
    assert any(f"a submission of 1 record by {who} was refused: " in text for text in texts), texts


async def test_which_record_is_told_in_data(network: Network) -> None:
    chain = chain_of(3)
    error = (await network.submit([chain[0], chain[2]])).error
    assert error is not None
    assert error.data["index"] == 1


async def test_a_stale_batch_is_refused_as_stale(network: Network) -> None:
    chain = chain_of(3)
    assert "the chain is empty" in await network.refused(chain[1:])
    await network.submit(chain[:2])
    late = chain_of(1, parent=chain[0].hash, name="late")
    assert "is stale" in await network.refused(late)
    error = (await network.submit(late)).error
    assert error is not None
    assert error.data["reason"] == "stale"
    assert error.data["index"] == 0


async def test_the_same_record_twice_is_refused(network: Network) -> None:
    chain = chain_of(2)
    await network.submit(chain)
    again = sign_chain([chain[0].record.to_json()], chain[1].hash)
    assert again[0].hash == chain[0].hash
    assert "same content and date" in await network.refused(again)
    twins = sign_chain([group_record("a", "b"), group_record("a", "b")], chain[1].hash)
    assert "record 1 (a, groups)" in await network.refused(twins)


async def test_a_newer_root_replaces_the_chain_for_good(network: Network) -> None:
    first, later = chain_of(3), chain_of(2, at=NOW + timedelta(seconds=1), name="new")
    await network.submit(first)
    assert (await network.submit(later)).result == "ok"
    assert await network.ask("getRecords", {"after": first[-1].hash}) == as_json(later)
    assert [entry["name"] for entry in await network.ask("getEntries")] == ["new-0", "new-1"]
    await network.restart()
    assert await network.ask("getRecords") == as_json(later)
    assert len(await network.store.read_all()) == 5
    assert "is stale" in await network.refused(chain_of(1, parent=first[-1].hash, name="x"))


@pytest.mark.parametrize("seconds", [0, -1])
async def test_a_root_must_be_strictly_newer(network: Network, seconds: int) -> None:
    await network.submit(chain_of(3))
    assert "after the present one" in await network.refused(chain_of(1, at=NOW + timedelta(seconds=seconds), name="r"))


async def test_a_root_must_satisfy_the_present_pins(network: Network) -> None:
    await network.submit(sign_chain([signing_pin_record(ADMIN), group_record("a", "b")]))
    other = signer("admin")  # the same name, another certificate
    root = chain_of(1, at=NOW + timedelta(seconds=1), by=other)
    assert "pins" in await network.refused(root)
    assert (await network.submit(chain_of(1, at=NOW + timedelta(seconds=1)))).result == "ok"


async def test_a_root_inside_a_batch_is_refused(network: Network) -> None:
    chain = chain_of(2)
    await network.submit(chain[:1])
    assert "record 1" in await network.refused([chain[1], *chain_of(1, at=NOW + timedelta(seconds=1), name="r")])


async def test_a_record_from_the_future_is_refused(network: Network) -> None:
    network.clock.time = NOW - timedelta(hours=1)
    assert "future" in await network.refused(chain_of(1))


# The store


async def test_a_chain_of_servers_in_use_is_taken_and_given_as_it_is(tmp_path: Path) -> None:
    vectors = Path(__file__).parents[1] / "vectors"
    trusted = TrustStore.from_pem(*({name: (vectors / name).read_bytes()} for name in ("root.crt", "intermediate.crt")))
    records = json.loads((vectors / "records.json").read_text())
    service = ServiceDirectory(MemoryDatastore(), trusted, Clock(), lambda event: None)
    assert (await service.handle(Call("submitRecords", {"records": records}, "1"))).result == "ok"
    answer = await service.handle(Call("getRecords", {"after": records[4]["hash"]}, "1"))
    assert orjson.loads(orjson.dumps(answer.result)) == records[5:]


async def damaged(path: Path, entries: Sequence[DataEntry]) -> str:
    store = await SqliteDatastore.open(path)
    await store.replace(entries)
    service = ServiceDirectory(store, trust(), Clock(), lambda event: None)
    try:
        with pytest.raises(StartError) as caught:
            await service.load()
    finally:
        await store.close()
    assert "--reset" in caught.value.hint
    assert str(path) in caught.value.message
    return caught.value.message


def stored(records: Sequence[SignedRecord]) -> list[DataEntry]:
    return [DataEntry(1, bytes(16), orjson.dumps(record.to_json())) for record in records]


async def test_a_store_that_does_not_verify_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    chain = stored(chain_of(200))
    assert "record 2 of 3 can't be read" in await damaged(path, [chain[0], DataEntry(1, b"", b"{"), chain[2]])
    assert "record 2 of 3 can't be read" in await damaged(path, [chain[0], DataEntry(1, b"", b"{}"), chain[2]])
    assert "record 101 of 199 (op-101, groups) does not follow" in await damaged(path, chain[:100] + chain[101:])
    forged = [*chain_of(3), *chain_of(2, at=NOW + timedelta(seconds=1), by=signer("eve", authority=STRANGER))]
    assert "of the newest chain, record 0 (op-0" in await damaged(path, stored(forged))


async def test_records_that_were_stored_in_another_order_are_put_in_theirs() -> None:
    chain, events = chain_of(4), list[Event]()
    mixed = [chain[index] for index in (0, 2, 1, 3)]
    service = ServiceDirectory(MemoryDatastore(stored(mixed)), trust(), Clock(), events.append)
    await service.load()
    assert list(service.chain.records) == chain
    (warning, _) = events
    assert "record 2 of 4 (op-2, groups) does not follow the one before it; their links say" in warning.message()


async def test_entries_of_other_types_are_passed_over() -> None:
    chain = chain_of(2)
    service = ServiceDirectory(
        MemoryDatastore([DataEntry(2, b"", b"?"), *stored(chain)]), trust(), Clock(), lambda event: None
    )
    await service.load()
    assert service.chain.tip == chain[1].hash


class SlowStore(MemoryDatastore):
    """Writes only when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.writing, self.go_on, self.fails = asyncio.Event(), asyncio.Event(), False

    async def append(self, entries: Sequence[DataEntry]) -> None:
        self.writing.set()
        await self.go_on.wait()
        if self.fails:
            raise InternalError("the disk is full")
        await super().append(entries)


@pytest.fixture
async def slow() -> AsyncIterator[tuple[ServiceDirectory, SlowStore]]:
    store = SlowStore()
    service = ServiceDirectory(store, trust(), Clock(), lambda event: None)
    await service.load()
    yield service, store
    store.go_on.set()
    await service.close()


def submission(records: Sequence[SignedRecord]) -> Call:
    return Call("submitRecords", {"records": as_json(records)}, "1")


async def test_nothing_is_shown_before_it_is_stored(slow: tuple[ServiceDirectory, SlowStore]) -> None:
    service, store = slow
    chain = chain_of(2)
    submitting = asyncio.create_task(service.handle(submission(chain)))
    await store.writing.wait()
    assert (await service.handle(Call("getTip", {}, "2"))).result is None
    store.go_on.set()
    assert (await submitting).result == "ok"
    assert (await service.handle(Call("getTip", {}, "2"))).result is not None


async def test_a_failed_write_is_told_and_leaves_the_chain(slow: tuple[ServiceDirectory, SlowStore]) -> None:
    service, store = slow
    store.fails = True
    store.go_on.set()
    error = (await service.handle(submission(chain_of(2)))).error
    assert error is not None
    assert (error.code, error.message) == (-32603, "the disk is full")
    assert service.chain.tip == ""
    store.fails = False
    assert (await service.handle(submission(chain_of(2)))).result == "ok"


async def test_of_two_at_once_the_second_is_stale(slow: tuple[ServiceDirectory, SlowStore]) -> None:
    service, store = slow
    first = asyncio.create_task(service.handle(submission(chain_of(2))))
    await store.writing.wait()
    second = asyncio.create_task(service.handle(submission(chain_of(2, name="other"))))
    store.go_on.set()
    assert (await first).result == "ok"
    error = (await second).error
    assert error is not None
    assert "after the present one" in error.message  # both are roots of one date
    assert len(await store.read_all()) == 2


async def test_a_caller_who_hangs_up_changes_nothing_of_it(slow: tuple[ServiceDirectory, SlowStore]) -> None:
    service, store = slow
    chain = chain_of(2)
    submitting = asyncio.create_task(service.handle(submission(chain)))
    await store.writing.wait()
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    store.go_on.set()
    await service.close()
    assert service.chain.tip == chain[1].hash
    assert len(await store.read_all()) == 2


async def test_a_submission_that_takes_too_long_is_told_so(
    slow: tuple[ServiceDirectory, SlowStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, _ = slow
    monkeypatch.setattr(module, "SUBMIT_SECONDS", 0.01)
    error = (await service.handle(submission(chain_of(1)))).error
    assert error is not None
    assert "goes on" in error.message
    assert "getTip" in error.data["hint"]


async def test_only_so_many_wait(slow: tuple[ServiceDirectory, SlowStore]) -> None:
    service, store = slow
    tasks = [asyncio.create_task(service.handle(submission(chain_of(1)))) for _ in range(module.MAX_WAITING + 2)]
    await store.writing.wait()
    answer = await tasks[-1]
    assert answer.error is not None
    assert "are waiting already" in answer.error.message
    store.go_on.set()
    answers = await asyncio.gather(*tasks)
    assert [answer.result for answer in answers].count("ok") == 1


async def test_closing_ends_a_submission_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.01)
    store = SlowStore()
    service = ServiceDirectory(store, trust(), Clock(), lambda event: None)
    submitting = asyncio.create_task(service.handle(submission(chain_of(1))))
    await store.writing.wait()
    await service.close()
    with pytest.raises(asyncio.CancelledError):
        await submitting


# Cost


async def test_a_thousand_records_and_the_next_thousand(network: Network) -> None:
    chain: list[SignedRecord] = []

    def two_thousand_more(attempt: int) -> list[list[Any]]:
        for part in "ab":
            chain.extend(chain_of(1000, parent=chain[-1].hash if chain else "", name=f"{attempt}-{part}"))
        return [as_json(chain[-2000:-1000]), as_json(chain[-1000:])]

    async def submit_two(attempt: int) -> None:
        for batch in await asyncio.to_thread(two_thousand_more, attempt):  # signing is the test's work, not the loop's
            async with asyncio.timeout(A_THOUSAND_RECORDS):
                assert (await network.call("submitRecords", {"records": batch})).result == "ok"

    assert await shortest_longest_turn(submit_two) < A_TURN
    assert len(await network.ask("getRecords")) == len(chain)
    assert await network.ask("getRecords", {"after": chain[-2].hash}) == as_json(chain[-1:])
