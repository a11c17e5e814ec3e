"""Sockets that listen already: what systemd says of them, and whose they are."""

import os
import socket
from collections.abc import Iterator

import pytest

from eps.errors import StartError
from eps.transport.inherited import Inherited, Named, from_systemd, listening


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


@pytest.mark.parametrize(
    ("name", "bind_address", "taken"),
    [
        ("", "localhost:{port}", True),
        ("", "127.0.0.1:{port}", True),
        ("eps.socket", "localhost:{port}", True),
        ("grpc", "localhost:{port}", True),
        ("jsonrpc", "localhost:{port}", False),
        ("", ":{port}", False),
        ("", "127.0.0.2:{port}", False),
        ("", "localhost:1", False),
        ("grpc", "localhost:0", True),
        ("", "localhost:0", False),
    ],
)
def test_a_socket_is_for_whom_the_settings_describe(
    sock: socket.socket, name: str, bind_address: str, taken: bool
) -> None:
    inherited = Inherited()
    inherited.adopt([Named(name, sock)])
    assert (inherited.take("grpc", bind_address.format(port=port_of(sock))) == [sock]) is taken
    left = inherited.close_unused()
    assert [one.name for one in left] == ([] if taken else [name])
    assert (sock.fileno() < 0) is not taken


def test_one_for_all_interfaces_is_for_who_listens_at_all() -> None:
    with socket.create_server(("", 0)) as sock:
        inherited = Inherited()
        inherited.adopt([Named("", sock)])
        assert inherited.take("grpc", f"localhost:{port_of(sock)}") == []
        assert inherited.take("grpc", f":{port_of(sock)}") == [sock]


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "8"}, {"LISTEN_FDS": "0", "LISTEN_PID": "7"}],
    ids=["none", "no process", "another's", "no socket"],
)
def test_what_is_not_for_us_is_let_be(environment: dict[str, str]) -> None:
    assert from_systemd(environment, 7) == []
    assert not environment


@pytest.mark.parametrize("count", ["many", "-1", "65", "²"])
def test_a_count_that_cannot_be_is_refused(count: str) -> None:
    with pytest.raises(StartError, match="LISTEN_FDS"):
        from_systemd({"LISTEN_FDS": count, "LISTEN_PID": "7"}, 7)


def test_what_does_not_listen_is_refused_and_left_open() -> None:
    first, second = socket.socketpair()
    reader, writer = os.pipe()
    with first, second, socket.socket() as silent:
        for descriptor in (first.fileno(), silent.fileno(), reader):
            with pytest.raises(StartError, match="handed over"):
                listening("grpc", descriptor)
            os.fstat(descriptor)
    os.close(reader)
    os.close(writer)


def test_a_listening_one_is_made_ready(sock: socket.socket) -> None:
    made = listening("grpc", os.dup(sock.fileno()))
    assert not made.sock.getblocking()
    assert not made.sock.get_inheritable()
    assert str(made) == f"127.0.0.1:{port_of(sock)}"
    made.sock.close()
