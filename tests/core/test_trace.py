"""Which call something belongs to."""

import pytest

from eps.core.trace import (
    CURRENT,
    IDS,
    TOOK_BYTES,
    TRACEPARENT_BYTES,
    Ids,
    Trace,
    begin,
    brokering_id,
    current_id,
    durations,
    durations_in,
    is_sampled,
    is_trace,
    seconds_in,
    tokens_age,
    too_late,
    took,
    trace_of,
    trace_of_brokering,
    traceparent,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
OPENED = "1" * 32


@pytest.mark.parametrize(
    ("given", "trace"),
    [
        (f"00-{TRACE}-{SPAN}-01", TRACE),
        (f"00-{TRACE}-{SPAN}-00", TRACE),
        (f"01-{TRACE}-{SPAN}-01-what.will.be", TRACE),
        (f"00-{TRACE}-{SPAN}-01-more", ""),
        (f"ff-{TRACE}-{SPAN}-01", ""),
        (f"00-{'0' * 32}-{SPAN}-01", ""),
        (f"00-{TRACE.upper()}-{SPAN}-01", ""),
        (f"00-{TRACE}-{SPAN}", ""),
        (f"00-{TRACE}-{SPAN}-01\n", ""),
        (f"00-{TRACE[:-1]}é-{SPAN}-01", ""),
        ("", ""),
        (None, ""),
    ],
    ids=["00", "not sampled", "later", "more", "ff", "zeros", "capitals", "short", "line", "é", "empty", "none"],
)
def test_what_a_traceparent_says(given: str | None, trace: str) -> None:
    assert trace_of(given) == trace


def test_what_goes_along_comes_back() -> None:
    for sampled in (True, False):
        told = traceparent(TRACE, SPAN, sampled=sampled)
        assert (trace_of(told), is_sampled(told), len(told)) == (TRACE, sampled, TRACEPARENT_BYTES)
    assert trace_of_brokering(brokering_id(TRACE, SPAN)) == TRACE
    assert trace_of_brokering("d41d8cd98f00b204e9800998ecf8427e") == ""
    assert trace_of(Trace(TRACE, given=True).parent()) == TRACE
    assert not is_sampled(Trace(TRACE).parent()), "nobody asked for it"
    assert Trace("", opened_by=TRACE).parent() == ""


@pytest.mark.parametrize(
    ("parent", "opened_by", "found"),
    [
        (f"00-{TRACE}-{SPAN}-01", "", (TRACE, True, "")),
        (f"00-{TRACE}-{SPAN}-00", OPENED, (TRACE, False, OPENED)),
        ("odd", OPENED, ("", False, OPENED)),
        ("odd", "", None),
    ],
    ids=["sampled", "not sampled", "none", "nothing"],
)
def test_of_a_call_that_another_server_sends(parent: str, opened_by: str, found: object) -> None:
    trace = Trace.told(parent, opened_by)
    assert (trace and (trace.id, trace.given, trace.opened_by)) == found


def test_who_is_told_how_long_it_took() -> None:
    trace = Trace(TRACE, given=True)
    assert trace.duration(1.5) == "", "our settings say who is"
    trace.tells = True
    assert trace.duration(1.5) == "00001.500000"
    trace.given = False
    assert trace.duration(1.5) == "", "nobody asked"


def test_how_long_it_took_here() -> None:
    assert took(0.001234) == "00000.001234"
    assert {len(took(seconds)) for seconds in (0.0, 1e-9, 59.9, 86_400.0, 1e9)} == {TOOK_BYTES}
    assert seconds_in(took(2.5)) == 2.5


def test_ids_are_all_different() -> None:
    ids = Ids("0123456789abcdef", 255)
    made = [ids.trace(), ids.trace(), ids.span()]
    assert made == ["0123456789abcdef00000000000000ff", "0123456789abcdef0000000000000100", "0000000000000101"]
    assert is_trace(IDS.trace())
    assert IDS.span() != IDS.span()


@pytest.mark.parametrize("text", ["", TRACE.upper(), TRACE[1:], TRACE + "0", "0" * 32, TRACE + "\n"])
def test_what_is_no_trace(text: str) -> None:
    assert not is_trace(text)


def test_the_present_one() -> None:
    assert current_id() == ""
    token = CURRENT.set(Trace(TRACE))
    assert current_id() == TRACE
    CURRENT.reset(token)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("0.25", 0.25),
        (3, 3.0),
        ("-1", None),
        ("nan", None),
        ("1e9", None),
        (True, None),
        ("x", None),
        (None, None),
        (10**400, None),
        ("0" * 40, None),
    ],
    ids=str,
)
def test_seconds_that_others_tell(told: object, seconds: float | None) -> None:
    assert seconds_in(told) == seconds


