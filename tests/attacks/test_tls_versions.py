"""Ports that are asked for an old TLS."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from eps.core.event import Refused
from eps.core.message import Response
from eps.errors import TlsFailed
from eps.transport.tls import identify, server_context
from support.network import HD_1, Network
from support.testing import Events, certificates, jsonrpc_server, tls_files

ALERT, FATAL, HANDSHAKE_FAILURE, PROTOCOL_VERSION = 21, 2, 40, 70
REFUSALS = {(ALERT, FATAL, PROTOCOL_VERSION), (ALERT, FATAL, HANDSHAKE_FAILURE)}
"""RFC 8446, section 6. SSL 3 is unknown to the library, which then speaks of the handshake."""


def hello(version: int) -> bytes:
    """A ClientHello as clients of that time sent it: with cipher suites of then, and no extension."""
    suites = bytes.fromhex("c013c014002f0035000a00ff")
    body = version.to_bytes(2, "big") + bytes(range(32)) + b"\0" + len(suites).to_bytes(2, "big") + suites + b"\1\0"
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16" + version.to_bytes(2, "big") + len(message).to_bytes(2, "big") + message


@asynccontextmanager
async def grpc_port() -> AsyncIterator[tuple[int, Events]]:
    async with Network(behind_proxy=()) as network:
        node = await network.node(HD_1)
        yield int(node.address.rpartition(":")[2]), node.events


@asynccontextmanager
async def jsonrpc_port() -> AsyncIterator[tuple[int, Events]]:
    events = Events()

    async def nobody(call: object) -> Response:
        raise AssertionError("a call was made")

    async with jsonrpc_server(nobody, tls=tls_files(HD_1), emit=events, bind_address="127.0.0.1:0") as server:
        yield server.port, events


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302], ids=["SSL 3", "TLS 1.0", "TLS 1.1"])
@pytest.mark.parametrize("port_of", [grpc_port, jsonrpc_port])
async def test_no_port_speaks_tls_below_1_2(
    port_of: Callable[[], AbstractAsyncContextManager[tuple[int, Events]]], version: int
) -> None:
    async with port_of() as (port, events):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(hello(version))
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
        assert not answer or (answer[0], answer[5], answer[6]) in REFUSALS
        refused = await events.wait_for(Refused)
        assert refused.why == "tls", refused


def shaken(
    client: ssl.SSLContext, server: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both sides behind a handshake in memory, with whatever the server sends behind it read."""
    ours, theirs = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
    near = client.wrap_bio(*ours, server_hostname=HD_1, session=session)
    far = server.wrap_bio(*theirs, server_side=True)
    for step in (*(side.do_handshake for _ in range(4) for side in (near, far)), near.read, far.read):
        with contextlib.suppress(ssl.SSLWantReadError):
            step()
        theirs[0].write(ours[1].read())
        ours[0].write(theirs[1].read())
    return near, far


def client_of(version: ssl.TLSVersion) -> ssl.SSLContext:
    files = tls_files("hd-2")
    context = ssl.create_default_context(cafile=files.ca_certificate_files[0])
    context.load_cert_chain(files.certificate_file, files.key_file)
    context.minimum_version = context.maximum_version = version
    return context


def test_tls_1_2_is_spoken() -> None:
    near, far = shaken(client_of(ssl.TLSVersion.TLSv1_2), server_context(tls_files(HD_1)))
    assert near.version() == far.version() == "TLSv1.2"


def test_no_session_is_resumed_though_the_client_asks() -> None:
    client, server = client_of(ssl.TLSVersion.TLSv1_3), server_context(tls_files(HD_1))
    first, _ = shaken(client, server)
    again, far = shaken(client, server, first.session)
    assert again.version() == far.version() == "TLSv1.3"
    assert not again.session_reused and not far.session_reused


def test_what_tls_1_2_resumes_by_its_id_brings_its_own_certificate_to_be_judged_anew() -> None:
    """OpenSSL's memory of TLS 1.2 sessions, some minutes long, can't be switched off from Python."""
    client, server = client_of(ssl.TLSVersion.TLSv1_2), server_context(tls_files(HD_1))
    first, _ = shaken(client, server)
    _, far = shaken(client, server, first.session)
    leaf = far.getpeercert(binary_form=True)
    assert leaf is not None and identify(leaf, certificates().pins("hd-2")).names == ("hd-2",)
    with pytest.raises(TlsFailed, match="pins certificate"):
        identify(leaf, certificates().pins("hd-2-alt"))
