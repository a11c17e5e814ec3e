"""Reading and writing large JSON in pieces, for a thread: a parser that is given four megabytes of ``[],`` keeps all
other threads waiting for a quarter of a second, since it holds Python's lock from its begin to its end. To write two
million lists takes 40 ms.

Theory of operation. Reading: one pattern finds brackets, and runs of what is between them, each of which ends behind a
comma. Containers that are open wait on a list. When the innermost one has a piece of text that is long enough, it is
parsed by itself, in brackets, and put into the value that the container has so far; that has its place in the one
around it, whose text up to there was parsed with a null in its place. What is not long enough is parsed with the
container that it lies in. Writing: a container that holds much is written a batch of elements at a time, and one that
itself holds much within it likewise. Pure.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from eps.core.json_tokens import TEXT_OR_REST
from eps.core.taking_apart import forget
from eps.errors import BadRequest, NotJson

PIECE_BYTES = 64 * 1024
"""Parsed at once: at most some 5 ms, whatever it is."""

MANY_VALUES = 20_000
"""Commas and brackets in a text, so many and more of which are worth it: they take some 15 ms at once."""

FEW_VALUES = 5_000
"""Values up to which an object is encoded as a protobuf message on the loop: some 4 ms."""

PIECE_VALUES = 50_000
"""Values that are written as JSON at once: some 1 ms."""

BATCH_ITEMS = 512
"""Elements of a large container that are written at once, if they hold little."""

RUN_ITEMS = 512
"""Between two places where a text may be cut; some 100 µs."""

_REST = rb'(?:[^"\[\]{},]++|' + TEXT_OR_REST + rb")"
# What a run begins with and has no comma behind it is looked at twice, not more: it is a token, too. The run is an
# atomic group: the possessive {1,N}+ of Python 3.11.2 does not go back to where its last, failed round began.
_TOKEN = re.compile(rb"(?>(?:%b*+,){1,%d})|%b++|[\[\]{}]" % (_REST, RUN_ITEMS, _REST), re.DOTALL)
_SPACE = b" \t\r\n"


def is_heavy(text: bytes) -> bool:
    """Whether to parse ``text`` at once could take longer than 15 ms. Quick: a few ms for 10 MB."""
    return len(text) > PIECE_BYTES and text.count(b",") + text.count(b"[") + text.count(b"{") >= MANY_VALUES


def parse_in_pieces(text: bytes, parse: Callable[[bytes], Any], *, most: int, piece: int = PIECE_BYTES) -> Any:
    """The value of a JSON text that is an object or a list; of another one, as ``parse`` says.

    Args:
        parse: a piece's value; raises ``BadRequest`` where it is none. It refuses duplicate keys within a piece.
        most: objects and lists inside each other.
        piece: bytes that are parsed by themselves.

    Raises:
        DeeperThan: there are more than ``most`` inside each other.
        BadRequest: a duplicate key, or as ``parse``.
        NotJson: brackets that don't fit.
    """
    made: list[Any] = []
    try:
        return _parsed(text, parse, most, piece, made)
    except BaseException:
        forget(made)
        raise


def _parsed(text: bytes, parse: Callable[[bytes], Any], most: int, piece: int, made: list[Any]) -> Any:
    """As :func:`parse_in_pieces`; what there is of the value is in ``made``."""
    open_ones: list[_Open] = []
    for match in _TOKEN.finditer(text):
        token, end = text[match.start()], match.end()
        if token in b"[{":
            if len(open_ones) == most:
                raise DeeperThan
            open_ones.append(_Open(token, match.start()))
            if len(open_ones) == 1:
                made.append(open_ones[0].value)
        elif token in b"]}":
            closed = open_ones.pop() if open_ones else None
            if closed is None or token != closed.closes_with:
                raise NotJson("this is not JSON in UTF-8: a bracket that closes none")
            if not open_ones:
                closed.take(text[closed.cut : match.start()], parse, is_last=True)
                return _whole(text, closed, end)
            if closed.is_cut:
                closed.take(text[closed.cut : match.start()], parse, is_last=True)
                open_ones[-1].cut = end
        elif open_ones and text[end - 1] == ord(",") and end - open_ones[-1].cut >= piece:
            for around, inner in itertools.pairwise(open_ones):
                if not inner.is_cut:
                    around.take_with(inner, text[around.cut : inner.begin], parse)
            open_ones[-1].take(text[open_ones[-1].cut : end - 1], parse)
            open_ones[-1].cut = end - 1
        elif not open_ones and text[match.start() : end].strip(_SPACE):
            return parse(text)  # neither an object nor a list
    raise NotJson("this is not JSON in UTF-8: a bracket is not closed")


class DeeperThan(Exception):
    """More objects and lists are inside each other than may be."""


def _whole(text: bytes, root: "_Open", end: int) -> Any:
    if text[: root.begin].strip(_SPACE) or text[end:].strip(_SPACE):
        raise NotJson("this is not JSON in UTF-8: something is around the value")
    return root.value


class _Open:
    """An object or a list whose end has not come yet.

    Attributes:
        begin: where its bracket is.
        cut: where the text begins that is not in ``value`` yet.
        is_cut: whether anything was taken.
    """

    __slots__ = ("begin", "closes_with", "cut", "is_cut", "value")

    def __init__(self, bracket: int, begin: int) -> None:
        self.begin, self.cut = begin, begin + 1
        self.is_cut = False
        self.value: Any = {} if bracket == ord("{") else []
        self.closes_with = bracket + 2  # in ASCII

    def take(self, text: bytes, parse: Callable[[bytes], Any], *, is_last: bool = False) -> None:
        """Put in what ``text`` says: whole elements, or members."""
        inside = self._behind_comma(text)
        if inside is None:
            return
        if not inside.strip(_SPACE) and (self.is_cut or not is_last):
            raise NotJson("this is not JSON in UTF-8: a comma with nothing behind it")
        self._add(parse(self._in_brackets(inside)))

    def take_with(self, inner: "_Open", text: bytes, parse: Callable[[bytes], Any]) -> None:
        """The same, where ``inner`` begins behind ``text``: its value, which is going to grow, has its place here."""
        inside = self._behind_comma(text)
        if inside is None:
            raise NotJson("this is not JSON in UTF-8: a comma is missing")
        found = parse(self._in_brackets(inside + b"null"))  # not empty: it ends with the null, or is refused
        found[next(reversed(found)) if isinstance(found, dict) else -1] = inner.value
        inner.is_cut = True
        self._add(found)

    def _behind_comma(self, text: bytes) -> bytes | None:
        """``text`` without the comma that parts it from what was taken before; None if there is no more."""
        if not self.is_cut or self.cut == self.begin + 1:
            return text
        text = text.lstrip(_SPACE)
        if text and not text.startswith(b","):
            raise NotJson("this is not JSON in UTF-8: a comma is missing")
        return text[1:] if text else None

    def _in_brackets(self, inside: bytes) -> bytes:
        return b"{" + inside + b"}" if isinstance(self.value, dict) else b"[" + inside + b"]"

    def _add(self, found: Any) -> None:
        self.is_cut = True
        if isinstance(self.value, list):
            self.value += found
        elif self.value.keys().isdisjoint(found):
            self.value.update(found)
        else:
            raise BadRequest("the JSON is refused: a duplicate key", hint="each key once in an object")


def has_few(value: Any, most: int = FEW_VALUES) -> bool:
    """Whether a JSON value holds at most ``most`` others, itself included; looks at no more than so many."""
    layer, left = [value], most - 1
    for item in layer:  # which grows
        kind = type(item)
        if kind is not dict and kind is not list and kind is not tuple:
            continue
        left -= len(item)
        if left < 0:
            return False
        layer += item.values() if kind is dict else item
    return True


def write_in_pieces(
    value: Any, *, most: int = PIECE_VALUES, batch_items: int = BATCH_ITEMS, dump: Callable[[Any], bytes] = orjson.dumps
) -> Iterator[bytes]:
    """The pieces of a value's JSON text, as ``dump`` writes it.

    Args:
        most: values that are written at once.
        batch_items: elements of a container that are.

    Raises:
        orjson.JSONEncodeError: it can't be written as JSON.
    """
    if has_few(value, most):
        yield dump(value)
        return
    begin, end = (b"{", b"}") if isinstance(value, dict) else (b"[", b"]")
    before = begin
    for batch in _batches(value, batch_items):
        if has_few(batch, most):
            yield before + dump(batch)[1:-1]
        else:
            for key, item in _elements(batch):
                yield before + key
                yield from write_in_pieces(item, most=most, batch_items=batch_items, dump=dump)
                before = b","
        before = b","
    yield end


def _batches(value: Any, items: int) -> Iterator[Any]:
    """The elements of a container, some at a time, in containers of its kind."""
    elements = iter(value.items() if isinstance(value, dict) else value)
    kind = dict if isinstance(value, dict) else list
    while batch := kind(itertools.islice(elements, items)):
        yield batch


def _elements(batch: Any) -> Iterator[tuple[bytes, Any]]:
    """Each element, with what is written before it: an object's key."""
    if isinstance(batch, dict):
        for key, item in batch.items():
            yield orjson.dumps({key: 0})[1:-2], item
    else:
        for item in batch:
            yield b"", item
