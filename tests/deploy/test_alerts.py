"""The alerts in ``deploy/``: each fires for its fault, which is made here, and for no other."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from eps.core.audit import LineKeys
from eps.core.audit_key import sign_head
from eps.core.event import CallFinished, Event, Refused, Step
from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.datastores import RECORD, DataEntry, new_id
from eps.datastores.file import FileDatastore
from eps.datastores.memory import MemoryDatastore
from eps.datastores.watched import Watched
from eps.directory.service import ServiceDirectory
from eps.errors import StoreFailed
from eps.jsonrpc.server import ServerLimits
from eps.pki import Authority
from eps.programs.running.audit_log import AuditFile, AuditLog
from eps.programs.running.families import Program
from eps.programs.running.log_queue import LineQueue
from eps.programs.running.metrics import Metrics
from eps.programs.wiring.certificates import expiries
from eps.programs.wiring.proxy import relay_numbers
from eps.settings import load_sd
from eps.transport.listener import Listener, RateLimit
from support.full_disk import Disk
from support.machine import Machine
from support.network import Network
from support.promtool import Recording, needs_promtool, promtool, samples, unit_tests_of
from support.record_tools import NOW, as_json, group_record, sign_chain, trust
from support.testing import Events, certificates, jsonrpc_server

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "eps-alerts.yml"
pytestmark = needs_promtool

ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}


def verdict(recordings: dict[str, Recording], folder: Path) -> str:
    """What Prometheus' tool finds wrong with the alerts that fire; empty: nothing."""
    file = folder / "alerts-test.yml"
    file.write_text(json.dumps(unit_tests_of(RULES, recordings)))
    done = promtool("test", "rules", str(file))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def check(recordings: dict[str, Recording], folder: Path) -> None:
    """Exactly those alerts fire that are to."""
    assert verdict(recordings, folder) == ""
    for name, recording in recordings.items():  # and it would be noticed if another did, or none
        wrong = replace(recording, alerts=set() if recording.alerts else {"EpsDown"})
        assert verdict({name: wrong}, folder) != "", name


def told(metrics: Metrics, work: Callable[[], object] = lambda: None) -> tuple[str, float]:
    work()
    return metrics.render().decode(), time.time()


def of_events(events: Iterable[Event], program: Program, alerts: set[str]) -> Recording:
    """What is counted of events that a real part has reported, against nothing at all."""
    metrics = Metrics()
    metrics.belongs_to(program, dict)
    metrics.tally.series["eps_directory_confirmed_timestamp_seconds"].values[()] = time.time()
    calm, at = told(metrics)
    for event in events:
        metrics(event)
    fault, later = told(metrics)
    return Recording(alerts, calm, fault, (at, later))


def test_the_rules_are_well_formed() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0 and f"{len(ALERTS)} rules found" in done.stdout, done.stdout + done.stderr
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("warning", "critical"), name
        assert {"summary", "description"} == set(rule["annotations"]), name


def test_the_head_says_what_the_rules_take() -> None:
    """Of any job's name that the head suggests, each rule takes the series."""
    head = RULES.read_text().partition("groups:")[0]
    (job,) = re.findall(r"job_name: (\w+)", head)
    assert "with eps in it" in head
    for name, rule in ALERTS.items():
        for pattern in re.findall(r'job=~"([^"]*)"', rule["expr"]):
            for each in (job, f"my-{job}-servers", "steps"):
                assert re.fullmatch(pattern, each), name
        metrics = set(re.findall(r"\b(?:process_\w+|up)\b(?=\{|\s)", rule["expr"]))
        assert not metrics or "job=~" in rule["expr"], f"{name} takes {metrics} of every program on earth"


async def scraped(machine: Machine, port: int) -> tuple[str, float]:
    url = f"http://localhost:{machine.ports.of[port]}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text(), time.time()


async def until(machine: Machine, port: int, series: str, is_so: Callable[[float], bool]) -> tuple[str, float]:
    """What a program exposes as soon as a series is so."""
    async with asyncio.timeout(60):
        while True:
            text, at = await scraped(machine, port)
            found = [value for name, value in samples(text).items() if name.startswith(series)]
            if found and is_so(found[0]):
                return text, at
            await asyncio.sleep(0.05)


