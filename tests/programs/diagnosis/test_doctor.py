"""From facts about an EPS server to what is said of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from eps.core.entries import Directory
from eps.core.message import Error
from eps.core.names import Fingerprint, Operator
from eps.errors import NotSent, Side, Unreachable
from eps.programs.admin import commands as admin
from eps.programs.admin.check import certificate_findings
from eps.programs.diagnosis.doctor import Facts, gather, judge
from eps.programs.diagnosis.finding import Failure, Finding, Mark, exit_code
from eps.programs.diagnosis.lately import Seen
from eps.programs.diagnosis.local import Local, judge_certificates, judge_modes, judge_settings, look
from eps.programs.diagnosis.own_server import Asked, judge_loop, judge_streams
from eps.programs.diagnosis.paper import Paper
from eps.programs.diagnosis.ping import Pinged
from eps.programs.diagnosis.probes import Reached, Target
from eps.programs.diagnosis.report import report
from eps.programs.diagnosis.service_directory import Answered, Followed
from eps.programs.diagnosis.way import MAX_RELAYS, Stage, Taken, proxies_of_interest, relays_of
from eps.settings import EpsSettings
from support.fakes import network_directory, removed_from
from support.machine import Machine

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
URL = "https://localhost:3322/jsonrpc"
PROXY = "public-proxy-1.ga"


@pytest.fixture
def settings(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> EpsSettings:
    monkeypatch.chdir(machine.folder)
    return admin.own_settings(machine.environment("hd-1"), machine.folder)


@pytest.fixture
def local(machine: Machine, settings: EpsSettings) -> Local:
    return look("eps", machine.environment("hd-1"), machine.folder, datetime.now(UTC))


def pins_of(local: Local) -> dict[str, list[str]]:
    return {"hd-1": [shown.subject.fingerprint for shown in local.certificates]}


def pinned(local: Local) -> Directory:
    return network_directory(pins=pins_of(local))


def tcp(address: str, who: str, failure: Failure | None = None, ahead: float | None = None) -> Reached:
    return Reached(Target(address, who), (("DNS", 0.0001), ("TCP", 0.0023)), failure, ahead)


def fine(settings: EpsSettings, local: Local) -> Facts:
    """All is well."""
    status = {"version": "1", "pid": 7, "seconds": 90, "name": "hd-1", "listening": ["gRPC :1"], "streams": {PROXY: {}}}
    return Facts(
        settings,
        local,
        Asked(status),
        reached=(tcp("localhost:3322", "the service directory", ahead=0.4),),
        followed=Followed((Answered(URL, "ab"),), pinned(local), 30, fresh=True, age=120.0),
        proxies=((tcp("localhost:5556", PROXY), Taken(PROXY, ())),),
        relays=(tcp("localhost:9999", PROXY),),
        peer="hd-2",
        taken=Taken("hd-2", (Stage("asked the proxy", 0.012), Stage("TLS", 0.004)), "1.2"),
        served=Pinged("hd-2", "", 1, "1.2", (0.005,)),
    )


def wrong(facts: Facts, at: datetime | None = None) -> list[Finding]:
    return [finding for finding in judge(facts, at or datetime.now(UTC)) if finding.mark is Mark.WRONG]


def test_whose_the_port_is(settings: EpsSettings, local: Local) -> None:
    facts = replace(fine(settings, local), asked=Asked(owner="nginx (process 12)"), port=GONE)
    assert [one.what.partition(" is taken by ")[2] for one in wrong(facts)] == ["", "nginx (process 12)"]


def test_a_full_disk(local: Local) -> None:
    (finding,) = [one for one in judge_modes(replace(local, room=("/var", 4096))) if one.mark is Mark.WRONG]
    assert (finding.what, finding.reason) == ("the disk of /var is full", "disk-full")
    assert judge_modes(replace(local, room=None)) == judge_modes(local)


def test_all_is_well(settings: EpsSettings, local: Local) -> None:
    found = judge(fine(settings, local), datetime.now(UTC))
    assert [finding for finding in found if finding.mark is not Mark.WELL] == []
    assert exit_code(found) == 0
    assert list(dict.fromkeys(finding.group for finding in found)) == [
        "settings",
        "key modes",
        "clock",
        "certificates",
        "running server",
        "service directory",
        "our pin",
        "proxies",
        "relay port",
        "streams",
        "the way to hd-2",
    ]


GONE = Failure.of(Unreachable("hd-1 at localhost:1: connection refused; is the server running?", hint="check"))
NO_STREAM = Failure("hd-2 holds no stream", "start it", "peer", "broker", "peer-off")
REFUSED = {"why": "connection refused", "fix": "check the address", "reason": "unreachable"}
SILENT = Failure("localhost:9999: no answer within 5 s; does a firewall stand in between?", "check", "peer")


@pytest.mark.parametrize(
    ("change", "group", "side", "says"),
    [
        ({"asked": Asked(), "port": GONE}, "running server", "ours", "no server runs with this state folder"),
        ({"asked": Asked(failure=SILENT)}, "running server", "peer", "does not tell how it is"),
        ({"port": replace(GONE, text="odd")}, "running server", "ours", "does not answer as our server"),
        ({"application": tcp("localhost:1", "our application", GONE)}, "running server", "ours", "not reached"),
        ({"reached": (tcp("sd:1", "the service directory", ahead=9e7),)}, "clock", "ours", "1041 days ahead of"),
        ({"reached": (tcp("sd:1", "the service directory", ahead=-86_400.0),)}, "clock", "ours", "24 hours behind"),
        ({"proxies": ((tcp("p:1", PROXY), Taken(PROXY, (), failure=GONE)),)}, "proxies", "proxy", "is not reached"),
        ({"relays": (tcp("r:1", PROXY, SILENT),)}, "relay port", "ours", "is not reached"),
        ({"relays": (tcp("r:1", PROXY, GONE),)}, "relay port", "proxy", "is not reached"),
        ({"taken": Taken("hd-2", (), failure=NO_STREAM)}, "the way to hd-2", "peer", "apart from our server"),
    ],
    ids=["down", "hangs", "port", "application", "ahead", "behind", "proxy", "silent", "refused", "peer"],
)
def test_one_thing_is_wrong(
    change: dict[str, Any], group: str, side: str, says: str, settings: EpsSettings, local: Local
) -> None:
    (finding,) = [one for one in wrong(replace(fine(settings, local), **change)) if one.group != "streams"]
    assert (finding.group, finding.side) == (group, side)
    assert says in finding.what
    assert finding.fix


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"answers": (Answered(URL, failure=GONE),), "fresh": False}, f"{URL} does not answer us"),
        ({"doubt": Failure("set back", "", "directory")}, "not believed"),
        ({"copy_failure": GONE, "fresh": False}, "our server has no verified copy"),
    ],
    ids=["down", "set back", "no copy"],
)
def test_the_service_directory(change: dict[str, Any], says: str, settings: EpsSettings, local: Local) -> None:
    facts = fine(settings, local)
    (finding,) = wrong(replace(facts, followed=replace(facts.followed, **change)))
    assert finding.group == "service directory"
    assert says in finding.what


def test_a_service_directory_that_hangs(settings: EpsSettings, local: Local) -> None:
    """Its kernel takes connections: no firewall stands in between."""
    facts = fine(settings, local)
    silent = Answered(URL, failure=Failure("no answer within 6 s", "check", "directory", reason="silent"))
    (one,) = wrong(replace(facts, followed=replace(facts.followed, answers=(silent,), fresh=False)))
    assert (one.side, one.reason) == ("directory", "silent")
    assert "though it takes connections" in one.why and "it hangs" in one.fix
    unreached = replace(facts, reached=(Reached(Target("sd:1", "the service directory"), ()),))
    (one,) = wrong(replace(unreached, followed=replace(facts.followed, answers=(silent,), fresh=False)))
    assert one.fix == "check"


def test_an_old_directory(settings: EpsSettings, local: Local) -> None:
    facts = fine(settings, local)
    old = replace(facts, followed=replace(facts.followed, age=9e5, fresh=False))
    assert wrong(old) == []
    assert [one.what for one in judge(old, datetime.now(UTC)) if one.mark is Mark.DOUBTFUL] == [
        "our server's copy was confirmed 10 days ago, or later"
    ]
    assert settings.directory.type == "api"
    strict = settings.directory.settings.model_copy(update={"when_too_old": "refuse"})
    changed = settings.model_copy(update={"directory": settings.directory.model_copy(update={"settings": strict})})
    assert [one.reason for one in wrong(replace(old, settings=changed))] == ["directory-too-old"]
    never = replace(old.followed, age=None)
    assert any("never confirmed" in one.what for one in judge(replace(old, followed=never), NOW))


def test_our_pin(settings: EpsSettings, local: Local) -> None:
    facts = fine(settings, local)

    def pins(*given: tuple[str, str]) -> list[Finding]:
        data = [{"fingerprint": fingerprint, "key_usage": usage} for fingerprint, usage in given]
        record = {"name": "hd-1", "section": "certificates", "data": data}
        directory = network_directory(records=[record])
        return wrong(replace(facts, followed=replace(facts.followed, directory=directory)))

    tls, signing = (shown.subject.fingerprint for shown in local.certificates)
    assert pins((tls, "encryption"), (signing, "signing")) == []
    other = Fingerprint("0" * 64)
    (finding,) = pins((other, "encryption"))
    assert finding.reason == "own-pin"
    assert tls in finding.why
    (finding,) = pins((tls, "encryption"), (other, "signing"))
    assert "may sign" in finding.what
    nobody = replace(facts, followed=replace(facts.followed, directory=network_directory(without="hd-1")), peer="")
    assert [one.reason for one in wrong(nobody) if one.group == "our pin"] == ["own-entry"]


def test_who_was_removed(settings: EpsSettings, local: Local) -> None:
    """That, and not what follows: pins, rights and ways that are no more."""
    facts = fine(settings, local)
    gone = replace(facts.followed, directory=removed_from(pinned(local), "hd-2"))
    none = replace(facts, followed=gone, taken=None, served=None)
    assert [(one.what, one.side) for one in wrong(none)] == [
        ("hd-2 was removed from the directory: nobody can call it", "peer")
    ]
    ours = replace(facts, followed=replace(gone, directory=removed_from(pinned(local), "hd-1")), peer="")
    assert [(one.reason, one.group) for one in wrong(ours)] == [("own-entry", "our pin")]


def test_an_empty_directory(settings: EpsSettings, local: Local) -> None:
    """Begin with it: whoever is in it, and what it pins, is asked for in vain."""
    nobody = Followed((Answered(URL),), Directory.empty(), 0, fresh=True, copy_failure=GONE)
    facts = replace(fine(settings, local), followed=nobody, proxies=(), relays=(), taken=None, served=None)
    found = judge(facts, datetime.now(UTC))
    (one,) = [one for one in found if one.mark is Mark.WRONG]
    assert (one.group, one.side, one.reason) == ("service directory", "directory", "no-directory")
    assert [one.group for one in found if one.mark is Mark.UNKNOWN] == [
        "our pin",
        "proxies",
        "relay port",
        "streams",
        "the way to hd-2",
    ], "whom we need is not known"


def test_no_directory_at_all(settings: EpsSettings, local: Local) -> None:
    facts = replace(fine(settings, local), followed=Followed(()), reached=(), proxies=(), relays=())
    found = judge(facts, datetime.now(UTC))
    unknown = [one.group for one in found if one.mark is Mark.UNKNOWN]
    assert unknown == ["clock", "our pin", "proxies", "relay port", "streams", "the way to hd-2"]


@pytest.mark.parametrize(
    ("told", "mark", "side", "reason"),
    [
        ({"streams": {PROXY: REFUSED | {"side": "peer"}}}, Mark.WRONG, "proxy", "proxy-unreachable"),
        ({"streams": {PROXY: REFUSED | {"side": "ours", "fix": ""}}}, Mark.WRONG, "ours", "proxy-unreachable"),
        ({"streams": {PROXY: {"why": "it is being opened", "side": ""}}}, Mark.UNKNOWN, "", ""),
        ({"streams": {}}, Mark.WRONG, "ours", ""),
        ({"streams": {PROXY: "of long ago"}}, Mark.UNKNOWN, "", ""),
        ({"pid": 0}, Mark.UNKNOWN, "", ""),
        ({}, Mark.UNKNOWN, "", ""),
    ],
    ids=["failing", "ours", "soon", "none", "old", "older", "down"],
)
def test_streams(told: dict[str, Any], mark: Mark, side: str, reason: str, settings: EpsSettings, local: Local) -> None:
    found = judge(replace(fine(settings, local), asked=Asked(told)), datetime.now(UTC))
    (one,) = [one for one in found if one.group == "streams"]
    assert (one.mark, one.side, one.reason) == (mark, side, reason)
    assert one.fix if mark is Mark.WRONG else not one.side


def test_a_stream_to_whom_nobody_else_comes_through() -> None:
    """An operator that calls us itself is no proxy."""
    (one,) = judge_streams(Asked({"pid": 7, "streams": {"hd-2": REFUSED | {"side": "peer"}}}), [Operator("hd-2")])
    assert (one.side, one.what) == ("peer", "none to hd-2: it can't call us")


def test_nobody_needs_a_stream(settings: EpsSettings, local: Local) -> None:
    alone = settings.model_copy(update={"channels": ()})
    found = judge(replace(fine(settings, local), settings=alone, proxies=(), relays=()), datetime.now(UTC))
    said = {one.group: one.what for one in found if one.group in ("streams", "proxies", "relay port")}
    assert said == {"streams": "nobody needs one of us", "proxies": "none is needed", "relay port": "none is needed"}


def ended(error: Error) -> Pinged:
    return Pinged("hd-2", "", 1, "", (), error)


def test_our_server_and_the_peer(settings: EpsSettings, local: Local) -> None:
    facts = fine(settings, local)
    told = Error(500, "no", {"told_by": "hd-1", "side": "peer", "stage": "broker", "hint": "h", "reason": "peer-off"})
    (finding,) = wrong(replace(facts, served=ended(told)))
    assert (finding.side, finding.reason, finding.fix) == ("peer", "peer-off", "h")
    held = replace(facts, served=ended(Error(500, "slow", NotSent("slow", side=Side.OURS).data())))
    assert [one.what for one in judge(held, datetime.now(UTC)) if one.mark is Mark.UNKNOWN] == [
        "our running server has not answered for hd-2 in time"
    ]
    none = judge(replace(facts, served=None, taken=None), datetime.now(UTC))
    assert [one.mark for one in none if one.group == "the way to hd-2"] == [Mark.WELL, Mark.WELL, Mark.UNKNOWN]


def test_what_our_server_meets_as_well_is_said_once(settings: EpsSettings, local: Local) -> None:
    told = Error(500, "no", {"told_by": "hd-1", "side": "peer", "stage": "broker", "hint": "h", "reason": "peer-off"})
    facts = replace(fine(settings, local), taken=Taken("hd-2", (), failure=NO_STREAM), served=ended(told))
    assert [one.why for one in wrong(facts)] == ["hd-2 holds no stream", "for the same reason"]


def test_a_directory_that_may_not_be_the_newest_pins_too_little(settings: EpsSettings, local: Local) -> None:
    pin = Failure("hd-2 is not who answers there", "submit", "peer", "tls", "peer-pin")
    facts = replace(fine(settings, local), taken=Taken("hd-2", (), failure=pin))
    assert [(one.side, one.reason) for one in wrong(facts)] == [("peer", "peer-pin")]
    (finding,) = wrong(replace(facts, followed=replace(facts.followed, fresh=False)))
    assert (finding.side, finding.reason) == ("ours", "directory-stale")
    assert "our link to the service directory" in finding.fix


def test_an_http_proxy_before_a_relay_is_ours(settings: EpsSettings, local: Local) -> None:
    failure = Failure("the HTTP proxy h:1: connection refused", "check proxy_url", "ours", "call", "http-proxy-down")
    (finding,) = wrong(replace(fine(settings, local), relays=(tcp("r:1", PROXY, failure),)))
    assert (finding.side, finding.fix, finding.reason) == ("ours", "check proxy_url", "http-proxy-down")


def test_which_methods_are_for_others(settings: EpsSettings, local: Local) -> None:
    facts = fine(settings, local)
    given = {"_ping": "health-departments", "secret": "laboratories", "_connectionRequest": "proxy-providers"}
    services = [
        {
            "name": f"of {method}",
            "permissions": [{"group": group, "rights": ["call"]}],
            "methods": [{"name": method, "permissions": []}],
        }
        for method, group in given.items()
    ]
    offered = network_directory(services={"hd-2": services})
    found = judge(replace(facts, followed=replace(facts.followed, directory=offered)), datetime.now(UTC))
    (may,) = [one for one in found if one.what.startswith("hd-1 may call ")]
    assert may.why == "not secret (for laboratories): eps explain hd-1 hd-2 METHOD says why"


def test_a_proxy_that_is_not_there(settings: EpsSettings, local: Local) -> None:
    typo = [{"type": "grpc_server", "settings": {"address": "hd:1", "proxy": "public-proxy-1.gq"}}]
    facts = replace(fine(settings, local), proxies=(), taken=None)

    def found(**channels: Any) -> list[tuple[str, str, str]]:
        directory = network_directory(pins=pins_of(local), **channels)
        known = replace(facts, followed=replace(facts.followed, directory=directory))
        assert not [one for one in proxies_of_interest(directory, "hd-1", "hd-2") if one.endswith(".gq")]
        return [(one.group, one.side, one.fix.partition("did they mean ")[2]) for one in wrong(known)]

    assert found(hd_2=typo) == [("the way to hd-2", "directory", f"{PROXY}?")]
    assert found(hd_1=typo)[0] == ("proxies", "ours", f"{PROXY}?")


def test_what_to_do_is_what_the_error_says_or_the_word() -> None:
    assert Failure("cut off", reason="proxy-unreachable").fix().startswith("the proxy's administrators: start its EPS")
    assert Failure("cut off", hint="do this", reason="proxy-unreachable").fix() == "do this"
    assert Failure("cut off", reason="their-word").fix() == ""


def test_another_server_with_our_state_folder(settings: EpsSettings, local: Local) -> None:
    facts = fine(settings, local)
    other = replace(facts, asked=Asked({**facts.asked.told, "name": "hd-2"}))
    (finding,) = wrong(other)
    assert finding.what == "hd-2 runs with this state folder, and not hd-1"
    assert "state_path of its own" in finding.fix


def test_who_answers_in_place_of_the_service_directory(settings: EpsSettings, local: Local) -> None:
    facts = fine(settings, local)
    failure = Failure(
        "its certificate does not carry the name that we dialled", "check", "directory", "tls", "tls-failed"
    )
    reached = (replace(facts.reached[0], shown="hd-2, *.hd-2.local"),)
    answers = replace(facts.followed, answers=(Answered(URL, failure=failure),))
    (finding,) = wrong(replace(facts, reached=reached, followed=answers))
    assert "; what answers there shows a certificate of hd-2, *.hd-2.local (" in finding.why
    assert finding.side == "ours" and "directory.settings.endpoints" in finding.fix


@pytest.mark.parametrize(
    ("endpoint", "bound", "loops"),
    [
        ("https://localhost:5555/jsonrpc", "localhost:5555", True),
        ("http://127.0.0.1:5555/", ":5555", True),
        ("http://app:5555/", "app:5555", True),
        ("http://app:5555/", "localhost:5555", False),
        ("http://localhost:5556/", "localhost:5555", False),
        ("", "localhost:5555", False),
        ("http://localhost:5555/", "", False),
    ],
    ids=["itself", "all addresses", "by name", "elsewhere", "another port", "nothing behind", "no port"],
)
def test_calls_that_come_back(endpoint: str, bound: str, loops: bool) -> None:
    found = judge_loop(endpoint, bound, "our application")
    assert [(one.side, one.reason) for one in found] == [("ours", "settings")] * loops


def test_http_in_the_place_of_https(settings: EpsSettings, local: Local) -> None:
    facts = fine(settings, local)
    failure = Failure("was sent the call; the connection broke off", "it may have", "directory", "call", "broke-off")
    for url, side in ((URL, "directory"), (URL.replace("https", "http"), "ours")):
        (finding,) = wrong(replace(facts, followed=replace(facts.followed, answers=(Answered(url, failure=failure),))))
        assert (finding.side, "https" in finding.fix) == (side, side == "ours")


def test_a_certificate_of_somebody_else_is_not_to_be_pinned(settings: EpsSettings, local: Local) -> None:
    as_hd_2 = settings.model_copy(update={"name": "hd-2"})
    found = judge(replace(fine(settings, local), settings=as_hd_2, peer=""), datetime.now(UTC))
    (finding,) = [one for one in found if one.reason == "own-pin" and "hd-1.crt" in one.what]
    assert finding.fix.startswith("it is a certificate of hd-1") and "submit" not in finding.fix


def test_what_was_seen_comes_last(settings: EpsSettings, local: Local) -> None:
    seen = Seen("application-answer", "ours", "incoming call failed", "HTML", "", "", 1, 2.0)
    found = judge(replace(fine(settings, local), lately=(seen,)), datetime.now(UTC))
    assert (found[-1].mark, found[-1].reason) == (Mark.DOUBTFUL, "application-answer")
    assert exit_code(found) == 0


def test_ways_on_paper(settings: EpsSettings, local: Local) -> None:
    facts = replace(fine(settings, local), taken=None)
    nowhere = network_directory(hd_2=[], services={"hd-2": []})
    found = wrong(replace(facts, followed=replace(facts.followed, directory=nowhere)))
    ours = [one for one in found if one.group == "the way to hd-2"]
    assert [one.reason for one in ours] == ["no-way", "no-permission"]
    assert [one.side for one in ours] == ["directory", "peer"]


def test_settings_that_cannot_be_used(machine: Machine) -> None:
    (machine.dev / "roles" / "hd-1" / "003_more.yml").write_text("channels: 3\n")
    local = look("eps", machine.environment("hd-1"), machine.folder, NOW)
    assert local.settings is None
    found = judge_settings(local)
    assert {one.mark for one in found} == {Mark.WRONG}
    assert "003_more.yml: channels" in found[0].what


def test_files_of_ours(machine: Machine, settings: EpsSettings) -> None:
    key, folder = machine.dev / "certs" / "hd-1.key", Path(settings.state_path)
    key.chmod(0o644)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    local = look("eps", machine.environment("hd-1"), machine.folder, datetime.now(UTC))
    doubtful = [one for one in judge_modes(local) if one.mark is Mark.DOUBTFUL]
    assert [one.reason for one in doubtful] == ["key-readable", "key-readable"]
    assert "mode 0644" in doubtful[0].what
    assert folder.stat().st_mode & 0o777 == 0o755, "a doctor changes nothing"
    assert {one.mark for one in judge_certificates(local, datetime.now(UTC))} == {Mark.WELL}
    later = datetime.now(UTC) + timedelta(days=5000)
    late = look("eps", machine.environment("hd-1"), machine.folder, later)
    assert any("expired" in one.what for one in judge_certificates(late, later) if one.mark is Mark.WRONG)
    (machine.dev / "certs" / "hd-1.crt").write_text("nothing")
    broken = look("eps", machine.environment("hd-1"), machine.folder, datetime.now(UTC))
    assert Mark.WRONG in {one.mark for one in judge_certificates(broken, datetime.now(UTC))}
    key.unlink()
    assert look("eps", machine.environment("hd-1"), machine.folder, datetime.now(UTC)).settings is None


def test_what_another_server_says_is_quoted() -> None:
    said = Failure.told(Error(500, "a\x1b[2Jb" + "x" * 1000, {"hint": None, "side": "peer", "reason": "\x07"}))
    assert said.text.startswith("a\\x1b[2Jbxxx") and len(said.text) < 330
    assert (said.hint, said.side, said.stage, said.reason) == ("", "peer", "", "\\x07")


def test_of_a_proxy_that_lists_many_relays_some_are_dialled() -> None:
    listed = [f"r:{port}" for port in range(1, 1000)]
    assert len(relays_of(Directory.empty(), Operator("p"), Operator("o"), listed)) == MAX_RELAYS


async def test_our_certificate_that_cannot_be_used_is_a_finding_among_others(
    machine: Machine, settings: EpsSettings
) -> None:
    certs = machine.dev / "certs"
    (certs / "hd-1.key").write_bytes((certs / "hd-2.key").read_bytes())
    at = datetime.now(UTC)
    local = look("eps", machine.environment("hd-1"), machine.folder, at)
    found = judge(await gather(settings, local, ""), at)
    directory = [one for one in found if one.what.endswith("does not answer us")]
    assert [one.reason for one in directory] == ["key-misfit"]
    assert any("the key does not fit" in one.what for one in found)


def test_an_expired_certificate_is_what_to_begin_with(settings: EpsSettings, local: Local) -> None:
    later = datetime.now(UTC) + timedelta(days=10_000)
    expired = judge_certificates(replace(local, doubts=tuple(certificate_findings(settings, later))), later)
    assert "own-expired" in {one.reason for one in expired if one.mark is Mark.WRONG}
    unpinned = Finding("our pin", Mark.WRONG, "not pinned", "", "ours", "", "own-pin")
    text = report("hd-1", [*expired, unpinned], Paper(1000))
    assert "begin with this ✗: " in text and "not pinned" not in text.splitlines()[-1]
