"""``eps dev internal-server``: an HTTPS server that stands for one in an operator's internal network.

It answers every request with ``{"message": "success"}``, from the certificate ``internal-server``, whose names are
``internal-server`` and ``*.internal-server.local``. The private proxy of the development network forwards to it, so
that TLS passthrough can be seen (PROTOCOL.md section 8).
"""

import asyncio
import socket
import ssl
from pathlib import Path

from aiohttp import web

from eps.core.event import Emit, Started
from eps.errors import StartError
from eps.programs.dev.network import DEV
from eps.transport.listener import Listener
from eps.transport.tls import TlsFiles, accept_tls, server_context

NAME = "internal-server"
HANDSHAKE_SECONDS = 10.0
STOP_SECONDS = 1.0


class InternalServer:
    """A server for ``programs.running.runtime``.

    Args:
        root: the repository's root.
        bind_address: where to listen.
        tls: HTTPS, or plain HTTP for a private proxy that ends TLS itself.

    Raises:
        StartError: the certificate is missing or wrong.
    """

    def __init__(self, root: Path, bind_address: str, emit: Emit, *, tls: bool = True) -> None:
        self._context = _context(root) if tls else None
        self._http: web.Server | None = None
        self._listener = Listener(self._protocol.lower(), bind_address, self._accept, emit=emit)

    @property
    def _protocol(self) -> str:
        return "HTTPS" if self._context is not None else "HTTP"

    async def start(self) -> None:
        """Bind; raises StartError if the port is taken."""
        self._http = web.Server(self._answer, access_log=None)
        await self._listener.start()

    async def close(self) -> None:
        """Stop."""
        await self._listener.close()
        if self._http is not None:
            self._http.pre_shutdown()
            await self._http.shutdown(STOP_SECONDS)

    def started(self) -> Started:
        """Where it listens."""
        host, port = self._listener.addresses[0]
        return Started(name=f"the example server {NAME}", listening=(f"{self._protocol} {host}:{port}",))

    async def _accept(self, accepted: socket.socket) -> None:
        assert self._http is not None, "nothing is accepted before start"
        if self._context is None:
            await asyncio.get_running_loop().connect_accepted_socket(self._http, accepted)
        else:
            await accept_tls(self._http, accepted, self._context, timeout=HANDSHAKE_SECONDS)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        return web.json_response({"message": "success"})


def _context(root: Path) -> ssl.SSLContext:
    certs = root / DEV / "certs"
    if not certs.is_dir():
        raise StartError(f"there is no {certs}", hint="make certs makes it; run this in the repository's root")
    return server_context(
        TlsFiles((), str(certs / f"{NAME}.crt"), str(certs / f"{NAME}.key"), verify_client=False), ["http/1.1"]
    )
