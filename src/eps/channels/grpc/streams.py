"""How the two ends of a ``ServerCall`` tell each other what they can do.

Peers in use take the next message on a stream as the answer to their last request, whatever its id (PROTOCOL.md
section 9). Servers and clients of this project match answers by id. Each says so in its metadata, the server at once
when a stream opens; a peer that says nothing is one of those in use.
"""

from collections.abc import Mapping

STREAMS_KEY = "eps-streams"
STREAMS_UNORDERED = "unordered"

STREAM_METADATA = {STREAMS_KEY: STREAMS_UNORDERED}
"""What ours say."""


def answers_unordered(metadata: Mapping[str, str]) -> bool:
    """Whether a peer that sent ``metadata`` takes answers in any order and has several requests under way."""
    return metadata.get(STREAMS_KEY) == STREAMS_UNORDERED
