"""How the demo shows things; tests/integration/test_programs_demo.py runs it."""

import asyncio
import io
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from eps.core.message import Error, Response
from eps.errors import EpsError, StartError
from eps.programs.dev import demo
from eps.programs.dev.demo import Demo, fetch
from eps.programs.dev.network import Port
from eps.programs.dev.ports import check_ports_free, is_free
from eps.programs.dev.processes import Children, Program
from support.ports import PortBlock
from support.testing import step_line as step


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
        await show.wait_for(lambda: False, "the service directory")
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
        show.show_answer(Response("1", error=Error(500, "no way")), 0.1)


async def test_a_place_without_settings(show: Demo, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(StartError, match=f"there is no settings/dev/roles in {tmp_path}"):
        await show.run()


async def test_steps_are_shown_while_they_come(tmp_path: Path) -> None:
    out = io.StringIO()
    show = Demo(tmp_path, Console(file=out), once=True)
    asked = time.time()
    async with show.showing_steps():
        show.on_event("hd-1", step(1, asked))
        show.on_event("public-proxy-1", step(3, asked, "makes a token", "public-proxy-1.ga"))
        show.on_event("hd-1", step(2, asked))
    assert [line.split()[0] for line in out.getvalue().splitlines()] == ["1", "2", "3"]
