"""Following a service directory that may be down, slow, reset, behind, or lying."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

import eps.directory.api as module
import eps.directory.endpoints as endpoints_module
import eps.directory.pages as pages
import eps.directory.rounds as rounds
from eps.core.event import DirectoryChanged, DirectoryFailed, Event, Notice
from eps.core.instant import parse_instant
from eps.core.jsonrpc_text import Call
from eps.core.message import Error, Response
from eps.core.names import Object, Operator
from eps.core.new_root import TrustedRoot
from eps.core.record import SignedRecord, parse_change_record
from eps.core.signature import TrustStore
from eps.core.structure import structured_bytes
from eps.datastores import DataEntry
from eps.datastores.memory import MemoryDatastore
from eps.datastores.sqlite import SqliteDatastore
from eps.directory import DirectorySource, trusted_roots
from eps.directory.api import ApiDirectory, Following, KeptFiles
from eps.directory.confirmed import AgeLimit
from eps.directory.pace import Pace
from eps.directory.service import ServiceDirectory
from eps.errors import AnswerTooLarge, Unreachable
from support.fakes import FakeClients
from support.promptness import A_TURN, shortest_longest_turn
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
    without_canonical,
)

LATER = NOW + timedelta(seconds=1)
QUICK = Pace(0.1, 0.02, refresh_every=0.0)


class Sd:
    """A service directory without a network. ``answers`` replaces methods: by a function of the params."""

    def __init__(self) -> None:
        self.service = ServiceDirectory(MemoryDatastore(), trust(), Clock(), lambda event: None)
        self.answers: dict[str, Callable[[Object], Any]] = {}
        self.calls: list[tuple[str, Object]] = []
        self.asked = asyncio.Event()
        self.up = True
        self.hangs = False
        self.most = 1_000_000
        """Records in one answer that a client takes."""

    async def call(self, method: str, params: Object) -> Response:
        self.calls.append((method, params))
        self.asked.set()
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if not self.up:
            raise Unreachable("connection refused", hint="is it running?")
        if method in self.answers:
            answer = self.answers[method](params)
            return answer if isinstance(answer, Response) else Response("1", answer)
        response = await self.service.handle(Call(method, params, "1"))
        result = orjson.loads(orjson.dumps(response.result))
        if method == "getRecords" and len(result) > self.most:
            raise AnswerTooLarge("answered with more than the limit")
        return Response("1", result, response.error)

    async def submit(self, records: Sequence[SignedRecord]) -> None:
        response = await self.service.handle(Call("submitRecords", {"records": as_json(records)}, "1"))
        assert response.error is None, response.error

    def shows(self, records: Sequence[SignedRecord]) -> None:
        """Answer with this chain, whatever it is, as a server does that doesn't know the tip it is asked for."""
        self.answers = {"getTip": lambda _: records[-1].to_json(), "getRecords": lambda _: as_json(records)}

    async def next_call(self) -> None:
        self.asked.clear()
        await asyncio.wait_for(self.asked.wait(), 30)

    def count(self, method: str) -> int:
        return [name for name, _ in self.calls].count(method)


