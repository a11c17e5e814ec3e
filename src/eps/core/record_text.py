"""The JSON text of change records and of signed objects: every number a double, and any depth (PROTOCOL.md section 4).

Calls refuse integers that a double can't hold, and what is nested too deep for gRPC. Records mustn't be: others have
signed them, and whoever can't read one can't follow the chain. So here

    1637000000000000000, 1e+300   are the doubles that servers in use read, and are written again as they were (Number);
    -0                            is -0.0, which the hash tells from 0;
    400 objects in each other     are read and written by loops. Nothing here calls itself.

Strict otherwise: UTF-8, no duplicate keys, no NaN, nothing beyond a double's range, no lone surrogates.
"""

import json.decoder
import math
import re
from typing import Any, NoReturn

import jiter
import orjson

from eps.core.jsonrpc_text import parse_json
from eps.core.limits import MAX_EXACT_INTEGER
from eps.core.minus_zero import MINUS_ZERO, show_minus_zeros
from eps.errors import BadRequest, NotJson, TooDeep, TooLarge

MAX_LEVELS = 16_384
"""Objects and lists inside each other in one text. Servers in use stop at 10,000, so no chain holds more; a stranger's
text of brackets only must not cost a thousand times its size."""

MAX_DEEP_BYTES = 5 * 1024 * 1024
"""Of a text with more than 200 levels, which takes 0.3 s for each MiB: the largest record that is used (4 MiB), and
what is around it. Large answers are read piece by piece, so that this is for each piece."""

_ODD_NUMBER = re.compile(rb'(?:"[ \t\r\n]*+:|[\[,]|\A)[ \t\r\n]*+(?:-0|-?\d{16}|-?\d++[.eE])')
"""Where a number may stand that is no plain integer. One found inside a text costs time only."""

_DIGITS_ALIKE = bytes(ord("0") if chr(byte) in "123456789-" else byte for byte in range(256))
_SPACE = b" \t\r\n"
_NUMBERS_BEGIN = (b'":0', b"[0", b",0")
"""What is before each number that is in something, once all digits and signs are 0 and space is gone."""


class Number(float):
    """A double that stands in its record in another way than we would write it.

    Attributes:
        text: as it stands there, and is written again.
    """

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> "Number":
        number = super().__new__(cls, text)
        number.text = text
        return number


def loads(text: bytes, *, max_bytes: int) -> Any:
    """The value of a record's JSON text, or of a text with many records in it.

    Raises:
        TooLarge: more than ``max_bytes``; nothing is parsed then.
        NotJson: not UTF-8, not JSON, NaN, a number beyond a double's range, a lone surrogate.
        BadRequest: a duplicate key, or more than :data:`MAX_LEVELS`.
    """
    if len(text) > max_bytes:
        raise TooLarge(f"{len(text)} bytes of JSON, the limit is {max_bytes}", hint="send less at once")
    try:
        return _settled(_parse(text)) if _may_be_odd(text) else parse_json(text, max_bytes)
    except TooDeep:  # for the parser
        return _deep_value(text)


def _may_be_odd(text: bytes) -> bool:
    """Whether a number may be in it that is no plain integer. Most records hold none at all, which is seen sooner."""
    alike = text.translate(_DIGITS_ALIKE, _SPACE)
    if not alike.startswith(b"0") and not any(begin in alike for begin in _NUMBERS_BEGIN):
        return False
    return _ODD_NUMBER.search(text) is not None


def _deep_value(text: bytes) -> Any:
    if len(text) > MAX_DEEP_BYTES:
        raise TooLarge(
            f"{len(text)} bytes of JSON that is nested deep, the limit for such is {MAX_DEEP_BYTES}",
            hint="send such records one by one",
        )
    return _Deep(text).value()


def dumps(value: Any, *, indent: bool = False) -> bytes:
    """The JSON text of what :func:`loads` gave, with the numbers as they were; also of :class:`orjson.Fragment`.

    Args:
        indent: on many lines, for people; what is very deep stays on one.

    Raises:
        orjson.JSONEncodeError: something that is not JSON.
    """
    try:
        return orjson.dumps(value, default=_written, option=orjson.OPT_INDENT_2 if indent else None)
    except orjson.JSONEncodeError:
        return b"".join(_pieces(value))


def _written(value: object) -> orjson.Fragment:
    if isinstance(value, Number):
        return orjson.Fragment(value.text)
    raise TypeError


def _parse(text: bytes) -> Any:
    """As :func:`parse_json`, with the text of every number that has a fraction, an exponent or is ``-0``."""
    text = show_minus_zeros(text)
    try:
        return jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True, float_mode="lossless-float")
    except ValueError:
        return parse_json(text, len(text))  # which says what is wrong with it


def _number(text: str) -> Any:
    """What the JSON number ``text`` stands for: an int where that is exact."""
    number = float(text)
    if not math.isfinite(number):
        raise NotJson(f"the number {text[:40]} is beyond what a double can hold", hint="write it as a string")
    if text == MINUS_ZERO.decode():
        return Number("-0")
    if text.lstrip("-").isdigit() and text != "-0" and abs(number) < MAX_EXACT_INTEGER:
        return int(text)
    return number if orjson.dumps(number).decode() == text else Number(text)


