"""The example of an internal server."""

import asyncio
import socket
import ssl
from pathlib import Path

import aiohttp
import pytest

from eps.core.event import Refused
from eps.errors import StartError
from eps.programs.dev.internal_server import InternalServer
from eps.programs.dev.network import DEV
from support.testing import Events


async def test_it_answers_every_request(tmp_path: Path, dev_tree: Path) -> None:
    events = Events()
    server = InternalServer(dev_tree.parent.parent, "localhost:0", events)
    await server.start()
    try:
        message = server.started().message()
        port = int(message.rpartition(":")[2])
        assert message == f"the example server internal-server is running: HTTPS 127.0.0.1:{port}"
        context = ssl.create_default_context(cafile=str(dev_tree / "certs" / "root.crt"))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            for _ in range(2):
                url = f"https://127.0.0.1:{port}/any"
                async with session.get(url, server_hostname="test.internal-server.local") as answer:
                    assert await answer.json() == {"message": "success"}
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
        assert (await events.wait_for(Refused)).why == "tls"
    finally:
        await server.close()


async def test_without_tls_it_needs_no_certificate(tmp_path: Path) -> None:
    server = InternalServer(tmp_path, "localhost:0", Events(), tls=False)
    await server.start()
    try:
        message = server.started().message()
        port = int(message.rpartition(":")[2])
        assert message == f"the example server internal-server is running: HTTP 127.0.0.1:{port}"
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/any") as answer:
            assert await answer.json() == {"message": "success"}
    finally:
        await server.close()


async def test_without_certificates(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=f"there is no {tmp_path}/settings/dev/certs") as caught:
        InternalServer(tmp_path, "localhost:0", Events())
    assert "make certs" in caught.value.hint
    (tmp_path / DEV / "certs").mkdir(parents=True)
    with pytest.raises(StartError, match=r"internal-server\.crt") as caught:  # others are there, not its own
        InternalServer(tmp_path, "localhost:0", Events())
    assert caught.value.hint


async def test_a_port_that_is_taken(dev_tree: Path) -> None:
    root = dev_tree.parent.parent
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = InternalServer(root, address, Events())
        with pytest.raises(StartError, match="another program uses that port"):
            await server.start()
    await server.close()
    again = InternalServer(root, address, Events())
    await again.start()
    await again.close()


async def test_clients_that_stay_do_not_keep_it_from_ending(dev_tree: Path) -> None:
    server = InternalServer(dev_tree.parent.parent, "127.0.0.1:0", Events())
    await server.start()
    port = int(server.started().message().rpartition(":")[2])
    context = ssl.create_default_context(cafile=str(dev_tree / "certs" / "root.crt"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="internal-server")
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b'"success"}')
    async with asyncio.timeout(30):
        await server.close()
        assert await reader.read() == b""
    writer.close()


async def test_closing_one_that_was_never_started(dev_tree: Path) -> None:
    await InternalServer(dev_tree.parent.parent, "localhost:0", Events()).close()
