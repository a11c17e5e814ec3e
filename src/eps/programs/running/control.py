"""The control socket of a running server, in its state folder: what its administrator's other processes ask of it.

    Control   the server's end: one handler for each command
    ask       the other end: a Session, once the command is sent

Each message is one packet with a JSON object; descriptors may go along. Only the server's own user and root are heard,
and only a socket of theirs is asked: the folder is opened without following links, and what is done in it is done by
its descriptor.
"""

import asyncio
import json
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from eps.core.event import Emit, Level, Notice
from eps.core.names import Object
from eps.errors import StartError
from eps.transport.tasks import Tasks

MAX_PACKET_BYTES = 64 * 1024
"""A status with the reasons of a hundred streams; the names of some listeners are far less."""

MAX_DESCRIPTORS = 64
"""Of one packet; the kernel takes 253. A server listens at four addresses, of two families each."""

MAX_SESSIONS = 4
"""At a time: one does something, another asks what."""

COMMAND_SECONDS = 5.0
"""From connecting to the command."""

_MODE = 0o600


def fitting(text: str, most: int) -> str:
    """As much of ``text`` as ``most`` bytes of JSON hold; characters beyond ASCII take six or twelve of them."""
    text = text[:most]
    while len(json.dumps(text)) > most + len('""'):
        text = text[: len(text) * 3 // 4]
    return text


class Session:
    """A conversation about one command; closed by who has opened it, and by the handler's end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, message: Object, descriptors: Sequence[int] = ()) -> None:
        """One packet; raises OSError if the other side is gone."""
        packet = json.dumps(message).encode()
        if descriptors:
            socket.send_fds(self._sock, [packet], list(descriptors))
        else:
            self._sock.send(packet)

    async def receive(self, seconds: float | None) -> tuple[Object, list[int]]:
        """The next packet, with the descriptors that came along, which are the caller's from now on.

        Args:
            seconds: for it to come; None: whoever calls bounds the time.

        Raises:
            OSError: the other side is gone, sent what can't be read, or (TimeoutError) sent nothing in time.
        """
        async with asyncio.timeout(seconds):
            await _readable(self._sock)
        packet, descriptors, _, _ = socket.recv_fds(
            self._sock, MAX_PACKET_BYTES, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        try:
            message: Any = json.loads(packet) if packet else None
        except ValueError:
            message = None
        if not isinstance(message, dict):
            _close(descriptors)
            raise ConnectionResetError("the other side is gone" if not packet else "it sent no message")
        return message, descriptors

    async def gone(self) -> None:
        """Until the other side has closed it; what it says meanwhile is not heard."""
        with suppress(OSError):
            while True:
                _, descriptors = await self.receive(None)
                _close(descriptors)

    def detach(self) -> int:
        """Leave it open for as long as this process lives: its end is what the other side waits for. Its descriptor."""
        return self._sock.detach()

    def close(self) -> None:
        """The end."""
        self._sock.close()


Handler = Callable[[Session, Object], Awaitable[None]]
"""Serves a command, given its message; an OSError that it raises ends the session only."""


class Control:
    """Listens for commands.

    Args:
        folder: the state folder; made if it is missing.
        name: the socket's name in it.
        commands: what can be asked.
    """

    def __init__(self, folder: Path, name: str, commands: Mapping[str, Handler], emit: Emit) -> None:
        self._folder = folder
        self._name = name
        self._commands = commands
        self._emit = emit
        self._sock: socket.socket | None = None
        self._made: os.stat_result | None = None
        self._tasks = Tasks()
        self._sessions: set[Session] = set()

    def start(self) -> None:
        """Begin to listen, in the place of whoever did before. If that can't be, it is said, and all else goes on."""
        try:
            self._sock, self._made = _listen(self._folder, self._name)
        except OSError as error:
            where = self._folder / self._name
            text = f"no commands are taken at {where}: {error.strerror or error}"
            self._emit(Notice(level=Level.WARN, text=text, hint="--take-over and drain find nobody there"))
            return
        self._tasks.start(self._serve(self._sock), "control")

    async def close(self) -> None:
        """Stop listening; the socket's name goes, too, unless it is another's by now."""
        await self._tasks.close()
        for session in self._sessions:  # whose task had not begun
            session.close()
        if self._sock is None or self._made is None:
            return
        self._sock.close()
        with suppress(OSError), _Folder(self._folder) as folder:
            found = os.stat(self._name, dir_fd=folder, follow_symlinks=False)
            if (found.st_dev, found.st_ino) == (self._made.st_dev, self._made.st_ino):
                os.unlink(self._name, dir_fd=folder)

    async def _serve(self, sock: socket.socket) -> None:
        while True:
            await _readable(sock)
            with suppress(OSError):
                accepted, _ = sock.accept()
                accepted.setblocking(False)
                if len(self._sessions) >= MAX_SESSIONS or not is_ours(accepted):
                    accepted.close()
                else:
                    session = Session(accepted)
                    self._sessions.add(session)
                    self._tasks.start(self._converse(session), "control: session")

    async def _converse(self, session: Session) -> None:
        try:
            message, descriptors = await session.receive(COMMAND_SECONDS)
            _close(descriptors)  # nobody gives us any
            handler = self._commands.get(str(message.get("command")))
            if handler is None:
                session.send({"error": f"there is no such command; there are {', '.join(self._commands)}"})
            else:
                await handler(session, message)
        except OSError:  # TimeoutError is one
            pass
        finally:
            self._sessions.discard(session)
            session.close()


def ask(folder: Path, name: str, command: Object) -> Session | None:
    """Send a command to the server that listens there; None if none does.

    Raises:
        StartError: what is there is no socket of our own user or root.
    """
    where = folder / name
    try:
        with _Folder(folder) as opened:
            found = os.stat(name, dir_fd=opened, follow_symlinks=False)
            if not stat.S_ISSOCK(found.st_mode):
                raise StartError(f"{where} is no socket", hint="remove it; the server makes one when it starts")
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.settimeout(COMMAND_SECONDS)
            try:
                sock.connect(_path_in(opened, name))
                if not is_the_servers(sock, os.fstat(opened).st_uid):
                    raise StartError(f"at {where}, another user's program listens", hint="see whose it is: ss -xlp")
                sock.setblocking(False)
                session = Session(sock)
                session.send(command)
            except BaseException:
                sock.close()
                raise
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        why, hint = error.strerror or error, "only the server's own user and root may use it"
        raise StartError(f"{where} can't be used: {why}", hint=hint) from error
    return session


@contextmanager
def closed_on_failure(session: Session, failed: str) -> Iterator[None]:
    """Close it if what is done inside fails; raises StartError, which begins with ``failed``, for an OSError."""
    try:
        yield
    except BaseException as error:
        session.close()
        if isinstance(error, OSError):
            why = "it said nothing in time" if isinstance(error, TimeoutError) else str(error)
            raise StartError(f"{failed}: {why}", hint="look into its log") from error
        raise


async def heard(session: Session, take: Callable[[Object], int], failed: str, *, most: int, seconds: float) -> Object:
    """What a server tells in several messages; the one that says that it is the last is returned.

    Args:
        take: is given each of the others, and says how much there is now.
        failed: what it means if that fails: the begin of the error.
        most: of what ``take`` says; with more it is not heard out.
        seconds: for a message.

    Raises:
        StartError: it does not tell.
    """
    taken = 0
    with closed_on_failure(session, failed):
        while taken <= most:
            message, _ = await session.receive(seconds)
            if "error" in message:
                raise StartError(f"the running server is of a version without this command: {message['error']}")
            if "end" in message:
                session.close()
                return message
            taken = take(message)
        raise StartError("the running server tells without end")


def is_ours(sock: socket.socket) -> bool:
    """Whether the process at the other end is our own user's, or root's."""
    return _user_of(sock) in (os.geteuid(), 0)


def is_the_servers(sock: socket.socket, owner: int) -> bool:
    """Whether what listens at the other end is a server that we may believe: one of our own user's, or root's; root,
    who types commands for all, believes also the user ``owner``, whose the state folder is."""
    return is_ours(sock) or (os.geteuid() == 0 and _user_of(sock) == owner)


def _user_of(sock: socket.socket) -> int:
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


class _Folder:
    """A folder's descriptor; a link in its place is not followed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _listen(path: Path, name: str) -> tuple[socket.socket, os.stat_result]:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    beside = f"{name}.{os.getpid()}"
    try:
        with _Folder(path) as folder:
            with suppress(FileNotFoundError):
                os.unlink(beside, dir_fd=folder)
            sock.bind(_path_in(folder, beside))
            os.chmod(_path_in(folder, beside), _MODE)  # nobody can connect before it listens
            sock.listen(MAX_SESSIONS)
            sock.setblocking(False)
            os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
            return sock, os.stat(name, dir_fd=folder, follow_symlinks=False)
    except BaseException:
        sock.close()
        raise


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _path_in(folder: int, name: str) -> str:
    """A path that is short enough for a socket's address, whatever the folder's, and leads to that very folder."""
    return f"/proc/self/fd/{folder}/{name}"


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    descriptor = sock.fileno()  # as long as somebody waits: the socket may be detached meanwhile

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, tell)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
