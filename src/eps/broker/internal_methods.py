"""The methods that an EPS server answers itself: ``_ping``, ``_directory``, ``_connectionRequest``,
``_renewConnections``.

PROTOCOL.md section 2, «Delivery», point 4, sections 7 and 10. Permission was checked before, like for any other method;
but for ``_renewConnections``, which needs no right in the directory: who may is decided here.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime

import orjson

from eps.channels import Brokered, TunnelAcceptor
from eps.core.brokering import CONNECTION_REQUEST, parse_connection_request
from eps.core.entries import Directory, Entry
from eps.core.limits import MAX_MESSAGE_BYTES
from eps.core.message import Constant, Request
from eps.core.names import Object, Operator, shown
from eps.core.recent import Recent
from eps.core.renewal import ASKED_EVERY, RENEW_CONNECTIONS
from eps.core.told import quoted
from eps.errors import BadParams, EpsError, NotFound, NotPermitted, TooLarge
from eps.grpc import codec

MAX_BROKERS = 1_000
"""Of which it is remembered when they asked last; some 100 bytes each."""

SEARCH_SECONDS = 0.01
"""How long a search of the directory keeps all other calls waiting: then it is their turn."""


class InternalMethods:
    """Answers the internal methods.

    Args:
        name: our operator.
        version: what ``_ping`` tells.
        tunnels: the channels that can be reached through a proxy, by the name that ``channel`` gives (``grpc_server``).
        now: the wall clock, in UTC.
        brokered: the channels that have connections through proxies.
    """

    def __init__(
        self,
        name: Operator,
        *,
        version: str,
        tunnels: Mapping[str, TunnelAcceptor],
        now: Callable[[], datetime],
        brokered: Sequence[Brokered] = (),
    ) -> None:
        self._name = name
        self._version = version
        self._tunnels = dict(tunnels)
        self._now = now
        self._brokered = tuple(brokered)
        self._renewed: Recent[Operator, float] = Recent(MAX_BROKERS)
        self._methods = {
            "_ping": self._ping,
            "_directory": self._directory,
            CONNECTION_REQUEST: self._connection_request,
            RENEW_CONNECTIONS: self._renew_connections,
        }

    def handles(self, method: str) -> bool:
        """Whether ``method`` is an internal one."""
        return method in self._methods

    async def handle(self, request: Request, sender: Operator, directory: Directory) -> Object:
        """The result of an internal method; raises EpsError for a refusal."""
        return await self._methods[request.address.method](request.params, sender, directory)

    def check_broker(self, sender: Operator) -> None:
        """Who may ask for ``_renewConnections``: nobody but the operator that has brokered what is to be renewed.

        Raises:
            NotPermitted: it has brokered none of our connections.
        """
        if not any(channel.through(sender) for channel in self._brokered):
            raise NotPermitted(
                f"{sender} asked {self._name} to renew its connections, but none of them goes through {sender}",
                hint="only the proxy through which connections go may ask for new ones",
            )

    async def _ping(self, params: Object, sender: Operator, directory: Directory) -> Object:
        own = directory.entry(self._name)
        return {
            "timestamp": self._now().isoformat().replace("+00:00", "Z"),
            "version": self._version,
            "params": params,
            "serverInfo": own.to_message() if own is not None else None,
        }

    async def _directory(self, params: Object, sender: Operator, directory: Directory) -> Object:
        operator = _optional_text(params, "operator")
        group = _optional_text(params, "group")
        channels = _optional_texts(params, "channels")
        found: list[Constant] = []
        size, measure = 0, _json_size if sender == self._name else codec.encoded_size
        async for entry in _in_slices(directory, operator):
            if group and group not in entry.groups:
                continue
            if channels and not any(entry.has_channel(channel) for channel in channels):
                continue
            found.append(entry.to_message())
            size += measure(found[-1])
            if size > MAX_MESSAGE_BYTES:
                raise TooLarge(
                    f"the directory's entries that were asked for have more than {MAX_MESSAGE_BYTES:,} bytes (4 MiB)",
                    hint="ask for fewer: with «operator», «group» or «channels» in the params",
                )
        return {"entries": found}

    async def _connection_request(self, params: Object, sender: Operator, directory: Directory) -> Object:
        """Steps 3 and 4 at B: our proxy asks us to connect to its endpoint with a one-time token."""
        channel, endpoint, token = parse_connection_request(params)
        proxies = proxies_of(directory, self._name)
        if sender not in proxies:
            raise NotPermitted(
                f"{sender} asked {self._name} to open a tunnel, but the directory names "
                f"{shown(sorted(proxies)) if proxies else 'no operator'} as {self._name}'s proxy",
                hint="only the operator in «proxy» of our grpc_server channel's directory entry, and «alternatives» of "
                "our settings for the service «proxies», may ask for tunnels",
            )
        acceptor = self._tunnels.get(channel)
        if acceptor is None:
            raise NotFound(
                f"{self._name} has no channel {channel[:40]!r} that can be reached through a proxy",
                hint="configure a grpc_server channel on that server",
            )
        try:
            await acceptor.accept_tunnel(endpoint, token, sender)
        except EpsError as error:
            error.place = f"a tunnel for {_caller_of(params)}"  # for our log, where nobody else says it
            raise
        return {}

    async def _renew_connections(self, params: Object, sender: Operator, directory: Directory) -> Object:
        """Our proxy is about to stop: see ``core.renewal``."""
        self.check_broker(sender)
        now, last = time.monotonic(), self._renewed.get(sender)
        if last is not None and now - last < ASKED_EVERY:
            return {"connections": 0}
        self._renewed.put(sender, now)
        return {"connections": sum(channel.leave(sender) for channel in self._brokered)}


def _caller_of(params: Object) -> str:
    """Who asked our proxy, as that says; it was parsed before."""
    return quoted(str(params["client"]["name"]))


def proxies_of(directory: Directory, own: Operator) -> frozenset[Operator]:
    """The operators that bring tunnels to ``own``; none if the directory names none."""
    entry = directory.entry(own)
    return entry.proxies if entry is not None else frozenset()


async def _in_slices(directory: Directory, operator: str) -> AsyncIterator[Entry]:
    """The entry of ``operator``, or all if that is empty; what others wait for gets its turn between them."""
    if operator:
        entry = directory.entry(operator)
        if entry is not None:
            yield entry
        return
    began = time.monotonic()
    for entry in directory.entries.values():
        yield entry
        if time.monotonic() - began > SEARCH_SECONDS:
            await asyncio.sleep(0)
            began = time.monotonic()


def _json_size(entry: Constant) -> int:
    return len(orjson.dumps(entry))


def _optional_text(params: Object, key: str) -> str:
    value = params.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadParams(f"invalid params: {key}: expected a string")
    return value


def _optional_texts(params: Object, key: str) -> list[str]:
    value = params.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadParams(f"invalid params: {key}: expected a list of strings")
    return value
