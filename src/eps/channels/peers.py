"""What the two gRPC channels share: a peer's request to its answer, a peer's errors, and whose relays we dial."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

from eps.channels import Deliver
from eps.core.brokering import TUNNEL_METHODS
from eps.core.endpoint import RelayTrust, relay_trust
from eps.core.json_pieces import has_few
from eps.core.message import Asker, Error, Request, Response, Unread
from eps.core.names import Fingerprint, Object, Operator, shown
from eps.core.told import TOLD_BY, anonymous, error_response, quoted, reported
from eps.core.told_seconds import read_timeout
from eps.core.trace import CURRENT
from eps.directory import DirectorySource
from eps.errors import AnswerRefused, BadRequest, EpsError, NotFound, NotPermitted, Outcome, Side, Stage, TooLarge
from eps.grpc import codec
from eps.grpc import eps_pb2 as pb
from eps.reasons import FROM_ELSEWHERE, reason_of
from eps.transport.aside import LARGE_BYTES, aside
from eps.transport.large_values import LARGE_VALUES
from eps.transport.tls import PeerIdentity, Pins, pin_failure


async def answer_request(
    own: Operator, deliver: Deliver, peer: PeerIdentity, message: pb.Request, pins: Pins
) -> pb.Response:
    """Who sends is decided by the certificate, what is asked by the one parsed address; failures are answers."""
    try:
        sender = sender_of(peer, message.clientName, pins)
    except EpsError as error:
        return codec.encode_response(error_response(message.id, error, own), message.id)
    answering = answer_request_of(own, deliver, sender, message)
    del message  # its bytes are let go as soon as they are read, and the call may be slow
    return await answering


async def answer_request_of(own: Operator, deliver: Deliver, sender: Operator, message: pb.Request) -> pb.Response:
    """The same, where it is known who sends."""
    message_id = message.id
    try:
        unread = Unread(codec.decode_address(message), message.params, _params, asker_of(message))
    except EpsError as error:
        return codec.encode_response(error_response(message_id, error, own), message_id)
    del message
    response = await deliver(unread, sender)
    try:
        return await encode_response(response, message_id)
    except BadRequest as error:
        return codec.encode_response(error_response(message_id, _executed(error), own), message_id)


def asker_of(message: pb.Request) -> Asker:
    """Who waits for its answer, and how long, as far as the message says that; raises BadRequest."""
    try:
        return Asker(timeout=read_timeout(message.timeout or None))
    except ValueError as error:
        raise BadRequest(f"field timeout: {error}") from None


async def encode_request(request: Request, sender: Operator) -> pb.Request:
    """As :func:`eps.grpc.codec.encode_request`; a large one beside the event loop."""
    if has_few(request.params):
        return codec.encode_request(request, sender)
    return await aside(codec.encode_request, request, sender)


async def encode_response(response: Response, message_id: str) -> pb.Response:
    """As :func:`eps.grpc.codec.encode_response`; a large one beside the event loop."""
    if has_few(response.value):
        return codec.encode_response(response, message_id)
    return await aside(codec.encode_response, response, message_id)


async def _params(encoded: bytes) -> Object:
    if len(encoded) <= LARGE_BYTES:
        return codec.decode_params(encoded)
    decode = partial(codec.decode_params, encoded)
    return await LARGE_VALUES.decoded(len(encoded), decode, lambda params: params)


async def _decode_response(message: pb.Response, request_id: str) -> Response:
    size = len(message.result) + len(message.error.data)
    if size <= LARGE_BYTES:
        return codec.decode_response(message, request_id)
    decode = partial(codec.decode_response, message, request_id)
    return await LARGE_VALUES.decoded(size, decode, lambda response: response.value)


async def read_answer(message: pb.Response, request: Request, tellers: Collection[str] | None = None) -> Response:
    """The answer of the operator that ``request`` went to, its error told from our side; but for questions for a
    tunnel, which pass several servers: who asks first makes out whose a failure is (``core.told``).

    Args:
        tellers: whose servers are believed that they have made an error. By default the operator's own, if it is of our
            kind: those in use pass on whatever their applications say, also that a call was never begun.

    Raises:
        AnswerRefused: it holds what JSON can't express, or is nested too deep.
    """
    operator = request.address.operator
    try:
        response = await _decode_response(message, str(request.address))
    except BadRequest as error:
        raise AnswerRefused(
            f"{operator} executed the call, but its answer can't be passed on: {error.message}",
            hint=f"look there before repeating it; what {operator} answers with must change",
        ) from error
    if request.address.method in TUNNEL_METHODS:
        return from_peer(response, operator, translated=False)
    if tellers is None:
        trace = CURRENT.get()
        tellers = (operator,) if trace is not None and trace.of_our_kind else ()
    return from_peer(_in_its_own_name(response, tellers), operator)


def _in_its_own_name(response: Response, tellers: Collection[str]) -> Response:
    error = response.error
    if error is None or not isinstance(error.data, dict) or error.data.get(TOLD_BY) in (*tellers,):
        return response
    return replace(response, error=replace(error, data=anonymous(error.data)))


def _executed(error: BadRequest) -> AnswerRefused:
    """What the caller is told where our own answer can't travel."""
    code = error.code if isinstance(error, TooLarge) else None
    text = f"the call was executed, but its answer can't be passed on: {error.message}"
    return AnswerRefused(text, hint=error.hint, side=Side.OURS, code=code)


