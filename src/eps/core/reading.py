"""The one reading of the bytes that a record's signature covers (PROTOCOL.md sections 4 and 10).

The structured hash writes the word ``string`` before each text and nothing behind it, so several records can have one
hash: a section's data can stand in the record's name, a service's method in another method's parameters. Whoever hands
records on could choose. So one parser decides what the bytes say, and a record whose typed data, or the bounds of whose
free-form values, differ from that is not the one that was signed.

Theory of operation. The bytes are split at the word ``string``. What is behind each is a token: ``map``, ``list``, an
index, a key, a text, or ``float`` and ten bytes. The record's name and section are read from the end, its date from the
beginning; the data between them follow the shape of the section (``core.exact``), where each token says what comes
next. Only a free-form value can end in several places: it ends at the first one where its closing key stands and the
rest can be read. The parser goes there, and if it gets no further, back to the last such place, which it never tries
twice in the same state.

So what a text holds never matters, only where it stands; and a record with exact typed data, in whose free-form values
no closing key occurs, has itself as its reading (``layout.is_plain``, which saves most records the parser).

Values that differ only in what is empty are one reading: the hash knows no difference.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from eps.core.exact import (
    GRPC_SERVER_SETTINGS,
    SERVICE_SETTINGS,
    SHAPES,
    Free,
    Known,
    Many,
    Text,
    is_operator,
)
from eps.core.second_reading import is_some_object
from eps.core.structure import TAG, TRUE

STEPS_PER_TOKEN = 16
"""How long the parser may look for a way: an honest record takes one or two steps for each token. One that takes more
has no reading; that depends on the bytes alone, and so is the same everywhere."""

Tokens = Sequence[bytes]

_DATE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,8}[1-9])?(?:Z|[+-]\d\d:\d\d)")
_HASH = re.compile(rb"[0-9a-f]{64}")
HEAD = 3
"""Tokens before the data: ``map``, the date, its key."""

_TRUE = TRUE.removeprefix(TAG)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a record's bytes say, as far as it matters which of several records they are.

    Attributes:
        name: of the operator.
        bounds: the free-form values, by the numbers of their first token and of the one behind the last.
        known: for each value that holds settings that our programs read, those, as tokens.
    """

    name: str
    section: str
    bounds: tuple[tuple[int, int], ...]
    known: tuple[Mapping[str, Tokens], ...]


def read(data: bytes, *, doubting: bool = False) -> Reading | None:
    """The reading of the bytes of a record, ``structured_bytes(record.to_json())``; None if none has exact typed data.

    Takes some 30 µs for each KB.

    Args:
        doubting: look closer at objects with settings that our programs read: texts with the word ``string`` in them
            are no reading then. For records that are not exact as they came, and may have been signed so.
    """
    tokens = data.split(TAG)[1:]
    tail = read_tail(tokens)
    if tail is None or tokens[0] != b"map" or tokens[2] != b"created_at" or not _DATE.fullmatch(tokens[1]):
        return None
    name, section, end = tail
    if end == HEAD:
        return Reading(name, section, (), ())
    if tokens[HEAD] != b"list":
        return None
    found = _Parser(tokens[:end], section, doubting).parse()
    return None if found is None else Reading(name, section, *found)


def read_tail(tokens: Tokens) -> tuple[str, str, int] | None:
    """The operator's name and the section, which stand at the end, and where the data end; None if they can't be read.

    Without data there is no key ``data``, and the name follows the head at once.
    """
    if len(tokens) < HEAD + 4 or tokens[-1] != b"section" or tokens[-3] != b"name":
        return None
    name, section = _text(tokens[-4]), _text(tokens[-2])
    if name is None or not is_operator(name) or section not in SHAPES:
        return None
    end = len(tokens) - 4
    if end == HEAD:
        return name, section, end
    return (name, section, end - 1) if tokens[end - 1] == b"data" and end > HEAD + 1 else None


def tail_of(data: bytes) -> tuple[str, str] | None:
    """The operator's name and the section that the bytes of a record end with; None if that can't be read."""
    tail = read_tail(data.split(TAG)[1:])
    return tail[:2] if tail is not None else None


def may_sign_a_record(data: bytes) -> bool:
    """Whether a signature over the hash of ``data`` could be one over {``hash``, ``parent_hash``, ``record``}.

    Whatever lies between: looking closer would only help who wants such a signature without saying so.
    """
    tokens = data.split(TAG)[1:]
    first = tokens[0] == b"map" and tokens[2:3] == [b"hash"] and bool(_HASH.fullmatch(tokens[1]))
    return first and tokens[-1] == b"record"


