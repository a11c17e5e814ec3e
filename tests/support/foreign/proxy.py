"""ForeignProxy: a public proxy as those in use (sections 7 and 9, «Relay»)."""

import base64
import secrets
import socket
import ssl
import threading
from time import monotonic
from typing import Any

from support.foreign.forms import TOKEN_BYTES, BadForm, check_client
from support.foreign.messages import Object
from support.foreign.rpc import ForeignRpcClient, ForeignRpcServer, RpcCall, RpcError
from support.foreign.tunnel import Pump, close_socket


class Relay:
    """Accepts connections, reads a token from each in one read, joins two with the same token.

    Attributes:
        token_timeout: seconds from accepting to the token.
        cut_after: seconds from accepting to the end of a joined connection, also while data flows.
        accept_timeout: seconds that the first half of a pair waits.
        joined, cut: counts.
        cutting: as ``cut``, but counted before anybody can notice: whoever fails by a cut finds it counted.
        rejected: why connections were closed, in order.
    """

    def __init__(self, *, token_timeout: float, cut_after: float, accept_timeout: float) -> None:
        self.token_timeout, self.cut_after, self.accept_timeout = token_timeout, cut_after, accept_timeout
        self.joined = self.cut = self.cutting = 0
        self.rejected: list[str] = []
        self._expected: set[bytes] = set()
        self._halves: dict[bytes, tuple[socket.socket, float]] = {}
        self._sockets: set[socket.socket] = set()
        self._pumps: list[Pump] = []
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._start(self._accept)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def connected(self) -> int:
        """Joined connections that are alive."""
        return sum(not pump.finished for pump in self._pumps)

    def expect(self, token: bytes) -> None:
        """Let two connections with ``token`` meet."""
        with self._changed:
            self._expected.add(token)

    def forget(self, token: bytes) -> None:
        with self._changed:
            self._expected.discard(token)
            half = self._halves.pop(token, None)
        if half is not None:
            close_socket(half[0])

    def wait_for(self, what: str, count: int, timeout: float = 15.0) -> bool:
        """Wait until ``joined``, ``cut`` or the number ``rejected`` is at least ``count``."""

        def reached() -> bool:
            value = getattr(self, what)
            return bool((value if isinstance(value, int) else len(value)) >= count)

        with self._changed:
            return self._changed.wait_for(reached, timeout)

    def _start(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, name="foreign-relay")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                if self._closing:
                    sock.close()
                    return
                self._sockets.add(sock)
                self._start(self._serve, sock, monotonic())

    def _serve(self, sock: socket.socket, accepted: float) -> None:
        token = self._read_token(sock)
        if token is None:
            return
        with self._changed:
            other = self._halves.pop(token, None)
            if other is None:
                self._halves[token] = (sock, accepted)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._halves.get(token, (None,))[0] is not sock, self.accept_timeout)
                if self._halves.get(token, (None,))[0] is sock:
                    del self._halves[token]
                    self._reject(sock, "alone")
                return
            self._expected.discard(token)
            self._changed.notify_all()
        self._join(other[0], sock, min(other[1], accepted) + self.cut_after)

    def _read_token(self, sock: socket.socket) -> bytes | None:
        sock.settimeout(self.token_timeout)
        try:
            token = sock.recv(TOKEN_BYTES)  # one read: a token in two segments is a wrong one
            sock.settimeout(None)
        except OSError:
            token = b""
        with self._changed:
            if token in self._expected:
                return token
            self._reject(sock, "short token" if len(token) < TOKEN_BYTES else "unknown token")
            return None

    def _reject(self, sock: socket.socket, why: str) -> None:
        self.rejected.append(why)
        self._sockets.discard(sock)
        close_socket(sock)
        self._changed.notify_all()

    def _join(self, first: socket.socket, second: socket.socket, cut_at: float) -> None:
        pump = Pump(first, second)
        with self._changed:
            self.joined += 1
            self._pumps.append(pump)
            self._sockets -= {first, second}
            closing = self._closing
            self._changed.notify_all()
        ended = closing or pump.wait_until(cut_at)
        if not ended:
            with self._changed:
                self.cutting += 1
        pump.close()
        if not ended:
            with self._changed:
                self.cut += 1
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._halves.clear()
            sockets, pumps = list(self._sockets), list(self._pumps)
            self._changed.notify_all()
        close_socket(self._listener)
        for sock in sockets:
            close_socket(sock)
        for pump in pumps:
            pump.close()
        for thread in list(self._threads):
            thread.join()


class ForeignProxy:
    """A public proxy: ``requestConnection`` over JSON-RPC, and the relay.

    Args:
        eps: JSON-RPC client of its EPS server (calls the network as the proxy's operator).
        context: TLS for its own JSON-RPC server; None: plain HTTP.
        port: of that server; 0 takes a free one.

    Attributes:
        rpc: its JSON-RPC server, for its EPS server.
        relay: the relay (``relay.joined``, ``relay.cut``, ``relay.rejected``).
        requests: params of each ``requestConnection``.
    """

    def __init__(
        self,
        eps: ForeignRpcClient,
        context: ssl.SSLContext | None = None,
        *,
        cut_after: float = 5.0,
        token_timeout: float = 5.0,
        accept_timeout: float = 10.0,
        port: int = 0,
    ) -> None:
        self._eps = eps
        self.requests: list[Object] = []
        self.relay = Relay(token_timeout=token_timeout, cut_after=cut_after, accept_timeout=accept_timeout)
        self.rpc = ForeignRpcServer(self._handle, context, port=port)

    def _handle(self, call: RpcCall) -> Any:
        if call.method != "requestConnection":
            raise RpcError(-32601, "unknown method")
        try:
            check_client(call.params.get("_client"), "_client")
            to, channel = call.params.get("to"), call.params.get("channel")
            if not isinstance(to, str) or not isinstance(channel, str):
                raise BadForm("to(expected a string), channel(expected a string)")
        except BadForm as error:
            raise RpcError(-32602, f"invalid params: {error}") from None
        self.requests.append(call.params)
        return self._broker(to, channel, call.params["_client"])

    def _broker(self, to: str, channel: str, client: Object) -> Object:
        """Steps 3 and 5: one token for both sides."""
        token = secrets.token_bytes(TOKEN_BYTES)
        text = base64.b64encode(token).decode()
        self.relay.expect(token)
        told = {"endpoint": self.relay.endpoint, "client": client, "channel": channel, "token": text}
        answer = self._eps.call(f"{to}._connectionRequest", told, "")
        if answer.error is not None:
            self.relay.forget(token)
            raise RpcError(answer.error["code"], answer.error["message"], answer.error.get("data"))
        return {"token": text, "endpoint": self.relay.endpoint}

    def close(self) -> None:
        self.relay.close()
        self.rpc.close()
