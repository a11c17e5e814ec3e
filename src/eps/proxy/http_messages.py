"""What a forwarded HTTP message keeps, and what not (RFC 9110, section 7.6): for ``proxy.http_forwarding``."""

from typing import Any

import aiohttp
from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

OF_ONE_CONNECTION = frozenset(
    {"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that are not passed on (RFC 9110, section 7.6.1), besides those that ``Connection`` names."""

OF_FORMER_PROXIES = (
    *("forwarded", "x-forwarded", "x-real-ip", "client-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip"),
    *("cf-connecting-ip", "fastly-client-ip", "client-cert", "x-client-cert", "ssl-client", "x-ssl-client"),
)
"""How headers begin that a client could lie with: internal servers trust what their proxy says of the client, of its
certificate (``Client-Cert``, RFC 9440; ``X-Forwarded-Client-Cert``), and of how it came."""

_PROTO = "X-Forwarded-Proto"


def inside_url(address: str, request: web.BaseRequest) -> URL | None:
    """``http://ADDRESS`` and the request's own path and query, letter by letter; None if it has no path."""
    path = request.raw_path
    if not path.startswith("/"):  # the form for proxies: http://HOST/PATH (RFC 9112, section 3.2.2)
        url = URL(path, encoded=True)
        path = url.raw_path_qs if url.absolute else ""
    return URL(f"http://{address}{path}", encoded=True) if path.startswith("/") else None


def inside_headers(request: web.BaseRequest) -> CIMultiDict[str]:
    """The request's headers as the internal server gets them."""
    headers = _without(request.headers, frozenset({"expect"}))
    for name in [name for name in headers if _is_of_former_proxy(name)]:
        headers.popall(name, None)
    headers[_PROTO] = "https"
    if not request.raw_path.startswith("/"):  # then the target names the host, whatever Host says (RFC 9112, 3.2.2)
        headers[hdrs.HOST] = URL(request.raw_path, encoded=True).raw_authority.rpartition("@")[2]
    if wants_websocket(request):
        headers[hdrs.CONNECTION], headers[hdrs.UPGRADE] = "Upgrade", "websocket"
    return headers


def outside_headers(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The answer's headers as the client gets them."""
    return _without(headers, frozenset())


class Answer(web.StreamResponse):
    """The internal server's answer, without what aiohttp would add."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        reason = None if answer.reason is None else _as_text(answer.reason)
        super().__init__(status=answer.status, reason=reason, headers=outside_headers(answer.headers))
        self._given = frozenset(name for name in _ADDED if name in answer.headers)

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        for name in _ADDED:
            if name not in self._given:
                self.headers.popall(name, None)


_ADDED = (hdrs.SERVER, hdrs.CONTENT_TYPE)


class Plain(web.Response):
    """An answer of our own, without aiohttp's name in it."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall(hdrs.SERVER, None)


class AlreadySent(web.StreamResponse):
    """Stands for an answer that has gone out already; the connection ends behind it."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None

    @property
    def keep_alive(self) -> bool:
        return False


def switching_head(answer: aiohttp.ClientResponse) -> bytes:
    """The head of an answer behind which HTTP ends, as it came."""
    lines = [f"HTTP/1.1 {answer.status} {answer.reason or ''}".encode("latin-1", "replace")]
    lines += [name + b": " + value for name, value in answer.raw_headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def wants_websocket(request: web.BaseRequest) -> bool:
    """Whether the client asks to speak WebSocket from here on (RFC 6455, section 4.1): never behind a body."""
    asked = request.headers.get(hdrs.UPGRADE, "").strip().lower()
    is_plain = request.method == hdrs.METH_GET and not request.body_exists and request.version >= HttpVersion11
    return is_plain and asked == "websocket" and "upgrade" in _named(request.headers)


def loses_what_follows(request: web.BaseRequest) -> bool:
    """Whether aiohttp drops what came behind this request, as it asks for a protocol that nobody here speaks. If its
    answer ends the connection, the client knows that it must ask for the others again (RFC 9112, section 9.3.2)."""
    return request.headers.get(hdrs.UPGRADE, "").strip().lower() not in ("", "websocket")


def has_coding(headers: Any) -> bool:
    """Whether a message's body is coded for its connection in another way than chunked (RFC 9112, section 7).

    aiohttp undoes chunked alone. What else there is would arrive at the other side without a word of it.
    """
    return any(line.strip().lower() != "chunked" for line in headers.getall(hdrs.TRANSFER_ENCODING, ()))


def _is_of_former_proxy(name: str) -> bool:
    """Servers behind CGI's interface, or WSGI, can't tell ``_`` from ``-`` in a name."""
    return name.lower().replace("_", "-").startswith(OF_FORMER_PROXIES)


def _without(headers: Any, left_out: frozenset[str]) -> CIMultiDict[str]:
    left_out = left_out | OF_ONE_CONNECTION | _named(headers)
    return CIMultiDict((name, _as_text(value)) for name, value in headers.items() if name.lower() not in left_out)


def _as_text(value: str) -> str:
    """``value``, or, if it came in bytes that are no UTF-8, what they say in Latin-1. aiohttp writes UTF-8 only, and
    would leave out what it could not read: half a file name."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value


def _named(headers: Any) -> frozenset[str]:
    """What ``Connection`` names, in lower case."""
    lines = headers.getall(hdrs.CONNECTION, ())
    return frozenset(word.strip().lower() for line in lines for word in line.split(","))
