"""How long a server keeps an unused connection, as its field ``Keep-Alive`` says (RFC 9112, appendix C.2.2)."""

import re

KEEP_ALIVE_SECONDS = 1.5
"""How long an unused connection to an HTTP server is kept where that doesn't say: below the shortest default of common
servers (gunicorn's 2 s), so that ours ends first."""

LONGEST_SECONDS = 60.0
"""For which a connection is kept unused, whatever the server says."""

_TIMEOUT = re.compile(r"(?:^|[,;\s])timeout\s*=\s*([0-9]{1,7})(?![0-9])", re.IGNORECASE)


def kept_for(field: str, otherwise: float) -> float:
    """For how many seconds to keep a connection: a second less than the server does, or half of what it says.

    Args:
        field: the value of ``Keep-Alive``; empty without one.
        otherwise: where that doesn't say it.
    """
    found = _TIMEOUT.search(field)
    if found is None:
        return otherwise
    seconds = float(found[1])
    return min(max(seconds - 1.0, seconds / 2), LONGEST_SECONDS)
