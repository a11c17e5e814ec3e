"""Connecting: both families, deadlines, plain words, and an HTTP proxy in between."""

import asyncio
import errno
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from textwrap import dedent
from typing import Any

import pytest

from eps.core.endpoint import IPAddress, relay_trust
from eps.errors import Unreachable
from eps.transport import dial
from eps.transport.dial import Candidate, connect, explain, read_header, readable, resolve
from support.ports import PortBlock
from support.sockets import recv, recv_exactly, send, tcp_pair

BOTH_LOOPS = True


pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def server(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """Listens on one of localhost's two addresses only."""
    host = "127.0.0.1" if request.param == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=request.param) as server:
        server.setblocking(False)
        yield server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


@pytest.fixture
def closed_port() -> Iterator[int]:
    """One that nobody listens on."""
    block = PortBlock()
    yield block.numbers[0]
    block.close()


async def test_localhost_dials_both_families(server: socket.socket) -> None:
    with await connect(f"localhost:{port_of(server)}", 5) as sock:
        assert sock.getpeername()[1] == port_of(server)
        assert sock.getblocking() is False
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_an_address_is_dialled_as_it_is(server: socket.socket) -> None:
    host, port = server.getsockname()[:2]
    with await connect(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", 5) as sock:
        assert sock.family == server.family


async def test_refused_in_plain_english(closed_port: int) -> None:
    with pytest.raises(Unreachable) as caught:
        await connect(f"localhost:{closed_port}", 5, name="hd-2")
    assert caught.value.message == f"hd-2 at localhost:{closed_port}: connection refused; is the server running?"
    assert caught.value.hint
    with pytest.raises(Unreachable, match=r"^127\.0\.0\.1:\d+: connection refused"):
        await connect(f"127.0.0.1:{closed_port}", 5)


async def test_an_unknown_name() -> None:
    with pytest.raises(Unreachable, match="the name has no address"):
        await connect("no-such-host.invalid:1", 5)


async def test_no_address_at_all() -> None:
    with pytest.raises(Unreachable, match="hd-2 at nonsense: 'nonsense' is not of the form HOST:PORT"):
        await connect("nonsense", 5, name="hd-2")


def candidates(*addresses: str) -> list[Candidate]:
    return [Candidate(ip_address(address), (address, 1)) for address in addresses]


@pytest.mark.parametrize("addresses", [["1.1.1.1"], ["1.1.1.1", "1.1.1.1"]])
async def test_a_deadline_ends_all_attempts(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    async def hang(sock: socket.socket, sockaddr: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(dial, "connect_to", hang)

    async def found(host: str, port: int, *, foreign: bool) -> list[Candidate]:
        return candidates(*addresses)

    monkeypatch.setattr(dial, "resolve", found)
    with pytest.raises(Unreachable, match=r"hd-2 at x:1: no answer within 0\.02 s; does a firewall"):
        await connect("x:1", 0.02, name="hd-2")
    assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({"dial"})


async def test_a_cancelled_attempt_closes_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.get_running_loop().create_future()

    async def hang(sock: socket.socket, sockaddr: Any) -> None:
        begun.set_result(sock)
        await asyncio.Event().wait()

    monkeypatch.setattr(dial, "connect_to", hang)
    attempt = asyncio.ensure_future(connect("127.0.0.1:1", 600))
    sock = await begun
    attempt.cancel()
    await asyncio.wait([attempt])
    assert attempt.cancelled()
    assert sock.fileno() == -1


async def test_an_interrupted_attempt_goes_on() -> None:
    """connect(2) says EINTR, and connects all the same."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        class Interrupted(socket.socket):
            def connect(self, address: Any) -> None:
                self.connect_ex(address)
                raise InterruptedError

        with Interrupted() as sock:
            sock.setblocking(False)
            await dial.connect_to(sock, server.getsockname())
            assert sock.getpeername() == server.getsockname()


def test_an_address_is_dialled_without_a_lookup(closed_port: int) -> None:
    """uvloop looks names up in threads of libuv's, which it starts for the first one; all of them may be waiting."""
    script = f"""
        import asyncio, os, socket, uvloop
        from eps.errors import Unreachable
        from eps.transport.dial import connect
        async def dial_both():
            with socket.create_server(("127.0.0.1", 0)) as server:
                (await connect("127.0.0.1:%d" % server.getsockname()[1], 10)).close()
            try:
                await connect("127.0.0.1:{closed_port}", 10)
            except Unreachable as error:
                print(error.message.partition("; ")[0].partition(": ")[2], end=", ")
            print(len(os.listdir("/proc/self/task")), "thread")
        uvloop.run(dial_both())
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("connection refused, 1 thread\n", "")


async def test_the_kernels_own_deadline_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    async def give_up(sock: socket.socket, sockaddr: Any) -> None:
        raise OSError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr(dial, "connect_to", give_up)
    with pytest.raises(Unreachable, match=r"^hd-2 at 1\.1\.1\.1:1: no answer; does a firewall stand in between\?"):
        await connect("1.1.1.1:1", 600, name="hd-2")


async def test_families_alternate(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*args: Any, **kwargs: Any) -> list[Any]:
        six = [(0, 0, 0, "", (f"2001:db8::{i}", 1, 0, i)) for i in range(1, 4)]
        four = [(0, 0, 0, "", ("192.0.2.1", 1))] * 2
        return [*six, *four]

    class Loop:
        pass

    Loop.getaddrinfo = staticmethod(getaddrinfo)  # type: ignore[attr-defined]  # a stand-in
    monkeypatch.setattr(dial.asyncio, "get_running_loop", Loop)
    found = await resolve("name.example", 1)
    assert [str(c.ip) for c in found] == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"]
    assert found[0].sockaddr == ("2001:db8::1", 1, 0, 1)


async def test_a_link_local_address_keeps_its_interface() -> None:
    (found,) = await resolve("fe80::77%lo", 1)
    assert found.sockaddr == ("fe80::77", 1, 0, socket.if_nametoindex("lo"))
    (same,) = await resolve(f"fe80::77%{socket.if_nametoindex('lo')}", 1)
    assert same == found
    with pytest.raises(Unreachable, match="this machine has no network interface none"):
        await connect("[fe80::77%none]:1", 5)


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
async def test_a_name_that_can_be_none(host: str) -> None:
    with pytest.raises(Unreachable, match="the name has no address"):
        await connect(f"{host}:1", 5)


async def test_only_judged_addresses_are_dialled(server: socket.socket) -> None:
    seen = []

    def allow(host: str, port: int, ip: IPAddress | None) -> str | None:
        if ip is not None:
            seen.append((host, port, str(ip)))
        return None if str(ip) == server.getsockname()[0] else "not this one"

    port = port_of(server)
    with await connect(f"localhost:{port}", 5, allow=allow):
        assert seen == [("localhost", port, "127.0.0.1"), ("localhost", port, "::1")]


@pytest.mark.parametrize("trusted", [True, False])
async def test_slow_names_that_others_chose_keep_no_name_of_ours_waiting(
    trusted: bool, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, looking_up = asyncio.Event(), 0
    real = dial.look_up

    async def slow(host: str, port: int) -> list[dial.AddressInfo]:
        nonlocal looking_up
        looking_up += 1
        if host.endswith(".slow"):
            await gate.wait()
        return await real(server.getsockname()[0], port)

    def judge(host: str, port: int, ip: IPAddress | None) -> str | None:
        return None if trusted or ip is not None else "who knows"

    monkeypatch.setattr(dial, "look_up", slow)
    dials = [asyncio.create_task(connect(f"{n}.slow:{port_of(server)}", 0.05, allow=judge)) for n in range(20)]
    (await connect(f"ours:{port_of(server)}", 5)).close()
    failures = await asyncio.gather(*dials, return_exceptions=True)
    assert all(isinstance(failure, Unreachable) for failure in failures)
    # A thread is busy though nobody waits any more, so nobody got a turn in the place of one that had given up.
    assert looking_up == 1 + (20 if trusted else dial.MAX_FOREIGN_LOOKUPS)
    gate.set()
    (await connect(f"theirs:{port_of(server)}", 5, allow=judge)).close()


async def test_nothing_is_dialled_if_no_address_may_be(server: socket.socket) -> None:
    trust = relay_trust(None, [], "elsewhere.example:1")
    with pytest.raises(Unreachable, match=r"must not be dialled: 127\.0\.0\.1 is not a public.*; ::1 is not"):
        await connect(f"localhost:{port_of(server)}", 5, allow=trust.judge)
    with pytest.raises(BlockingIOError):
        server.accept()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENETUNREACH, "x"), "no route to the network"),
        (OSError(errno.EMFILE, "x"), "ulimit"),
        (OSError(errno.EIO, "odd thing"), "odd thing"),
        (OSError("no number"), "no number"),
    ],
)
def test_explains(error: OSError, words: str) -> None:
    assert words in explain(error)


async def test_readable_waits_for_bytes() -> None:
    near, far = tcp_pair()
    with near, far:
        waiting = asyncio.ensure_future(readable(near))
        done, _ = await asyncio.wait([waiting], timeout=0.01)
        assert not done
        await send(far, b"!")
        await asyncio.wait_for(waiting, 30)
        assert near.recv(10) == b"!"


# HTTP CONNECT


class HttpProxy:
    """Answers one CONNECT with what the test says."""

    def __init__(self, *answer: bytes) -> None:
        self._answer = answer
        self.request = b""

    async def __aenter__(self) -> "HttpProxy":
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self.address = f"127.0.0.1:{port_of(self._server)}"
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.wait_for(self._task, 10)
        self._server.close()

    async def _serve(self) -> None:
        sock, _ = await asyncio.get_running_loop().sock_accept(self._server)
        with sock:
            while b"\r\n\r\n" not in self.request:
                self.request += await recv(sock)
            for part in self._answer:
                await send(sock, part)
            with suppress(ConnectionError):
                await recv(sock)  # until the other side closes


async def test_an_http_proxy_connects() -> None:
    async with HttpProxy(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nfirst bytes") as proxy:
        with await connect("hd-2.example:443", 5, proxy_url=f"http://{proxy.address}") as sock:
            assert await recv_exactly(sock, 11) == b"first bytes"
    assert proxy.request == b"CONNECT hd-2.example:443 HTTP/1.1\r\nHost: hd-2.example:443\r\n\r\n"


async def test_an_answer_may_come_byte_by_byte() -> None:
    answer = b"HTTP/1.0 200 ok\r\n\r\n!"
    async with HttpProxy(*(bytes([byte]) for byte in answer)) as proxy:
        with await connect("hd-2.example:443", 5, proxy_url=f"http://{proxy.address}") as sock:
            assert await recv_exactly(sock, 1) == b"!"


async def test_an_http_proxy_gets_user_and_password() -> None:
    async with HttpProxy(b"HTTP/1.1 200 ok\r\n\r\n") as proxy:
        (await connect("a:1", 5, proxy_url=f"http://me:p%40ss@{proxy.address}")).close()
    assert b"\r\nProxy-Authorization: Basic bWU6cEBzcw==\r\n" in proxy.request


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "answered 'HTTP/1.1 403 Forbidden' to CONNECT"),
        (b"HTTP/1.1 407 Who are you\r\n\r\n", "user and a password"),
        (b"SSH-2.0-x\r\n\r\n", "answered 'SSH-2.0-x'"),
        (b"HTTP/1.1 2\r\n\r\n", None),
        (b"x" * dial.MAX_PROXY_HEADER, "longer than 16384 bytes"),
    ],
)
async def test_an_http_proxy_refuses(answer: bytes, words: str | None) -> None:
    async with HttpProxy(answer) as proxy:
        if words is None:
            (await connect("hd-2:1", 5, name="hd-2", proxy_url=f"http://{proxy.address}")).close()
            return
        with pytest.raises(Unreachable) as caught:
            await connect("hd-2:1", 5, name="hd-2", proxy_url=f"http://{proxy.address}")
    assert words in str(caught.value)
    assert str(caught.value).startswith("hd-2 at hd-2:1: ")


async def test_an_http_proxy_that_is_down(closed_port: int) -> None:
    with pytest.raises(Unreachable, match=r"hd-2 at a:1: the HTTP proxy 127\.0\.0\.1:\d+: connection refused"):
        await connect("a:1", 5, name="hd-2", proxy_url=f"http://127.0.0.1:{closed_port}")


async def test_a_name_that_is_trusted_is_left_to_the_http_proxy_to_resolve() -> None:
    asked: list[object] = []

    def judge(host: str, port: int, ip: IPAddress | None) -> str | None:
        asked.append((host, port, ip))
        return None

    async with HttpProxy(b"HTTP/1.1 200 ok\r\n\r\n") as proxy:
        (await connect("relay.invalid:9999", 5, proxy_url=f"http://{proxy.address}", allow=judge)).close()
    assert proxy.request.startswith(b"CONNECT relay.invalid:9999 HTTP/1.1\r\n")
    assert asked == [("relay.invalid", 9999, None)]


async def test_another_name_is_resolved_here_and_the_http_proxy_gets_the_address_that_was_allowed() -> None:
    def judge(host: str, port: int, ip: IPAddress | None) -> str | None:
        return None if ip is not None and ip.version == 6 else "no"

    async with HttpProxy(b"HTTP/1.1 200 ok\r\n\r\n") as proxy:
        (await connect("localhost:9999", 5, proxy_url=f"http://{proxy.address}", allow=judge)).close()
    assert proxy.request.startswith(b"CONNECT [::1]:9999 HTTP/1.1\r\nHost: [::1]:9999\r\n")


async def test_nothing_that_is_forbidden_reaches_the_http_proxy(closed_port: int) -> None:
    with pytest.raises(Unreachable, match="localhost:1 must not be dialled: never"):
        await connect("localhost:1", 5, proxy_url=f"http://127.0.0.1:{closed_port}", allow=lambda *_: "never")


@pytest.mark.parametrize("url", ["https://x:1", "x:1", "http://"])
async def test_an_odd_proxy_url(url: str) -> None:
    with pytest.raises(Unreachable, match="not of the form http://HOST:PORT"):
        await connect("a:1", 5, proxy_url=url)


async def test_a_header_is_read_though_the_loop_woke_us_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = tcp_pair()
    real, woken = dial.readable, []

    async def nervous(sock: socket.socket) -> None:
        woken.append(sock)
        if len(woken) > 1:
            await real(sock)
        else:
            asyncio.get_running_loop().call_soon(far.send, b"HTTP/1.1 200 ok\r\n\r\n")

    monkeypatch.setattr(dial, "readable", nervous)
    with near, far:
        assert await read_header(near) == b"HTTP/1.1 200 ok\r\n\r\n"
    assert len(woken) == 2


async def test_a_header_that_ends_too_early() -> None:
    near, far = tcp_pair()
    with near:
        await send(far, b"HTTP/1.1 200")
        far.close()
        with pytest.raises(ConnectionResetError):
            await read_header(near)
