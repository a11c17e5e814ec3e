"""Which outgoing connections go through an HTTP proxy.

Most operators' networks let nothing out but through one. It is named by the setting ``proxy_url``, or else by the
environment variable ``HTTPS_PROXY``; ``NO_PROXY`` lists what is dialled directly all the same (both are read in lower
case first, as most programs do). Whoever is named by ``HTTPS_PROXY`` is not asked for this machine itself.

``NO_PROXY`` is a list, with commas or spaces between its items:

    *                     everything
    example.org           that host and all below it (.example.org means the same)
    10.1.2.3, 10.0.0.0/8  an address, a network; names are not resolved for this
    example.org:8443      with a port: only that port
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from eps.core.endpoint import is_this_machine, normal_host
from eps.core.host_port import parse_host_port
from eps.errors import BadParams, StartError

VARIABLES = ("https_proxy", "HTTPS_PROXY")
EXCEPTIONS = ("no_proxy", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class HttpProxies:
    """What :meth:`url_for` goes by.

    Attributes:
        url: ``http://[user:password@]host:port``; empty: nothing goes through a proxy. May hold a secret.
        exceptions: the items of ``NO_PROXY``.
        spare_local: this machine is dialled directly.
    """

    url: str = ""
    exceptions: tuple[str, ...] = ()
    spare_local: bool = True

    def __repr__(self) -> str:
        """Without the URL, which may hold a password."""
        return f"<HttpProxies {'set' if self.url else 'none'}>"

    def url_for(self, address: str) -> str | None:
        """The proxy to ask for a connection to ``HOST:PORT``; None: dial directly."""
        if not self.url:
            return None
        try:
            host, port = parse_host_port(address, 443)
        except BadParams:
            return self.url  # whoever dials it says what is wrong with it
        host = normal_host(host)
        if self.spare_local and is_this_machine(host):
            return None
        return None if any(_matches(item, host, port) for item in self.exceptions) else self.url


NONE = HttpProxies()
"""Everything is dialled directly."""


def http_proxies(proxy_url: str | None, environment: Mapping[str, str]) -> HttpProxies:
    """From a setting and the environment.

    Raises:
        StartError: the variable holds no URL of an HTTP proxy.
    """
    exceptions = tuple(_first(environment, EXCEPTIONS).replace(",", " ").split())
    if proxy_url:
        return HttpProxies(proxy_url, exceptions, spare_local=False)
    url = _first(environment, VARIABLES)
    if url and "://" not in url:
        url = f"http://{url}"
    if url and not _is_http(url):
        raise StartError(
            "the environment variable HTTPS_PROXY holds no URL of the form http://HOST:PORT",
            hint="it names the HTTP proxy, which itself is spoken to in plain HTTP",
        )
    return HttpProxies(url, exceptions)


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name].strip() for name in names if environment.get(name, "").strip()), "")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _matches(item: str, host: str, port: int) -> bool:
    if item == "*":
        return True
    if "/" in item:
        return _in_network(host, item)
    try:
        wanted, wanted_port = parse_host_port(item, 0)
    except BadParams:
        wanted, wanted_port = item, 0  # an IPv6 address without brackets
    wanted = normal_host(wanted.removeprefix("*").removeprefix("."))
    return wanted_port in (0, port) and bool(wanted) and (host == wanted or host.endswith(f".{wanted}"))


def _in_network(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False  # a name, or no network
