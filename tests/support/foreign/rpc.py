"""JSON-RPC over HTTP(S) as peers in use speak it (section 5 and section 9), on the standard library alone."""

import http.client
import json
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from support.foreign.messages import Object
from support.foreign.tunnel import close_socket

_ESCAPED = re.compile(r"(n+):-?\d+", re.ASCII)
"""What an integer id looks like inside the network; strings of that form travel with their n's doubled."""

REQUEST_TIMEOUT = 60.0
"""Peers in use have no deadline; this one only ends a broken test."""


class RpcError(Exception):
    """An error answer. ``code`` 1 is what peers in use say of anything they did not expect."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


@dataclass(frozen=True, slots=True)
class RpcCall:
    method: str
    params: Object
    id: str
    client_name: str = ""
    """The common name of the TLS client certificate, if one was shown."""


@dataclass(frozen=True, slots=True)
class RpcAnswer:
    status: int
    id: Any
    result: Any = None
    error: Object | None = None
    body: bytes = field(default=b"", repr=False)


class ForeignRpcClient:
    """A JSON-RPC client with the habits of section 9.

    Attributes:
        ignores_http_status: the status is not looked at; a body that is no JSON (an HTML 404 page) reads as an empty
            success. Off: it raises.
    """

    ignores_http_status = True

    def __init__(self, endpoint: str, context: ssl.SSLContext | None = None, server_name: str = "") -> None:
        self._url = urlsplit(endpoint)
        self._context, self._server_name = context, server_name

    def call(self, method: str, params: Object, request_id: Any = "") -> RpcAnswer:
        """One request on a connection of its own. Error answers are returned, not raised."""
        body = {"jsonrpc": "2.0", "method": method, "params": params, "id": request_id}
        status, data = self.post(json.dumps(body).encode())
        try:
            answer = json.loads(data)
        except ValueError:
            if not self.ignores_http_status:
                raise
            return RpcAnswer(status, None, {}, None, data)
        if not isinstance(answer, dict):
            answer = {}
        return RpcAnswer(status, answer.get("id"), answer.get("result"), answer.get("error"), data)

    def post(self, body: bytes, content_type: str = "application/json") -> tuple[int, bytes]:
        connection = self._connect()
        try:
            connection.request("POST", self._url.path or "/jsonrpc", body, {"Content-Type": content_type})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        connection = http.client.HTTPConnection(host, port, timeout=REQUEST_TIMEOUT)
        if self._context is not None:
            sock = socket.create_connection((host, port or 443), REQUEST_TIMEOUT)
            # Certificates name operators, not hosts: the name to verify is given, as with curl's --resolve.
            connection.sock = self._context.wrap_socket(sock, server_hostname=self._server_name or host)
        return connection


class ForeignRpcServer:
    """A JSON-RPC server. ``handler`` gets each call in a thread of its own and returns the result or raises RpcError.

    Attributes:
        html_404: other paths get a page in HTML instead of section 5's ``{"message": "not found"}``.
        slip: errors carry ``"jsonrpc": "2.0,"``, as recorded in vectors/jsonrpc_http.json.
        calls: what came in, in order.
    """

    html_404 = False
    slip = False

    def __init__(
        self,
        handler: Callable[[RpcCall], Any],
        context: ssl.SSLContext | None = None,
        path: str = "/jsonrpc",
        port: int = 0,
    ) -> None:
        self.calls: list[RpcCall] = []
        self._handler, self._context, self._path = handler, context, path
        self._server = _Server(self, context, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="foreign-rpc")
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def endpoint(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}{self._path}"

    def answer(self, path: str, content_type: str, body: bytes, client_name: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        if path != self._path:
            if self.html_404:
                return 404, "text/html", b"<html><body>404 page not found</body></html>"
            return 404, "application/json", b'{"message": "not found"}'
        try:
            call = _parse(content_type, body, client_name)
        except RpcError as error:
            return self._failed(None, error)
        self.calls.append(call)
        try:
            result = self._handler(call)
        except RpcError as error:
            return self._failed(call.id, error)
        except Exception as error:
            return self._failed(call.id, RpcError(-32603, f"{type(error).__name__}: {error}"))
        return 200, "application/json", _json({"jsonrpc": "2.0", "result": result, "id": _outward(call.id)})

    def _failed(self, request_id: str | None, error: RpcError) -> tuple[int, str, bytes]:
        body: Object = {"code": error.code, "message": error.message}
        if error.data is not None:
            body["data"] = error.data
        version = "2.0," if self.slip else "2.0"
        answer_id = None if request_id is None else _outward(request_id)
        return 400, "application/json", _json({"jsonrpc": version, "error": body, "id": answer_id})

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() joins them

    def __init__(self, owner: ForeignRpcServer, context: ssl.SSLContext | None, port: int) -> None:
        self.owner, self.context = owner, context
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the connection's own thread, so that a slow handshake delays nobody.
        request.settimeout(REQUEST_TIMEOUT)
        try:
            if self.context is not None:
                request = self.context.wrap_socket(request, server_side=True)
        except OSError:  # the handshake failed; wrap_socket has detached or closed the socket
            request.close()
            return
        with self._lock:
            self._open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self._lock:
                self._open.discard(request)
            close_socket(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that end early are expected."""

    def close_connections(self) -> None:
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = _common_name(self.connection)
        status, kind, answer = self.server.owner.answer(self.path, self.headers.get("Content-Type") or "", body, name)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def _parse(content_type: str, body: bytes, client_name: str) -> RpcCall:
    if content_type.split(";")[0].strip().lower() != "application/json":
        raise RpcError(-32700, "JSON required")
    try:
        message = json.loads(body)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise RpcError(-32700, "JSON required")
    method, params = message.get("method"), message.get("params")
    if message.get("jsonrpc") != "2.0" or not isinstance(method, str) or not method or not isinstance(params, dict):
        raise RpcError(-32600, "invalid request")
    return RpcCall(method, params, _inward(message.get("id")), client_name)


def _inward(value: Any) -> str:
    if value is None or value == "":
        return secrets.token_hex(16)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"n:{value}"
    if not isinstance(value, str):
        raise RpcError(-32600, "invalid request")
    looks_escaped = _ESCAPED.fullmatch(value)
    return looks_escaped[1] + value if looks_escaped else value


def _outward(value: str) -> Any:
    looks_escaped = _ESCAPED.fullmatch(value)
    if looks_escaped is None:
        return value
    return int(value[2:]) if looks_escaped[1] == "n" else value[len(looks_escaped[1]) // 2 :]


def _common_name(sock: Any) -> str:
    certificate = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
    subject: Any = (certificate or {}).get("subject", ())
    names = [value for part in subject for key, value in part if key == "commonName"]
    return str(names[0]) if names else ""


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
