"""What is told of methods, to whom, and how often an application is asked."""

import asyncio
from typing import Any

import pytest

from eps.broker import discovery
from eps.broker.discovery import Discovery
from eps.core.entries import Directory
from eps.core.message import Error, Request, Response
from eps.core.names import Operator
from eps.errors import BadParams, NotPermitted, TooLarge, UnknownOperator, Unreachable
from support.fakes import network_directory

HD_1, HD_2 = Operator("hd-1"), Operator("hd-2")
DOCUMENT = {"methods": [{"name": "lookup", "description": "Where.", "params": []}, {"name": "inner", "params": []}]}
HEALTH, OTHERS = {"group": "health-departments", "rights": ["call"]}, {"group": "others", "rights": ["call"]}
SERVICES = [{"name": "s", "permissions": [], "methods": [
    {"name": "lookup", "permissions": [HEALTH]}, {"name": "secret", "permissions": [OTHERS]}]}]  # fmt: skip


class Asked:
    """What is asked of others, and what they answer."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.requests: list[Request] = []

    async def __call__(self, request: Request, seconds: float) -> Response:
        self.requests.append(request)
        await asyncio.sleep(0)
        answer = self.answers.get(request.address.target.replace("-", "_").replace(".", "_"))
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Error):
            return Response(str(request.address), error=answer)
        return Response(str(request.address), answer)


@pytest.fixture
def directory() -> Directory:
    return network_directory(services={"hd-1": SERVICES, "hd-2": SERVICES})


async def names(made: Discovery, directory: Directory, sender: str, **params: Any) -> list[tuple[str, str, str]]:
    entry = directory.entry(Operator(sender))
    assert entry is not None
    answer = await made.describe(params, entry, directory, 60.0)
    return [(one["operator"], one["name"], one["described_by"]) for one in answer["methods"]]


async def test_a_caller_is_told_what_it_may_call(directory: Directory) -> None:
    asked = Asked(hd_1_rpc_discover=DOCUMENT)
    made = Discovery(HD_1, asked)
    assert await names(made, directory, "hd-2") == [("hd-1", "lookup", "application")]
    own = await names(made, directory, "hd-1")
    assert [name for _, name, _ in own] == ["lookup", "secret", "inner"], "our applications may call all of ours"
    assert len(asked.requests) == 1, "it is kept"


async def test_many_who_ask_at_once_cause_one_question(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(hd_1_rpc_discover=Error(-32601, "no such method"))
    made = Discovery(HD_1, asked)
    answers = await asyncio.gather(*(names(made, directory, "hd-2") for _ in range(20)))
    assert answers == [[("hd-1", "lookup", "directory")]] * 20
    assert len(asked.requests) == 1
    monkeypatch.setattr(discovery, "KEPT_SECONDS", 0.0)
    asked.answers = {"hd_1_rpc_discover": DOCUMENT}
    assert await names(made, directory, "hd-2") == [("hd-1", "lookup", "application")]


async def test_who_asks_and_goes_away_causes_no_further_question(directory: Directory) -> None:
    asked = Asked(hd_1_rpc_discover=DOCUMENT)
    made = Discovery(HD_1, asked)
    for _ in range(5):
        asking = asyncio.create_task(names(made, directory, "hd-2"))
        while not asked.requests:
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
    assert await names(made, directory, "hd-2") == [("hd-1", "lookup", "application")]
    assert len(asked.requests) == 1


async def test_who_has_little_time_is_told_by_the_directory(directory: Directory) -> None:
    may_answer = asyncio.Event()

    async def slow(request: Request, seconds: float) -> Response:
        given.append(seconds)
        await may_answer.wait()
        return Response(str(request.address), DOCUMENT)

    given: list[float] = []
    made, hd_2 = Discovery(HD_1, slow), directory.entry(HD_2)
    assert hd_2 is not None
    answer = await made.describe({}, hd_2, directory, 0.05)
    assert [one["described_by"] for one in answer["methods"]] == ["directory"]
    may_answer.set()
    assert await names(made, directory, "hd-2") == [("hd-1", "lookup", "application")]
    hd_1 = directory.entry(HD_1)
    assert hd_1 is not None
    await made.describe({"operator": "hd-2"}, hd_1, directory, 1.0)
    assert given[-1] <= 1.0 and len(given) == 2


async def test_an_application_that_is_not_there_is_described_by_the_directory(directory: Directory) -> None:
    made = Discovery(HD_1, Asked(hd_1_rpc_discover=Unreachable("it is down")))
    assert await names(made, directory, "hd-2") == [("hd-1", "lookup", "directory")]


async def test_another_operator_is_asked(directory: Directory) -> None:
    told = {"name": "lookup", "description": "Where.", "described_by": "application"}
    asked = Asked(hd_2__describe={"methods": [told]})
    made = Discovery(HD_1, asked)
    assert await names(made, directory, "hd-1", operator="hd-2") == [("hd-2", "lookup", "application")]
    for answer in (Error(403, "no"), Unreachable("gone"), {"methods": "odd"}):
        asked.answers = {"hd_2__describe": answer}
        assert await names(made, directory, "hd-1", operator="hd-2") == [("hd-2", "lookup", "directory")]


async def test_all_are_told_by_the_directory_alone(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked()
    made = Discovery(HD_1, asked)
    found = await names(made, directory, "hd-1", operator="*")
    assert ("hd-2", "lookup", "directory") in found and not any(operator == "hd-1" for operator, _, _ in found)
    assert not any(name == "secret" for _, name, _ in found) and not asked.requests
    monkeypatch.setattr(discovery, "SLICE", 1)
    assert await names(made, directory, "hd-1", operator="*") == found
    monkeypatch.setattr(discovery, "MAX_LISTED", 0)
    with pytest.raises(TooLarge, match="name an operator"):
        await names(made, directory, "hd-1", operator="*")


async def test_who_may_not(directory: Directory) -> None:
    made = Discovery(HD_1, Asked())
    hd_1, hd_2, proxy = (directory.entry(Operator(name)) for name in ("hd-1", "hd-2", "public-proxy-1.ga"))
    assert hd_1 and hd_2 and proxy
    made.check(hd_2, hd_1)
    with pytest.raises(NotPermitted, match="may call no method of hd-1"):
        made.check(proxy, hd_1)
    for sender, operator in (("hd-2", "*"), ("hd-2", "public-proxy-1.ga"), ("hd-1", 7)):
        with pytest.raises(BadParams):
            await names(made, directory, sender, operator=operator)
    with pytest.raises(UnknownOperator, match="hd-22") as caught:
        await names(made, directory, "hd-1", operator="hd-22")
    assert "did you mean hd-2?" in caught.value.hint
