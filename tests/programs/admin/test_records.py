"""``eps sd …`` without its command line, against the real service without a network."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

import eps.programs.admin.records as module
from eps.core import record_text
from eps.core.chain import Chain
from eps.core.instant import instant_of
from eps.core.jsonrpc_text import Call
from eps.core.message import Error, Response
from eps.core.names import Object, Operator
from eps.datastores.memory import MemoryDatastore
from eps.directory.service import ServiceDirectory
from eps.errors import EpsError, OutcomeUnknown, RecordError, SettingsError, TlsFailed, Unreachable
from eps.programs.admin import directory_calls
from eps.programs.admin.directory_calls import DirectoryCalls
from eps.programs.admin.plan import Plan, plan_of, read_files
from eps.programs.admin.records import Submitted, get_entries, sign_file, submit_plan, submit_records, verify_file
from eps.programs.admin.set_back import OwnServer
from support.promptness import A_THOUSAND_RECORDS
from support.record_tools import (
    ADMIN,
    NOW,
    STRANGER,
    Clock,
    as_json,
    chain_of,
    group_record,
    sign_chain,
    signer,
    trust,
    without_canonical,
)


class Sd:
    """A service directory that can be told to misbehave: ``before[method]`` runs before the next call of it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.service = ServiceDirectory(MemoryDatastore(), trust(), self.clock, lambda event: None)
        self.before: dict[str, list[Callable[[], Any]]] = {}
        self.calls: list[str] = []

    async def call(self, method: str, params: Object) -> Response:
        self.calls.append(method)
        for action in [self.before[method].pop(0)] if self.before.get(method) else []:
            answer = action()
            if answer is not None:
                return await answer if not isinstance(answer, Response) else answer
        params = orjson.loads(orjson.dumps(params))
        response = await self.service.handle(Call(method, params, "1"))
        return Response("1", orjson.loads(orjson.dumps(response.result)), response.error)

    async def store(self, records: list[Any]) -> Response:
        values = [record.to_json() for record in records]
        return await self.service.handle(Call("submitRecords", {"records": values}, "1"))

    async def submit(self, *files: Path, reset: bool = False, wait: float = 0.0, **more: Any) -> Submitted:
        options: dict[str, Any] = {"signer": ADMIN, "now": self.clock} | more
        return await submit_records(files, reset=reset, calls=DirectoryCalls(self.call, wait=wait), **options)


@pytest.fixture
def sd(monkeypatch: pytest.MonkeyPatch) -> Sd:
    monkeypatch.setattr(directory_calls, "RETRY_SECONDS", 0.001)
    return Sd()


def file_of(path: Path, *records: Any) -> Path:
    path.write_text(json.dumps({"records": list(records)}))
    return path


def fails(error: EpsError) -> Callable[[], Any]:
    def action() -> None:
        raise error

    return action


DOWN = Unreachable("https://sd-1: connection refused", hint="does it run?")


async def test_several_files_are_one_batch(sd: Sd, tmp_path: Path) -> None:
    one = file_of(tmp_path / "1.json", group_record("a", "x"), group_record("a", "x"))
    two = file_of(tmp_path / "2.json", group_record("b", "y"))
    done = await sd.submit(one, two, reset=True)
    assert done == Submitted(3, sd.service.chain.tip)
    assert [record.record.name for record in sd.service.chain.records] == ["a", "a", "b"]
    assert [record.record.created_at for record in sd.service.chain.records] == [
        "2026-11-22T12:00:00Z",
        "2026-11-22T12:00:00.000001Z",
        "2026-11-22T12:00:00.000002Z",
    ]
    assert sd.calls.count("submitRecords") == 1


