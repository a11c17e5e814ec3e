"""What a JSON-RPC server has in hand at once: calls that run, and the bytes of requests, until each is answered."""

from eps.errors import Busy, Side

MAX_CALL_BYTES = 64 * 1024 * 1024
"""Of requests: sixteen of the greatest size, as a gRPC peer may have. In Python a request can take eighteen times its
bytes."""

RETRY_SECONDS = 1
"""After which refused callers may come again: some hundred calls are answered by then."""


class InHand:
    """Of one server.

    Args:
        name: the server's, for messages.
        max_calls: that run.
        max_bytes: of requests that are being read, or run. A request that is longer passes when it is the only one.

    Attributes:
        calls, bytes: now.
    """

    def __init__(self, name: str, max_calls: int, max_bytes: int) -> None:
        self.calls = self.bytes = 0
        self._name = name
        self._max_calls = max_calls
        self._max_bytes = max_bytes

    def begin(self) -> None:
        """One more call; raises Busy if that is too many."""
        if self.calls >= self._max_calls:
            raise self._busy(f"{self.calls:,} calls")
        self.calls += 1

    def hold(self, size: int) -> None:
        """So many more bytes; raises Busy if that is too much."""
        if self.bytes and self.bytes + size > self._max_bytes:
            raise self._busy(f"calls of {self.bytes:,} bytes")
        self.bytes += size

    def _busy(self, what: str) -> Busy:
        return Busy(f"{self._name} is at {what} already, and takes no more at once", RETRY_SECONDS, Side.OURS)


class Held:
    """What one request takes of it, until :meth:`free`."""

    def __init__(self, all_of_them: InHand) -> None:
        self._all = all_of_them
        self._size = 0
        self._began = False

    def hold(self, size: int) -> None:
        """Bytes have come; raises as :meth:`InHand.hold`."""
        self._all.hold(size)
        self._size += size

    def begin(self) -> None:
        """The call begins; raises as :meth:`InHand.begin`."""
        self._all.begin()
        self._began = True

    def free(self) -> None:
        """It is answered."""
        self._all.calls -= self._began
        self._all.bytes -= self._size
