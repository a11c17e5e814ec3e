"""transport/listener: addresses, limits, running out of descriptors, shutdown."""

import asyncio
import errno
import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from eps.core.event import Level, Notice, Refused
from eps.errors import NotSent, StartError
from eps.reasons import Reason
from eps.transport import listener as module
from eps.transport.listener import Listener, RateLimit, RateLimiter, bind
from support.testing import Events, FakeClock

Taken = asyncio.Queue[socket.socket]


@asynccontextmanager
async def listening(bind_address: str = "127.0.0.1:0", **options: Any) -> AsyncIterator[tuple[Listener, Taken]]:
    """A listener whose sockets go to a queue, and are closed at the end."""
    taken: Taken = asyncio.Queue()
    everything: list[socket.socket] = []

    async def take(accepted: socket.socket) -> None:
        everything.append(accepted)
        taken.put_nowait(accepted)

    options.setdefault("emit", Events())
    listener = Listener("test", bind_address, options.pop("on_socket", take), **options)
    await listener.start()
    try:
        yield listener, taken
    finally:
        await listener.close()
        for accepted in everything:
            accepted.close()


async def dial(address: tuple[str, int]) -> socket.socket:
    dialled = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    dialled.setblocking(False)
    await asyncio.get_running_loop().sock_connect(dialled, address)
    return dialled


async def ended(dialled: socket.socket) -> bool:
    """Whether the other side closes without a byte."""
    with dialled:
        async with asyncio.timeout(30):
            try:
                return await asyncio.get_running_loop().sock_recv(dialled, 1) == b""
            except ConnectionResetError:
                return True


# --- addresses ---


@pytest.mark.parametrize(
    "text", ["", "localhost", "5555", "localhost:", "a:65536", "a:-1", "a:x", "a:²", "::1:5", "[x]:5"]
)
async def test_what_is_no_bind_address(text: str) -> None:
    with pytest.raises(StartError, match="test: can't listen on") as caught:
        await bind("test", text)
    assert "[2001:db8::1]:9999" in caught.value.hint


async def test_a_link_local_address_keeps_its_interface() -> None:
    """Without it the kernel would say «invalid argument»; with it, that loopback has no such address."""
    with pytest.raises(StartError, match="this machine has no such address"):
        await bind("test", "[fe80::77%lo]:0")
    with pytest.raises(StartError, match="this machine has no network interface none"):
        await bind("test", "[fe80::77%none]:0")


@pytest.mark.parametrize("text", ["localhost:0", ":0", "[::]:0"])
async def test_both_address_families_with_one_port(text: str) -> None:
    async with listening(text) as (listener, taken):
        hosts = {host for host, _ in listener.addresses}
        ports = {port for _, port in listener.addresses}
        assert hosts in ({"127.0.0.1", "::1"}, {"0.0.0.0", "::"})
        assert len(ports) == 1
        for host in ("127.0.0.1", "::1"):
            with await dial((host, ports.copy().pop())):
                await taken.get()


async def test_a_host_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.bind_one

    def no_ipv6(host: str, port: int) -> socket.socket:
        if ":" in host:
            raise OSError(errno.EAFNOSUPPORT, "no")
        return real(host, port)

    monkeypatch.setattr(module, "bind_one", no_ipv6)
    async with listening("localhost:0") as (listener, _):
        assert [host for host, _ in listener.addresses] == ["127.0.0.1"]
    with pytest.raises(StartError):
        await bind("test", "[::1]:0")


async def test_no_family_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(host: str, port: int) -> socket.socket:
        raise OSError(errno.EADDRNOTAVAIL, "no")

    monkeypatch.setattr(module, "bind_one", nothing)
    with pytest.raises(StartError, match="no such address"):
        await bind("test", "localhost:1")


async def test_an_ephemeral_port_that_one_family_has_in_use_is_chosen_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.bind_one
    calls: list[str] = []

    def busy_once(host: str, port: int) -> socket.socket:
        calls.append(host)
        if len(calls) == 2:
            raise OSError(errno.EADDRINUSE, "busy")
        return real(host, port)

    monkeypatch.setattr(module, "bind_one", busy_once)
    async with listening("localhost:0") as (listener, _):
        assert calls == ["127.0.0.1", "::1"] * 2
        assert len({port for _, port in listener.addresses}) == 1


async def test_no_port_free_in_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(host: str, port: int) -> socket.socket:
        raise OSError(errno.EADDRINUSE, "busy")

    monkeypatch.setattr(module, "bind_one", busy)
    with pytest.raises(StartError, match="no port is free"):
        await bind("test", "localhost:0")


