"""Who calls: what must be there, and what may be missing."""

from typing import Any

import pytest

from eps.core.client import Client, client_flaws, parse_client
from eps.core.names import Operator
from eps.errors import BadParams

ENTRY = {"name": "b", "channels": []}


@pytest.mark.parametrize(
    ("value", "places"),
    [
        (None, ["_client"]),
        (1, ["_client"]),
        ({}, ["_client.name", "_client.entry"]),
        ({"entry": ENTRY}, ["_client.name"]),
        ({"name": "", "entry": ENTRY}, ["_client.name"]),
        ({"name": 1, "entry": {}}, ["_client.name", "_client.entry.name", "_client.entry.channels"]),
        ({"name": "b"}, ["_client.entry"]),
        ({"name": "b", "entry": []}, ["_client.entry"]),
        ({"name": "b", "entry": {"channels": []}}, ["_client.entry.name"]),
        ({"name": "b", "entry": {"name": "b", "channels": None}}, ["_client.entry.channels"]),
    ],
)
def test_no_client(value: Any, places: list[str]) -> None:
    assert [flaw.partition(":")[0] for flaw in client_flaws(value, "_client")] == places
    with pytest.raises(BadParams, match=places[0]):
        parse_client({"_client": value})


def test_a_client() -> None:
    """As one comes from servers in use: sections that are null, keys that nobody knows (PROTOCOL.md section 7)."""
    entry = {**ENTRY, "groups": None, "records": None, "properties": None}
    client = parse_client({"_client": {"name": "b", "entry": entry, "more": 1}})
    assert client == Client(Operator("b"), entry)
    assert client.to_json() == {"name": "b", "entry": entry}
