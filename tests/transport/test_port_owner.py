"""Which program has a port."""

import os
import socket
from pathlib import Path

from eps.transport.port_owner import owner_of


def test_a_program_that_listens_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert owner_of(port).endswith(f" (process {os.getpid()})")
    assert owner_of(port) == ""


def test_where_the_system_does_not_tell_nobody_is_named(tmp_path: Path) -> None:
    assert owner_of(80, tmp_path) == ""
    (tmp_path / "net").mkdir()
    listening = "  0: 0100007F:0050 00000000:0000 0A 0:0 0:0 0 0 0 4711 1\n"
    (tmp_path / "net" / "tcp").write_text("  sl  local_address ...\n" + listening)
    assert owner_of(80, tmp_path) == ""
    (tmp_path / "7" / "fd").mkdir(parents=True)
    (tmp_path / "7" / "fd" / "3").symlink_to("socket:[4711]")
    assert owner_of(80, tmp_path) == "", "it has gone meanwhile"
    (tmp_path / "7" / "comm").write_text("nginx\n")
    assert owner_of(80, tmp_path) == "nginx (process 7)"
    assert owner_of(81, tmp_path) == ""
    (tmp_path / "7" / "comm").write_bytes(b"x\x1b[2J\nok\xff\n")  # a program calls itself what it likes
    assert owner_of(80, tmp_path) == "x\\x1b[2J\\nok\N{REPLACEMENT CHARACTER} (process 7)"


def test_not_every_process_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text("head\n  0: 0100007F:0050 00000000:0000 0A 0:0 0:0 0 0 0 4711 1\n")
    for number in ("1", "2", "3"):
        (tmp_path / number / "fd").mkdir(parents=True)
    assert owner_of(80, tmp_path, most=2) == ""
