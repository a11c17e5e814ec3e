"""A service: what hints make of params and results, what its callers are answered, and how it is served."""

import asyncio
import json
import logging
import threading
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Optional

import pytest
from pydantic import BaseModel, Field

from eps.client import AsyncClient, BadCall, OutcomeUnknown, ServiceError
from eps.core.jsonrpc_text import Call
from eps.core.message import Error, Response
from eps.service import Caller, Refused, Service

CLIENT = {"_client": {"name": "hd-1", "entry": {"name": "hd-1", "groups": ["health-departments"], "channels": []}}}


@dataclass
class Place:
    address: str
    since: date | None = None


class Count(BaseModel):
    count: int


def made() -> Service:
    """A service with one method of each kind."""
    service = Service("locations", version="1.2")
    places: dict[str, Place] = {}

    @service.method
    def add(name: str, place: Place, caller: Caller) -> Count:
        """Remember where something is."""
        assert "health-departments" in caller.groups and caller.entry["channels"] == []
        places[f"{caller.name}:{name}"] = place
        return Count(count=len(places))

    @service.method
    async def lookup(name: Annotated[str, Field(min_length=2)], who: Caller, json: bool = False) -> Place | None:
        await asyncio.sleep(0)
        if name == "secret":
            raise Refused(403, "not for you", {"name": name})
        return places.get(f"{who.name}:{name}")

    @service.method(name="_fails")
    def fails() -> int:
        raise KeyError("what a patient is called")

    @service.method
    def odd():  # type: ignore[no-untyped-def]
        return {"a": {1, 2}, "when": date(2026, 1, 2)}

    return service


async def answer(service: Service, method: str, **params: Any) -> Response:
    return await service.answer(Call(method, {**params, **CLIENT}, "1"))


async def error(service: Service, method: str, **params: Any) -> Error:
    found = (await answer(service, method, **params)).error
    assert found is not None
    return found


async def test_functions_are_methods() -> None:
    service = made()
    added = await answer(service, "add", name="office", place={"address": "1 Main Street", "since": "2026-01-02"})
    assert added == Response("1", {"count": 1})
    found = await answer(service, "lookup", name="office", json=True)
    assert found.result == {"address": "1 Main Street", "since": "2026-01-02"}
    assert (await answer(service, "lookup", name="other")).result is None
    assert (await answer(service, "odd")).result in ({"a": [1, 2], "when": "2026-01-02"},)
    assert service.methods == ("add", "lookup", "_fails", "odd")


async def test_params_that_dont_fit_say_where_and_show_nothing() -> None:
    found = await error(made(), "add", name=7, place={"since": "secret"}, more=1)
    assert found.code == -32602 and "secret" not in str(found)
    assert set(found.data["flaws"]) == {"name", "place.address", "place.since", "more"}
    found = await error(made(), "lookup", name="x")
    assert "at least 2" in found.data["flaws"]["name"]


async def test_who_calls_is_never_a_param() -> None:
    """Whatever hint says Caller, and be it among others: it is who calls, or nothing can be offered."""
    service = Service("x")

    @service.method
    def maybe(caller: Caller | None = None) -> str:
        return caller.name if caller is not None else "nobody"

    @service.method
    def marked(who: Annotated[Caller, "proven"], other: Optional[Caller] = None) -> list[str]:  # noqa: UP045
        return [who.name, other.name if other is not None else "nobody"]

    forged = {"name": "hd-9", "groups": ["sd-admin"], "entry": {}}
    assert (await answer(service, "maybe")).result == "hd-1"
    assert (await error(service, "maybe", caller=forged)).code == -32602
    assert (await answer(service, "marked")).result == ["hd-1", "hd-1"]

    def listed(callers: list[Caller]) -> None: ...
    def either(caller: Caller | str) -> None: ...
    def inside(order: Order) -> None: ...
    def returned() -> Caller: ...

    for function in (listed, either, inside, returned):
        with pytest.raises(TypeError, match="Caller is no param"):
            service.method(function)


@dataclass
class Order:
    by: Caller


class Strict(BaseModel):
    model_config = {"strict": True}
    day: date