class DirectoryPins:
    """What the directory pins now, with its age for messages (``transport.tls.DatedPins``)."""

    def __init__(self, source: DirectorySource) -> None:
        self._source = source

    def __call__(self, operator: Operator) -> frozenset[Fingerprint]:
        return self._source.current.pins(operator)

    def as_of(self) -> str:
        return self._source.as_of()

    def too_old(self) -> str:
        return self._source.too_old()


def is_of(peer: PeerIdentity, operator: Operator, pins: Pins) -> bool:
    """Whether the peer is a server of ``operator``, as the directory has it now."""
    return operator in peer.names and peer.fingerprint in pins(operator)


def sender_of(peer: PeerIdentity, client_name: str, pins: Pins) -> Operator:
    """The operator that sends: ``clientName``, if the certificate proves it, else (if empty) the certificate's first.

    The connection may be older than the directory: what counts is whom ``pins`` now pins the certificate for.

    Raises:
        NotFound: with code 404 (PROTOCOL.md section 3).
    """
    pinned = [name for name in peer.names if peer.fingerprint in pins(name)]
    if pinned and not client_name:
        return pinned[0]
    if client_name in pinned:
        return Operator(client_name)
    text = f"the certificate of {shown(peer.names)} does not prove the clientName {client_name[:60]!r}"
    hint = "a server may send only in the name of an operator whose directory entry pins its certificate"
    text, hint = pin_failure(text, hint, pins)
    raise NotFound(text, hint=hint)


def from_peer(response: Response, operator: Operator, *, translated: bool = True) -> Response:
    """``response`` with its error told, if ``translated``, from our side: what a peer calls «ours» is the peer's.

    An error without data is passed on without data, as an application's own mostly is; but for a right that is missing,
    which servers in use say in this way (PROTOCOL.md section 2). What ``operator``'s server says for itself is quoted,
    with who says it; what its application answers is nobody's to change.
    """
    error = response.error
    if error is None:
        return response
    data = error.data
    if not data and error.code == NotPermitted.code:
        data = {"stage": Stage.PERMISSION.value, "side": Side.PEER.value, "outcome": Outcome.FAILED.value}
    elif translated and isinstance(data, dict) and data.get("side") == Side.OURS.value and "outcome" in data:
        data = {**data, "side": Side.PEER.value}
    if translated and isinstance(data, dict) and data.get(TOLD_BY) == operator:
        said = Error(error.code, reported(error.message, operator), _ours(data))
        return Response(response.id, error=said, came=error)
    return Response(response.id, error=Error(error.code, error.message, data), came=error)


def _ours(data: Object) -> Object:
    """``data`` of an error that the other operator's server has made, its reason from where we stand."""
    reason = reason_of(data.get("reason"))
    hint = data.get("hint")
    ours = {**data, "hint": quoted(hint) if isinstance(hint, str) else ""}
    return ours if reason is None else {**ours, "reason": FROM_ELSEWHERE.get(reason, reason).value}


def relay_trust_of(source: DirectorySource, proxy: Operator, own: Operator, ours: Sequence[str]) -> RelayTrust:
    """Which relay endpoints of ``proxy`` we dial: by its directory settings, our settings, its own address."""
    directory = source.current
    entry = directory.entry(proxy)
    server = entry.grpc_server if entry is not None else None
    settings = directory.service_settings(proxy, "proxy", own)
    return relay_trust(settings, ours, server.address if server is not None else "")
