"""What a proxy tells of a tunnel that did not come about, seen by the one who asked."""

from typing import Any

import pytest

from eps.core.message import Error
from eps.core.told import MAX_TEXT, Told, anonymous, error_response, fit_to_cross, quoted, reported, told_of_tunnel
from eps.errors import NotPermitted, Side, Stage, StoreFailed, Unreachable
from eps.reasons import TABLE, Reason, reason_of


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
    assert told_of_tunnel(Error(500, "no"), "hd-2", "proxy-1") == Told(
        Stage.RELAY, Side.PROXY, Reason.NO_TUNNEL, "no", ""
    )


@pytest.mark.parametrize("outcome", ["unknown", "executed"])
def test_a_hint_that_may_speak_of_execution_is_left_out(outcome: str) -> None:
    assert told(hint="look there", outcome="not_sent").hint == "look there"
    assert told(hint="it may have been executed", outcome=outcome).hint == ""
    assert told(hint=["x"]).hint == ""


@pytest.mark.parametrize(
    ("teller", "word", "reason"),
    [
        ("proxy-1", "busy", "busy"),
        ("proxy-1", "peer-off", "peer-off"),
        ("proxy-1", "application-down", "proxy-program-down"),
        ("proxy-1", "own-pin", "peer-pin"),
        ("hd-2", "own-pin", "peer-pin"),
        ("hd-2", "relay-silent", "relay-silent"),
        ("hd-2", "application-down", "application-down"),
        ("hd-2", "their word", "no-tunnel"),
        ("hd-2", ["own-pin"], "no-tunnel"),
        ("hd-7", "own-pin", "no-tunnel"),
        (None, "own-pin", "no-tunnel"),
    ],
    ids=str,
)
def test_a_reason_is_translated_as_its_side_is(teller: object, word: object, reason: str) -> None:
    assert told(told_by=teller, reason=word).reason == reason


def test_every_word_has_a_row_in_the_table_and_none_stands_twice() -> None:
    assert list(TABLE) == sorted(TABLE, key=list(Reason).index) and set(TABLE) == set(Reason)
    assert {row.executed for row in TABLE.values()} == {"no", "perhaps", "yes"}
    assert len({row.title for row in TABLE.values()}) == len(TABLE)
    assert reason_of("own-pin") is Reason.OWN_PIN and reason_of("pin") is None and reason_of(7) is None


def test_what_crosses_is_a_fixed_text_where_our_own_words_may_hold_more() -> None:
    unreachable = Unreachable(
        "the HTTP proxy 10.0.0.7:3128: refused", hint="see /etc/eps", reason=Reason.HTTP_PROXY_DOWN
    )
    error = error_response("1", unreachable, "hd-2", abroad=True).error
    assert error is not None
    assert (error.message, error.data["hint"]) == (
        "hd-2 reports: its HTTP proxy is not reached",
        TABLE["http-proxy-down"].do,
    )
    assert error.data["reason"] == "http-proxy-down"
    local = error_response("1", unreachable, "hd-2").error
    assert local is not None and "10.0.0.7" in local.message and local.data["hint"] == "see /etc/eps"
    store = error_response("1", StoreFailed("/var/lib/eps: broken"), "hd-2", abroad=True).error
    assert store is not None and "/var/lib" not in str(store)


def test_what_crosses_is_the_message_itself_where_everybody_may_read_it() -> None:
    error = error_response("1", NotPermitted("for the group x", hint="ask"), "hd-2", abroad=True).error
    assert error is not None and (error.message, error.data["hint"]) == ("for the group x", "ask")


@pytest.mark.parametrize(
    "data",
    [{}, [], "text", {"reason": "internal"}, {"reason": "internal", "told_by": "hd-7"}, {"told_by": "hd-2"}],
    ids=str,
)
def test_what_others_say_is_not_ours_to_change(data: Any) -> None:
    error = Error(500, "theirs", data)
    assert fit_to_cross(error, "hd-2") is error


def test_who_reports_is_said_once() -> None:
    assert reported("hd-2 reports: no\n", "hd-2") == "hd-2 reports: no\\n"
    assert reported("no", "hd-2") == "hd-2 reports: no"
    assert told_of_tunnel(Error(500, "proxy-1 reports: no", {"told_by": "proxy-1"}), "hd-2", "proxy-1").text == "no"


def test_texts_of_others_are_short_and_harmless() -> None:
    assert quoted("a\x1b[31m\nb\u202e") == "a\\x1b[31m\\nb\\u202e"
    assert quoted("ä" * MAX_TEXT) == "ä" * MAX_TEXT
    assert quoted("x" * 10_000_000) == "x" * (MAX_TEXT - 1) + "…"
    assert len(quoted("\n" * 1000)) == MAX_TEXT


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ("text", "text"),
        (None, None),
        ({"a": 1, "told_by": "hd-1"}, {"a": 1}),
        ({"_": {"told_by": "hd-1", "b": 2}}, {"_": {"b": 2}}),
        ({"_": {"_": {"told_by": "hd-1"}}}, {"_": {"_": {}}}),
        ({"_": "text"}, {"_": "text"}),
        ({"_": {"told_by": "hd-1"}, "a": 1}, {"_": {"told_by": "hd-1"}, "a": 1}),
    ],
    ids=str,
)
def test_of_an_applications_data_nothing_says_that_a_server_made_it(data: Any, kept: Any) -> None:
    """Wrapped as deep as it likes, where unwrapping gets: a lone ``_``."""
    assert anonymous(data) == kept
