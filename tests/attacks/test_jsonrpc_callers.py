"""Certificates of the right authority and the right name, at the JSON-RPC ports of the running programs."""

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from eps.core.message import Response
from eps.errors import EpsError
from eps.jsonrpc.client import JsonRpcClient
from support.machine import Machine

PORTS = {"hd-1": 5555, "public-proxy-1": 6655}
NAMES = {"hd-1": "hd-1", "public-proxy-1": "public-proxy-1.ga"}


def client(machine: Machine, role: str, certificate: str) -> JsonRpcClient:
    """Of the port of ``role``, showing ``certificate``; it keeps its connection."""
    files = machine.application_files(certificate)
    url = f"https://localhost:{machine.ports.of[PORTS[role]]}/jsonrpc"
    return JsonRpcClient(url, tls=files, server_name=NAMES[role])


async def called(machine: Machine, role: str, certificate: str, method: str) -> Response:
    caller = client(machine, role, certificate)
    try:
        return await caller.call(method, {}, request_id="1")
    finally:
        await caller.close()


async def pinned(machine: Machine, operator: str, *certificates: str) -> dict[str, Any]:
    """The record that pins these for connections, and what it pins for signing, submitted."""
    done = await machine.run("eps", "sd", "get-entries", "--name", operator)
    (entry,) = json.loads(done.out)
    data = [item for item in entry["certificates"] if item["key_usage"] == "signing"]
    data += [{"fingerprint": machine.fingerprint(name), "key_usage": "encryption"} for name in certificates]
    record = {"name": operator, "section": "certificates", "data": data}
    done = await machine.submit([record])
    assert done.code == 0, done
    return record


async def until_refused(caller: JsonRpcClient, method: str, seconds: float) -> Response:
    """Calls, one after the other, until one is refused."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        response = await caller.call(method, {}, request_id="1")
        if response.error is not None and response.error.code == 403:
            return response
        await asyncio.sleep(0.2)
    raise AssertionError(f"still served after {seconds} s")


@pytest.mark.parametrize("certificate", ["hd-1-alt", "hd-1-sign", "hd-1-sign-alt"])
async def test_only_a_certificate_that_the_directory_pins_acts_as_its_operator(
    machine: Machine, certificate: str
) -> None:
    await machine.start("sd-1", "hd-1")
    await machine.setup_directory()
    await machine.processes["hd-1"].wait_for(kind="directory", level="info")
    refused = await called(machine, "hd-1", certificate, "hd-1._ping")
    assert refused.error is not None and refused.error.code == 403, refused
    assert "hd-1" in refused.error.message
    line = await machine.processes["hd-1"].wait_for(kind="refused", why="pin")
    mark = machine.fingerprint(certificate)
    record = json.loads(line["message"][line["message"].index('{"records"') :])
    (change,) = record["records"]
    assert (change["name"], change["section"]) == ("hd-1", "certificates")
    assert {"fingerprint": mark, "key_usage": "encryption"} in change["data"]
    assert {"fingerprint": machine.fingerprint("hd-1"), "key_usage": "encryption"} in change["data"]
    assert mark not in refused.error.message + json.dumps(refused.error.data)
    for welcome in ("hd-1", "demo-app"):
        assert (await called(machine, "hd-1", welcome, "hd-1._ping")).error is None
    # What the log proposed is what lets it in.
    Path(machine.folder / "proposed.json").write_text(json.dumps(record))
    done = await machine.run("eps", "sd", "submit-records", "proposed.json")
    assert done.code == 0, done
    end = time.monotonic() + 20
    while (await called(machine, "hd-1", certificate, "hd-1._ping")).error is not None:
        assert time.monotonic() < end, "still refused"
        await asyncio.sleep(0.2)


async def test_a_certificate_that_is_revoked_is_refused_on_the_connection_that_it_has(machine: Machine) -> None:
    await machine.start("sd-1", "hd-1")
    await machine.setup_directory()
    await machine.processes["hd-1"].wait_for(kind="directory", level="info")
    await pinned(machine, "hd-1", "hd-1", "hd-1-alt")
    caller = client(machine, "hd-1", "hd-1-alt")
    try:
        end = time.monotonic() + 20
        while (await caller.call("hd-1._ping", {}, request_id="1")).error is not None:
            assert time.monotonic() < end, "a pinned certificate is refused"
            await asyncio.sleep(0.2)
        await pinned(machine, "hd-1", "hd-1")
        refused = await until_refused(caller, "hd-1._ping", 20)
        assert refused.error is not None and "pins" in refused.error.message
    finally:
        await caller.close()


async def test_a_proxy_asks_its_eps_server_whom_the_directory_pins(machine: Machine) -> None:
    await machine.start("sd-1", "public-proxy-eps-1", "public-proxy-1")
    await machine.setup_directory()
    await machine.processes["public-proxy-eps-1"].wait_for(kind="directory", level="info")
    own, alt, method = "public-proxy-1.ga", "public-proxy-1.ga-alt", "getAnnouncements"
    for certificate in (alt, "public-proxy-1.ga-sign"):
        refused = await called(machine, "public-proxy-1", certificate, method)
        assert refused.error is not None and refused.error.code == 403, refused
    line = await machine.processes["public-proxy-1"].wait_for(kind="refused", why="pin")
    assert machine.fingerprint(alt) in line["message"] and '"section": "certificates"' in line["message"]
    await pinned(machine, own, own, alt)
    caller = client(machine, "public-proxy-1", alt)
    try:
        end = time.monotonic() + 20
        while (response := await caller.call(method, {}, request_id="1")).error and response.error.code == 403:
            assert time.monotonic() < end, "a pinned certificate is refused"
            await asyncio.sleep(0.2)
        await pinned(machine, own, own)
        await until_refused(caller, method, 20)
    finally:
        await caller.close()
    # The EPS server is gone: what it said last holds, and its own certificate is ours.
    await machine.stop("public-proxy-eps-1")
    refused = await called(machine, "public-proxy-1", alt, method)
    assert refused.error is not None and refused.error.code == 403
    served = await called(machine, "public-proxy-1", own, method)
    assert served.error is None or served.error.code != 403


async def test_while_no_directory_was_verified_names_alone_decide_and_the_log_says_so(machine: Machine) -> None:
    await machine.start("hd-1")
    with suppress(EpsError):
        response = await called(machine, "hd-1", "hd-1-alt", "hd-1._ping")
        assert response.error is not None and response.error.code != 403, response
    for _ in range(2):
        await called(machine, "hd-1", "demo-app", "hd-1._ping")
    said = [line for line in machine.processes["hd-1"].lines if "no directory was verified yet" in line["message"]]
    assert len(said) == 1
