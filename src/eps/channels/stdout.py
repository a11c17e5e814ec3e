"""The channel that prints requests to ourselves: to see what would arrive (PROTOCOL.md section 2, «Channels»)."""

import asyncio
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TextIO

from eps.channels import Way
from eps.core.jsonrpc_text import render_request
from eps.core.message import Request, Response
from eps.core.names import Operator
from eps.errors import NotSent, Side
from eps.transport.aside import written


class StdoutChannel:
    """An ``Outbound`` that leads to ourselves and answers ``{"message": "submitted"}``.

    Args:
        own: our operator.
        stream: where to print; default: standard output.
    """

    def __init__(self, own: Operator, stream: TextIO | None = None) -> None:
        self._own = own
        self._stream = stream
        self._turn = asyncio.Lock()
        self._printing: asyncio.Future[None] | None = None

    def way_to(self, operator: Operator) -> Way | None:
        """See ``channels.Outbound``."""
        return self.deliver if operator == self._own else None

    async def deliver(self, request: Request, sender: Operator, timeout: float) -> Response:
        """Print the request as one line of JSON, as a JSON-RPC request whose method names the operator.

        Raises:
            NotSent: standard output took it not within ``timeout`` seconds, or not at all.
        """
        address = request.address
        render = partial(render_request, address.target, request.params, str(address))
        try:
            async with asyncio.timeout(timeout), self._turn:
                line = (await written(render, request.params)).decode() + "\n"
                if self._printing is not None:
                    await asyncio.wait([self._printing])  # an earlier call gave up on it
                self._printing = self._print(line)
                await asyncio.wait([self._printing])
            self._printing.result()
        except (OSError, ValueError) as error:
            reason = "nobody reads it" if isinstance(error, TimeoutError) else str(error)
            raise NotSent(
                f"the request can't be printed to standard output: {reason}", hint="redirect it", side=Side.OURS
            ) from error
        return Response(str(address), {"message": "submitted"})

    def _print(self, line: str) -> asyncio.Future[None]:
        """Print in a thread: a pipe that nobody reads blocks, and must hold up neither the server nor its end."""
        loop = asyncio.get_running_loop()
        printed: asyncio.Future[None] = loop.create_future()
        stream = self._stream or sys.stdout

        def work() -> None:
            failure: Exception | None = None
            try:
                stream.write(line)
                stream.flush()
            except (OSError, ValueError) as error:  # ValueError: the stream is closed
                failure = error
            with suppress(RuntimeError):  # the event loop has ended meanwhile
                loop.call_soon_threadsafe(_settle, printed, failure)

        threading.Thread(target=work, name="stdout", daemon=True).start()
        return printed

    async def close(self) -> None:
        """Nothing is open; for symmetry with the other channels."""


def _settle(printed: asyncio.Future[None], failure: Exception | None) -> None:
    if printed.done():
        return
    if failure is None:
        printed.set_result(None)
    else:
        printed.set_exception(failure)
