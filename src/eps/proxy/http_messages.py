"""What a forwarded HTTP message keeps, and what not (RFC 9110, section 7.6): for ``proxy.http_forwarding``.

Fields are pairs of bytes, with their names as they were written; what isn't left out passes byte by byte.
"""

import re
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

import h11

Fields = list[tuple[bytes, bytes]]

OF_ONE_CONNECTION = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization"}
    | {b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
"""Fields that are not passed on (RFC 9110, section 7.6.1), besides those that ``Connection`` names."""

OF_BOTH_ENDS = frozenset(
    {b"host", b"content-length", b"content-type", b"content-encoding", b"content-range", b"range", b"date", b"vary"}
    | {b"authorization", b"cookie", b"set-cookie", b"cache-control", b"location", b"www-authenticate", b"origin"}
    | {b"etag", b"last-modified", b"expires", b"if-match", b"if-none-match", b"if-modified-since"}
    | {b"if-unmodified-since", b"if-range", b"accept", b"accept-encoding", b"accept-language", b"user-agent"}
)
"""Fields that are for who answers, or who asked: ``Connection`` must not name them (RFC 9110, section 7.6.1). Where it
does, they pass all the same: else a client could take from a request what the internal server decides by."""

OF_FORMER_PROXIES = (
    *(b"forwarded", b"x-forwarded", b"x-real-ip", b"client-ip", b"x-client-ip", b"x-cluster-client-ip"),
    *(b"true-client-ip", b"cf-connecting-ip", b"fastly-client-ip", b"client-cert", b"x-client-cert"),
    *(b"ssl-client", b"x-ssl-client"),
)
"""How fields begin that a client could lie with: internal servers trust what their proxy says of the client, of its
certificate (``Client-Cert``, RFC 9440; ``X-Forwarded-Client-Cert``), and of how it came."""

_FOR_PROXIES = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://(?P<authority>[^/?#]*)(?P<path>[^#]*)")


def inside_target(request: h11.Request) -> tuple[bytes, bytes] | None:
    """The request's target as the internal server gets it, letter by letter, and the host that the target names, empty
    if it names none. None: it has no path (RFC 9112, section 3.2)."""
    if request.target.startswith(b"/") or (request.target == b"*" and request.method == b"OPTIONS"):
        return request.target, b""
    whole = _FOR_PROXIES.fullmatch(request.target)
    if whole is None or not whole["authority"]:
        return None
    path = whole["path"]
    if not path and request.method == b"OPTIONS":
        path = b"*"  # section 3.2.4
    elif not path.startswith(b"/"):
        path = b"/" + path
    return path, whole["authority"].rpartition(b"@")[2]


def inside_fields(request: h11.Request, host: bytes, default_host: bytes, *, websocket: bool) -> Fields:
    """The request's fields as the internal server gets them.

    Args:
        host: that the target names, whatever ``Host`` says (RFC 9112, section 3.2.2); empty if it names none.
        default_host: for requests of HTTP/1.0 that name none at all.
        websocket: see :func:`wants_websocket`.
    """
    kept = [
        (name, value)
        for name, value in _without(request.headers.raw_items(), frozenset({b"expect"}))
        if not _is_of_former_proxy(name) and not (host and name.lower() == b"host")
    ]
    given = host or (b"" if any(name.lower() == b"host" for name, _ in kept) else default_host)
    if given:
        kept.insert(0, (b"Host", given))
    kept.append((b"X-Forwarded-Proto", b"https"))
    if websocket:
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    elif is_chunked(request):
        kept.append((b"Transfer-Encoding", b"chunked"))
    return kept


def outside_fields(answer: h11.Response | h11.InformationalResponse) -> Fields:
    """The answer's fields as the client gets them. Where there is no body, or one whose length the answer tells in two
    ways, none of them tells it (RFC 9110, section 8.6; RFC 9112, section 6.3)."""
    no_length = answer.status_code < 200 or answer.status_code == HTTPStatus.NO_CONTENT or is_chunked(answer)
    return _without(answer.headers.raw_items(), frozenset({b"content-length"} if no_length else ()))


def trailers(end: h11.EndOfMessage) -> Fields:
    """Fields behind a body, as far as they can't be taken for what a head says (RFC 9110, section 6.5.1)."""
    items = _without(end.headers.raw_items(), OF_BOTH_ENDS)
    return [(name, value) for name, value in items if not _is_of_former_proxy(name)]


def plain_answer(status: int, text: str, *, close: bool) -> tuple[h11.Response, h11.Data, h11.EndOfMessage]:
    """An answer of our own."""
    body = f"{status}: {text}\n".encode()
    fields = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Date", formatdate(usegmt=True).encode()),
    ]
    if close:
        fields.append((b"Connection", b"close"))
    reason = HTTPStatus(status).phrase.encode()
    return h11.Response(status_code=status, reason=reason, headers=fields), h11.Data(data=body), h11.EndOfMessage()


def wants_websocket(request: h11.Request) -> bool:
    """Whether the client asks to speak WebSocket from here on (RFC 6455, section 4.1): never behind a body."""
    if request.method != b"GET" or _values(request, b"upgrade") != [b"websocket"]:
        return False
    return b"upgrade" in _values(request, b"connection") and request.http_version >= b"1.1" and not has_body(request)


def has_body(request: h11.Request) -> bool:
    """Whether a body follows, or may (RFC 9112, section 6.3)."""
    return is_chunked(request) or any(int(value) > 0 for value in _values(request, b"content-length"))


def is_chunked(message: h11.Request | h11.Response | h11.InformationalResponse) -> bool:
    """Whether its body has come in chunks; h11 takes no other transfer coding."""
    return bool(_values(message, b"transfer-encoding"))


def _is_of_former_proxy(name: bytes) -> bool:
    """Servers behind CGI's interface, or WSGI, can't tell ``_`` from ``-`` in a name."""
    return name.lower().replace(b"_", b"-").startswith(OF_FORMER_PROXIES)


def _without(items: Iterable[tuple[bytes, bytes]], left_out: frozenset[bytes]) -> Fields:
    items = list(items)
    named = {word for name, value in items if name.lower() == b"connection" for word in _words(value)}
    left_out = left_out | OF_ONE_CONNECTION | (named - OF_BOTH_ENDS)
    return [(name, value) for name, value in items if name.lower() not in left_out]


def _values(message: h11.Request | h11.Response | h11.InformationalResponse, wanted: bytes) -> list[bytes]:
    items = message.headers.raw_items()  # h11's own iteration takes several times as long
    return [word for name, value in items if name.lower() == wanted for word in _words(value)]


def _words(value: bytes) -> list[bytes]:
    return [word.strip().lower() for word in value.split(b",")]
