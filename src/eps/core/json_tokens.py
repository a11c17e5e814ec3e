"""How texts look in JSON (RFC 8259, section 7), as patterns for those who walk over JSON that isn't parsed, or not yet.

All are for ``re.DOTALL``, and go back nowhere: each byte is looked at once, whatever stands there.
"""

INSIDE = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
"""Between the quotes."""

TEXT = b'"' + INSIDE + b'"'

TEXT_OR_REST = b'"' + INSIDE + rb'(?:"|\\?\Z)'
"""A text, or the beginning of one that is cut off: one token to the end."""
