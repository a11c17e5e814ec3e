"""Both sides of a hand-over, in one process: what is waited for, and what happens when the other side goes."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eps.core.event import Notice
from eps.errors import StartError
from eps.programs.running import handover
from eps.programs.running.control import Control, Handler, Session
from eps.programs.running.handover import COMMAND, HandOver, ask_to_hand_over
from eps.transport.listener import Listener
from support.testing import Events

NAME = "it.control"


class Old:
    """A server whose place is taken, and the control socket that it has."""

    def __init__(self, folder: Path) -> None:
        self.events = Events()
        self.story: list[str] = []
        self.stopped = asyncio.Event()
        self.accepted: asyncio.Queue[None] = asyncio.Queue()
        self.listener = Listener("it", "127.0.0.1:0", self._accept, emit=self.events)
        self.hand_over = HandOver(self, self.stopped.set, self.events)
        self.control = Control(folder, NAME, {COMMAND: self.hand_over}, self.events)

    async def _accept(self, sock: socket.socket) -> None:
        sock.close()
        self.accepted.put_nowait(None)

    async def let_go(self) -> None:
        self.story.append("let go")

    async def take_back(self) -> None:
        self.story.append("taken back")

    def said(self) -> str:
        return "\n".join(notice.text for notice in self.events.of(Notice))


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[Old]:
    made = Old(tmp_path)
    await made.listener.start()
    made.control.start()
    yield made
    await made.control.close()
    await made.listener.close()


async def test_what_comes_meanwhile_waits_for_the_next(
    old: Old, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "SETTLE_SECONDS", 0.0)
    found = await ask_to_hand_over(tmp_path, NAME)
    assert found is not None
    predecessor, sockets = found
    assert [named.address for named in sockets] == old.listener.addresses
    with socket.create_connection(old.listener.addresses[0], 5):
        async with asyncio.timeout(30):
            while True:  # it is ours to accept
                try:
                    accepted, _ = sockets[0].sock.accept()
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.01)
        accepted.close()
    assert old.accepted.empty()
    predecessor.ready()
    async with asyncio.timeout(30):
        await old.stopped.wait()
    assert old.story == ["let go"]
    for named in sockets:
        named.sock.close()


async def test_without_a_word_that_the_next_is_ready_all_goes_on(old: Old, tmp_path: Path) -> None:
    found = await ask_to_hand_over(tmp_path, NAME)
    assert found is not None
    predecessor, sockets = found
    for named in sockets:
        named.sock.close()
    predecessor.give_up()
    with socket.create_connection(old.listener.addresses[0], 5):
        async with asyncio.timeout(30):
            await old.accepted.get()
    assert old.story == ["let go", "taken back"]
    assert "has ended before it was ready; this one goes on as before" in old.said()
    assert not old.stopped.is_set()


async def test_one_that_is_not_ready_in_time_comes_too_late(
    old: Old, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "READY_SECONDS", 0.05)
    found = await ask_to_hand_over(tmp_path, NAME)
    assert found is not None
    async with asyncio.timeout(30):
        while "was not ready in time" not in old.said():
            await asyncio.sleep(0.01)
    found[0].ready()  # it is told nothing, but nobody waits for it
    for named in found[1]:
        named.sock.close()


async def test_two_at_a_time_do_not_take_over(old: Old, tmp_path: Path) -> None:
    found = await ask_to_hand_over(tmp_path, NAME)
    assert found is not None
    with pytest.raises(StartError, match="another process is taking over already"):
        await ask_to_hand_over(tmp_path, NAME)
    found[0].give_up()
    for named in found[1]:
        named.sock.close()


async def hangs_up(session: Session, _: object) -> None:
    session.close()


async def says_nothing(session: Session, _: object) -> None:
    await asyncio.sleep(60)


async def gives_what_has_no_name(session: Session, _: object) -> None:
    reader, writer = os.pipe()
    session.send(json.loads('{"sockets": []}'), [reader])
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("handler", "words"),
    [(hangs_up, "the other side is gone"), (says_nothing, "said nothing in time"), (gives_what_has_no_name, "nothing")],
    ids=["hangs up", "says nothing", "gives what has no name"],
)
async def test_a_process_that_hands_nothing_over(
    tmp_path: Path, handler: Handler, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "GIVE_SECONDS", 0.5)
    control = Control(tmp_path, NAME, {COMMAND: handler}, Events())
    control.start()
    with pytest.raises(StartError, match=words):
        await ask_to_hand_over(tmp_path, NAME)
    await control.close()


async def test_a_process_that_stops_hands_nothing_over(old: Old, tmp_path: Path) -> None:
    await old.hand_over.end()
    assert await ask_to_hand_over(tmp_path, NAME) is None
    assert old.story == []


async def test_one_that_stops_meanwhile_takes_its_stores_back_to_close_them(old: Old, tmp_path: Path) -> None:
    found = await ask_to_hand_over(tmp_path, NAME)
    assert found is not None
    predecessor, sockets = found
    await old.hand_over.end()
    assert old.story == ["let go", "taken back"]
    assert not old.stopped.is_set()
    predecessor.ready()  # it is alone now
    for named in sockets:
        named.sock.close()