@pytest.mark.chaos
async def test_faults_of_a_network(machine: Machine, tmp_path: Path) -> None:
    """Real programs, one fault after the other."""
    await machine.ready()
    await machine.ping()
    found: dict[str, Recording] = {}

    def record(name: str, alerts: set[str], calm: tuple[str, float], fault: tuple[str, float], *stood: str) -> None:
        found[name] = Recording(alerts, calm[0], fault[0], (calm[1], fault[1]), frozenset(stood))

    for port in (2112, 2113, 2114, 2115, 2117):  # a working network
        calm = await scraped(machine, port)
        await machine.ping()
        record(f"nothing is wrong at {port}", set(), calm, await scraped(machine, port))

    calm = await scraped(machine, 2112)
    assert (await machine.call("op-1._ping")).error is not None  # the network has no such server now
    record("a peer that cannot be reached", {"EpsCallsFailOnTheWay"}, calm, await scraped(machine, 2112))

    calm = await scraped(machine, 2113)
    await refused_handshakes(machine, 12)
    fault = await until(machine, 2113, 'eps_refused_total{listener="grpc",why="pin"', lambda value: value > 10)
    record("unpinned certificates", {"EpsStrangers"}, calm, fault)

    calm, at_proxy = await scraped(machine, 2112), await scraped(machine, 2115)
    machine.processes["hd-2"].send(signal.SIGSTOP)
    call = asyncio.create_task(machine.ping())
    await until(machine, 2112, "eps_calls_in_flight", lambda value: value > 0)
    await asyncio.sleep(0.3)  # it is on its way, and nobody reads it
    await machine.stop("hd-2", signal.SIGKILL)
    answer = await call
    assert answer.error is not None and answer.error.data["outcome"] == "unknown"
    record("a peer that dies amid a call", {"EpsOutcomeUnknown"}, calm, await scraped(machine, 2112))

    calm = await scraped(machine, 2112)
    call = asyncio.create_task(machine.ping())
    record("a peer that is away", {"EpsCallsHeld"}, calm, await until(machine, 2112, "eps_calls_held", bool))
    await call
    fault = await until(machine, 2115, 'eps_tunnels_total{outcome="request_failed"', lambda value: value > 0)
    record("a callee that is away, at the proxy", {"EpsTunnelsFail"}, at_proxy, fault)

    calm = await scraped(machine, 2112)
    await machine.stop("sd-1")
    fault = await until(machine, 2112, "eps_directory_failures_total", lambda value: value > 1)
    directory = {"EpsDirectoryOld", "EpsDirectoryFails"}
    record("no service directory", directory, calm, fault, "eps_directory_confirmed_timestamp_seconds")
    await machine.start("sd-1")
    await until(machine, 2112, "eps_directory_confirmed_timestamp_seconds", lambda value: value > fault[1])

    calm = await scraped(machine, 2112)
    await machine.stop("public-proxy-eps-1")
    record("no stream", {"EpsCannotBeCalled"}, calm, await until(machine, 2112, "eps_stream_up", lambda up: not up))

    calm = await scraped(machine, 2115)
    await machine.stop("public-proxy-1")
    with pytest.raises(aiohttp.ClientError):
        await scraped(machine, 2115)
    found["a program that is down"] = Recording({"EpsDown"}, calm[0], None, (calm[1], calm[1]))
    check(found, tmp_path)


async def refused_handshakes(machine: Machine, count: int) -> None:
    """Connect to hd-2's gRPC port with a certificate of the network that the directory doesn't pin."""
    certs = machine.dev / "certs"
    context = ssl.create_default_context(cafile=str(certs / "root.crt"))
    context.load_cert_chain(certs / "hd-1-alt.crt", certs / "hd-1-alt.key")
    context.set_alpn_protocols(["h2"])
    for _ in range(count):
        reader, writer = await asyncio.open_connection(
            "localhost", machine.ports.of[8889], ssl=context, server_hostname="hd-2"
        )
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        async with asyncio.timeout(30):
            try:
                await reader.read()
            except (ssl.SSLError, ConnectionError):
                pass
        writer.close()


