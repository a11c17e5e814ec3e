"""What the typed data of change records may be, exactly: alphabets, lengths, and the shape of each section.

A signature covers bytes in which nothing says how long a text is (``core.structure``). It says one thing only if typed
data can't be taken for something else: so no typed text is empty, holds NUL or the word ``string``, which stands before
every text there. One table of shapes serves all who walk through a section: :func:`flaw` looks at values here, and
``core.reading`` at bytes.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from eps.core.host_port import parse_host_port
from eps.core.limits import MAX_NAME_CHARS
from eps.core.names import Object
from eps.core.record import ChangeRecord
from eps.core.structure import is_empty
from eps.errors import BadParams

MAX_WORD_CHARS = 100
"""Types and usages are words of a few letters that programs know."""

MAX_LABEL_CHARS = 200
"""Groups, services and methods: twice what a method's address may have (PROTOCOL.md section 5)."""

MAX_ADDRESS_CHARS = MAX_NAME_CHARS + 8
"""A host, an IPv6 address' brackets, and a port."""

_NAME = re.compile(rf"[\w.-]{{1,{MAX_NAME_CHARS}}}")
_WORD = re.compile(rf"[\w.-]{{1,{MAX_WORD_CHARS}}}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")

TAG_WORD = "string"
"""No typed text holds it."""

OBJECT_WORD = "map"
"""What an object begins with: no text may be that where an object could stand instead."""


def _is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and TAG_WORD not in text


def _is_word(text: str) -> bool:
    return bool(_WORD.fullmatch(text)) and TAG_WORD not in text and text != OBJECT_WORD


def _is_label(text: str) -> bool:
    return 0 < len(text) <= MAX_LABEL_CHARS and text.isprintable() and text.strip() == text and TAG_WORD not in text


def is_fingerprint(text: str) -> bool:
    """Whether ``text`` is a SHA-256 as the directory has it: 64 lower-case hex digits."""
    return bool(_FINGERPRINT.fullmatch(text))


def is_address(text: str) -> bool:
    """Whether ``text`` is a HOST:PORT that the directory may give."""
    if len(text) > MAX_ADDRESS_CHARS or not text.isprintable() or TAG_WORD in text:
        return False
    try:
        return bool(parse_host_port(text)[0])
    except BadParams:
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A key with a text.

    Attributes:
        what: it must be, for messages.
        optional: it may be empty or absent.
    """

    key: str
    what: str
    fits: Callable[[str], bool]
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Free:
    """A key with an object that is free-form."""

    key: str
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Many:
    """A key with a list: of objects with these fields, or of texts.

    Attributes:
        or_free: a value of another form is free-form, whatever it is.
    """

    key: str
    element: "tuple[Text | Free | Many, ...] | Text"
    or_free: bool = False


Fields = tuple[Text | Free | Many, ...]

_OPERATOR = f"an operator's name: letters, digits, dots, - and _, at most {MAX_NAME_CHARS}"
_LABEL = f"1 to {MAX_LABEL_CHARS} printable characters without spaces around them"
_KIND = f"a word of letters, digits, dots, - and _, at most {MAX_WORD_CHARS}, and not {OBJECT_WORD!r}"

is_operator = _is_name

_PERMISSIONS = Many(
    "permissions",
    (Text("group", _LABEL, _is_label), Many("rights", Text("", "'call'", lambda text: text == "call"))),
)
_VALIDATORS = Many("validators", (Free("parameters", optional=True), Text("type", _KIND, _is_word)))
PARAMETERS = Many("parameters", (Text("name", _LABEL, _is_label), _VALIDATORS), or_free=True)
"""What PROTOCOL.md section 4 says of a method's ``parameters``."""

_SERVICE: Fields = (
    Many("methods", (Text("name", _LABEL, _is_label), PARAMETERS, _PERMISSIONS)),
    Text("name", _LABEL, _is_label),
    _PERMISSIONS,
)
_SETTINGS: Fields = (
    Text("environment", _LABEL, lambda text: _is_label(text) and text != OBJECT_WORD, optional=True),
    Text("operator", _OPERATOR, lambda text: _is_name(text) and text != OBJECT_WORD, optional=True),
    Text("service", _LABEL, lambda text: _is_label(text) and text != OBJECT_WORD, optional=True),
    Free("settings"),
)

