"""What a forwarded HTTP message keeps, and what not (RFC 9110, section 7.6): for ``services.http_forwarding``."""

from typing import Any

from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

OF_ONE_CONNECTION = frozenset(
    {"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that are not passed on (RFC 9110, section 7.6.1), besides those that ``Connection`` names."""

OF_FORMER_PROXIES = frozenset(
    {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip"}
)
"""Headers that a client could lie with: internal servers trust what their proxy says."""

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
    headers = _without(request.headers, OF_FORMER_PROXIES | {"expect"})
    headers[_PROTO] = "https"
    return headers


def outside_headers(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The answer's headers as the client gets them."""
    return _without(headers, frozenset())


def inside_head(request: web.BaseRequest) -> bytes:
    """A request's head as it came, for what is no HTTP behind it; without headers of former proxies."""
    lines = [f"{request.method} {request.raw_path} HTTP/1.1".encode("utf-8", "surrogateescape")]
    lines += [
        name + b": " + value
        for name, value in request.raw_headers
        if name.decode("latin-1").lower() not in OF_FORMER_PROXIES
    ]
    lines.append(f"{_PROTO}: https".encode())
    return b"\r\n".join(lines) + b"\r\n\r\n"


def wants_websocket(request: web.BaseRequest) -> bool:
    """Whether the client asks to speak WebSocket from here on (RFC 6455, section 4.1)."""
    asked = request.headers.get(hdrs.UPGRADE, "").strip().lower()
    return asked == "websocket" and "upgrade" in _named(request.headers)


def _without(headers: Any, left_out: frozenset[str]) -> CIMultiDict[str]:
    left_out = left_out | OF_ONE_CONNECTION | _named(headers)
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in left_out)


def _named(headers: Any) -> frozenset[str]:
    """What ``Connection`` names, in lower case."""
    lines = headers.getall(hdrs.CONNECTION, ())
    return frozenset(word.strip().lower() for line in lines for word in line.split(","))
