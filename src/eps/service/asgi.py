"""A service as an ASGI 3 application: one POST for each call, and a lifespan that has nothing to do."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from eps.core.jsonrpc_text import Call, parse_request, render_response
from eps.core.limits import MAX_MESSAGE_BYTES
from eps.core.message import Response
from eps.core.told import error_response
from eps.errors import EpsError, NotJson, TooLarge

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]

_NOT_FOUND = b'{"message":"not found"}'


async def respond(
    answer: Callable[[Call], Awaitable[Response]], path: str, scope: Scope, receive: Receive, send: Send
) -> None:
    """One connection of ASGI.

    Args:
        path: where calls are posted to.

    Raises:
        NotImplementedError: it is neither HTTP nor lifespan, by which a server knows that.
    """
    if scope["type"] == "lifespan":
        await _live(receive, send)
    elif scope["type"] != "http":
        raise NotImplementedError(f"{scope['type']} is nothing that a service answers")
    elif scope["path"] != path:
        await _send(send, 404, _NOT_FOUND)
    else:
        body = await _body(receive)
        if body is not None:
            response = await _answer(answer, scope, body)
            await _send(send, 400 if response.error else 200, _rendered(response))


async def _answer(answer: Callable[[Call], Awaitable[Response]], scope: Scope, body: bytes) -> Response:
    try:
        if scope["method"] != "POST":
            raise NotJson("only POST is a JSON-RPC request", hint="use POST")
        if len(body) > MAX_MESSAGE_BYTES:
            raise TooLarge(f"the request has more than {MAX_MESSAGE_BYTES} bytes", hint="send less at once")
        fields = {bytes(name).lower(): bytes(value) for name, value in scope["headers"]}
        call = parse_request(body, fields.get(b"content-type", b"").decode("latin-1"))
    except EpsError as error:
        return error_response("", error)
    return await answer(call)


def _rendered(response: Response) -> bytes:
    try:
        return render_response(response)
    except EpsError as error:
        return render_response(error_response(response.id, error))


async def _body(receive: Receive) -> bytes | None:
    """The whole body, cut behind what is too much; None: the client has gone."""
    parts: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        part = event.get("body", b"")
        size += len(part)
        if size <= MAX_MESSAGE_BYTES + len(part):
            parts.append(part)
        if not event.get("more_body", False):
            return b"".join(parts)


async def _send(send: Send, status: int, body: bytes) -> None:
    fields = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        if event["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif event["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
