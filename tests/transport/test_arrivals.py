"""Who makes room when many connections have not shown what they want."""

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.transport.arrivals import FLOOD_PART, Arrival, Arrivals, GaveWay, source_group, source_of


class Door:
    """Arrivals whose ends are written down."""

    def __init__(self, most: int) -> None:
        self.ended: list[str] = []
        self.quiet = 0
        self.arrivals = Arrivals(most, self._on_quiet)

    def _on_quiet(self) -> None:
        self.quiet += 1

    def enter(self, name: str, source: str = "192.0.2.1") -> Arrival:
        return self.arrivals.enter(source, lambda: self.ended.append(name))


def test_the_oldest_makes_room_for_the_newest() -> None:
    door = Door(2)
    for name in "abcd":
        door.enter(name)
    assert door.ended == ["a", "b"]
    assert len(door.arrivals) == 2


def test_who_has_shown_what_it_wants_makes_no_room_and_needs_none() -> None:
    door = Door(2)
    first = door.enter("a")
    door.enter("b")
    first.settle()
    first.settle()
    assert len(door.arrivals) == 1
    door.enter("c")
    assert door.ended == []
    door.enter("d")
    assert door.ended == ["b"]


def test_the_source_with_the_most_makes_room_though_others_are_older() -> None:
    door = Door(4)
    door.enter("honest", "198.51.100.7")
    for number in range(10):
        door.enter(str(number))
    assert door.ended == ["0", "1", "2", "3", "4", "5", "6"]


def test_an_end_behind_a_handshake_replaces_the_first() -> None:
    door = Door(1)
    door.enter("a").goes_on(lambda: door.ended.append("a, shaken hands"))
    door.enter("b")
    assert door.ended == ["a, shaken hands"]


def test_who_gave_way_while_its_handshake_ended_ends_behind_it() -> None:
    door = Door(1)
    first = door.enter("a")
    door.enter("b")
    first.goes_on(lambda: door.ended.append("a, shaken hands"))
    assert door.ended == ["a", "a, shaken hands"]


def test_quiet_is_told_once_after_a_flood_and_only_then() -> None:
    door = Door(10)
    for arrival in [door.enter("few") for _ in range(10 // FLOOD_PART)]:
        arrival.settle()
    assert door.quiet == 0
    many = [door.enter("many") for _ in range(15)]
    for arrival in many[:-1]:
        arrival.settle()
        assert door.quiet == int(len(door.arrivals) <= 1)
    many[-1].settle()
    assert door.quiet == 1


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(0, 20))), st.integers(1, 6))
def test_as_one_would_do_it_by_counting(steps: list[tuple[str, bool, int]], most: int) -> None:
    arrivals, ended = Arrivals(most), list[Arrival]()
    present: list[Arrival] = []
    for source, enters, which in steps:
        if enters:
            if len(present) == most:
                count = [each.group for each in present].count
                busiest = max(count(each.group) for each in present)
                expected = [next(a for a in present if a.group == group) for group in {a.group for a in present}
                            if count(group) == busiest]  # fmt: skip
            before = len(ended)
            made: list[Arrival] = []
            made.append(arrivals.enter(source, lambda made=made: ended.append(made[0])))  # type: ignore[misc]
            assert len(ended) - before == (len(present) == most)
            if len(present) == most:
                assert ended[-1] in expected
                present.remove(ended[-1])
            present.append(made[0])
        elif present:
            present.pop(which % len(present)).settle()
        assert len(arrivals) == len(present) <= most


async def test_a_deadline_ends_what_is_done_inside() -> None:
    arrivals = Arrivals(1)
    with pytest.raises(TimeoutError) as raised:
        async with arrivals.deadline(0.01, "192.0.2.1"):
            await asyncio.Event().wait()
    assert not isinstance(raised.value, GaveWay)
    assert len(arrivals) == 0


async def test_a_deadline_ends_at_once_when_the_place_is_needed() -> None:
    arrivals = Arrivals(1)

    async def wait() -> None:
        async with arrivals.deadline(30, "192.0.2.1"):
            await asyncio.Event().wait()

    first = asyncio.create_task(wait())
    await asyncio.sleep(0)
    async with arrivals.deadline(30, "192.0.2.1"):
        with pytest.raises(GaveWay, match="1 newer connections"):
            await first
        assert len(arrivals) == 1
    assert len(arrivals) == 0


@pytest.mark.parametrize(
    ("source", "group"),
    [
        pytest.param("192.0.2.1", "192.0.2.1", id="IPv4"),
        pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", id="IPv6"),
        pytest.param("fe80::1%lo", "fe80::/64", id="link-local"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", id="mapped"),
        pytest.param("no:address", "no:address", id="none"),
    ],
)
def test_an_ipv6_network_is_one_source(source: str, group: str) -> None:
    assert source_group(source) == group


def test_where_a_socket_comes_from() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert source_of(near) == "a local socket"
    assert source_of(near) == "a connection that is gone"
