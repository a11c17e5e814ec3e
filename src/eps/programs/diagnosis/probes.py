"""Questions to a network, each with a deadline: how far is HOST:PORT reached, and what time is it there?

Nothing that is learned here is believed: TLS is not verified, so that a wrong clock or authority doesn't keep a doctor
from seeing what is behind it. Whether a certificate is good, the programs' own clients judge.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from eps.core.host_port import address_of, parse_host_port
from eps.core.jsonrpc_text import render_request
from eps.errors import EpsError, Stage, TlsFailed, Unreachable
from eps.programs.diagnosis.finding import Failure
from eps.transport.dial import connect, explain, resolve
from eps.transport.tls import TlsFiles, plain_reason

PROBE_SECONDS = 5.0
"""For one address: name, connection, TLS, an answer. A healthy one takes some round trips."""

DATE = "%a, %d %b %Y %H:%M:%S GMT"
"""As servers write it (RFC 9110, section 5.6.7)."""

MAX_HEAD_BYTES = 16 * 1024
"""Of an HTTP answer, in which a Date is looked for."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is dialled.

    Attributes:
        address: HOST:PORT.
        who: is expected there, for messages.
        files: TLS files of ours, whose certificate is shown; None: no TLS.
        server_name: for SNI.
        path: where a question by HTTP is posted; "": none is asked.
        alpn: protocols that are offered.
        proxy_url: an HTTP proxy on the way.
    """

    address: str
    who: str
    files: TlsFiles | None = None
    server_name: str = ""
    path: str = ""
    alpn: tuple[str, ...] = ()
    proxy_url: str | None = None

    @classmethod
    def of_url(cls, url: str, who: str, files: TlsFiles, server_name: str | None, proxy_url: str | None) -> "Target":
        """A JSON-RPC server, that is asked something.

        Args:
            files: that count where the URL says https.
            server_name: empty: the URL's host.
        """
        parts = urlsplit(url)
        secure = files if parts.scheme == "https" else None
        name = server_name or parts.hostname or ""
        return cls(address_of(url), who, secure, name, parts.path or "/", proxy_url=proxy_url)


@dataclass(frozen=True, slots=True)
class Reached:
    """How far it went.

    Attributes:
        stages: what was done, with the seconds that each took: ``DNS``, ``TCP``, ``TLS``, ``HTTP``.
        failure: why it went no further.
        ahead: seconds by which our clock is ahead of theirs; None: they told no time.
    """

    target: Target
    stages: tuple[tuple[str, float], ...]
    failure: Failure | None = None
    ahead: float | None = None

    def times(self) -> str:
        """For people."""
        return ", ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in self.stages)


@dataclass(slots=True)
class _Stages:
    done: list[tuple[str, float]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def end(self, name: str) -> None:
        now = time.monotonic()
        self.done.append((name, now - self.began))
        self.began = now


async def reach(target: Target, now: Callable[[], datetime], seconds: float = PROBE_SECONDS) -> Reached:
    """Go as far as ``target`` says; never raises but for cancellation."""
    stages, ahead = _Stages(), None
    try:
        async with asyncio.timeout(seconds):
            ahead = await _reach(target, stages, now)
    except EpsError as error:
        return Reached(target, tuple(stages.done), Failure.of(error))
    except OSError as error:
        stage, text = (Stage.TLS, plain_reason(error)) if len(stages.done) > 1 else (Stage.CALL, explain(error))
        if isinstance(error, TimeoutError) and error.errno is None:
            text = f"no answer within {seconds:g} s"
        kind = TlsFailed if stage is Stage.TLS else Unreachable
        return Reached(target, tuple(stages.done), Failure.of(kind(f"{target.who} at {target.address}: {text}")))
    except (ValueError, TypeError) as error:  # Python's ssl, of a name that can't stand in a ClientHello
        text = f"{target.who} at {target.address}: its name can't be asked for by TLS: {error}"
        return Reached(target, tuple(stages.done), Failure.of(TlsFailed(text)))
    return Reached(target, tuple(stages.done), None, ahead)


async def _reach(target: Target, stages: _Stages, now: Callable[[], datetime]) -> float | None:
    if target.proxy_url is None:
        with suppress(OSError):  # connect, which asks again, says it in words
            await resolve(*parse_host_port(target.address))
            stages.end("DNS")
    sock = await connect(target.address, PROBE_SECONDS, name=target.who, proxy_url=target.proxy_url)
    stages.end("TCP")
    if target.files is None and not target.path:
        sock.close()
        return None
    reader, writer = await _opened(sock, target)
    try:
        if target.files is not None:
            stages.end("TLS")
        return await _hour_there(reader, writer, target, stages, now) if target.path else None
    finally:
        writer.transport.abort()


async def _opened(sock: socket.socket, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        if target.files is None:
            return await asyncio.open_connection(sock=sock, limit=MAX_HEAD_BYTES)
        context = _trusting(target.files, target.alpn)
        name = target.server_name or target.who
        return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name, limit=MAX_HEAD_BYTES)
    except BaseException:  # also when cancelled: nobody else knows the socket
        sock.close()
        raise


def _trusting(files: TlsFiles, alpn: tuple[str, ...]) -> ssl.SSLContext:
    """A context that shows our certificate, and takes any: what is asked is only how far one gets, and how late it
    is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if files.certificate_file:
        with suppress(OSError):  # told by those who load it to use it
            context.load_cert_chain(files.certificate_file, files.key_file, password="")  # none is asked for
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


async def _hour_there(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target: Target,
    stages: _Stages,
    now: Callable[[], datetime],
) -> float | None:
    """Ask anything, and read the Date of the answer (RFC 9110, section 6.6.1)."""
    body = render_request("getTip", {}, "1")
    head = f"POST {target.path} HTTP/1.1\r\nHost: {target.address}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    try:
        answer = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    stages.end("HTTP")
    return ahead_of(answer.decode("latin-1"), now())


def ahead_of(head: str, now: datetime) -> float | None:
    """By how many seconds we are ahead of the Date in an HTTP head, which counts whole ones; None if it has none."""
    fields = (line.partition(":") for line in head.splitlines()[1:])
    date = next((value.strip() for name, _, value in fields if name.strip().lower() == "date"), "")
    try:
        there = datetime.strptime(date, DATE).replace(tzinfo=UTC)
    except ValueError:
        return None
    return (now - there).total_seconds()
