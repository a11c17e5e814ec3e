"""The network in one process: the same client and service code as in the real one, and the same errors."""

import asyncio
from typing import Any

import pytest

from eps.client import (
    AsyncClient,
    BadCall,
    Busy,
    CallError,
    Client,
    MethodDescription,
    OutcomeUnknown,
    Policy,
    ServiceError,
    UnknownOperator,
    Unreachable,
)
from eps.service import Caller, Refused, Service
from eps.testing import CallSeen, Network
from eps.testing.faults import FAULTS
from support.clients import FACTS, facts

pytest_plugins = ["eps.testing.fixtures"]

ONCE = Policy(attempts=1)


def made() -> Service:
    service = Service("things")

    @service.method
    def who(caller: Caller) -> dict[str, Any]:
        return {"name": caller.name, "groups": sorted(caller.groups), "entry": caller.entry["name"]}

    @service.method
    def number(value: int) -> int:
        if value < 0:
            raise Refused(404, "no such number", {"value": value})
        return value

    return service


@pytest.fixture
def network(eps_network: Network) -> Network:
    eps_network.operator("hd-1", groups=["health-departments"])
    eps_network.operator("hd-2", made(), callers=["health-departments"])
    return eps_network


def failing(network: Network, *call: Any, caller: str = "hd-1") -> CallError:
    """What the client raises; the asynchronous one raises the same."""
    endpoint = network.endpoint(caller)

    async def later() -> CallError:
        async with AsyncClient(endpoint, policy=ONCE) as client:
            with pytest.raises(CallError) as caught:
                await client.call(*call)
        return caught.value

    with Client(endpoint, policy=ONCE) as client, pytest.raises(CallError) as caught:
        client.call(*call)
    assert facts(asyncio.run(later())) == facts(caught.value)
    return caught.value


def test_calls_are_answered(network: Network) -> None:
    client = network.client("hd-1")
    assert client.call("hd-2.who") == {"name": "hd-1", "groups": ["health-departments"], "entry": "hd-1"}
    assert client.operator("hd-2").number(value=3) == 3
    assert client.call("hd-2._ping", {"a": 1})["serverInfo"]["name"] == "hd-2"
    assert network.client("hd-2").call("hd-2.who")["name"] == "hd-2", "its own applications may, too"
    assert network.calls[:2] == [CallSeen("hd-1", "hd-2", "who", {}), CallSeen("hd-1", "hd-2", "number", {"value": 3})]


def test_a_service_is_changed(network: Network) -> None:
    """It is said anew what an operator offers, and who may call that."""
    client = network.client("hd-1", policy=ONCE)
    network.operator("hd-2", made(), callers=["others"])
    assert facts(failing(network, "hd-2.who")) == FACTS["no right"]
    network.operator("hd-2")
    assert facts(failing(network, "hd-2.who")) == FACTS["no such method"]
    network.operator("hd-2", made())
    assert client.call("hd-2.who")["name"] == "hd-1"


FAILING: list[tuple[str, tuple[Any, ...], str]] = [
    ("no such method", ("hd-2.lookup",), ""),
    ("no such operator", ("hd-9.do",), ""),
    ("no address", ("do",), ""),
    ("params that can't travel", ("hd-2.number", {"value": 2**60}), ""),
    ("the service refuses", ("hd-2.number", {"value": -1}), ""),
    ("a result that can't travel", ("hd-2.number", {"value": "1152921504606846976"}), ""),
    ("the service breaks off", ("hd-2.who",), "application-broke-off"),
    ("the service is busy", ("hd-2.who",), "busy"),
    ("the service is down", ("hd-2.who",), "application-down"),
]


@pytest.mark.parametrize(("what", "call", "fault"), FAILING, ids=[what for what, _, _ in FAILING])
def test_errors_are_the_real_networks(network: Network, what: str, call: tuple[Any, ...], fault: str) -> None:
    """The same table is compared with the real one in ``integration/test_client_errors.py``."""
    if fault:
        network.fails("hd-2", fault)
    error = failing(network, *call)
    assert facts(error) == FACTS[what]
    assert len(error.trace_id) == 32 and error.method == call[0]
    if isinstance(error, Busy):
        assert error.retry_after == 1.0
    if isinstance(error, ServiceError):
        assert (error.code, error.message, error.data) == (404, "no such number", {"value": -1})


