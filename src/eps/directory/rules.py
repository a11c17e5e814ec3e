"""What a service directory of ours says of itself (``getRules``, PROTOCOL.md section 10): what it takes, what it keeps.

Others have no such method, so what isn't said isn't so.
"""

from eps.core.names import Object

FOREIGN_PEERS = "foreign_peers"
"""Whether servers of others follow it: then what those can't read is refused. Named as the setting."""

CANONICAL_SIGNATURES = "canonical_signatures"
"""Whether it keeps them."""


def rules(*, foreign_peers: bool) -> Object:
    """The answer of ours."""
    return {FOREIGN_PEERS: foreign_peers, CANONICAL_SIGNATURES: True}


def all_can_read_more(answer: object) -> bool:
    """Whether only servers of ours follow the one that gave this ``answer``."""
    return isinstance(answer, dict) and answer.get(FOREIGN_PEERS) is False


def keeps_canonical(answer: object) -> bool:
    """Whether the one that gave this ``answer`` keeps canonical signatures."""
    return isinstance(answer, dict) and answer.get(CANONICAL_SIGNATURES) is True


def lacks_canonical(shown: object) -> bool:
    """Whether a signed record, as JSON, is shown without a canonical signature."""
    signature = shown.get("signature") if isinstance(shown, dict) else None
    return isinstance(signature, dict) and signature.get("canonical") is None
