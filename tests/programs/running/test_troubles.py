"""What failed lately, until it goes well again."""

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from eps.core.event import CallFinished, Level, Notice, PeerChanged, Step, TunnelFinished
from eps.core.names import Object
from eps.programs.running.control import MAX_PACKET_BYTES, Session
from eps.programs.running.troubles import MAX_KEPT, MAX_REASONS, MAX_TEXT, MAX_TOLD, Troubles
from support.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def troubles(clock: FakeClock) -> Troubles:
    return Troubles(clock)


def call(reason: str = "", fault: str = "", method: str = "m", **more: Any) -> CallFinished:
    who = {"direction": "local", "sender": "hd-1", "recipient": "hd-2"} | more
    outcome = "not_sent" if fault else "ok"
    return CallFinished(**who, method=method, outcome=outcome, seconds=0.1, fault=fault, reason=reason)


def lost(reason: str, method: str = "m", **more: Any) -> CallFinished:
    return call(reason, "network", method, **more)


async def told(troubles: Troubles) -> list[Object]:
    sent: list[Object] = []

    class Asked:
        def send(self, message: Object) -> None:
            sent.append(message)

    await troubles(cast(Session, Asked()), {"command": "troubles"})
    (answer,) = sent
    assert len(json.dumps(answer)) < MAX_PACKET_BYTES
    found: list[Object] = answer["troubles"]
    return found


async def reasons(troubles: Troubles) -> list[tuple[str, int]]:
    return [(one["reason"], one["times"]) for one in await told(troubles)]


async def test_a_call_that_failed(troubles: Troubles, clock: FakeClock) -> None:
    trace = "1" * 32
    troubles.keep(lost("peer-off", side="peer", detail="hd-2 is not connected", trace=trace))
    clock.advance(12.34)
    assert await told(troubles) == [
        {
            "reason": "peer-off",
            "side": "peer",
            "what": "local call hd-1 → hd-2.m failed",
            "why": "hd-2 is not connected",
            "fix": "",
            "trace": trace,
            "times": 1,
            "seconds": 12.3,
        }
    ]


async def test_it_is_forgotten_when_the_same_goes_well(troubles: Troubles) -> None:
    troubles.keep(lost("peer-off"))
    troubles.keep(lost("peer-off"))
    troubles.keep(call(method="other"))
    troubles.keep(call(recipient="hd-3"))
    troubles.keep(call(direction="incoming"))
    assert await reasons(troubles) == [("peer-off", 2)]
    gone = call()
    troubles.keep(replace(gone, outcome="caller_gone"))  # nobody knows
    assert await reasons(troubles) == [("peer-off", 2)]
    troubles.keep(call(fault="application"))  # so the network has done its part
    assert await reasons(troubles) == []
    troubles.keep(call())


async def test_of_one_method_the_last_reason_counts(troubles: Troubles, clock: FakeClock) -> None:
    for reason, method in (("peer-hangs", "m"), ("no-permission", "secret"), ("peer-off", "m")):
        troubles.keep(lost(reason, method))
        clock.advance(1)
    assert await reasons(troubles) == [("peer-off", 1), ("no-permission", 1)]


async def test_of_each_operator_the_latest_reasons_are_kept(troubles: Troubles, clock: FakeClock) -> None:
    for number in range(2 * MAX_REASONS):
        clock.advance(1)
        troubles.keep(lost(f"reason-{number}", f"m{number}"))
    latest = [f"reason-{number}" for number in range(2 * MAX_REASONS - 1, MAX_REASONS - 1, -1)]
    assert [reason for reason, _ in await reasons(troubles)] == latest


async def test_tunnels(troubles: Troubles) -> None:
    who = {"outcome": "lonely_first", "seconds": 1.0, "caller": "hd-1", "callee": "hd-2"}
    troubles.keep(TunnelFinished(**who, reason="token-late", detail="hd-2 came too late"))
    (one,) = await told(troubles)
    assert (one["what"], one["why"]) == ("no tunnel hd-1 → hd-2", "hd-2 came too late")
    step = {"step": 6, "operator": "p", "peer": "hd-1", "text": "joined"}
    troubles.keep(Step(**step))
    troubles.keep(Step(**step, joined_to="hd-3"))
    assert len(await told(troubles)) == 1
    troubles.keep(Step(**step, joined_to="hd-2"))
    assert await told(troubles) == []


async def test_warnings(troubles: Troubles) -> None:
    told_before = Notice(level=Level.WARN, text="two servers", hint="stop one", reason="second-server", side="ours")
    troubles.keep(told_before)
    for event in (
        Notice(level=Level.WARN, text="no word"),
        Notice(level=Level.DEBUG, text="no warning", reason="busy"),
        call("bad", "unknown"),
    ):
        troubles.keep(event)
    (one,) = await told(troubles)
    assert (one["what"], one["fix"], one["side"], one["reason"]) == ("two servers", "stop one", "ours", "second-server")


async def test_bounds(troubles: Troubles, clock: FakeClock) -> None:
    for number in range(2 * MAX_KEPT):
        clock.advance(1)
        long = {"detail": "é" * 10_000, "recipient": f"hd-{number}" + "x" * 1_000}
        troubles.keep(lost("peer-off", "m" * 10_000, **long))
    found = await told(troubles)
    assert len(found) == MAX_TOLD
    assert f"hd-{2 * MAX_KEPT - 1}x" in found[0]["what"], "the latest first"
    assert all(len(json.dumps(one[key])) <= MAX_TEXT + 2 for one in found for key in ("what", "why"))
    troubles.keep(call(method="m" * 10_000, recipient=f"hd-{2 * MAX_KEPT - 1}" + "x" * 1_000))
    assert f"hd-{2 * MAX_KEPT - 2}x" in (await told(troubles))[0]["what"]


async def test_an_application_for_which_nobody_waits_any_more_is_one(troubles: Troubles) -> None:
    for reason in ("", "application-silent"):
        troubles.keep(replace(call(reason), outcome="caller_gone"))
    assert [one["reason"] for one in await told(troubles)] == ["application-silent"]


async def test_a_stream_that_is_up_again_is_no_trouble(troubles: Troubles) -> None:
    troubles.keep(Notice(level=Level.WARN, text="no stream to p-2", reason="broke-off", peer="p-2"))
    for peer in ("p-1", "p-2"):
        troubles.keep(Notice(level=Level.WARN, text=f"no stream to {peer}", reason="unreachable", peer=peer))
    troubles.keep(PeerChanged(link="stream", peer="p-1", up=True))
    troubles.keep(PeerChanged(link="stream", peer="p-2", up=False))
    assert [(one["what"], one["reason"]) for one in await told(troubles)] == [("no stream to p-2", "unreachable")]
