"""Who calls a method, proven by the EPS server before the service."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eps.core.message import CLIENT_KEY
from eps.service.refusals import BadParams


@dataclass(frozen=True, slots=True)
class Caller:
    """An operator that calls. It had the right to call this method.

    Attributes:
        name: the operator's.
        groups: those it is in, by its directory entry.
        entry: that entry, as JSON.
    """

    name: str
    groups: frozenset[str] = frozenset()
    entry: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> Any:
        """Who calls is never a part of what callers send: so pydantic takes it for none, however deep it stands.

        Raises:
            TypeError: always, when a method is offered whose params or result hold one.
        """
        raise TypeError("Caller is no param and no result: a parameter of its own has just that hint")


def caller_of(params: Mapping[str, Any], method: str) -> Caller:
    """From ``_client``, which the EPS server sets (PROTOCOL.md section 2).

    Raises:
        BadParams: there is none: nobody stands between the service and who called.
    """
    client = params.get(CLIENT_KEY)
    name = client.get("name") if isinstance(client, dict) else None
    if not isinstance(client, dict) or not isinstance(name, str) or not name:
        raise BadParams(method, {CLIENT_KEY: "is missing: it is set by an EPS server; call through one"})
    entry = client.get("entry")
    entry = entry if isinstance(entry, dict) else {}
    groups = entry.get("groups")
    return Caller(name, frozenset(group for group in groups or () if isinstance(group, str)), entry)
