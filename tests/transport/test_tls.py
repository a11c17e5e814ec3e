"""transport/tls: contexts, early checks of files, names and pins."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from eps.core.certificate import fingerprint
from eps.core.event import Refused
from eps.core.names import Operator
from eps.errors import StartError, TlsFailed
from eps.pki import Authority
from eps.transport import tls
from eps.transport.credentials import about_key_file
from eps.transport.handshakes import plain_reason
from eps.transport.listener import Listener
from eps.transport.tls import TlsFiles, client_context, examine, identify, server_context
from support.testing import Events, certificates, socket_pair, tls_files

DAY = timedelta(days=1)


def der(name: str) -> bytes:
    return certificates().issued(name).certificate.public_bytes(Encoding.DER)


# --- who a certificate is ---


def test_names_are_the_common_name_then_the_dns_names() -> None:
    assert tls.certificate_names(der("hd-1")) == ["hd-1", "*.hd-1.local"]


def test_a_certificate_without_dns_names_has_its_common_name() -> None:
    bare = certificates().authority.issue_tls("bare", dns=[]).certificate.public_bytes(Encoding.DER)
    assert tls.certificate_names(bare) == ["bare"]


def test_a_certificate_that_can_not_be_read_is_a_tls_failure() -> None:
    with pytest.raises(TlsFailed, match="can't be read"):
        tls.certificate_names(b"nonsense")
    leaf = certificates().authority.issue_tls("a").certificate.public_bytes(Encoding.DER)
    for good, bad in ((b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"), (b"\x55\x04\x03\x0c", b"\x55\x04\x03\x03")):
        assert good in leaf  # a version that does not exist; a name that is a bit string
        with pytest.raises(TlsFailed, match="can't be read"):
            tls.certificate_names(leaf.replace(good, bad))


def test_a_peer_is_every_name_that_pins_its_leaf() -> None:
    leaf = certificates().authority.issue_tls("a", dns=["b", "c", "a"]).certificate.public_bytes(Encoding.DER)
    mark = fingerprint(leaf)
    pinned = {Operator("c"): frozenset([mark]), Operator("a"): frozenset([mark, "0" * 64])}
    identity = identify(leaf, lambda name: frozenset(pinned.get(name, frozenset())))  # type: ignore[arg-type]
    assert identity == tls.PeerIdentity((Operator("a"), Operator("c")), mark)


def test_a_certificate_that_nobody_pins_is_nobody() -> None:
    with pytest.raises(TlsFailed, match=r"none of its names \(hd-1, \*\.hd-1\.local\)") as caught:
        identify(der("hd-1-alt"), certificates().pins("hd-1"))
    assert caught.value.outcome == "not_sent"
    assert caught.value.stage == "tls"


def test_another_operators_pin_does_not_help() -> None:
    pins = certificates().pins("hd-1")
    with pytest.raises(TlsFailed):
        identify(der("hd-2"), lambda name: pins(Operator("hd-1")))


def test_long_lists_of_names_are_cut() -> None:
    assert tls.shown(["a", "b", "c"], most=2) == "a, b, …"
    assert tls.shown([]) == "no name"


# --- files ---


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """Settings whose three files are copies that a test may spoil."""
    own = tls_files("hd-1")
    copies = {}
    for name, source in {
        "ca.crt": own.ca_certificate_files[0],
        "own.crt": own.certificate_file,
        "own.key": own.key_file,
    }.items():
        (tmp_path / name).write_bytes(Path(source).read_bytes())
        copies[name] = str(tmp_path / name)
    return TlsFiles((copies["ca.crt"],), copies["own.crt"], copies["own.key"])


Spoil = Callable[[TlsFiles], TlsFiles | None]


def _write(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


def _expired(files: TlsFiles) -> None:
    now = datetime.now(UTC)
    issued = certificates().authority.issue_tls("hd-1", not_before=now - 3 * DAY, not_after=now - DAY)
    _write(files.certificate_file, issued.cert_pem)
    _write(files.key_file, issued.key_pem)


def _future(files: TlsFiles) -> None:
    now = datetime.now(UTC)
    issued = certificates().authority.issue_tls("hd-1", not_before=now + DAY, not_after=now + 2 * DAY)
    _write(files.certificate_file, issued.cert_pem)
    _write(files.key_file, issued.key_pem)


def _encrypted(files: TlsFiles) -> None:
    key = load_pem_private_key(Path(files.key_file).read_bytes(), None)
    secret = BestAvailableEncryption(b"secret")
    _write(files.key_file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))


def _old_authority(files: TlsFiles) -> None:
    old = Authority.create(fast=True, now=datetime.now(UTC) - 5000 * DAY)
    _write(files.ca_certificate_files[0], old.root_pem)


BAD_FILES: dict[str, tuple[Spoil, str]] = {
    "missing certificate": (lambda f: replace(f, certificate_file="/nowhere/x.crt"), r"/nowhere/x\.crt: no such file"),
    "missing key": (lambda f: replace(f, key_file="/nowhere/x.key"), r"/nowhere/x\.key: no such file"),
    "missing authority": (lambda f: replace(f, ca_certificate_files=("/nowhere/ca",)), "/nowhere/ca: no such file"),
    "a folder": (lambda f: replace(f, key_file=str(Path(f.key_file).parent)), "can't be read: Is a directory"),
    "no key named": (lambda f: replace(f, key_file=""), r"own\.crt: no key file"),
    "no authority named": (lambda f: replace(f, ca_certificate_files=()), "tls.ca_certificate_files"),
    "certificate is no certificate": (lambda f: _write(f.certificate_file, b"x"), r"own\.crt: holds no certificate"),
    "authority is none": (lambda f: _write(f.ca_certificate_files[0], b""), r"ca\.crt: holds no certificate"),
    "key is no key": (lambda f: _write(f.key_file, b"x"), r"own\.key: holds no private key"),
    "encrypted key": (_encrypted, r"own\.key: the key is encrypted"),
    "another's key": (lambda f: replace(f, key_file=tls_files("hd-2").key_file), r"hd-2\.key: the key does not fit"),
    "expired": (_expired, r"own\.crt: the certificate of hd-1 has expired on 20"),
    "not valid yet": (_future, "is not valid before 20.*clock"),
    "expired authority": (_old_authority, r"every certificate authority has expired: .*ca\.crt on 20"),
}


@pytest.mark.parametrize("case", BAD_FILES)
@pytest.mark.parametrize("make", [server_context, client_context])
def test_bad_files_are_found_before_the_first_connection(
    files: TlsFiles, case: str, make: Callable[[TlsFiles], ssl.SSLContext]
) -> None:
    spoil, message = BAD_FILES[case]
    spoiled = spoil(files) or files
    with pytest.raises(StartError, match=f"(?s){message}") as caught:
        make(spoiled)
    assert caught.value.hint
    assert caught.value.step == "tls"


def test_a_server_needs_a_certificate() -> None:
    with pytest.raises(StartError, match="certificate_file"):
        server_context(TlsFiles(("ca.crt",)))


def test_one_expired_authority_among_good_ones_is_fine(files: TlsFiles, tmp_path: Path) -> None:
    old = tmp_path / "old.crt"
    old.write_bytes(Authority.create(fast=True, now=datetime.now(UTC) - 5000 * DAY).root_pem)
    server_context(replace(files, ca_certificate_files=(str(old), files.ca_certificate_files[0])))


def test_what_a_context_allows(files: TlsFiles) -> None:
    server = server_context(files, ["h2"])
    assert server.minimum_version == ssl.TLSVersion.TLSv1_2
    assert server.verify_mode == ssl.CERT_REQUIRED
    assert server.num_tickets == 0
    old = [cipher["name"] for cipher in server.get_ciphers() if cipher["protocol"] == "TLSv1.2"]
    assert old
    assert all("ECDHE" in name and "GCM" in name for name in old)
    assert server_context(replace(files, verify_client=False)).verify_mode == ssl.CERT_NONE
    asking = server_context(replace(files, verify_client=False, request_client_cert=True))
    assert asking.verify_mode == ssl.CERT_OPTIONAL
    assert client_context(files).check_hostname
    without_check = client_context(TlsFiles(insecure_skip_verify=True))
    assert without_check.verify_mode == ssl.CERT_NONE
    # Where we are the server, insecure_skip_verify means nothing.
    assert server_context(replace(files, insecure_skip_verify=True)).verify_mode == ssl.CERT_REQUIRED


# --- handshakes ---

Sessions = asyncio.Queue[ssl.SSLObject]


class Hello(asyncio.Protocol):
    """Says hello to everyone who gets through."""

    def __init__(self, seen: Sessions) -> None:
        self.seen = seen
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.seen.put_nowait(transport.get_extra_info("ssl_object"))
        transport.write(b"hello")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


@asynccontextmanager
async def server(context: ssl.SSLContext, events: Events | None = None) -> AsyncIterator[tuple[int, Sessions]]:
    """A TLS server, its port and the sessions that came up."""
    seen: Sessions = asyncio.Queue()
    connections: list[Hello] = []

    def protocol() -> Hello:
        connections.append(Hello(seen))
        return connections[-1]

    async def connected(accepted: socket.socket) -> None:
        await tls.accept_tls(protocol, accepted, context, timeout=5)

    listener = Listener("tls", "127.0.0.1:0", connected, emit=events or Events())
    await listener.start()
    try:
        yield listener.addresses[0][1], seen
    finally:
        await listener.close()
        for each in connections:
            if hasattr(each, "transport"):
                each.transport.abort()
                await each.lost


async def hello(port: int, context: ssl.SSLContext, name: str) -> ssl.SSLObject:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        assert await reader.readexactly(5) == b"hello"
        session: ssl.SSLObject = writer.get_extra_info("ssl_object")
        return session
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def refused(call: Awaitable[object]) -> str:
    with pytest.raises((OSError, asyncio.IncompleteReadError)) as caught:
        await call
    return plain_reason(caught.value)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_sides_see_the_others_leaf(version: ssl.TLSVersion) -> None:
    async with server(server_context(tls_files("hd-2"), ["h2"])) as (port, seen):
        dialling = client_context(tls_files("hd-1"), ["h2"])
        dialling.maximum_version = version
        ours = await hello(port, dialling, "hd-2")
        theirs = await seen.get()
        assert tls.peer_certificate(ours) == der("hd-2")
        assert tls.peer_certificate(theirs) == der("hd-1")
        assert ours.selected_alpn_protocol() == "h2"


async def test_a_peer_without_alpn_is_accepted() -> None:
    async with server(server_context(tls_files("hd-2"), ["h2"])) as (port, _):
        session = await hello(port, client_context(tls_files("hd-1")), "hd-2")
        assert session.selected_alpn_protocol() is None


async def test_no_session_is_resumed() -> None:
    """A resumed session would bring the certificate of the first one, past a changed pin."""
    async with server(server_context(tls_files("hd-2"))) as (port, seen):
        dialling = client_context(tls_files("hd-1"))
        for _ in range(2):
            session = await hello(port, dialling, "hd-2")
            assert not (await seen.get()).session_reused
            assert not session.session_reused


async def test_another_name_is_refused() -> None:
    async with server(server_context(tls_files("hd-2"))) as (port, _):
        reason = await refused(hello(port, client_context(tls_files("hd-1")), "hd-3"))
        assert reason == "its certificate does not carry the name that we dialled"


async def test_without_verification_the_leaf_is_there_to_be_pinned() -> None:
    async with server(server_context(tls_files("hd-2"))) as (port, _):
        session = await hello(port, client_context(tls_files("hd-1", insecure_skip_verify=True)), "whatever")
        assert tls.peer_certificate(session) == der("hd-2")


async def test_a_client_without_a_certificate_is_refused() -> None:
    async with server(server_context(tls_files("hd-2"))) as (port, seen):
        nobody = client_context(replace(tls_files("hd-1"), certificate_file="", key_file=""))
        assert await refused(hello(port, nobody, "hd-2")) == "it requires a client certificate and we have none"
        assert seen.empty()


async def test_a_client_from_another_authority_is_refused(tmp_path: Path) -> None:
    stranger = Authority.create(fast=True).issue_tls("hd-1")
    certificate, key = stranger.write(tmp_path, "hd-1")
    files = replace(tls_files("hd-1"), certificate_file=str(certificate), key_file=str(key))
    async with server(server_context(tls_files("hd-2"))) as (port, seen):
        assert "authority" in await refused(hello(port, client_context(files), "hd-2"))
        assert seen.empty()


async def test_the_server_knows_why_too() -> None:
    events = Events()
    async with server(server_context(tls_files("hd-2")), events) as (port, _):
        nobody = client_context(replace(tls_files("hd-1"), certificate_file="", key_file=""))
        await refused(hello(port, nobody, "hd-2"))
        event = await events.wait_for(Refused)
        assert (event.why, event.detail, event.source) == ("tls", "it showed no certificate", "127.0.0.1")


async def test_what_is_no_tls_is_refused() -> None:
    events = Events()
    async with server(server_context(tls_files("hd-2")), events) as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        event = await events.wait_for(Refused)
        assert event.detail == "it sent plain HTTP to a TLS port"
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_a_handshake_has_a_deadline() -> None:
    ours, theirs = socket_pair()
    with ours, pytest.raises(TlsFailed, match="took too long"):
        await tls.accept_tls(asyncio.Protocol, theirs, server_context(tls_files("hd-2")), timeout=0.05)
    assert theirs.fileno() == -1


async def test_alerts_go_to_their_own_socket_only() -> None:
    """What runs in the context of an accepted connection, a tunnel's handshake say, must not write into it."""
    context = server_context(tls_files("hd-2"))
    inner: asyncio.Queue[bytes] = asyncio.Queue()

    class Nested(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.task = asyncio.create_task(self.fail_a_handshake())  # inherits the accepted connection's context

        async def fail_a_handshake(self) -> None:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            session = context.wrap_bio(incoming, outgoing, server_side=True)
            stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            stranger.maximum_version = ssl.TLSVersion.TLSv1_2
            stranger.set_ciphers("ECDHE+CHACHA20")  # which the server does not have
            with pytest.raises(ssl.SSLWantReadError):
                stranger.wrap_bio(ssl.MemoryBIO(), incoming, server_hostname="hd-2").do_handshake()
            with pytest.raises(ssl.SSLError):
                session.do_handshake()
            inner.put_nowait(outgoing.read())

    ours, theirs = socket_pair()
    accepting = asyncio.create_task(tls.accept_tls(Nested, theirs, context, timeout=5))
    _, writer = await asyncio.open_connection(sock=ours, ssl=client_context(tls_files("hd-1")), server_hostname="hd-2")
    assert await inner.get()  # the alert stayed where it was made
    transport = await accepting
    assert isinstance(transport, asyncio.Transport)
    transport.abort()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def test_a_server_from_another_authority_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    other.write_bytes(Authority.create(fast=True).root_pem)
    files = replace(tls_files("hd-1"), ca_certificate_files=(str(other),))
    async with server(server_context(tls_files("hd-2"))) as (port, _):
        reason = await refused(hello(port, client_context(files), "hd-2"))
        assert reason == "its certificate is not from one of our ca_certificate_files"


@pytest.mark.parametrize("lists_intermediate", [True, False])
async def test_a_leaf_alone_is_taken_by_who_lists_its_intermediate(tmp_path: Path, lists_intermediate: bool) -> None:
    """So a start says that the others refuse it, and goes on."""
    issued = certificates().issued("hd-2")
    leaf, authorities = tmp_path / "leaf.crt", tmp_path / "authorities.crt"
    leaf.write_bytes(issued.leaf_pem)
    authority = certificates().authority
    authorities.write_bytes(authority.root_pem + authority.intermediate_pem * lists_intermediate)
    client = client_context(replace(tls_files("hd-1"), ca_certificate_files=(str(authorities),)))
    async with server(server_context(replace(tls_files("hd-2"), certificate_file=str(leaf)))) as (port, _):
        if lists_intermediate:
            await hello(port, client, "hd-2")
        else:
            assert "not from one of our ca_certificate_files" in await refused(hello(port, client, "hd-2"))


async def test_an_intermediate_may_be_what_is_trusted(tmp_path: Path) -> None:
    intermediate = tmp_path / "intermediate.crt"
    intermediate.write_bytes(certificates().authority.intermediate_pem)
    files = replace(tls_files("hd-1"), ca_certificate_files=(str(intermediate),))
    async with server(server_context(tls_files("hd-2"))) as (port, _):
        await hello(port, client_context(files), "hd-2")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError(), "the TLS handshake took too long"),
        (ConnectionResetError(), "the connection was closed during the TLS handshake"),
        (EOFError(), "the connection was closed during the TLS handshake"),
        (OSError("broken"), "broken"),
        (ValueError(), "for a reason that is not known"),
        (OSError(113, "No route to host"), "No route to host"),
        (ssl.SSLError(1, "odd"), "odd"),
    ],
)
def test_reasons_are_plain(error: Exception, reason: str) -> None:
    assert reason in plain_reason(error)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (0o644, "every user of this machine may read this private key (mode 0644)"),
        (0o602, "every user of this machine may use or change this private key (mode 0602)"),
        (0o660, "a group may use or change this private key (mode 0660)"),
        (0o640, ""),
        (0o600, ""),
        (0o400, ""),
    ],
    ids=["644", "602", "660", "640", "600", "400"],
)
def test_a_private_key_that_others_may_read_is_a_warning(files: TlsFiles, mode: int, said: str) -> None:
    os.chmod(files.key_file, mode)
    doubts = examine(files, server=True, now=datetime.now(UTC))
    assert [doubt.text for doubt in doubts] == ([f"{files.key_file}: {said}"] if said else [])
    assert not any(doubt.fatal for doubt in doubts)
    server_context(files)


def test_of_a_key_file_that_is_missing_something_else_is_said(tmp_path: Path) -> None:
    assert list(about_key_file(str(tmp_path / "none"))) == []
