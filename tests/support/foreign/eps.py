"""ForeignEps: an EPS server as those in use, put together from the parts beside this file (sections 2, 3, 7 and 9)."""

import base64
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
from support.foreign.directory import Directory
from support.foreign.forms import BadForm, check_connection_request, parse_address, unwrap, wrap
from support.foreign.grpc_client import GrpcClient, NoWay
from support.foreign.grpc_server import GrpcServer, StreamEnded
from support.foreign.habits import Habits, Tls
from support.foreign.messages import Error, Object, Request, Response
from support.foreign.rpc import ForeignRpcClient, RpcCall, RpcError
from support.foreign.streams import StreamHolder
from support.foreign.tunnel import Pump, close_socket, dial, dial_with_token

Service = Callable[[str, Object, str], Any]
"""An application: (method without the operator, params with ``_client``, full id) → result, or RpcError."""


class ForeignEps:
    """An EPS server.

    Args:
        directory: shared with the other servers of a test, or its own.
        service: the application behind it; None: calls for it fail with 500.

    Attributes:
        server: its gRPC server (``server.port``, ``server.peers``, ``server.wait_connected`` …).
        client: its gRPC client (``client.dialled``).
        streams: by operator, the ``ServerCall`` streams that it holds.
        pumps: tunnels joined as B, oldest first.
    """

    def __init__(
        self, name: str, directory: Directory, tls: Tls, *, service: Service | None = None, habits: Habits | None = None
    ) -> None:
        self.name, self.directory, self.service = name, directory, service
        self.habits = habits or Habits()
        self.streams: dict[str, StreamHolder] = {}
        self.pumps: list[Pump] = []
        self._in_flight: set[str] = set()
        self._lock = threading.Lock()
        self.client = GrpcClient(name, tls, directory, self.habits, self._request_connection)
        self.server = GrpcServer(tls, self.habits, self._identify, self.deliver)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    # --- what tests and applications call

    def call(self, target: str, params: Object | None = None, local_id: str = "") -> Response:
        """A call of our own applications to ``OPERATOR.METHOD``; waits without a deadline. Raises BadForm."""
        return self.deliver(Request(target, params or {}, f"{target}({local_id or secrets.token_hex(8)})"), self.name)

    def rpc_handler(self, call: RpcCall) -> Any:
        """The same for a ForeignRpcServer: unwrapped result, or RpcError."""
        try:
            response = self.call(call.method, call.params, call.id)
        except BadForm as error:
            raise RpcError(1, str(error), {}) from None
        if response.error is not None:
            raise RpcError(response.error.code, response.error.message, unwrap(response.error.data))
        return unwrap(response.result)

    def hold_stream(self, operator: str) -> StreamHolder:
        """Keep a ``ServerCall`` stream to ``operator``."""
        holder = StreamHolder(self.name, operator, self.dial, self._answer_over_stream, self.habits)
        self.streams[operator] = holder
        return holder

    def hold_streams(self) -> None:
        """To everyone to whom the directory says so."""
        for operator in self.directory.stream_targets(self.name):
            if operator not in self.streams:
                self.hold_stream(operator)

    def close(self) -> None:
        for holder in self.streams.values():
            holder.close()
        self.client.close()
        with self._lock:
            pumps = list(self.pumps)
        for pump in pumps:
            pump.close()
        self.server.close()

    # --- delivery (section 2)

    def deliver(self, request: Request, sender: str) -> Response:
        """Raises BadForm for what those in use turn into a gRPC status or code 1."""
        operator, method, _ = parse_address(request.id)
        with self._flight(request.id):
            entry = self.directory.entry(sender)
            if entry is None or self.directory.entry(operator) is None:
                raise BadForm(f"no entry for {operator if entry else sender}")
            delivered = request.method.rpartition(".")[2]
            checked = method if self.habits.right_by_id else delivered
            if sender != self.name and not self.directory.may_call(sender, self.name, checked):
                return Response(request.id, None, Error(403, "permission denied"))
            params = {**request.params, "_client": {"name": sender, "entry": entry}}
            if operator != self.name:
                return self._send_out(operator, Request(request.method, params, request.id, self.name))
            return self._answer(delivered, params, request.id)

    @contextmanager
    def _flight(self, request_id: str) -> Iterator[None]:
        with self._lock:
            if request_id in self._in_flight and self.habits.refuses_ids_in_flight:
                raise BadForm(f"request {request_id} is already in flight")
            self._in_flight.add(request_id)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight.discard(request_id)

    def _answer(self, method: str, params: Object, request_id: str) -> Response:
        try:
            if method == "_ping":
                return Response(request_id, self._ping(params))
            if method == "_directory":
                return Response(request_id, {"entries": self.directory.entries})
            if method == "_connectionRequest":
                self._connection_request(params)
                return Response(request_id, {})
            if self.service is None:
                return Response(request_id, None, Error(500, "no channel can deliver the message"))
            return Response(request_id, wrap(self.service(method, params, request_id)))
        except RpcError as error:
            return Response(request_id, None, Error(error.code, error.message, wrap(error.data)))
        except (BadForm, OSError) as error:
            return Response(request_id, None, Error(1, f"error handling internal request: {error}"))

    def _ping(self, params: Object) -> Object:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        own = self.directory.entry(self.name)
        return {"version": "development", "timestamp": now, "params": params, "serverInfo": own}

    def _send_out(self, operator: str, request: Request) -> Response:
        try:
            if self.server.connected(operator):
                return self.server.send(operator, request)
            return self.client.call(operator, request)
        except (grpc.RpcError, grpc.FutureCancelledError, NoWay, StreamEnded, OSError) as error:
            return Response(request.id, None, Error(500, f"error delivering the message: {error}"))

    # --- gRPC, both directions (section 3)

    def _identify(self, common_name: str, dns_names: list[str], fingerprint: str) -> list[str]:
        names = dict.fromkeys([common_name, *dns_names])
        return [name for name in names if fingerprint in self.directory.pins(name)]

    def dial(self, operator: str) -> grpc.Channel:
        """A new channel to the operator's address; the caller closes it."""
        settings = self.directory.grpc_server(operator) or {}
        return self.client.open(operator, settings.get("address") or "127.0.0.1:1")

    def _answer_over_stream(self, sender: str, request: Request) -> Response:
        if request.client_name not in ("", sender):
            return Response(request.id, None, Error(404, "unknown client name"))
        try:
            response = self.deliver(request, sender)
        except BadForm as error:
            return Response(request.id, None, Error(-100, str(error)))
        internal = request.method.rpartition(".")[2] in ("_ping", "_directory")
        if internal and self.habits.silent_internal_methods and response.error is None:
            return Response(request.id)
        return response

    # --- brokered connections (section 7)

    def _request_connection(self, proxy: str, operator: str) -> tuple[str, bytes]:
        """Step 2, as A: (endpoint, token)."""
        response = self.call(f"{proxy}.requestConnection", {"to": operator, "channel": "grpc_server"})
        if response.error is not None:
            raise NoWay(f"{proxy}: {response.error.message}")
        result = response.result or {}
        return result["endpoint"], base64.b64decode(result["token"], validate=True)

    def _connection_request(self, params: Object) -> None:
        """Step 4, as B: the socket's other end is our own gRPC server."""
        channel, endpoint, token = check_connection_request(params)
        if channel != "grpc_server":
            raise BadForm(f"no channel {channel}")
        remote = dial_with_token(endpoint, token)
        try:
            local = dial(self.address)
        except OSError:
            close_socket(remote)
            raise
        with self._lock:
            self.pumps.append(Pump(remote, local))


def rpc_service(client: ForeignRpcClient) -> Service:
    """An application behind JSON-RPC (the ``jsonrpc_client`` channel): the full address is the id on that side."""

    def service(method: str, params: Object, request_id: str) -> Any:
        answer = client.call(method, params, request_id)
        if answer.error is not None:
            raise RpcError(answer.error["code"], answer.error["message"], answer.error.get("data"))
        return answer.result

    return service
