"""When memory goes back."""

import asyncio

import pytest

from eps.programs.running import quiet
from eps.programs.running.quiet import MUCH_SECONDS, QUIET_SHARE, Quiet, give_back_when_quiet


def test_it_goes_back_once_a_start_is_over() -> None:
    state = Quiet(0.0, 5.0)
    assert not state.is_due(10.0, 5.0 + 10 * QUIET_SHARE), "it works"
    assert state.is_due(20.0, 5.0 + 20 * QUIET_SHARE - 0.01)
    assert not state.is_due(30.0, 5.0 + 20 * QUIET_SHARE), "there is nothing more"


def test_it_goes_back_after_much_work_and_not_amid_it() -> None:
    state = Quiet(0.0, 0.0)
    assert state.is_due(1.0, 0.0)
    assert not state.is_due(2.0, MUCH_SECONDS), "it works"
    assert state.is_due(3.0, MUCH_SECONDS)
    assert not state.is_due(4.0, MUCH_SECONDS)
    for second in range(5, 30):
        assert not state.is_due(second, MUCH_SECONDS + (second - 4) * QUIET_SHARE / 2), "the little that it always does"
    assert state.is_due(200.0, 2 * MUCH_SECONDS), "in the end that is much, too"


async def test_a_running_program_gives_back(monkeypatch: pytest.MonkeyPatch) -> None:
    given = asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(quiet, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(quiet, "QUIET_SHARE", float("inf"))  # whatever else this process does
    monkeypatch.setattr(quiet, "give_back_libraries", lambda: loop.call_soon_threadsafe(given.set))
    task = asyncio.create_task(give_back_when_quiet())
    async with asyncio.timeout(30):
        await given.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("held", "trims"), [(quiet.MOST_BYTES, 1), (quiet.MOST_BYTES + 1, 0)], ids=["some", "much"])
async def test_a_large_process_is_not_held_up(monkeypatch: pytest.MonkeyPatch, held: int, trims: int) -> None:
    given, trimmed = asyncio.Event(), []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(quiet, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(quiet, "QUIET_SHARE", float("inf"))
    monkeypatch.setattr(quiet, "resident_bytes", lambda: held)
    monkeypatch.setattr(quiet, "trim_memory", lambda: trimmed.append(True))
    monkeypatch.setattr(quiet, "give_back_libraries", lambda: loop.call_soon_threadsafe(given.set))
    task = asyncio.create_task(give_back_when_quiet())
    async with asyncio.timeout(30):
        await given.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(trimmed) == trims
