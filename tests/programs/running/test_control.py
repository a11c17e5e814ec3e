"""The control socket: who is heard, what is asked, and whose socket it is."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eps.core.event import Level, Notice
from eps.core.names import Object
from eps.errors import StartError
from eps.programs.running import control
from eps.programs.running.control import MAX_SESSIONS, Control, Session, ask
from support.testing import Events

NAME = "it.control"


async def echo(session: Session, message: Object) -> None:
    session.send({"said": message["say"]}, message.get("descriptors", []))
    await session.receive(30)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def running(tmp_path: Path, events: Events) -> AsyncIterator[Control]:
    made = Control(tmp_path / "state", NAME, {"echo": echo}, events)
    made.start()
    yield made
    await made.close()


def asked(tmp_path: Path, **command: object) -> Session:
    session = ask(tmp_path / "state", NAME, command)
    assert session is not None
    return session


async def test_a_command_is_answered_with_descriptors(running: Control, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    session = asked(tmp_path, command="echo", say="a", descriptors=[writer])
    answer, descriptors = await session.receive(30)
    assert answer == {"said": "a"}
    os.write(descriptors[0], b"x")
    assert os.read(reader, 1) == b"x"
    session.close()
    for descriptor in (reader, writer, *descriptors):
        os.close(descriptor)


async def test_an_unknown_command_is_told_which_there_are(running: Control, tmp_path: Path) -> None:
    session = asked(tmp_path, command="dance")
    assert (await session.receive(30))[0] == {"error": "there is no such command; there are echo"}
    session.close()


async def test_what_is_no_message_ends_the_session(running: Control, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(tmp_path / "state" / NAME))
        socket.send_fds(sock, [b"[]"], [writer])
        os.close(writer)
        sock.setblocking(False)
        with pytest.raises(ConnectionResetError, match="gone"):
            await Session(sock).receive(30)
    assert os.read(reader, 1) == b"", "what strangers give is not kept"
    os.close(reader)


async def test_other_users_are_not_heard(running: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "is_ours", lambda sock: False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(tmp_path / "state" / NAME))
        sock.setblocking(False)
        stranger = Session(sock)
        stranger.send({"command": "echo", "say": "a"})
        with pytest.raises(ConnectionResetError):
            await stranger.receive(30)
    monkeypatch.setattr(control, "is_the_servers", lambda sock, owner: False)
    with pytest.raises(StartError, match="another user's program"):
        ask(tmp_path / "state", NAME, {"command": "echo"})


def test_who_is_at_the_other_end_is_the_kernels_word(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = socket.socketpair()
    with one, other:
        assert control.is_ours(one)
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        assert control.is_ours(one) is (os.getuid() == 0), "root is heard, others are not"


@pytest.mark.parametrize(
    ("user", "server", "owner", "believed"),
    [
        (4711, 4711, 4711, True), (4711, 0, 0, True), (4711, 4712, 4712, False),
        (0, 4711, 4711, True), (0, 4711, 0, False), (0, 0, 4711, True),
    ],
)  # fmt: skip
def test_root_asks_the_server_of_the_user_whose_the_state_folder_is(
    monkeypatch: pytest.MonkeyPatch, user: int, server: int, owner: int, believed: bool
) -> None:
    """As who administers a machine does: the server runs as a user of its own."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(control, "_user_of", lambda sock: server)
    with socket.socket() as any_one:
        assert control.is_the_servers(any_one, owner) is believed


async def test_only_so_many_at_a_time(running: Control, tmp_path: Path) -> None:
    sessions = [asked(tmp_path, command="echo", say="a") for _ in range(MAX_SESSIONS)]
    for session in sessions:
        await session.receive(30)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(tmp_path / "state" / NAME))
        sock.setblocking(False)
        with pytest.raises(OSError, match="gone"):
            await Session(sock).receive(30)
    for session in sessions:
        session.close()


async def test_the_socket_is_the_users_own_and_goes_at_the_end(tmp_path: Path, events: Events) -> None:
    made = Control(tmp_path / "state", NAME, {}, events)
    made.start()
    found = os.lstat(tmp_path / "state" / NAME)
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    await made.close()
    assert os.listdir(tmp_path / "state") == []
    assert ask(tmp_path / "state", NAME, {}) is None


async def test_a_successor_keeps_its_socket_when_the_former_ends(tmp_path: Path, events: Events) -> None:
    first, second = (Control(tmp_path / "state", NAME, {"echo": echo}, events) for _ in range(2))
    first.start()
    second.start()
    await first.close()
    session = asked(tmp_path, command="echo", say="b")
    assert (await session.receive(30))[0] == {"said": "b"}
    session.close()
    await second.close()


async def test_a_folder_that_is_a_link_is_not_followed(tmp_path: Path, events: Events) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "elsewhere")
    made = Control(tmp_path / "state", NAME, {}, events)
    made.start()
    assert [notice.level for notice in events.of(Notice)] == [Level.WARN]
    assert os.listdir(tmp_path / "elsewhere") == []
    with pytest.raises(StartError, match="can't be used"):
        ask(tmp_path / "state", NAME, {})
    await made.close()


async def test_no_socket_at_all_and_one_of_a_program_that_died(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(tmp_path / "state" / NAME))
    assert ask(tmp_path / "state", NAME, {}) is None
    (tmp_path / "state" / NAME).unlink()
    (tmp_path / "state" / NAME).write_text("")
    with pytest.raises(StartError, match="is no socket"):
        ask(tmp_path / "state", NAME, {})


async def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(running: Control, tmp_path: Path) -> None:
    session = asked(tmp_path, command="echo", say="a")
    await session.receive(30)
    with pytest.raises(TimeoutError):
        await session.receive(0.01)
    session.close()
    await asyncio.sleep(0)
