"""Announcements in memory and in a store, with others that change the store meanwhile."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from eps.core.announcement import Announcement, Keeper, Wanted, decide_claims, encode
from eps.core.event import Level, Notice
from eps.core.instant import instant_of
from eps.core.names import Operator
from eps.datastores import DataEntry, Datastore, new_id
from eps.datastores.memory import MemoryDatastore
from eps.datastores.redis_link import RedisPlace
from eps.datastores.sqlite import SqliteDatastore
from eps.errors import InternalError, StoreLost
from eps.proxy import announcements as announcement_book
from eps.proxy.announcements import MAX_ATTEMPTS, SPARE_ENTRIES, AnnouncementBook, Key
from support.ports import PortBlock
from support.redis_server import DURABLE, RedisServer, needs_redis, opened_store
from support.testing import Events, FakeClock

A, B, P, Q = Operator("a"), Operator("b"), Operator("p"), Operator("q")


class Scene:
    """A store, its books, and a clock."""

    def __init__(self, store: Datastore | None = None) -> None:
        self.store: Datastore = store or MemoryDatastore()
        self.clock = FakeClock()
        self.events = Events()

    async def book(self, kind: Keeper = Keeper.PUBLIC, store: Datastore | None = None) -> AnnouncementBook:
        book = AnnouncementBook(store or self.store, kind, self.clock.utc, self.events)
        await book.load()
        return book

    async def keep(self, book: AnnouncementBook, *announcements: Announcement) -> None:
        await book.decide(lambda known: (announcements, None))

    async def claim(self, book: AnnouncementBook, operator: Operator, domain: str) -> int:
        """Announce as the public proxy does; the answer's code, 0 for null."""

        def decision(known: Mapping[Key, Announcement]) -> tuple[Sequence[Announcement], int]:
            by_domain = {name: announcement for (name, _), announcement in known.items()}
            wanted = [Wanted(domain, None)]
            changed, (answer,) = decide_claims(by_domain, operator, wanted, [".x"], self.clock.utc())
            return changed, answer.code if answer else 0

        return await book.decide(decision)


async def test_what_was_kept_is_found_and_survives() -> None:
    scene = Scene()
    book = await scene.book()
    await scene.keep(book, Announcement(A, "D.x"), Announcement(B, "e.x"))
    for each in (book, await scene.book()):
        assert await each.find("d.X") == Announcement(A, "D.x")
        assert await each.find("f.x") is None
        assert await each.current() == [Announcement(A, "D.x"), Announcement(B, "e.x")]


async def test_later_ones_replace_earlier_ones() -> None:
    scene = Scene()
    book = await scene.book()
    await scene.keep(book, Announcement(A, "d.x"))
    await scene.keep(book, Announcement(B, "d.x"))
    for each in (book, await scene.book()):
        assert each.standing() == [Announcement(B, "d.x")]
    assert len(await scene.store.read_all()) == 2


async def test_a_private_book_has_one_for_each_public_proxy() -> None:
    scene = Scene()
    book = await scene.book(Keeper.PRIVATE)
    await scene.keep(book, Announcement(P, "d.x"), Announcement(Q, "d.x"))
    assert await book.find("d.x", P) == Announcement(P, "d.x")
    assert await book.find("d.x", A) is None
    assert [entry.type for entry in await scene.store.read_all()] == [2, 2]


async def test_what_has_expired_is_not_found() -> None:
    scene = Scene()
    book = await scene.book()
    soon = instant_of(scene.clock.utc().replace(hour=13))
    await scene.keep(book, Announcement(A, "d.x", soon))
    scene.clock.advance(3599.999)
    assert await book.find("d.x") is not None
    scene.clock.advance(0.001)
    assert await book.find("d.x") is None and await book.current() == []


async def test_what_another_proxy_has_kept_is_found_at_once() -> None:
    scene = Scene()
    first, second = await scene.book(), await scene.book()
    assert await second.find("d.x") is None
    await scene.keep(first, Announcement(A, "d.x"))
    assert await second.find("d.x") == Announcement(A, "d.x")


