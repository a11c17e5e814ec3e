"""TLS with an EPS server: whose it must prove to be, what it is shown, renewals, an HTTP proxy between."""

import asyncio
import os
import shutil
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from eps.client import Endpoint, Policy, SetupError, Unreachable, credentials
from eps.client.connection import keep_seconds
from support.clients import KINDS, Caller
from support.connect_proxy import ConnectProxy
from support.scripted import Line, Scripted, echo
from support.testing import certificates

ONCE = Policy(attempts=1)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def server_context(name: str = "hd-1") -> ssl.SSLContext:
    files = certificates().tls_files(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate_file, files.key_file)
    context.load_verify_locations(str(certificates().root_file))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def endpoint(url: str, **more: str) -> Endpoint:
    files = certificates().tls_files("demo-app")
    given = {"operator": "hd-1", "certificate_file": files.certificate_file, "key_file": files.key_file, **more}
    return Endpoint(url, ca_certificate_files=(str(certificates().root_file),), **given)


def test_the_server_must_be_the_operators(kind: str) -> None:
    with Scripted(echo, server_context()) as server:
        with Caller(kind, endpoint(server.url)) as caller:
            assert caller.call("x.y", {"a": 1}) == {"a": 1}
            assert caller.call("x.y", {"a": 2}) == {"a": 2} and server.connections == 1
        with Caller(kind, endpoint(server.url, operator="hd-2"), policy=ONCE) as caller:
            with pytest.raises(Unreachable, match="must prove to be hd-2: its certificate does not carry") as caught:
                caller.call()
            assert (caught.value.stage, caught.value.reason, caught.value.executed) == ("tls", "tls-failed", "no")
        strangers = Endpoint(server.url, operator="hd-1")
        with Caller(kind, strangers, policy=ONCE) as caller, pytest.raises(Unreachable, match="ca_certificate_files"):
            caller.call()
        assert len(server.requests) == 2


def test_who_shows_nothing_is_refused_and_nothing_was_sent(kind: str) -> None:
    """TLS 1.3 says so behind the handshake, when the request may be under way: it was not read. Where an event loop has
    closed before it could tell why, that is all that is known."""
    with Scripted(echo, server_context()) as server:
        bare = endpoint(server.url, certificate_file="", key_file="")
        with Caller(kind, bare, policy=ONCE) as caller, pytest.raises(Unreachable) as caught:
            caller.call()
        assert caught.value.executed == "no" and server.requests == []
        if kind != "uvloop":
            assert (caught.value.stage, caught.value.reason) == ("tls", "certificate-refused")
            assert "showed none" in caught.value.message


def test_what_speaks_no_tls(kind: str) -> None:
    def serve(line: Line) -> None:
        line.sock.recv(1000)
        line.sock.sendall(b"HTTP/1.1 400 this is plain HTTP\r\n\r\n")

    with (
        Scripted(serve) as server,
        Caller(kind, endpoint(server.url.replace("http", "https")), policy=ONCE) as caller,
        pytest.raises(Unreachable, match="no TLS") as caught,
    ):
        caller.call()
    assert caught.value.stage == "tls"


def peer_of(line: Line) -> bytes:
    """The certificate that the client has shown."""
    assert isinstance(line.sock, ssl.SSLSocket)
    return line.sock.getpeercert(binary_form=True) or b""


def test_renewed_certificates_are_shown_by_the_next_connection(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "LOOK_SECONDS", 0.0)
    certificates().tls_files("demo-app"), certificates().tls_files("demo-app-alt")
    shown: list[bytes] = []

    def serve(line: Line) -> None:
        shown.append(peer_of(line))
        echo(line)

    crt, key = tmp_path / "app.crt", tmp_path / "app.key"

    def install(name: str) -> None:
        for file, end in ((crt, "crt"), (key, "key")):
            shutil.copy(certificates().folder / f"{name}.{end}", tmp_path / "new")
            os.replace(tmp_path / "new", file)

    install("demo-app")
    with Scripted(serve, server_context()) as server:
        given = endpoint(server.url, certificate_file=str(crt), key_file=str(key))
        with Caller(kind, given) as caller:
            caller.call(), caller.call()
            assert len(shown) == 1
            install("demo-app-alt")
            caller.call(), caller.call()
            assert len(shown) == 2 and shown[0] != shown[1]
            key.write_text("half")
            caller.call()
            assert len(shown) == 2, "what can't be used is not taken over"


def test_a_file_that_could_not_be_read_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "LOOK_SECONDS", 0.0)
    files = certificates().tls_files("demo-app")
    shutil.copy(files.certificate_file, tmp_path / "app.crt"), shutil.copy(files.key_file, tmp_path / "app.key")
    crt, key = str(tmp_path / "app.crt"), str(tmp_path / "app.key")
    kept = credentials.Credentials(endpoint("https://x", certificate_file=crt, key_file=key))
    before = kept.current()
    with monkeypatch.context() as patched:
        patched.setattr(credentials, "_readable", refuse)
        os.utime(key)
        assert kept.current() is before
    assert kept.current() is not before


def refuse(file: str, setting: str) -> None:
    raise SetupError(f"{file}: {setting}")


def test_a_lock_that_nobody_will_release_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a child that was forked while another thread had it."""
    monkeypatch.setattr(credentials, "LOOK_SECONDS", 0.0)
    kept = credentials.Credentials(endpoint("https://x"))
    with kept._lock:
        assert kept.current() is not None


@pytest.fixture
def proxy() -> Iterator[ConnectProxy]:
    """Runs in a thread with an event loop of its own."""
    loop, made, ready, over = asyncio.new_event_loop(), ConnectProxy(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with made:
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield made
    loop.call_soon_threadsafe(over.set)
    thread.join(30)
    loop.close()


def test_through_an_http_proxy(kind: str, proxy: ConnectProxy) -> None:
    with Scripted(echo, server_context()) as server:
        with Caller(kind, endpoint(server.url, proxy_url=proxy.url)) as caller:
            assert caller.call("x.y", {"a": 1}) == {"a": 1}
        assert proxy.connected == [f"127.0.0.1:{server.port}"]


def test_an_http_proxy_that_refuses(kind: str) -> None:
    def refuse(line: Line) -> None:
        line.sock.recv(1000)
        line.sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with (
        Scripted(refuse) as server,
        Caller(kind, endpoint("https://eps.example.org", proxy_url=server.url), policy=ONCE) as caller,
        pytest.raises(Unreachable, match="403") as caught,
    ):
        caller.call()
    assert caught.value.reason == "http-proxy-refuses"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 1.5), ("timeout=75", 60.0), ("max=3, timeout=5", 4.0), ("timeout=1", 0.5), ("timeout=x", 1.5)],
)
def test_how_long_connections_are_kept(header: str | None, seconds: float) -> None:
    assert keep_seconds(header) == seconds
