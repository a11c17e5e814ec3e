"""Connecting to a ``HOST:PORT``, directly or through an HTTP proxy.

    connect = resolve once → judge each address → race the good ones (RFC 8305) → plain connected socket

The socket comes back non-blocking, with no transport around it: TLS, gRPC, the relay or a tunnel's token go on top.
"""

import asyncio
import base64
import errno
import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from eps.core.endpoint import IPAddress, Judge
from eps.core.host_port import parse_host_port, render_host_port
from eps.errors import BadParams, NoAnswer, Side, Unreachable
from eps.reasons import Reason
from eps.transport.race import again, race
from eps.transport.sockets import tune

MAX_ADDRESSES = 16
"""A name with more addresses than this is cut: each costs a socket while the race runs."""

MAX_FOREIGN_LOOKUPS = 2
"""Lookups, at a time, of names that somebody else chose. An event loop has four to six threads for all lookups, and
none can be stopped: with a slow name server, a bad proxy could keep our own names waiting for minutes."""

AGAIN_SECONDS = 0.75
"""Until a second socket is connected beside one that hears nothing: a link that is back after a cut is used within a
second. By itself, the kernel repeats a first packet after 1, 2, 4, 8 s, older ones do from the start."""

MAX_PROXY_HEADER = 16 * 1024
"""Bytes of an HTTP proxy's answer to CONNECT; h11 allows as much for a whole header."""

LiteralAddress = tuple[Any, ...]
"""A numeric address; for a link-local one also its flow label and its interface's number."""

AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]
"""What ``getaddrinfo`` gives."""

_foreign_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address of a name, ready to be dialled."""

    ip: IPAddress
    sockaddr: tuple[str | int, ...]

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET if self.ip.version == 4 else socket.AF_INET6


async def connect(
    address: str,
    timeout: float,
    *,
    name: str = "",
    label: str = "",
    proxy_url: str | None = None,
    allow: Judge | None = None,
) -> socket.socket:
    """Open a TCP connection; the caller owns the socket.

    Args:
        address: ``HOST:PORT``; ``localhost`` means both address families.
        timeout: seconds for everything: name, connection, HTTP proxy.
        name: who is expected there, for the error text (``hd-2``).
        label: how the error text begins, where it isn't ``name at address``.
        proxy_url: ``http://[user:password@]host:port`` of an HTTP proxy that is asked to CONNECT.
        allow: judges every resolved address; addresses it refuses are not dialled. With ``proxy_url`` it is asked
            about the name first: the HTTP proxy would resolve that anew, so a name that is not trusted as such is
            resolved here, and the HTTP proxy is given an address that was allowed.

    Returns:
        A non-blocking socket with TCP_NODELAY and keepalive.

    Raises:
        Unreachable: in plain English, beginning with ``name at address``.
    """
    label = label or (f"{name} at {address}" if name else address)
    try:
        async with asyncio.timeout(timeout):
            host, port = parse_host_port(address)
            if proxy_url is not None:
                target = address if allow is None else await _judged_target(host, port, allow)
                return await _connect_through(proxy_url, target, label)
            candidates = await resolve(host, port, foreign=allow is not None and allow(host, port, None) is not None)
            return await race(candidates if allow is None else _judged(candidates, host, port, allow), _attempt)
    except BadParams as error:
        raise Unreachable(f"{label}: {error.message}", hint=error.hint, reason=Reason.ADDRESS_WRONG) from None
    except OSError as error:
        if isinstance(error, TimeoutError) and error.errno is None:  # ours; the kernel has one of its own
            raise NoAnswer(
                f"{label}: no answer within {timeout:g} s; does a firewall stand in between?",
                hint="check the address and the firewalls on the way",
            ) from None
        reason = Reason.ADDRESS_WRONG if isinstance(error, socket.gaierror) else Reason.UNREACHABLE
        hint = "check the address, and that the server runs"
        raise Unreachable(f"{label}: {explain(error)}", hint=hint, reason=reason) from error


async def resolve(host: str, port: int, *, foreign: bool = False) -> list[Candidate]:
    """The addresses of ``host``, families alternating, in the resolver's order of preference.

    Args:
        foreign: somebody else chose the name; see :data:`MAX_FOREIGN_LOOKUPS`.

    Raises:
        OSError: the name has no address (``socket.gaierror``), or the address an interface that isn't there.
    """
    if host in ("localhost", ""):  # whatever /etc/hosts says of it; IPv4 first: peers in use bind only that
        return [_candidate("127.0.0.1", port), _candidate("::1", port)]
    try:
        address, *scope = literal_address(host)
        return [_candidate(address, port, *scope)]
    except ValueError:
        pass  # not a literal address
    try:
        found = await (_look_up_foreign(host, port) if foreign else look_up(host, port))
    except UnicodeError as error:  # what IDNA can't encode: a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "not a name") from error
    candidates = [_candidate(str(info[4][0]), port, *info[4][2:]) for info in found]
    return _interleaved(list(dict.fromkeys(candidates)))[:MAX_ADDRESSES]


def literal_address(host: str) -> LiteralAddress:
    """An IP address as sockets take it. uvloop's resolver would lose the interface of a link-local one.

    Raises:
        ValueError: it is a name.
        OSError: there is no such interface.
    """
    ip = ip_address(host)
    if ip.version == 4 or ip.scope_id is None:
        return (host,)
    interfaces = {word: index for index, name in socket.if_nameindex() for word in (name, str(index))}
    if ip.scope_id not in interfaces:
        raise OSError(errno.ENODEV, f"this machine has no network interface {ip.scope_id}")
    return host.partition("%")[0], 0, interfaces[ip.scope_id]


async def look_up(host: str, port: int) -> list[AddressInfo]:
    """What the event loop's resolver finds for a name."""
    loop = asyncio.get_running_loop()
    return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)