SHAPES: dict[str, Many] = {
    "channels": Many("data", (Free("settings", optional=True), Text("type", _KIND, _is_word))),
    "certificates": Many(
        "data",
        (
            Text("fingerprint", "64 lower-case hex digits", is_fingerprint),
            Text("key_usage", _KIND, _is_word),
        ),
    ),
    "services": Many("data", _SERVICE),
    "settings": Many("data", _SETTINGS),
    "preferences": Many("data", _SETTINGS),
    "groups": Many("data", Text("", _LABEL, _is_label)),
}
"""The shape of each section; the fields in the order of their keys' bytes, in which they are hashed."""


# Settings that our programs read


@dataclass(frozen=True, slots=True)
class Known:
    """A setting that our programs read.

    Attributes:
        what: it must be, for messages.
        fits: a text, or each element of a list; None: it is true or false.
    """

    what: str
    fits: Callable[[str], bool] | None
    many: bool = False


def _is_proxy(text: str) -> bool:
    return _is_name(text) and text != OBJECT_WORD


def _is_item(text: str) -> bool:
    return 0 < len(text) <= MAX_ADDRESS_CHARS and text.isprintable() and TAG_WORD not in text


GRPC_SERVER_SETTINGS = {
    "address": Known("HOST:PORT", is_address),
    "internal": Known("true or false", None),
    "proxy": Known(_OPERATOR, _is_proxy),
}
PROXY_SETTINGS = {
    "allowed_domains": Known("a list of domains", _is_item, many=True),
    "internal_endpoints": Known("a list of HOST:PORTs", _is_item, many=True),
}
PROXIES_SETTINGS = {"alternatives": Known(f"a list of operators, each {_OPERATOR}", _is_proxy, many=True)}
SERVICE_SETTINGS = {"": PROXY_SETTINGS, "proxy": PROXY_SETTINGS, "proxies": PROXIES_SETTINGS}
"""By the service that they are for; empty: any. What ``proxies`` says is read only where it is named."""


def known_settings(section: str, item: Object) -> dict[str, Known]:
    """Which settings of an element of a section our programs read; none for most."""
    if section == "channels" and item["type"] == "grpc_server":
        return GRPC_SERVER_SETTINGS
    return SERVICE_SETTINGS.get(item["service"], {}) if section == "settings" else {}


def _is_known(value: Any, known: Known) -> bool:
    if known.fits is None:
        return value is True
    if not known.many:
        return isinstance(value, str) and known.fits(value)
    return isinstance(value, list) and all(isinstance(item, str) and known.fits(item) for item in value)


# Values


def flaw(record: ChangeRecord) -> str:
    """Where and why the typed data of ``record`` is not exact, ``data[0].fingerprint: must be …``; "" if it is."""
    if not is_operator(record.name):
        return f"name: must be {_OPERATOR}{_without(record.name)}"
    return next(_flaws(record), "")


def _flaws(record: ChangeRecord) -> Iterator[str]:
    yield from _flaws_of_list(SHAPES[record.section], record.data, "data")
    if record.section in ("channels", "settings"):
        for index, item in enumerate(record.data):
            settings = item.get("settings") or {}
            for key, known in known_settings(record.section, item).items():
                value = settings.get(key)
                if not is_empty(value) and not _is_known(value, known):
                    yield f"data[{index}].settings.{key}: must be {known.what}"


def _flaws_of_list(shape: Many, items: list[Any], place: str) -> Iterator[str]:
    if isinstance(shape.element, Text):
        for index, item in enumerate(items):
            if not shape.element.fits(item):
                yield f"{place}[{index}]: must be {shape.element.what}{_without(item)}"
        return
    for index, item in enumerate(items):
        yield from _flaws_of_object(shape.element, item, f"{place}[{index}]")


