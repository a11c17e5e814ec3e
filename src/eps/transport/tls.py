"""TLS contexts, and who a peer is: chain, then pin (PROTOCOL.md sections 3 and 5).

The chain is OpenSSL's matter, checked in the handshake. The pin is ours: the SHA-256 of the peer's leaf must stand in
the directory entry of a name of that leaf. This module doesn't know the directory; it is given a function ``pins``.
"""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol, runtime_checkable

from cryptography import x509

from eps.core.age import TOO_OLD_HINT
from eps.core.certificate import Doubt, fingerprint, subject_of
from eps.core.hello_shape import hello_shape, with_session_id_of
from eps.core.names import Fingerprint, Operator, shown
from eps.core.pem import UNREADABLE
from eps.core.recent import Recent
from eps.errors import Stage, StartError, TlsFailed
from eps.reasons import TABLE, Reason
from eps.transport import sessions
from eps.transport.credentials import load_authorities, load_own
from eps.transport.handshakes import plain_reason
from eps.transport.own_clock import OWN_CLOCK

CIPHERS_1_2 = "ECDHE+AESGCM"
"""Where a peer can't speak TLS 1.3: forward secret and authenticated, nothing else (PROTOCOL.md section 3)."""

TLS_CLOSE_SECONDS = 2.0
"""How long the other side may take to acknowledge the end of TLS before the socket is closed anyway."""

MAX_CACHED_CERTIFICATES = 2048
"""Certificates whose names are remembered; at 1–2 KB each a few MB. A network has a few hundred operators."""

WARY_GROUP = "prime256v1"
"""What peers that :func:`asks_again` is for exchange keys on: all of TLS 1.3 can (RFC 8446 section 9.1), but
OpenSSL, and much else, offers another group first, and is asked for this one (HelloRetryRequest, section 4.1.4). That
costs us 20 µs, where an answer that is signed with an RSA key takes 400."""

ASKS_AGAIN = hashlib.sha256(b"HelloRetryRequest").digest()
"""The ``random`` of a ServerHello that only asks for another ClientHello (RFC 8446 section 4.1.3)."""

_KEY_SHARE = b"\0\x17\0\x41\4"
"""How one of that group begins: secp256r1, 65 bytes, an uncompressed point (sections 4.2.8 and 4.2.8.2)."""

REMEMBERED_BYTES = 64 * 1024
"""Of hellos' shapes, each of some 400 bytes, to which the answer is known by heart: every program has one or two."""

_TLS_1_3 = b"\3\4"

Pins = Callable[[Operator], frozenset[Fingerprint]]
"""The ``encryption`` fingerprints of an operator's directory entry; empty for an unknown one."""


@runtime_checkable
class DatedPins(Protocol):
    """Pins that know how old they are."""

    def as_of(self) -> str:
        """In words, for messages; "" if they can't grow old."""
        ...

    def too_old(self) -> str:
        """Why none of them counts, in words; "" while they do."""
        ...


def pin_failure(text: str, hint: str, pins: Pins) -> tuple[str, str]:
    """``text``, about a certificate that is not pinned, with how old the pins are; and what to do about it, which is
    something else than ``hint`` where they don't count for their age."""
    if not isinstance(pins, DatedPins):
        return text, hint
    too_old = pins.too_old()
    age = too_old or pins.as_of()
    return f"{text}; {age}" if age else text, TOO_OLD_HINT if too_old else hint


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The TLS settings, the same everywhere (PROTOCOL.md section 5), with plain values.

    Attributes:
        ca_certificate_files: PEM files; the peer's chain must end in one of their certificates.
        certificate_file: PEM file with our leaf, then its intermediates. Empty for a client without a certificate.
        key_file: PEM file with the leaf's key, unencrypted. Empty if ``certificate_file`` is.
        server_name: where we are the client: the name that the server's certificate must carry, and SNI.
        verify_client: where we are the server: a client certificate from those CAs is required.
        request_client_cert: where we are the server and ``verify_client`` is false: a client may show a certificate;
            one that it shows must be from those CAs.
        insecure_skip_verify: where we are the client: the server's chain and name are not checked. Pins still are.
        allowed_names: which certificate names may call a JSON-RPC server; None: any.
        allowed_fingerprints: which certificates may, of those that the directory doesn't speak for; None: any.
    """

    ca_certificate_files: tuple[str, ...] = ()
    certificate_file: str = ""
    key_file: str = ""
    server_name: str | None = None
    verify_client: bool = True
    request_client_cert: bool = False
    insecure_skip_verify: bool = False
    allowed_names: tuple[str, ...] | None = None
    allowed_fingerprints: tuple[Fingerprint, ...] | None = None


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who is at the other end, proven by chain and pin.

    Attributes:
        names: the operators that pin the peer's leaf, CN first, then in the order of its DNS SANs. Never empty.
        fingerprint: of that leaf.
    """

    names: tuple[Operator, ...]
    fingerprint: Fingerprint


