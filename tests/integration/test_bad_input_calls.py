"""Calls that fail: the JSON-RPC answer, the log line, and ``eps call`` say what, where, and what to try.

None of it ends a server: the fixture checks that all of them still run and end cleanly afterwards.
"""

import asyncio
import json
import signal
from typing import Any

import pytest

from eps.errors import Outcome, Side, Stage
from support.machine import Done, Machine

RECOVERY = 30.0
"""Seconds; how quick it is, is test_programs' matter."""

PROXY_EPS = "public-proxy-eps-1"


async def failure(
    machine: Machine, method: str, *says: str, code: int, stage: Stage, side: Side, command: bool = False
) -> None:
    """Make a call that fails in the given way, and read answer and log; with ``command`` also what eps call prints."""
    outcome = Outcome.NOT_SENT
    response = await machine.call(method)
    error = response.error
    assert error is not None, response
    assert (error.code, error.data) == (code, error.data | {"stage": stage, "side": side, "outcome": outcome})
    assert error.data["hint"]
    assert "\n" not in error.message
    for text in says:
        assert text in f"{error.message} ({error.data['hint']})"
    line = await machine.processes["hd-1"].wait_for(kind="call", method=method.rpartition(".")[2], detail=error.message)
    assert line["level"] in ("warn", "debug")  # one warning a second
    assert line["stage"] == stage
    assert line["outcome"] in (outcome, "error")
    assert "\n" not in line["message"]
    if not command:
        return
    told = await machine.run("eps", "call", method)
    assert (told.code, told.out) == (1, "")
    same = error.message.partition("; the directory was confirmed ")[0]  # that is longer ago by now
    assert f"error: {same}" in told.err and f" (code {code})\n" in told.err
    assert f"where: stage {stage}, side {side}; " in told.err
    assert f"hint:  {error.data['hint']}\n" in told.err
    assert len(told.err.splitlines()) == 3, told.err


async def test_the_directory_is_down_then_empty(machine: Machine) -> None:
    await machine.start("hd-1")
    await machine.processes["hd-1"].wait_for(
        kind="directory_failed", detail=f"the service directory at https://localhost:{machine.ports.of[3322]}/jsonrpc: "
        "connection refused", level="warn",
    )  # fmt: skip
    told = ("hd-1 has no verified directory yet", "records were submitted", "make sd-setup")
    where: dict[str, Any] = {"code": 1, "stage": Stage.DIRECTORY, "side": Side.DIRECTORY}
    await failure(machine, "hd-2._ping", *told, **where, command=True)
    await machine.start("sd-1")
    await machine.processes["hd-1"].wait_for(kind="notice", text="the directory has no entry for hd-1", level="warn")
    await failure(machine, "hd-2._ping", *told, **where)


async def test_what_the_directory_forbids_or_lacks(machine: Machine) -> None:
    await machine.ready()
    await failure(
        machine, "hd-9._ping", "hd-9 is not in the directory", "list the operators",
        code=1, stage=Stage.DIRECTORY, side=Side.OURS,
    )  # fmt: skip
    await failure(
        machine, "hd-2.secret", "hd-2 reports: the directory lists no service of hd-2 with a method 'secret'",
        "hd-1 may call there: _ping",
        code=403, stage=Stage.PERMISSION, side=Side.PEER, command=True,
    )  # fmt: skip
    await failure(
        machine, "public-proxy-1.ga.getAnnouncements", "is for the group proxy-users; the groups of hd-1",
        code=403, stage=Stage.PERMISSION, side=Side.PEER,
    )  # fmt: skip
    await failure(
        machine, "op-1._ping", "op-1 at localhost:4444: connection refused", "the server runs",
        code=500, stage=Stage.CALL, side=Side.PEER,
    )  # fmt: skip
    done = await machine.submit([{"name": "op-1", "section": "channels", "data": []}])
    assert done.code == 0, done
    await machine.processes["hd-1"].wait_for(kind="directory", records=31)
    await failure(
        machine, "op-1._ping", "op-1 is not connected", "no gRPC server", "must hold a stream to us",
        code=500, stage=Stage.BROKER, side=Side.PEER,
    )  # fmt: skip
    assert (await machine.ping()).error is None


