"""The foreign JSON-RPC peers and the foreign service directory, against recorded answers and against each other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from eps.pki import Authority
from support.foreign.messages import Object
from support.foreign.network import HD_1, PROXY, Network
from support.foreign.records import (
    Signer,
    entries_of,
    is_genuine,
    newest_chain,
    sign_chain,
    sign_record,
    structured_hash,
)
from support.foreign.rpc import ForeignRpcClient, ForeignRpcServer, RpcCall, RpcError
from support.foreign.service_directory import ForeignSd

VECTORS = Path(__file__).parent.parent / "vectors"


def _vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def _answer(call: RpcCall) -> Any:
    if call.method == "fail":
        raise RpcError(-7, "no", {"why": "because"})
    if call.method == "crash":
        raise ValueError("a defect")
    return {"method": call.method, "id": call.id, "client": call.client_name}


@pytest.fixture
def server() -> Iterator[ForeignRpcServer]:
    server = ForeignRpcServer(_answer)
    yield server
    server.close()


# --- JSON-RPC


@pytest.mark.parametrize("request_id", ["a", 7, -7, 0, "n:7", "nn:-7", "n:7x", "ä"])
def test_ids_come_back_as_they_were(server: ForeignRpcServer, request_id: Any) -> None:
    answer = ForeignRpcClient(server.endpoint).call("m", {}, request_id)
    assert answer.id == request_id
    assert type(answer.id) is type(request_id)


@pytest.mark.parametrize("request_id", ["", None])
def test_absent_ids_get_a_random_one(server: ForeignRpcServer, request_id: Any) -> None:
    answer = ForeignRpcClient(server.endpoint).call("m", {}, request_id)
    assert len(answer.id) == 32
    assert server.calls[0].id == answer.id


def test_errors_are_400_and_carry_the_code(server: ForeignRpcServer) -> None:
    client = ForeignRpcClient(server.endpoint)
    answer = client.call("fail", {})
    assert (answer.status, answer.error) == (400, {"code": -7, "message": "no", "data": {"why": "because"}})
    crashed = client.call("crash", {})
    assert crashed.error is not None
    assert crashed.error["code"] == -32603


def test_the_recorded_slip_is_a_switch(server: ForeignRpcServer) -> None:
    client = ForeignRpcClient(server.endpoint)
    assert json.loads(client.call("fail", {}).body)["jsonrpc"] == "2.0"
    server.slip = True
    assert json.loads(client.call("fail", {}).body)["jsonrpc"] == "2.0,"
    assert json.loads(client.call("m", {}).body)["jsonrpc"] == "2.0"


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"{", "application/json", -32700),
        (b"[]", "application/json", -32700),
        (b"{}", "application/json", -32600),
        (b'{"jsonrpc": "2.0", "method": "m", "params": {}, "id": true}', "application/json", -32600),
        (b'{"jsonrpc": "2.0", "method": "m", "params": {}, "id": "1"}', "text/plain", -32700),
    ],
)
def test_bad_requests_get_the_recorded_codes(
    server: ForeignRpcServer, body: bytes, content_type: str, code: int
) -> None:
    status, data = ForeignRpcClient(server.endpoint).post(body, content_type)
    assert (status, json.loads(data)["error"]["code"]) == (400, code)


def test_a_404_page_reads_as_an_empty_success(server: ForeignRpcServer) -> None:
    client = ForeignRpcClient(server.endpoint + "/nope")
    assert client.call("m", {}).body == b'{"message": "not found"}'
    server.html_404 = True
    answer = client.call("m", {})
    assert (answer.status, answer.result, answer.error) == (404, {}, None)
    client.ignores_http_status = False
    with pytest.raises(ValueError, match="Expecting value"):
        client.call("m", {})


def test_mutual_tls_names_the_caller() -> None:
    with Network() as network:
        server = ForeignRpcServer(_answer, network.context(PROXY, server=True))
        try:
            answer = ForeignRpcClient(server.endpoint, network.context(HD_1), PROXY).call("m", {})
            assert answer.result["client"] == HD_1
            with pytest.raises(OSError, match="certificate"):
                ForeignRpcClient(server.endpoint, network.context(HD_1), "other").call("m", {})
        finally:
            server.close()


# --- records


@pytest.mark.parametrize("case", _vectors("structured_hash.json"), ids=lambda case: case["sha256"][:8])
def test_structured_hash_as_recorded(case: Object) -> None:
    assert structured_hash(case["input"]).hex() == case["sha256"]


def test_the_recorded_chain_is_genuine() -> None:
    issuer = x509.load_pem_x509_certificate((VECTORS / "intermediate.crt").read_bytes())
    records = _vectors("records.json")
    assert all(is_genuine(record, [issuer]) for record in records)
    assert {entry["name"] for entry in entries_of(records)} == {
        record["record"]["name"] for record in newest_chain(records)
    }
    assert not is_genuine({**records[0], "hash": "0" * 64}, [issuer])
    assert not is_genuine({**records[0], "parent_hash": "0" * 64}, [issuer])
    assert not is_genuine(records[0], [])


# --- service directory


CHANGES = [(HD_1, "groups", ["health-departments"]), (HD_1, "channels", []), (PROXY, "groups", ["proxy-providers"])]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(fast=True)


@pytest.fixture(scope="module")
def signer(authority: Authority) -> Signer:
    issued = authority.issue_signing(HD_1, ["sd-admin"])
    return Signer.from_pem(issued.leaf_pem, issued.key_pem)


@pytest.fixture
def sd(authority: Authority) -> Iterator[ForeignSd]:
    sd = ForeignSd([authority.intermediate])
    yield sd
    sd.close()


def test_submitted_records_are_served(sd: ForeignSd, signer: Signer) -> None:
    client, chain = ForeignRpcClient(sd.endpoint), sign_chain(signer, CHANGES)
    assert client.call("getTip", {}).result is None
    assert client.call("submitRecords", {"records": chain}).result == "ok"
    assert client.call("getTip", {}).result == chain[-1]
    assert client.call("getRecords", {"after": ""}).result == chain
    assert client.call("getRecords", {"after": chain[0]["hash"]}).result == chain[1:]
    assert client.call("getRecords", {"after": "0" * 64}).result == chain
    assert [entry["name"] for entry in client.call("getEntries", {}).result] == [HD_1, PROXY]
    assert client.call("getEntry", {"name": HD_1}).result["groups"] == ["health-departments"]
    unknown = client.call("getEntry", {"name": "nobody"})
    assert unknown.error is not None
    assert unknown.error["code"] == 404


@pytest.mark.parametrize("in_part", [True, False])
def test_a_refused_batch_is_stored_in_part(sd: ForeignSd, signer: Signer, in_part: bool) -> None:
    sd.stores_in_part = in_part
    chain = sign_chain(signer, CHANGES)
    chain[2] = {**chain[2], "record": {**chain[2]["record"], "data": ["forged"]}}
    answer = ForeignRpcClient(sd.endpoint).call("submitRecords", {"records": chain})
    assert answer.error is not None
    assert answer.error["code"] == -32603
    assert sd.records == (chain[:2] if in_part else [])


def test_malformed_records_are_bad_params(sd: ForeignSd, signer: Signer) -> None:
    record = sign_record(signer, "", HD_1, "groups", [])
    client = ForeignRpcClient(sd.endpoint)
    for spoilt in ({**record, "hash": "0"}, {**record, "signature": {"r": "1"}}, {**record, "parent_hash": "x"}, 7):
        answer = client.call("submitRecords", {"records": [spoilt]})
        assert answer.error is not None
        assert answer.error["code"] == -32602


def test_links_and_roots_are_checked_only_on_request(sd: ForeignSd, signer: Signer) -> None:
    client = ForeignRpcClient(sd.endpoint)
    root = sign_record(signer, "", HD_1, "groups", [], "2026-05-01T00:00:00Z")
    stale = sign_record(signer, "0" * 64, HD_1, "groups", ["a"])
    older = sign_record(signer, "", HD_1, "groups", [], "2026-04-01T00:00:00Z")
    assert client.call("submitRecords", {"records": [root, stale, older]}).result == "ok"
    assert newest_chain(sd.records) == [root, stale]
    sd.checks_parents, sd.accepts_older_roots = True, False
    for record, why in ((stale, "stale"), (older, "not newer")):
        answer = client.call("submitRecords", {"records": [record]})
        assert answer.error is not None
        assert why in answer.error["message"]
    sd.fails = RpcError(500, "as the test wants it")
    assert client.call("getTip", {}).error == {"code": 500, "message": "as the test wants it"}
