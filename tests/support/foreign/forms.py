"""What peers in use check before they believe what they are told (section 7, first paragraph)."""

import base64
import binascii
import re
from typing import Any

from support.foreign.messages import Object

TOKEN_BYTES = 32

_ADDRESS = re.compile(r"(.*)\.([^(.]+)\(([^)]+)\)", re.DOTALL)


class BadForm(Exception):
    """One sentence naming each wrong key."""


def parse_address(text: str) -> tuple[str, str, str]:
    """Operator, method, local id; the greedy first part finds the last possible dot and parenthesis."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise BadForm("error parsing address: invalid ID format")
    return match[1], match[2], match[3]


def check_client(value: Any, where: str) -> None:
    """``{name, entry}``: ``name``, ``entry.name`` and ``entry.channels`` are mandatory, other sections may be null."""
    if not isinstance(value, dict):
        raise BadForm(f"{where}(not a map)")
    if not isinstance(value.get("name"), str) or not value["name"]:
        raise BadForm(f"{where}.name(expected a string)")
    entry = value.get("entry")
    if not isinstance(entry, dict):
        raise BadForm(f"{where}.entry(not a map)")
    if not isinstance(entry.get("name"), str) or not entry["name"]:
        raise BadForm(f"{where}.entry.name(expected a string)")
    _check_list(entry, "channels", where, mandatory=True, strings=("type",), maps=("settings",))
    _check_list(entry, "services", where, strings=("name",))
    _check_list(entry, "certificates", where, strings=("fingerprint", "key_usage"))
    for section in ("settings", "preferences"):
        _check_list(entry, section, where, needed=("settings",), maps=("settings",))
    _check_list(entry, "records", where)
    for group in entry.get("groups") or []:
        if not isinstance(group, str):
            raise BadForm(f"{where}.entry.groups(expected a string)")


def _check_list(
    entry: Object,
    section: str,
    where: str,
    *,
    mandatory: bool = False,
    strings: tuple[str, ...] = (),
    maps: tuple[str, ...] = (),
    needed: tuple[str, ...] = (),
) -> None:
    items = entry.get(section)
    if items is None and not mandatory:
        return
    place = f"{where}.entry.{section}"
    if not isinstance(items, list):
        raise BadForm(f"{place}(not a list)")
    for item in items:
        if not isinstance(item, dict):
            raise BadForm(f"{place}(not a map)")
        if any(not isinstance(item.get(key), str) for key in strings):
            raise BadForm(f"{place}(expected a string)")
        if any(not isinstance(item.get(key), dict | None) for key in maps) or any(item.get(k) is None for k in needed):
            raise BadForm(f"{place}(not a map)")


def check_connection_request(params: Object) -> tuple[str, str, bytes]:
    """``channel``, ``endpoint`` and token of a ``_connectionRequest``."""
    check_client(params.get("client"), "client")
    for key in ("channel", "endpoint", "token"):
        if not isinstance(params.get(key), str) or not params[key]:
            raise BadForm(f"{key}(expected a string)")
    try:
        token = base64.b64decode(params["token"], validate=True)
    except binascii.Error:
        raise BadForm("token(not base64)") from None
    if len(token) != TOKEN_BYTES:
        raise BadForm("token(expected 32 bytes)")
    return params["channel"], params["endpoint"], token


def wrap(value: Any) -> Object:
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"_": value}


def unwrap(value: Object | None) -> Any:
    if value is not None and set(value) == {"_"}:
        return value["_"]
    return value or {}
