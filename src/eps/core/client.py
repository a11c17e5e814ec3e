"""Who calls, as an EPS server tells its applications (``params._client``) and its peers (``client``): name and entry.

PROTOCOL.md section 7, first paragraph: ``name``, ``entry.name`` and ``entry.channels`` (a list, may be empty) are
mandatory; other sections may be null or absent, further keys are ignored.
"""

from dataclasses import dataclass
from typing import Any

from eps.core.message import CLIENT_KEY
from eps.core.names import Object, Operator
from eps.errors import BadParams


@dataclass(frozen=True, slots=True)
class Client:
    """An operator that calls.

    Attributes:
        entry: its directory entry, as JSON; whoever reads more of it than is mandatory must check it.
    """

    name: Operator
    entry: Object

    def to_json(self) -> Object:
        """As it is passed on: without keys that nobody knows."""
        return {"name": self.name, "entry": self.entry}


def client_flaws(value: Any, place: str) -> list[str]:
    """What ``value``, which stands at ``place``, lacks to be a client; empty if it is one."""
    if not isinstance(value, dict):
        return [f"{place}: must be an object with name and entry of the operator that asks"]
    flaws = []
    if not isinstance(value.get("name"), str) or not value["name"]:
        flaws.append(f"{place}.name: must be an operator's name")
    entry = value.get("entry")
    if not isinstance(entry, dict):
        return [*flaws, f"{place}.entry: must be the directory entry of the operator that asks"]
    if not isinstance(entry.get("name"), str):
        flaws.append(f"{place}.entry.name: must be an operator's name")
    if not isinstance(entry.get("channels"), list):
        flaws.append(f"{place}.entry.channels: must be a list")
    return flaws


def parse_client(params: Object) -> Client:
    """``_client``, which our EPS server sets.

    Raises:
        BadParams: naming the place.
    """
    client: Any = params.get(CLIENT_KEY)
    flaws = client_flaws(client, CLIENT_KEY)
    if flaws:
        hint = "it is set by the proxy's EPS server; only that one may call the proxy"
        raise BadParams("; ".join(flaws), hint=hint)
    return Client(Operator(client["name"]), client["entry"])
