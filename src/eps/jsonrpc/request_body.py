"""A request's body as it arrives: bounded, and with a deadline."""

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from eps.errors import BadRequest, NotJson, Side, TooLarge
from eps.jsonrpc.http_connection import tell_to_go_on

BODY_SECONDS = 30.0
BODY_BYTES_PER_SECOND = 1024 * 1024
"""A body may take 30 s, and a second more per MiB that the server accepts at all."""

SILENT_SECONDS = 10.0
"""Between two parts of a large body, whose sender has the turn that others wait for."""

IsTooSlow = Callable[[int, float], bool]
"""(bytes that have come, seconds since reading went on) → whether that ends it."""


class RequestBody:
    """One body. What is beyond ``max_bytes`` is not kept.

    Args:
        max_bytes: of a whole body.
        hold: told of bytes that come; raises Busy where all bodies together have too many.
    """

    def __init__(self, request: web.BaseRequest, max_bytes: int, hold: Callable[[int], None]) -> None:
        self._request = request
        self._content = request.content
        self._max_bytes = max_bytes
        self._hold = hold
        self._seconds = BODY_SECONDS + max_bytes / BODY_BYTES_PER_SECOND
        self._parts: list[bytes] = []
        self._size = 0

    async def begin(self, enough: int) -> bool:
        """Read on until the end, or until more than ``enough`` bytes have come: then, False.

        Raises:
            TooLarge: beyond ``max_bytes``.
            Busy: too much is in hand already.
            BadRequest: it doesn't arrive in time.
            NotJson: it isn't coded as HTTP says.
        """
        announced = self._request.content_length or 0
        self._check(announced)
        await tell_to_go_on(self._request)
        if self._content.is_eof():  # small bodies mostly come with the headers, and need no deadline
            self._take(self._content.read_nowait())
            return True
        return await self._read(enough, None)

    async def finish(self, is_too_slow: IsTooSlow) -> None:
        """Read the rest; raises as :meth:`begin`."""
        await self._read(self._max_bytes, is_too_slow)

    def take(self) -> bytes:
        """All that was read, once."""
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _read(self, enough: int, is_too_slow: IsTooSlow | None) -> bool:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._seconds if is_too_slow is None else SILENT_SECONDS) as deadline:
                while part := await self._content.readany():
                    self._take(part)
                    if self._size > enough:
                        return False
                    if is_too_slow is not None and is_too_slow(self._size, loop.time() - began):
                        raise BadRequest("the body comes slowly, and others wait", hint="send it again later")
                    if is_too_slow is not None:
                        deadline.reschedule(min(began + self._seconds, loop.time() + SILENT_SECONDS))
                return True
        except TimeoutError:
            seconds = loop.time() - began
            raise BadRequest(f"the body did not arrive within {seconds:.0f} s", hint="check the network") from None
        except (RequestPayloadError, HttpProcessingError) as error:
            raise NotJson(f"the body can't be read: {error}", hint="check the client's Content-Length") from error

    def _take(self, part: bytes) -> None:
        self._size += len(part)
        self._check(self._size)
        self._hold(len(part))
        self._parts.append(part)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise TooLarge(
                f"a request of {size} bytes or more, the limit is {self._max_bytes}",
                hint="send less at once",
                side=Side.OURS,
            )
