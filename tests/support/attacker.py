"""Somebody who attacks a port of this machine again and again, in a process of its own.

async with Attacker("PING", machine.ports.of[8888], machine.dev / "certs") as attacker:
    ...                              # what honest calls fare
    assert await attacker.rounds() > 0
"""

import asyncio
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from cryptography import x509
from h2.config import H2Configuration
from h2.connection import H2Connection
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from eps.core.certificate import fingerprint_of
from eps.core.names import Operator
from eps.grpc import eps_pb2 as pb
from eps.grpc.connection import ClientConnection
from eps.transport.dial import connect
from eps.transport.tls import TlsFiles, client_context

FRAMES: dict[str, Callable[[], bytes]] = {
    "RST_STREAM": lambda: RstStreamFrame(3).serialize(),
    "PING": lambda: PingFrame(0, b"12345678").serialize(),
    "SETTINGS": lambda: SettingsFrame(0).serialize(),
    "PRIORITY": lambda: PriorityFrame(3, depends_on=0, stream_weight=1).serialize(),
    "GOAWAY": lambda: GoAwayFrame(0, last_stream_id=0, additional_data=b"bye").serialize(),
    "empty DATA": lambda: DataFrame(1, b"").serialize(),
    "tiny DATA": lambda: DataFrame(1, b"\0").serialize(),
    "WINDOW_UPDATE": lambda: WindowUpdateFrame(0, window_increment=1).serialize(),
    "unknown": lambda: b"\0\0\x02\xfa\0" + bytes(4) + b"hi",
}
"""HTTP/2 frames that are harmless, one by one."""

WIDTH = 4
"""Attacks at a time."""

NICE = 5
"""An attacker has processors of its own; here it shares those of whom it attacks, and gets a smaller part of them."""

SECONDS = 8.0
WAIT_SECONDS = 60.0
OPERATOR = "private-proxy-1.ga"
"""Whose certificate the attacker has: one that the directory pins."""

_MIB = 2**20


class Attacker:
    """Attacks for some seconds.

    Args:
        kind: one of :data:`KINDS`.
        certs: the folder of the certificates.
    """

    def __init__(self, kind: str, port: int, certs: Path) -> None:
        self._arguments = (kind, str(port), str(certs))
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Attacker":
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, *self._arguments, stdout=asyncio.subprocess.PIPE
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def rounds(self) -> int:
        """Wait for the end; how many attacks there were."""
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_SECONDS):
            return int(await self._process.stdout.readline())


class Target:
    """What is attacked."""

    def __init__(self, port: int, certs: Path) -> None:
        self.port = port
        self.certs = certs

    def context(self, alpn: str, certificate: str = OPERATOR) -> ssl.SSLContext:
        own = (str(self.certs / f"{certificate}.crt"), str(self.certs / f"{certificate}.key"))
        return client_context(TlsFiles((str(self.certs / "root.crt"),), *own, insecure_skip_verify=True), [alpn])

    async def opened(self, context: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)


async def frames(target: Target, kind: str) -> None:
    """Send frames until the connection is cut."""
    _, writer = await target.opened(target.context("h2"))
    h2 = H2Connection(H2Configuration(client_side=True))
    h2.initiate_connection()
    h2.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":path", "/EPS/Call"), (":authority", "hd-1"),
                        ("te", "trailers"), ("content-type", "application/grpc")])  # fmt: skip
    h2.send_data(1, b"\0\0\x30\0\0")  # a message of 3 MiB, to dribble
    writer.write(h2.data_to_send())
    try:
        while True:
            writer.write(FRAMES[kind]() * 50)
            await writer.drain()
            await asyncio.sleep(0)
    finally:
        writer.transport.abort()


async def large_call(target: Target, _kind: str) -> None:
    """4 MB of ``{}``, which a peer may not call us with."""
    leaf = x509.load_pem_x509_certificates((target.certs / "hd-1.crt").read_bytes())[0]
    connection = await ClientConnection.open(
        await connect(f"localhost:{target.port}", WAIT_SECONDS),
        operator=Operator("hd-1"),
        context=target.context("h2"),
        pins=lambda _: frozenset([fingerprint_of(leaf)]),
        timeout=WAIT_SECONDS,
    )
    params = b"\x0a\x02\x2a\x00" * (_MIB - 99)
    request = pb.Request(method="hd-1.forbidden", id="hd-1.forbidden(1)", clientName=OPERATOR, params=params)
    try:
        await connection.call(request, WAIT_SECONDS)
    finally:
        connection.abort("it was refused")
        await connection.closed


async def large_request(target: Target, _kind: str) -> None:
    """4 MB of ``{}`` by JSON-RPC, to an operator that doesn't let us call."""
    params = b'{"a":[' + b"{}," * (_MIB * 4 // 3 - 99) + b"{}]}"
    await _posted(target, "hd-1", b'{"jsonrpc":"2.0","id":"1","method":"hd-2.forbidden","params":' + params + b"}")


async def bomb(target: Target, _kind: str) -> None:
    """60 MiB of ``{}`` for a service directory."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"submitRecords","params":{"records":[' + b"{}," * (20 * _MIB) + b"{}]}}"
    await _posted(target, "hd-2", body)


async def _posted(target: Target, certificate: str, body: bytes) -> None:
    reader, writer = await target.opened(target.context("http/1.1", certificate))
    head = f"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
    try:
        while await reader.read(_MIB):
            pass
    finally:
        writer.transport.abort()


async def handshake(target: Target, _kind: str) -> None:
    """A whole one, and the end."""
    _, writer = await target.opened(target.context("h2"))
    writer.transport.abort()


async def knock(target: Target, _kind: str) -> None:
    """What makes a server say something in its log."""
    reader, writer = await target.opened()
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    try:
        await reader.read()
    finally:
        writer.transport.abort()


Attack = Callable[[Target, str], Awaitable[None]]
AT_GRPC: dict[str, Attack] = {
    **dict.fromkeys(FRAMES, frames), "large calls": large_call, "handshakes": handshake, "knocks": knock
}  # fmt: skip
AT_JSONRPC: dict[str, Attack] = {"large requests": large_request, "HTTPS handshakes": handshake, "HTTPS knocks": knock}
AT_SD: dict[str, Attack] = {"bombs": bomb}
KINDS: dict[str, Attack] = {**AT_GRPC, **AT_JSONRPC, **AT_SD}


async def main(kind: str, port: int, certs: Path) -> int:
    """Attack; how many rounds there were."""
    ends, done = time.monotonic() + SECONDS, 0

    async def again_and_again() -> None:
        nonlocal done
        while time.monotonic() < ends:
            with suppress(Exception):  # what comes of it is the server's business
                async with asyncio.timeout(WAIT_SECONDS / 2):
                    await KINDS[kind](Target(port, certs), kind)
            done += 1

    await asyncio.gather(*(again_and_again() for _ in range(WIDTH)))
    return done


if __name__ == "__main__":
    os.nice(NICE)
    print(asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))), flush=True)
