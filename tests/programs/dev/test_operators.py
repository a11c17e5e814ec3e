"""Who joins the development network: certificates, settings, records, ports, and what they are told."""

import json
import shutil
import socket
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from eps.core.certificate import fingerprint_of, fits, signing_flaw, subject_of
from eps.directory.json_files import read_record_file
from eps.errors import BadParams, StartError
from eps.pki import Authority, new_key, request_signing, request_tls
from eps.programs.admin.check import check
from eps.programs.admin.scrutiny import check_fit, foreign_refusal
from eps.programs.dev import certs as dev_certs
from eps.programs.dev import operators
from eps.programs.dev.certs import make_dev_certs
from eps.programs.dev.operators import add_operator, next_steps, sign_requests

ROOT = Path(__file__).parents[3]


class QuickAuthority:
    """Makes an authority whose keys, and its leaves', are quick ones."""

    @staticmethod
    def create() -> Authority:
        return Authority.create(fast=True)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A development network with certificates, whose keys are quick ones."""
    monkeypatch.setattr(dev_certs, "Authority", QuickAuthority)
    shutil.copytree(ROOT / "settings" / "dev" / "roles", tmp_path / "settings" / "dev" / "roles")
    make_dev_certs(tmp_path, lambda line: None)
    return tmp_path


def records_of(root: Path, name: str) -> dict[str, Any]:
    """Section → data, of the operator's file."""
    text = (root / "settings" / "dev" / "directory" / f"{name}.json").read_text()
    return {record["section"]: record["data"] for record in json.loads(text)["records"]}


