"""Both ends of a call have the same of it in their audit logs, whatever it carries and whatever way it took."""

from typing import Any

from eps.broker.audited import AuditedCall
from eps.core.audit import LineKeys, mac
from eps.core.audit_evidence import answer_covered, asked_covered
from eps.core.canonical import canonical_json
from eps.core.event import CallFinished
from eps.core.message import Error, Response
from support.network import HD_1, HD_2, Network


class Salted(AuditedCall):
    """One whose salt is no chance, so that two ends can be compared."""

    def __init__(self) -> None:
        super().__init__(LineKeys(b""))
        self._key = b"k" * 32
        self.macs = {}


class Kept:
    """An audit log that keeps what it is told."""

    def __init__(self, method: str = "echo") -> None:
        self._method = method
        self.lines: list[tuple[str, dict[str, str]]] = []

    def begin(self) -> AuditedCall:
        return Salted()

    def ended(self, call: AuditedCall, event: CallFinished, call_id: str) -> None:
        if event.method == self._method:
            self.lines.append((event.trace, call.macs))


ANSWERS: list[Any] = [
    {"a": [1, 2.5, -0.0, 1e21, None, True], "_client": 1},
    None,
    [],
    {},
    {"_": [1]},
    {"_": {"_": {"a": 1}}},
    {"_": None},
    Error(403, "forbidden"),
    Error(500, "no", {"side": "ours", "outcome": "failed", "stage": "call", "hint": ""}),
    Error(7, "a list", [{"_": 1}]),
    "x" * 200_000,
    5,
    "é\U0001f600",
    2.0**60,
    Error(-5, "no such patient", {"b": 1.0}),
    Error(7, "none", None),
    Error(7, "a text", "x"),
    list(range(8_000)),
]


async def test_both_ends_have_the_same() -> None:
    there, here = Kept(), Kept()
    async with Network(behind_proxy=()) as network:
        caller, callee = await network.node(HD_1, audit=here), await network.node(HD_2, audit=there)
        for number, answer in enumerate(ANSWERS):
            given = Response("", error=answer) if isinstance(answer, Error) else answer
            callee.application.answer = lambda _, given=given: given
            await caller.call("hd-2.echo", {"n": number, "value": answer if not isinstance(answer, Error) else 1})
    assert here.lines == there.lines
    assert len(here.lines) == len(ANSWERS)
    assert all(trace for trace, _ in here.lines)
    for number, (_, macs) in enumerate(here.lines):
        assert set(macs) == {"params", "error" if isinstance(ANSWERS[number], Error) else "result"}


async def test_a_refusal_is_covered_at_both_ends() -> None:
    there, here = Kept("none"), Kept("none")
    async with Network(behind_proxy=()) as network:
        caller, _ = await network.node(HD_1, audit=here), await network.node(HD_2, audit=there)
        answer = await caller.call("hd-2.none", {"n": 1})
    assert answer.error is not None
    assert here.lines[0][1]["error"] == there.lines[0][1]["error"]


async def test_they_are_those_that_a_check_makes() -> None:
    log = Kept()
    async with Network(behind_proxy=()) as network:
        caller, callee = await network.node(HD_1, audit=log), await network.node(HD_2)
        params, result = {"patient": 17, "_client": "whoever"}, {"found": [1.0, None]}
        callee.application.answer = lambda _: result
        await caller.call("hd-2.echo", params)
    (_, macs), key = log.lines[0], b"k" * 32
    assert macs == {
        "params": mac(key, canonical_json(asked_covered({"patient": 17}))),
        "result": mac(key, canonical_json(answer_covered("result", result))),
    }
