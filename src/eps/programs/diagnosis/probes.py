"""Questions to a network, each with a deadline: how far is HOST:PORT reached, and what time is it there?

Nothing that is learned here is believed: TLS is not verified, so that a wrong clock or authority doesn't keep a doctor
from seeing what is behind it. Whether a certificate is good, the programs' own clients judge.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from cryptography import x509

from eps.core.certificate import subject_of
from eps.core.clock import ahead_of
from eps.core.host_port import address_of, parse_host_port
from eps.core.pem import UNREADABLE
from eps.core.told import quoted
from eps.errors import EpsError, Stage, TlsFailed, Unreachable
from eps.jsonrpc.hour import hour_there, opened, trusting
from eps.programs.diagnosis.finding import Failure
from eps.transport.dial import connect, explain, resolve
from eps.transport.handshakes import plain_reason
from eps.transport.tls import TlsFiles

PROBE_SECONDS = 5.0
"""For one address: name, connection, TLS, an answer. A healthy one takes some round trips."""


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
        shown: names in the certificate that was shown; whoever showed it may have put them there.
    """

    target: Target
    stages: tuple[tuple[str, float], ...]
    failure: Failure | None = None
    ahead: float | None = None
    shown: str = ""

    def times(self) -> str:
        """For people."""
        return ", ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in self.stages)


@dataclass(slots=True)
class _Stages:
    done: list[tuple[str, float]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    shown: str = ""

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
        return Reached(target, tuple(stages.done), Failure.of(error), shown=stages.shown)
    except OSError as error:
        stage, text = (Stage.TLS, plain_reason(error)) if len(stages.done) > 1 else (Stage.CALL, explain(error))
        if isinstance(error, TimeoutError) and error.errno is None:
            text = f"no answer within {seconds:g} s"
        kind = TlsFailed if stage is Stage.TLS else Unreachable
        failure = Failure.of(kind(f"{target.who} at {target.address}: {text}"))
        return Reached(target, tuple(stages.done), failure, shown=stages.shown)
    except (ValueError, TypeError) as error:  # Python's ssl, of a name that can't stand in a ClientHello
        text = f"{target.who} at {target.address}: its name can't be asked for by TLS: {error}"
        return Reached(target, tuple(stages.done), Failure.of(TlsFailed(text)))
    return Reached(target, tuple(stages.done), None, ahead, stages.shown)


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
    context = trusting(target.files, target.alpn) if target.files is not None else None
    reader, writer = await opened(sock, context, target.server_name or target.who)
    if target.files is not None:
        stages.end("TLS")
        stages.shown = names_shown(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    if not target.path:
        writer.transport.abort()
        return None
    date = await hour_there(reader, writer, target.address, target.path)
    stages.end("HTTP")
    return ahead_of(date, now())


def names_shown(certificate: bytes | None) -> str:
    """The first names in a certificate, as text that does no harm; "" where none can be read."""
    try:
        subject = subject_of(x509.load_der_x509_certificate(certificate or b""))
    except UNREADABLE:
        return ""
    return quoted(", ".join(subject.tls_names[:3]))