async def _look_up_foreign(host: str, port: int) -> list[AddressInfo]:
    loop = asyncio.get_running_loop()
    turns = _foreign_turns.setdefault(loop, asyncio.Semaphore(MAX_FOREIGN_LOOKUPS))
    await turns.acquire()
    looking_up = loop.create_task(look_up(host, port), name="foreign lookup")
    looking_up.add_done_callback(lambda _: turns.release())
    return await asyncio.shield(looking_up)  # whoever waits may give up; the thread is busy all the same


def explain(error: OSError) -> str:
    """Plain English for why a connection could not be made."""
    if isinstance(error, socket.gaierror):
        return "the name has no address; is it spelled right, does DNS know it?"
    words = {
        errno.ECONNREFUSED: "connection refused; is the server running?",
        errno.EHOSTUNREACH: "no route to the host; is the machine up and the network right?",
        errno.ENETUNREACH: "no route to the network; is this machine connected?",
        errno.ETIMEDOUT: "no answer; does a firewall stand in between?",
        errno.ECONNRESET: "the connection was cut while it was being made",
        errno.EACCES: "this machine's firewall forbids the connection",
        errno.EPERM: "this machine's firewall forbids the connection",
        errno.EMFILE: "this program has too many open files; raise its limit (ulimit -n)",
    }
    return words.get(error.errno or 0) or error.strerror or str(error)


async def connect_to(sock: socket.socket, sockaddr: tuple[Any, ...]) -> None:
    """As the event loop's ``sock_connect``, for a resolved address. uvloop's own asks its threads for the address once
    more: that costs as much as all the rest, and behind some slow names nothing could be dialled any more."""
    try:
        sock.connect(sockaddr)
    except (BlockingIOError, InterruptedError):  # it goes on without us
        await _writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code)) from None


async def readable(sock: socket.socket) -> None:
    """Wait until ``sock`` has bytes, an end of stream or an error. The socket must have no transport."""
    loop = asyncio.get_running_loop()
    await _ready(sock, loop.add_reader, loop.remove_reader)


async def _writable(sock: socket.socket) -> None:
    """Wait until ``sock`` is connected, or can't be."""
    loop = asyncio.get_running_loop()
    await _ready(sock, loop.add_writer, loop.remove_writer)


async def _ready(sock: socket.socket, watch: Callable[..., object], unwatch: Callable[[int], object]) -> None:
    ready = asyncio.get_running_loop().create_future()
    descriptor = sock.fileno()  # kept: a socket that is closed meanwhile no longer knows it
    watch(descriptor, _settle, ready)
    try:
        await ready
    finally:
        unwatch(descriptor)


