"""What the running server has seen, as a doctor tells it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from eps.core.event import AuditLinesLost, CallFinished, ignore
from eps.core.names import Object
from eps.programs.diagnosis.finding import Finding, Mark, well
from eps.programs.diagnosis.lately import LATELY_SECONDS, MAX_SHOWN, Seen, ask_lately, judge_lately
from eps.programs.running.control import Control, Handler, Session
from eps.programs.running.families import Program
from eps.programs.running.metrics import Metrics
from eps.programs.running.troubles import TROUBLES, Troubles
from eps.programs.status.asking import STANDING, Telling

SOCKET, TRACE = "eps.control", "1" * 32
SEEN = Seen("peer-off", "peer", "local call hd-1 → hd-2.m failed", "it is not connected", "", TRACE, 3, 12.0)


def test_what_is_said() -> None:
    (finding,) = judge_lately([SEEN], [well("clock", "fine")])
    assert (finding.mark, finding.side, finding.reason) == (Mark.DOUBTFUL, "peer", "peer-off")
    assert finding.what == "local call hd-1 → hd-2.m failed: 3 times, the last 12 seconds ago"
    assert finding.why == "it is not connected"
    assert finding.fix.startswith("start the callee's server;")
    assert finding.fix.endswith(f"; eps trace {TRACE} shows its way")


@pytest.mark.parametrize(
    ("seen", "what", "fix"),
    [
        (replace(SEEN, times=1, fix="stop one", trace=""), "failed: once, 12 seconds ago", "stop one"),
        (replace(SEEN, why="so stop one", fix="stop one", trace=""), "3 times", ""),
        (replace(SEEN, reason="their-word", trace="no trace"), "3 times", ""),
    ],
    ids=["once", "said already", "no word of ours"],
)
def test_what_to_do(seen: Seen, what: str, fix: str) -> None:
    (finding,) = judge_lately([seen], [])
    assert what in finding.what
    assert finding.fix == fix


def test_what_says_nothing_new() -> None:
    now = Finding("proxies", Mark.WRONG, "not reached", reason="peer-off")
    assert judge_lately([SEEN], [now]) == []
    assert judge_lately([replace(SEEN, seconds=LATELY_SECONDS)], []) == []
    assert len(judge_lately([SEEN] * 10, [])) == MAX_SHOWN


async def asked(folder: Path, handler: Handler) -> tuple[Seen, ...]:
    control = Control(folder, SOCKET, {TROUBLES: handler}, ignore)
    control.start()
    try:
        return await ask_lately(folder, SOCKET)
    finally:
        await control.close()


async def test_asking(tmp_path: Path) -> None:
    assert await ask_lately(tmp_path, SOCKET) == (), "nobody is there"
    troubles = Troubles()
    who = {"direction": "local", "sender": "hd-1", "recipient": "hd-2", "method": "m"}
    failed = CallFinished(**who, outcome="not_sent", seconds=0.1, fault="network", reason="peer-off", side="peer")
    troubles.keep(failed)
    (seen,) = await asked(tmp_path / "here", troubles)
    assert (seen.reason, seen.side, seen.times) == ("peer-off", "peer", 1)
    assert 0.0 <= seen.seconds < 600.0


@pytest.mark.parametrize("answer", [{"error": "no such command"}, {"troubles": "odd"}, None], ids=str)
async def test_servers_that_do_not_tell(tmp_path: Path, answer: Object | None) -> None:
    async def tell(session: Session, _: Object) -> None:
        await asyncio.sleep(0)
        if answer is not None:
            session.send(answer)

    assert await asked(tmp_path, tell) == ()


async def test_a_doctor_says_what_only_the_running_server_knows(tmp_path: Path) -> None:
    metrics = Metrics()
    standing = {"eps_audit_failing": {(): 1.0}, "eps_tunnels_limit": {(): 10.0}, "eps_tunnels_open": {(): 9.0}}
    metrics.belongs_to(Program.EPS, lambda: standing)
    metrics(CallFinished(direction="local", sender="a", recipient="b", method="m", outcome="unknown", seconds=1,
                         stage="call", fault="network"))  # fmt: skip
    metrics(AuditLinesLost(lines=3))
    control = Control(tmp_path, SOCKET, {STANDING: Telling(metrics.standing)}, ignore)
    control.start()
    try:
        found = judge_lately(await ask_lately(tmp_path, SOCKET), [Finding("x", Mark.WRONG, "y", "", "ours", "")])
    finally:
        await control.close()
    assert [one.what for one in found] == [
        "of 1 call nobody knows whether it was executed",
        "the audit log can't be written: its disk may be full, or its folder may not be written to",
        "3 calls have no line in the audit log",
        "90% of the proxy's places are taken: beyond them no tunnel can be made",
    ]
    assert {(one.mark, one.side) for one in found} == {(Mark.DOUBTFUL, "ours")}
