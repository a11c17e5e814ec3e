"""From facts about a service directory or a proxy to what is said of them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from eps.programs.diagnosis import proxy_doctor, sd_doctor
from eps.programs.diagnosis.finding import Failure, Finding, Mark
from eps.programs.diagnosis.local import look
from eps.programs.diagnosis.own_server import Asked
from eps.programs.diagnosis.probes import Reached, Target
from eps.programs.diagnosis.proxy_doctor import ProxyFacts
from eps.programs.diagnosis.sd_doctor import SdFacts
from eps.settings import ProxySettings, SdSettings
from support.machine import Machine

GONE = Failure("connection refused", "check", "ours")
RUNS = Asked({"pid": 7, "version": "1", "seconds": 1.0})


def wrong(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.mark is Mark.WRONG]


def sd_facts(machine: Machine) -> SdFacts:
    local = look("sd", {"SD_SETTINGS": "settings/dev/roles/sd-1"}, machine.folder, datetime.now(UTC))
    assert isinstance(local.settings, SdSettings)
    return SdFacts(local.settings, local, RUNS, None, 30, 10)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, []),
        ({"doubt": GONE}, ["the records are not believed"]),
        ({"lost": "it had more"}, ["the store was set back"]),
        ({"records": None, "asked": Asked(), "port": GONE}, ["no server runs with this state folder"]),
        ({"records": None, "port": GONE}, ["JSON-RPC at localhost:PORT does not answer as our server"]),
    ],
    ids=["well", "doubt", "set back", "down", "hangs"],
)
def test_a_service_directory(
    change: dict[str, Any], says: list[str], machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(machine.folder)
    facts = replace(sd_facts(machine), **change)
    port = facts.settings.jsonrpc_server.bind_address
    told = [one.what.replace(port, "localhost:PORT") for one in wrong(sd_doctor.judge(facts, datetime.now(UTC)))]
    assert told == says


def test_an_empty_service_directory(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine.folder)
    facts = replace(sd_facts(machine), records=0, operators=0)
    (one,) = [one for one in sd_doctor.judge(facts, datetime.now(UTC)) if one.mark is not Mark.WELL]
    assert (one.mark, one.side, one.reason) == (Mark.DOUBTFUL, "ours", "no-directory")
    assert "--reset" in one.fix


def reached(address: str, failure: Failure | None = None) -> Reached:
    return Reached(Target(address, "it"), (("TCP", 0.001),), failure)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, []),
        ({"eps_failure": GONE}, ["does not answer: nobody can ask for a tunnel"]),
        ({"eps_failure": replace(GONE, side="peer")}, ["does not answer: nobody can ask for a tunnel"]),
        ({"relay": reached("r:1", GONE)}, ["is not reached from here"]),
        ({"relay_owner": "nginx (process 7)"}, ["which operators are told to dial, is taken by nginx (process 7)"]),
        ({"refusals": ("not listed",)}, ["operators refuse to dial"]),
        ({"refusals": ("not listed", "")}, []),
        ({"entry": None}, []),
        ({"refusals": ()}, []),
        ({"port": GONE}, ["does not answer as our server"]),
    ],
    ids=["well", "eps", "eps as another", "relay", "taken", "refused", "half", "unknown", "no address", "port"],
)
def test_a_public_proxy(
    change: dict[str, Any], says: list[str], machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(machine.folder)
    at = datetime.now(UTC)
    local = look("proxy", {"PROXY_SETTINGS": "settings/dev/roles/public-proxy-1"}, machine.folder, at)
    assert isinstance(local.settings, ProxySettings) and local.settings.public is not None
    fine = ProxyFacts("public", local.settings.public, RUNS, reached("e:1"), entry={}, relay=reached("r:1"))
    fine = replace(fine, refusals=("",))
    found = wrong(proxy_doctor.judge(local, [replace(fine, **change)], at))
    assert len(found) == len(says)
    for one, text in zip(found, says, strict=True):
        assert text in one.what
        assert one.side == "ours" and one.fix


def test_a_proxy_whose_eps_server_waits_for_the_directory(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine.folder)
    at = datetime.now(UTC)
    local = look("proxy", {"PROXY_SETTINGS": "settings/dev/roles/public-proxy-1"}, machine.folder, at)
    assert isinstance(local.settings, ProxySettings) and local.settings.public is not None
    waits = Failure("it has no verified directory yet", "start it", "directory", reason="no-directory")
    facts = ProxyFacts("public", local.settings.public, RUNS, reached("e:1"), eps_failure=waits, relay=reached("r:1"))
    (one,) = wrong(proxy_doctor.judge(local, [facts], at))
    assert (one.side, one.reason) == ("directory", "no-directory")
    assert "has no directory: nobody can ask for a tunnel" in one.what


def test_a_private_proxy(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine.folder)
    at = datetime.now(UTC)
    local = look("proxy", {"PROXY_SETTINGS": "settings/dev/roles/private-proxy-1"}, machine.folder, at)
    assert isinstance(local.settings, ProxySettings) and local.settings.private is not None
    facts = ProxyFacts("private", local.settings.private, RUNS, reached("e:1"), behind=reached("b:1"))
    assert wrong(proxy_doctor.judge(local, [facts], at)) == []
    broken = replace(facts, behind=reached("b:1", GONE), eps_failure=GONE)
    assert ["be called in" in one.what or "to which we forward" in one.what
            for one in wrong(proxy_doctor.judge(local, [broken], at))] == [True, True]  # fmt: skip


def test_a_relay_without_an_address_is_not_said_to_be_allowed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(machine.folder)
    at = datetime.now(UTC)
    local = look("proxy", {"PROXY_SETTINGS": "settings/dev/roles/public-proxy-1"}, machine.folder, at)
    assert isinstance(local.settings, ProxySettings) and local.settings.public is not None
    lost = ProxyFacts(
        "public", local.settings.public, RUNS, reached("e:1"), entry={}, relay=reached("r:1", GONE), refusals=()
    )
    said = [(one.mark, one.what) for one in proxy_doctor.judge(local, [lost], at) if one.group == "relay port"]
    assert said[1:] == [(Mark.UNKNOWN, "whether operators may dial it is not known: its name leads to no address here")]
