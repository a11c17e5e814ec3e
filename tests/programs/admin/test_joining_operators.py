"""``eps operator init | records``, and which certificates settings name, in process."""

import json
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from eps.core.record import parse_change_record
from eps.errors import BadParams, SettingsError, StartError
from eps.pki import Authority
from eps.programs.admin import commands, operators, renewal
from eps.programs.admin.check import check
from eps.programs.admin.own_settings import Plan, settings_of
from eps.settings import EpsSettings
from eps.settings.models import JsonDirectory, JsonDirectorySettings
from support.machine import Machine

URL = "https://sd.example.org:3322/jsonrpc"


def filled(folder: Path, authority: Authority, *stems: str) -> None:
    """What the network's authority does."""
    for stem in stems:
        request = x509.load_pem_x509_csr((folder / f"{stem}.csr").read_bytes())
        (folder / f"{stem}.crt").write_bytes(authority.sign_request(request))
    (folder / "root.crt").write_bytes(authority.root_pem)
    (folder / "intermediate.crt").write_bytes(authority.intermediate_pem)


def test_what_is_written_can_be_started_with_once_it_is_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan("acme", URL, "sd-1", service="http://localhost:6666/jsonrpc", applications=("app",), signing=True)
    said = operators.init(plan, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "acme-sign.csr", "acme-sign.key", "acme.csr", "acme.key", "eps.yml",
    ]  # fmt: skip
    assert "acme.csr and acme-sign.csr" in said and f"export EPS_SETTINGS={tmp_path}/eps.yml" in said
    filled(tmp_path, Authority.create(fast=True), "acme", "acme-sign")
    monkeypatch.setenv("EPS_SETTINGS", str(tmp_path / "eps.yml"))
    assert check("eps", {"EPS_SETTINGS": str(tmp_path / "eps.yml")}, tmp_path).problems == ()

    text = operators.records(("health-departments",), "public-proxy-1.ga", "", ("lookup",))
    records = [parse_change_record({**record, "created_at": "2026-11-22T00:00:00Z"})
               for record in json.loads(text)["records"]]  # fmt: skip
    data = {record.section: record.data for record in records}
    assert [pin["key_usage"] for pin in data["certificates"]] == ["signing", "encryption"]
    assert data["channels"][1]["settings"] == {"address": "localhost:4444", "proxy": "public-proxy-1.ga"}
    assert [service["name"] for service in data["services"]] == ["connection-requests", "internals", "acme"]
    direct = json.loads(operators.records(("g",), "", "eps.example.org:4444", ()))["records"]
    assert direct[2]["data"][1]["settings"] == {"address": "eps.example.org:4444"}
    alone = json.loads(operators.records(("g",), "", "", ()))["records"]
    assert alone[2]["data"] == [{"type": "grpc_client"}]
    assert [service["name"] for service in alone[3]["data"]] == ["internals"]


def test_the_least_that_can_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operators.init(Plan("acme", URL), tmp_path)
    filled(tmp_path, Authority.create(fast=True), "acme")
    monkeypatch.setenv("EPS_SETTINGS", str(tmp_path / "eps.yml"))
    assert check("eps", {"EPS_SETTINGS": str(tmp_path / "eps.yml")}, tmp_path).problems == ()
    settings = commands.own_settings()
    assert settings.signing is None and [usage for usage, _ in operators.pins_of(settings)] == ["encryption"]
    with pytest.raises(SettingsError, match="no section «signing»"):
        renewal.chosen(settings, "", signing=True)


@pytest.mark.parametrize("name", ["no", "007", "0x10", "null", "1e3", "2026-11-01", "acme.example"])
def test_a_name_stays_text(name: str) -> None:
    written = yaml.safe_load(settings_of(Plan(name, URL, name, applications=("app, b", name))))
    assert written["name"] == name
    assert written["directory"]["settings"]["server_names"] == [name]
    assert written["channels"][-1]["settings"]["tls"]["allowed_names"] == [name, "app, b", name]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "eps.yml").write_text("mine")
    with pytest.raises(StartError, match=r"eps\.yml exists \(nothing was written"):
        operators.init(Plan("acme", URL), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["eps.yml"]


def test_urls_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(BadParams, match=r"--directory 'sd\.example\.org:3322' is no URL"):
        operators.init(Plan("acme", "sd.example.org:3322"), tmp_path)
    with pytest.raises(BadParams, match="--service 'x' is no URL"):
        operators.init(Plan("acme", URL, service="x"), tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((("a b",), "", "", ()), "'a b' can't be a name"),
        ((("g",), "p q", "", ()), "'p q' can't be a name"),
        ((("g",), "", "nowhere", ()), "--address 'nowhere' is no address"),
        ((("g",), "", "", ("look up",)), "'look up' can't be a name"),
    ],
    ids=["group", "proxy", "address", "method"],
)
def test_options_that_no_record_can_hold(options: tuple[tuple[str, ...], str, str, tuple[str, ...]], says: str) -> None:
    with pytest.raises(BadParams, match=says):
        operators.records(*options)


@pytest.fixture
def settings(machine: Machine) -> EpsSettings:
    return commands.own_settings(machine.environment("hd-1"), machine.folder)


def test_which_certificate_is_renewed(settings: EpsSettings) -> None:
    files = renewal.chosen(settings, "", signing=False)
    assert files.certificate.name == "hd-1.crt" and files.new.key.name == "hd-1-new.key"
    assert renewal.chosen(settings, str(files.certificate), signing=False) == files
    assert renewal.chosen(settings, "", signing=True).key.name == "hd-1-sign.key"
    with pytest.raises(SettingsError, match=r"the settings name .*hd-1\.crt \(say which one"):
        renewal.chosen(settings, "other.crt", signing=False)


def test_settings_without_certificates(settings: EpsSettings) -> None:
    directory = JsonDirectory(type="json", settings=JsonDirectorySettings(path="."))
    with pytest.raises(SettingsError, match="the settings name no certificate"):
        operators.connection_files(settings.model_copy(update={"channels": (), "directory": directory}))


def test_inspecting_tells_the_worst(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    certs = machine.dev / "certs"
    assert operators.inspect([certs / "hd-1.crt", certs / "hd-1-sign.crt"], as_json=False) == 0
    assert "signing records as hd-1, of sd-admin" in capsys.readouterr().out
    (certs / "hd-1.key").chmod(0o644)
    assert operators.inspect([certs / "hd-1.crt"], as_json=True) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert found["well"] is False and found["for"] == "connections"
