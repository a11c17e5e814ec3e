"""What a list's state and a server's settings mean."""

import pytest

from eps.datastores.redis_state import Change, State, connected_replicas, doubts, judge, parse_info

SEEN = State(3, b"c")


@pytest.mark.parametrize(
    ("now", "at_seen", "old", "change"),
    [
        (State(3, b"c"), b"c", False, Change.NONE),
        (State(4, b"d"), b"c", False, Change.GROWN),
        (State(0, b""), b"", False, Change.EMPTIED),
        (State(2, b"b"), b"", True, Change.SET_BACK),
        (State(2, b"x"), b"", False, Change.REPLACED),
        (State(3, b"x"), b"x", False, Change.REPLACED),
        (State(4, b"d"), b"x", False, Change.REPLACED),
        (State(4, b"b"), b"x", True, Change.REPLACED),
    ],
)
def test_what_has_become_of_a_list(now: State, at_seen: bytes, old: bool, change: Change) -> None:
    assert judge(SEEN, now, at_seen, old=old) is change


def test_an_empty_list_can_only_grow() -> None:
    assert judge(State(), State(), b"", old=False) is Change.NONE
    assert judge(State(), State(1, b"a"), b"", old=False) is Change.GROWN


GOOD = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory": "0", "maxmemory-policy": "allkeys-lru"}


@pytest.mark.parametrize(
    ("config", "replication", "sentinel", "said"),
    [
        (GOOD, {}, False, []),
        (GOOD | {"appendfsync": "everysec"}, {}, False, ["about once a second: a power cut loses"]),
        (GOOD | {"appendfsync": "no"}, {}, False, ["when its kernel likes to"]),
        (GOOD | {"appendonly": "no", "save": "3600 1"}, {}, False, ["only now and then (save 3600 1)"]),
        (GOOD | {"appendonly": "no"}, {}, False, ["told not to keep anything on disk"]),
        (GOOD | {"maxmemory": "100"}, {}, False, ["throw this store away when its memory is full"]),
        (GOOD | {"maxmemory": "100", "maxmemory-policy": "noeviction"}, {}, False, []),
        (GOOD, {"connected_slaves": "1"}, False, ["before a replica has them"]),
        (GOOD, {"connected_slaves": "0"}, True, ["before a replica has them"]),
        ({}, {}, False, ["does not let this program read its settings"]),
    ],
)
def test_what_is_said_of_a_server(
    config: dict[str, str], replication: dict[str, str], sentinel: bool, said: list[str]
) -> None:
    found = list(doubts(config, replication, sentinel=sentinel))
    assert len(found) == len(said) and all(doubt.hint for doubt in found)
    assert all(wanted in doubt.text for wanted, doubt in zip(said, found, strict=True))


def test_the_hint_for_replicas_says_what_can_still_be_set() -> None:
    (first,) = doubts(GOOD | {"min-replicas-to-write": "0"}, {}, sentinel=True)
    (second,) = doubts(GOOD | {"min-replicas-to-write": "1"}, {}, sentinel=True)
    assert "min-replicas-to-write 1" in first.hint and "no setting rules this out" in second.hint


def test_info_is_read() -> None:
    assert parse_info("# Replication\r\nrole:master\r\n\r\nconnected_slaves:1\r\n") == {
        "role": "master",
        "connected_slaves": "1",
    }


def test_replicas_that_get_what_is_changed_are_counted() -> None:
    lines = ["ip=10.0.0.1,port=1,state=online,offset=7,lag=0", "ip=10.0.0.2,port=1,state=wait_bgsave,offset=0,lag=0"]
    info = {"role": "master", "connected_slaves": "2", "slave0": lines[0], "slave1": lines[1], "slave_x": lines[0]}
    assert connected_replicas(info) == 1 and connected_replicas({}) == 0
