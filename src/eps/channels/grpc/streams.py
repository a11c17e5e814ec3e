"""What the two ends of a ``ServerCall`` stream tell each other beside the protocol.

Our servers and our clients put one header into the stream's metadata that peers in use ignore: answers may come in any
order. Where it is missing, PROTOCOL.md section 9 rules.
"""

from collections.abc import Mapping

ORDER_KEY, UNORDERED = "eps-streams", "unordered"

STREAM_METADATA = {ORDER_KEY: UNORDERED}
"""Sent by our servers as initial metadata of a ServerCall, and by our clients with its request headers."""


def answers_unordered(metadata: Mapping[str, str]) -> bool:
    """Whether the other end takes answers in any order."""
    return metadata.get(ORDER_KEY) == UNORDERED
