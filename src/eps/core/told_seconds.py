"""Seconds that HTTP fields tell: ``Keep-Alive``, how long a server keeps an unused connection (RFC 9112, appendix
C.2.2), and ``EPS-Timeout``, how much time a caller gives a call; between servers that is gRPC's own ``grpc-timeout``
(PROTOCOL.md section 10)."""

import re

KEEP_ALIVE_SECONDS = 1.5
"""How long an unused connection to an HTTP server is kept where that doesn't say: below the shortest default of common
servers (gunicorn's 2 s), so that ours ends first."""

LONGEST_SECONDS = 60.0
"""For which a connection is kept unused, whatever the server says."""

TIMEOUT = "EPS-Timeout"
"""The HTTP field."""

OF_CALLER = {"eps-timeout": "caller"}
"""Metadata of a ``Call`` whose ``grpc-timeout`` is what its caller gives it. Other calls have a ``grpc-timeout``, too,
which says only how long the server that sends them waits."""

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
"""Nineteen characters at the most: nobody's time is told more exactly, or is longer."""

_KEPT = re.compile(r"(?:^|[,;\s])timeout\s*=\s*([0-9]{1,7})(?![0-9])", re.IGNORECASE)


def kept_for(field: str, otherwise: float) -> float:
    """For how many seconds to keep a connection: a second less than the server does, or half of what it says.

    Args:
        field: the value of ``Keep-Alive``; empty without one.
        otherwise: where that doesn't say it.
    """
    found = _KEPT.search(field)
    if found is None:
        return otherwise
    seconds = float(found[1])
    return min(max(seconds - 1.0, seconds / 2), LONGEST_SECONDS)


def read_timeout(text: str | None) -> float | None:
    """Seconds; None where none are told.

    Raises:
        ValueError: these are none, or not more than 0.
    """
    if text is None:
        return None
    seconds = float(text) if _SECONDS.fullmatch(text) else 0.0
    if not seconds:
        raise ValueError(f"{TIMEOUT} must be a number of seconds above 0, such as 2.5")
    return seconds


def render_timeout(seconds: float) -> str:
    """As it is sent; what is over already is the least that can be said."""
    return f"{min(max(seconds, 0.001), 999_999_999.0):.3f}"
