"""What was learned of tunnels, in a file that must never be in the way."""

from pathlib import Path

import pytest

from eps.channels.lessons import Lessons
from eps.core.event import Notice
from eps.core.lifetime import ENDURED
from support.testing import Events


async def remembered(path: Path) -> object:
    lessons = Lessons(path, Events())
    await lessons.load()
    return lessons.lifetimes.to_json()


async def test_what_was_learned_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lessons.json"
    lessons = Lessons(path, Events())
    await lessons.load()
    await lessons.save()
    assert not path.exists()  # nothing was learned
    lessons.lifetimes.cut("p", 5.5)
    lessons.lifetimes.outlived("q", ENDURED)
    await lessons.save()
    assert await remembered(path) == {"p": 5.5, "q": None}
    assert [file.name for file in path.parent.iterdir()] == ["lessons.json"]


async def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "lessons.json"
    lessons = Lessons(path, Events())
    lessons.lifetimes.cut("p", 5.5)
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
        lessons.lifetimes.cut("p", age)
        await lessons.save()
    assert len(events.of(Notice)) == 1
    assert "lessons.json can't be written: " in events.of(Notice)[0].text


async def test_without_a_file_nothing_is_kept() -> None:
    lessons = Lessons(None, Events())
    await lessons.load()
    lessons.lifetimes.cut("p", 5.0)
    await lessons.save()
