"""When our certificates end."""

from datetime import UTC, datetime, timedelta

from eps.core.pem import certificates_in
from eps.programs.wiring.certificates import expiries, while_running
from eps.settings import load_eps, load_sd
from support.machine import Machine


def test_each_setting_with_a_certificate_of_ours(machine: Machine) -> None:
    settings = load_eps(machine.environment("hd-1"), machine.folder).settings
    found = expiries(settings)
    tls = {name for name in found if name.endswith(".tls.certificate_file")}
    assert tls == {
        "directory.settings.jsonrpc_client.tls.certificate_file",
        *(f"channels[{number}].settings.tls.certificate_file" for number in range(3)),
    }
    assert set(found) == tls | {"signing.certificate_file"}
    leaf, above = certificates_in((machine.dev / "certs" / "hd-1.crt").read_bytes(), "", "")
    ends = min(leaf.not_valid_after_utc, above.not_valid_after_utc).timestamp()
    assert {found[name] for name in tls} == {ends}


def test_a_file_that_cannot_be_read_is_left_out(machine: Machine) -> None:
    settings = load_sd(machine.environment("sd-1"), machine.folder).settings
    assert set(expiries(settings)) == {"jsonrpc_server.tls.certificate_file"}
    (machine.dev / "certs" / "sd-1.crt").write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    assert expiries(settings) == {}
    (machine.dev / "certs" / "sd-1.crt").unlink()
    assert expiries(settings) == {}


def test_of_every_certificate_it_is_told_that_it_ends_soon(machine: Machine) -> None:
    """30 days ahead, and while a server runs daily (``serving``); also of one to sign with, which no server loads."""
    settings = load_eps(machine.environment("hd-1"), machine.folder).settings
    ends = datetime.fromtimestamp(min(expiries(settings).values()), UTC)
    for file in ("hd-1.crt", "hd-1-sign.crt"):
        told = [one for one in while_running(settings, ends - timedelta(days=29)) if f"/{file}:" in one.text]
        assert told and "expires in" in told[0].text, file
        assert [one for one in while_running(settings, ends - timedelta(days=32)) if f"/{file}:" in one.text] == []
    far = ends + timedelta(days=4000)
    (ended,) = [one for one in while_running(settings, far) if "/hd-1-sign.crt:" in one.text]
    assert "has expired" in ended.text
    assert not ended.fatal  # it keeps no server from starting
    (machine.dev / "certs" / "hd-1-sign.crt").write_text("none")
    assert not any("sign.crt" in one.text for one in while_running(settings, far))  # config check says so
