"""A private proxy where TLS ends, for JSON-RPC: calls go on to a configured endpoint (PROTOCOL.md section 8)."""

import asyncio
import socket
import ssl
import time
from dataclasses import replace

from eps.core.event import Emit
from eps.core.jsonrpc_text import Call
from eps.core.message import CLIENT_KEY, Response
from eps.core.names import Operator
from eps.core.rendezvous import TunnelOutcome
from eps.core.warn_rate import sparing
from eps.errors import TlsFailed
from eps.jsonrpc.client import JsonRpcClient
from eps.jsonrpc.server import JsonRpcServer, Serving
from eps.jsonrpc.tolerance import Tolerance
from eps.proxy.forwarding import ended
from eps.proxy.http_forwarding import ANSWER_SECONDS, tls_failed
from eps.transport.tls import TlsFiles


class JsonRpcForwarder:
    """A :class:`eps.proxy.forwarding.Forwarder` that answers JSON-RPC calls by calling another server.

    Args:
        client: calls the endpoint; closed by :meth:`close`.
        serving: where clients post their calls to, and the certificate to end TLS with.
        timeout: seconds for a call.
    """

    def __init__(self, client: JsonRpcClient, serving: Serving, *, timeout: float = ANSWER_SECONDS, emit: Emit) -> None:
        self._client = client
        self._timeout = timeout
        self._tolerate = Tolerance(client.label, emit)
        self._emit = sparing(emit, time.monotonic)
        self._open = 0
        self._serving = serving
        self._server = JsonRpcServer("passthrough", None, self._pass_on, serving=serving, emit=emit)

    @property
    def open(self) -> int:
        """How many connections there are."""
        return self._open

    @property
    def moved(self) -> tuple[int, int]:
        """None are counted: its calls are read whole, and answered anew."""
        return 0, 0

    async def start(self) -> None:
        """Load the certificate; raises StartError if it can't be used."""
        await self._server.start()

    def renew(self, context: ssl.SSLContext, tls: TlsFiles, mark: bytes) -> None:
        """End TLS with ``context``, made of ``tls``; see :class:`eps.jsonrpc.server.Serving` for ``mark``."""
        self._serving = replace(self._serving, tls=tls, mark=mark)
        self._server.renew(context, self._serving)

    def become(self, client: JsonRpcClient) -> None:
        """Call by ``client`` from now on, which belongs to this forwarder."""
        self._client.become(client)

    async def stop(self) -> None:
        """End each connection when the call in progress on it is answered."""
        await self._server.stop()

    async def close(self) -> None:
        """Let calls in flight end, then end all connections."""
        await self._server.close()
        await self._client.close()

    async def forward(self, sock: socket.socket, domain: str, via: Operator) -> None:
        """See :meth:`eps.proxy.forwarding.Forwarder.forward`."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        def on_end(error: BaseException | None) -> None:
            self._open -= 1
            outcome = TunnelOutcome.FINISHED if error is None else TunnelOutcome.RESET
            self._emit(ended(outcome, domain, via, loop.time() - began))

        self._open += 1
        try:
            await self._server.accept(sock, on_end)
        except TlsFailed as error:
            self._open -= 1
            tls_failed(error, domain, via, self._emit)
        except asyncio.CancelledError:
            self._open -= 1
            sock.close()
            self._emit(ended(TunnelOutcome.STOPPED, domain, via, loop.time() - began))
            raise

    async def _pass_on(self, call: Call) -> Response:
        """``_client`` tells services which operator calls. Only EPS servers may say that, no client on the Internet."""
        params = {key: value for key, value in call.params.items() if key != CLIENT_KEY}
        return await self._client.call(
            call.method, params, request_id=call.id, timeout=self._timeout, tolerate=self._tolerate
        )