async def read_header(sock: socket.socket, limit: int = MAX_PROXY_HEADER) -> bytes:
    """Read up to and with the first empty line, and not one byte more.

    Raises:
        OSError: the stream ended before, or ``limit`` bytes came without an empty line.
    """
    header = b""
    while len(header) < limit:
        await readable(sock)
        try:
            seen = sock.recv(min(4096, limit - len(header)), socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            continue
        if not seen:
            raise ConnectionResetError(errno.ECONNRESET, "the HTTP proxy hung up")
        known = len(header)
        end = (header + seen).find(b"\r\n\r\n", max(0, known - 3))
        take = len(seen) if end < 0 else end + 4 - known
        header += sock.recv(take)
        if end >= 0:
            return header
    raise OSError(errno.EMSGSIZE, f"the HTTP proxy's answer is longer than {limit} bytes")


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _candidate(host: str, port: int, *scope: str | int) -> Candidate:
    """``scope`` is an IPv6 address's flow label and interface, as the resolver gave them."""
    return Candidate(ip_address(host), (host, port, *scope))


def _interleaved(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Alternate the families, beginning with the preferred one (RFC 8305, section 4)."""
    first = [c for c in candidates if c.family == candidates[0].family]
    other = [c for c in candidates if c.family != candidates[0].family]
    paired = [c for pair in zip(first, other, strict=False) for c in pair]
    shorter = len(paired) // 2
    return paired + first[shorter:] + other[shorter:]


def _judged(candidates: Sequence[Candidate], host: str, port: int, allow: Judge) -> list[Candidate]:
    reasons = [(candidate, allow(host, port, candidate.ip)) for candidate in candidates]
    allowed = [candidate for candidate, reason in reasons if reason is None]
    if not allowed:
        why = "; ".join(dict.fromkeys(reason for _, reason in reasons if reason is not None))
        raise Unreachable(
            f"{render_host_port(host, port)} must not be dialled: {why}",
            hint="list it under internal_endpoints in the proxy's directory settings for service proxy, if it is right",
            reason=Reason.RELAY_NOT_LISTED,
        )
    return allowed


async def _judged_target(host: str, port: int, allow: Judge) -> str:
    """What an HTTP proxy may be asked to connect to: the name, if it is trusted, else an address that is allowed."""
    if allow(host, port, None) is None:
        return render_host_port(host, port)
    return render_host_port(str(_judged(await resolve(host, port, foreign=True), host, port, allow)[0].ip), port)


async def _attempt(candidate: Candidate) -> socket.socket:
    return await again(lambda: _connect_once(candidate), delay=AGAIN_SECONDS)


async def _connect_once(candidate: Candidate) -> socket.socket:
    sock = socket.socket(candidate.family, socket.SOCK_STREAM)
    try:
        tune(sock)
        await connect_to(sock, candidate.sockaddr)
    except BaseException:  # also when cancelled: nobody else knows the socket
        sock.close()
        raise
    return sock


async def _connect_through(proxy_url: str, address: str, label: str) -> socket.socket:
    """Ask an HTTP proxy for a connection to ``address`` (RFC 9110, section 9.3.6)."""
    parts = urlsplit(proxy_url)
    proxy = render_host_port(parts.hostname or "", parts.port or 80)
    if parts.scheme != "http" or not parts.hostname:
        raise Unreachable(
            f"the proxy_url for {label} is not of the form http://HOST:PORT", side=Side.OURS, reason=Reason.SETTINGS
        )
    try:
        sock = await race(await resolve(parts.hostname, parts.port or 80), _attempt)
    except OSError as error:
        raise Unreachable(
            f"{label}: the HTTP proxy {proxy}: {explain(error)}",
            hint="check proxy_url",
            side=Side.OURS,
            reason=Reason.HTTP_PROXY_DOWN,
        ) from error
    try:
        lines = [f"CONNECT {address} HTTP/1.1", f"Host: {address}"]
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            lines.append(f"Proxy-Authorization: Basic {base64.b64encode(user).decode()}")
        await asyncio.get_running_loop().sock_sendall(sock, ("\r\n".join(lines) + "\r\n\r\n").encode())
        _check_connected(await read_header(sock), label, proxy)
    except BaseException:  # also when cancelled: nobody else knows the socket
        sock.close()
        raise
    return sock


def _check_connected(header: bytes, label: str, proxy: str) -> None:
    status = header.split(b"\r\n", 1)[0].decode("latin-1")
    version, _, answer = status.partition(" ")
    if version in ("HTTP/1.0", "HTTP/1.1") and re.match(r"2[0-9]{0,2}( |$)", answer):
        return
    hint = "give proxy_url a user and a password" if answer[:3] == "407" else "check proxy_url and the proxy's rules"
    raise Unreachable(
        f"{label}: the HTTP proxy {proxy} answered {status[:100]!r} to CONNECT",
        hint=hint,
        side=Side.OURS,
        reason=Reason.HTTP_PROXY_REFUSES,
    )
