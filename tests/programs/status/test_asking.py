"""A running server's value, over its control socket."""

from pathlib import Path

import pytest

from eps.core.event import CallFinished, PeerChanged, Started
from eps.core.names import Object
from eps.errors import StartError
from eps.programs.running.control import Control, Session
from eps.programs.running.metrics import Metrics
from eps.programs.status import asking
from eps.programs.status.asking import STANDING, Telling, asked
from support.testing import Events


def busy() -> Metrics:
    """Of a server whose value fits into no packet."""
    metrics = Metrics()
    metrics(Started(name="hd-1"))
    for number in range(900):
        metrics(PeerChanged(link="incoming", peer=f"“{number}”" * 20, up=True))
        words = {"sender": "a", "recipient": "ü" * 100, "method": "m" * 100}
        metrics(CallFinished(direction="local", outcome="ok", seconds=1, **words))
    return metrics


async def test_it_comes_whole_however_long_it_is(tmp_path: Path) -> None:
    metrics = busy()
    control = Control(tmp_path, "eps.control", {STANDING: Telling(metrics.standing)}, Events())
    control.start()
    try:
        value = await asked(tmp_path, "eps.control")
        assert value is not None and value["name"] == "hd-1"
        assert value["links"] == metrics.standing.links() and len(value["links"]) == 900
    finally:
        await control.close()


async def test_nobody_runs(tmp_path: Path) -> None:
    assert await asked(tmp_path, "eps.control") is None


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ([{"piece": "{"}, {"end": True}], "tells what can't be read"),
        ([{"end": True}], "tells what can't be read"),
        ([{"error": "unknown command"}], "of a version without this command: unknown command"),
        ([], "does not tell how it is: the other side is gone"),
        ([{"piece": " "}] * 20, "tells without end"),
    ],
    ids=["torn", "empty", "older", "gone", "endless"],
)
async def test_a_server_that_tells_nothing_of_use(
    answer: list[Object], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MAX_PIECES", 10)

    async def tells(session: Session, _: Object) -> None:
        for message in answer:
            session.send(message)
            if "piece" in message:
                await session.receive(30)

    control = Control(tmp_path, "eps.control", {STANDING: tells}, Events())
    control.start()
    try:
        with pytest.raises(StartError, match=problem):
            await asked(tmp_path, "eps.control")
    finally:
        await control.close()
