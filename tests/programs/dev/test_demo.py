"""How the demo shows things; tests/integration/test_programs_demo.py runs it."""

import asyncio
import io
import json
import socket
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from eps.core.message import Error, Response
from eps.errors import EpsError, StartError
from eps.programs.dev import demo
from eps.programs.dev.demo import (
    HOLD,
    Demo,
    check_ports_free,
    compact,
    fetch,
    is_free,
    render_step,
    ripe_steps,
    shortened,
)
from eps.programs.dev.network import Port
from eps.programs.dev.processes import Children, Program
from support.ports import PortBlock

NOW = 1_800_000_000.0


def step(number: int, at: float, text: str = "does it", operator: str = "hd-1") -> dict[str, Any]:
    time = datetime.fromtimestamp(at, UTC).isoformat()
    line = {"kind": "step", "time": time, "operator": operator, "text": text}
    return line | ({"step": number} if number else {"kind": "forwarding"})


def numbers(lines: list[dict[str, Any]]) -> list[int]:
    return [line.get("step", 0) for line in lines]


def test_steps_are_held_back_until_their_turn() -> None:
    old, new = NOW - HOLD - 0.001, NOW - HOLD / 2
    assert numbers(ripe_steps([step(1, old), step(2, new)], 0, NOW)) == [1]
    assert numbers(ripe_steps([step(6, old - 0.001), step(5, old)], 4, NOW)) == [5, 6]
    assert numbers(ripe_steps([step(6, old)], 4, NOW)) == []  # step 5 may still be on its way
    assert numbers(ripe_steps([step(6, old)], 4, NOW + HOLD)) == [6]  # but not for ever
    assert numbers(ripe_steps([step(4, old, operator="p"), step(4, old)], 4, NOW)) == [4, 4]
    assert numbers(ripe_steps([step(0, old)], 6, NOW)) == [0]
    assert ripe_steps([], 0, NOW) == []


def test_a_step_in_one_line_or_on_a_terminal() -> None:
    line = step(4, NOW + 0.0123, "connected to public-proxy-1.ga at localhost:9999 and sent the token")
    assert render_step(line, NOW).plain == (
        "  4    12.3 ms  hd-1               connected to public-proxy-1.ga at localhost:9999 and sent the token"
    )
    rows = render_step(line, NOW, 80).plain.splitlines()
    assert rows == [
        "  4    12.3 ms  hd-1               connected to public-proxy-1.ga at",
        "                                   localhost:9999 and sent the token",
    ]
    assert len(render_step(line, NOW, 10).plain.splitlines()) > 2  # narrower than sense: it goes on all the same
    assert render_step(step(0, NOW, operator="x"), NOW).plain.startswith("  ·     0.0 ms  x ")


def test_the_answer_is_shortened_to_what_people_look_for() -> None:
    answer = {
        "version": "1",
        "params": {"_client": {"entry": {"name": "hd-1"}, "name": "hd-1"}, "x": 1},
        "serverInfo": {
            "settings": [],
            "records": [{}, {}],
            "certificates": [{}],
            "channels": [{"settings": None, "type": "grpc_client"}],
            "services": [{"name": "internals", "permissions": [], "methods": []}],
            "name": "hd-2",
            "properties": {"displayName": ""},
        },
    }
    assert json.dumps(shortened(answer), ensure_ascii=False) == (
        '{"serverInfo": {"name": "hd-2", "services": ["internals"], "channels": [{"type": "grpc_client"}], '
        '"records": "… 2 signed records", "certificates": "… 1 certificates"}, "version": "1", '
        '"params": {"_client": {"name": "hd-1", "entry": "… its directory entry"}, "x": 1}}'
    )
    assert shortened("text") == "text"
    assert shortened([1, {"a": ""}]) == [1, {}]


def test_compact_json_is_json() -> None:
    value = {"short": [1, 2], "long": ["x" * 50, "y" * 50], "deep": {"a": {"b": ["z" * 80]}}, "empty": {}}
    text = compact(value, width=60)
    assert json.loads(text) == value
    assert '  "short": [1, 2]' in text
    assert compact(7) == "7"
    assert compact([]) == "[]"


