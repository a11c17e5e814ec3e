"""The serving side of gRPC on the C core: ``Call``, and ``ServerCall`` as those in use serve it (sections 3 and 9)."""

import hashlib
import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NoReturn

import grpc
from support.foreign import messages
from support.foreign.forms import BadForm
from support.foreign.habits import Habits, Tls
from support.foreign.messages import Request, Response

WORKERS = 64
"""Each ``ServerCall`` holds a thread of the pool as long as it is open."""


class StreamEnded(Exception):
    """The stream ended before the answer came."""


class _Pending:
    def __init__(self, request: Request) -> None:
        self.request = request
        self.answer: Future[Response] = Future()


class _Stream:
    """One open ``ServerCall``: the requests that wait for their turn, then the one that waits for its answer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._waiting: set[_Pending] = set()
        self._lock = threading.Lock()
        self._ended = False

    def send(self, request: Request) -> Response:
        pending = _Pending(request)
        with self._lock:
            if self._ended:
                raise StreamEnded(f"the stream of {self.name} has ended")
            self._waiting.add(pending)
            self._queue.put(pending)
        return pending.answer.result()  # no deadline: the habit

    def next(self) -> _Pending | None:
        return self._queue.get()

    def answered(self, pending: _Pending, response: Response) -> None:
        with self._lock:
            if pending in self._waiting:
                self._waiting.discard(pending)
                pending.answer.set_result(response)

    def end(self) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
            for pending in self._waiting:
                pending.answer.set_exception(StreamEnded(f"the stream of {self.name} has ended"))
            self._waiting.clear()
            self._queue.put(None)


class GrpcServer:
    """A gRPC server on 127.0.0.1, port 0.

    Args:
        identify: gives the names of the peer with this common name, these DNS names and this fingerprint.
        deliver: the EPS server's delivery.

    Attributes:
        peers: the connections (``ipv4:…``) that calls and streams came over, in order of first use.
        calls: requests that came by ``Call``.
        answers: each (request, message taken as its answer) of all streams, in order.
        ended_while_newer_was_open: names of which the older of two streams ended first.
        half_closed: streams that the client ended by closing its sending side.
    """

    def __init__(
        self,
        tls: Tls,
        habits: Habits,
        identify: Callable[[str, list[str], str], list[str]],
        deliver: Callable[[Request, str], Response],
    ) -> None:
        self._habits, self._identify, self._deliver = habits, identify, deliver
        self.peers: list[str] = []
        self.calls: list[Request] = []
        self.answers: list[tuple[Request, Response]] = []
        self.ended_while_newer_was_open: list[str] = []
        self.half_closed = 0
        self._streams: dict[str, _Stream] = {}
        self._all: set[_Stream] = set()
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(WORKERS, "foreign-grpc")
        self._server = grpc.server(self._pool, options=habits.server_options())
        self._server.add_generic_rpc_handlers((self._handlers(),))
        credentials = grpc.ssl_server_credentials([(tls.key_pem, tls.cert_pem)], tls.root_pem, require_client_auth=True)
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    def _handlers(self) -> grpc.GenericRpcHandler:
        coding = {
            "request_deserializer": messages.decode_request,
            "response_serializer": messages.encode_response,
        }
        stream_coding = {
            "request_deserializer": messages.decode_response,
            "response_serializer": messages.encode_request,
        }
        return grpc.method_handlers_generic_handler(
            self._habits.grpc_service,
            {
                "Call": grpc.unary_unary_rpc_method_handler(self._call, **coding),
                "ServerCall": grpc.stream_stream_rpc_method_handler(self._server_call, **stream_coding),
            },
        )

    def _names(self, context: grpc.ServicerContext) -> list[str]:
        """Names of the peer; the C core can't refuse the handshake itself, so a status takes its place."""
        with self._changed:
            if context.peer() not in self.peers:
                self.peers.append(context.peer())
        auth = context.auth_context()
        der = ssl.PEM_cert_to_DER_cert(auth["x509_pem_cert"][0].decode())
        common = [name.decode() for name in auth.get("x509_common_name", [])]
        alternative = [name.decode() for name in auth.get("x509_subject_alternative_name", [])]
        names = self._identify(common[0] if common else "", alternative, hashlib.sha256(der).hexdigest())
        if not names:
            self._refuse(context, grpc.StatusCode.UNAUTHENTICATED, "no name of the certificate is pinned")
        return names

    def _refuse(self, context: grpc.ServicerContext, code: grpc.StatusCode, text: str) -> NoReturn:
        context.abort(code, text)
        raise AssertionError  # abort has raised

    def _call(self, request: Request, context: grpc.ServicerContext) -> Response:
        names = self._names(context)
        sender = request.client_name or names[0]
        if sender not in names:
            self._refuse(context, grpc.StatusCode.UNKNOWN, "clientName is not a name of the certificate")
        self.calls.append(request)
        try:
            return self._deliver(request, sender)
        except BadForm as error:
            self._refuse(context, grpc.StatusCode.UNKNOWN, str(error))

    def _server_call(self, incoming: Iterator[Response], context: grpc.ServicerContext) -> Iterator[Request]:
        names = self._names(context)
        announced = next(incoming, Response("")).result or {}
        name = announced.get("name")
        if name not in names:
            self._refuse(context, grpc.StatusCode.UNKNOWN, "the announced name is not one of the certificate")
        stream = _Stream(name)
        self._register(stream)
        if not context.add_callback(lambda: self._ended(stream)):
            self._ended(stream)
        yield from self._serve(stream, incoming)
        # Reached when the client half-closed, or the server is closing; never with status OK.
        self._refuse(context, grpc.StatusCode.UNAVAILABLE, "the stream has ended")

    def _serve(self, stream: _Stream, incoming: Iterator[Response]) -> Iterator[Request]:
        """One request at a time; the next message is its answer, whatever its id, whenever it comes."""
        while (pending := stream.next()) is not None:
            yield pending.request
            try:
                answer = next(incoming, None)
            except Exception:  # the C core's Python layer raises a bare Exception when the stream broke
                return
            if answer is None:
                self.half_closed += 1
                return
            self.answers.append((pending.request, answer))
            stream.answered(pending, answer)

    def _register(self, stream: _Stream) -> None:
        with self._changed:
            self._streams[stream.name] = stream
            self._all.add(stream)
            self._changed.notify_all()

    def _ended(self, stream: _Stream) -> None:
        with self._changed:
            self._all.discard(stream)
            current = self._streams.get(stream.name)
            newer_open = current is not None and current is not stream
            if newer_open:
                self.ended_while_newer_was_open.append(stream.name)
            if not newer_open or self._habits.forgets_operator:
                self._streams.pop(stream.name, None)
            self._changed.notify_all()
        stream.end()

    def connected(self, name: str) -> bool:
        return name in self._streams

    def wait_connected(self, name: str, timeout: float = 10.0, *, connected: bool = True) -> bool:
        """Wait until ``name`` holds a stream (or none, with ``connected=False``); False when time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: (name in self._streams) == connected, timeout)

    def wait_streams(self, name: str, count: int, timeout: float = 10.0) -> bool:
        """Wait until ``name`` holds exactly ``count`` streams."""
        with self._changed:
            return self._changed.wait_for(lambda: sum(s.name == name for s in self._all) == count, timeout)

    def send(self, name: str, request: Request) -> Response:
        """A request down the stream of ``name``, and its answer. Raises StreamEnded."""
        stream = self._streams.get(name)
        if stream is None:
            raise StreamEnded(f"{name} is not connected")
        return stream.send(request)

    def close(self) -> None:
        with self._changed:
            streams = list(self._all)
        stopped = self._server.stop(0)
        for stream in streams:
            stream.end()
        stopped.wait()
        self._pool.shutdown()
