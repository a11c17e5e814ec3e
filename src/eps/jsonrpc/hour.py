"""What time it is at a server, asked without believing who says it: TLS is not verified, so that a wrong clock or
authority keeps nobody from seeing what is behind it. For words to administrators, and nothing else.
"""

import asyncio
import math
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

from eps.core.clock import date_in
from eps.core.jsonrpc_text import render_request
from eps.transport.tls import TlsFiles

MAX_HEAD_BYTES = 16 * 1024
"""Of an HTTP answer, in which a Date is looked for."""

HOUR_SECONDS = 2.0
"""To be told the time where TLS fails for its date; whoever waits for the failure is kept no longer."""

HOUR_EVERY = 60.0
"""Between two such questions to one server, in seconds, whatever came of the first."""


class HourQuestion:
    """The question what time it is at one server: one at a time, and not often. It runs beside whoever wants to know,
    in a task that ends within :data:`HOUR_SECONDS`, or with ``close``. After that, or ``give_up``, nothing is asked.

    Args:
        ask: asks, and keeps the answer; raises nothing but for cancellation and what a deadline makes of it.
    """

    def __init__(self, ask: Callable[[], Awaitable[None]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = -math.inf
        self._closed = False

    async def ask(self, until: float) -> None:
        """Have it asked, if it was not lately, and wait for the answer: for half of the time that is left.

        Args:
            until: when nobody waits any more, by the event loop's clock.
        """
        if self._closed:  # a call that fails while its client is closed: nobody would own the task
            return
        now = asyncio.get_running_loop().time()
        if now - self._asked_at >= HOUR_EVERY:
            self._asked_at = now
            self._asking = asyncio.create_task(self._in_time(), name="what time is it there")
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=max(0.0, min(HOUR_SECONDS, (until - now) / 2)))

    def give_up(self) -> None:
        """End a question that is under way, and ask no more."""
        self._closed = True
        if self._asking is not None:
            self._asking.cancel()

    async def close(self) -> None:
        """The same, and wait for its end."""
        self.give_up()
        if self._asking is not None:
            await asyncio.wait({self._asking})

    async def _in_time(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(HOUR_SECONDS):
                await self._ask()


def trusting(files: TlsFiles, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """A context that shows our certificate, and takes any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if files.certificate_file:
        with suppress(OSError):  # told by those who load it to use it
            context.load_cert_chain(files.certificate_file, files.key_file, password="")  # none is asked for
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


async def opened(
    sock: socket.socket, context: ssl.SSLContext | None, server_name: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connected, non-blocking socket as streams, behind TLS if there is a context.

    Raises:
        OSError: TLS did not come about; the socket is closed.
        ValueError, TypeError: the name can't stand in a ClientHello.
    """
    try:
        if context is None:
            return await asyncio.open_connection(sock=sock, limit=MAX_HEAD_BYTES)
        return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=server_name, limit=MAX_HEAD_BYTES)
    except BaseException:  # also when cancelled: nobody else knows the socket
        sock.close()
        raise


async def hour_there(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, path: str) -> str:
    """Ask anything, and end the connection.

    Returns:
        The ``Date`` of the answer (RFC 9110, section 6.6.1); "" if it has none, or if none came.
    """
    body = render_request("getTip", {}, "1")
    head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
    try:
        writer.write(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return ""
    finally:
        writer.transport.abort()
    return date_in(answer.decode("latin-1"))
