"""What was learned of tunnels, in a file that must never be in the way."""

from pathlib import Path

import pytest

from eps.channels.lessons import AT_ONCE, Lessons
from eps.core.event import Notice
from eps.core.lifetime import ENDURED, Cut
from eps.core.names import Operator
from support.testing import Events


async def remembered(path: Path) -> object:
    lessons = Lessons(path, Events())
    await lessons.load()
    return lessons.lifetimes.to_json()


B, C, P, Q = Operator("b"), Operator("c"), Operator("p"), Operator("q")


def learn(lessons: Lessons, age: float) -> None:
    """Two tunnels of p are cut at ``age``."""
    for at in (100.0, 200.0):
        lessons.lifetimes.cut("p", Cut(age, at))


def cut_twice(
    lessons: Lessons, second: float, *, failing: bool = False, later: float = 0.1, through: str = "p"
) -> bool:
    """B's only tunnel is cut at 20 s, twice; whether that teaches, if the next one then stands after ``later`` s."""
    news = False
    for at in (100.0, second):
        lessons.was_cut(B, P, Cut(20.0, at))
        if failing:
            lessons.not_reached(B)
        news = lessons.reached(B, Operator(through), at + later)
    return news


async def test_who_was_cut_off_and_finds_the_way_open_learns_from_it() -> None:
    assert cut_twice(Lessons(None, Events()), 200.0)


async def test_a_peer_or_a_proxy_that_was_away_teaches_nothing() -> None:
    assert not cut_twice(Lessons(None, Events()), 200.0, failing=True)


async def test_what_came_of_it_later_or_through_another_proxy_teaches_nothing() -> None:
    assert not cut_twice(Lessons(None, Events()), 200.0, later=AT_ONCE + 0.1)
    assert not cut_twice(Lessons(None, Events()), 200.0, through="q")


async def test_a_tunnel_that_is_made_without_a_cut_before_it_teaches_nothing() -> None:
    assert not Lessons(None, Events()).reached(C, Q, 0.0)


async def test_what_was_learned_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lessons.json"
    lessons = Lessons(path, Events())
    await lessons.load()
    await lessons.save()
    assert not path.exists()  # nothing was learned
    learn(lessons, 5.5)
    lessons.lifetimes.outlived("q", ENDURED)
    await lessons.save()
    assert await remembered(path) == {"p": 5.5, "q": None}
    assert [file.name for file in path.parent.iterdir()] == ["lessons.json"]


async def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "lessons.json"
    lessons = Lessons(path, Events())
    learn(lessons, 5.5)
    await lessons.save()
    path.unlink()
    await lessons.save()
    assert not path.exists()


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"7", b'{"version":2,"cut_after":{"p":5}}', b'{"version":1,"cut_after":[]}', b"\xff"]
)
async def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "lessons.json"
    path.write_bytes(text)
    assert await remembered(path) == {}


async def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    events = Events()
    lessons = Lessons(tmp_path / "state" / "lessons.json", events)
    await lessons.load()
    for age in (5.0, 7.0):
        learn(lessons, age)
        await lessons.save()
    assert len(events.of(Notice)) == 1
    assert "lessons.json can't be written: " in events.of(Notice)[0].text


async def test_without_a_file_nothing_is_kept() -> None:
    lessons = Lessons(None, Events())
    await lessons.load()
    learn(lessons, 5.0)
    await lessons.save()
