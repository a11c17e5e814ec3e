"""A thousand relayed pings through real processes, what the metrics say of them, and what is left open."""

import asyncio
import time

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from support.machine import Machine
from support.measure import load_of

COUNT = 1000


async def metrics(machine: Machine, port: int) -> dict[str, float]:
    """``name{label=value,…}`` → value, of one server; checked to be Prometheus' text format."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://localhost:{machine.ports.of[port]}/metrics") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            text = await answer.text()
        async with session.get(f"http://localhost:{machine.ports.of[port]}/") as answer:
            assert answer.status == 404
    return {
        f"{sample.name}{{{','.join(f'{key}={value}' for key, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_thousand_pings_one_after_the_other_and_32_at_a_time(machine: Machine) -> None:
    await machine.ready()
    client = machine.application()
    try:

        async def ping(number: int) -> None:
            response = await client.call("hd-2._ping", {"n": number}, request_id=str(number % 7))
            assert response.error is None, response.error
            assert response.id == str(number % 7)
            assert response.result["params"]["n"] == number

        await ping(0)
        began = time.monotonic()
        for number in range(COUNT):
            await ping(number)
        alone = time.monotonic() - began
        files = load_of(machine.processes["hd-1"].pid).files
        left = iter(range(COUNT))

        async def caller() -> None:
            for number in left:
                await ping(number)

        began = time.monotonic()
        await asyncio.gather(*(caller() for _ in range(32)))
        together = time.monotonic() - began
    finally:
        await client.close()
    print(f"\n{COUNT / alone:.0f} a second one at a time, {COUNT / together:.0f} at 32")
    assert load_of(machine.processes["hd-1"].pid).files <= files + 40

    ours, theirs = await metrics(machine, 2112), await metrics(machine, 2113)
    assert ours["eps_calls_total{direction=local,fault=,outcome=ok,stage=}"] == 2 * COUNT + 1
    assert theirs["eps_calls_total{direction=incoming,fault=,outcome=ok,stage=}"] >= 2 * COUNT + 1
    assert ours["eps_call_seconds_count{direction=local}"] == 2 * COUNT + 1
    # A second tunnel is made when the first is 4.5 s old: nobody knows yet that this proxy doesn't cut at 5 s.
    steps = [ours[f"eps_broker_steps_total{{step={step}}}"] for step in (1, 2, 5, 6)]
    assert steps in ([1] * 4, [2] * 4)
    assert 1 <= ours["eps_links{link=tunnel}"] <= steps[0]
    assert ours["eps_directory_operators{}"] == 10
    assert ours["eps_directory_records{}"] == 30
    for name in ("process_resident_memory_bytes{}", "process_open_fds{}", "process_cpu_seconds_total{}"):
        assert ours[name] > 0


async def test_metrics_count_failures_by_stage_and_tunnels_by_outcome(machine: Machine) -> None:
    await machine.ready()
    for method in ("hd-2._ping", "hd-2.secret", "hd-9._ping", "op-1._ping"):
        await machine.call(method)
    numbers = await metrics(machine, 2112)
    calls = {name: n for name, n in numbers.items() if name.startswith("eps_calls_total{direction=local") and n}
    assert calls == {
        "eps_calls_total{direction=local,fault=,outcome=ok,stage=}": 1,
        "eps_calls_total{direction=local,fault=network,outcome=not_sent,stage=permission}": 1,
        "eps_calls_total{direction=local,fault=network,outcome=not_sent,stage=directory}": 1,
        "eps_calls_total{direction=local,fault=network,outcome=not_sent,stage=call}": 1,
    }
    for reason in ("method-unknown", "operator-unknown"):
        assert numbers[f"eps_call_failures_total{{direction=local,reason={reason}}}"] == 1
    assert numbers["eps_stream_up{peer=public-proxy-1.ga}"] == 1
    assert numbers["eps_build_info{program=eps,version=0.1.0}"] == 1
    own = "eps_certificate_expiry_timestamp_seconds{setting=channels[1].settings.tls.certificate_file}"
    assert numbers[own] > time.time() + 86_400
    assert not [name for name in await metrics(machine, 2117) if name.startswith("eps_stream_up")]  # it holds none
    living = await metrics(machine, 2115)
    assert living["eps_tunnels_open{}"] >= 1 and living["eps_tunnels_limit{}"] == 8192
    assert living["eps_tunnel_bytes_total{from=caller}"] > 0
    await machine.stop("hd-1")
    async with asyncio.timeout(30):
        while (numbers := await metrics(machine, 2115))["eps_tunnels_open{}"]:
            await asyncio.sleep(0.05)
    ended = [value for name, value in numbers.items() if name.startswith("eps_tunnels_total{")]
    assert sum(ended) >= living["eps_tunnels_open{}"]
    assert numbers["eps_tunnel_bytes_total{from=caller}"] >= living["eps_tunnel_bytes_total{from=caller}"]
    assert numbers["eps_tunnel_bytes_total{from=callee}"] > 0
    assert {"eps_links{link=stream}", "eps_tunnels_open{}"} & (await metrics(machine, 2114)).keys() == set()