async def test_the_peer_or_the_proxy_is_gone(machine: Machine) -> None:
    await machine.ready()
    relay: dict[str, Any] = {"code": 500, "stage": Stage.RELAY, "side": Side.PROXY}

    await machine.stop("hd-2", signal.SIGKILL)
    await machine.processes[PROXY_EPS].wait_for(kind="peer", link="connected", peer="hd-2", up=False)
    await failure(
        machine, "hd-2._ping", "public-proxy-1.ga brought no tunnel to hd-2: hd-2 is not connected",
        "check that the server of hd-2 runs", code=500, stage=Stage.BROKER, side=Side.PEER, command=True,
    )  # fmt: skip
    await machine.start("hd-2")
    await machine.until_ping(RECOVERY)

    await machine.stop("public-proxy-1", signal.SIGKILL)
    await machine.processes["hd-1"].wait_for(kind="peer", link="tunnel", up=False)
    await failure(
        machine, "hd-2._ping", "public-proxy-1.ga brought no tunnel to hd-2: the proxy's EPS server does not "
        "reach its proxy program", "start proxy run public", **relay,
    )  # fmt: skip
    assert str(machine.ports.of[6655]) not in str(machine.processes["hd-1"].lines), "the proxy's endpoint is its own"
    told = await machine.processes[PROXY_EPS].wait_for(kind="call", method="requestConnection", outcome="not_sent")
    assert f"[at https://localhost:{machine.ports.of[6655]}/jsonrpc]" in told["detail"]

    await machine.stop(PROXY_EPS, signal.SIGKILL)
    await machine.processes["hd-1"].wait_for(kind="peer", link="direct", peer="public-proxy-1.ga", up=False)
    await failure(
        machine, "hd-2._ping", "hd-2 is reached through the proxy public-proxy-1.ga, which was not asked for a tunnel: "
        f"public-proxy-1.ga at localhost:{machine.ports.of[5556]}: connection refused", "the server runs", **relay,
    )  # fmt: skip
    await machine.start("public-proxy-1", PROXY_EPS)
    await machine.until_ping(RECOVERY)


async def test_certificates_that_do_not_match(machine: Machine) -> None:
    await machine.ready()
    assert (await machine.ping()).error is None
    tls: dict[str, Any] = {"code": 500, "stage": Stage.TLS, "side": Side.PEER}

    # B's pin changes in the directory: the kept connection ends, and B is no longer believed
    records = json.loads((machine.dev / "directory" / "002_certificates.json").read_text())["records"]
    right = next(record for record in records if record["name"] == "hd-2")
    other = [{**item, "fingerprint": "0" * 64} for item in right["data"]]
    done = await machine.submit([{**right, "data": other}])
    assert done.code == 0, done
    await machine.processes["hd-1"].wait_for(kind="peer", link="tunnel", peer="hd-2", up=False)
    await machine.processes[PROXY_EPS].wait_for(kind="refused", why="pin", detail="pins certificate")
    response = await machine.ping()
    assert response.error is not None
    assert response.error.data["outcome"] == "not_sent"
    done = await machine.submit([right])
    assert done.code == 0, done
    await machine.until_ping(RECOVERY)

    # B's server shows a valid certificate that the directory does not pin; its client is in order
    settings = machine.dev / "roles" / "hd-2" / "002_server.yml"
    kept = settings.read_text()
    client, server = kept.split("main gRPC server")
    settings.write_text(f"{client}main gRPC server{server.replace('certs/hd-2.', 'certs/hd-2-alt.', 2)}")
    await machine.restart("hd-2")
    await machine.processes["hd-2"].wait_for(kind="peer", link="stream", up=True)
    await failure(
        machine, "hd-2._ping", "hd-2 is not who answers there", "the directory pins certificate", "hd-2, *.hd-2.local",
        "submit its fingerprint", **tls, command=True,
    )  # fmt: skip

    # B's server trusts another authority
    (machine.dev / "certs" / "other.crt").write_bytes(other_root())
    server = server.replace("certs/root.crt", "certs/other.crt", 1)
    settings.write_text(f"{client}main gRPC server{server}")
    await machine.restart("hd-2")
    await machine.processes["hd-2"].wait_for(kind="peer", link="stream", up=True)
    await failure(machine, "hd-2._ping", "hd-2", "doesn't know the authority of our certificate", "trusts", **tls)
    await machine.processes["hd-2"].wait_for(kind="refused", listener="grpc", why="tls", detail="ca_certificate_files")

    # B's client trusts another authority: it can't reach the proxy
    settings.write_text(
        f"{client.replace('certs/root.crt', 'certs/other.crt')}main gRPC server{kept.split('main gRPC server')[1]}"
    )
    await machine.restart("hd-2")
    await machine.processes["hd-2"].wait_for(
        kind="notice", text="no TLS connection with public-proxy-1.ga: its certificate is not from one of our "
    )
    await failure(
        machine, "hd-2._ping", "hd-2 is not connected", "what its log says of public-proxy-1.ga",
        code=500, stage=Stage.BROKER, side=Side.PEER,
    )  # fmt: skip

    settings.write_text(kept)
    await machine.restart("hd-2")
    await machine.until_ping(RECOVERY)


async def test_our_own_certificate_is_not_pinned(machine: Machine) -> None:
    """hd-1 with hd-1-alt: the peers refuse it, and both sides say so."""
    settings = machine.dev / "roles" / "hd-1" / "002_server.yml"
    client, rest = settings.read_text().split("main gRPC server")
    settings.write_text(f"{client.replace('certs/hd-1.', 'certs/hd-1-alt.')}main gRPC server{rest}")
    await machine.start("sd-1", "public-proxy-1", PROXY_EPS, "hd-1")
    await machine.setup_directory()
    refused = await machine.processes[PROXY_EPS].wait_for(kind="refused", listener="grpc", why="pin")
    assert "hd-1, *.hd-1.local" in refused["detail"]
    await failure(
        machine, "hd-2._ping", "hd-2 is reached through the proxy public-proxy-1.ga", "most likely refused our cert",
        "the directory does not pin", "submit its fingerprint", code=500, stage=Stage.TLS, side=Side.OURS,
    )  # fmt: skip


