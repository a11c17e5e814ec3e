"""When a service directory last confirmed what is known, and what follows when that is too long ago."""

from datetime import timedelta
from pathlib import Path

import pytest

from eps.core.event import DirectoryConfirmed, Level, Notice
from eps.directory.confirmed import SAVE_SECONDS, AgeLimit, Confirmed
from support.record_tools import NOW, Clock
from support.testing import Events

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class World:
    def __init__(self, path: Path) -> None:
        self.clock, self.events, self.path = Clock(), Events(), path

    async def start(self, limit: AgeLimit | None = None, path: Path | None = None) -> Confirmed:
        confirmed = Confirmed(path or self.path, limit or AgeLimit(), self.clock, self.events)
        await confirmed.load()
        return confirmed

    @property
    def said(self) -> list[tuple[Level, str]]:
        return [(notice.level, notice.text) for notice in self.events.of(Notice)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "confirmed.json")


async def test_its_age_is_told_and_outlives_a_restart(world: World) -> None:
    confirmed = await world.start()
    assert confirmed.age is None and not confirmed.refused
    assert confirmed.as_of() == "no service directory has confirmed the directory yet"
    await confirmed.confirm()
    world.clock.time += 3 * HOUR
    for again in (confirmed, await world.start()):
        assert again.as_of() == "the directory was confirmed 3 hours ago"
    assert [event.at for event in world.events.of(DirectoryConfirmed)] == [NOW.timestamp()] * 2
    world.clock.time = NOW - HOUR
    assert confirmed.age == 0, "the clock was set back"


async def test_it_warns_beyond_the_maximum_and_daily(world: World) -> None:
    confirmed = await world.start()
    await confirmed.confirm()
    for hours in (23, 1, 1, 22, 1):
        world.clock.time += hours * HOUR
        confirmed.look()
    assert world.said == [
        (Level.WARN, "no service directory has confirmed the directory for 24 hours"),
        (Level.WARN, "no service directory has confirmed the directory for 2 days"),
    ]
    await confirmed.confirm()
    confirmed.look()
    world.clock.time += DAY
    confirmed.look()
    assert len(world.said) == 3
    assert not confirmed.refused


async def test_below_the_maximum_it_only_tells_daily(world: World) -> None:
    confirmed = await world.start(AgeLimit(7 * 86400.0))
    await confirmed.confirm()
    world.clock.time += DAY
    confirmed.look()
    assert world.said == [(Level.INFO, "no service directory has confirmed the directory for 24 hours")]


async def test_refuse_uses_nothing_that_is_too_old_or_of_unknown_age(world: World) -> None:
    confirmed = await world.start(AgeLimit(3600.0, refuse=True))
    assert confirmed.refused
    assert confirmed.too_old() == (
        "no service directory has confirmed the directory yet, so nobody is trusted (when_too_old: refuse)"
    )
    confirmed.look()
    await confirmed.confirm()
    assert not confirmed.refused
    assert confirmed.too_old() == ""
    world.clock.time += HOUR
    assert confirmed.refused
    confirmed.look()
    ((level, text),) = world.said
    assert level is Level.WARN
    assert text.endswith("longer than maximum_age: it is not used until one does, and nobody is trusted")
    assert confirmed.too_old() == (
        "the directory was confirmed more than an hour ago, which is longer than maximum_age, so nobody is trusted "
        "(when_too_old: refuse)"
    )


async def test_it_is_written_now_and_then_and_nothing_fails_if_it_can_t_be(world: World, tmp_path: Path) -> None:
    confirmed = await world.start()
    await confirmed.confirm()
    first = world.path.read_bytes()
    world.clock.time += timedelta(seconds=SAVE_SECONDS - 1)
    await confirmed.confirm()
    assert world.path.read_bytes() == first
    world.clock.time += timedelta(seconds=1)
    await confirmed.confirm()
    assert world.path.read_bytes() != first
    (tmp_path / "file").write_text("")
    await (await world.start(path=tmp_path / "file" / "confirmed.json")).confirm()
    nothing = Confirmed(None, AgeLimit(), world.clock, world.events)
    await nothing.load()
    await nothing.confirm()
    assert nothing.age == 0
