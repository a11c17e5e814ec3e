"""Asking service directories: several endpoints, each with deadlines, the first good answer wins."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from eps.core import record_text
from eps.core.defaults import MAX_ANSWER_BYTES
from eps.core.host_port import address_of
from eps.core.http_proxy import NONE, HttpProxies
from eps.core.message import Response
from eps.core.names import Object
from eps.errors import DeliveryError, EpsError, Side, Unreachable
from eps.jsonrpc.callee import OF_A_DIRECTORY, Callee
from eps.jsonrpc.client import ClientLimits, JsonRpcClient
from eps.reasons import Reason
from eps.transport.tls import TlsFiles

STAGGER_SECONDS = 1.5
"""How long an endpoint may be silent before the next one is asked as well: an address that swallows packets must not
cost the whole deadline, one that is only slow shall win."""

MAX_VALUES = 2_000_000
"""Of an answer: 30 for each of so many records. They take 500 MiB at most."""

LONGEST_CALL_SECONDS = 120.0
"""The clients' own deadline; those who ask set shorter ones."""


class Clients(Protocol):
    """What reaches the endpoints of one directory; :class:`ServiceDirectoryClients` does."""

    @property
    def names(self) -> Sequence[str]:
        """Their URLs, for messages."""
        ...

    async def call(self, index: int, method: str, params: Object) -> Response:
        """Ask the endpoint of that index; raises EpsError if no answer came."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class Endpoints:
    """The endpoints of one directory.

    Args:
        clients: reach them; closed with this.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.names = tuple(clients.names)
        self._preferred = 0

    async def close(self) -> None:
        """Close all connections."""
        await self._clients.close()

    def order(self) -> list[int]:
        """All endpoints: the one that was good last, then the others as configured."""
        return sorted(range(len(self.names)), key=lambda index: index != self._preferred)

    def prefer(self, index: int) -> None:
        """Ask this one first from now on."""
        self._preferred = index

    async def ask(self, index: int, method: str, params: Object, seconds: float) -> Any:
        """The result of one call.

        Raises:
            EpsError: no answer within ``seconds``, or one that is an error; the message names the endpoint.
        """
        name = self.names[index]
        try:
            async with asyncio.timeout(seconds):
                response = await self._clients.call(index, method, params)
        except TimeoutError:
            raise Unreachable(
                f"the service directory at {name} did not answer {method} within {seconds:g} s",
                hint="is it overloaded, or a firewall in between?",
                reason=Reason.DIRECTORY_UNREACHABLE,
            ) from None
        if response.error is not None:
            raise DeliveryError(
                f"the service directory at {name} answered {method} with error {response.error.code}: "
                f"{response.error.message[:200]}",
                code=response.error.code,
            )
        return response.result

    async def first(self, among: Iterable[int], method: str, params: Object, seconds: float) -> tuple[int, Any]:
        """Ask in turn until one answers with a result.

        Returns:
            Which one answered, and its result.

        Raises:
            Unreachable: none of them did; the message has everybody's reason.
        """
        waiting, failures = list(among), []
        tasks: list[asyncio.Task[Any]] = []
        asked: dict[asyncio.Task[Any], int] = {}
        try:
            while waiting or asked:
                if waiting:
                    index = waiting.pop(0)
                    tasks.append(asyncio.create_task(self.ask(index, method, params, seconds)))
                    asked[tasks[-1]] = index
                # The last wait is bounded too: every task has its own deadline.
                timeout = STAGGER_SECONDS if waiting else None
                done, _ = await asyncio.wait(asked, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    index = asked.pop(task)
                    try:
                        return index, task.result()
                    except EpsError as error:
                        failures.append(error)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        raise all_failed(failures)


def all_failed(failures: Sequence[EpsError]) -> EpsError:
    """What to raise where no service directory gave an answer; the message has everybody's reason."""
    if not failures:
        return Unreachable("no service directory is configured", hint="set directory.settings.endpoints")
    if len(failures) == 1:
        return failures[0]
    text = "; ".join(error.message for error in failures)
    return Unreachable(text, hint=failures[0].hint, reason=failures[0].reason, side=failures[0].side)


class ServiceDirectoryClients:
    """JSON-RPC clients for service directories, from plain settings values.

    Args:
        endpoints: URLs.
        server_names: TLS names by position; where one is missing, the URL's host counts.
        tls: our certificate and the CAs; None for plain HTTP.
        proxies: HTTP proxies on the way.
        max_answer: bytes.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        server_names: Sequence[str] = (),
        *,
        tls: TlsFiles | None,
        proxies: HttpProxies = NONE,
        max_answer: int = MAX_ANSWER_BYTES,
    ) -> None:
        names: list[str | None] = [*server_names, *([None] * len(endpoints))]
        self.names = tuple(endpoints)
        self._clients = [
            JsonRpcClient(
                endpoint,
                tls=tls,
                server_name=name,
                proxy_url=proxies.url_for(address_of(endpoint)),
                callee=Callee("the service directory", Side.DIRECTORY, reasons=OF_A_DIRECTORY, tells_hour=True),
                limits=ClientLimits(max_answer, MAX_VALUES, LONGEST_CALL_SECONDS),
                load=record_text.loads,
            )
            for endpoint, name in zip(endpoints, names, strict=False)
        ]

    async def call(self, index: int, method: str, params: Object) -> Response:
        """Ask the endpoint of that index.

        Raises:
            EpsError: no answer came.
        """
        return await self._clients[index].call(method, params)

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(client.close() for client in self._clients))
