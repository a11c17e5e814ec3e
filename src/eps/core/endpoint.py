"""Which relay endpoints an operator may dial (the guards of PROTOCOL.md section 7, steps 4 and 5).

A proxy tells B, and then A, which address to dial. A bad proxy could so make their servers knock at doors inside
their own networks, so an endpoint is judged before it is dialled:

    is there a list (the proxy's directory settings for service ``proxy``, key ``internal_endpoints``, or our own)?
    ├─ yes: HOST:PORT must be on it
    └─ no:  HOST is the host of the proxy's own ``grpc_server`` address, or its address is global unicast

The name is resolved once, each address found is judged, and only addresses that passed are dialled: a name that
answers differently the second time gains nothing. What is no unicast address at all (0.0.0.0, multicast, broadcast)
is refused always.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from eps.core.host_port import parse_host_port, render_host_port
from eps.core.names import Object
from eps.errors import BadParams

IPAddress = IPv4Address | IPv6Address

Judge = Callable[[str, int, IPAddress | None], str | None]
"""Why this (host, port), resolved to this address, must not be dialled; None if it may. Without an address: whether it
may be dialled whatever it resolves to, as is asked where an HTTP proxy does the resolving."""

LIST_KEY = "internal_endpoints"
"""The key in the settings for service ``proxy`` that lists relay endpoints."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_TRANSITION = (IPv6Network("2001::/32"), IPv6Network("2001:db8::/32"), IPv6Network("3fff::/20"))
"""Inside 2000::/3 and yet nobody's plain address: Teredo and the two documentation prefixes."""
_BROADCAST = IPv4Address("255.255.255.255")
_LOCALHOST = frozenset({"localhost", "127.0.0.1", "::1"})
"""Three spellings of one host."""


@dataclass(frozen=True, slots=True)
class RelayTrust:
    """What :func:`judge_endpoint` goes by.

    Attributes:
        listed: the endpoints on the lists, hosts normalised; None if there is no list.
        own_host: host of the proxy's own ``grpc_server`` address, normalised; empty if it has none.
    """

    listed: frozenset[tuple[str, int]] | None
    own_host: str

    def judge(self, host: str, port: int, ip: IPAddress | None) -> str | None:
        """:func:`judge_endpoint` as a ``Judge``."""
        return judge_endpoint(host, port, ip, self)


def relay_trust(settings: Object | None, ours: Iterable[str], grpc_server_address: str) -> RelayTrust:
    """Gather what is known of a proxy's relay endpoints.

    Args:
        settings: what the proxy's entry gives for service ``proxy``; it comes from another operator, so an item
            that is no endpoint allows nothing and breaks nothing.
        ours: ``internal_endpoints`` of our own settings.
        grpc_server_address: of the proxy's entry; empty if it has none.
    """
    listed = (settings or {}).get(LIST_KEY)
    items = listed if isinstance(listed, list) else [] if listed is None else [listed]
    items = [*items, *ours]
    endpoints = frozenset(endpoint for item in items if (endpoint := _endpoint(item)) is not None)
    own = _endpoint(grpc_server_address)
    return RelayTrust(endpoints if items else None, own[0] if own else "")


def judge_endpoint(host: str, port: int, ip: IPAddress | None, trust: RelayTrust) -> str | None:
    """Why the relay endpoint ``host:port`` must not be dialled at ``ip``; None if it may.

    Args:
        host: as the proxy wrote it.
        ip: one of the addresses that ``host`` was resolved to; None: see :data:`Judge`.
    """
    ip = effective(ip) if ip is not None else None
    if ip is not None and not is_unicast(ip):
        return f"{ip} is not an address that can be dialled"
    host = normal_host(host)
    if trust.listed is not None:
        listed = (host, port) in trust.listed
        return None if listed else f"{render_host_port(host, port)} is not among the proxy's {LIST_KEY}"
    if (ip is not None and is_global(ip)) or _same_host(host, trust.own_host):
        return None
    return f"{ip or host} is not a public address, and neither listed nor the host of the proxy's own server"


@lru_cache(maxsize=1024)
def normal_host(host: str) -> str:
    """One spelling for each host: lower case, no final dot, addresses in their shortest form."""
    host = host.lower().removesuffix(".")
    try:
        return str(effective(ip_address(host)))
    except ValueError:
        return host


def effective(ip: IPAddress) -> IPAddress:
    """The address that a packet to ``ip`` really goes to: the IPv4 one inside mapped, NAT64 and 6to4 addresses."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:  # RFC 6052
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def is_unicast(ip: IPAddress) -> bool:
    """Whether ``ip`` names one interface. Linux takes 0.0.0.0 and :: as this machine, so they must not slip through."""
    return not (ip.is_unspecified or ip.is_multicast or ip == _BROADCAST)


def is_global(ip: IPAddress) -> bool:
    """Whether the unicast address ``ip`` is one that anybody on the internet can dial.

    For IPv6 only 2000::/3 is (RFC 4291, section 2.4, as IANA assigns it), which leaves out loopback, link-local,
    unique local and site-local addresses, IPv4-compatible ones and local NAT64 prefixes in one go.
    """
    if isinstance(ip, IPv6Address) and (ip not in _GLOBAL_UNICAST or any(ip in net for net in _TRANSITION)):
        return False
    return ip.is_global


def is_this_machine(host: str) -> bool:
    """Whether ``host``, normalised, stands for the machine itself, whatever it resolves to."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _same_host(host: str, own_host: str) -> bool:
    return bool(own_host) and (host == own_host or (host in _LOCALHOST and own_host in _LOCALHOST))


def _endpoint(item: object) -> tuple[str, int] | None:
    """``item`` as a normalised endpoint; None if it is none."""
    try:
        host, port = parse_host_port(item) if isinstance(item, str) else ("", 0)
    except BadParams:
        return None
    return (normal_host(host), port) if host else None