def test_a_certificate_that_ends_soon(machine: Machine, tmp_path: Path) -> None:
    settings = load_sd(machine.environment("sd-1"), machine.folder).settings
    metrics = Metrics()
    metrics.belongs_to(Program.SD, dict)
    metrics.expire(expiries(settings))
    calm, at = told(metrics)
    certs = machine.dev / "certs"
    short_lived(certs / "sd-1.crt", datetime.now(UTC) + timedelta(days=20))
    metrics.expire(expiries(settings))
    fault, later = told(metrics)
    check({"it ends": Recording({"EpsCertificateExpires"}, calm, fault, (at, later))}, tmp_path)


def short_lived(file: Path, end: datetime) -> None:
    """Another certificate in its place."""
    file.write_bytes(Authority.create(fast=True).issue_tls("sd-1", not_after=end).cert_pem)


async def test_faults_of_parts(tmp_path: Path) -> None:
    """Those that a whole network is too much for, or that it comes to too slowly."""
    found = {
        "a store that another program has changed": await a_changed_store(tmp_path),
        "a full disk of the audit log": await a_full_disk_of_the_audit_log(tmp_path),
        "a reader of the log that has stopped": lost_lines(),
        "a flood of connections": await a_flood(),
        "health checks": await health_checks(),
        "too many open files": files_run_out(),
        "a record that says nothing that counts": await a_marked_section(),
        "more calls than are done at once": await a_busy_server(),
        **await a_full_proxy(),
    }
    check(found, tmp_path)


async def a_changed_store(folder: Path) -> Recording:
    events = Events()
    store = Watched(await FileDatastore.open(str(folder / "entries"), emit=events), events)
    await store.append([DataEntry(RECORD, new_id(), b"{}")])
    with (folder / "entries").open("ab") as file:
        file.write(b"x" * 100)
    with pytest.raises(StoreFailed):
        await store.append([DataEntry(RECORD, new_id(), b"{}")])
    await store.close()
    return of_events(events.all, Program.SD, {"EpsStoreFails"})


async def a_full_disk_of_the_audit_log(folder: Path) -> Recording:
    key = ec.generate_private_key(ec.SECP256R1())
    file = AuditFile(str(folder / "audit.log"), "hd-1", LineKeys(b""), lambda head: sign_head(key, head), refuse=False)
    log = AuditLog(file, lambda event: None)
    await log.start()
    metrics = Metrics()
    metrics.belongs_to(Program.EPS, lambda: {"eps_audit_failing": {(): float(log.failing)}})
    metrics.tally.series["eps_directory_confirmed_timestamp_seconds"].values[()] = time.time()
    calm, at = told(metrics)
    with pytest.MonkeyPatch.context() as patch:
        Disk(patch).full = True
        log.ended(log.begin(), CallFinished(direction="local", sender="a", recipient="b", method="f", outcome="ok",
                                            seconds=0.1), "1")  # fmt: skip
        async with asyncio.timeout(30):
            while not log.failing:
                await asyncio.sleep(0.01)
        fault, later = told(metrics)
    await log.close()
    return Recording({"EpsAuditLogFails"}, calm, fault, (at, later))


def lost_lines() -> Recording:
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "w") as pipe:
            lines = LineQueue(pipe, str)  # whose thread does not run: nobody takes anything
            metrics = Metrics(lines)
            metrics.belongs_to(Program.SD, dict)
            calm, at = told(metrics)
            fault, later = told(metrics, lambda: [lines.write("x" * 100_000) for _ in range(50)])
    finally:
        os.close(reading)
    return Recording({"EpsLogLinesLost"}, calm, fault, (at, later))


async def health_checks() -> Recording:
    """A load balancer that connects to a TLS port and hangs up: no stranger, and nobody is turned away."""
    events = Events()
    tls = certificates().tls_files("hd-1")
    async with jsonrpc_server(nobody, name="jsonrpc", tls=tls, emit=events) as server:
        for _ in range(15):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.close()
        async with asyncio.timeout(30):
            while len(events.of(Refused)) < 15:
                await asyncio.sleep(0.01)
    assert {event.why for event in events.of(Refused)} == {"gone"}
    return of_events(events.all, Program.EPS, set())


async def nobody(call: Call) -> Response:
    raise AssertionError(call)


