"""Parsing a large JSON-RPC answer in steps, so that an event loop is never held up for long.

A chain of 10,000 records is 20 MB of JSON, and one call that parses it takes 100 ms. Such an answer's ``result`` is a
long list of objects: it is cut behind elements into pieces, each piece is parsed by itself, and what remains of the
answer around an empty list last. Whatever has another form is parsed at once. Pure: the caller takes the steps.
"""

import re
from collections.abc import Generator
from typing import Any, TypeVar

from eps.core.jsonrpc_text import Load, check_value, parse_json, strict_loads
from eps.core.limits import MAX_NESTING
from eps.errors import NotJson, TooLarge

STEP_BYTES = 256 * 1024
"""A piece's size: some 3 ms for finding its end, parsing and checking."""

STEP_TOKENS = 8192
"""Brackets and strings that are looked at in one step: 2 to 3 ms."""

# An unterminated string is one token to the end: looked at once, whatever it holds.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_COMMA = re.compile(rb"[ \t\r\n]*,")
_LIST_KEY = b'"result"'
T = TypeVar("T")


def exhaust(steps: Generator[None, None, T]) -> T:
    """What ``steps`` return at their end, taken one right behind the other: for a thread."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value


def load_in_steps(
    body: bytes, *, max_bytes: int, step_bytes: int = STEP_BYTES, load: Load | None = None
) -> Generator[None, None, Any]:
    """As :func:`eps.core.jsonrpc_text.strict_loads`, as a generator: each ``next`` is a step, the value is returned.

    Args:
        load: reads each piece; as there, if None.

    Raises:
        TooLarge, NotJson, BadRequest: as there; positions in the text of NotJson count within a piece.
    """
    if len(body) > max_bytes:
        raise TooLarge(f"{len(body)} bytes of JSON, the limit is {max_bytes}", hint="ask for less at once")
    items: list[Any] = []
    begin = cut = 0  # where the list's elements begin, and where those begin that are not parsed yet
    depth = 0
    key = b""
    for count, match in enumerate(_TOKEN.finditer(body)):
        if count % STEP_TOKENS == STEP_TOKENS - 1:
            yield
        token = body[match.start()]
        if token == ord('"'):
            if depth == 1:
                key = match[0]
        elif token in b"[{":
            depth += 1
            if depth == 2 and token == ord("[") and key == _LIST_KEY and not begin:
                begin = cut = match.end()
        else:
            depth -= 1
            if begin and depth < 2:
                if cut == begin or token != ord("]"):
                    break  # too short to be cut, or malformed
                items += _elements(body[cut : match.start()], len(items), load)
                return _joined(body[:begin] + body[match.start() :], items, load)
            comma = (
                _COMMA.match(body, match.end()) if begin and depth == 2 and match.end() - cut >= step_bytes else None
            )
            if comma:
                items += _elements(body[cut : match.end()], len(items), load)
                cut = comma.end()
                yield
    return (load or strict_loads)(body, max_bytes=max_bytes)


def end_of_object(body: bytes) -> Generator[None, None, int | None]:
    """Where the object ends with which ``body`` begins, as a generator: each ``next`` is a step.

    Brackets are counted, and nothing else is looked at. None is returned if there is no whole object.
    """
    depth = 0
    for count, match in enumerate(_TOKEN.finditer(body)):
        if count % STEP_TOKENS == STEP_TOKENS - 1:
            yield
        token = body[match.start()]
        if token in b"[{":
            if not depth and (token == ord("[") or body[: match.start()].strip()):
                return None
            depth += 1
        elif token in b"]}":
            depth -= 1
            if depth <= 0:
                return match.end() if depth == 0 else None
    return None


def _elements(piece: bytes, index: int, load: Load | None) -> list[Any]:
    """The elements in a piece of the list, the first of which is number ``index``."""
    text = b"[" + piece + b"]"
    elements: list[Any] = load(text, max_bytes=len(text)) if load is not None else parse_json(text, len(text))
    if not elements:  # a comma with nothing behind it, which the brackets put around the piece would hide
        raise NotJson("this is not JSON in UTF-8: a list ends with a comma")
    for number, element in enumerate(elements if load is None else (), index):
        check_value(element, f"result[{number}]", MAX_NESTING - 1)
    return elements


def _joined(frame: bytes, items: list[Any], load: Load | None) -> Any:
    """The answer whose list was taken out of ``frame``."""
    answer = (load or strict_loads)(frame, max_bytes=len(frame))
    if not isinstance(answer, dict):
        raise NotJson("the answer is a list, not an object")
    answer["result"] = items
    return answer
