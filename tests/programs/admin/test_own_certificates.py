"""``eps cert request | fingerprint | inspect``: files in, words out."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from eps.core.certificate import fingerprint_of
from eps.errors import BadParams, StartError
from eps.pki import Authority, new_key, request_tls
from eps.programs.admin.own_certificates import Request, fingerprints, inspect, make_request

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(fast=True, now=NOW)


def test_a_request_is_for_the_keys_owner_only(tmp_path: Path) -> None:
    key, request = make_request(Request("acme", names=("a.example.org",), quick=True), tmp_path / "made")
    assert (key.name, request.name) == ("acme.key", "acme.csr")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    made = inspect(request, NOW)
    assert dict(made.lines)["names"] == "acme, a.example.org" and made.well and not made.fingerprint
    assert "have the network's authority sign it" in made.describe()


def test_a_request_to_sign_with_names_operator_and_groups(tmp_path: Path) -> None:
    key, request = make_request(Request("acme", signing=True, names=("sd-admin",)), tmp_path)
    assert request.name == "acme-sign.csr" and b"BEGIN EC PRIVATE KEY" in key.read_bytes()
    assert dict(inspect(request, NOW).lines)["names"] == "iris-name://acme, iris-group://sd-admin, acme"


def test_one_for_connections_has_a_key_that_servers_in_use_have(tmp_path: Path) -> None:
    _, request = make_request(Request("acme"), tmp_path)
    assert dict(inspect(request, NOW).lines)["key"] == "RSA, 2048 bits"


def test_strangers_words_in_a_request_move_no_cursor(tmp_path: Path) -> None:
    (tmp_path / "x.csr").write_bytes(request_tls("a\x1b[2J\nb", new_key(fast=True)))
    told = dict(inspect(tmp_path / "x.csr", NOW).lines)
    assert told["of"] == "a\\x1b[2J\\nb" and "\x1b" not in told["names"]


@pytest.mark.parametrize("there", ["acme.key", "acme.csr"])
def test_no_key_is_ever_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(StartError, match=f"{there} exists"):
        make_request(Request("acme", quick=True), tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ä/ö"], ids=["empty", "space", "long", "slash"])
def test_names_that_no_operator_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadParams, match="can't be an operator's name"):
        make_request(Request(name, quick=True), tmp_path)


def test_names_that_no_certificate_can_have(tmp_path: Path) -> None:
    with pytest.raises(BadParams, match="can't stand in a certificate"):
        make_request(Request("acme", names=("bücher.example",), quick=True), tmp_path)


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="can't write"):
        make_request(Request("acme", quick=True), tmp_path / "file")


def test_fingerprints_are_the_leafs(tmp_path: Path, authority: Authority) -> None:
    made = authority.issue_tls("acme")
    made.write(tmp_path, "acme")
    file = tmp_path / "acme.crt"
    assert list(fingerprints([file])) == [made.fingerprint]
    assert list(fingerprints([file, file])) == [f"{made.fingerprint}  {file}"] * 2
    with pytest.raises(StartError, match="no such file"):
        list(fingerprints([tmp_path / "none.crt"]))


def test_a_certificate_with_its_key(tmp_path: Path, authority: Authority) -> None:
    authority.issue_tls("acme").write(tmp_path, "acme")
    found = inspect(tmp_path / "acme.crt", NOW)
    lines = dict(found.lines)
    assert found.well
    assert lines["of"] == "acme (also *.acme.local)" and lines["for"] == "connections"
    assert lines["issued by"] == lines["behind it"] == "intermediate"
    assert lines["valid"].endswith("UTC: 825 days more")
    assert lines["key file"] == "acme.key fits"
    assert found.to_json()["fingerprint"] == found.fingerprint == lines["fingerprint"]
    assert found.describe().splitlines()[1] == "  of           acme (also *.acme.local)"


def test_one_to_sign_with(tmp_path: Path, authority: Authority) -> None:
    authority.issue_signing("acme", ["sd-admin"]).write(tmp_path, "acme-sign")
    (tmp_path / "acme-sign.key").unlink()
    found = inspect(tmp_path / "acme-sign.crt", NOW)
    assert dict(found.lines)["for"] == "signing records as acme, of sd-admin"
    assert dict(found.lines)["key file"] == "none beside it (acme-sign.key)" and found.well


@pytest.mark.parametrize(("days", "says"), [(-2, "not yet"), (826, "expired")])
def test_dates(tmp_path: Path, authority: Authority, days: int, says: str) -> None:
    authority.issue_tls("acme").write(tmp_path, "acme")
    found = inspect(tmp_path / "acme.crt", NOW + timedelta(days=days))
    assert dict(found.lines)["valid"].endswith(says) and not found.well


def test_another_certificates_key(tmp_path: Path, authority: Authority) -> None:
    authority.issue_tls("acme").write(tmp_path, "acme")
    authority.issue_tls("acme").write(tmp_path, "other")
    (tmp_path / "other.key").rename(tmp_path / "acme.key")
    found = inspect(tmp_path / "acme.crt", NOW)
    assert dict(found.lines)["key file"] == "acme.key is the key of another certificate" and not found.well
    (tmp_path / "acme.key").write_text("nothing")
    assert not inspect(tmp_path / "acme.crt", NOW).well


def test_a_key_that_others_may_read(tmp_path: Path, authority: Authority) -> None:
    authority.issue_tls("acme").write(tmp_path, "acme")
    (tmp_path / "acme.key").chmod(0o644)
    found = inspect(tmp_path / "acme.crt", NOW)
    assert "every user of this machine may read this private key" in dict(found.lines)["key file"] and not found.well


def test_a_certificate_that_can_not_sign(tmp_path: Path, authority: Authority) -> None:
    """An operator's name and no key usage for it."""
    key = new_key(True)
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "acme")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(x509.Name([])).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("iris-name://acme")])
    made = builder.add_extension(uri, critical=False).sign(key, hashes.SHA256())
    (tmp_path / "x.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    found = inspect(tmp_path / "x.crt", NOW)
    assert dict(found.lines)["but"] == "lacks the key usage digitalSignature" and not found.well
    assert dict(found.lines)["issued by"] == "nobody"
    assert fingerprint_of(made) == found.fingerprint


def test_requests_that_say_little(tmp_path: Path) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    made = builder.sign(new_key(True), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (tmp_path / "x.csr").write_bytes(made)
    assert dict(inspect(tmp_path / "x.csr", NOW).lines) == {
        "is": "a request; have the network's authority sign it", "of": "nobody", "names": "none",
        "key": "ECDSA, secp256r1",
    }  # fmt: skip
    (tmp_path / "x.csr").write_bytes(made.replace(b"MI", b"??"))
    with pytest.raises(StartError, match=r"x\.csr: the request can't be read"):
        inspect(tmp_path / "x.csr", NOW)
