"""Sockets to an EPS server: TCP, an HTTP proxy that is asked to connect, TLS; all within one deadline."""

import queue
import socket
import ssl
import threading
import time
from base64 import b64encode
from typing import Any

from eps.client.endpoint import Place, Proxy
from eps.core.host_port import render_host_port

MAX_PROXY_ANSWER = 16 * 1024
"""Bytes of the head with which an HTTP proxy agrees or refuses: what proxies in use send has a few hundred."""


class ProxyRefused(OSError):
    """The HTTP proxy did not agree to connect."""


def dial(place: Place, via: Proxy | None, context: ssl.SSLContext | None, seconds: float) -> socket.socket:
    """A connection.

    Raises:
        OSError: none came about (also ``ssl.SSLError``, ``ProxyRefused``, ``TimeoutError``).
    """
    until = time.monotonic() + seconds
    sock = _connected((via.host, via.port) if via is not None else (place.host, place.port), until)
    try:
        if via is not None and place.tls:
            _ask(sock, place, via, until)
        sock.settimeout(_left(until))
        return context.wrap_socket(sock, server_hostname=place.name) if context is not None else sock
    except BaseException:
        sock.close()
        raise


def basic(via: Proxy) -> str:
    """The credentials for an HTTP proxy (RFC 7617); empty: it asks for none."""
    return b64encode(f"{via.user}:{via.password}".encode()).decode() if via.user else ""


def _connected(address: tuple[str, int], until: float) -> socket.socket:
    """By one of the addresses that the name has, in the system's order."""
    failed: OSError | None = None
    found = _addresses(*address, _left(until))
    for tried, (family, kind, protocol, _, place) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(until) / (len(found) - tried))  # one that swallows all leaves time for the next
            sock.connect(place)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failed = error
        else:
            return sock
    raise failed or OSError("the name has no address")


def _addresses(host: str, port: int, seconds: float) -> Any:
    """What the system knows of a name. It asks without a deadline, so it does in a thread that may be left behind."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answers.put(error)
        except UnicodeError:  # what can't be a name
            answers.put(socket.gaierror(socket.EAI_NONAME, "no host can have that name"))

    threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
    try:
        found = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"the name {host} was not looked up in time") from None
    if isinstance(found, OSError):
        raise found
    return found


def _ask(sock: socket.socket, place: Place, via: Proxy, until: float) -> None:
    """CONNECT (RFC 9110, section 9.3.6). Nothing comes behind the proxy's answer before we have spoken."""
    target, credentials = render_host_port(place.host, place.port), basic(via)
    proof = f"Proxy-Authorization: Basic {credentials}\r\n" if credentials else ""
    sock.settimeout(_left(until))
    sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proof}\r\n".encode("ascii"))
    head = b""
    while b"\r\n\r\n" not in head:
        sock.settimeout(_left(until))
        more = sock.recv(MAX_PROXY_ANSWER)
        head += more
        if not more or len(head) > MAX_PROXY_ANSWER:
            raise ProxyRefused("it gave no answer that can be read")
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].startswith("2"):
        raise ProxyRefused(f"it answered {' '.join(words[1:])[:100]!r}")


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left