def server_context(files: TlsFiles, alpn: Sequence[str] = (), *, now: datetime | None = None) -> ssl.SSLContext:
    """A context for accepting connections. ``alpn`` is offered; a client that offers none is accepted.

    Args:
        now: the (aware) time at which the files must be valid; default: the present.

    Raises:
        StartError: a file is missing, unreadable, expired or doesn't fit; the message names it and what to do.
    """
    if not files.certificate_file:
        hint = "set tls.certificate_file and tls.key_file"
        raise StartError("a TLS server needs a certificate", hint=hint, stage=Stage.TLS)
    now = now or datetime.now(UTC)
    context, wary = (_loaded(_server(files, alpn), files, now) for _ in range(2))
    wary.set_ecdh_curve(WARY_GROUP)
    context.wary = wary
    return context


def client_context(files: TlsFiles, alpn: Sequence[str] = (), *, now: datetime | None = None) -> ssl.SSLContext:
    """A context for dialling. The caller passes ``server_hostname`` (SNI and the name that is checked).

    With ``insecure_skip_verify`` neither chain nor name is checked; the peer's leaf is available for pinning anyway.

    Args:
        now: as for :func:`server_context`.

    Raises:
        StartError: as :func:`server_context`.
    """
    return _loaded(_client(files, alpn), files, now or datetime.now(UTC))


def examine(files: TlsFiles, *, server: bool, now: datetime) -> tuple[Doubt, ...]:
    """What is wrong or doubtful with files, found by loading them as a start does; only a fatal one prevents it.

    Args:
        server: they are for :func:`server_context`, not :func:`client_context`.
        now: the (aware) time at which they are to work.
    """
    return tuple(_load(_server(files) if server else _client(files), files, now))


async def accept_tls(
    factory: Callable[[], asyncio.BaseProtocol],
    accepted: socket.socket,
    context: ssl.SSLContext,
    *,
    timeout: float,
    said: bytes = b"",
) -> asyncio.BaseTransport:
    """Hand an accepted, non-blocking socket to the protocol that ``factory`` makes, after a TLS handshake.

    asyncio and uvloop drop the alert that says why a handshake failed, so that a refused client sees a connection that
    just ends. Contexts of :func:`server_context` send it, through this function.

    Args:
        timeout: seconds for the handshake.
        said: what :func:`asks_again` gave, and the peer has got already; b"" if it wasn't asked.

    Raises:
        TlsFailed: with the reason in plain words; the socket is closed.
    """
    if said and isinstance(context, sessions.Context):
        context = context.wary or context
    try:
        with sessions.over(accepted, said):
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                factory,
                accepted,
                ssl=context,
                ssl_handshake_timeout=timeout,
                ssl_shutdown_timeout=TLS_CLOSE_SECONDS,
            )
    except OSError as error:  # ssl.SSLError and TimeoutError are such, too
        accepted.close()
        raise TlsFailed(plain_reason(error)) from error
    return transport


def asks_again(context: ssl.SSLContext, hello: bytes) -> bytes:
    """What to answer a ClientHello without a key share for :data:`WARY_GROUP`, before more is known of the peer; b""
    if the handshake goes on at once.

    Next to nothing is spent until the peer has answered once more, which takes it another round trip: whoever sent a
    ClientHello only to have us sign something, and keep it, never does. It can be said before there is a session, since
    there is nothing in it but ciphers and the group.
    """
    if not isinstance(context, sessions.Context) or context.wary is None or _goes_on_at_once(hello):
        return b""
    if context.asked is None:
        context.asked = Recent(REMEMBERED_BYTES, len)
    shape = hello_shape(hello)
    if shape is not None and (remembered := context.asked.get(shape)) is not None:
        return with_session_id_of(hello, remembered)
    said = _asked(context.wary, hello)
    if said and shape is not None:
        context.asked.put(shape, said)
    return said


