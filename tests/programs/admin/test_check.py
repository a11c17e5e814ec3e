"""``config check``: certificates and keys that can't work, found before a program starts."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from eps.pki import Authority
from eps.programs.admin.check import CheckReport, check

NOW = datetime(2026, 11, 22, tzinfo=UTC)
AUTHORITY = Authority.create(fast=True, now=NOW)
STRANGER = Authority.create(fast=True, now=NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "root.crt").write_bytes(AUTHORITY.root_pem)
    (tmp_path / "intermediate.crt").write_bytes(AUTHORITY.intermediate_pem)
    AUTHORITY.issue_tls("hd-1").write(tmp_path, "hd-1")
    AUTHORITY.issue_signing("hd-1", ["sd-admin"]).write(tmp_path, "sign")
    return tmp_path


def tls(name: str = "hd-1") -> dict[str, Any]:
    return {"ca_certificate_files": ["root.crt"], "certificate_file": f"{name}.crt", "key_file": f"{name}.key"}


def settings(**other: Any) -> dict[str, Any]:
    api = {"endpoints": ["https://localhost:1/jsonrpc"], "ca_certificate_files": ["root.crt"]}
    return {
        "name": "hd-1",
        "directory": {"type": "api", "settings": api},
        "channels": [{"type": "grpc_server", "settings": {"tls": tls()}}],
        "signing": {
            "certificate_file": "sign.crt",
            "key_file": "sign.key",
            "ca_certificate_file": "root.crt",
            "ca_intermediate_certificate_files": ["intermediate.crt"],
        },
        **other,
    }


def run(folder: Path, value: Any | None = None, now: datetime = NOW, program: str = "eps") -> CheckReport:
    (folder / "s.json").write_text(json.dumps(settings() if value is None else value, indent=1))
    return check(program, {f"{program.upper()}_SETTINGS": "s.json"}, folder, now=now)


def lines(report: CheckReport) -> list[str]:
    return [f"{problem.severity} {problem.path}: {problem.text}" for problem in report.problems]


def test_all_is_well(folder: Path) -> None:
    report = run(folder)
    assert report.ok
    assert report.problems == ()
    assert report.describe() == "the settings are fine\nfiles read: 1 of settings, 4 of certificates"
    names = [f"{folder}/{name}.crt" for name in ("root", "hd-1", "intermediate", "sign")]
    assert report.to_json() == {
        "program": "eps",
        "ok": True,
        "files": ["s.json"],
        "certificates": names,
        "problems": [],
    }


def test_settings_that_cannot_be_read(folder: Path) -> None:
    report = check("sd", {}, folder)
    assert not report.ok
    assert report.describe().startswith("SD_SETTINGS: is not set")
    assert json.loads(json.dumps(report.to_json()))["problems"][0]["severity"] == "error"


def _write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def _rsa_key(folder: Path) -> None:
    """A signing certificate with an RSA key."""
    rsa_authority = Authority.create(now=NOW)
    issued = rsa_authority.issue_tls("hd-1")
    issued.write(folder, "sign")
    (folder / "root.crt").write_bytes(rsa_authority.root_pem + AUTHORITY.root_pem)
    (folder / "intermediate.crt").write_bytes(rsa_authority.intermediate_pem)


def _pkcs8(folder: Path) -> None:
    key = serialization.load_pem_private_key((folder / "sign.key").read_bytes(), None)
    no_encryption = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_encryption)
    (folder / "sign.key").write_bytes(pem)


SERVER = "channels[0].settings.tls"


@pytest.mark.parametrize(
    ("spoil", "problems"),
    [
        (
            _write("root.crt", b""),
            ["error directory.settings.ca_certificate_files[0]: {}/root.crt: holds no certificate"],
        ),
        (
            _write("root.crt", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
            ["error directory.settings.ca_certificate_files[0]: {}/root.crt: holds no certificate"],
        ),
        (_write("hd-1.crt", b"x"), [f"error {SERVER}.certificate_file: {{}}/hd-1.crt: holds no certificate"]),
        (_write("hd-1.key", b"x"), [f"error {SERVER}.key_file: {{}}/hd-1.key: holds no private key in PEM form"]),
        (
            _write("hd-1.key", AUTHORITY.issue_tls("x").key_pem),
            [f"error {SERVER}.key_file: {{}}/hd-1.key: the key does not fit the certificate in {{}}/hd-1.crt"],
        ),
        (
            lambda folder: STRANGER.issue_tls("hd-1").write(folder, "hd-1"),
            [f"error {SERVER}.certificate_file: {{}}/hd-1.crt does not lead to any of the CAs named beside it"],
        ),
        (
            lambda folder: (folder / "hd-1.crt").write_bytes(
                x509.load_pem_x509_certificates((folder / "hd-1.crt").read_bytes())[0].public_bytes(
                    serialization.Encoding.PEM
                )
            ),
            [f"error {SERVER}.certificate_file: {{}}/hd-1.crt does not lead to any of the CAs named beside it"],
        ),
        (
            lambda folder: AUTHORITY.issue_tls("hd-2").write(folder, "hd-1"),
            [f"error {SERVER}.certificate_file: {{}}/hd-1.crt is for hd-2, *.hd-2.local, not for hd-1"],
        ),
        (
            lambda folder: AUTHORITY.issue_signing("hd-2").write(folder, "sign"),
            ["error signing.certificate_file: {}/sign.crt is for hd-2, not for hd-1"],
        ),
        (
            lambda folder: AUTHORITY.issue_tls("hd-1").write(folder, "sign"),
            [
                "error signing.key_file: {}/sign.key: holds no EC PRIVATE KEY in PEM form",
                "error signing.certificate_file: {}/sign.crt is for nobody, not for hd-1",
            ],
        ),
        (_pkcs8, ["error signing.key_file: {}/sign.key: holds no EC PRIVATE KEY in PEM form"]),
        (
            _rsa_key,
            [
                "error signing.certificate_file: {}/sign.crt: the certificate holds no ECDSA P-256 key",
                "error signing.certificate_file: {}/sign.crt is for nobody, not for hd-1",
            ],
        ),
    ],
)
def test_bad_files(folder: Path, spoil: Callable[[Path], object], problems: list[str]) -> None:
    spoil(folder)
    report = run(folder)
    assert not report.ok
    expected = [line.replace("{}", str(folder)) for line in problems]
    found = lines(report)
    assert len(found) == len(expected), found
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True)), found
    assert all(problem.file == "s.json" and problem.line > 1 for problem in report.problems)


def test_a_signing_key_that_others_may_read_is_a_warning(folder: Path) -> None:
    (folder / "sign.key").chmod(0o644)
    report = run(folder)
    assert report.ok
    (line,) = lines(report)
    assert line.startswith(f"warning signing.key_file: {folder}/sign.key: every user of this machine may read this")


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (NOW + timedelta(days=826), ["error the certificate of hd-1 has expired on 2029-02-24 00:00 UTC"]),
        (
            NOW - timedelta(days=2),
            [
                "error the certificate of hd-1 is not valid before 2026-11-21 23:00 UTC",
                "warning the certificate of intermediate is not valid before 2026-11-21 23:00 UTC",
                "warning the certificate of Testing-Development is not valid before 2026-11-21 23:00 UTC",
            ],
        ),
        (NOW + timedelta(days=800), ["warning the certificate of hd-1 expires in 25 days, on 2029-02-24"]),
        (NOW + timedelta(days=795), []),
        (NOW + timedelta(days=794), []),
    ],
)
def test_dates(folder: Path, now: datetime, expected: list[str]) -> None:
    report = run(folder, now=now)
    found = {f"{problem.severity} {problem.text.split(': ')[1]}" for problem in report.problems}
    assert found == set(expected)
    assert report.ok == (not any(line.startswith("error") for line in expected))


def test_expired_authorities(folder: Path) -> None:
    texts = [problem.text for problem in run(folder, now=NOW + timedelta(days=4000)).problems]
    assert any("the certificate of Testing-Development has expired" in text for text in texts)
    assert any("the certificate of intermediate has expired" in text for text in texts)
    assert len(texts) == len(set(texts))


def test_a_json_rpc_server_may_trust_other_authorities(folder: Path) -> None:
    STRANGER.issue_tls("sd-1").write(folder, "sd-1")
    value = {
        "jsonrpc_server": {"bind_address": "localhost:1", "tls": tls("sd-1")},
        "directory": {"datastore": {"type": "memory"}, "ca_certificate_files": ["root.crt"]},
    }
    report = run(folder, value, program="sd")
    assert report.ok
    assert lines(report) == [
        f"warning jsonrpc_server.tls.certificate_file: {folder}/sd-1.crt does not lead to any of the CAs "
        "named beside it"
    ]
    assert "does not lead" in report.describe()


def test_an_authority_that_is_none_is_passed_over(folder: Path) -> None:
    """A start loads it: the others in the list count."""
    (folder / "root.crt").write_bytes(AUTHORITY.issue_tls("x").leaf_pem + AUTHORITY.root_pem)
    report = run(folder)
    assert report.ok
    text = f"{folder}/root.crt: x is no certificate authority"
    assert lines(report) == [f"warning directory.settings.ca_certificate_files[0]: {text}"]


def test_a_client_without_authorities_or_certificate(folder: Path) -> None:
    client = {"type": "jsonrpc_client", "settings": {"endpoint": "https://localhost:1/x"}}
    assert run(folder, settings(channels=[client])).problems == ()
    pair = {key: value for key, value in tls().items() if key != "ca_certificate_files"}
    nobody = (
        "error channels[0].settings.tls.ca_certificate_files: no certificate authority is named to check peers with"
    )
    for given in ({}, pair):  # a start refuses them, too
        client["settings"] = {"endpoint": "https://localhost:1/x", "tls": given}
        assert lines(run(folder, settings(channels=[client]))) == [nobody]
        client["settings"] = {"endpoint": "http://localhost:1/x", "tls": given}  # where it has no use for them
        assert run(folder, settings(channels=[client])).problems == ()


def test_a_directory_without_tls_needs_no_authorities(folder: Path) -> None:
    api = {"ca_certificate_files": ["root.crt"], "jsonrpc_client": {"tls": {}}}
    for url, count in (("http://localhost:1/jsonrpc", 0), ("https://localhost:1/jsonrpc", 1)):
        directory = {"type": "api", "settings": {**api, "endpoints": [url]}}
        assert len(run(folder, settings(directory=directory)).problems) == count


def test_a_file_that_vanishes_meanwhile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.settings.fields.os.path.isfile", lambda path: True)
    monkeypatch.setattr("eps.settings.fields.os.access", lambda path, mode: True)
    (folder / "hd-1.crt").unlink()
    (folder / "sign.key").unlink()
    found = lines(run(folder))
    assert found == [
        f"error {SERVER}.certificate_file: {folder}/hd-1.crt: no such file",
        f"error signing.key_file: {folder}/sign.key: no such file",
    ]


def test_encrypted_keys(folder: Path) -> None:
    key = serialization.load_pem_private_key((folder / "hd-1.key").read_bytes(), None)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (folder / "hd-1.key").write_bytes(pem)
    assert lines(run(folder)) == [f"error {SERVER}.key_file: {folder}/hd-1.key: the key is encrypted"]


def test_a_certificate_of_its_own_is_not_trusted(folder: Path) -> None:
    """Self-signed, and not among the authorities."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = AUTHORITY.issue_tls("hd-1").certificate.subject
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=90))
        .sign(key, hashes.SHA256())
    )
    (folder / "hd-1.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    no_encryption = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_encryption)
    (folder / "hd-1.key").write_bytes(pem)
    assert lines(run(folder)) == [
        f"error {SERVER}.certificate_file: {folder}/hd-1.crt does not lead to any of the CAs named beside it"
    ]
