"""Where an application's EPS server is, and how it is spoken to."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from eps.client.errors import SetupError
from eps.core.host_port import render_host_port
from eps.core.http_proxy import http_proxies
from eps.errors import EpsError

PATH = "/jsonrpc"
"""Where EPS servers answer if their settings don't say otherwise (PROTOCOL.md section 5)."""

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The JSON-RPC port of an operator's EPS server. What is wrong with it is said at once.

    Attributes:
        url: ``https://HOST:PORT``; ``/jsonrpc`` is added where it has no path. ``http://`` is without TLS.
        operator: whose server it must prove to be: the name that its certificate must carry. Empty: the URL's host.
        certificate_file, key_file: what this application shows, PEM, with the chain. A server may do without.
        ca_certificate_files: the authorities that the server's certificate must lead to, PEM. Empty: the system's.
        proxy_url: an HTTP proxy, ``http://[USER:PASSWORD@]HOST:PORT``; empty: by HTTPS_PROXY and NO_PROXY of the
            environment, which don't count for this machine itself.

    Raises:
        SetupError: the URL is none, or a certificate stands without its key.
    """

    url: str
    operator: str = ""
    certificate_file: str = ""
    key_file: str = ""
    ca_certificate_files: tuple[str, ...] = ()
    proxy_url: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ca_certificate_files", tuple(self.ca_certificate_files))
        parts = _parts(self.url, ("http", "https"), "the EPS server's URL", "https://localhost:5555")
        if not parts.path.strip("/"):
            object.__setattr__(self, "url", parts._replace(path=PATH).geturl())
        try:
            self.operator.encode("idna")
        except UnicodeError:
            raise SetupError(f"no certificate can carry the operator's name {self.operator[:80]!r}") from None
        if bool(self.certificate_file) is not bool(self.key_file):
            raise SetupError("certificate_file and key_file belong together: one of them is missing")
        if parts.username or parts.password:
            raise SetupError("the EPS server's URL holds a user or password: certificates say who calls")

    def __repr__(self) -> str:
        """Without the proxy's URL, which may hold a password."""
        return f"Endpoint({self.url!r}, operator={self.operator!r})"

    @property
    def place(self) -> "Place":
        """The URL's parts."""
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        return Place(parts.scheme == "https", host, port, path, self.operator or host)

    def proxy(self, environment: Mapping[str, str] = os.environ) -> "Proxy | None":
        """The HTTP proxy to go through; None: directly. Raises SetupError: it is no URL of one."""
        place = self.place
        try:
            proxies = http_proxies(self.proxy_url or None, environment if place.tls else {})
        except EpsError as error:
            raise SetupError(str(error)) from None
        url = proxies.url_for(render_host_port(place.host, place.port))
        if url is None:
            return None
        parts = _parts(url, ("http",), "the HTTP proxy's URL", "http://proxy.example.org:3128")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return Proxy(parts.hostname or "", parts.port or 80, user, password)


@dataclass(frozen=True, slots=True)
class Place:
    """A URL's parts; ``name`` is what the certificate must carry."""

    tls: bool
    host: str
    port: int
    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; ``user`` empty: it asks for nobody."""

    host: str
    port: int
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Proxy({self.host!r}, {self.port})"


def _parts(url: str, schemes: tuple[str, ...], what: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if (
            parts.scheme in schemes
            and parts.hostname
            and parts.port != 0
            and url.isascii()
            and url.isprintable()
            and " " not in url
        ):
            parts.hostname.encode("idna")
            return parts
    except ValueError:  # UnicodeError, too
        pass
    raise SetupError(f"{what} is none: write for example {example}")
