"""Parts in their order."""

import pytest

from eps.core.event import Started
from eps.errors import StartError
from eps.programs.wiring.composite import Composite


class Part:
    """Something that starts and closes, and tells."""

    def __init__(self, name: str, story: list[str], *, fails: bool = False) -> None:
        self.name, self.story, self.fails = name, story, fails

    async def start(self) -> None:
        self.story.append(f"+{self.name}")
        if self.fails:
            raise StartError(f"{self.name} can't")

    async def close(self) -> None:
        self.story.append(f"-{self.name}")


async def test_parts_start_in_order_and_close_in_the_reverse() -> None:
    story: list[str] = []
    whole = Composite("it")
    for name in "abc":
        whole.add(Part(name, story))
    await whole.start()
    await whole.close()
    assert story == ["+a", "+b", "+c", "-c", "-b", "-a"]
    await whole.close()
    assert len(story) == 6


async def test_it_is_ready_from_its_start_until_it_is_told_to_stop() -> None:
    whole = Composite("it")
    whole.add(Part("a", []))
    assert [part.why for part in whole.health()] == ["it is being started"]
    await whole.start()
    assert [part.why for part in whole.health()] == [""]
    whole.stopping()
    assert [part.why for part in whole.health()] == ["it is being stopped"]
    await whole.close()


async def test_what_had_started_is_closed_when_a_later_part_fails() -> None:
    story: list[str] = []
    whole = Composite("it")
    for name in "abc":
        whole.add(Part(name, story, fails=name == "b"))
    with pytest.raises(StartError, match="b can't"):
        await whole.start()
    assert story == ["+a", "+b", "-b", "-a"]


def test_what_listens_where() -> None:
    whole = Composite("hd-1")
    whole.listens("metrics", "localhost:0", lambda: 3)
    whole.listens("gRPC", "[::1]:0", lambda: 1)
    whole.listens("JSON-RPC", ":0", lambda: 2)
    assert whole.started().message() == "hd-1 is running: gRPC [::1]:1, JSON-RPC *:2, metrics localhost:3"
    assert Composite("x").started() == Started(name="x")