def test_taken_ports_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, closing(PortBlock()) as block:
        port, other = taken.getsockname()[1], block.numbers[0]
        assert not is_free(port)
        assert is_free(other)
        with pytest.raises(StartError) as caught:
            check_ports_free([Port(port, "hd-1"), Port(other, "hd-2")])
        assert caught.value.message == f"ports on localhost are taken: {port} (for hd-1)"
        check_ports_free([Port(other, "hd-2")])


@pytest.fixture
def show(tmp_path: Path) -> Demo:
    return Demo(tmp_path, Console(file=io.StringIO()), once=True)


async def test_what_does_not_come_up_is_told(show: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "UP_TIMEOUT", 0.01)
    with pytest.raises(StartError, match=r"the service directory did not come up within 0 s") as caught:
        await show._wait_for(lambda: False, "the service directory")
    assert str(tmp_path / ".eps" / "demo-logs") in caught.value.hint


@pytest.mark.parametrize("dies", [True, False])
async def test_a_program_that_has_ended_explains_what_fails(
    show: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    """Whichever is noticed first; what fails for another reason is told as it is."""
    (tmp_path / "fake.py").write_text("import sys, time\nprint('no disk', file=sys.stderr)\n" + (
        "sys.exit(3)" if dies else "time.sleep(60)"
    ))  # fmt: skip
    fake = Program("private-proxy-1", ("fake",), {"PYTHONPATH": str(tmp_path)})

    async def start_and_fail(_: float, children: Children) -> None:
        await children.start([fake])
        if dies:
            while "no disk" not in (log.read_text() if log.exists() else ""):
                await asyncio.sleep(0.001)
        raise EpsError("the announcement failed")

    log = tmp_path / ".eps" / "demo-logs" / "private-proxy-1.log"
    (tmp_path / "settings" / "dev" / "roles").mkdir(parents=True)
    monkeypatch.setattr(demo, "PROGRAMS", ())
    monkeypatch.setattr(demo, "PORTS", ())
    monkeypatch.setattr(demo, "SETTLE", 10.0 if dies else 0.1)
    monkeypatch.setattr(show, "_certificates", lambda: None)
    monkeypatch.setattr(show, "_show", start_and_fail)
    with pytest.raises(EpsError) as caught:
        await show.run()
    if dies:
        head = "private-proxy-1 has ended by itself, exit code 3; the last lines of its log:"
        assert caught.value.message == f"{head}\n    no disk"
    else:
        assert caught.value.message == "the announcement failed"


async def test_a_page_that_does_not_come_is_told(dev_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = dev_tree.parent.parent
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        monkeypatch.setattr(demo, "UP_TIMEOUT", 0.05)
        with pytest.raises(EpsError, match=rf"https://x:{port}/page gave no answer: not within 0.05 s"):
            await fetch(root, f"https://x:{port}/page")
    with closing(PortBlock()) as block, pytest.raises(EpsError, match=r"gave no answer: .*Connect call failed"):
        await fetch(root, f"https://x:{block.numbers[0]}/page")


def test_a_ping_that_fails_is_told(show: Demo) -> None:
    with pytest.raises(EpsError, match="the ping failed: no way"):
        show._show_answer(Response("1", error=Error(500, "no way")), 0.1)


async def test_a_place_without_settings(show: Demo, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=f"there is no settings/dev/roles in {tmp_path}"):
        await show.run()


async def test_steps_are_shown_while_they_come(tmp_path: Path) -> None:
    out = io.StringIO()
    show = Demo(tmp_path, Console(file=out), once=True)
    asked = time.time()
    async with show._showing_steps():
        show._on_event("hd-1", step(1, asked))
        show._on_event("public-proxy-1", step(3, asked, "makes a token", "public-proxy-1.ga"))
        show._on_event("hd-1", step(2, asked))
    assert [line.split()[0] for line in out.getvalue().splitlines()] == ["1", "2", "3"]
