"""Every recorded HTTP exchange (tests/vectors/jsonrpc_http.json) against our server, over a real connection."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from eps.channels.jsonrpc_server import address_of
from eps.core.jsonrpc_text import Call
from eps.core.message import Error, Response
from eps.errors import EpsError
from eps.jsonrpc.cors import Cors
from eps.jsonrpc.requests import Requests
from support.testing import jsonrpc_server

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "jsonrpc_http.json").read_text())
RANDOM_ID = 32


async def hd_1(call: Call) -> Response:
    """As much of an EPS server hd-1 as the vectors see."""
    address = address_of(call)
    if address.method == "_ping":
        entry: dict[str, Any] = {"name": "hd-1"}
        params = {**call.params, "_client": entry}
        result = {"timestamp": "2026-11-22T12:00:00Z", "version": "1", "params": params, "serverInfo": entry}
        return Response(call.id, result)
    code = 1 if address.method == "_connectionRequest" else 500
    return Response(call.id, error=Error(code, "no", {}))


def same(expected: Any, actual: Any, path: str = "") -> None:
    """Equal, but for placeholders, and for what the recorded servers say in ``error`` beside its code."""
    if path == ".jsonrpc":
        assert actual == "2.0"  # "2.0," is a slip that we don't repeat
    elif path == ".error":
        assert actual["code"] == expected["code"]
        assert isinstance(actual["message"], str)
    elif isinstance(expected, dict):
        assert list(actual) == list(expected) if not path else set(actual) == set(expected)
        for key, value in expected.items():
            same(value, actual[key], f"{path}.{key}")
    elif expected not in ("<entry>", "<rfc3339>", "development"):
        assert actual == expected


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
async def test_recorded_exchange(vector: dict[str, Any]) -> None:
    request = vector["request"]
    headers = dict(request["headers"])
    if request["content_type"]:
        headers["Content-Type"] = request["content_type"]
    async with (
        jsonrpc_server(hd_1, requests=Requests(cors=Cors(allowed_hosts=(r"localhost:\d+$",)))) as server,
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.request(
            request["method"],
            f"http://localhost:{server.port}{request['path']}",
            data=request["body"].encode(),
            headers=headers,
        ) as answer,
    ):
        body = await answer.text()
    assert answer.status == vector["status"]
    assert vector["headers"].items() <= dict(answer.headers).items()
    if vector["body"] == "":
        assert body == ""
        return
    actual = json.loads(body)
    if vector["name"] in ("id null", "id empty string"):
        assert len(actual["id"]) == RANDOM_ID
        actual["id"] = vector["body"]["id"]
    same(vector["body"], actual)
    if "error" in actual and "data" in actual["error"] and actual["error"]["data"]:
        assert set(actual["error"]["data"]) == {"stage", "side", "outcome", "reason", "hint"}


def test_address_errors_are_code_1() -> None:
    with pytest.raises(EpsError) as caught:
        address_of(Call("_ping", {}, "1"))
    assert caught.value.code == 1