def test_who_has_no_right(network: Network) -> None:
    error = failing(network, "hd-2.who", caller="stranger")
    assert facts(error) == FACTS["no right"] and error.told_by == "hd-2" and error.hint


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_each_fault_is_told_and_ends(network: Network, fault: str) -> None:
    network.fails("hd-2", fault)
    ran = len(network.calls)
    error = failing(network, "hd-2.who")
    assert error.reason == fault and error.side in ("peer", "proxy")
    assert len(network.calls) - ran == (2 if FAULTS[fault].ran else 0), "each client has called once"
    assert (error.executed == "no") is not FAULTS[fault].ran
    network.works("hd-2")
    assert network.client("hd-1").call("hd-2.who")["name"] == "hd-1"


def test_delays(network: Network) -> None:
    client = network.client("hd-1", policy=ONCE)
    client.call("hd-2.who")
    network.delays("hd-2", 1.5)
    with pytest.raises(OutcomeUnknown) as caught:
        client.call("hd-2.who", timeout=1.0)
    assert caught.value.reason == "no-answer"
    assert client.call("hd-2.who")["name"] == "hd-1"


def test_repetitions_can_be_tried_out(network: Network) -> None:
    """What is busy becomes free between two attempts."""
    network.fails("hd-2", "unreachable")
    attempts: list[int] = []

    with Client(network.endpoint("hd-1"), policy=Policy(pause=0.01)) as client:
        client._on_call = lambda report: attempts.append(report.attempts)
        with pytest.raises(Unreachable):
            client.call("hd-2.who")
    assert attempts == [3]


async def test_an_asynchronous_client(network: Network) -> None:
    async with network.async_client("hd-1") as client:
        assert [await client.call("hd-2.number", {"value": n}) for n in range(3)] == [0, 1, 2]
        with pytest.raises(BadCall):
            await client.call("hd-2.number", {"value": "x"})


def test_a_fault_that_is_none(network: Network) -> None:
    with pytest.raises(ValueError, match=r"there are: .*unreachable"):
        network.fails("hd-2", "tired")


def test_its_end_is_the_end() -> None:
    with Network() as network:
        client = network.client("hd-1", policy=ONCE)
        assert client.call("hd-1._ping")["serverInfo"]["name"] == "hd-1"
        endpoint = network.endpoint("hd-1")
    network.close()
    with Client(endpoint, policy=ONCE) as late, pytest.raises(Unreachable) as caught:
        late.call("hd-1._ping")
    assert facts(caught.value) == FACTS["our server is down"]


def test_what_may_be_called(network: Network) -> None:
    """The service describes itself to its caller's client, who sees what it may call, and nothing else."""
    network.operator("hd-3")
    client = network.client("hd-1", policy=ONCE)
    number = next(one for one in client.methods("hd-2") if one.name == "number")
    assert number.params == {
        "type": "object",
        "properties": {"value": {"title": "Value", "type": "integer"}},
        "required": ["value"],
    }
    assert (number.operator, number.service, number.described_by) == ("hd-2", "things", "application")
    assert number.result == {"type": "integer"} and not network.calls, "to be asked is no call"
    assert {one.operator for one in client.methods()} >= {"hd-2"}
    assert [one.name for one in network.client("hd-2").methods("hd-2") if one.described_by == "application"] == [
        "who",
        "number",
    ]

    async def later() -> list[MethodDescription]:
        async with network.async_client("hd-1") as client:
            return await client.methods("hd-2")

    assert asyncio.run(later()) == client.methods("hd-2")
    assert {one.name for one in network.client("hd-3").methods("hd-2")} == {"_ping", "_directory"}
    with pytest.raises(UnknownOperator, match="hd-22"):
        client.methods("hd-22")
