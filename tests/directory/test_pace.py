"""How often, and how many wishes for news become one question."""

import asyncio

import pytest

from eps.directory.pace import MIN_PACE, Pace, Refreshes


@pytest.mark.parametrize(
    ("pace", "missing", "expected"),
    [
        (Pace(5.0, 1.0), False, 5.0),
        (Pace(5.0, 1.0), True, 1.0),
        (Pace(0.5, 1.0), True, 0.5),
        (Pace(0.0, 1.0), False, MIN_PACE),
        (Pace(0.0, 1.0), True, MIN_PACE),
    ],
)
def test_the_pause_between_two_questions(pace: Pace, missing: bool, expected: float) -> None:
    assert pace.pause(missing=missing) == expected


async def joined(refreshes: Refreshes, count: int = 1) -> list[asyncio.Task[None]]:
    """So many who wish for news, and wait by now."""
    tasks = [asyncio.create_task(refreshes.wish()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_all_who_wait_share_a_round() -> None:
    refreshes = Refreshes(Pace())
    assert refreshes.begin() is None
    tasks = await joined(refreshes, 3)
    asked = refreshes.begin()
    tasks += await joined(refreshes)
    assert asked is not None
    assert refreshes.begin() is asked
    assert not any(task.done() for task in tasks)
    refreshes.end(asked)
    await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert refreshes.begin() is None


async def test_a_wish_during_a_question_is_for_the_next_one() -> None:
    refreshes = Refreshes(Pace())
    asked = refreshes.begin()
    (task,) = await joined(refreshes)
    refreshes.end(asked)
    await asyncio.sleep(0)
    assert not task.done()
    refreshes.end(refreshes.begin())
    await asyncio.wait_for(task, 30)


async def test_rounds_are_rare() -> None:
    refreshes = Refreshes(Pace(refresh_every=3600.0))
    (task,) = await joined(refreshes)
    refreshes.end(refreshes.begin())
    await task
    await refreshes.wish()
    assert refreshes.begin() is None


async def test_a_round_is_bounded_and_may_end_late() -> None:
    refreshes = Refreshes(Pace(refresh_seconds=0.01))
    await refreshes.wish()
    asked = refreshes.begin()
    assert asked is not None
    refreshes.end(asked)
    refreshes.end(asked)
    assert refreshes.begin() is None


async def test_a_wish_cuts_the_pause_short() -> None:
    refreshes = Refreshes(Pace())
    await refreshes.pause(0.001)
    pausing = asyncio.create_task(refreshes.pause(3600.0))
    (task,) = await joined(refreshes)
    await asyncio.wait_for(pausing, 30)
    refreshes.close()
    await asyncio.wait_for(task, 30)
    refreshes.close()
