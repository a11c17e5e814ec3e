"""What a proxy asks its EPS server about certificates, and what holds while it gets no answer."""

import asyncio
from typing import Any

import pytest

from eps.core.event import Level, Notice
from eps.core.message import Error, Response
from eps.core.names import Object, Operator
from eps.errors import NotPermitted, Unreachable
from eps.proxy import callers as module
from eps.proxy.callers import FRESH_SECONDS, MAX_NAMES, RETRY_SECONDS, ProxyRegistry
from support.testing import Events, FakeClock

MARK, SIGNING = "a" * 64, "b" * 64
P = Operator("public-proxy-1.ga")


def entry(name: str, *marks: str) -> Object:
    pinned = [{"fingerprint": mark, "key_usage": "encryption"} for mark in marks]
    odd: list[Any] = [None, {"fingerprint": 3, "key_usage": "x"}, {"fingerprint": "AB", "key_usage": "encryption"}]
    return {"name": name, "certificates": [*pinned, {"fingerprint": SIGNING, "key_usage": "signing"}, *odd]}


class Stage:
    """A proxy's EPS server, played by the test."""

    def __init__(self) -> None:
        self.clock, self.events = FakeClock(), Events()
        self.entries: dict[str, Object] = {"hd-1": entry("hd-1", MARK)}
        self.asked: list[str] = []
        self.trouble: Exception | Response | None = None
        self.registry = ProxyRegistry(P, self._call, self.clock, self.events)

    async def _call(self, method: str, params: Object, timeout: float) -> Response:
        assert method == "public-proxy-1.ga._directory"
        self.asked.append(params["operator"])
        if isinstance(self.trouble, Exception):
            raise self.trouble
        found = self.entries.get(params["operator"])
        return self.trouble or Response("1", {"entries": [found] if found else []})

    async def pins(self, *names: str) -> dict[str, list[str]] | None:
        known = await self.registry.known(names)
        return {name: sorted(item.pins) for name, item in known.items()} if known is not None else None


async def test_only_operators_are_known_and_only_pins_for_connections_count() -> None:
    stage = Stage()
    assert await stage.pins("hd-1", "*.hd-1.local", "app", "hd-1", "a name") == {"hd-1": [MARK]}
    assert stage.asked == ["hd-1", "app"], "what no operator can be called is not asked about"
    known = await stage.registry.known(["hd-1"])
    assert known is not None
    assert [c.key_usage for c in known["hd-1"].certificates] == ["encryption", "signing"]
    assert stage.registry.as_of() == ""


async def test_an_answer_holds_for_a_second() -> None:
    stage = Stage()
    for _ in range(3):
        await stage.pins("hd-1")
    state = stage.registry.state
    assert stage.asked == ["hd-1"] and stage.registry.state == state
    stage.clock.advance(FRESH_SECONDS)
    assert stage.registry.state != state
    stage.entries["hd-1"] = entry("hd-1")
    assert await stage.pins("hd-1") == {"hd-1": []}
    assert len(stage.asked) == 2


async def test_many_who_ask_at_the_same_time_ask_once() -> None:
    stage = Stage()
    await asyncio.gather(*(stage.pins("hd-1") for _ in range(50)))
    assert stage.asked == ["hd-1"]


@pytest.mark.parametrize(
    "trouble",
    [
        Unreachable("the EPS server: refused"),
        Response("1", {}, Error(1, "secret words", {})),
        Response("1", {"entries": None}),
        Response("1", []),
    ],
    ids=["unreachable", "error", "no list", "no object"],
)
async def test_what_it_said_last_holds_while_it_can_not_be_asked(trouble: Exception | Response) -> None:
    stage = Stage()
    await stage.pins("hd-1", "app")
    stage.clock.advance(FRESH_SECONDS)
    stage.trouble = trouble
    for _ in range(3):
        assert await stage.pins("hd-1", "app") == {"hd-1": [MARK]}
    assert len(stage.asked) == 3, "after a failure nobody waits for the next one"
    with pytest.raises(NotPermitted, match="can't be asked"):
        await stage.pins("hd-2")
    stage.clock.advance(RETRY_SECONDS)
    await stage.pins("hd-1")
    (said,) = stage.events.of(Notice)
    assert said.level is Level.WARN and "can't be asked" in said.text and "what it said last holds" in said.hint
    assert "secret words" not in said.text
    stage.trouble = None
    stage.clock.advance(RETRY_SECONDS)
    assert await stage.pins("hd-1") == {"hd-1": [MARK]}
    assert "says again" in stage.events.of(Notice)[-1].text


async def test_before_it_was_ever_asked_nothing_is_known() -> None:
    stage = Stage()
    stage.trouble = Unreachable("refused")
    assert await stage.pins("hd-1") is None
    (said,) = stage.events.of(Notice)
    assert "tls.allowed_names alone decides" in said.hint


async def test_a_question_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_SECONDS", 0.02)
    stage = Stage()

    async def silent(method: str, params: Object, timeout: float) -> Response:
        await asyncio.sleep(60)
        raise AssertionError

    registry = ProxyRegistry(P, silent, stage.clock, stage.events)
    assert await registry.known(["hd-1"]) is None
    assert "no answer within 0.02 s" in stage.events.of(Notice)[0].text


async def test_a_certificate_of_very_many_names_is_refused() -> None:
    stage = Stage()
    names = [f"name-{number}" for number in range(MAX_NAMES + 1)]
    await stage.pins(*names[1:])
    with pytest.raises(NotPermitted, match=f"{MAX_NAMES + 1} names"):
        await stage.pins(*names)