async def test_strict_models_are_read_as_json() -> None:
    service = Service("x")

    @service.method
    def day(order: Strict) -> date:
        return order.day

    assert (await answer(service, "day", order={"day": "2026-01-02"})).result == "2026-01-02"


@pytest.mark.parametrize("kind", [StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_whatever_ends_a_function_is_a_defect(kind: type[BaseException]) -> None:
    service = Service("x")

    @service.method
    def ends() -> None:
        raise kind

    @service.method
    async def leaves() -> None:
        raise SystemExit(3)

    async with asyncio.timeout(60):
        assert (await error(service, "ends")).code == -32603
        assert (await error(service, "leaves")).code == -32603


async def test_what_the_network_said_of_another_call_is_not_said_of_this_one() -> None:
    told = {"stage": "call", "side": "peer", "outcome": "not_sent", "reason": "busy", "hint": "", "told_by": "hd-2"}
    assert Refused(409, "busy", told).data == {"cause": told}


async def test_who_is_not_named_is_refused_where_it_matters() -> None:
    service = made()
    for client in ({}, {"_client": {}}, {"_client": {"name": 3}}, {"_client": "hd-1"}):
        response = await service.answer(Call("lookup", {"name": "office", **client}, "1"))
        assert response.error is not None and "_client" in response.error.message
    assert (await service.answer(Call("odd", {}, "1"))).error is None


async def test_what_goes_wrong(caplog: pytest.LogCaptureFixture) -> None:
    service = made()
    refused = await error(service, "lookup", name="secret")
    assert (refused.code, refused.message, refused.data) == (403, "not for you", {"name": "secret"})
    unknown = await error(service, "look\nup")
    assert unknown.code == -32601 and unknown.data["methods"] == ["add", "lookup", "_fails", "odd"]
    with caplog.at_level(logging.INFO, "eps.service"):
        failed = await error(service, "_fails")
    assert (failed.code, failed.message, failed.data) == (-32603, "an error inside the service locations", {})
    assert "_fails failed" in caplog.text and "_fails for hd-1: error -32603" in caplog.text


async def test_a_result_that_is_no_json_is_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    service = Service("x")

    @service.method
    def wrong() -> Any:
        return object()

    assert (await error(service, "wrong")).code == -32603


def test_codes_of_the_network_are_not_a_services() -> None:
    for code in (1, 500, -100, -32602):
        with pytest.raises(ValueError, match="network's own"):
            Refused(code, "text")
    assert str(Refused(404, "no such place")) == "no such place (code 404)"


def test_what_cant_be_offered() -> None:
    service = Service("x")

    def untyped(name):  # type: ignore[no-untyped-def]
        """Without a hint."""

    def many(*names: str) -> None:
        """Any number."""

    for function, words in ((untyped, "name has no type hint"), (many, "can't be a key of params")):
        with pytest.raises(TypeError, match=words):
            service.method(function)
    service.method(name="one")(lambda: None)
    for name in ("one", "a.b", "a(b", "a b", "x" * 101, "a\nb"):
        with pytest.raises(ValueError):
            service.method(name=name)(lambda: None)


def test_what_it_offers_is_described() -> None:
    service = made()
    add = service.schema()["add"]
    assert add["description"] == "Remember where something is."
    assert add["params"]["required"] == ["name", "place"] and add["params"]["additionalProperties"] is False
    assert set(add["params"]["properties"]) == {"name", "place"}
    assert add["result"]["properties"]["count"]["type"] == "integer"


async def test_it_describes_itself_by_openrpc() -> None:
    told = (await answer(made(), "rpc.discover")).result
    assert told["info"] == {"title": "locations", "version": "1.2"} and told["openrpc"]
    by_name = {one["name"]: one for one in told["methods"]}
    assert [(one["name"], one["required"]) for one in by_name["lookup"]["params"]] == [("name", True), ("json", False)]
    assert "Place" in by_name["add"]["params"][1]["schema"]["$defs"]
    json.dumps(told)


# --- served ---


async def test_by_itself_and_called_by_a_client() -> None:
    service = made()
    async with service.serving() as port, AsyncClient(f"http://localhost:{port}") as client:
        given = {"name": "of", "place": Place("1 Main Street", date(2026, 1, 2)), **CLIENT}
        assert await client.call("add", given, into=Count) == Count(count=1)
        with pytest.raises(ServiceError) as refused:
            await client.call("lookup", {"name": "secret", **CLIENT})
        assert (refused.value.code, refused.value.data) == (403, {"name": "secret"})
        with pytest.raises(BadCall) as bad:
            await client.call("lookup", {"nam": "x", **CLIENT})
        assert bad.value.executed == "no"
        with pytest.raises(BadCall):
            await client.call("nothing", CLIENT)
        with pytest.raises(OutcomeUnknown):
            await client.call("_fails")


async def test_functions_that_block_run_side_by_side() -> None:
    service = Service("x")
    barrier = threading.Barrier(8, timeout=60)

    @service.method
    def meet() -> int:
        return barrier.wait()

    answers = await asyncio.gather(*(answer(service, "meet") for _ in range(8)))
    assert sorted(one.result for one in answers) == list(range(8))


async def test_its_end_waits_for_running_calls() -> None:
    service = Service("x")
    begun, may_end = asyncio.Event(), asyncio.Event()

    @service.method
    async def slow() -> str:
        begun.set()
        await may_end.wait()
        return "done"

    async with AsyncClient("http://localhost:1") as unused:
        assert unused  # nothing is opened before the first call
    async with asyncio.timeout(60):
        running = service.serving(grace=60.0)
        port = await running.__aenter__()
        client = AsyncClient(f"http://localhost:{port}")
        call = asyncio.create_task(client.call("slow"))
        await begun.wait()
        ending = asyncio.create_task(running.__aexit__(None, None, None))
        await asyncio.sleep(0)
        may_end.set()
        assert await call == "done"
        await ending
        await client.close()


class Asgi:
    """An ASGI server, as far as one request needs it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def post(self, body: bytes, *, method: str = "POST", path: str = "/jsonrpc", parts: int = 3) -> Any:
        """Status and body of the answer; None if there is none."""
        size = max(len(body) // parts, 1)
        pieces = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
        events = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        events.append({"type": "http.request"})
        return await self.play({"type": "http", "method": method, "path": path,
                                "headers": [(b"Content-Type", b"application/json; x=y")]}, events)  # fmt: skip

    async def play(self, scope: dict[str, Any], events: list[dict[str, Any]]) -> Any:
        sent: list[Any] = []

        async def receive() -> Any:
            return events.pop(0)

        async def send(event: Any) -> None:
            sent.append(event)

        await self._service(scope, receive, send)
        if not sent or scope["type"] != "http":
            return [event["type"] for event in sent] or None
        assert dict(sent[0]["headers"])[b"content-length"] == str(len(sent[1]["body"])).encode()
        return sent[0]["status"], json.loads(sent[1]["body"])


async def test_as_an_asgi_application() -> None:
    asgi = Asgi(made())
    call = {"jsonrpc": "2.0", "id": "ls-1.lookup(7)", "method": "lookup", "params": {"name": "office", **CLIENT}}
    assert await asgi.post(json.dumps(call).encode()) == (200, {"jsonrpc": "2.0", "result": None, "id": call["id"]})
    status, told = await asgi.post(json.dumps({**call, "method": "x"}).encode())
    assert status == 400 and told["error"]["code"] == -32601 and told["id"] == call["id"]
    assert (await asgi.post(b"no json"))[1]["error"]["code"] == -32700
    assert (await asgi.post(b"{}", method="PUT"))[1]["error"]["code"] == -32700
    assert (await asgi.post(b"x" * 5_000_000))[1]["error"]["code"] == 400
    assert (await asgi.post(b"{}", path="/"))[0] == 404
    assert await asgi.play({"type": "http", "path": "/jsonrpc"}, [{"type": "http.disconnect"}]) is None
    words = ["lifespan.startup", "lifespan.shutdown"]
    told = await asgi.play({"type": "lifespan"}, [{"type": word} for word in words])
    assert told == [f"{word}.complete" for word in words]
    with pytest.raises(NotImplementedError):
        await asgi.play({"type": "websocket"}, [])
