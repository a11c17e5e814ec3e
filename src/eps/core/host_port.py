"""``HOST:PORT``: the one parser of the form that settings, the directory and proxies write addresses in."""

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from eps.core.limits import MAX_NAME_CHARS
from eps.errors import BadParams

_ZONE = re.compile(r"[A-Za-z0-9._~-]{1,32}")
"""What follows the % of a link-local address: an interface's name or number, of the characters that RFC 6874, section
2, takes without escapes. Whatever else stood there could end up in an HTTP header."""


def parse_host_port(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Split ``HOST:PORT``; an IPv6 host stands in brackets, ``:PORT`` alone has the empty host (all addresses).

    Args:
        text: as in settings and in the directory; never an URL.
        default_port: used if no port is given; without it the port is mandatory.

    Returns:
        The host without brackets, as it was written (``::1``, ``fe80::1%eth0``), and the port, 0 to 65535.

    Raises:
        BadParams: the text is no such address; the message quotes it.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        well_formed = bool(bracket) and rest[:1] in ("", ":") and _is_ipv6(host)
    else:
        host, colon, tail = text.partition(":")
        rest = colon + tail
        well_formed = bool(text) and host.isprintable() and not any(c in " /@?#[]" for c in host)
    port = rest[1:] if rest or default_port is None else str(default_port)
    if not well_formed or len(host) > MAX_NAME_CHARS or not _is_port(port):
        raise BadParams(
            f"{text[:300]!r} is not of the form HOST:PORT",
            hint="write for example proxy.example.org:9999, or [2001:db8::1]:9999 for an IPv6 address",
        )
    return host, int(port)


def render_host_port(host: str, port: int) -> str:
    """The reverse of :func:`parse_host_port`."""
    return f"{render_host(host)}:{port}"


def address_of(url: str) -> str:
    """``HOST:PORT`` of an http or https URL."""
    parts = urlsplit(url)
    return render_host_port(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


def render_host(host: str) -> str:
    """``host`` as it stands before a colon or in an URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535


def _is_ipv6(host: str) -> bool:
    try:
        zone = IPv6Address(host).scope_id
    except ValueError:
        return False
    return zone is None or _ZONE.fullmatch(zone) is not None
