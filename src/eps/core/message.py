"""Requests and responses as they travel inside the network (PROTOCOL.md section 2)."""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from eps.core.address import Address
from eps.core.names import Object

WRAPPER = "_"
"""The lone key of an object in which a value that is none travels (PROTOCOL.md section 3)."""

CLIENT_KEY = "_client"
"""The key of ``params`` under which each receiving server puts the sender's name and directory entry."""


def always() -> bool:
    """Of who can't go unnoticed."""
    return True


class Asker:
    """Whoever waits for a call's answer, and how far his call has come.

    Args:
        is_there: whether he still waits: a call that nobody waits for any more is not begun.

    Attributes:
        timeout: seconds that he gives it, from its arrival on; None: he doesn't say.
        who: by what he is known among those who ask here: only he may cancel what he has asked.
        is_shared: others may be known by the same: who shows no certificate has an address, no name.
        sent: whether it may have left us.
    """

    __slots__ = ("_is_there", "is_shared", "sent", "timeout", "who")

    def __init__(
        self,
        is_there: Callable[[], bool] = always,
        *,
        timeout: float | None = None,
        who: Hashable = None,
        is_shared: bool = False,
    ) -> None:
        self._is_there = is_there
        self.timeout = timeout
        self.who = who
        self.is_shared = is_shared
        self.sent = False

    def waits(self) -> bool:
        """Whether he does, still."""
        return self._is_there()

    def begin(self) -> bool:
        """Asked in the moment before the call leaves us: whether it shall. From then on it counts as sent."""
        self.sent = self._is_there()
        return self.sent


@dataclass(frozen=True, slots=True)
class Request:
    """A request addressed to an operator. ``method`` and ``id`` on the wire both derive from the address.

    Attributes:
        asker: who waits for its answer.
    """

    address: Address
    params: Object
    asker: Asker = field(default_factory=Asker, compare=False, repr=False)


class Unread:
    """A request whose params are still the bytes that came. They are read once, when it is known that the sender may
    call: whoever may not makes us do no more than that.

    Args:
        decode: the params that the bytes say; raises ``errors.BadRequest`` where they say none.

    Attributes:
        address, asker: as a :class:`Request`'s.
    """

    __slots__ = ("_decode", "_encoded", "address", "asker")

    def __init__(
        self,
        address: Address,
        encoded: bytes,
        decode: Callable[[bytes], Awaitable[Object]],
        asker: Asker | None = None,
    ) -> None:
        self.address = address
        self.asker = asker or Asker()
        self._encoded = encoded
        self._decode = decode

    async def read(self) -> Request:
        """The request; the bytes are let go."""
        encoded, self._encoded = self._encoded, b""
        return Request(self.address, await self._decode(encoded), self.asker)


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

    Attributes:
        came: another server's error as it came, where ``error`` tells it from our side.
    """

    id: str
    result: Any = None
    error: Error | None = None
    came: Error | None = field(default=None, compare=False, repr=False)

    @property
    def value(self) -> Any:
        """What it brings: the result, or the error's data."""
        return self.result if self.error is None else self.error.data


def settled(value: Any) -> Any:
    """``value`` without what it may be wrapped in, however often: the same for who sends it and for who gets it."""
    while isinstance(value, dict) and len(value) == 1 and "_" in value:
        value = value["_"]
    return {} if value is None else value


def wrap(value: Any) -> Object:
    """The object in which ``value`` travels: objects as they are, null as ``{}``, others as ``{"_": value}``."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    return {WRAPPER: value}


def unwrap(value: Object | None) -> Any:
    """The reverse of :func:`wrap`; an absent object is ``{}``."""
    if value is None:
        return {}
    if len(value) == 1 and WRAPPER in value:
        return value[WRAPPER]
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
