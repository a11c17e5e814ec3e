"""Every reading that a record's bytes can have, found by trying all: what ``core.reading`` is compared with."""

from collections.abc import Iterator, Sequence

from eps.core.exact import SHAPES, Free, Many, Text
from eps.core.reading import read_tail
from eps.core.structure import TAG

Bounds = tuple[tuple[int, int], ...]


def readings(data: bytes) -> Iterator[Bounds]:
    """The bounds of free-form values in each reading, in the order in which the parser prefers them.

    Settings that programs read are not looked at, so there may be more readings than the parser knows.
    """
    tokens = data.split(TAG)[1:]
    tail = read_tail(tokens)
    if tail is None:
        return
    _, section, end = tail
    if end == 3:
        yield ()
    elif tokens[3] == b"list":
        for at, bounds in _elements(tokens[:end], SHAPES[section], 4, 0):
            if at == end:
                yield bounds


def _elements(tokens: Sequence[bytes], shape: Many, at: int, index: int) -> Iterator[tuple[int, Bounds]]:
    """Where a list of at least one element can end, from the element ``index`` on."""
    if index:
        yield at, ()
    if tokens[at : at + 1] != [b"%d" % index]:
        return
    if isinstance(shape.element, Text):
        if at + 1 < len(tokens) and _fits(shape.element, tokens[at + 1]):
            yield from _elements(tokens, shape, at + 2, index + 1)
    elif tokens[at + 1 : at + 2] == [b"map"]:
        for end, bounds in _fields(tokens, shape.element, at + 2):
            for last, more in _elements(tokens, shape, end, index + 1):
                yield last, bounds + more


def _fields(tokens: Sequence[bytes], fields: Sequence[Text | Free | Many], at: int) -> Iterator[tuple[int, Bounds]]:
    if not fields:
        yield at, ()
        return
    for end, bounds in _field(tokens, fields[0], at):
        for last, more in _fields(tokens, fields[1:], end):
            yield last, bounds + more


def _field(tokens: Sequence[bytes], field: Text | Free | Many, at: int) -> Iterator[tuple[int, Bounds]]:
    key = field.key.encode()
    if isinstance(field, Text):
        if tokens[at + 1 : at + 2] == [key] and _fits(field, tokens[at]):
            yield at + 2, ()
        elif field.optional:
            yield at, ()
        return
    if isinstance(field, Many):
        if tokens[at : at + 2] == [b"list", b"0"]:
            for end, bounds in _elements(tokens, field, at + 1, 0):
                if tokens[end : end + 1] == [key]:
                    yield end + 1, bounds
        if not field.or_free:
            yield at, ()
            return
    if isinstance(field, Many) or (field.optional and tokens[at : at + 1] != [b"map"]):
        yield at, ()
    if isinstance(field, Many) or tokens[at : at + 1] == [b"map"]:
        for end in range(at + 1, len(tokens)):
            if tokens[end] == key:
                yield end + 1, ((at, end),)


def _fits(field: Text, token: bytes) -> bool:
    try:
        return field.fits(token.decode())
    except UnicodeDecodeError:
        return False
