"""How one operator's server reaches another's, as the directory has it (PROTOCOL.md sections 2 and 3). Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum

from eps.core.brokering import CONNECTION_REQUEST
from eps.core.entries import Directory
from eps.core.likeness import meant
from eps.core.names import Operator
from eps.core.permission import Allowed, may_call
from eps.core.removal import is_removed


class Kind(StrEnum):
    """Of a way."""

    OWN = "own"
    DIRECT = "direct"
    PROXY = "proxy"
    STREAM = "stream"
    NONE = "none"


NOBODY = Operator("")


@dataclass(frozen=True, slots=True)
class Way:
    """From a caller to a callee.

    Attributes:
        address: HOST:PORT that the caller dials: the callee's, or that of the proxy's EPS server.
        proxy: the operator that brokers a tunnel.
        why: where there is none, or its proxy can't be dialled, or can't ask the callee.
        fix: what to do then, where that is known.
        others: ways through further proxies, which are tried where the first fails.
    """

    kind: Kind
    address: str = ""
    proxy: Operator = NOBODY
    why: str = ""
    fix: str = ""
    others: "tuple[Way, ...]" = ()


def way_between(directory: Directory, caller: Operator, callee: Operator) -> Way:
    """The way that the directory names; what the caller's settings forbid is not looked at."""
    if caller == callee:
        return Way(Kind.OWN)
    entry = directory.entry(callee)
    server = entry.grpc_server if entry is not None else None
    proxies = entry.proxies_for(caller) if entry is not None else ()
    if entry is None or server is None or server.internal or caller in entry.proxies:
        if caller in directory.stream_targets(callee):
            return Way(Kind.STREAM)
        return Way(Kind.NONE, why=_why_not(directory, caller, callee))
    if not server.proxy:
        return Way(Kind.DIRECT, server.address)
    first, *others = (_through(directory, callee, proxy) for proxy in proxies)
    return replace(first, others=tuple(others))


def _through(directory: Directory, callee: Operator, proxy: Operator) -> Way:
    entry = directory.entry(proxy)
    address = entry.grpc_server.address if entry is not None and entry.grpc_server is not None else ""
    why, fix = undialable(directory, callee, proxy)
    return Way(Kind.PROXY, address, proxy, *((why, fix) if why else unasked(directory, callee, proxy)))


def undialable(directory: Directory, callee: Operator, proxy: Operator) -> tuple[str, str]:
    """Why whoever calls ``callee`` can't ask its proxy, and what to do; empty texts: he can."""
    entry = directory.entry(proxy)
    if entry is None or is_removed(entry):
        similar = meant(proxy, directory.entries) if entry is None else ""
        fix = f"{callee}'s administrators: correct «proxy» of its grpc_server, or its further proxies"
        return f"{proxy} is not in the directory", fix + (f"; did they mean {similar}?" if similar else "")
    server = entry.grpc_server
    if server is not None and not server.proxy:
        return "", ""
    before = f"a proxy before it ({server.proxy})" if server is not None else "no gRPC server of it"
    fix = f"the directory entry of {proxy} needs a grpc_server channel with an address, without a proxy"
    return f"the directory names {before}", fix


def unasked(directory: Directory, callee: Operator, proxy: Operator) -> tuple[str, str]:
    """Why ``proxy`` can't ask ``callee`` for connections, and what to do; empty texts: it can.

    Without that right ``callee`` doesn't hold a stream to it, either (PROTOCOL.md section 3).
    """
    asking, asked = directory.entry(proxy), directory.entry(callee)
    if asking is None or asked is None or isinstance(may_call(asking, asked, CONNECTION_REQUEST), Allowed):
        return "", ""
    fix = f"{callee}'s administrators: let a group of {proxy} call {CONNECTION_REQUEST} in the section «services»"
    return f"{callee} lets {proxy} not ask it for connections ({CONNECTION_REQUEST})", fix


def _why_not(directory: Directory, caller: Operator, callee: Operator) -> str:
    entry = directory.entry(callee)
    if entry is None:
        return f"{callee} is not in the directory"
    if is_removed(entry):
        return f"{callee} was removed from the directory"
    server = entry.grpc_server
    if server is None:
        first = f"{callee} lists no grpc_server channel"
    elif server.internal:
        first = f"the gRPC server of {callee} is internal"
    else:
        first = f"{callee} is reached through {caller}"
    return (
        f"{first}, and it holds no stream to {caller}: that takes a grpc_server of {caller} that {callee} may dial, "
        f"and a right of {caller} to call a service of {callee}"
    )
