"""Events as Prometheus metrics, and the endpoint."""

import asyncio

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from eps.core.event import (
    CallFinished,
    DirectoryChanged,
    DirectoryFailed,
    Notice,
    PeerChanged,
    Refused,
    Step,
    TunnelFinished,
    ignore,
)
from eps.core.rendezvous import TunnelOutcome
from eps.errors import StartError
from eps.programs.running.metrics import Metrics, MetricsServer


def values(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in families
        for sample in family.samples
    }


def call(outcome: str, stage: str = "", fault: str = "") -> CallFinished:
    return CallFinished(
        direction="local",
        sender="a",
        recipient="b",
        method="m",
        outcome=outcome,
        seconds=0.02,
        stage=stage,
        fault=fault,
    )


def test_calls_by_outcome_and_stage() -> None:
    metrics = Metrics()
    for event in (call("ok"), call("ok"), call("not_sent", "relay", "network"), call("unknown", "call", "network")):
        metrics(event)
    found = values(metrics)
    assert found["eps_calls_total['', '', 'local', 'ok']"] == 2
    assert found["eps_calls_total['local', 'network', 'not_sent', 'relay']"] == 1
    assert found["eps_calls_total['call', 'local', 'network', 'unknown']"] == 1
    assert found["eps_call_seconds_count['local']"] == 4
    assert found["eps_call_seconds_sum['local']"] == pytest.approx(0.08)
    assert found["eps_call_seconds_bucket['0.025', 'local']"] == 4
    assert found["eps_call_seconds_bucket['0.01', 'local']"] == 0


@pytest.mark.parametrize("outcome", list(TunnelOutcome))
def test_tunnels_by_named_outcome(outcome: TunnelOutcome) -> None:
    metrics = Metrics()
    metrics(TunnelFinished(outcome=outcome, seconds=1, first_bytes=10, second_bytes=3))
    found = values(metrics)
    assert found[f"eps_tunnels_total['{outcome}']"] == 1
    assert found["eps_tunnel_bytes_total['callee']"] == 10
    assert found["eps_tunnel_bytes_total['caller']"] == 3


def test_what_else_is_counted() -> None:
    metrics = Metrics()
    up = PeerChanged(link="stream", peer="b", up=True)
    for event in (
        up,
        up,
        PeerChanged(link="stream", peer="b", up=False),
        Step(step=4, operator="b", peer="p", text="x"),
        Refused(listener="grpc", why="pin", source="1.2.3.4"),
        DirectoryFailed(detail="down"),
        DirectoryChanged(records=30, operators=10, tip="x", source="y"),
        Notice(text="counts nowhere"),
    ):
        metrics(event)
    found = values(metrics)
    assert found["eps_links['stream']"] == 1
    assert found["eps_links['tunnel']"] == 0  # there from the start
    assert found["eps_broker_steps_total['4']"] == 1
    assert found["eps_refused_total['grpc', 'pin']"] == 1
    assert found["eps_directory_failures_total[]"] == 1
    assert found["eps_directory_operators[]"] == 10
    assert found["eps_directory_records[]"] == 30
    assert found["process_resident_memory_bytes[]"] > 1e6
    assert found["process_open_fds[]"] > 2


def test_labels_hold_no_names_of_peers() -> None:
    """A peer must not be able to fill our memory, or Prometheus', with label values."""
    metrics = Metrics()
    metrics(CallFinished(direction="incoming", sender="evil", recipient="evil", method="evil", outcome="ok", seconds=0))
    metrics(PeerChanged(link="incoming", peer="evil", up=True, detail="evil"))
    metrics(Refused(listener="grpc", why="pin", source="evil", detail="evil"))
    metrics(TunnelFinished(outcome="finished", seconds=1, caller="evil", callee="evil"))
    assert b"evil" not in metrics.render()


async def test_the_endpoint() -> None:
    metrics = Metrics()
    server = MetricsServer("localhost:0", metrics, ignore)
    await server.start()
    try:
        metrics(call("ok"))
        port = server.addresses[0][1]
        async with aiohttp.ClientSession() as session:
            for host in ("127.0.0.1", "[::1]"):
                async with session.get(f"http://{host}:{port}/metrics") as answer:
                    assert answer.status == 200
                    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                    text = await answer.text()
            assert 'eps_calls_total{direction="local",fault="",outcome="ok",stage=""} 1.0' in text
            assert "# HELP eps_calls_total Calls that ended, by outcome" in text
            async with session.head(f"http://localhost:{port}/metrics") as answer:
                assert answer.status == 200
            for method, path in (("GET", "/"), ("POST", "/metrics"), ("GET", "/metrics/x")):
                async with session.request(method, f"http://localhost:{port}{path}") as answer:
                    assert answer.status == 404
        other = MetricsServer(f"localhost:{port}", metrics, ignore)
        with pytest.raises(StartError, match=f"metrics: can't listen on localhost:{port}: another program"):
            await other.start()
        await other.close()
    finally:
        await server.close()


async def test_a_client_that_says_nothing_does_not_keep_it_from_closing() -> None:
    server = MetricsServer("127.0.0.1:0", Metrics(), ignore)
    await server.start()
    _, writer = await asyncio.open_connection(*server.addresses[0])
    async with asyncio.timeout(30):
        await server.close()
    writer.close()
