"""Real clients fetch a page through both proxies, raw and terminated, with all EPS servers in this process."""

import asyncio
import hashlib
import shutil
import ssl
import sys
import tempfile
from pathlib import Path

import pytest

from eps.core.event import TunnelFinished
from eps.core.http_proxy import HttpProxies
from support.connect_proxy import ConnectProxy
from support.internal_server import PAGE, blocks, browser, internal_server, passthrough, pieces
from support.network import PROXY
from support.passage import trusting
from support.passthrough_network import DOMAIN, INTERNAL_TLS, PRIVATE, PassthroughNetwork
from support.testing import certificates

CLIENT_SECONDS = 60.0
"""Chromium takes some seconds to start on a busy machine."""


async def run(program: str, *arguments: str, stdin: bytes = b"") -> str:
    """A client program's output; skips the test where it is missing."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    process = await asyncio.create_subprocess_exec(
        path, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin), CLIENT_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode(errors="replace")[-2000:]
    return out.decode(errors="replace")


KINDS = pytest.mark.parametrize("kind", ["raw", "terminated"])


@KINDS
async def test_curl(kind: str) -> None:
    async with passthrough(kind) as network:
        port = network.tls_port
        url = f"https://{DOMAIN}:{port}/"
        ca = str(certificates().root_file)
        for _ in range(2):
            out = await run(
                "curl", "--silent", "--show-error", "--cacert", ca, "--resolve", f"{DOMAIN}:{port}:127.0.0.1", url, url
            )
            assert out == PAGE * 2


@KINDS
async def test_openssl(kind: str) -> None:
    async with passthrough(kind) as network:
        out = await run(
            "openssl",
            *("s_client", "-connect", f"127.0.0.1:{network.tls_port}", "-servername", DOMAIN, "-quiet"),
            *("-CAfile", str(certificates().root_file), "-verify_return_error", "-verify_hostname", DOMAIN),
            stdin=f"GET / HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n\r\n".encode(),
        )
        assert out.endswith(PAGE)


PYTHON = """
import ssl, sys, urllib.request, http.client, socket
port, ca, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=ca)
class Here(http.client.HTTPSConnection):
    def connect(self):
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=name)
connection = Here(name, port)
for _ in range(2):
    connection.request("GET", "/")
    print(connection.getresponse().read().decode(), end="")
connection.close()
"""


@KINDS
async def test_python(kind: str) -> None:
    async with passthrough(kind) as network:
        out = await run(sys.executable, "-c", PYTHON, str(network.tls_port), str(certificates().root_file), DOMAIN)
        assert out == PAGE * 2


NODE = """
const [port, ca, name] = process.argv.slice(1);
require('https').get({host: '127.0.0.1', port, path: '/', servername: name, headers: {host: name},
                      ca: require('fs').readFileSync(ca)},
                     answer => answer.pipe(process.stdout));
