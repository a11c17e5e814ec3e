"""Both sides of «come to your end», in one process: what is said, who waits, and what happens when a side goes."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eps.core.event import Notice
from eps.errors import StartError
from eps.programs.running import draining
from eps.programs.running.control import MAX_SESSIONS, Control, Session, ask
from eps.programs.running.draining import COMMAND, Drained, Draining, Work, drain
from support.testing import Events

NAME = "it.control"


class Old:
    """A server that runs, and its control socket."""

    def __init__(self, folder: Path) -> None:
        self.events = Events()
        self.stops = 0
        self.draining = Draining("it", lambda: Work(3, "call", 0.1), self._stop, self.events)
        self.control = Control(folder, NAME, {COMMAND: self.draining}, self.events)

    def _stop(self) -> None:
        self.stops += 1


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[Old]:
    made = Old(tmp_path)
    made.control.start()
    yield made
    await made.control.close()


async def told(tmp_path: Path) -> Drained:
    drained = await drain(tmp_path, NAME)
    assert drained is not None
    return drained


async def test_it_is_stopped_once_and_says_what_it_is_at(old: Old, tmp_path: Path) -> None:
    first, second = await told(tmp_path), await told(tmp_path)
    assert (first.name, first.work, first.already) == ("it", Work(3, "call", 0.1), False)
    assert second.already
    assert old.stops == 1
    assert [notice.text for notice in old.events.of(Notice)] == ["told to come to its end by the command drain"]
    first.close()
    second.close()


async def test_one_that_stops_already_is_not_stopped_again(old: Old, tmp_path: Path) -> None:
    old.draining.stopping()
    drained = await told(tmp_path)
    assert drained.already
    assert old.stops == 0
    drained.close()


async def test_who_waits_learns_what_was_cut_when_the_process_has_ended(old: Old, tmp_path: Path) -> None:
    drained, gone = await told(tmp_path), await told(tmp_path)
    gone.close()
    waiting = asyncio.create_task(drained.until_ended())
    kept = old.draining.tell(2)
    await old.control.close()
    await asyncio.sleep(0.05)
    assert not waiting.done(), "the process has not ended yet"
    for descriptor in kept:  # as the kernel does when a process ends
        os.close(descriptor)
    assert await waiting == 2
    drained.close()


async def test_those_who_have_gone_leave_room_for_others(old: Old, tmp_path: Path) -> None:
    for _ in range(MAX_SESSIONS + 1):
        gone = await told(tmp_path)
        gone.close()
        await asyncio.sleep(0)
    still = await told(tmp_path)
    waiting = asyncio.create_task(still.until_ended())
    for descriptor in old.draining.tell(0):
        os.close(descriptor)
    assert await waiting == 0
    still.close()


async def test_who_waits_may_say_what_nobody_hears(old: Old, tmp_path: Path) -> None:
    talker = ask(tmp_path, NAME, {"command": COMMAND})
    assert talker is not None
    assert (await talker.receive(30))[0]["running"] == 3
    reader, writer = os.pipe()
    talker.send({"say": "are you there?"}, [writer])
    os.close(writer)
    assert await asyncio.to_thread(os.read, reader, 1) == b"", "what it gives is not kept"
    os.close(reader)
    (kept,) = old.draining.tell(1)
    os.close(kept)
    assert (await talker.receive(30))[0] == {"cut": 1}
    talker.close()


async def test_an_end_without_a_word_is_told(old: Old, tmp_path: Path) -> None:
    drained = await told(tmp_path)
    await old.control.close()
    with pytest.raises(StartError, match="it has ended without a word"):
        await drained.until_ended()
    drained.close()


async def test_one_that_does_not_end_is_told(old: Old, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "CLOSING_SECONDS", 0.1)
    drained = await told(tmp_path)
    with pytest.raises(StartError, match=r"it still runs, 0 s after its drain_timeout \(0.1 s\)"):
        await drained.until_ended()
    drained.close()


async def test_nobody_is_there(tmp_path: Path) -> None:
    assert await drain(tmp_path, NAME) is None


@pytest.mark.parametrize(
    ("command", "why"),
    [("another", "there is no such command"), (COMMAND, "it said nothing in time")],
    ids=["of another version", "frozen"],
)
async def test_one_that_is_not_stopped_is_told(
    tmp_path: Path, command: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mute(session: Session, _: object) -> None:
        await session.receive(30)

    monkeypatch.setattr(draining, "COMMAND_SECONDS", 0.2)
    control = Control(tmp_path, NAME, {command: mute}, Events())
    control.start()
    with pytest.raises(StartError, match=f"the running process was not stopped: {why}"):
        await drain(tmp_path, NAME)
    await control.close()