@pytest.fixture
def told() -> Any:
    """The lines of a failed command."""

    def check(done: Done, *says: str) -> None:
        assert (done.code, done.out) == (1, "")
        assert "Traceback" not in done.err
        for text in says:
            assert text in done.err

    return check


async def test_eps_call_before_any_server(machine: Machine, told: Any) -> None:
    port = machine.ports.of[5555]
    told(
        await machine.run("eps", "call", "hd-2._ping"),
        f"error: our EPS server hd-1 at https://localhost:{port}/jsonrpc: connection refused; is the server running?",
        "where: stage call, side ours; it was not executed",
        "hint:  check the endpoint, and that the server runs",
    )
    told(await machine.run("eps", "call", "hd-2._ping", "{"), "error: the params are no usable JSON", "hint:")
    told(await machine.run("eps", "call", "hd-2._ping", '{"a": 1e400}'), "error: the params are no usable JSON")
    told(await machine.run("eps", "call", "hd-2._ping", "[]"), "error: the params must be a JSON object")
    told(await machine.run("eps", "call", "hd-2._ping", "-", stdin="7"), "error: the params must be a JSON object")
    told(await machine.run("env", "-u", "EPS_SETTINGS", "eps", "call", "x.y"), "error: EPS_SETTINGS: is not set")


async def test_eps_call_with_a_certificate_that_the_server_refuses(machine: Machine, told: Any) -> None:
    await machine.start("hd-1")
    tree = machine.folder / "other"
    (machine.dev / "roles" / "hd-1").rename(tree)
    server = (tree / "002_server.yml").read_text().replace("$DIR/../../certs", str(machine.dev / "certs")[1:])
    (tree / "002_server.yml").write_text(server.replace("certs/hd-1.", "certs/hd-2."))
    default = (tree / "001_default.yml").read_text().replace("$DIR/../../certs", str(machine.dev / "certs")[1:])
    (tree / "001_default.yml").write_text(default)
    done = await machine.run("eps", "call", "hd-2._ping", EPS_SETTINGS="other")
    told(done, "error: our EPS server hd-1 at https://localhost:", "certificate", "where: stage tls, side ours")


async def test_an_application_with_somebody_elses_certificate(machine: Machine) -> None:
    await machine.start("hd-1")
    client = machine.application("hd-1", certificate="hd-2")
    response = await client.call("hd-1._ping", {})
    await client.close()
    assert response.error is not None
    assert response.error.code == 403
    assert "only certificates of hd-1, demo-app may call here" in response.error.message
    assert "your certificate carries hd-2" in response.error.message
    assert "tls.allowed_names" in response.error.data["hint"]
    line = await machine.processes["hd-1"].wait_for(kind="refused", listener="jsonrpc", why="name", level="warn")
    assert line["message"].startswith(
        "jsonrpc: refused a certificate of hd-2, *.hd-2.local (name): only certificates of hd-1, demo-app may call "
        "here; its fingerprint is "
    )


async def test_eps_call_without_a_usable_answer(machine: Machine, told: Any) -> None:
    """Where our server should be, something else listens: silent, or a web server."""
    settings = {"name": "hd-1", "directory": {"type": "json", "settings": {"path": str(machine.dev / "directory")}}}
    port = machine.ports.of[5555]
    channel = {"name": "in", "type": "jsonrpc_server", "settings": {"bind_address": f"localhost:{port}"}}
    (machine.folder / "plain.json").write_text(json.dumps({**settings, "channels": [channel]}))
    page = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"web._ping" in await reader.readuntil(b"{}"):
            writer.write(page)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        silent = await machine.run("eps", "call", "--timeout", "0.5", "hd-2._ping", EPS_SETTINGS="plain.json")
        web = await machine.run("eps", "call", "web._ping", EPS_SETTINGS="plain.json")
    where = f"our EPS server hd-1 at http://localhost:{port}/jsonrpc"
    told(
        silent,
        f"error: {where}: no answer within 0.5 s",
        "where: stage call, side ours; it may have been executed",
        "hint:  it may have been executed: find out before repeating it",
    )
    told(web, f"error: {where}", "404", "where: stage call, side ours; ")


async def test_eps_call_shows_an_application_error_as_it_is(machine: Machine, told: Any) -> None:
    """A code and data of the service's own pass through."""
    await machine.start("sd-1", "hd-1")
    await machine.setup_directory()
    await machine.processes["hd-1"].wait_for(kind="directory")
    done = await machine.run("eps", "call", "hd-1._directory", '{"operator": 7}')
    told(done, "error: ", "(code -32602)", "where: stage call, side ours; it was not executed")
    done = await machine.run("eps", "call", "nonsense")
    told(done, "is not of the form OPERATOR.METHOD", "hint:  name the method as OPERATOR.METHOD")


def other_root() -> bytes:
    from eps.pki import Authority

    return Authority.create(fast=True).root_pem
