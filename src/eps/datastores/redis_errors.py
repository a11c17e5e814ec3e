"""What redis-py's errors mean, in an administrator's words; and which of them may be gone in a moment."""

import ssl

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from eps.errors import EpsError, StoreUnsure
from eps.transport.handshakes import plain_reason


class Passing(Exception):
    """What may be gone at the next attempt.

    Args:
        worth_waiting: it may be gone within seconds.
        stale: the connection had been used before, and broke.
    """

    def __init__(self, text: str, hint: str = "", *, worth_waiting: bool = True, stale: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint
        self.worth_waiting = worth_waiting
        self.stale = stale


def broken(error: Exception, *, limit: float, at: str = "", stale: bool = False) -> Passing:
    """A connection that could not be made, or has ended.

    Args:
        limit: seconds that the other side had.
        at: whose it is.
        stale: it had been used before.
    """
    cause = error.__cause__ or error.__context__
    if isinstance(cause, EpsError):  # our own dialling says it best
        return Passing(cause.message, cause.hint)
    prefix = f"{at}: " if at else ""
    if "Authentication required" in str(error):
        hint = "set password, and username if it has ACL users"
        return Passing(f"{prefix}it wants a password", hint, worth_waiting=False)
    if isinstance(error, AuthenticationError | AuthorizationError):
        return Passing(
            f"{prefix}it refuses the user or the password ({error})", "check username and password", worth_waiting=False
        )
    if isinstance(error, BusyLoadingError):
        return Passing(f"{prefix}it has just started and is still loading its data")
    if isinstance(error, TimeoutError):
        return Passing(
            f"{prefix}no answer within {limit:g} s",
            "is it stopped, or its machine overloaded?",
        )
    if isinstance(cause, ssl.SSLError):
        return Passing(f"{prefix}{plain_reason(cause)}", "check the section tls of the datastore's settings")
    why = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
    return Passing(f"{prefix}{why or 'the connection ended'}", _BROKEN_HINT, stale=stale)


def passing_refusal(error: ResponseError) -> Passing | None:
    """An answer that another server, or this one in a moment, won't give."""
    if isinstance(error, ReadOnlyError):
        return Passing("it has become a replica, and can't be written to any more")
    if isinstance(error, MasterDownError):
        return Passing(f"it is not ready yet ({error})")
    return None


def unconfirmed(location: str, why: str) -> StoreUnsure:
    """A change that was sent, and that may be stored."""
    return StoreUnsure(
        f"the datastore {location} has not confirmed a change: {why}; it may be stored",
        hint="look whether it is there before sending it again",
    )


_BROKEN_HINT = (
    "check that the server runs; one that speaks TLS, or wants a client certificate, also ends connections like this"
)
_ALLOW = (
    "allow, for that key: +select +role +time +llen +lindex +lrange +eval +rpush +del +ltrim +info +config|get "
    "+publish +subscribe +wait"
)
_CLUSTER = ("it is a Redis Cluster", "a store needs one server, or Sentinel")
_REFUSALS: tuple[tuple[type[ResponseError], str, str, str], ...] = (
    (NoPermissionError, "", "the user may not do what this program needs", _ALLOW),
    (ResponseError, "user executing the script", "the user may not do what this program needs", _ALLOW),
    (MovedError, "", *_CLUSTER),
    (ClusterDownError, "", *_CLUSTER),
    (ResponseError, "not allowed in cluster mode", *_CLUSTER),
    (OutOfMemoryError, "", "its memory is full, and it takes no more", "give it more memory, or raise maxmemory"),
    (
        ResponseError,
        "WRONGTYPE",
        "the key holds something that is no list",
        "name another key in the datastore's settings",
    ),
    (ResponseError, "MISCONF", "it can't write to its disk, and takes no more", "look into its log: is the disk full?"),
    (
        ResponseError,
        "NOREPLICAS",
        "too few replicas are connected, so it takes no changes",
        "start the replicas, or lower min-replicas-to-write",
    ),
    (ResponseError, "non deterministic commands", "it is older than Redis 5", "use a newer one"),
    (ResponseError, "DB index", "it has no such database", "check database, or raise «databases» in redis.conf"),
)


def refusal(error: ResponseError) -> tuple[str, str]:
    """A refusal for good: what, and what to do about it."""
    said = str(error).partition(" script: ")[0]  # where in our script: of no use to an administrator
    for kind, word, text, hint in _REFUSALS:
        if isinstance(error, kind) and word in str(error):
            return f"{text} ({said})", hint
    return f"it refuses a command ({said})", ""
