"""The example of an internal server."""

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest

from eps.core.event import Refused
from eps.errors import StartError
from eps.programs.internal_server import InternalServer
from eps.testing import Events


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


async def test_without_certificates(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="there is no"):
        InternalServer(tmp_path, "localhost:0", Events())


async def test_closing_one_that_was_never_started(dev_tree: Path) -> None:
    await InternalServer(dev_tree.parent.parent, "localhost:0", Events()).close()