class World:
    """Service directories and a server's directory that follows them."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "state" / "directory.db"
        self.sds = [Sd(), Sd()]
        self.events: list[Event] = []
        self.clients: list[FakeClients] = []
        self._made: list[ApiDirectory] = []

    @property
    def sd(self) -> Sd:
        return self.sds[0]

    def directory(
        self, endpoints: int = 1, *, cache: bool = False, trusted_roots: Path | None = None, **options: Any
    ) -> ApiDirectory:
        async def call(index: int, method: str, params: Object) -> Response:
            return await self.sds[index].call(method, params)

        self.clients.append(FakeClients(call, [f"https://sd-{index}" for index in range(endpoints)]))
        given, now = options.pop("trust", trust()), options.pop("now", Clock(LATER))
        files = KeptFiles(str(self.path) if cache else None, trusted_roots)
        following = Following(**{"pace": QUICK} | options)
        directory = ApiDirectory(
            self.clients[-1], given, emit=self.events.append, files=files, following=following, now=now
        )
        self._made.append(directory)
        return directory

    async def started(self, endpoints: int = 1, **options: Any) -> ApiDirectory:
        directory = self.directory(endpoints, **options)
        await directory.start()
        return directory

    def of(self, kind: type[Event]) -> list[str]:
        return [event.message() for event in self.events if isinstance(event, kind)]

    async def failure(self, number: int = 1) -> str:
        """Wait for the first DirectoryFailed, or a later one."""
        return await self.event(DirectoryFailed, number)

    async def notice(self, part: str) -> str:
        """Wait for a notice with these words."""
        async with asyncio.timeout(30):
            while not (found := [text for text in self.of(Notice) if part in text]):
                await asyncio.sleep(0.001)
        return found[0]

    async def event(self, kind: type[Event], number: int = 1) -> str:
        async with asyncio.timeout(30):
            while len(self.of(kind)) < number:
                await asyncio.sleep(0.001)
        return self.of(kind)[number - 1]

    async def close(self) -> None:
        for directory in self._made:
            await directory.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.close()
    assert {task.get_name() for task in asyncio.all_tasks()} & {"directory"} == set()


async def until(directory: ApiDirectory, tip: str) -> None:
    async with asyncio.timeout(30):
        while directory.current.version != tip:
            await directory.changed(directory.current)


async def settled(directory: ApiDirectory, sd: Sd, polls: int = 2) -> None:
    """Wait until a few more polls have begun."""
    for _ in range(polls):
        await sd.next_call()


# Following


def moved_into_the_name(honest: SignedRecord) -> SignedRecord:
    """The same bytes, and so the same hash and signature, as another record."""
    inside = structured_bytes(honest.record.to_json()).split(b"created_at", 1)[1].partition(b"stringname")[0]
    value = honest.record.to_json() | {"name": inside.removeprefix(b"string").decode(), "data": []}
    return replace(honest, record=parse_change_record(value))


async def test_a_forged_revocation_is_refused_and_asked_for_again(world: World) -> None:
    """The record that takes a stolen certificate away is shown as another one, with its hash and signature."""
    pin = {"name": "op", "section": "certificates", "created_at": NOW.isoformat()}
    stolen, mine = ({"fingerprint": letter * 64, "key_usage": "encryption"} for letter in "ab")
    chain = without_canonical(sign_chain([pin | {"data": [stolen]}, pin | {"data": [mine]}]))
    world.sd.shows(chain[:1])
    directory = await world.started(cache=True, pace=replace(QUICK, thorough_every=0.05))
    await until(directory, chain[0].hash)
    world.sd.shows([chain[0], moved_into_the_name(chain[1])])
    assert "what was signed says something else" in await world.failure()
    assert directory.current.pins("op") == {"a" * 64}
    world.sd.shows(chain)
    await until(directory, chain[1].hash)
    assert directory.current.pins("op") == {"b" * 64}


ODD = {"p": {"a": "1"}, "q": "z"}
SHOWN = {"q": {"a": "1", "z": "p"}}
"""The same bytes."""


def setting(value: Object, name: str = "op") -> Object:
    return group_record(name) | {"section": "settings", "data": [{"settings": value}]}


def demanding() -> TrustStore:
    """Demands canonical signatures from :data:`NOW` on."""
    return TrustStore(trust().roots, trust().intermediates, canonical_from=parse_instant("2026-11-22T12:00:00Z"))


def shown_otherwise(honest: SignedRecord, value: Object) -> SignedRecord:
    """``honest`` as whoever hands it on can show it: with another value of the same bytes, hash and signature."""
    forged = replace(honest, record=parse_change_record({**honest.record.to_json(), **setting(value)}))
    assert forged.record.hash() == honest.hash
    return forged


async def test_a_free_form_value_is_shown_in_another_way(world: World) -> None:
    """Where canonical signatures are demanded it is refused, with or without that signature; and told elsewhere."""
    honest = sign_chain([setting(ODD)])
    forged = shown_otherwise(honest[0], SHOWN)
    world.sd.shows([forged])
    directory = await world.started(trust=demanding(), pace=replace(QUICK, thorough_every=0.05))
    assert "the canonical signature is not one that admin made over this content" in await world.failure()
    world.sd.shows(without_canonical([forged]))
    assert "bears no canonical signature, which require_canonical_signatures demands" in await world.failure(2)
    assert not directory.current.entries
    world.sd.shows(honest)
    await until(directory, honest[0].hash)
    assert directory.current.service_settings("op", "", "x") == ODD
    assert not any("could be read in another way" in text for text in world.of(Notice))
    await directory.close()
    world.sd.shows(without_canonical([forged]))
    careless = await world.started()
    await until(careless, forged.hash)
    await world.notice("could be read in another way from the same signature")


@pytest.mark.parametrize("keeping", [True, False], ids=["wrong", "dropped"])
async def test_the_honest_record_is_taken_at_once_though_a_forged_one_had_its_hash(world: World, keeping: bool) -> None:
    """A refused chain is not fetched again for a while; one whose last record differs in anything is another one."""
    honest = sign_chain([setting(ODD)])
    forged = [shown_otherwise(honest[0], SHOWN)]
    world.sd.shows(forged if keeping else without_canonical(forged))
    directory = await world.started(trust=demanding(), pace=replace(QUICK, thorough_every=3600.0))
    await world.failure()
    await settled(directory, world.sd)
    asked = world.sd.count("getRecords")
    await settled(directory, world.sd)
    assert world.sd.count("getRecords") == asked
    world.sd.shows(honest)
    await until(directory, honest[0].hash)


async def test_an_endpoint_that_drops_canonical_signatures_is_told_at_the_start(world: World) -> None:
    records = chain_of(2)
    await world.sd.submit(records)
    directory = await world.started(cache=True, trust=demanding())
    await until(directory, records[-1].hash)
    await settled(directory, world.sd)
    await directory.close()
    assert world.sd.count("getRules") == 1
    assert not any("canonical" in text for text in world.of(Notice)), "ours keeps them"
    world.sd.shows(without_canonical(records))
    directory = await world.started(cache=True)
    dropped = await world.notice("drops canonical signatures")
    assert dropped.startswith(
        f"the service directory at https://sd-0 drops canonical signatures: it shows record {records[-1].hash[:12]} "
        "without the one it had ("
    )
    await settled(directory, world.sd)
    await directory.close()
    world.sd.answers["getRules"] = lambda _: Response("1", error=Error(-32601, "unknown method"))
    world.events.clear()
    directory = await world.started(cache=True, trust=demanding())
    kept = await world.notice("does not keep canonical signatures")
    assert kept.partition(" (")[0].endswith(
        "which require_canonical_signatures demands from 2026-11-22T12:00:00Z on: of records from then "
        "on it is not believed"
    )
    assert directory.current.version == records[-1].hash
    await settled(directory, world.sd)
    assert len([text for text in world.of(Notice) if "canonical" in text]) == 2, "each finding once"


async def test_what_an_endpoint_keeps_is_asked_until_it_says_so(world: World) -> None:
    records = chain_of(1)
    await world.sd.submit(records)
    answers: list[Any] = [Response("1", error=Error(-32603, "busy")), {"canonical_signatures": True}]
    world.sd.answers["getRules"] = lambda _: answers.pop(0)
    directory = await world.started(trust=demanding())
    async with asyncio.timeout(30):
        while answers:
            await directory.refresh()
    await settled(directory, world.sd)
    assert world.sd.count("getRules") == 2
    assert not any("canonical" in text for text in world.of(Notice))


async def test_who_stops_signing_canonically_is_told_once(world: World) -> None:
    records = chain_of(6)
    mixed = [*records[:2], *without_canonical(records[2:4]), records[4], *without_canonical(records[5:])]
    world.sd.shows(mixed[:3])
    directory = await world.started()
    await until(directory, records[2].hash)
    for count in (4, 5, 6):
        world.sd.shows(mixed[:count])
        await until(directory, records[count - 1].hash)
    told = [text for text in world.of(Notice) if "bears no canonical signature" in text]
    assert [text[:19] for text in told] == [f"record {records[at].hash[:12]}" for at in (2, 5)]
    assert "signed by admin" in told[0] and "though earlier ones of admin do" in told[0]


async def test_odd_records_are_followed_and_told_once(world: World) -> None:
    settings = setting(ODD)
    chain = sign_chain(
        [
            group_record("op", "a"),
            group_record("op", "A\t"),
            settings,
            group_record("late", "b", at=LATER + timedelta(minutes=10)),
            *[group_record(f"odd-{number}", "") for number in range(12)],
        ]
    )
    chain = without_canonical(chain)
    world.sd.shows(chain)
    directory = await world.started()
    await until(directory, chain[-1].hash)
    async with asyncio.timeout(30):
        while not any("could be read in another way" in text for text in world.of(Notice)):
            await asyncio.sleep(0.001)
    await settled(directory, world.sd)
    told = world.of(Notice)
    assert len([text for text in told if text.startswith("the section groups of ")]) == 10
    assert len([text for text in told if text.startswith("and 3 more of this kind")]) == 1
    assert next(text for text in told if "is dated ahead" in text).startswith(f"record {chain[3].hash[:12]} (late")
    doubtful = [text for text in told if "could be read in another way" in text]
    assert len(doubtful) == 1 and doubtful[0].startswith("data[0].settings of op, settings, could be")
    assert directory.current.marked == 13
    assert [event.marked for event in world.events if isinstance(event, DirectoryChanged)] == [13]


async def test_it_follows(world: World) -> None:
    directory: DirectorySource = await world.started()
    assert dict(directory.current.entries) == {}
    chain = chain_of(3)
    await world.sd.submit(chain[:2])
    seen = await asyncio.wait_for(directory.changed(directory.current), 30)
    assert list(seen.entries) == ["op-0", "op-1"]
    await world.sd.submit(chain[2:])
    assert list((await asyncio.wait_for(directory.changed(seen), 5)).entries) == ["op-0", "op-1", "op-2"]
    assert directory.current.version == chain[2].hash
    assert world.of(DirectoryChanged)[-1].endswith("from https://sd-0")
    assert ("getRecords", {"after": chain[1].hash}) in world.sd.calls
    assert await directory.changed(seen) is directory.current


@pytest.mark.parametrize(("records", "asked"), [(3, []), (4, ["", 3]), (6, ["", 3]), (20, ["", 3, 6, 9, 12, 15, 18])])
async def test_what_is_too_much_for_one_answer_comes_in_pages(
    world: World, records: int, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_RECORDS", 3)
    world.sd.most = 3
    chain = chain_of(records)
    await world.sd.submit(chain)
    await until(await world.started(), chain[-1].hash)
    seen = [params["after"] for method, params in world.sd.calls if method == "getPage"]
    assert seen == [after and chain[after - 1].hash for after in asked]


async def test_news_and_a_new_root_may_be_too_much_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_RECORDS", 3)
    world.sd.most = 3
    chain, again = chain_of(9), chain_of(8, at=LATER, name="again")
    await world.sd.submit(chain[:1])
    directory = await world.started(pace=replace(QUICK, thorough_every=0.0))
    await until(directory, chain[0].hash)
    for records in (chain[1:], again):
        world.sd.calls.clear()
        await world.sd.submit(records)
        await until(directory, records[-1].hash)
        assert world.sd.count("getPage") == 3
    assert "op-0" not in directory.current.entries


async def test_a_new_root_between_two_pages_is_followed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_RECORDS", 3)
    world.sd.most = 3
    chain, again = chain_of(5), chain_of(7, at=LATER, name="again")
    await world.sd.submit(chain)
    answers = [(await world.sd.call("getPage", {"after": ""})).result]
    await world.sd.submit(again)
    world.sd.answers["getPage"] = lambda params: answers.pop() if answers else served(world.sd, params)
    directory = await world.started()
    await until(directory, again[-1].hash)
    assert "op-0" not in directory.current.entries


def served(sd: Sd, params: Object) -> Any:
    """What the service directory's own pages say."""
    return orjson.loads(orjson.dumps(sd.service._pages.page(params["after"])))