async def test_a_taken_port_names_listener_address_and_what_to_try() -> None:
    async with listening("localhost:0") as (listener, _):
        port = listener.addresses[0][1]
        with pytest.raises(StartError) as caught:
            await bind("jsonrpc", f"localhost:{port}")
        told = f"jsonrpc: can't listen on localhost:{port}: another program uses that port: "
        assert caught.value.message.startswith(told) and f"(process {os.getpid()})" in caught.value.message
        assert caught.value.reason is Reason.PORT_TAKEN
        assert f"sport = :{port}" in caught.value.hint


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EACCES, "this user may not use that port"),
        (errno.EADDRNOTAVAIL, "this machine has no such address"),
        (errno.EPERM, "Operation not permitted"),
        (None, "odd"),
    ],
)
async def test_other_reasons(monkeypatch: pytest.MonkeyPatch, number: int | None, reason: str) -> None:
    def fail(host: str, port: int) -> socket.socket:
        raise OSError(number, "odd") if number else OSError("odd")

    monkeypatch.setattr(module, "bind_one", fail)
    with pytest.raises(StartError, match=reason) as caught:
        await bind("test", "127.0.0.1:80")
    assert caught.value.hint


async def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(StartError, match="no name that resolves"):
        await bind("test", "nowhere.invalid:1")


async def test_a_port_can_be_bound_again_at_once() -> None:
    async with listening() as (listener, taken):
        address = listener.addresses[0]
        dialled = await dial(address)
        (await taken.get()).close()  # we close first: TIME_WAIT is ours
        dialled.close()
    async with listening(f"{address[0]}:{address[1]}"):
        pass


# --- limits ---


def test_limits_count_per_source_and_window() -> None:
    limiter = RateLimiter([RateLimit("second", 2), RateLimit("minute", 3)])
    noon = FakeClock()()
    assert limiter.admit("a", noon) is None
    assert limiter.admit("a", noon + 0.9) is None
    assert limiter.admit("a", noon + 0.99) == RateLimit("second", 2)
    assert limiter.admit("b", noon + 0.99) is None
    assert limiter.admit("a", noon + 1) is None
    assert limiter.admit("a", noon + 2) == RateLimit("minute", 3)
    assert limiter.admit("a", noon + 59.9) == RateLimit("minute", 3)
    assert limiter.admit("a", noon + 60) is None


def test_windows_are_those_of_the_calendar() -> None:
    limiter = RateLimiter([RateLimit("hour", 1)])
    nearly_one = FakeClock()() + 3599
    assert limiter.admit("a", nearly_one) is None
    assert limiter.admit("a", nearly_one + 0.5) is not None
    assert limiter.admit("a", nearly_one + 1) is None


def test_no_limits_admit_all() -> None:
    assert RateLimiter([]).admit("a", 0.0) is None


def test_a_limit_of_zero_admits_none() -> None:
    assert RateLimiter([RateLimit("hour", 0)]).admit("a", 0.0) is not None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), max_size=60))
def test_never_more_than_the_limit_in_a_window(arrivals: list[tuple[str, float]]) -> None:
    limiter = RateLimiter([RateLimit("second", 3)])
    admitted: dict[tuple[str, int], int] = {}
    for source, now in sorted(arrivals, key=lambda arrival: arrival[1]):
        if limiter.admit(source, now) is None:
            admitted[source, int(now)] = admitted.get((source, int(now)), 0) + 1
    assert max(admitted.values(), default=0) <= 3


def test_many_sources_cost_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SOURCES", 10)
    limiter = RateLimiter([RateLimit("hour", 2)])
    verdicts = [limiter.admit(f"s{index}", 0.0) for index in range(20)]
    assert verdicts[:12] == [None] * 12  # ten of their own, two in the common count
    assert all(verdicts[12:])
    assert limiter.admit("s0", 0.0) is None
    assert len(limiter._counts[0][1]) == 11


async def test_beyond_the_rate_limit_connections_are_closed_on_accept() -> None:
    events, clock = Events(), FakeClock()
    async with listening(rate_limits=[RateLimit("minute", 1)], emit=events, clock=clock) as (listener, taken):
        address = listener.addresses[0]
        with await dial(address):
            await taken.get()
            assert await ended(await dial(address))
            assert await ended(await dial(address))
            refused = events.of(Refused)
            assert [event.why for event in refused] == ["rate_limit"] * 2
            assert refused[0].message() == "test: refused 127.0.0.1 (rate_limit): more than 1 in this minute"
            assert [event.level for event in refused] == [Level.WARN, Level.DEBUG]  # a flood does not fill the log
            clock.advance(60)
            with await dial(address):
                await taken.get()
            assert taken.empty()


