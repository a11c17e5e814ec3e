"""``OPERATOR.METHOD(ID)``: the address that is a request's id inside the network (PROTOCOL.md section 2)."""

from dataclasses import dataclass

from eps.core.names import Operator
from eps.errors import AddressError

MAX_ID_CHARS = 8192
"""Far above what our own servers make (1,024 for the local id, 100 for the method); keeps the parser's work small."""


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
    if text.endswith(")") and len(text) <= MAX_ID_CHARS:
        end = len(text) - 1
        first = text.rfind(")", 0, end) + 1  # the local id holds no ")", so its "(" lies behind any other one
        opening = text.rfind("(", first, end - 1)  # - 1: the local id is not empty
        while opening >= 0:
            # Between the method's dot and this "(" there may be no other "(".
            dot = text.rfind(".", 0, opening)
            previous = text.rfind("(", first, opening)
            if dot < 0:
                break
            if (
                dot > previous
                and dot + 1 < opening
                and "(" not in text[dot + 1 : opening]
                and "\n" not in text[:opening]
            ):
                return Address(Operator(text[:dot]), text[dot + 1 : opening], text[opening + 1 : end])
            opening = previous
    raise AddressError(
        f"{text[:80]!r} is not of the form OPERATOR.METHOD(ID)",
        hint="name the method as OPERATOR.METHOD; an id must not contain a closing parenthesis",
    )