async def a_flood() -> Recording:
    events = Events()

    async def closes(sock: socket.socket) -> None:
        sock.close()

    listener = Listener("relay", "127.0.0.1:0", closes, rate_limits=[RateLimit("hour", 2)], emit=events)
    await listener.start()
    for _ in range(3):
        _, writer = await asyncio.open_connection(*listener.addresses[0])
        writer.close()
    async with asyncio.timeout(30):
        while not events.all:
            await asyncio.sleep(0.01)
    await listener.close()
    return of_events(events.all, Program.PUBLIC, {"EpsTurnsAway"})


def files_run_out() -> Recording:
    """A process of its own, whose limit is low."""
    script = (
        "import resource, os; from eps.programs.running.metrics import Metrics; from eps.programs.running.families "
        "import Program; m = Metrics(); m.belongs_to(Program.SD, dict); resource.setrlimit(resource.RLIMIT_NOFILE, "
        "(200, 200)); a = m.render().decode(); kept = [os.open('/dev/null', 0) for _ in range(180)]; "
        "print(a, m.render().decode(), sep='---')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    calm, fault = done.stdout.split("---")
    return Recording({"EpsFilesRunOut"}, calm, fault, (time.time(), time.time()))


async def a_marked_section() -> Recording:
    events, store = Events(), MemoryDatastore()
    chain = sign_chain([group_record("x", "a"), group_record("x", "a ")])
    await store.append([DataEntry(RECORD, new_id(), json.dumps(record).encode()) for record in as_json(chain)])
    service = ServiceDirectory(store, trust(), lambda: NOW, events)
    await service.load()
    await service.close()
    return of_events(events.all, Program.SD, {"EpsDirectoryMarked"})


async def a_busy_server() -> Recording:
    events, go, begun = Events(), asyncio.Event(), asyncio.Event()

    async def waits(call: Call) -> Response:
        begun.set()
        await go.wait()
        return Response(call.id, "done")

    async with (
        jsonrpc_server(waits, name="jsonrpc", limits=ServerLimits(max_calls=1), emit=events) as server,
        aiohttp.ClientSession() as session,
    ):
        url, body = (
            f"http://localhost:{server.port}/jsonrpc",
            {"jsonrpc": "2.0", "id": "1", "method": "f", "params": {}},
        )
        first = asyncio.create_task(session.post(url, json=body))
        await begun.wait()
        async with session.post(url, json=body) as answer:
            assert (await answer.json())["error"]["data"]["reason"] == "busy"
        go.set()
        (await first).release()
    return of_events(events.all, Program.EPS, {"EpsBusy"})


async def a_full_proxy() -> dict[str, Recording]:
    async with Network() as network:
        hd_1, hd_2 = await network.node("hd-1"), await network.node("hd-2")
        relay = await network.proxy(max_tunnels=1)
        metrics = Metrics()
        metrics.belongs_to(Program.PUBLIC, lambda: relay_numbers(relay))
        calm, at = told(metrics)
        await network.ready()
        assert (await hd_1.call("hd-2._ping")).error is None
        await network.relay_events.wait_for(Step, lambda event: event.step == 6)
        nearly, later = told(metrics)
        before = len(network.relay_events.all)
        assert (await hd_2.call("hd-1._ping")).error is not None
        refused = network.relay_events.all[before:]
    return {
        "a proxy of which nearly all is taken": Recording({"EpsProxyNearlyFull"}, calm, nearly, (at, later)),
        "a proxy without room": of_events(refused, Program.PUBLIC, {"EpsProxyFull"}),
    }


@pytest.mark.chaos
async def test_slow_calls(tmp_path: Path) -> None:
    async with Network(behind_proxy=()) as network:
        hd_1, hd_2 = await network.node("hd-1"), await network.node("hd-2")
        await network.ready()
        hd_2.application.answer = lambda _: asyncio.sleep(6, {})
        assert (await hd_1.call("hd-2.echo")).error is None
    check({"slow": of_events(hd_1.events.all, Program.EPS, {"EpsSlow"})}, tmp_path)


def test_every_alert_has_its_fault() -> None:
    shown = set(re.findall(r'"(Eps[A-Z]\w+)"', Path(__file__).read_text()))
    assert shown == set(ALERTS)