def _flaws_of_object(fields: Fields, item: Object, place: str) -> Iterator[str]:
    for field in fields:
        value = item.get(field.key)
        if isinstance(field, Text):
            if not (field.optional and not value) and not field.fits(value or ""):
                yield f"{place}.{field.key}: must be {field.what}{_without(value or '')}"
        elif isinstance(field, Many) and value and not field.or_free:
            yield from _flaws_of_list(field, value, f"{place}.{field.key}")


def _without(text: str) -> str:
    return f", without the word {TAG_WORD!r}" if TAG_WORD in text else ""


def has_form(parameters: Any) -> bool:
    """Whether a method's ``parameters`` are typed: of the form that PROTOCOL.md section 4 gives them, and exact.

    What is empty counts as absent, as in the hash. Parameters of another form are free-form.
    """
    return isinstance(parameters, list) and _has_form(parameters) and not parameters_flaw(parameters, "")


def _has_form(parameters: list[Any]) -> bool:
    return all(
        _is_object(item, {"name": str, "validators": list})
        and all(_is_object(validator, {"type": str, "parameters": dict}) for validator in item.get("validators") or ())
        for item in parameters
    )


def _is_object(value: Any, keys: dict[str, type]) -> bool:
    """An object whose keys, but for those with empty values, are of these types."""
    return isinstance(value, dict) and all(
        is_empty(inner) or isinstance(inner, keys.get(key, _Never)) for key, inner in value.items()
    )


class _Never:
    """A type that no value has."""


def parameters_flaw(parameters: Any, place: str) -> str:
    """Where ``parameters`` of the protocol's form are not exact; "" if they are, or have another form."""
    if not isinstance(parameters, list) or not _has_form(parameters):
        return ""
    return next(_flaws_of_list(PARAMETERS, parameters, place), "")


def form_flaw(parameters: Any, place: str) -> str:
    """Where and why a method's ``parameters`` have another form; "" if they don't."""
    if not isinstance(parameters, list):
        return "" if parameters is None else f"{place}: must be a list of {{name, validators}}"
    for index, item in enumerate(parameters):
        here = f"{place}[{index}]"
        if not isinstance(item, dict) or not isinstance(item.get("name"), str) or item.keys() - {"name", "validators"}:
            return f"{here}: must be an object with name, and perhaps validators, and no other keys"
        validators = item.get("validators")
        if not isinstance(validators, list | None):
            return f"{here}.validators: must be a list of {{type, parameters}}"
        for number, validator in enumerate(validators or ()):
            if (
                not isinstance(validator, dict)
                or not isinstance(validator.get("type"), str)
                or not isinstance(validator.get("parameters"), dict | None)
                or validator.keys() - {"type", "parameters"}
            ):
                return (
                    f"{here}.validators[{number}]: must be an object with type, and perhaps parameters, which are an "
                    "object, and no other keys"
                )
    return ""


# What servers in use can read


FOREIGN_REASON = (
    "servers in use can't read it, and would then keep nothing of the whole directory; if none of them follows it, "
    "set foreign_peers: false in the service directory's settings"
)
"""Why what :func:`foreign_flaw` finds is refused, for messages."""


def foreign_flaw(record: ChangeRecord) -> str:
    """What keeps servers in use from reading ``record``, and with it from reading any record (PROTOCOL.md section 9).

    Returns:
        ``data[0].methods[1].parameters: must be …``; "" if they can read it.
    """
    return next(_foreign_flaws(record), "")


def _foreign_flaws(record: ChangeRecord) -> Iterator[str]:
    for index, service in enumerate(record.data if record.section == "services" else ()):
        place = f"data[{index}]"
        yield from _named_twice(service, place)
        for number, method in enumerate(service["methods"]):
            here = f"{place}.methods[{number}]"
            yield from _named_twice(method, here)
            if found := form_flaw(method.get("parameters"), f"{here}.parameters"):
                yield found


def _named_twice(item: Object, place: str) -> Iterator[str]:
    for index, permission in enumerate(item["permissions"]):
        if len(permission["rights"]) > 1:
            yield f"{place}.permissions[{index}].rights: names a right twice"
