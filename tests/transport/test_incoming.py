"""From an accepted socket to its protocol: what a connection gets before it has said something, and when."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from eps.errors import TlsFailed
from eps.transport import incoming
from eps.transport.arrivals import MANY_PART, Arrival, SaidNothing
from eps.transport.incoming import Entrance, HandshakeTurns, has_spoken
from eps.transport.tls import ASKS_AGAIN, accept_tls, asks_again, client_context, server_context
from support.testing import socket_pair, tls_files

HELLO = b"\x16\x03\x01\x00\x04abcd"
MANY = 10
"""Silent ones that are many for a port of MANY_PART times as many."""


def hello(context: ssl.SSLContext | None = None) -> bytes:
    """What a client of ours says first."""
    context = context or client_context(tls_files("hd-1"))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="hd-2").do_handshake()
    return outgoing.read()


class Port:
    """An entrance, and what came of those who entered."""

    def __init__(self, most: int = 4 * MANY_PART, seconds: float = 30.0, *, tls: bool = True) -> None:
        self.entrance = Entrance(most, seconds)
        self.context = server_context(tls_files("hd-2")) if tls else None
        self.protocols: list[asyncio.Protocol] = []
        self.ended: list[asyncio.Protocol] = []

    def accept(self) -> tuple[socket.socket, "asyncio.Task[asyncio.Protocol]"]:
        near, far = socket_pair()
        entering = self.entrance.to_protocol(self._made, far, self.context, end=self.ended.append)
        return near, asyncio.create_task(entering)

    def _made(self, _arrival: Arrival) -> asyncio.Protocol:
        self.protocols.append(asyncio.Protocol())
        return self.protocols[-1]


def handshakes(port: Port) -> list[ssl.SSLObject]:
    """Those that begin there from now on."""
    begun: list[ssl.SSLObject] = []

    class Counted(ssl.SSLObject):
        def do_handshake(self) -> None:
            begun.append(self)
            super().do_handshake()

    assert port.context is not None
    port.context.sslobject_class = Counted
    return begun


@asynccontextmanager
async def beside_silent(number: int = MANY) -> AsyncIterator[Port]:
    """A port at which so many are silent; with the usual number they are many."""
    port = Port(most=MANY_PART * MANY)
    others = [port.accept() for _ in range(number)]
    try:
        yield port
    finally:
        for other, _ in others:
            other.close()
        await asyncio.gather(*(waiting for _, waiting in others), return_exceptions=True)


async def shakes_hands(context: ssl.SSLContext, times: int = 1) -> list[str]:
    """A client comes to a port at which many are silent; the version of TLS in the end, each time."""
    writers = []
    async with beside_silent() as port:
        for _ in range(times):
            near, entering = port.accept()
            async with asyncio.timeout(20):
                _, writer = await asyncio.open_connection(sock=near, ssl=context, server_hostname="hd-2")
                assert await entering in port.protocols
            writers.append(writer)
    versions = [str(writer.get_extra_info("ssl_object").version()) for writer in writers]
    for writer in writers:
        writer.close()
    return versions


async def some_turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.parametrize("size", [0, 1, 4, 5, len(HELLO) - 1])
async def test_a_record_that_is_not_whole_is_waited_for(size: int) -> None:
    near, far = socket_pair()
    with near, far:
        near.send(HELLO[:size])
        waiting = asyncio.create_task(has_spoken(far, tls=True))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        near.send(HELLO[size:])
        assert await waiting
        assert far.recv(100) == HELLO  # nothing was read


@pytest.mark.parametrize(
    "sent", [HELLO + b"more", b"GET / HTTP/1.1", b"\x16\x03\x01\xff\xff"], ids=["whole", "plain", "long"]
)
async def test_what_needs_no_more_is_not_waited_for(sent: bytes) -> None:
    near, far = socket_pair()
    with near, far:
        near.send(sent)
        assert await has_spoken(far, tls=True)


async def test_bytes_beyond_a_record_are_read_one_by_one_afterwards() -> None:
    near, far = socket_pair()
    with near, far:
        near.send(HELLO[:7])
        waiting = asyncio.create_task(has_spoken(far, tls=True))
        await asyncio.sleep(0.02)
        near.send(HELLO[7:])
        assert await waiting
        assert far.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("sent", [b"", HELLO[:3], HELLO[:-1]])
async def test_who_hangs_up_before_has_not_spoken(sent: bytes, tls: bool) -> None:
    near, far = socket_pair()
    with far:
        waiting = asyncio.create_task(has_spoken(far, tls=tls))
        await asyncio.sleep(0.01)
        near.send(sent)
        near.close()
        assert await waiting is (not tls and bool(sent))


async def test_who_breaks_off_has_not_spoken() -> None:
    near, far = socket_pair()
    with far:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        near.close()
        assert not await has_spoken(far, tls=True)


async def test_half_a_hello_begins_no_handshake() -> None:
    port = Port()
    begun = handshakes(port)
    near, entering = port.accept()
    with near:
        whole = hello()
        near.send(whole[:-1])
        await asyncio.sleep(0.05)
        assert not begun
        near.send(whole[-1:])
        async with asyncio.timeout(20):
            while not begun:
                await asyncio.sleep(0.005)
        assert not port.protocols  # made behind the handshake
        near.close()
        with pytest.raises(TlsFailed, match="closed during the TLS handshake"):
            await entering


@pytest.mark.parametrize("sent", [b"", HELLO[:7], hello()], ids=["nothing", "half", "hello"])
async def test_who_does_not_go_on_gives_way(sent: bytes) -> None:
    port = Port(most=1)
    first, entering = port.accept()
    first.send(sent)
    await asyncio.sleep(0.05)
    second, other = port.accept()
    with first, second:
        with pytest.raises(SaidNothing, match="newer connections"):
            await entering
        second.close()
        with pytest.raises(TlsFailed):
            await other


async def test_who_asks_for_nothing_without_tls_gives_way_by_its_end() -> None:
    port = Port(most=1, tls=False)
    first, entering = port.accept()
    with first:
        first.send(b"x")
        assert await entering is port.protocols[0]
        assert len(port.entrance.arrivals) == 1
        second, other = port.accept()
        second.close()
        await other
        assert port.ended == [port.protocols[0]]


@pytest.mark.parametrize(("silent", "is_asked"), [(MANY, True), (0, False)])
async def test_while_many_are_silent_who_only_says_hello_is_asked_for_another(silent: int, is_asked: bool) -> None:
    async with beside_silent(silent) as port:
        near, entering = port.accept()
        with near:
            near.setblocking(False)
            near.send(hello())
            async with asyncio.timeout(20):
                answer = await asyncio.get_running_loop().sock_recv(near, 16_000)
        assert (ASKS_AGAIN in answer) is is_asked
    await asyncio.gather(entering, return_exceptions=True)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_while_many_are_silent_an_honest_client_shakes_hands(version: ssl.TLSVersion) -> None:
    context = client_context(tls_files("hd-1"))
    context.maximum_version = version
    assert await shakes_hands(context) == [version.name.replace("_", ".")]


async def test_so_do_those_who_are_asked_by_heart() -> None:
    assert await shakes_hands(client_context(tls_files("hd-1")), times=3) == ["TLSv1.3"] * 3


@pytest.mark.parametrize("group", ["secp521r1", "secp384r1"])
async def test_while_many_are_silent_a_client_that_has_one_other_group_only_shakes_hands(group: str) -> None:
    context = client_context(tls_files("hd-1"))
    context.set_ecdh_curve(group)
    assert await shakes_hands(context)


async def test_a_client_to_whom_there_is_no_way_any_more_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def has_no_way(sock: socket.socket, *, tls: bool) -> bool:
        raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))

    monkeypatch.setattr(incoming, "has_spoken", has_no_way)
    port = Port()
    near, entering = port.accept()
    with near:
        with pytest.raises(TlsFailed, match="No route to host"):
            await entering
        assert near.recv(1) == b"", "its socket is closed"
    assert len(port.entrance.arrivals) == 0


@pytest.mark.parametrize("group", ["X25519", "prime256v1"])
def test_whether_a_hello_is_asked_for_again(group: str) -> None:
    context = client_context(tls_files("hd-1"))
    if group != "X25519":
        context.set_ecdh_curve(group)
    said = asks_again(server_context(tls_files("hd-2")), hello(context))
    assert (ASKS_AGAIN in said) is (group == "X25519")
    assert asks_again(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), hello(context)) == b""


@pytest.mark.parametrize("compatible", [True, False])
def test_the_second_of_one_kind_is_asked_by_heart_and_in_the_words_of_openssl(
    compatible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = server_context(tls_files("hd-2")), client_context(tls_files("hd-1"))
    if not compatible:
        client.options &= ~ssl.OP_ENABLE_MIDDLEBOX_COMPAT  # then a hello has no session id
    first, second = hello(client), hello(client)
    assert (first[43], second[43]) == (32 * compatible, 32 * compatible)
    assert ASKS_AGAIN in asks_again(server, first)
    expected = asks_again(server_context(tls_files("hd-2")), second)
    monkeypatch.setattr("eps.transport.tls._asked", lambda *_: pytest.fail("it is asked anew"))
    assert asks_again(server, second) == expected


async def test_who_is_asked_for_another_hello_and_leaves_had_no_session() -> None:
    async with beside_silent() as port:
        begun = handshakes(port)
        near, entering = port.accept()
        near.send(hello())
        await asyncio.sleep(0.05)
        near.close()
        with pytest.raises(TlsFailed, match="closed during the TLS handshake"):
            await entering
        assert not begun


async def test_who_was_told_something_else_is_not_gone_on_with() -> None:
    near, far = socket_pair()
    with near:
        near.send(hello())
        with pytest.raises(TlsFailed):
            await accept_tls(
                asyncio.Protocol, far, server_context(tls_files("hd-2")), timeout=20, said=b"something else"
            )


async def test_silence_has_an_end() -> None:
    plain, secret = Port(seconds=0.02, tls=False), Port(seconds=0.02)
    for port, kind, text in (
        (plain, SaidNothing, "nothing came within 0.02 s"),
        (secret, TlsFailed, "no TLS within 0.02 s"),
    ):
        near, entering = port.accept()
        with near, pytest.raises(kind, match=text):
            await entering


async def test_a_few_handshakes_begin_in_a_turn_the_newest_first() -> None:
    turns, begun = HandshakeTurns(2), list[int]()

    async def begin(number: int) -> None:
        await turns.turn()
        begun.append(number)

    tasks = [asyncio.create_task(begin(number)) for number in range(7)]
    await asyncio.sleep(0)
    assert begun == [0, 1]
    tasks[6].cancel()
    await some_turns()
    assert begun == [0, 1, 5, 4, 3, 2]
    await begin(7)
    assert begun[-1] == 7
    await asyncio.gather(*tasks, return_exceptions=True)
