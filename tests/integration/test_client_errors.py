"""Every error of the client by its real fault in the real network, told alike by both clients."""

import asyncio
import threading
from typing import Any

import pytest

from eps.client import AsyncClient, CallError, Client, Endpoint, NotPermitted, OutcomeUnknown, Policy, Unreachable
from support.application import channels_of, offer, write_channels
from support.clients import FACTS, Facts, facts
from support.machine import Machine
from support.scripted import Line, Scripted

ONCE = Policy(attempts=1)


class Service:
    """Behind hd-2: does what its params say.

    Attributes:
        may_answer: what hangs answers when it is set.
        hanging: how many calls hang.
    """

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.hanging = threading.Semaphore(0)

    def __call__(self, line: Line) -> None:
        while True:
            call = line.request()
            match call["params"].get("do"):
                case "refuse":
                    line.answer(call, error={"code": 404, "message": "no such place", "data": {"name": "office"}})
                case "crash":
                    return
                case "overflow":
                    line.answer(call, {"number": 2**60})
                case "hang":
                    self.hanging.release()
                    self.may_answer.wait(60)
                    line.answer(call, "late")
                case _:
                    line.answer(call, call["params"]["_client"]["name"])


def endpoint(machine: Machine, certificate: str = "demo-app", operator: str = "hd-1") -> Endpoint:
    files = machine.application_files(certificate) if certificate else None
    return Endpoint(
        f"https://localhost:{machine.ports.of[5555]}",
        operator=operator,
        certificate_file=files.certificate_file if files else "",
        key_file=files.key_file if files else "",
        ca_certificate_files=(str(machine.dev / "certs" / "root.crt"),),
    )


Told = tuple[CallError, CallError]


async def told(given: Endpoint, *call: Any, **options: Any) -> Told:
    """What each of the clients raises, side by side."""

    async def awaited() -> CallError:
        async with AsyncClient(given, policy=ONCE) as client:
            with pytest.raises(CallError) as caught:
                await client.call(*call, **options)
        return caught.value

    def blocking() -> CallError:
        with Client(given, policy=ONCE) as client, pytest.raises(CallError) as caught:
            client.call(*call, **options)
        return caught.value

    return await asyncio.gather(awaited(), asyncio.to_thread(blocking))


@pytest.mark.timeout(300)
async def test_every_error_by_its_fault(machine: Machine) -> None:
    service = Service()
    with Scripted(service) as application:
        offer(machine, method="do")
        channels = channels_of(machine.dev / "roles" / "hd-2")
        settings = {"endpoint": application.url, "max_concurrent": 1}
        channels.append({"name": "service", "type": "jsonrpc_client", "settings": settings})
        write_channels(machine.dev / "roles" / "hd-2", channels)
        await machine.ready()
        await machine.until_ping(60)
        app = endpoint(machine)

        async def expect(wanted: Facts, *call: Any, at: Endpoint = app, **options: Any) -> tuple[CallError, CallError]:
            errors = await told(at, *call, **options)
            assert [facts(error) for error in errors] == [wanted, wanted], [str(error) for error in errors]
            assert all(len(error.trace_id) == 32 and error.method == call[0] for error in errors)
            return errors

        async with AsyncClient(app) as client:
            assert await client.call("hd-2.do") == "hd-1"
            assert (await client.operator("hd-2")._ping())["serverInfo"]["name"] == "hd-2"
        with Client.from_settings(machine.dev / "roles" / "hd-1") as own:
            assert await asyncio.to_thread(own.call, "hd-2.do") == "hd-1"

        refused = "public-proxy-1.ga.getAnnouncements"
        (error, _) = await expect(FACTS["no right"], refused)
        assert error.told_by == "public-proxy-1.ga" and error.code == 403 and error.hint
        await expect(FACTS["no such method"], "hd-2.lookup")
        not_allowed = (NotPermitted, "no", "no-permission", "permission", "ours")
        await expect(not_allowed, "hd-2.do", at=endpoint(machine, "hd-2"))
        await expect(FACTS["no such operator"], "hd-9.do")
        await expect(FACTS["no address"], "do")
        await expect(FACTS["params that can't travel"], "hd-2.do", {"number": 2**60})
        (error, _) = await expect(FACTS["the service refuses"], "hd-2.do", {"do": "refuse"})
        assert (error.code, error.message, error.data) == (404, "no such place", {"name": "office"})
        await expect(FACTS["a result that can't travel"], "hd-2.do", {"do": "overflow"})
        await expect(FACTS["the service breaks off"], "hd-2.do", {"do": "crash"})

        with Client(app) as waiting:
            await asyncio.to_thread(waiting.call, "hd-2.do")
            ran = len(application.requests)
            with pytest.raises(OutcomeUnknown) as caught:
                await asyncio.to_thread(waiting.call, "hd-2.do", {"do": "hang"}, timeout=1.0)
            assert facts(caught.value)[:2] == (OutcomeUnknown, "unknown"), "whoever of them all was the first to say it"
            assert caught.value.reason in ("no-answer", "application-silent") and caught.value.stage == "call"
            assert len(application.requests) == ran + 1, "not sent again"
            assert await asyncio.to_thread(service.hanging.acquire, timeout=60)
            hanging = asyncio.create_task(asyncio.to_thread(waiting.call, "hd-2.do", {"do": "hang"}, timeout=120))
            assert await asyncio.to_thread(service.hanging.acquire, timeout=60)
            (error, _) = await expect(FACTS["the service is busy"], "hd-2.do")
            assert error.retry_after is not None and len(application.requests) == ran + 2
            service.may_answer.set()
            assert await hanging == "late"

    await expect(FACTS["the service is down"], "hd-2.do")
    await expect((Unreachable, "no", "tls-failed", "tls", "ours"), "hd-2.do", at=endpoint(machine, operator="hd-2"))
    for error in await told(endpoint(machine, ""), "hd-2.do"):
        assert error.executed == "no" and error.reason in ("certificate-refused", "not-sent")
    await machine.stop("hd-1")
    await expect(FACTS["our server is down"], "hd-2.do")
