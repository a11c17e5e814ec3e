"""What is private in aiohttp's server, and needed all the same: the one place to look at when aiohttp has a new one.

pyproject.toml says up to which version this holds, and tests/jsonrpc/test_aiohttp_parts.py fails, with the part's name,
when one is gone or does something else.
"""

from aiohttp import web as web  # for whoever is in another room: so it comes without its client (eps.jsonrpc)
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler


class ConnectionParts(RequestHandler):
    """One connection that a client made."""

    @property
    def queued(self) -> int:
        """Requests that have come, or what can't be read as one, and whose turn it isn't yet."""
        return len(self._messages)

    @property
    def last_is_unreadable(self) -> bool:
        """Whether what has come last is no request."""
        return bool(self._messages) and not isinstance(self._messages[-1][0], RawRequestMessage)

    @property
    def body_before_last(self) -> StreamReader | None:
        """The body of the request before the one that was queued last: also of the one that is being answered."""
        if len(self._messages) > 1:
            return self._messages[-2][1]
        return self._current_request.content if self._current_request is not None else None

    def give_up_reading(self) -> None:
        """Don't wait for the rest of a body behind its answer: it never comes."""
        self._lingering_time = 0.0

    @property
    def is_unused(self) -> bool:
        """Whether it waits for a request, and none has just come."""
        return self._waiter is not None and not self._waiter.done()


class OwnFields(web.StreamResponse):
    """An answer that has the last word about its header fields."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.finish_fields()

    def finish_fields(self) -> None:
        """Called when aiohttp has added its own to :attr:`headers`, and before they are sent."""
        raise NotImplementedError  # each kind of answer has its own opinion