# The parser


_Stack = tuple[Many, int, int, "_Stack | None"]
"""A list that is being read: its shape, the index of the present element, the number of the next field in it (-1: the
element is yet to begin), and the list around it."""

_Way = tuple[int, _Stack, tuple[int, int] | None]
"""Where to go on and how, and the free-form value that lies before it."""

_Found = tuple[tuple[tuple[int, int], ...], tuple[Mapping[str, Tokens], ...]]


@dataclass(slots=True)
class _Choice:
    """A place from which there are several ways on.

    Attributes:
        ways: the nearest first.
        bounds, known: how many had been found before.
    """

    ways: Iterator[_Way]
    bounds: int
    known: int


class _Parser:
    """Reads the data of one record. ``tokens`` end with the data."""

    def __init__(self, tokens: Tokens, section: str, doubting: bool) -> None:
        self._tokens = tokens
        self._doubting = doubting
        self._section = section
        self._bounds: list[tuple[int, int]] = []
        self._known: list[Mapping[str, Tokens]] = []
        self._choices: list[_Choice] = []
        self._tried: set[_Way] = set()
        self._steps = STEPS_PER_TOKEN * len(tokens)
        self._closing: dict[bytes, list[int]] = {}

    def parse(self) -> _Found | None:
        """Bounds and known settings; None if the tokens can't be read as the section's data."""
        state: tuple[int, _Stack] | None = (HEAD + 1, (SHAPES[self._section], 0, -1, None))
        while self._steps > 0:
            self._steps -= 1
            state = state or self._next_way()
            if state is None:
                return None
            at, stack = state
            if stack[2] >= 0:
                state = self._read_field(at, stack)
            elif at == len(self._tokens):
                if stack[3] is None and stack[1] > 0:
                    return tuple(self._bounds), tuple(self._known)
                state = None
            else:
                state = self._begin_or_end(at, stack)
        return None

    def _token(self, at: int) -> bytes | None:
        return self._tokens[at] if at < len(self._tokens) else None

    def _begin_or_end(self, at: int, stack: _Stack) -> tuple[int, _Stack] | None:
        """The next element of a list, or the key behind its last."""
        shape, index, _, around = stack
        if self._tokens[at] == b"%d" % index:
            if isinstance(shape.element, Text):
                fits = self._fits(shape.element, self._token(at + 1))
                return (at + 2, (shape, index + 1, -1, around)) if fits else None
            return (at + 2, (shape, index, 0, around)) if self._token(at + 1) == b"map" else None
        if around is None or index == 0 or self._tokens[at] != shape.key.encode():
            return None
        return at + 1, (around[0], around[1], around[2] + 1, around[3])

    def _read_field(self, at: int, stack: _Stack) -> tuple[int, _Stack] | None:
        shape, index, number, around = stack
        fields = shape.element
        assert not isinstance(fields, Text)
        if number == len(fields):
            return (at, (shape, index + 1, -1, around)) if self._know(at, around) else None
        field, rest = fields[number], (shape, index, number + 1, around)
        if isinstance(field, Text):
            if self._token(at + 1) == field.key.encode() and self._fits(field, self._token(at)):
                return at + 2, rest
            return (at, rest) if field.optional else None
        if isinstance(field, Free):
            if self._token(at) == b"map":
                return self._choose(self._ends(at, field.key, rest))
            return (at, rest) if field.optional else None
        inside: _Way = (at + 1, (field, 0, -1, stack), None)
        begins = self._token(at) == b"list" and self._token(at + 1) == b"0"
        if not field.or_free:
            return inside[:2] if begins else (at, rest)
        first: list[_Way] = [inside, (at, rest, None)] if begins else [(at, rest, None)]
        return self._choose(chain(first, self._ends(at, field.key, rest)))

    def _ends(self, at: int, key: str, rest: _Stack) -> Iterator[_Way]:
        """Where a free-form value that begins at ``at`` can end."""
        word = key.encode()
        if word not in self._closing:
            self._closing[word] = [index for index, token in enumerate(self._tokens) if token == word]
        places = self._closing[word]
        for number in range(bisect_right(places, at), len(places)):
            yield places[number] + 1, rest, (at, places[number])

    def _choose(self, ways: Iterator[_Way]) -> tuple[int, _Stack] | None:
        self._choices.append(_Choice(ways, len(self._bounds), len(self._known)))
        return self._next_way()

    def _next_way(self) -> tuple[int, _Stack] | None:
        """The nearest way that was not tried yet."""
        while self._choices:
            choice = self._choices[-1]
            del self._bounds[choice.bounds :], self._known[choice.known :]
            for way in choice.ways:
                self._steps -= 1
                if way not in self._tried:
                    self._tried.add(way)
                    if way[2] is not None:
                        self._bounds.append(way[2])
                    return way[:2]
            self._choices.pop()
        return None

    def _know(self, at: int, around: _Stack | None) -> bool:
        """Read the settings that our programs read, in an element that ends here; whether they are exact."""
        if around is not None or self._section not in ("channels", "settings") or not self._bounds:
            return True
        begin, end = self._bounds[-1]
        wanted: Mapping[str, Known] = {}
        if self._section == "channels":
            wanted = GRPC_SERVER_SETTINGS if end == at - 3 and self._tokens[at - 2] == b"grpc_server" else {}
        else:
            service = self._tokens[begin - 2] if self._tokens[begin - 1] == b"service" else b""
            wanted = _BY_SERVICE.get(service, {})
        if not wanted:
            return True
        value = self._tokens[begin:end]
        self._steps -= len(value)  # they are read once more for each place where they may end
        known = read_known(value, wanted)
        if known is None or (self._doubting and not is_some_object(value)):
            return False
        self._known.append(known)
        return True

    def _fits(self, field: Text, token: bytes | None) -> bool:
        text = _text(token) if token is not None else None
        return text is not None and field.fits(text)


