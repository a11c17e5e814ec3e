"""What a proxy tells of a tunnel that did not come about, seen by the one who asked."""

from typing import Any

import pytest

from eps.core.message import Error
from eps.core.told import MAX_TEXT, Told, quoted, told_of_tunnel
from eps.errors import Side, Stage


def told(**data: Any) -> Told:
    return told_of_tunnel(Error(500, "no", data), "hd-2", "proxy-1")


@pytest.mark.parametrize(
    ("teller", "said", "side"),
    [
        ("proxy-1", "ours", Side.PROXY),
        ("proxy-1", "proxy", Side.PROXY),
        ("proxy-1", "peer", Side.PEER),
        ("proxy-1", "directory", Side.DIRECTORY),
        ("hd-2", "ours", Side.PEER),
        ("hd-2", "directory", Side.PEER),
        ("hd-2", "proxy", Side.PROXY),
        ("hd-2", "peer", Side.PROXY),  # its peer is the proxy
        ("hd-7", "peer", Side.PROXY),  # a stranger's words mean nothing here
        (None, "peer", Side.PROXY),
        ("proxy-1", "mine", Side.PROXY),
        ("proxy-1", 7, Side.PROXY),
        ("hd-2", None, Side.PROXY),
    ],
)
def test_a_side_is_translated_from_where_it_was_said(teller: object, said: object, side: Side) -> None:
    assert told(told_by=teller, side=said).side is side


def test_the_stage_is_kept_if_it_is_one_of_a_tunnel() -> None:
    assert [told(stage=stage).stage for stage in ("broker", "tls", "call", "nowhere", None)] == [
        Stage.BROKER,
        Stage.TLS,
        Stage.RELAY,
        Stage.RELAY,
        Stage.RELAY,
    ]


def test_who_says_so_is_told_where_it_is_not_the_proxy() -> None:
    assert told(told_by="hd-2").text == "hd-2 reports: no"
    assert told(told_by="proxy-1").text == "no"
    assert told_of_tunnel(Error(500, "no"), "hd-2", "proxy-1") == Told(Stage.RELAY, Side.PROXY, "no", "", False)


@pytest.mark.parametrize("outcome", ["unknown", "executed"])
def test_a_hint_that_may_speak_of_execution_is_left_out(outcome: str) -> None:
    assert told(hint="look there", outcome="not_sent").hint == "look there"
    assert told(hint="it may have been executed", outcome=outcome).hint == ""
    assert told(hint=["x"]).hint == ""


def test_busy_is_told() -> None:
    assert told(reason="busy").busy and not told(reason="else").busy


def test_texts_of_others_are_short_and_harmless() -> None:
    assert quoted("a\x1b[31m\nb\u202e") == "a\\x1b[31m\\nb\\u202e"
    assert quoted("ä" * MAX_TEXT) == "ä" * MAX_TEXT
    assert quoted("x" * 10_000_000) == "x" * (MAX_TEXT - 1) + "…"
    assert len(quoted("\n" * 1000)) == MAX_TEXT
