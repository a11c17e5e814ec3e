"""The distinct kinds of string and bytes that modules hand to each other.

``NewType`` keeps mypy from letting one stand where another belongs; at run time they are plain ``str`` and ``bytes``.
"""

from collections.abc import Sequence
from typing import Any, NewType

from eps.core.wording import plain

Operator = NewType("Operator", str)
"""An operator's name, as in the directory and in certificates (``hd-1``); dots are allowed."""

Fingerprint = NewType("Fingerprint", str)
"""SHA-256 of a certificate's DER form, 64 lower-case hex digits."""

RecordHash = NewType("RecordHash", str)
"""The structured hash of a change record, 64 lower-case hex digits."""

Token = NewType("Token", bytes)
"""The 32 random bytes that join one side of a tunnel to the other. A secret: never logged."""

TOKEN_BYTES = 32
"""PROTOCOL.md section 7, step 3."""

Object = dict[str, Any]
"""A JSON object as Python's json-like values: str, int, float, bool, None, list, dict."""


def shown_name(name: str) -> str:
    """A name for a message, which is one line: shortened, and without what could end that line."""
    return plain(name[:80])


def shown(names: Sequence[str], most: int = 5) -> str:
    """Names for a message: a certificate may carry hundreds, and whatever an authority has signed."""
    return ", ".join(shown_name(name) for name in names[:most]) + (", …" if len(names) > most else "") or "no name"