def _asked(wary: ssl.SSLContext, hello: bytes) -> bytes:
    """By OpenSSL: 60 µs in a program that does much else, five times as long as by heart."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(hello)
    with suppress(ssl.SSLError):
        wary.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    said = outgoing.read()
    return said if ASKS_AGAIN in said else b""


def _goes_on_at_once(hello: bytes) -> bool:
    """Whether a session would begin with a signature, so that trying would cost it twice."""
    return _KEY_SHARE in hello or _TLS_1_3 not in hello


def certificate_names(der: bytes) -> list[str]:
    """The common name, then the DNS SANs, of a certificate in DER form; without repetitions.

    Raises:
        TlsFailed: the certificate can't be read.
    """
    return list(_names(der))


def identify(der: bytes, pins: Pins) -> PeerIdentity:
    """Who shows the leaf ``der``: every name of it whose pins hold its fingerprint (PROTOCOL.md section 3).

    Raises:
        TlsFailed: no name does, or the certificate can't be read.
    """
    names = _names(der)
    mark = fingerprint(der)
    matching = tuple(Operator(name) for name in names if mark in pins(Operator(name)))
    if matching:
        return PeerIdentity(matching, mark)
    text, hint = pin_failure(
        f"the directory pins certificate {mark} for none of its names ({shown(names)})",
        "if the certificate was renewed, submit its fingerprint (key_usage encryption) to the service directory",
        pins,
    )
    raise TlsFailed(text, hint=hint, reason=Reason.PEER_PIN)


def no_longer_pinned(pins: Pins) -> str:
    """Why a connection is cut whose certificate was pinned, and isn't any more."""
    return pin_failure("the directory no longer pins its certificate", "", pins)[0]


def peer_certificate(ssl_object: ssl.SSLObject | ssl.SSLSocket | None) -> bytes | None:
    """The leaf that the peer has shown, DER; None if it showed none, or if the connection has no TLS."""
    return ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None


@lru_cache(MAX_CACHED_CERTIFICATES)
def _names(der: bytes) -> tuple[str, ...]:
    try:
        return subject_of(x509.load_der_x509_certificate(der)).tls_names
    except UNREADABLE as error:
        raise TlsFailed(f"the peer's certificate can't be read: {error}") from error


def _server(files: TlsFiles, alpn: Sequence[str] = ()) -> sessions.Context:
    context = _context(ssl.PROTOCOL_TLS_SERVER, alpn)
    # A resumed session would carry the client's old certificate past a pin that has changed since.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    if files.verify_client:
        context.verify_mode = ssl.CERT_REQUIRED
    elif files.request_client_cert:
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _client(files: TlsFiles, alpn: Sequence[str] = ()) -> sessions.Context:
    context = _context(ssl.PROTOCOL_TLS_CLIENT, alpn)
    if files.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _context(protocol: int, alpn: Sequence[str]) -> sessions.Context:
    context = sessions.Context(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _loaded(context: sessions.Context, files: TlsFiles, now: datetime) -> sessions.Context:
    for doubt in _load(context, files, now):
        if doubt.fatal:
            raise dated(StartError(doubt.text, hint=doubt.hint, stage=Stage.TLS, reason=doubt.reason))
    return context


OF_DATES = frozenset({Reason.OWN_EXPIRED, Reason.OWN_CLOCK})
"""Why our own certificate can't be used: words that a wrong clock brings about, too."""


def dated(error: StartError) -> StartError:
    """The same error; but if it is about a date, and our clock is wrong, that is named first."""
    if error.reason not in OF_DATES or not OWN_CLOCK.off():
        return error
    text = OWN_CLOCK.named_first(error.message)
    return StartError(text, hint=TABLE[Reason.OWN_CLOCK].do, stage=Stage.TLS, reason=Reason.OWN_CLOCK)


def _load(context: ssl.SSLContext, files: TlsFiles, now: datetime) -> Iterator[Doubt]:
    """Load all that ``files`` name, up to what can't be."""
    for doubt in _loading(context, files, now):
        yield doubt
        if doubt.fatal:
            return


def _loading(context: ssl.SSLContext, files: TlsFiles, now: datetime) -> Iterator[Doubt]:
    if files.certificate_file:
        yield from load_own(context, files.certificate_file, files.key_file, now)
    if context.verify_mode != ssl.CERT_NONE:
        yield from load_authorities(context, files.ca_certificate_files, now)
