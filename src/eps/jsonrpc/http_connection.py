"""aiohttp's side of one HTTP connection that a client made, as all our servers want it."""

import asyncio

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp.web_protocol import RequestPayloadError

from eps.jsonrpc.aiohttp_parts import ConnectionParts


class HttpConnection(ConnectionParts):
    """Ends at once when it is unused and its server closes, and answers what is no HTTP in our words.

    Args:
        http: whose handler answers the requests.
        keep_alive: seconds for which an unused connection is kept.
        max_line: bytes of the first line, and of each header.
    """

    def __init__(self, http: web.Server, *, keep_alive: float, max_line: int) -> None:
        super().__init__(
            http,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own AppRunner passes None, too: no access log
            keepalive_timeout=keep_alive,
            tcp_keepalive=False,  # the socket has it already
            max_line_size=max_line,
            max_field_size=max_line,
            auto_decompress=False,  # what passes stays as it is, and a bomb is compressed
        )

    def data_received(self, data: bytes) -> None:
        """aiohttp queues what can't be read behind the request that came last, as if that were whole. If its body is
        what broke, whoever reads it must know at once."""
        known = self.queued
        super().data_received(data)
        if not self.last_is_unreadable or self.queued == known:
            return
        body = self.body_before_last
        if body is not None and not body.is_eof():
            self.give_up_reading()
            body.set_exception(RequestPayloadError("it is not coded as HTTP says"))

    def close(self) -> None:
        """End after the request in progress. aiohttp's own leaves an idle connection open, and deaf, for a while."""
        idle = self.is_unused
        super().close()
        if idle and self.transport is not None:
            self.transport.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The last answer of a connection on which something is wrong; see :meth:`trouble`.

        Raises:
            ConnectionResetError: an answer has begun, and a second one would be taken for a part of it.
        """
        if request.writer.output_size > 0:
            raise ConnectionResetError("an answer has begun already")
        answer = self.trouble(status, exc)
        answer.force_close()
        return answer

    def trouble(self, status: int, error: BaseException | None) -> web.Response:
        """The answer, in this server's form, to what can't be read (``status`` below 500) or went wrong in here."""
        raise NotImplementedError  # each server has its own form


async def tell_to_go_on(request: web.BaseRequest) -> None:
    """A client may wait for that before it sends its body; of HTTP/1.0 none does (RFC 9110, section 10.1.1)."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # as aiohttp's own handling of Expect: the answer hasn't begun


async def end_unused(http: web.Server) -> None:
    """End the connections that are unused, and the others after the request in progress. Requests that have just come
    have begun when this returns, so that they can be waited for like all others."""
    http.pre_shutdown()
    await asyncio.sleep(0)