"""


@KINDS
async def test_node(kind: str) -> None:
    async with passthrough(kind) as network:
        out = await run("node", "-e", NODE, str(network.tls_port), str(certificates().root_file), DOMAIN)
        assert out == PAGE


@KINDS
async def test_chromium(kind: str) -> None:
    async with passthrough(kind) as network:
        with tempfile.TemporaryDirectory() as profile:
            out = await run(
                "chromium",
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
                *("--disable-dev-shm-usage", f"--user-data-dir={profile}", "--ignore-certificate-errors"),
                *(f"--host-resolver-rules=MAP {DOMAIN} 127.0.0.1", "--dump-dom", "--virtual-time-budget=10000"),
                f"https://{DOMAIN}:{network.tls_port}/",
            )
        assert "reached the internal server" in out


@KINDS
async def test_uploads_and_downloads_are_intact(kind: str) -> None:
    mib = 24
    wanted = hashlib.sha256(b"".join(blocks(mib))).hexdigest()
    async with passthrough(kind) as network, browser(network) as session:
        upload = session.post("/upload", data=pieces(mib), server_hostname=DOMAIN)
        async with upload as answer:
            assert await answer.text() == wanted
        async with session.get(f"/download?mib={mib}", server_hostname=DOMAIN) as answer:
            digest = hashlib.sha256()
            async for part in answer.content.iter_any():
                digest.update(part)
            assert digest.hexdigest() == wanted


@KINDS
async def test_a_websocket_stays_up_through_both_proxies(kind: str) -> None:
    async with passthrough(kind) as network:
        context = trusting()
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", network.tls_port, ssl=context, server_hostname=DOMAIN
        )
        writer.write(
            f"GET /ws HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert b" 101 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        for word in ("one", "two"):
            masked = word.encode()  # with the mask 0000
            writer.write(bytes([0x81, 0x80 | len(masked)]) + b"\0\0\0\0" + masked)
            said = f"you said {word}".encode()
            assert await asyncio.wait_for(reader.readexactly(2 + len(said)), 20) == bytes([0x81, len(said)]) + said
        writer.close()
        await writer.wait_closed()


async def test_many_clients_at_once_each_get_their_own() -> None:
    async with passthrough("raw") as network, browser(network) as session:

        async def fetch() -> str:
            async with session.get("/", server_hostname=DOMAIN, headers={"Connection": "close"}) as answer:
                return await answer.text()

        assert await asyncio.gather(*(fetch() for _ in range(64))) == [PAGE] * 64
        network_events = network.relay_events
        await network_events.wait_for(TunnelFinished, lambda _: len(network_events.of(TunnelFinished)) == 128)
        outcomes = {event.outcome for event in network_events.of(TunnelFinished)}
        assert outcomes <= {"finished", "reset"}


async def test_the_proxies_see_no_plaintext_key_or_certificate_when_tls_passes_through() -> None:
    """The client's certificate check is against the internal server's own: the proxies have no key for it."""
    async with passthrough("raw") as network:
        _, writer = await asyncio.open_connection("127.0.0.1", network.tls_port, ssl=trusting(), server_hostname=DOMAIN)
        session = writer.get_extra_info("ssl_object")
        assert isinstance(session, ssl.SSLObject)
        shown = session.getpeercert(binary_form=True)
        assert shown == ssl.PEM_cert_to_DER_cert(
            Path(INTERNAL_TLS.certificate_file).read_text().split("-----END")[0] + "-----END CERTIFICATE-----\n"
        )
        writer.close()
        await writer.wait_closed()


async def test_the_private_proxy_dials_through_an_http_proxy() -> None:
    async with internal_server(https=True) as address, ConnectProxy() as outgoing:
        proxies = HttpProxies(outgoing.url, spare_local=False)
        async with PassthroughNetwork(address, proxies=proxies) as network, browser(network) as session:
            await network.announce()
            async with session.get("/", server_hostname=DOMAIN) as answer:
                assert await answer.text() == PAGE
            relay = network.relay.endpoint
            assert outgoing.connected == [relay]


async def test_an_operator_without_any_port_that_could_be_dialled() -> None:
    async with internal_server(https=True) as address, PassthroughNetwork(address, dialled=False) as network:
        await network.announce()
        async with browser(network) as session, session.get("/", server_hostname=DOMAIN) as answer:
            assert await answer.text() == PAGE


async def test_unannounced_domains_are_closed() -> None:
    async with passthrough("raw") as network:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await asyncio.open_connection(
                "127.0.0.1", network.tls_port, ssl=trusting(), server_hostname="best.internal-server.local"
            )


async def test_who_may_call_whom() -> None:
    """Rights come from the directory: a stranger may neither announce nor call in."""
    async with passthrough("raw") as network:
        stranger = await network.node("stranger")
        for method in (f"{PROXY}.announceConnections", f"{PRIVATE}.incomingConnection"):
            answer = await stranger.call(method, {"connections": []})
            assert answer.error is not None and answer.error.code == 403
