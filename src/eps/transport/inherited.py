"""Sockets that listen already when a program starts: systemd keeps them, or the process before has handed them on.

    systemd → LISTEN_FDS    ┐
    process before → socket ┴→ adopt → take, by each Listener: what listens where its settings say

No connection is refused while one process takes another's place: the kernel keeps what comes in the sockets' queues.
What a process takes is its own matter, so this is, as the environment is, one for the process: :data:`SOCKETS`.
"""

import os
import socket
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass

from eps.core.endpoint import normal_host
from eps.core.host_port import parse_host_port, render_host_port
from eps.errors import StartError

FIRST_FD = 3
"""sd_listen_fds(3): the first descriptor that is handed over."""

MAX_FDS = 64
"""A program of ours listens at four addresses, of two families each; a number far above is a mistake."""

NAMES = ("grpc", "jsonrpc", "relay", "tls", "metrics")
"""What listeners are called, here and as FileDescriptorName= of a socket unit."""


@dataclass(frozen=True, slots=True)
class Named:
    """A listening socket and the name that its giver has for it."""

    name: str
    sock: socket.socket

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.sock.getsockname()[:2]
        return str(host), int(port)

    def __str__(self) -> str:
        return render_host_port(*self.address)


@dataclass(frozen=True, slots=True)
class Unused:
    """A socket that nobody took.

    Attributes:
        name: its giver's.
        address: where it had listened.
    """

    name: str
    address: str


class Inherited:
    """Sockets that wait for the listener that they are for."""

    def __init__(self) -> None:
        self._waiting: list[Named] = []

    def adopt(self, given: Iterable[Named]) -> None:
        """More sockets that listen already."""
        self._waiting += given

    def take(self, name: str, bind_address: str) -> list[socket.socket]:
        """The sockets that are for this listener, which are its own from now on: those that listen where its settings
        say, and bear no other listener's name. Where these leave the port open (0), its name decides."""
        mine = [named for named in self._waiting if _is_for(named, name, bind_address)]
        self._waiting = [named for named in self._waiting if named not in mine]
        return [named.sock for named in mine]

    def close_unused(self) -> list[Unused]:
        """Close the sockets that no listener took: whoever connects there should be refused."""
        closed = [Unused(named.name, str(named)) for named in self._waiting]
        for named in self._waiting:
            named.sock.close()
        self._waiting = []
        return closed


SOCKETS = Inherited()
"""This process's."""


def from_systemd(environment: MutableMapping[str, str], pid: int) -> list[Named]:
    """The sockets that systemd has handed to the process ``pid``; the variables are gone then, for its children.

    Raises:
        StartError: they say what can't be, or a descriptor is no listening TCP socket.
    """
    given = {key: environment.pop(f"LISTEN_{key}", "") for key in ("PID", "FDS", "FDNAMES")}
    if not given["FDS"] or given["PID"] != str(pid):
        return []
    if not given["FDS"].isascii() or not given["FDS"].isdigit() or int(given["FDS"]) > MAX_FDS:
        raise StartError(f"LISTEN_FDS is {given['FDS'][:20]!r}, no number up to {MAX_FDS}", hint=_UNIT_HINT)
    names = given["FDNAMES"].split(":") if given["FDNAMES"] else []
    count = int(given["FDS"])
    names += [""] * (count - len(names))
    return [listening(name, FIRST_FD + index) for index, name in enumerate(names[:count])]


def listening(name: str, descriptor: int) -> Named:
    """A descriptor as a listening socket, ready for an event loop.

    Raises:
        StartError: it is none.
    """
    what = f"file descriptor {descriptor} ({name or 'without a name'}), which was handed over,"
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartError(f"{what} is no socket: {error.strerror}", hint=_UNIT_HINT) from error
    is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
    if not is_tcp or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()  # it may be anything, and somebody's
        raise StartError(f"{what} is no listening TCP socket", hint=_UNIT_HINT)
    os.set_inheritable(descriptor, False)
    sock.setblocking(False)
    return Named(name, sock)


def _is_for(named: Named, name: str, bind_address: str) -> bool:
    """Whether the settings describe this very socket: they say who can connect, not whoever hands it over."""
    if named.name in NAMES and named.name != name:
        return False
    host, port = parse_host_port(bind_address)
    at, listens_at = named.address
    if port != listens_at:
        return not port and named.name == name
    if normal_host(host) in ("", "::"):
        return at in ("0.0.0.0", "::")  # noqa: S104  # compared, not bound
    if host == "localhost":
        return at in ("127.0.0.1", "::1")
    return at == normal_host(host)


_UNIT_HINT = "socket units need ListenStream=ADDRESS:PORT and Accept=no; see docs/howto-operator.md"
