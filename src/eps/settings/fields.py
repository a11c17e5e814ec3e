"""The kinds of value that settings are made of, each with the error that an administrator gets for a bad one."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from eps.core.exact import is_fingerprint
from eps.core.host_port import parse_host_port
from eps.core.instant import parse_instant
from eps.core.limits import MAX_NAME_CHARS
from eps.errors import BadParams
from eps.settings.problems import Loc


def bad(text: str, hint: str = "", at: Loc = (), *, once: bool = False) -> PydanticCustomError:
    """The error for a bad value.

    Args:
        at: leads on from the value being checked to what is wrong inside it.
        once: the text says it all (it names a file), so other places with the same text need not be listed.
    """
    # The texts travel in the context: pydantic's own template would treat braces in them as places to fill in.
    return PydanticCustomError("settings", "{text}", {"text": text, "hint": hint, "at": at, "once": once})


class Model(BaseModel):
    """Base of all settings: immutable; unknown keys are ignored here and warned about by eps.settings.validate."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    alive: ClassVar[frozenset[str] | None] = frozenset()
    """The fields whose new values a running program takes over; None: nothing in here, however deep."""


def _list(value: Any) -> Any:
    """Lists only: pydantic would take sets and such for a tuple, and settings have none of these."""
    if isinstance(value, tuple | list):
        return tuple(value)
    raise bad("must be a list", "write it as [a, b]")


AsList = BeforeValidator(_list)
"""Marks a tuple field as one that is written as a list."""


def _folder(info: ValidationInfo) -> Path | None:
    return (info.context or {}).get("folder")


def absolute(path: str, folder: Path) -> str:
    """``path`` as seen from ``folder``, without ``..`` where that does not change where it leads."""
    joined = os.path.join(folder, path)
    tidy = os.path.normpath(joined)
    return tidy if os.path.realpath(tidy) == os.path.realpath(joined) else joined


def _existing(path: str, info: ValidationInfo) -> str:
    if not path:
        raise bad("must name a file")
    folder = _folder(info)
    if folder is None:
        return path
    full = absolute(path, folder)
    if os.path.isfile(full):
        if not os.access(full, os.R_OK):
            raise bad(f"can't be read: {full}", "let the program's user read it", once=True)
        return full
    if os.path.exists(full):
        raise bad(f"is not a file: {full}", once=True)
    raise bad(f"no such file: {full}", _file_hint(full), once=True)


def _file_hint(path: str) -> str:
    if re.search(r"settings/(dev|test)/certs/[^/]+$", path):
        return "make certs (or: eps dev certs) makes the development network's certificates"
    return "paths are relative to the working directory; $DIR stands for the settings file's folder"


ExistingFile = Annotated[str, AfterValidator(_existing)]
"""A file that must exist and be readable; absolute once validated (from the context's ``folder``)."""

ExistingFiles = Annotated[tuple[ExistingFile, ...], AsList]


def _existing_path(path: str, info: ValidationInfo) -> str:
    folder = _folder(info)
    if folder is None:
        return path
    full = absolute(path, folder)
    if not os.path.exists(full):
        raise bad(f"no such file or folder: {full}")
    return full


ExistingPath = Annotated[str, Field(min_length=1), AfterValidator(_existing_path)]
"""A file or folder that must exist; absolute once validated."""


def _state_file(path: str, info: ValidationInfo) -> str:
    state = (info.context or {}).get("state_path")
    return path if state is None else absolute(path, state)


StateFile = Annotated[str, Field(min_length=1), AfterValidator(_state_file)]
"""A file the program keeps, seen from ``state_path`` (the context's); absolute once validated. Need not exist yet."""


def _path(path: str, info: ValidationInfo) -> str:
    folder = _folder(info)
    return path if folder is None else absolute(path, folder)


KeptFile = Annotated[str, Field(min_length=1), AfterValidator(_path)]
"""A file the program keeps, where a server in use would look for it: seen from the working directory; absolute once
validated. Need not exist yet."""

