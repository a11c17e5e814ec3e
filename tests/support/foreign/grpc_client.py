"""The dialling side of gRPC on the C core: a connection per call, direct or through a relay (sections 3, 7 and 9)."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
from support.foreign import messages
from support.foreign.directory import Directory
from support.foreign.habits import Habits, Tls, client_options
from support.foreign.messages import Request, Response
from support.foreign.tunnel import Forwarder


class NoWay(Exception):
    """The operator has no gRPC server that this client may dial."""


class GrpcClient:
    """Calls other operators' gRPC servers.

    The C core offers the peer's certificate to servers only, so this client verifies chain and name but no pin.

    Args:
        request_connection: (proxy, operator) → (endpoint, token): steps 2 to 5 of section 7, up to P's answer.

    Attributes:
        dialled: the operator of each connection that was opened, in order.
    """

    def __init__(
        self,
        name: str,
        tls: Tls,
        directory: Directory,
        habits: Habits,
        request_connection: Callable[[str, str], tuple[str, bytes]],
    ) -> None:
        self._name, self._tls, self._directory, self._habits = name, tls, directory, habits
        self._request_connection = request_connection
        self.dialled: list[str] = []
        self._kept: dict[str, grpc.Channel] = {}
        self._running: set[grpc.Future] = set()
        self._lock = threading.Lock()
        self._closed = False

    def call(self, operator: str, request: Request) -> Response:
        """Raises grpc.RpcError, NoWay, OSError. No deadline: the habit."""
        with self._channel(operator) as channel:
            path = f"/{self._habits.grpc_service}/Call"
            method = channel.unary_unary(path, messages.encode_request, messages.decode_response)
            with self._lock:
                if self._closed:
                    raise NoWay("closed")
                running = method.future(request)
                self._running.add(running)
            try:
                response: Response = running.result()
                return response
            finally:
                with self._lock:
                    self._running.discard(running)

    @contextmanager
    def _channel(self, operator: str) -> Iterator[grpc.Channel]:
        settings = self._directory.grpc_server(operator)
        if settings is None or settings.get("internal") or settings.get("proxy") == self._name:
            raise NoWay(f"{operator} has no gRPC server to dial")
        if settings.get("proxy"):
            with self._tunnel(settings["proxy"], operator) as channel:
                yield channel
        elif self._habits.connection_per_call:
            channel = self.open(operator, settings["address"])
            try:
                yield channel
            finally:
                channel.close()
        else:
            yield self.keep(operator, settings["address"])

    @contextmanager
    def _tunnel(self, proxy: str, operator: str) -> Iterator[grpc.Channel]:
        endpoint, token = self._request_connection(proxy, operator)
        forwarder = Forwarder(endpoint, token)
        channel = self.open(operator, forwarder.address)
        try:
            yield channel
        finally:
            channel.close()
            forwarder.close()

    def keep(self, operator: str, address: str) -> grpc.Channel:
        """The one channel to the operator that is kept until the end."""
        with self._lock:
            if operator not in self._kept:
                self._kept[operator] = self.open(operator, address)
            return self._kept[operator]

    def open(self, operator: str, address: str) -> grpc.Channel:
        """A channel of its own; the caller closes it."""
        self.dialled.append(operator)
        credentials = grpc.ssl_channel_credentials(self._tls.root_pem, self._tls.key_pem, self._tls.cert_pem)
        return grpc.secure_channel(address, credentials, client_options(operator))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            running, kept = list(self._running), list(self._kept.values())
        for call in running:
            call.cancel()
        for channel in kept:
            channel.close()