async def test_records_are_chained_to_the_tip(sd: Sd, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file_of(tmp_path / "folder" / "2.json", group_record("b"))
    file_of(tmp_path / "folder" / "1.json", group_record("a"))
    await sd.submit(tmp_path / "folder")
    sd.clock.time += timedelta(seconds=1)
    await sd.submit(file_of(tmp_path / "3.json", group_record("c")))
    assert list(sd.service.chain.directory.entries) == ["a", "b", "c"]


async def test_reset_replaces_the_chain(sd: Sd, tmp_path: Path) -> None:
    await sd.submit(file_of(tmp_path / "1.json", group_record("a")), reset=True)
    sd.clock.time += timedelta(seconds=1)
    await sd.submit(file_of(tmp_path / "2.json", group_record("b")), reset=True)
    assert list(sd.service.chain.directory.entries) == ["b"]


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        (
            [group_record("a"), {"name": "b", "section": "services", "data": [{}]}],
            r"records\[1\]\.data\[0\]\.name: must",
        ),
        ([], "no records to submit"),
    ],
)
async def test_files_are_checked_before_anything_is_sent(
    sd: Sd, tmp_path: Path, records: list[Any], complaint: str
) -> None:
    file = file_of(tmp_path / "f.json", *records)
    with pytest.raises(SettingsError, match=complaint) as caught:
        await sd.submit(file, reset=True)
    assert caught.value.message.startswith(str(file))
    assert sd.calls == []
    with pytest.raises(SettingsError, match="no file"):
        await sd.submit()


async def test_what_is_not_exact_is_not_signed(sd: Sd, tmp_path: Path) -> None:
    good, bad = group_record("a", "g"), group_record("b", "g", " h")
    with pytest.raises(SettingsError) as caught:
        await sd.submit(file_of(tmp_path / "1.json", good, bad))
    assert caught.value.message.startswith(f"{tmp_path}/1.json: records[1].data[1]: must be 1 to 200 printable")
    with pytest.raises(SettingsError, match=r"1\.json: records\[0\]\.name: must be an operator's name"):
        await sd.submit(file_of(tmp_path / "1.json", group_record("", "g")))
    items = [{"service": "a", "settings": {}}, {"service": "b", "settings": {}}]
    odd = group_record("b") | {"section": "settings", "data": [{"service": "s", "settings": {"list": items}}]}
    with pytest.raises(SettingsError, match=r"1\.json: records\[0\]: what was signed says something else"):
        await sd.submit(file_of(tmp_path / "1.json", odd))
    assert sd.calls == []


async def test_all_mistakes_are_told_at_once(sd: Sd, tmp_path: Path) -> None:
    pin = {"fingerprint": "AB:" * 31 + "AB", "key_usage": "tls"}
    odd = group_record("b") | {"section": "certificates", "data": [pin]}
    with pytest.raises(SettingsError) as caught:
        await sd.submit(file_of(tmp_path / "1.json", group_record("a", " g"), odd))
    first, *lines = caught.value.message.splitlines()
    assert first == "3 mistakes in the records:"
    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == [
        "records[0].data[0]",
        "records[1].data[0].fingerprint",
        "records[1].data[0].key_usage",
    ]
    assert lines[1].endswith(f"(write {'ab' * 32})")
    with pytest.raises(SettingsError) as caught:
        await sd.submit(file_of(tmp_path / "1.json", *(group_record(f"op-{i}", "") for i in range(50))))
    assert len(caught.value.message.splitlines()) == 22
    assert caught.value.message.endswith("\n  and 30 more")
    assert sd.calls == []


async def planned(sd: Sd, file: Path, own: OwnServer, *, reset: bool = False) -> Plan:
    calls = DirectoryCalls(sd.call)
    return await plan_of(read_files([file]), reset=reset, calls=calls, now=sd.clock(), own=own)


async def test_what_would_change_is_known_before(sd: Sd, tmp_path: Path) -> None:
    await sd.store(chain_of(2))
    service = {"name": "s", "permissions": [{"group": "h", "rights": ["call"]}], "methods": [{"name": "m"}]}
    more = group_record("op-a") | {"section": "services", "data": [service]}
    file = file_of(tmp_path / "1.json", group_record("op-0", "g", "new"), more)
    for verified in (None, Chain.empty(trust()), Chain.empty(trust()).extend(chain_of(1), NOW)):
        plan = await planned(sd, file, OwnServer(verified, trust=trust()))
        assert [line for change in plan.changes for line in change.lines] == ["+ new", "+ s: m, callable by h"]
        assert plan.doubts == [
            f"{file}: records[0].data[1]: no service lets the group 'new' call it",
            f"{file}: records[1].data[0].permissions[0].group: nobody is in the group 'h'",
            f"{file}: records[1]: the name 'op-a' is new, and one letter from 'op-0'",
        ]
    whole = await planned(sd, file, OwnServer(trust=trust()), reset=True)
    assert [change.operator for change in whole.changes] == ["op-0", "op-a", "op-1"]
    assert "submitRecords" not in sd.calls
    nothing = await planned(sd, file, OwnServer())
    assert nothing.doubts == [], "of what isn't known, nothing is said"


