"""Events as Prometheus metrics, and the endpoint."""

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from eps.core.callers import Refusal
from eps.core.event import (
    CallFinished,
    DirectoryChanged,
    DirectoryConfirmed,
    DirectoryFailed,
    DirectoryStillFailing,
    Forwarding,
    Notice,
    PeerChanged,
    Refused,
    Step,
    StoreError,
    TunnelFinished,
    ignore,
)
from eps.core.rendezvous import TunnelOutcome
from eps.errors import StartError
from eps.programs.running.families import FAMILIES, OTHER, WHYS, Kind, Program
from eps.programs.running.metrics import MAX_PEERS, Metrics, MetricsServer


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


def test_every_series_is_there_from_the_start() -> None:
    """Else ``increase()`` would miss its first event."""
    metrics = Metrics()
    before = values(metrics)
    for event in (
        call("unknown", "call", "network"),
        call("error", "tls", "unknown"),
        Refused(listener="relay", why="proxy-full", source="x"),
        StoreError(operation="write"),
        DirectoryFailed(detail="x"),
        Step(step=3, operator="a", peer="b", text="", seconds=0.02),
        TunnelFinished(outcome="request_failed", seconds=1, reason="peer-hangs"),
    ):
        metrics(event)
    after = values(metrics)
    assert set(after) == set(before)
    changed = {name for name, value in after.items() if value != before[name] and name.startswith("eps_")}
    assert "eps_calls_total['call', 'local', 'network', 'unknown']" in changed
    assert "eps_tunnel_failures_total['peer-hangs']" in changed
    assert after["eps_broker_step_seconds_bucket['0.025', '3']"] == 1
    assert after["eps_store_errors_total['write']"] == 1


def test_words_of_nobody_make_no_series() -> None:
    metrics = Metrics()
    for number in range(50):
        metrics(Refused(listener="grpc", why=f"evil{number}", source="x"))
        metrics(call(f"evil{number}", "call", "network"))
        metrics(Step(step=number + 7, operator="a", peer="b", text="", seconds=1.0))
    found = values(metrics)
    assert found[f"eps_refused_total['{OTHER}', '{OTHER}']"] == 50
    assert found[f"eps_calls_total['{OTHER}', '{OTHER}', '{OTHER}', '{OTHER}']"] == 50
    assert b"evil" not in metrics.render()


SOURCES = Path(__file__).parents[3] / "src" / "eps"


def test_the_words_of_the_code_are_listed() -> None:
    """Why a connection was turned away, as the code says it in so many words."""
    listed = {why for whys in WHYS.values() for why in whys}
    code = "".join(path.read_text() for path in SOURCES.rglob("*.py") if path.name != "families.py")
    said = re.findall(r'\bwhy="(\w+)"|_refused\(\s*(?:source, |one\.source, )?"(\w+)"|\bRefusal\("(\w+)"', code)
    words = {word for found in said for word in found if word}
    assert {"pin", "guard", "stream", "message", "path", "name", "fingerprint"} <= words
    assert Refusal.__doc__ is not None
    assert set(re.findall(r"``(\w+)``", Refusal.__doc__)) == set(WHYS["jsonrpc"]) - {"busy"}
    assert words <= listed | {"tls", "connections"}, words - listed


@pytest.mark.parametrize("program", list(Program))
def test_a_program_shows_what_it_has(program: Program) -> None:
    metrics = Metrics()
    metrics.belongs_to(program, dict)
    shown = {family.name for family in metrics.collect()}
    assert shown == {family.name for family in FAMILIES.values() if program in family.programs}
    text = metrics.render().decode()
    assert ('link="stream"' in text) is (program is Program.EPS)
    assert ('listener="relay"' in text) is (program is Program.PUBLIC)
    assert f'eps_build_info{{program="{program}",version="' in text


def test_what_stands_is_added_to_what_was_counted() -> None:
    """Bytes of tunnels that are open still, say: they must not wait for the end of a tunnel that lives for weeks."""
    metrics = Metrics()
    metrics(TunnelFinished(outcome="finished", seconds=1, first_bytes=10, second_bytes=3))
    metrics.belongs_to(Program.PUBLIC, lambda: {"eps_tunnel_bytes": {("callee",): 5}, "eps_tunnels_open": {(): 2}})
    found = values(metrics)
    assert found["eps_tunnel_bytes_total['callee']"] == 15
    assert found["eps_tunnel_bytes_total['caller']"] == 3
    assert found["eps_tunnels_open[]"] == 2
    assert found["eps_tunnels_limit[]"] == 0


def test_names_of_the_directory_have_a_limit() -> None:
    metrics = Metrics()
    metrics.belongs_to(Program.EPS, lambda: {"eps_stream_up": {(f"hd-{n}",): n % 2 for n in range(MAX_PEERS + 5)}})
    found = [name for name in values(metrics) if name.startswith("eps_stream_up")]
    assert len(found) == MAX_PEERS


def test_durations_and_dates() -> None:
    metrics = Metrics()
    metrics.expire({"channels[0].settings.tls.certificate_file": 1.8e9})
    metrics(DirectoryConfirmed(at=1.7e9, date="x"))
    metrics(Forwarding(operator="a", peer="b", text="", seconds=3.0))
    metrics(Forwarding(operator="a", peer="b", text=""))
    metrics(DirectoryStillFailing())
    found = values(metrics)
    assert found["eps_certificate_expiry_timestamp_seconds['channels[0].settings.tls.certificate_file']"] == 1.8e9
    assert found["eps_directory_confirmed_timestamp_seconds[]"] == 1.7e9
    assert found["eps_forwarding_seconds_count[]"] == 1
    assert found["eps_forwarding_seconds_bucket['2.5']"] == 0
    assert found["eps_forwarding_seconds_bucket['5.0']"] == found["eps_forwarding_seconds_bucket['+Inf']"] == 1
    assert found["eps_directory_failures_total[]"] == 1


def test_families_are_well_formed() -> None:
    for family in FAMILIES.values():
        assert all(len(labels) == len(family.labels) for labels in family.starts), family.name
        assert bool(family.limits) is (family.kind is Kind.HISTOGRAM), family.name
        assert family.programs


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
            assert "# HELP eps_calls_total calls that ended" in text
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