FolderPath = Annotated[str, Field(min_length=1), AfterValidator(_path)]
"""A folder that the program makes if it is missing; absolute once validated."""


def _host_port(text: str, need_host: bool) -> str:
    try:
        host, _ = parse_host_port(text)
    except BadParams:
        raise bad("must be HOST:PORT", "as in localhost:8888 or [::1]:8888") from None
    if need_host and not host:
        raise bad("names no host", "as in localhost:8888")
    return text


def _bind(text: str) -> str:
    return _host_port(text, need_host=False)


def _endpoint(text: str) -> str:
    return _host_port(text, need_host=True)


BindAddress = Annotated[str, AfterValidator(_bind)]
"""``HOST:PORT`` to listen on; without a host: all interfaces; port 0: any free one."""

Endpoint = Annotated[str, AfterValidator(_endpoint)]
"""``HOST:PORT`` to dial."""


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_valid = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid:
        raise bad("must be a URL that begins with http:// or https://", "as in https://localhost:5555/jsonrpc")
    return text


Url = Annotated[str, AfterValidator(_url)]


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise bad(f"is not a regular expression: {error}") from None
    return text


def _origin(text: str) -> str:
    """As browsers write it (RFC 6454, section 6.2): in small letters, the usual port left out."""
    parts = urlsplit(_url(text))
    port = "" if parts.port in (None, {"http": 80, "https": 443}[parts.scheme]) else f":{parts.port}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if text != f"{parts.scheme}://{host}{port}" or not re.fullmatch(r"[a-z0-9.:/_\[\]-]+", text):
        raise bad("must be an origin as browsers write it", f"without a path: {parts.scheme}://{host}{port}")
    return text


Origin = Annotated[str, AfterValidator(_origin)]

RegularExpression = Annotated[str, AfterValidator(_regular_expression)]


def _url_path(text: str) -> str:
    if not text.startswith("/"):
        raise bad("must begin with a slash", "as in /jsonrpc")
    return text


UrlPath = Annotated[str, AfterValidator(_url_path)]


def _operator(text: str) -> str:
    if len(text) > MAX_NAME_CHARS or not re.fullmatch(r"[^\s()/]+", text) or not text.strip("."):
        hint = f"up to {MAX_NAME_CHARS} characters without spaces, slashes and parentheses"
        raise bad("must be an operator's name", hint)
    return text


OperatorName = Annotated[str, AfterValidator(_operator)]
"""An operator's name."""


def _instance(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", text, re.ASCII):
        raise bad("must be a name of 1 to 100 letters, digits, dots, - and _", "as in hd-1-a")
    return text


InstanceName = Annotated[str, AfterValidator(_instance)]
"""Which of several servers of one operator a server is."""


def _fingerprint(text: str) -> str:
    found = text.replace(":", "").lower()
    if not is_fingerprint(found):
        raise bad("must be the SHA-256 fingerprint of a certificate", "64 hex digits, as openssl x509 prints them")
    return found


FingerprintText = Annotated[str, AfterValidator(_fingerprint)]
"""A certificate's SHA-256: 64 hex digits, also with colons; in lower case and without them once validated."""

Seconds = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
"""A time span."""

SecondsOrNone = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
"""A time span; 0: none."""


def _date(text: str) -> str:
    try:
        return parse_instant(text if "T" in text else f"{text}T00:00:00Z").text
    except ValueError as error:
        raise bad(
            str(error).replace("is not a date", "must be a date"), "a day, as in 2027-01-01, counts in UTC"
        ) from None


Date = Annotated[str, AfterValidator(_date)]
"""A day, or a point in time; RFC 3339 once validated."""

Bytes = Annotated[StrictInt, Field(gt=0)]
"""A size."""

Count = Annotated[StrictInt, Field(gt=0)]

Flag = StrictBool
