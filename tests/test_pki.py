"""Certificates must be of the recorded shape and pass OpenSSL's strict checks in a real handshake."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from eps.core.certificate import fingerprint_of
from eps.pki import Authority, Issued


@pytest.fixture(scope="module", params=[True, False], ids=["fast", "rsa"])
def authority(request: pytest.FixtureRequest) -> Authority:
    return Authority.create(fast=request.param)


def _common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _shake_hands(authority: Authority, server: Issued, client: Issued, server_name: str, folder: Path) -> None:
    """A mutual TLS 1.3 handshake in memory, both sides with VERIFY_X509_STRICT. Raises ssl.SSLError if it fails."""
    (folder / "root.crt").write_bytes(authority.root_pem)
    sides = []
    for issued, name, purpose in (
        (server, "server", ssl.Purpose.CLIENT_AUTH),
        (client, "client", ssl.Purpose.SERVER_AUTH),
    ):
        context = ssl.create_default_context(purpose, cafile=str(folder / "root.crt"))
        context.load_cert_chain(*issued.write(folder, name))
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        is_server = name == "server"
        tls = context.wrap_bio(
            incoming, outgoing, server_side=is_server, server_hostname=None if is_server else server_name
        )
        sides.append((tls, incoming, outgoing))
    (server_tls, server_in, server_out), (client_tls, client_in, client_out) = sides
    for _ in range(4):
        for tls in (client_tls, server_tls):
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
        server_in.write(client_out.read())
        client_in.write(server_out.read())
    assert client_tls.version() == "TLSv1.3"
    assert server_tls.getpeercert(binary_form=True) == client.certificate.public_bytes(serialization.Encoding.DER)


def test_root_and_intermediate(authority: Authority) -> None:
    authority.intermediate.verify_directly_issued_by(authority.root)
    authority.root.verify_directly_issued_by(authority.root)
    for certificate, path_length in ((authority.root, None), (authority.intermediate, 0)):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert constraints.value == x509.BasicConstraints(ca=True, path_length=path_length)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical
        assert usage.value.key_cert_sign
    assert x509.load_pem_x509_certificate(authority.root_pem) == authority.root
    assert x509.load_pem_x509_certificate(authority.intermediate_pem) == authority.intermediate


def test_tls_certificate(authority: Authority) -> None:
    issued = authority.issue_tls("public-proxy-1.ga")
    assert x509.load_pem_x509_certificates(issued.cert_pem) == [issued.certificate, authority.intermediate]
    assert issued.cert_pem.startswith(issued.leaf_pem)
    assert _common_name(issued.certificate) == "public-proxy-1.ga"
    names = issued.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["public-proxy-1.ga", "*.public-proxy-1.ga.local"]
    key = serialization.load_pem_private_key(issued.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey if authority.fast else rsa.RSAPrivateKey)
    assert key.public_key() == issued.certificate.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        assert key.key_size == 2048
    assert len(issued.fingerprint) == 64
    assert issued.fingerprint == issued.fingerprint.lower() == fingerprint_of(issued.certificate)


def test_strict_chain(authority: Authority) -> None:
    issued = authority.issue_tls("hd-1")
    verifier = PolicyBuilder().store(Store([authority.root])).build_server_verifier(x509.DNSName("hd-1"))
    chain = verifier.verify(issued.certificate, [authority.intermediate])
    assert chain == [issued.certificate, authority.intermediate, authority.root]


def test_mutual_handshake_under_strict_rules(authority: Authority, tmp_path: Path) -> None:
    server, client = authority.issue_tls("hd-1"), authority.issue_tls("hd-2")
    _shake_hands(authority, server, client, "hd-1", tmp_path)
    _shake_hands(authority, server, client, "anything.hd-1.local", tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(authority, server, client, "hd-2", tmp_path)


def test_foreign_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority.create(fast=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(authority, stranger.issue_tls("hd-1"), authority.issue_tls("hd-2"), "hd-1", tmp_path)


def test_other_dns_names_and_validity() -> None:
    authority = Authority.create(fast=True)
    now = datetime.now(UTC)
    expired = authority.issue_tls("x", dns=["a", "b"], not_before=now - timedelta(9), not_after=now - timedelta(2))
    names = expired.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a", "b"]
    assert expired.certificate.not_valid_after_utc < now
    bare = authority.issue_tls("x", dns=[])
    with pytest.raises(x509.ExtensionNotFound):
        bare.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_validity_follows_the_given_time() -> None:
    then = datetime(2001, 2, 3, tzinfo=UTC)
    authority = Authority.create(fast=True, now=then)
    leaf = authority.issue_tls("x").certificate
    assert authority.root.not_valid_before_utc == leaf.not_valid_before_utc == then - timedelta(hours=1)
    assert leaf.not_valid_after_utc < authority.intermediate.not_valid_after_utc < authority.root.not_valid_after_utc


@pytest.mark.parametrize(
    ("groups", "uris"),
    [
        ((), ["iris-name://hd-2", "iris-group://"]),
        (("sd-admin",), ["iris-name://hd-2", "iris-group://sd-admin"]),
        (("a", "b"), ["iris-name://hd-2", "iris-group://a", "iris-group://b"]),
    ],
)
def test_signing_certificate(authority: Authority, groups: tuple[str, ...], uris: list[str]) -> None:
    issued = authority.issue_signing("hd-2", groups)
    names = issued.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == uris
    assert names.get_values_for_type(x509.DNSName) == ["hd-2"]
    usage = issued.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert issued.key_pem.startswith(b"-----BEGIN EC PRIVATE KEY-----\n")
    key = serialization.load_pem_private_key(issued.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    issued.certificate.verify_directly_issued_by(authority.intermediate)


def test_keys_are_private_files(tmp_path: Path) -> None:
    issued = Authority.create(fast=True).issue_tls("x")
    for _ in range(2):  # also when they replace others
        certificate, key = issued.write(tmp_path, "x")
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert certificate.read_bytes() == issued.cert_pem
        assert key.read_bytes() == issued.key_pem