async def test_a_directory_that_does_not_verify_is_no_reason_to_stop(sd: Sd, tmp_path: Path) -> None:
    await sd.store(chain_of(2))
    file = file_of(tmp_path / "1.json", group_record("op-0", "g"))
    plan = await planned(sd, file, OwnServer(trust=trust(STRANGER)))
    assert plan.doubts[0].startswith("what is in the directory now can't be told, since it doesn't verify: record 0 ")
    assert len(plan.doubts) == 1


async def test_what_somebody_else_has_changed_since_is_not_replaced(sd: Sd, tmp_path: Path) -> None:
    await sd.store(chain_of(2))
    file = file_of(tmp_path / "1.json", group_record("op-0", "mine"))
    own = OwnServer(trust=trust())
    plan = await planned(sd, file, own)

    async def submit() -> Submitted:
        tell = sd.calls.append
        return await submit_plan(plan, signer=ADMIN, calls=DirectoryCalls(sd.call), now=sd.clock, tell=tell, own=own)

    sd.clock.time += timedelta(seconds=1)
    await sd.store(sign_chain([group_record("op-1", "other", at=sd.clock())], sd.service.chain.tip))
    assert (await submit()).count == 1
    plan = await planned(sd, file_of(tmp_path / "1.json", group_record("op-0", "again")), own)
    sd.clock.time += timedelta(seconds=1)
    await sd.store(sign_chain([group_record("op-0", "theirs", at=sd.clock())], sd.service.chain.tip))
    with pytest.raises(RecordError, match=r"somebody else has changed the same meanwhile \(op-0: groups\)"):
        await submit()
    assert sd.service.chain.directory.entries[Operator("op-0")].groups == ("theirs",)


async def test_what_servers_in_use_cannot_read_is_not_signed_for_them(sd: Sd, tmp_path: Path) -> None:
    services = [{"name": "s", "permissions": [{"group": "g", "rights": ["call", "call"]}]}]
    file = file_of(tmp_path / "1.json", group_record("b") | {"section": "services", "data": services})
    with pytest.raises(
        SettingsError, match=r"records\[0\]\.data\[0\]\.permissions\[0\]\.rights: names a right"
    ) as caught:
        await sd.submit(file)
    assert caught.value.message.startswith(f"{tmp_path}/1.json: records[0].data[0].permissions[0].rights: ")
    assert "foreign_peers: false" in caught.value.hint
    assert sd.calls == ["getRules"]
    sd.service = ServiceDirectory(MemoryDatastore(), trust(), sd.clock, lambda event: None, foreign_peers=False)
    assert (await sd.submit(file)).count == 1
    sd.before["getRules"] = [lambda: Response("1", error=Error(-32601, "unknown method"))]
    with pytest.raises(SettingsError, match="names a right twice"):
        await sd.submit(file)


async def test_what_could_be_read_in_another_way_is_said(sd: Sd, tmp_path: Path) -> None:
    told: list[str] = []
    odd = group_record("b") | {"section": "settings", "data": [{"settings": {"p": {"a": "1"}, "q": "z"}}]}
    await sd.submit(file_of(tmp_path / "1.json", odd), tell=told.append)
    assert len(told) == 1
    assert told[0].startswith(f"{tmp_path}/1.json: records[0].data[0].settings: could be read in another way")
    assert told[0].endswith("except to servers that require canonical signatures")


