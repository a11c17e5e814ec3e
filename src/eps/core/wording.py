"""Of texts: what files may begin with, how messages count, «1 entry», «2 entries», and strangers' words. Pure."""

from collections.abc import Collection

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Of UTF-8; some editors write one. RFC 8259 (section 8.1) forbids to send it, and allows to ignore it."""

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""Its byte order marks."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with what it counts.

    Args:
        noun: for one; it may begin with other words (``more operator``).
        plural: for all other numbers, where it is more than an s at the end.
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def plain(text: str) -> str:
    """``text`` without what could move a terminal's cursor or break a line: it may be strangers' words."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def shows(who: str, to: str, fingerprints: Collection[str]) -> str:
    """Which certificates a server shows: what its administrators compare with the pins in the directory."""
    noun = "certificate" if len(fingerprints) == 1 else "certificates"
    return f"to {to} {who} shows the {noun} {' and '.join(sorted(fingerprints))}"