def _settled(root: Any) -> Any:
    """``root`` with the parser's numbers replaced by ours."""
    holder = [root]
    containers: list[Any] = [holder]
    while containers:
        container = containers.pop()
        for place, item in container.items() if type(container) is dict else enumerate(container):
            kind = type(item)
            if kind is dict or kind is list:
                containers.append(item)
            elif kind is jiter.LosslessFloat:
                container[place] = _number(bytes(item).decode())
            elif kind is int and not -MAX_EXACT_INTEGER <= item <= MAX_EXACT_INTEGER:
                container[place] = _number(str(item))
    return holder[0]


# What is deeper than the parser goes


class _Deep:
    """Reads one text by a loop: as strict as the parser, slower, and as deep as :data:`MAX_LEVELS`."""

    _space = re.compile(r"[ \t\r\n]*+")
    _scalar = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")

    def __init__(self, text: bytes) -> None:
        try:
            self._text = text.decode()
        except UnicodeDecodeError as error:
            raise NotJson(f"this is not JSON in UTF-8: {error.reason}") from None
        self._at = 0
        self._open: list[Any] = []
        self._keys: list[str] = []

    def value(self) -> Any:
        """The text's value; raises like :func:`loads`."""
        while True:
            done = self._begin()
            while done is not _OPENED:
                if not self._open:
                    self._expect_end()
                    return done
                self._put(done)
                done = self._after_value()

    def _begin(self) -> Any:
        """Read a whole scalar, or only the bracket of a container: then :data:`_OPENED`, unless it is empty."""
        char = self._next()
        if char not in "[{" or not char:
            return self._read_scalar(char)
        if len(self._open) >= MAX_LEVELS:
            raise BadRequest(f"nested more than {MAX_LEVELS} deep", hint="send a flatter structure")
        container: Any = [] if char == "[" else {}
        self._at += 1
        if self._next() == ("]" if char == "[" else "}"):
            self._at += 1
            return container
        self._open.append(container)
        self._keys.append("")
        if char == "{":
            self._read_key()
        return _OPENED

    def _after_value(self) -> Any:
        """A comma: the next value is to be read. A bracket: the container that it closes is a value itself."""
        char, container = self._next(), self._open[-1]
        self._at += 1
        if char == ",":
            if type(container) is dict:
                self._read_key()
            return _OPENED
        if char != ("]" if type(container) is list else "}"):
            self._fail()
        self._keys.pop()
        return self._open.pop()

    def _put(self, value: Any) -> None:
        container = self._open[-1]
        if type(container) is list:
            container.append(value)
        else:
            container[self._keys[-1]] = value

    def _read_key(self) -> None:
        if self._next() != '"':
            self._fail()
        key = self._read_text()
        if key in self._open[-1]:
            raise BadRequest("the JSON is refused: a duplicate key", hint="each key once")
        if self._next() != ":":
            self._fail()
        self._at += 1
        self._keys[-1] = key

    def _read_scalar(self, char: str) -> Any:
        if char == '"':
            return self._read_text()
        match = self._scalar.match(self._text, self._at)
        if match is None:
            self._fail()
        self._at = match.end()
        return _WORDS[match[0]] if match[0] in _WORDS else _number(match[0])

    def _read_text(self) -> str:
        try:
            text, self._at = json.decoder.scanstring(self._text, self._at + 1)  # type: ignore[attr-defined]  # in CPython since 2.5
            text.encode()
        except ValueError:  # UnicodeEncodeError is one, too
            self._fail()
        return str(text)

    def _next(self) -> str:
        """The next character that is no space; empty at the end."""
        match = self._space.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _expect_end(self) -> None:
        if self._next():
            self._fail()

    def _fail(self) -> NoReturn:
        raise NotJson(f"this is not JSON in UTF-8: at character {self._at}")


_OPENED: Any = object()
_WORDS = {"true": True, "false": False, "null": None}


def _pieces(root: Any) -> list[bytes]:
    """The text of a deep value, piece by piece."""
    pieces: list[bytes] = []
    todo: list[Any] = [root]
    while todo:
        item = todo.pop()
        if type(item) is _Text:
            pieces.append(item)
        elif isinstance(item, dict) and item:
            pieces.append(b"{")
            todo.append(_Text(b"}"))
            for number, key in reversed(list(enumerate(item))):
                todo += (item[key], _Text((b"," if number else b"") + orjson.dumps(key) + b":"))
        elif isinstance(item, list | tuple) and item:
            pieces.append(b"[")
            todo.append(_Text(b"]"))
            for number, element in reversed(list(enumerate(item))):
                todo += (element, _Text(b"," if number else b""))
        else:
            pieces.append(orjson.dumps(item, default=_written))
    return pieces


class _Text(bytes):
    """Text between values."""