async def test_both_signatures_are_made_and_kept(sd: Sd, tmp_path: Path) -> None:
    told: list[str] = []
    await sd.submit(
        file_of(tmp_path / "1.json", group_record("b")), tell=told.append, own=OwnServer(demanded=instant_of(NOW))
    )
    (stored,) = sd.service.chain.records
    assert stored.signature.canonical is not None
    shown = (await sd.call("getRecords", {"after": ""})).result
    assert shown == as_json([stored])
    assert told == []


async def test_a_service_directory_that_drops_canonical_signatures_is_told_of(sd: Sd, tmp_path: Path) -> None:
    told: list[str] = []

    async def dropping(method: str, params: Object) -> Response:
        if method == "getRules":
            return Response("1", error=Error(-32601, "unknown method"))
        if method == "submitRecords":
            params = orjson.loads(orjson.dumps(params))
            for record in params["records"]:
                del record["signature"]["canonical"]
        return await sd.call(method, params)

    file = file_of(tmp_path / "1.json", group_record("b"))
    options: dict[str, Any] = {"reset": False, "signer": ADMIN, "now": sd.clock, "tell": told.append}
    with pytest.raises(RecordError, match="does not keep canonical signatures, which require_canonical_sig") as caught:
        await submit_records([file], calls=DirectoryCalls(dropping), own=OwnServer(demanded=instant_of(NOW)), **options)
    assert caught.value.hint.startswith("nothing was signed")
    assert (sd.calls, told) == ([], [])
    await submit_records([file], calls=DirectoryCalls(dropping), **options)
    assert len(told) == 1
    assert told[0].startswith("the service directory has dropped the canonical signatures of these records: ")
    assert without_canonical(sd.service.chain.records) == list(sd.service.chain.records)


async def test_nothing_is_said_of_what_cannot_be_seen(sd: Sd, tmp_path: Path) -> None:
    """Somebody else has submitted meanwhile, or the service directory is gone: the batch is stored all the same."""
    told: list[str] = []
    sd.before = {"getTip": [lambda: None, fails(DOWN)]}
    done = await sd.submit(file_of(tmp_path / "1.json", group_record("b")), tell=told.append)
    assert (done.tip, told) == (sd.service.chain.tip, [])


async def test_a_refusal_names_file_and_record(sd: Sd, tmp_path: Path) -> None:
    one = file_of(tmp_path / "1.json", group_record("a"))
    two = file_of(tmp_path / "2.json", group_record("b"))
    with pytest.raises(RecordError) as caught:
        await sd.submit(one, two, reset=True, signer=signer("eve", authority=STRANGER))
    assert caught.value.message.startswith(f"{one}: records[0]: ")
    assert "known root" in caught.value.message
    assert caught.value.hint
    assert caught.value.code == -32603
    assert sd.service.chain.tip == ""


async def test_it_waits_for_the_service_directory(sd: Sd, tmp_path: Path) -> None:
    file = file_of(tmp_path / "1.json", group_record("a"))
    sd.before = {"getTip": [fails(DOWN)] * 5, "submitRecords": [fails(DOWN)]}
    assert (await sd.submit(file, reset=True, wait=30)).count == 1
    sd.before = {"getTip": [fails(DOWN)]}
    with pytest.raises(Unreachable, match="connection refused"):
        await sd.submit(file)
    sd.before = {"getTip": [fails(TlsFailed("certificate expired"))] * 2}
    with pytest.raises(TlsFailed):
        await sd.submit(file, wait=30)


async def test_somebody_else_submitted_in_between(sd: Sd, tmp_path: Path) -> None:
    await sd.store(chain_of(1))

    def other(name: str) -> Callable[[], Any]:
        async def call() -> Response:
            await sd.store(sign_chain([group_record(name)], sd.service.chain.tip))
            return Response("1", error=Error(-32603, "stale", {"reason": "stale"}))

        return call

    sd.before = {"submitRecords": [other("x"), other("y")]}
    done = await sd.submit(file_of(tmp_path / "1.json", group_record("a")))
    assert list(sd.service.chain.directory.entries) == ["op-0", "x", "y", "a"]
    assert done.tip == sd.service.chain.tip


