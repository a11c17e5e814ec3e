"""``OPERATOR.METHOD(ID)``: the address that is a request's id inside the network (PROTOCOL.md section 2)."""

import re
from dataclasses import dataclass

from eps.core.names import Operator
from eps.errors import AddressError

MAX_ID_CHARS = 8192
"""Far above what our own servers make (1,024 for the local id, 100 for the method); keeps the parser's work small."""

_METHOD = re.compile(r"\.([^.(]++)\(")


@dataclass(frozen=True, slots=True)
class Address:
    """Who is asked for what, and the caller's own id for it."""

    operator: Operator
    method: str
    id: str

    def __str__(self) -> str:
        return f"{self.operator}.{self.method}({self.id})"

    @property
    def target(self) -> str:
        """``OPERATOR.METHOD``, what a request's ``method`` repeats."""
        return f"{self.operator}.{self.method}"


def parse_address(text: str) -> Address:
    """The address that ``text`` spells.

    The local id is what lies between the last possible ``(`` and the final ``)``: not empty, without ``)``. The method
    before it is not empty and has neither ``(`` nor ``.``; the operator is all before the method's dot.

    Raises:
        AddressError: with code 1, the one that peers in use answer.
    """
    if len(text) <= MAX_ID_CHARS and text.endswith(")"):
        end = len(text) - 1
        first = text.rfind(")", 0, end) + 1  # the local id holds no ")", so its "(" lies behind any other one
        newline = text.find("\n")
        # Up to end - 1, as the local id is not empty; nothing before its "(" may be a newline.
        candidates = _METHOD.finditer(text, 0, end - 1 if newline < 0 else min(newline, end - 1))
        found = None
        for match in candidates:  # the last possible one counts
            if match.end() > first:
                found = match
        if found is not None:
            operator, local_id = text[: found.start()], text[found.end() : end]
            return Address(Operator(operator), found[1], local_id)
    raise AddressError(
        f"{text[:80]!r} is not of the form OPERATOR.METHOD(ID)",
        hint="name the method as OPERATOR.METHOD; an id must not contain a closing parenthesis",
    )
