"""Requests and responses as they travel inside the network (PROTOCOL.md section 2)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from eps.core.address import Address
from eps.core.names import Object

CLIENT_KEY = "_client"
"""The key of ``params`` under which each receiving server puts the sender's name and directory entry."""

Wanted = Callable[[], bool]
"""See :class:`Request`."""


def always() -> bool:
    """Of who can't go unnoticed."""
    return True


@dataclass(frozen=True, slots=True)
class Request:
    """A request addressed to an operator. ``method`` and ``id`` on the wire both derive from the address.

    Attributes:
        wanted: whether whoever asks still waits: a call that nobody waits for any more is not begun.
    """

    address: Address
    params: Object
    wanted: Wanted = field(default=always, compare=False, repr=False)


class Unread:
    """A request whose params are still the bytes that came. They are read once, when it is known that the sender may
    call: whoever may not makes us do no more than that.

    Args:
        decode: the params that the bytes say; raises ``errors.BadRequest`` where they say none.

    Attributes:
        address: as a :class:`Request`'s.
    """

    __slots__ = ("_decode", "_encoded", "address")

    def __init__(self, address: Address, encoded: bytes, decode: Callable[[bytes], Awaitable[Object]]) -> None:
        self.address = address
        self._encoded = encoded
        self._decode = decode

    async def read(self) -> Request:
        """The request; the bytes are let go."""
        encoded, self._encoded = self._encoded, b""
        return Request(self.address, await self._decode(encoded))


@dataclass(frozen=True, slots=True)
class Error:
    """``error`` of a response. ``data`` is the application's value, already unwrapped; ``{}`` where there is none."""

    code: int
    message: str
    data: Any = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: ``result`` (any JSON value, unwrapped) or ``error``, never both.

    ``id`` is the id of the request as the one who asked wrote it.
    """

    id: str
    result: Any = None
    error: Error | None = None

    @property
    def value(self) -> Any:
        """What it brings: the result, or the error's data."""
        return self.result if self.error is None else self.error.data


def wrap(value: Any) -> Object:
    """The object in which ``value`` travels: objects as they are, null as ``{}``, others as ``{"_": value}``."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    return {"_": value}


def unwrap(value: Object | None) -> Any:
    """The reverse of :func:`wrap`; an absent object is ``{}``."""
    if value is None:
        return {}
    if len(value) == 1 and "_" in value:
        return value["_"]
    return value


class Constant(dict[str, Any]):
    """An object that is never changed after it was made, so that its encoded form can be kept with it.

    Attributes:
        encoded: the codec's own: the bytes, and how deeply they are nested. None until it is sent for the first time.
    """

    __slots__ = ("encoded",)

    def __init__(self, fields: Object) -> None:
        super().__init__(fields)
        self.encoded: tuple[bytes, int] | None = None
