"""Profiles: where an application's EPS server is, in a file of its own, so that code need not say it.

# ~/.config/eps/office.toml
url = "https://eps.example.org:5555"
operator = "hd-1"
certificate_file = "app.crt"              # beside this file, or absolute
key_file = "app.key"
ca_certificate_files = ["root.crt"]
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from eps.client.endpoint import Endpoint
from eps.client.errors import SetupError

VARIABLE = "EPS_PROFILE"
"""Names the profile that is used where code names none."""

MAX_BYTES = 64 * 1024
"""Of a profile: it has seven lines."""

_FILES = ("certificate_file", "key_file")
_LIST = "ca_certificate_files"


def read_profile(profile: str | os.PathLike[str] = "", environment: Mapping[str, str] = os.environ) -> Endpoint:
    """The endpoint that a profile describes, in TOML with the keys of :class:`Endpoint`.

    Args:
        profile: a file (with a slash, or ending in .toml), or the name of one in ``$XDG_CONFIG_HOME/eps`` (mostly
            ``~/.config/eps``); empty: what EPS_PROFILE names.

    Raises:
        SetupError: there is none, or it can't be used; the message names file and key.
    """
    wanted = os.fspath(profile) or environment.get(VARIABLE, "")
    if not wanted:
        raise SetupError(f"no profile is named: give one, or set {VARIABLE}")
    file = _file_of(wanted, environment)
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise SetupError(f"{file}: the profile can't be read: {error.strerror}") from None
    try:
        if len(text) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        told = tomllib.loads(text.decode())
    except ValueError as error:
        raise SetupError(f"{file}: no profile in TOML: {error}") from None
    try:
        return Endpoint(**_checked(told, file.parent))
    except SetupError as error:
        raise SetupError(f"{file}: {error}") from None


def _file_of(wanted: str, environment: Mapping[str, str]) -> Path:
    if "/" in wanted or wanted.endswith(".toml"):
        return Path(wanted)
    config = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "eps" / f"{wanted}.toml"


def _checked(told: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    known = {field.name for field in fields(Endpoint)}
    for key, value in told.items():
        if key not in known:
            raise SetupError(f"{key}: unknown key; known are {', '.join(sorted(known))}")
        if not (_is_texts(value) if key == _LIST else isinstance(value, str)):
            raise SetupError(f"{key}: must be {'a list of texts' if key == _LIST else 'a text'}")
    if "url" not in told:
        raise SetupError("url: is missing")
    found = {**told, _LIST: tuple(str(folder / file) for file in told.get(_LIST, ()))}
    return found | {key: str(folder / told[key]) for key in _FILES if told.get(key)}


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
