"""Thousands of connections that never say what they want, made in a process of their own: what tests measure is how an
honest client fares beside them, not how fast one Python process does both.

async with Flood("half_hello", port, 3_000) as flood:
    ...                              # connections are being made
    assert await flood.made() > ...  # all of them were tried; they stay open until the end of the block
"""

import asyncio
import os
import resource
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal

from eps.transport.tls import TlsFiles, client_context

Kind = Literal["tcp", "half_hello", "hello", "tls", "half_head", "half_preface"]
"""What a connection does before it says nothing more: nothing; half a ClientHello; a whole one, and never reads the
answer; a TLS handshake; that, and half a request's head; that, and half of HTTP/2's first words."""

THREADS = 8
NICE = 5
"""As in support/attacker.py."""

MADE_SECONDS = 240.0
WAIT_SECONDS = 10.0
_HEAD = {"half_head": b"POST /jsonrpc HTTP/1.1\r\nHost: local", "half_preface": b"PRI * HTTP/2.0\r\n\r"}


class Flood:
    """Silent connections to one port of this machine.

    Args:
        certificate: what ``tls`` and beyond show, without the suffix of its file; "" for none.
        alpn: what they offer.
    """

    def __init__(self, kind: Kind, port: int, count: int, *, certificate: Path | str = "", alpn: str = "") -> None:
        self._arguments = (kind, str(port), str(count), str(certificate), alpn)
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Flood":
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        await self._line(WAIT_SECONDS)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def made(self) -> int:
        """Wait until each was tried; how many came about, at least as far as the client could tell."""
        return int(await self._line(MADE_SECONDS))

    async def _line(self, seconds: float) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            line = await self._process.stdout.readline()
        assert line, "the flood has ended by itself"
        return line.decode()


def _silent(kind: str, port: int, context: ssl.SSLContext) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), WAIT_SECONDS)
    if kind in ("half_hello", "hello"):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with suppress(ssl.SSLWantReadError):
            context.wrap_bio(incoming, outgoing).do_handshake()
        hello = outgoing.read()
        sock.sendall(hello if kind == "hello" else hello[: len(hello) // 2])
    elif kind != "tcp":
        over_tls = context.wrap_socket(sock)  # takes the descriptor
        over_tls.sendall(_HEAD.get(kind, b""))
        return socket.socket(fileno=over_tls.detach())  # the session's memory is not needed any more
    return sock


def _client(certificate: str, alpn: str) -> ssl.SSLContext:
    files = TlsFiles((), *(certificate + end for end in (".crt", ".key")), insecure_skip_verify=True)
    return client_context(files if certificate else TlsFiles(insecure_skip_verify=True), [alpn] if alpn else [])


def _work(make: Callable[[], socket.socket], left: list[int], made: list[socket.socket]) -> None:
    while left:
        with suppress(IndexError, OSError):
            left.pop()
            made.append(make())


def main(kind: str, port: int, count: int, certificate: str, alpn: str) -> None:
    """Make the connections, and keep them until standard input ends or somebody kills us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = _client(certificate, alpn)
    left, made = list(range(count)), list[socket.socket]()
    print("begun", flush=True)
    threads = [
        threading.Thread(target=_work, args=(lambda: _silent(kind, port, context), left, made), daemon=True)
        for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(made), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    os.nice(NICE)
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
