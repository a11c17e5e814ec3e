"""The JSON number ``-0``, the double -0.0 for servers in use. Our parser knows none among integers. Pure."""

import re

from eps.core.json_tokens import TEXT

MINUS_ZERO = b"-0e0"
"""How ``-0`` is shown to a parser."""

_MAYBE = re.compile(rb"-0(?=[ \t\r\n]*+(?:[,\]}]|\Z))")
"""Also inside a text, but seldom there: dates have other digits behind it."""

_TOKEN = re.compile(TEXT + rb"|-0(?![0-9.eE])", re.DOTALL)


def show_minus_zeros(text: bytes) -> bytes:
    """JSON text with :data:`MINUS_ZERO` for each number ``-0``."""
    if not _MAYBE.search(text):
        return text
    return _TOKEN.sub(lambda match: MINUS_ZERO if match[0] == b"-0" else match[0], text)
