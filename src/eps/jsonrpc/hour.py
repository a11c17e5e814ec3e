"""What time it is at a server, asked without believing who says it: TLS is not verified, so that a wrong clock or
authority keeps nobody from seeing what is behind it. For words to administrators, and nothing else.
"""

import asyncio
import socket
import ssl
from contextlib import suppress

from eps.core.clock import date_in
from eps.core.jsonrpc_text import render_request
from eps.transport.tls import TlsFiles

MAX_HEAD_BYTES = 16 * 1024
"""Of an HTTP answer, in which a Date is looked for."""


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