async def test_nothing_of_pages_is_used_before_the_last(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another certificate may be pinned on the first than on the last."""
    monkeypatch.setattr(pages, "PAGE_RECORDS", 3)
    world.sd.most = 3
    chain, seen = chain_of(7), list[int]()
    await world.sd.submit(chain)
    directory = world.directory()

    def page(params: Object) -> Any:
        seen.append(len(directory.current.entries))
        return served(world.sd, params)

    world.sd.answers["getPage"] = page
    await directory.start()
    await until(directory, chain[-1].hash)
    assert seen == [0, 0, 0]


@pytest.mark.parametrize(
    "page",
    [
        lambda _: [],
        lambda _: {"records": None, "more": False},
        lambda _: {"records": as_json(chain_of(2)), "more": True},
        lambda _: {"records": [], "more": True},
        lambda _: {"records": as_json(chain_of(3, by=signer(authority=STRANGER))), "more": True},
    ],
    ids=["a list", "no records", "the first again and again", "nothing and more", "a stranger's"],
)
async def test_pages_that_can_not_be_believed(world: World, page: Callable[[Object], Any]) -> None:
    world.sd.most = 2
    await world.sd.submit(chain_of(3))
    world.sd.answers["getPage"] = page
    directory = await world.started()
    assert "not believed" in await world.failure()
    assert not directory.current.entries
    assert world.sd.count("getPage") < 20


async def test_who_has_no_pages_has_too_much_to_say(world: World) -> None:
    world.sd.most = 2
    await world.sd.submit(chain_of(3))
    world.sd.answers["getPage"] = lambda _: Response("1", error=Error(-32601, "unknown method"))
    directory = await world.started()
    assert "getPage with error -32601" in await world.failure()
    assert not directory.current.entries


async def test_a_poll_without_news_changes_nothing(world: World) -> None:
    await world.sd.submit(chain_of(3))
    directory = await world.started()
    await until(directory, world.sd.service.chain.tip)
    current, before = directory.current, len(world.sd.calls)
    await settled(directory, world.sd, 3)
    assert directory.current is current
    assert {name for name, _ in world.sd.calls[before:]} == {"getRecords"}
    assert len(world.of(DirectoryChanged)) == 1


async def test_a_newer_root_is_followed(world: World) -> None:
    await world.sd.submit(chain_of(3))
    directory = await world.started(cache=True)
    await until(directory, world.sd.service.chain.tip)
    newer = chain_of(2, at=LATER, name="new")
    await world.sd.submit(newer)
    await until(directory, newer[-1].hash)
    assert list(directory.current.entries) == ["new-0", "new-1"]


async def test_a_reset_is_noticed_also_where_an_old_tip_is_answered_with_nothing(world: World) -> None:
    await world.sd.submit(chain_of(3))
    directory = await world.started()
    await until(directory, world.sd.service.chain.tip)
    newer = chain_of(2, at=LATER, name="new")
    world.sd.shows(newer)
    world.sd.answers["getRecords"] = lambda params: [] if params["after"] else as_json(newer)
    await directory.refresh()
    assert directory.current.version == newer[-1].hash


async def test_a_minute_is_the_longest_until_the_tip_is_compared(world: World) -> None:
    await world.sd.submit(chain_of(1))
    await settled(
        await world.started(pace=replace(QUICK, thorough_every=0.0)), world.sd, 4
    )  # one of them is for the records
    assert world.sd.count("getTip") >= 3


async def test_nulls_of_servers_in_use(world: World) -> None:
    world.sd.answers = {"getTip": lambda _: None, "getRecords": lambda _: None}
    directory = await world.started()
    await settled(directory, world.sd)
    assert world.of(DirectoryFailed) == []
    chain = chain_of(1)
    world.sd.shows(chain)
    await until(directory, chain[0].hash)


async def test_a_server_without_get_tip(world: World) -> None:
    chain = chain_of(2)
    world.sd.shows(chain)
    world.sd.answers["getTip"] = lambda _: Response("1", error=Error(-32601, "no such method"))
    await until(await world.started(), chain[-1].hash)


# Refusing


async def kept(world: World, shown: Sequence[SignedRecord], complaint: str) -> None:
    """After ``shown``, the directory is what it was, and says why, once."""
    own = chain_of(3)
    await world.sd.submit(own)
    directory = await world.started()
    await until(directory, own[-1].hash)
    current = directory.current
    world.sd.shows(shown)
    await directory.refresh()
    assert complaint in await world.failure()
    fetched = world.sd.count("getRecords")
    await settled(directory, world.sd, 4)
    assert directory.current is current
    assert world.sd.count("getRecords") == fetched, "a refused chain must not be fetched again and again"
    assert len(world.of(DirectoryFailed)) == 1
    world.sd.answers = {}
    await directory.refresh()
    assert "answers again" in world.of(Notice)[-1]


async def test_another_tail_of_the_same_root_is_refused(world: World) -> None:
    first = chain_of(3)[0]
    await kept(world, [first, *chain_of(4, parent=first.hash, name="evil")], "another history from the same root")


async def test_a_shorter_chain_is_refused(world: World) -> None:
    await kept(world, chain_of(2), "was set back: it lacks ")


async def test_an_older_root_is_refused(world: World) -> None:
    await kept(world, chain_of(5, at=NOW - timedelta(seconds=1), name="old"), "must be dated after the present one")


async def test_an_equally_old_root_is_refused(world: World) -> None:
    await kept(world, chain_of(5, name="other"), "must be dated after the present one")


async def test_a_stranger_s_chain_is_refused(world: World) -> None:
    await kept(world, chain_of(2, at=LATER, by=signer(authority=STRANGER)), "known root")


async def test_a_root_that_is_not_vouched_for_is_followed_once_it_is_accepted_by_hand(
    world: World, tmp_path: Path
) -> None:
    own = sign_chain([signing_pin_record(ADMIN)])
    await world.sd.submit(own)
    file = tmp_path / "trusted-roots.json"
    directory = await world.started(trusted_roots=file)
    await until(directory, own[-1].hash)
    other = signer("admin")
    new = chain_of(2, at=LATER, by=other)
    world.sd.shows(new)
    await directory.refresh()
    failure = await world.failure()
    assert new[0].hash[:12] in failure
    assert f"eps sd trust-root {new[0].hash}" in failure
    assert other.subject.fingerprint in failure
    file.write_text("{")
    await settled(directory, world.sd, 3)
    assert directory.current.version == own[-1].hash
    told = [text for text in world.of(Notice) if "no root is accepted by hand" in text]
    assert len(told) == 1
    file.unlink()
    trusted_roots.add(file, TrustedRoot(new[0].hash, ADMIN.subject.fingerprint))
    await settled(directory, world.sd, 3)
    assert directory.current.version == own[-1].hash, "the hash alone is also that of a forger's root"
    trusted_roots.add(file, TrustedRoot(new[0].hash, other.subject.fingerprint))
    await until(directory, new[-1].hash)


async def test_a_forged_record_behind_our_tip_is_refused(world: World) -> None:
    tip = chain_of(3)[-1].hash
    forged = sign_chain([group_record("evil", "g")], tip, signer("eve", ()))
    await kept(world, forged, "sd-admin")


async def test_a_directory_that_was_emptied_is_refused(world: World) -> None:
    own = chain_of(3)
    await world.sd.submit(own)
    directory = await world.started()
    await until(directory, own[-1].hash)
    world.sd.answers = {"getTip": lambda _: {}, "getRecords": lambda _: []}
    await directory.refresh()
    assert "no records at all" in await world.failure()
    assert directory.current.version == own[-1].hash


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("<html>", "not a list"),
        ([{"hash": "x"}], "records[0].hash"),
        (Response("1", error=Error(-32603, "out of order")), "answered getRecords with error -32603: out of order"),
    ],
)
async def test_answers_of_another_form(world: World, answer: Any, complaint: str) -> None:
    world.sd.answers = {"getTip": lambda _: {"hash": "x"}, "getRecords": lambda _: answer}
    directory = await world.started()
    assert complaint in await world.failure()
    world.sd.answers = {}
    chain = chain_of(1)
    await world.sd.submit(chain)
    await until(directory, chain[0].hash)


async def test_a_refused_chain_is_tried_again_after_a_while(world: World) -> None:
    clock = Clock(NOW - timedelta(hours=1))
    chain = chain_of(1)
    await world.sd.submit(chain)
    directory = await world.started(now=clock, pace=replace(QUICK, thorough_every=0.0))
    assert "in the future" in await world.failure()
    clock.time = NOW
    await until(directory, chain[0].hash)


@pytest.mark.parametrize("step", [timedelta(days=-3650), timedelta(days=3650)], ids=["back", "ahead"])
async def test_a_clock_that_steps_loses_nothing_that_was_verified(world: World, step: timedelta) -> None:
    """Ten years back or ahead: what was verified stays in use, and news are followed (only a new root must not be dated
    in the future)."""
    clock, chain = Clock(LATER), chain_of(3)
    await world.sd.submit(chain[:2])
    directory = await world.started(cache=True, now=clock, pace=replace(QUICK, thorough_every=0.0))
    await until(directory, chain[1].hash)
    clock.time += step
    await world.sd.submit(chain[2:])
    await until(directory, chain[2].hash)
    clock.time = LATER
    await settled(directory, world.sd)
    assert directory.current.version == chain[2].hash
    assert world.of(DirectoryFailed) == []


async def test_whoever_must_wait_until_the_cache_is_read_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.sd.submit(chain_of(2))
    directory = await world.started(cache=True)
    assert await directory.loaded()
    monkeypatch.setattr(module, "LOADED_SECONDS", 0.01)
    assert not await world.directory().loaded(), "it was never started"


# Its age


async def test_a_directory_that_is_too_old_is_not_used_until_it_is_confirmed(world: World) -> None:
    clock, chain = Clock(), chain_of(2)
    await world.sd.submit(chain)
    directory = await world.started(cache=True, now=clock, age_limit=AgeLimit(3600.0, refuse=True))
    await until(directory, chain[-1].hash)
    assert directory.as_of() == "the directory was confirmed less than a minute ago"
    assert directory.too_old() == ""
    seen, world.sd.up = directory.current, False
    clock.time += timedelta(hours=3)
    empty = await asyncio.wait_for(directory.changed(seen), 30)
    assert not empty.entries
    assert directory.verified is seen, "who it is about is still known"
    assert directory.as_of() == "the directory was confirmed 3 hours ago"
    assert "confirmed 3 hours ago, which is longer than maximum_age, so nobody is trusted" in directory.too_old()
    world.sd.up = True
    assert (await asyncio.wait_for(directory.changed(empty), 30)).version == chain[-1].hash


# Several endpoints


async def test_the_second_endpoint_is_asked_if_the_first_is_down(world: World) -> None:
    world.sds[0].up = False
    chain = chain_of(2)
    await world.sds[1].submit(chain)
    directory = await world.started(2)
    await until(directory, chain[-1].hash)
    await settled(directory, world.sds[1], 3)
    assert len(world.sds[0].calls) == 1, "the one that was good is asked first from then on"
    assert world.of(DirectoryFailed) == []


async def test_the_second_endpoint_is_asked_if_the_first_is_silent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints_module, "STAGGER_SECONDS", 0.01)
    world.sds[0].hangs = True
    chain = chain_of(2)
    await world.sds[1].submit(chain)
    await until(await world.started(2), chain[-1].hash)


async def test_the_second_endpoint_is_asked_if_the_first_is_not_believed(world: World) -> None:
    world.sds[0].shows(chain_of(2, by=signer(authority=STRANGER)))
    chain = chain_of(2)
    await world.sds[1].submit(chain)
    await until(await world.started(2), chain[-1].hash)
    async with asyncio.timeout(30):
        while not any("https://sd-0 is not believed" in text for text in world.of(Notice)):
            await asyncio.sleep(0.001)


async def test_all_reasons_are_told_if_none_is_good(world: World) -> None:
    world.sds[0].shows(chain_of(2, by=signer(authority=STRANGER)))
    world.sds[1].up = False
    await world.started(2)
    text = await world.failure()
    assert "https://sd-0 is not believed" in text
    assert "connection refused" in text
    world.sds[0].up = False
    async with asyncio.timeout(30):
        while len(world.of(DirectoryFailed)) < 2:
            await asyncio.sleep(0.001)
    assert "connection refused; connection refused" in world.of(DirectoryFailed)[1]


async def test_no_endpoint_is_a_failure_with_advice(world: World) -> None:
    await world.started(0)
    assert "directory.settings.endpoints" in await world.failure()


async def test_an_endpoint_that_never_answers_costs_its_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "TIP_SECONDS", 0.01)
    world.sd.hangs = True
    await world.started()
    assert "did not answer getTip within 0.01 s" in await world.failure()


# Down and up


async def test_it_starts_with_the_service_directory_down_and_recovers(world: World) -> None:
    world.sd.up = False
    directory = await world.started()
    text = await world.failure()
    assert "connection refused" in text
    assert "is it running?" in text
    await settled(directory, world.sd, 3)
    assert len(world.of(DirectoryFailed)) == 1
    chain = chain_of(1)
    await world.sd.submit(chain)
    world.sd.up = True
    await until(directory, chain[0].hash)
    await world.event(Notice)
    assert any("https://sd-0 answers again" in text for text in world.of(Notice))


async def test_what_was_verified_is_served_from_the_cache_while_the_service_directory_is_down(world: World) -> None:
    chain = chain_of(130)
    await world.sd.submit(chain[:100])
    first = await world.started(cache=True)
    await until(first, chain[99].hash)
    await world.sd.submit(chain[100:])
    await until(first, chain[-1].hash)
    await first.close()
    world.sd.up = False
    second = await world.started(cache=True)
    assert second.current.version == chain[-1].hash
    assert any(text.endswith("from the cache") for text in world.of(DirectoryChanged))
    await world.failure()
    assert second.current.version == chain[-1].hash


async def test_after_a_reset_the_cache_holds_the_new_chain_only(world: World) -> None:
    await world.sd.submit(chain_of(3))
    first = await world.started(cache=True)
    await until(first, world.sd.service.chain.tip)
    newer = chain_of(2, at=LATER, name="new")
    await world.sd.submit(newer)
    await until(first, newer[-1].hash)
    await settled(first, world.sd)
    await first.close()
    store = await SqliteDatastore.open(world.path)
    assert [orjson.loads(entry.data) for entry in await store.read_all()] == as_json(newer)
    await store.close()


async def prepared_cache(world: World, entries: Sequence[DataEntry]) -> None:
    store = await SqliteDatastore.open(world.path)
    await store.append(entries)
    await store.close()


@pytest.mark.parametrize("data", [b"{", b"{}", b"forged"])
async def test_a_cache_that_can_t_be_believed_is_replaced(world: World, data: bytes) -> None:
    if data == b"forged":
        data = orjson.dumps(chain_of(1, by=signer(authority=STRANGER))[0].to_json())
    await prepared_cache(world, [DataEntry(1, bytes(16), data)])
    chain = chain_of(2)
    await world.sd.submit(chain)
    directory = await world.started(cache=True)
    assert "the directory cache" in world.of(Notice)[0]
    await until(directory, chain[-1].hash)
    await settled(directory, world.sd)
    await directory.close()
    world.sd.up = False
    assert (await world.started(cache=True)).current.version == chain[-1].hash


async def test_a_cache_in_use_by_another_server_is_done_without(world: World) -> None:
    other = await SqliteDatastore.open(world.path)
    chain = chain_of(2)
    await world.sd.submit(chain)
    directory = await world.started(cache=True)
    assert "in use by another program" in world.of(Notice)[0]
    await until(directory, chain[-1].hash)
    assert await other.read_all() == []
    await other.close()


async def test_a_cache_that_can_t_be_written_is_done_without(world: World) -> None:
    chain = chain_of(2)
    await world.sd.submit(chain[:1])
    directory = await world.started(cache=True)
    await until(directory, chain[0].hash)
    await settled(directory, world.sd)
    database = sqlite3.connect(world.path)
    database.execute("DROP TABLE entries")
    database.commit()
    database.close()
    await world.sd.submit(chain[1:])
    await until(directory, chain[1].hash)
    async with asyncio.timeout(30):
        while not any("can't be written" in text for text in world.of(Notice)):
            await asyncio.sleep(0.001)


async def test_start_does_not_wait_for_a_long_cache(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOAD_SECONDS", 0.0)
    chain = chain_of(200)
    await prepared_cache(world, [DataEntry(1, bytes(16), orjson.dumps(r.to_json())) for r in chain])
    world.sd.up = False
    directory = await world.started(cache=True)
    await until(directory, chain[-1].hash)


# Pace


async def test_the_pace_is_quick_while_something_is_missing(world: World) -> None:
    directory = world.directory(pace=replace(QUICK, complete=5.0, incomplete=1.0), own_name=Operator("op-1"))
    assert directory.pause == 1.0
    chain = chain_of(2)
    await world.sd.submit(chain[:1])
    await directory.start()
    await until(directory, chain[0].hash)
    assert directory.pause == 1.0
    assert "no entry for op-1" in (await world.event(Notice))
    await world.sd.submit(chain[1:])
    await directory.refresh()
    assert directory.pause == 5.0
    world.sd.up = False
    await directory.refresh()
    assert directory.pause == 1.0
    assert len(world.of(Notice)) == 1


# Refreshing


async def test_refreshes_are_shared_and_rare(world: World) -> None:
    chain = chain_of(3)
    await world.sd.submit(chain[:1])
    directory = await world.started(pace=Pace(3600.0, refresh_every=3600.0))
    await until(directory, chain[0].hash)
    await world.sd.submit(chain[1:2])
    before = world.sd.count("getTip")
    await asyncio.gather(*(directory.refresh() for _ in range(20)))
    assert directory.current.version == chain[1].hash
    assert world.sd.count("getTip") == before + 1
    await directory.refresh()
    assert world.sd.count("getTip") == before + 1


async def test_a_refresh_during_a_poll_is_followed_by_another(world: World) -> None:
    chain = chain_of(1)
    go_on = asyncio.Event()
    directory = world.directory(pace=Pace(3600.0))
    first = True

    async def call(method: str, params: Object) -> Response:
        nonlocal first
        if first:
            first = False
            await go_on.wait()
            return Response("1", None)  # an answer from before the submission
        return await real(method, params)

    real: Callable[[str, Object], Awaitable[Response]] = world.sd.call
    world.sd.call = call  # type: ignore[method-assign]  # a fake's method
    await directory.start()
    await world.sd.submit(chain)
    refreshing = asyncio.create_task(directory.refresh())
    await asyncio.sleep(0)
    go_on.set()
    await refreshing
    assert directory.current.version == chain[0].hash


async def test_a_refresh_is_bounded(world: World) -> None:
    world.sd.hangs = True
    directory = await world.started(pace=replace(QUICK, refresh_seconds=0.01))
    await directory.refresh()
    assert directory.current.version == ""


async def test_a_refresh_never_raises(world: World) -> None:
    world.sd.up = False
    directory = world.directory()
    await directory.refresh()
    await directory.start()
    await directory.refresh()
    await directory.close()
    await directory.refresh()


async def test_closing_ends_those_who_wait_for_a_refresh(world: World) -> None:
    world.sd.hangs = True
    directory = await world.started()
    refreshing = asyncio.create_task(directory.refresh())
    await asyncio.sleep(0)
    await directory.close()
    await asyncio.wait_for(refreshing, 30)


# The end


async def test_nothing_is_asked_after_closing(world: World) -> None:
    directory = await world.started()
    await world.sd.next_call()
    await directory.close()
    before = len(world.sd.calls)
    await asyncio.sleep(0.05)  # more than two polls; there is nothing to wait for
    assert len(world.sd.calls) == before
    assert [clients.closed for clients in world.clients] == [1]


async def test_a_fault_of_ours_does_not_end_the_following(world: World) -> None:
    def fault(params: Object) -> Any:
        raise ZeroDivisionError("oops")

    world.sd.answers = {"getTip": fault}
    directory = await world.started()
    assert "unexpected ZeroDivisionError: oops" in await world.failure()
    chain = chain_of(1)
    await world.sd.submit(chain)
    world.sd.answers = {}
    await until(directory, chain[0].hash)


async def test_two_thousand_records_don_t_hold_up_the_event_loop(world: World) -> None:
    chain = chain_of(2000)
    world.sd.shows(chain)
    values = as_json(chain)
    world.sd.answers["getRecords"] = lambda _: values

    async def follow(attempt: int) -> None:
        world.path = world.path.with_name(f"{attempt}.db")
        await until(await world.started(cache=True), chain[-1].hash)

    assert await shortest_longest_turn(follow) < A_TURN