async def test_no_more_connections_than_allowed_at_a_time() -> None:
    events = Events()
    async with listening(max_connections=2, emit=events) as (listener, taken):
        address = listener.addresses[0]
        with await dial(address), await dial(address):
            first, second = await taken.get(), await taken.get()
            assert await ended(await dial(address))
            assert events.of(Refused)[0].why == "connections"
            first.close()
            with await dial(address):
                await taken.get()
            assert second.fileno() >= 0


# --- trouble ---


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EINVAL])
async def test_accept_pauses_and_goes_on(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    events = Events()
    async with listening(emit=events, clock=FakeClock()) as (listener, taken):
        bound = Flaky(listener.sockets[0], [OSError(number, "no more")] * 3 + [ConnectionAbortedError()])
        asyncio.get_running_loop().remove_reader(bound.fileno())
        asyncio.get_running_loop().add_reader(bound.fileno(), listener.accept, bound)
        with await dial(listener.addresses[0]):
            await taken.get()
        notices = events.of(Notice)
        assert [notice.level for notice in notices] == [Level.WARN, Level.DEBUG, Level.DEBUG]  # not one per attempt
        assert "no new connections for the moment: no more" in notices[0].text
        assert bound.failures == []


async def test_other_work_gets_its_turn_between_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACCEPTS_PER_TURN", 1)
    async with listening() as (listener, taken):
        with await dial(listener.addresses[0]), await dial(listener.addresses[0]), await dial(listener.addresses[0]):
            for _ in range(3):
                await taken.get()


class Flaky:
    """A listening socket whose first accepts fail."""

    def __init__(self, real: socket.socket, failures: list[OSError]) -> None:
        self.real = real
        self.failures = failures

    def accept(self) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        return self.real.accept()

    def fileno(self) -> int:
        return self.real.fileno()


def test_real_exhaustion_of_descriptors_on_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def scenario() -> None:
        events = Events()
        async with listening(emit=events) as (listener, taken):
            with await dial(listener.addresses[0]) as first:
                (await taken.get()).close()
                dialled = socket.socket()
                dialled.setblocking(False)
                resource.setrlimit(resource.RLIMIT_NOFILE, (dialled.fileno(), hard))  # nothing above what is open
                try:
                    with dialled:
                        await asyncio.get_running_loop().sock_connect(dialled, listener.addresses[0])
                        await events.wait_for(Notice)
                        assert taken.empty()
                        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                        await taken.get()
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                assert first.fileno() >= 0

    uvloop.run(asyncio.wait_for(scenario(), 10))


@pytest.mark.parametrize("error", [NotSent("it failed", hint="try"), RuntimeError("it failed")])
async def test_a_failing_handler_costs_its_own_connection_only(error: Exception) -> None:
    events = Events()

    async def fail(accepted: socket.socket) -> None:
        raise error

    async with listening(on_socket=fail, emit=events) as (listener, _):
        for _ in range(2):
            assert await ended(await dial(listener.addresses[0]))
        refused = events.of(Refused)
        assert len(refused) == 2
        assert "it failed" in refused[0].detail
        assert refused[0].why == ("call" if isinstance(error, NotSent) else "error")


# --- end ---


async def test_close_cancels_what_is_being_handed_over() -> None:
    begun: asyncio.Queue[socket.socket] = asyncio.Queue()
    cancelled: list[bool] = []

    async def hang(accepted: socket.socket) -> None:
        begun.put_nowait(accepted)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async with listening(on_socket=hang) as (listener, _):
        dialled = await dial(listener.addresses[0])
        accepted = await begun.get()
        await listener.close()
        assert cancelled == [True]
        assert accepted.fileno() == -1
        assert listener.addresses == []
        assert await ended(dialled)


async def test_close_during_a_pause_ends_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 60)
    async with listening() as (listener, taken):
        bound = Flaky(listener.sockets[0], [OSError(errno.EMFILE, "no more")])
        listener.accept(bound)  # type: ignore[arg-type]  # stands for a socket
        await listener.close()
        assert taken.empty()


async def test_close_twice_or_without_start_is_harmless() -> None:
    listener = Listener("test", "localhost:0", lambda accepted: asyncio.sleep(0), emit=Events())
    await listener.close()
    await listener.start()
    await listener.close()
    await listener.close()