async def test_a_real_race_is_seen_as_stale(sd: Sd, tmp_path: Path) -> None:
    await sd.store(chain_of(1))
    old_tip = sd.service.chain.records[-1].to_json()
    await sd.store(sign_chain([group_record("x")], sd.service.chain.tip))
    sd.before = {"getTip": [lambda: Response("1", old_tip)]}
    await sd.submit(file_of(tmp_path / "1.json", group_record("a")))
    assert sd.calls == [*["getTip", "submitRecords"] * 2, "getTip"]


@pytest.mark.parametrize("data", [{"reason": "stale"}, {}, "text"])
async def test_in_the_end_it_gives_up(sd: Sd, tmp_path: Path, data: Any) -> None:
    refusal = Response("1", error=Error(-32603, "it is stale", data))
    sd.before = {"submitRecords": [lambda: refusal] * 10}
    with pytest.raises(RecordError, match="error -32603: it is stale"):
        await sd.submit(file_of(tmp_path / "1.json", group_record("a")))
    tries = module.STALE_ATTEMPTS if data == {"reason": "stale"} else 1
    assert sd.calls.count("submitRecords") == tries


async def test_an_answer_that_got_lost(sd: Sd, tmp_path: Path) -> None:
    unknown = OutcomeUnknown("https://sd-1: no answer", hint="…")

    def lost() -> Any:
        async def call() -> Response:
            await Sd.call(sd, "submitRecords", sent)
            raise unknown

        return call()

    real, sent = sd.call, {}

    async def call(method: str, params: Object) -> Response:
        sent.update(params)
        return await real(method, params)

    sd.before = {"submitRecords": [lost, lambda: None]}
    file = file_of(tmp_path / "1.json", group_record("a"))
    done = await submit_records([file], reset=True, signer=ADMIN, calls=DirectoryCalls(call), now=sd.clock)
    assert done.tip == sd.service.chain.tip
    sd.clock.time += timedelta(seconds=1)
    sd.before = {"submitRecords": [fails(unknown)]}
    with pytest.raises(OutcomeUnknown, match="not stored up to now"):
        await sd.submit(file)


async def test_another_service_directory_is_asked_what_became_of_a_lost_answer(sd: Sd, tmp_path: Path) -> None:
    """The other one on the same store has not seen the batch yet, and looks if asked for what it doesn't know."""
    has_seen, is_lost = False, False
    old = chain_of(1)

    async def first(method: str, params: Object) -> Response:
        nonlocal is_lost
        if is_lost:
            raise Unreachable("it is down")
        answer = await sd.call(method, params)
        if method == "submitRecords":
            is_lost = True
            raise OutcomeUnknown("the connection broke off")
        return answer

    async def second(method: str, params: Object) -> Response:
        nonlocal has_seen
        answer = await sd.call(method, params)
        has_seen = has_seen or (method == "getRecords" and params["after"] not in ("", old[-1].hash))
        return answer if has_seen else Response("1", [])

    await sd.store(old)
    file = file_of(tmp_path / "1.json", group_record("a"))
    calls = DirectoryCalls(first, second)
    done = await submit_records([file], reset=False, signer=ADMIN, calls=calls, now=sd.clock)
    assert done.tip == sd.service.chain.tip and sd.calls.count("submitRecords") == 1


async def test_entries(sd: Sd) -> None:
    async def names(name: str | None = None) -> list[str]:
        return [entry["name"] for entry in await get_entries(DirectoryCalls(sd.call), trust(), NOW, name)]

    assert await names() == []
    chain = chain_of(2)
    await sd.store(chain)
    assert await names() == ["op-0", "op-1"]
    assert await names("op-1") == ["op-1"]
    assert await names("nobody") == []
    assert set(sd.calls) == {"getRecords"}, "what the records come to is found out here"
    forged = [*as_json(chain), *as_json(sign_chain([group_record("eve", "g")], chain[-1].hash, signer("eve", ())))]
    answers = [None, "<html>", [{}], forged]
    sd.before = {"getRecords": [lambda: Response("1", error=Error(-32603, "a defect"))]}
    with pytest.raises(EpsError, match="a defect"):
        await names("op-1")
    sd.before = {"getRecords": [lambda: Response("1", answers.pop(0))] * 4}
    assert await names() == []
    for complaint in ("not a list", r"records\[0\]", "record 2 .eve, groups, .* is refused: .*sd-admin"):
        with pytest.raises(EpsError, match=complaint):
            await names()