_BY_SERVICE = {service.encode(): known for service, known in SERVICE_SETTINGS.items()}


def _text(token: bytes) -> str | None:
    try:
        return token.decode()
    except UnicodeDecodeError:
        return None


# Settings that our programs read


def read_known(tokens: Tokens, wanted: Mapping[str, Known]) -> dict[str, Tokens] | None:
    """The wanted settings in an object's tokens; None if one of them is not exact.

    An object without objects in it is read key by key. In any other, a setting is where its key first stands behind a
    value of its form.
    """
    flat = _read_flat(tokens)
    if flat is None:
        places = ((key, _find_known(tokens, key.encode(), known)) for key, known in wanted.items())
        return {key: value for key, value in places if value is not None}
    found = {key.decode(): value for key, value in flat.items() if key in {name.encode() for name in wanted}}
    exact = all(_known_length(value, len(value), wanted[key]) == len(value) for key, value in found.items())
    return found if exact else None


def _read_flat(tokens: Tokens) -> dict[bytes, Tokens] | None:
    """An object of texts, numbers, and lists of texts, by key; None if it is something else."""
    found: dict[bytes, Tokens] = {}
    at, last = 1, None
    while at < len(tokens):
        end = at + 1
        if tokens[at] == b"list":
            index = 0
            while end + 1 < len(tokens) and tokens[end] == b"%d" % index:
                index, end = index + 1, end + 2
        if end >= len(tokens) or (last is not None and tokens[end] <= last):
            return None
        last = tokens[end]
        found[last] = tokens[at:end]
        at = end + 1
    return found


def _find_known(tokens: Tokens, key: bytes, known: Known) -> Tokens | None:
    for end, token in enumerate(tokens):
        if token == key and (length := _known_length(tokens, end, known)):
            return tokens[end - length : end]
    return None


def _known_length(tokens: Tokens, end: int, known: Known) -> int:
    """How many tokens before ``end`` are a value of a setting's form; 0 if they aren't."""
    if known.fits is None:
        return int(end > 0 and tokens[end - 1] == _TRUE)
    if not known.many:
        return int(end > 0 and _text_fits(tokens[end - 1], known))
    count, at = 0, end
    while at >= 2 and _text_fits(tokens[at - 1], known) and tokens[at - 2].isdigit():
        count, at = count + 1, at - 2
        if tokens[at] == b"0":
            break
    indices: Iterable[int] = range(count)
    right = count and at and tokens[at - 1] == b"list" and all(tokens[at + 2 * i] == b"%d" % i for i in indices)
    return 2 * count + 1 if right else 0


def _text_fits(token: bytes, known: Known) -> bool:
    text = _text(token)
    return text is not None and known.fits is not None and known.fits(text)
