"""Parsing a large JSON-RPC answer in steps, so that an event loop is never held up for long.

A chain of 10,000 records is 20 MB of JSON, and one call that parses it takes 100 ms. Such an answer's ``result`` is a
long list of objects: it is cut behind elements into pieces, each piece is parsed by itself, and what remains of the
answer around an empty list last; a submission's ``params.records`` likewise. Whatever has another form is parsed at
once, or refused. What a parser would make of a text is counted before. Pure: the caller takes the steps.
"""

import re
from collections.abc import Generator
from typing import Any

from eps.core.json_tokens import TEXT_OR_REST
from eps.core.jsonrpc_text import Load, check_value, parse_json, strict_loads
from eps.core.limits import MAX_NESTING
from eps.errors import NotJson, TooLarge

STEP_BYTES = 256 * 1024
"""A piece's size: some 3 ms for finding its end, parsing and checking."""

STEP_TOKENS = 8192
"""Brackets and strings that are looked at in one step: 2 to 3 ms."""

_TOKEN = re.compile(TEXT_OR_REST + rb"|[\[\]{}]", re.DOTALL)
_COMMA = re.compile(rb"[ \t\r\n]*,")
_RESULT = (b'"result"',)
RECORDS = (b'"params"', b'"records"')
"""Where a submission's long list is; see :func:`load_in_steps`."""

_COUNTED = re.compile(TEXT_OR_REST + rb"|,|[\[{](?![ \t\r\n]*+[\]}])", re.DOTALL)
_SLICE = 1024 * 1024


def count_values(text: bytes, most: int) -> Generator[None, None, None]:
    """Refuse JSON text of which a parser would make more than ``most`` values, as a generator: each ``next`` is a step.

    A value takes 2 bytes of text (``{},`` again and again) and 64 of memory. Commas, and brackets with something in
    them, are counted: in JSON there is one value more than those. Of what is no JSON a parser gets no further.

    Raises:
        TooLarge: there are more.
    """
    most_possible = 1
    for start in range(0, len(text), _SLICE):
        part = text[start : start + _SLICE]
        most_possible += part.count(b",") + part.count(b"[") + part.count(b"{")
        yield
    if most_possible <= most:
        return
    count = 1
    for number, match in enumerate(_COUNTED.finditer(text)):
        if number % STEP_TOKENS == STEP_TOKENS - 1:
            yield
        count += text[match.start()] != ord('"')
        if count > most:
            raise TooLarge(f"more than {most:,} values in one JSON text", hint="send less at once")


def load_in_steps(
    body: bytes,
    *,
    max_bytes: int,
    step_bytes: int = STEP_BYTES,
    load: Load | None = None,
    path: tuple[bytes, ...] = _RESULT,
    max_piece: int | None = None,
) -> Generator[None, None, Any]:
    """As :func:`eps.core.jsonrpc_text.strict_loads`, as a generator: each ``next`` is a step, the value is returned.

    Args:
        load: reads each piece; as there, if None.
        path: the keys, with their quotes, under which the long list is.
        max_piece: bytes that are parsed at once; None: however many, where they can't be cut.

    Raises:
        TooLarge: also of a piece.
        NotJson, BadRequest: as there; positions in the text of NotJson count within a piece.
    """
    if len(body) > max_bytes:
        raise TooLarge(f"{len(body)} bytes of JSON, the limit is {max_bytes}", hint="ask for less at once")
    items: list[Any] = []
    begin = cut = 0  # where the list's elements begin, and where those begin that are not parsed yet
    depth, level = 0, len(path) + 1
    keys = [b""] * len(path)  # the last text at each depth: where a value begins, its key
    for count, match in enumerate(_TOKEN.finditer(body)):
        if count % STEP_TOKENS == STEP_TOKENS - 1:
            yield
        token = body[match.start()]
        if token == ord('"'):
            if 0 < depth < level:
                keys[depth - 1] = match[0]
        elif token in b"[{":
            depth += 1
            if depth == level and token == ord("[") and not begin and tuple(keys) == path:
                begin = cut = match.end()
        else:
            depth -= 1
            if begin and depth < level:
                if cut == begin or token != ord("]"):
                    break  # too short to be cut, or malformed
                items += _elements(_limited(body[cut : match.start()], max_piece), len(items), load)
                return _joined(_limited(body[:begin] + body[match.start() :], max_piece), items, load, path)
            comma = (
                _COMMA.match(body, match.end())
                if begin and depth == level and match.end() - cut >= step_bytes
                else None
            )
            if comma:
                items += _elements(_limited(body[cut : match.end()], max_piece), len(items), load)
                cut = comma.end()
                yield
    return (load or strict_loads)(_limited(body, max_piece), max_bytes=max_bytes)


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


def _limited(piece: bytes, most: int | None) -> bytes:
    if most is not None and len(piece) > most:
        raise TooLarge(f"{len(piece)} bytes of JSON in one piece, the limit is {most}", hint="send a list of less")
    return piece


def _joined(frame: bytes, items: list[Any], load: Load | None, path: tuple[bytes, ...]) -> Any:
    """The whole whose list was taken out of ``frame``."""
    whole = around = (load or strict_loads)(frame, max_bytes=len(frame))
    for key in path[:-1]:
        around = around.get(key[1:-1].decode()) if isinstance(around, dict) else None
    if not isinstance(around, dict):
        raise NotJson("a list stands where an object should")
    around[path[-1][1:-1].decode()] = items
    return whole