async def test_of_two_that_announce_at_once_one_wins() -> None:
    """On two proxies on one store: both have read it before either writes."""

    class Slow(MemoryDatastore):
        """Whoever asks for the last id waits for the other."""

        def __init__(self) -> None:
            super().__init__()
            self.met = asyncio.Barrier(2)
            self.meetings = 1

        async def last_id(self) -> bytes | None:
            if self.meetings:
                await self.met.wait()
            return await super().last_id()

        async def append_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
            self.meetings = 0
            return await super().append_if(last, entries)

    scene = Scene(Slow())
    books = [await scene.book(), await scene.book()]
    codes = await asyncio.gather(scene.claim(books[0], A, "d.x"), scene.claim(books[1], B, "d.x"))
    assert sorted(codes) == [0, 409]
    winner = A if codes[0] == 0 else B
    for book in books:
        assert await book.find("d.x") == Announcement(winner, "d.x")


async def test_many_that_announce_at_once_on_two_proxies_on_one_file(tmp_path: Path) -> None:
    stores = [await SqliteDatastore.open(tmp_path / "s.db", shared=True) for _ in range(2)]
    await many_announce_at_once(stores)
    for store in stores:
        await store.close()


@needs_redis
@pytest.mark.xdist_group("redis")
async def test_many_that_announce_at_once_on_two_proxies_on_one_list(tmp_path: Path) -> None:
    with closing(PortBlock()) as ports:
        async with RedisServer(tmp_path, ports.numbers[0], *DURABLE) as server:
            place = RedisPlace((server.address,))
            async with opened_store(place, shared=True) as one, opened_store(place, shared=True) as other:
                await many_announce_at_once([one, other])


async def many_announce_at_once(stores: Sequence[Datastore]) -> None:
    """Of those that announce one domain exactly one gets it, and every proxy knows whose it is."""
    scene = Scene(stores[0])
    books = [await scene.book(store=store) for store in stores]
    operators = [Operator(f"op-{number}") for number in range(8)]
    claims = [scene.claim(books[number % 2], operators[number], f"d{domain}.x")
              for domain in range(5) for number in range(8)]  # fmt: skip
    codes = await asyncio.gather(*claims)
    for domain in range(5):
        assert sorted(codes[domain * 8 : domain * 8 + 8]) == [0] + [409] * 7
        winner = operators[codes[domain * 8 : domain * 8 + 8].index(0)]
        for book in books:
            found = await book.find(f"d{domain}.x")
            assert found is not None and found.holder == winner


async def test_a_decision_that_others_always_overtake_is_given_up() -> None:
    class Taken(MemoryDatastore):
        tries = 0

        async def append_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
            self.tries += 1
            return False

    store = Taken()
    scene = Scene(store)
    with pytest.raises(InternalError, match="changed by others all the time"):
        await scene.keep(await scene.book(), Announcement(A, "d.x"))
    assert store.tries == MAX_ATTEMPTS


async def test_nothing_is_written_for_nothing() -> None:
    scene = Scene()
    assert await (await scene.book()).decide(lambda known: ([], 7)) == 7
    assert await scene.store.read_all() == []


async def test_a_long_store_is_written_anew() -> None:
    scene = Scene()
    other = DataEntry(9, new_id(), b"something else")
    await scene.store.append([other])
    book, beside = await scene.book(), await scene.book()
    past = instant_of(scene.clock.utc())
    await scene.keep(book, Announcement(A, "gone.x", past), Announcement(A, "kept.x"))
    for number in range(SPARE_ENTRIES + 10):
        await scene.keep(book, Announcement(A if number % 2 else B, "d.x"))
    entries = await scene.store.read_all()
    assert len(entries) < 20 and entries[0].data == other.data
    for each in (book, beside, await scene.book()):
        assert {item.domain for item in await each.current()} == {"kept.x", "d.x"}


async def test_a_store_that_is_written_anew_meanwhile() -> None:
    class Once(MemoryDatastore):
        refused = False

        async def replace_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
            if not self.refused:
                self.refused = True
                await self.append([DataEntry(1, new_id(), encode(Announcement(B, "late.x"), Keeper.PUBLIC))])
            return await super().replace_if(last, entries)

    scene = Scene(Once([DataEntry(9, new_id(), b"") for _ in range(SPARE_ENTRIES)]))
    book = await scene.book()
    await scene.keep(book, Announcement(A, "d.x"))
    assert {item.domain for item in await (await scene.book()).current()} == {"late.x", "d.x"}