def test_sign_and_verify(tmp_path: Path) -> None:
    plain, signed = tmp_path / "plain.json", tmp_path / "signed.json"
    plain.write_text('{"a": [1, {"b": null}]}')
    signed.write_text(json.dumps(sign_file(plain, ADMIN)))
    verify_file(signed, "admin", trust(), NOW)
    with pytest.raises(RecordError, match=r"signed\.json: .*no DNS name 'hd-2'"):
        verify_file(signed, "hd-2", trust(), NOW)
    with pytest.raises(RecordError, match="known root"):
        verify_file(signed, "admin", trust(STRANGER), NOW)
    signed.write_text(signed.read_text().replace("null", "true"))
    with pytest.raises(RecordError, match="signature"):
        verify_file(signed, "admin", trust(), NOW)
    with pytest.raises(SettingsError, match=r"plain\.json: "):
        verify_file(plain, "admin", trust(), NOW)


def test_numbers_of_all_kinds_can_be_signed(tmp_path: Path) -> None:
    text = '{"a":[-0,1000000000000000000,1e-7,0.10],"b":' + '{"k":' * 300 + "1" + "}" * 301
    (tmp_path / "data.json").write_text(text)
    signed = record_text.dumps(sign_file(tmp_path / "data.json", ADMIN))
    assert text.encode() in signed
    (tmp_path / "signed.json").write_bytes(signed)
    verify_file(tmp_path / "signed.json", "admin", trust(), NOW)
    (tmp_path / "signed.json").write_bytes(signed.replace(b"[-0,", b"[0,"))
    with pytest.raises(RecordError, match="not one that admin made"):
        verify_file(tmp_path / "signed.json", "admin", trust(), NOW)


def test_only_objects_are_signed(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text("[1]")
    with pytest.raises(SettingsError, match="only a JSON object"):
        sign_file(file, ADMIN)
    file.write_text('{"a": 1e999}')
    with pytest.raises(SettingsError, match=r"list\.json: "):
        sign_file(file, ADMIN)


async def test_a_thousand_records_and_the_next(sd: Sd, tmp_path: Path) -> None:
    first = file_of(tmp_path / "1.json", *(group_record(f"a-{i}", "g") for i in range(1000)))
    second = file_of(tmp_path / "2.json", *(group_record(f"b-{i}", "g") for i in range(1000)))
    for file, reset in ((first, True), (second, False)):
        async with asyncio.timeout(A_THOUSAND_RECORDS):
            await sd.submit(file, reset=reset)
        sd.clock.time += timedelta(seconds=1)
    assert len(sd.service.chain.records) == 2000


async def test_submit_records_signs_nothing_onto_a_directory_that_was_set_back(sd: Sd, tmp_path: Path) -> None:
    file, records = file_of(tmp_path / "1.json", group_record("a")), chain_of(4)
    verified = Chain.empty(trust()).extend(records[:3], NOW)
    sd.clock.time += timedelta(seconds=1)

    async def submit(*, reset: bool = False) -> int:
        return (await sd.submit(file, reset=reset, own=OwnServer(verified))).count

    with pytest.raises(RecordError, match="the service directory is empty"):
        await submit()
    await sd.store(records[:2])
    with pytest.raises(RecordError, match="was set back"):
        await submit()
    await sd.store(chain_of(1, parent=records[1].hash, name="fork"))
    with pytest.raises(RecordError, match="another history"):
        await submit()
    assert "submitRecords" not in sd.calls
    assert await submit(reset=True) == 1, "beginning anew is how it ends"
    sd.service = ServiceDirectory(MemoryDatastore(), trust(), sd.clock, lambda event: None)
    await sd.store(records)
    assert await submit() == 1
