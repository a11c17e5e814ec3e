"""Why something failed: the words, and what each of them means. One table for answers, logs, commands and documents.

An error carries its word (``errors.EpsError.reason``; ``error.data.reason`` on the wire). What another operator is told
of a failure is the word's fixed title and what to do, unless the message itself may be read by everybody (``is_open``).
``docs/reference-reasons.md`` prints the table.

    words         Reason, and what an Explanation is
    requests      rows of the table: requests, the directory, rights
    connections   the way to the other side
    calls         the call itself, and a server's own matters
"""

from eps.reasons.calls import CALLS
from eps.reasons.connections import CONNECTIONS
from eps.reasons.requests import REQUESTS
from eps.reasons.words import Explanation, Reason

__all__ = ["FROM_ELSEWHERE", "TABLE", "Explanation", "Reason", "reason_of"]

TABLE: dict[Reason, Explanation] = {**REQUESTS, **CONNECTIONS, **CALLS}
"""Every word; a new one needs its row."""

FROM_ELSEWHERE = {
    Reason.OWN_PIN: Reason.PEER_PIN,
    Reason.OWN_CA: Reason.PEER_CA,
    Reason.OWN_EXPIRED: Reason.PEER_EXPIRED,
    Reason.OWN_CLOCK: Reason.PEER_CLOCK,
}
"""What a word is to those who are told of it by another operator."""

_WORDS = {reason.value: reason for reason in Reason}


def reason_of(word: object) -> Reason | None:
    """The reason that ``word`` names, another operator's say; None if we know no such."""
    return _WORDS.get(word) if isinstance(word, str) else None