async def test_a_store_that_empties() -> None:
    scene = Scene(MemoryDatastore([DataEntry(1, new_id(), encode(Announcement(A, "d.x"), Keeper.PUBLIC))]))
    book = await scene.book()
    past = instant_of(scene.clock.utc())
    for number in range(SPARE_ENTRIES + 2):
        await scene.keep(book, Announcement(A, "d.x", None if number % 2 else past))
        await scene.keep(book, Announcement(A, "d.x", past))
    assert await book.current() == []
    await scene.keep(book, Announcement(B, "d.x"))
    assert await (await scene.book()).find("d.x") == Announcement(B, "d.x")


async def test_what_is_no_announcement_is_told_and_left_where_it_is() -> None:
    scene = Scene(MemoryDatastore([DataEntry(1, new_id(), b"{}"), DataEntry(1, new_id(), b"]")]))
    assert (await scene.book()).standing() == []
    assert [notice.level for notice in scene.events.of(Notice)] == [Level.WARN, Level.WARN]
    told = [notice.text for notice in scene.events.of(Notice)]
    assert "holds an entry that is no announcement" in told[0]
    assert told[1].endswith("it is no JSON in UTF-8")


async def test_while_the_store_fails_memory_goes_on() -> None:
    class Failing(MemoryDatastore):
        broken = False

        async def last_id(self) -> bytes | None:
            if self.broken:
                raise InternalError("the disk is gone", hint="buy one")
            return await super().last_id()

    store = Failing()
    scene = Scene(store)
    book = await scene.book()
    await scene.keep(book, Announcement(A, "d.x"))
    store.broken = True
    assert await book.current() == [Announcement(A, "d.x")]
    assert await book.find("d.x") is not None and await book.find("e.x") is None
    assert scene.events.of(Notice)[0].message() == "the disk is gone (buy one)"
    with pytest.raises(InternalError, match="the disk is gone"):
        await scene.keep(book, Announcement(A, "e.x"))
    assert [notice.level for notice in scene.events.of(Notice)][1:] == [Level.DEBUG] * 2, "said once"
    store.broken = False
    assert await book.find("e.x") is None
    store.broken = True
    with pytest.raises(InternalError):
        await scene.keep(book, Announcement(A, "e.x"))
    assert scene.events.of(Notice)[-1].level is Level.ERROR, "and again, since it had worked between"


async def test_what_the_store_has_told_itself_is_not_told_again() -> None:
    class Lost(MemoryDatastore):
        async def last_id(self) -> bytes | None:
            raise StoreLost("it is away")

    scene = Scene(Lost())
    book = await scene.book()
    assert await book.find("d.x") is None
    with pytest.raises(StoreLost):
        await scene.claim(book, A, "d.x")
    assert [notice.level for notice in scene.events.of(Notice)] == [Level.DEBUG] * 2


class Slow(MemoryDatastore):
    """Counts how often it is looked into, and holds up whoever looks."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.open = asyncio.Event()
        self.open.set()

    async def last_id(self) -> bytes | None:
        self.looks += 1
        await self.open.wait()
        return await super().last_id()


async def test_nobody_waits_long_for_a_store_that_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcement_book, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(announcement_book, "FRESH_SECONDS", 0.0)
    store = Slow()
    scene = Scene(store)
    book = await scene.book()
    await scene.keep(book, Announcement(A, "d.x"))
    store.open.clear()
    writing = asyncio.create_task(scene.keep(book, Announcement(A, "e.x")))
    assert await asyncio.wait_for(book.find("d.x"), 10) == Announcement(A, "d.x")
    assert await asyncio.wait_for(book.find("e.x"), 10) is None
    notices = scene.events.of(Notice)
    assert [notice.level for notice in notices] == [Level.ERROR, Level.DEBUG]
    assert "gives no answer within" in notices[0].text
    store.open.set()
    await writing
    assert await book.find("e.x") is not None


async def test_many_who_ask_for_unknown_domains_at_once_share_one_look() -> None:
    store = Slow()
    scene = Scene(store)
    book = await scene.book()
    before = store.looks
    store.open.clear()
    asking = asyncio.gather(*(book.find(f"{number}.x") for number in range(1000)))
    await asyncio.sleep(0)
    store.open.set()
    assert await asking == [None] * 1000
    assert store.looks - before <= 2