@pytest.mark.parametrize(
    ("offer", "parts"),
    [
        ({"durations": {"asked": 0.2, "arrived": 0.1, "else": 7}}, [("asked", 0.2), ("arrived", 0.1)]),
        ({"durations": {"asked": "soon"}}, []),
        ({"durations": [1]}, []),
        ({"token": ""}, []),
        (None, []),
    ],
    ids=["both", "odd", "list", "none", "nothing"],
)
def test_durations_that_a_proxy_tells(offer: object, parts: list[tuple[str, float]]) -> None:
    assert durations_in(offer) == parts


def test_durations_that_we_tell() -> None:
    assert durations(0.25, None, 10.0) == {"asked": 0.25, "lives": 10.0}
    told = {"durations": durations(0.25, 0.125, 10.0)}
    assert durations_in(told) == [("asked", 0.25), ("arrived", 0.125), ("lives", 10.0)]


@pytest.mark.parametrize(
    ("durations", "seconds", "late"),
    [
        ({"asked": 0.1, "lives": 10.0}, 10.0, True),
        ({"asked": 0.1, "lives": 10.0}, 9.5, True),
        ({"asked": 0.1, "lives": 10.0}, 9.4, False),
        ({"asked": 0.1, "arrived": 0.1, "lives": 10.0}, 11.0, False),
        ({"asked": 0.1}, 11.0, False),
        (None, 11.0, False),
    ],
    ids=["over", "over but for the way", "not yet", "it came", "not told how long", "nothing told"],
)
def test_whether_the_other_operator_came_too_late(durations: object, seconds: float, late: bool) -> None:
    assert too_late({"durations": durations}, seconds) is late


@pytest.mark.parametrize(
    ("durations", "age"),
    [({"asked": 1.0}, 9.0), ({"asked": 3.0}, 10.0), ({"asked": 4.0}, 10.0), (None, 10.0)],
    ids=["2 s on the way", "none", "clocks differ", "not told"],
)
def test_how_old_tokens_are(durations: object, age: float) -> None:
    assert tokens_age({"durations": durations}, 3.0, 10.0) == age


@pytest.mark.parametrize(
    ("before", "brokering", "is_ours", "after"),
    [
        (None, "", True, "made"),
        (None, "", False, None),
        (Trace(TRACE, given=True), "", True, TRACE),
        (Trace(TRACE, given=True), "", False, TRACE),
        (Trace("1" * 32, opened_by="2" * 32), f"{TRACE}-{SPAN}", False, TRACE),
        (None, f"{TRACE}-{SPAN}", True, TRACE),
        (None, "an id of another make", False, None),
    ],
    ids=["ours", "theirs", "ours, given", "theirs, given", "brokering", "our proxy's", "another make"],
)
def test_who_takes_a_call(before: Trace | None, brokering: str, is_ours: bool, after: str | None) -> None:
    token = CURRENT.set(before)
    try:
        begin(brokering, is_ours=is_ours, tells=True)
        trace = CURRENT.get()
        assert (trace is None) == (after is None)
        if trace is not None:
            assert trace.id == after or (after == "made" and is_trace(trace.id))
            assert trace.tells == (before is not None and not is_ours and not brokering)
            assert trace.opened_by == (before.opened_by if before is not None else "")
    finally:
        CURRENT.reset(token)