def leaf(root: Path, file: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((root / "settings" / "dev" / "certs" / file).read_bytes())


def problems(root: Path, role: str) -> object:
    return check("eps", {"EPS_SETTINGS": f"settings/dev/roles/{role}"}, root).problems


def test_the_authoritys_key_is_kept_for_its_owner_only(root: Path) -> None:
    key = root / "settings" / "dev" / "certs" / "intermediate.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_its_settings_are_fine(root: Path) -> None:
    add_operator(root, "clinic-9")
    assert problems(root, "clinic-9") == ()


def test_its_records_pin_its_certificates(root: Path) -> None:
    add_operator(root, "clinic-9")
    tls, signing = leaf(root, "clinic-9.crt"), leaf(root, "clinic-9-sign.crt")
    assert subject_of(tls).tls_names[0] == subject_of(signing).name == "clinic-9"
    assert not signing_flaw(signing)
    assert records_of(root, "clinic-9")["certificates"] == [
        {"fingerprint": fingerprint_of(signing), "key_usage": "signing"},
        {"fingerprint": fingerprint_of(tls), "key_usage": "encryption"},
    ]


def test_its_records_can_be_submitted(root: Path) -> None:
    add_operator(root, "clinic-9", ("lookup", "add"))
    found = read_record_file(root / "settings" / "dev" / "directory" / "clinic-9.json")
    check_fit(found)
    assert foreign_refusal(found) is None
    services = {service["name"]: service for service in records_of(root, "clinic-9")["services"]}
    assert [method["name"] for method in services["clinic-9"]["methods"]] == ["lookup", "add"]
    assert services["connection-requests"]["permissions"] == [{"group": "proxy-providers", "rights": ["call"]}]
    assert records_of(root, "clinic-9")["groups"] == ["health-departments"]


def test_nobody_else_has_its_ports(root: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        taken = listening.getsockname()[1]
        first = add_operator(root, "clinic-9")
        second = add_operator(root, "clinic-10")
        assert not set(first.ports) & set(second.ports)
        assert next(operators.free_from(taken, set())) > taken
    assert not {8888, 8889, 5555, 5556, 5557, 6666} & {*first.ports, *second.ports}


def test_what_is_said_next_names_what_was_made(root: Path) -> None:
    said = next_steps(add_operator(root, "clinic-9", ("lookup",)))
    assert "settings/dev/directory/clinic-9.json" in said
    assert "EPS_SETTINGS=settings/dev/roles/clinic-9 \\\n      eps server run" in said
    assert "eps methods clinic-9" in said and "python examples/locations.py" in said
    assert "eps ping clinic-10" in next_steps(add_operator(root, "clinic-10"))
    assert max(map(len, said.splitlines())) <= 60


@pytest.mark.parametrize("name", ["", "a b", "../x", ".hidden", "17", "x" * 58, "a/b"], ids=str)
def test_names_that_no_operator_can_have(root: Path, name: str) -> None:
    with pytest.raises(BadParams, match="can't be an operator's name"):
        add_operator(root, name)


def test_nobody_is_replaced(root: Path) -> None:
    add_operator(root, "clinic-9")
    before = leaf(root, "clinic-9.crt")
    for name in ("clinic-9", "hd-1", "op-2", "sd-1"):
        with pytest.raises(StartError, match=f"there is a {name} already"):
            add_operator(root, name)
    assert leaf(root, "clinic-9.crt") == before


def test_new_certificates_for_all_are_for_those_who_joined_as_well(root: Path) -> None:
    add_operator(root, "clinic-9", ("lookup",))
    services = records_of(root, "clinic-9")["services"]
    before = leaf(root, "clinic-9.crt")
    make_dev_certs(root, lambda line: None)
    assert leaf(root, "clinic-9.crt") != before
    assert problems(root, "clinic-9") == ()
    pins = {pin["fingerprint"] for pin in records_of(root, "clinic-9")["certificates"]}
    assert fingerprint_of(leaf(root, "clinic-9.crt")) in pins
    assert records_of(root, "clinic-9")["services"] == services


def test_certificates_of_before_have_no_key_to_sign_with(root: Path) -> None:
    key = root / "settings" / "dev" / "certs" / "intermediate.key"
    key.unlink()
    with pytest.raises(StartError, match=r"intermediate\.key: No such file.*eps dev certs makes the authority"):
        add_operator(root, "clinic-9")
    key.write_bytes(Authority.create(fast=True).key_pem)
    with pytest.raises(StartError, match="the key is not the intermediate's"):
        add_operator(root, "clinic-9")


def test_a_folder_that_can_not_be_written(root: Path) -> None:
    (root / "settings" / "dev" / "certs" / "clinic-9.key").mkdir()
    with pytest.raises(StartError, match=r"can't write .*clinic-9\.key"):
        add_operator(root, "clinic-9")


# --- the authority ---


@pytest.mark.parametrize("kind", ["tls", "signing"])
def test_a_request_is_signed_as_it_asks(root: Path, kind: str) -> None:
    key = new_key(kind == "signing")
    file = root / "acme.csr"
    file.write_bytes(request_tls("acme", key, ["a.local"]) if kind == "tls" else request_signing("acme", key, ["g"]))
    said: list[str] = []
    sign_requests(root, [file], said.append)
    assert said == [f"signed {root}/acme.crt"]
    made, issuer = x509.load_pem_x509_certificates((root / "acme.crt").read_bytes())
    made.verify_directly_issued_by(issuer)
    assert fits(key, made)
    subject = subject_of(made)
    if kind == "tls":
        assert subject.tls_names == ("acme", "a.local")
    else:
        assert (subject.name, subject.groups, signing_flaw(made)) == ("acme", ("g",), "")


def test_what_is_no_request_is_not_signed(root: Path) -> None:
    (root / "x.csr").write_text("hello")
    with pytest.raises(StartError, match=r"x\.csr: .* \(it must hold a request"):
        sign_requests(root, [root / "x.csr"], print)
    with pytest.raises(StartError, match=r"y\.csr: No such file"):
        sign_requests(root, [root / "y.csr"], print)


def test_a_request_for_another_key_kind_is_not_signed(root: Path) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    made = builder.sign(ed25519.Ed25519PrivateKey.generate(), None)
    (root / "x.csr").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(StartError, match="neither RSA nor ECDSA"):
        sign_requests(root, [root / "x.csr"], print)
