"""http1/client: which connections are kept, and how they are looked at before they carry the next request."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest

from eps.http1.client import Connection, Connections, open_connection
from eps.http1.exchange import Exchange
from eps.transport.dial import connect
from support.passage import raw_server
from support.sockets import recv, send, tcp_pair

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers whatever comes with ``answer``; ``writers`` are its connections."""

    def __init__(self, answer: bytes = OK) -> None:
        self.answer = answer
        self.writers: list[asyncio.StreamWriter] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(self.answer)


@asynccontextmanager
async def connections(talk: Callable[..., Any], limit: int | None = 2, keep_alive: float = 60.0) -> AsyncIterator[Any]:
    async with raw_server(talk) as address:

        async def dial() -> Connection:
            return await open_connection(await connect(address, 10), None, None, 10)

        made = Connections(dial, limit=limit, keep_alive=keep_alive)
        try:
            async with asyncio.timeout(30):
                yield made
        finally:
            await made.close()


async def carry(connection: Connection) -> Exchange:
    """One request and its answer."""
    exchange = Exchange.as_client(connection)
    exchange.send(h11.Request(method=b"GET", target=b"/", headers=[(b"Host", b"x")]), h11.EndOfMessage())
    await exchange.next()
    while not exchange.is_read:
        await exchange.next()
    return exchange


async def test_a_connection_is_kept_for_the_next_exchange() -> None:
    server = Server()
    async with connections(server.talk) as kept:
        used = []
        for _ in range(3):
            connection = await kept.take()
            used.append((connection, connection.fresh))
            kept.give_back(connection, await carry(connection))
        assert [fresh for _, fresh in used] == [True, False, False]
        assert len({connection for connection, _ in used}) == len(server.writers) == 1
        assert (await kept.take(fresh=True)).fresh


@pytest.mark.parametrize(
    "answer",
    [OK + b"more", OK.replace(b"200", b"204"), b"HTTP/1.0" + OK[8:], OK.replace(b"OK", b"OK\r\nConnection: close")],
)
async def test_behind_such_answers_it_is_not(answer: bytes) -> None:
    async with connections(Server(answer).talk) as kept:
        connection = await kept.take()
        kept.give_back(connection, await carry(connection))
        await connection.ended
        assert (await kept.take()).fresh


async def test_without_keep_alive_none_is_kept() -> None:
    async with connections(Server().talk, keep_alive=0.0) as kept:
        connection = await kept.take()
        kept.give_back(connection, await carry(connection))
        await connection.ended


async def test_an_exchange_that_was_not_finished_ends_its_connection() -> None:
    async with connections(Server().talk) as kept:
        for exchange in (None, Exchange.as_client):
            connection = await kept.take()
            kept.give_back(connection, exchange and exchange(connection))
            await connection.ended


async def test_what_comes_unasked_ends_an_unused_connection() -> None:
    server = Server()
    async with connections(server.talk) as kept:
        connection = await kept.take()
        kept.give_back(connection, await carry(connection))
        server.writers[0].write(b"HTTP/1.1 408 Goodbye\r\n\r\n")
        await connection.ended
        assert (await kept.take()).fresh


@pytest.mark.parametrize("says", [b"", b"something"])
async def test_what_the_event_loop_has_not_seen_yet(says: bytes) -> None:
    server = Server()
    async with connections(server.talk) as kept:
        connection = await kept.take()
        kept.give_back(connection, await carry(connection))
        far = server.writers[0].transport.get_extra_info("socket")
        os.write(far.fileno(), says) if says else far.shutdown(socket.SHUT_WR)
        assert (await kept.take()).fresh  # nothing ran in between


async def test_an_unused_connection_expires() -> None:
    async with connections(Server().talk, keep_alive=0.02) as kept:
        connection = await kept.take()
        kept.give_back(connection, await carry(connection))
        await connection.ended
        assert (await kept.take()).fresh


async def test_only_so_many_at_a_time() -> None:
    async with connections(Server().talk, limit=1) as kept:
        connection = await kept.take()
        waiting = asyncio.create_task(kept.take())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        kept.give_back(connection, await carry(connection))
        assert await waiting is connection


async def test_a_dial_that_fails_leaves_its_place() -> None:
    async def dial() -> Connection:
        raise OSError("no way")

    failing = Connections(dial, limit=1, keep_alive=1.0)
    for _ in range(3):
        with pytest.raises(OSError, match="no way"):
            await asyncio.wait_for(failing.take(), 10)


async def test_closing_ends_used_and_unused_ones() -> None:
    async with connections(Server().talk, limit=None) as kept:
        unused, used = await kept.take(), await kept.take()
        kept.give_back(unused, await carry(unused))
        await kept.close()
        assert unused.ended.done() and used.ended.done()
        kept.give_back(used, None)


async def test_tls_that_fails_closes_the_socket() -> None:
    near, far = tcp_pair()
    far.close()
    with pytest.raises(OSError):
        await open_connection(near, ssl.create_default_context(), "x", 10)
    assert near.fileno() == -1


async def test_an_answer_in_two_pieces_is_acknowledged_without_delay() -> None:
    """Once a connection has carried a request and an answer, Linux holds acknowledgements back; each request that is
    written makes it do so again. A server with Nagle's algorithm waits for them."""
    near, far = tcp_pair()
    connection = await open_connection(near, None, None, 10)

    def acknowledges_at_once() -> bool:
        return bool(near.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK))

    for _ in range(3):  # request and answer, as often as it takes the kernel to see a pattern
        connection.write(b"request")
        assert await recv(far) == b"request"
        await send(far, b"answer")
        assert await connection.read() == b"answer"
    connection.write(b"request")
    assert not acknowledges_at_once()
    connection.acknowledge_soon()
    assert acknowledges_at_once()
    far.close()
    await connection.close_soon()
    connection.acknowledge_soon()  # nothing to do any more
