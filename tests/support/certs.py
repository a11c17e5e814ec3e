"""Certificates of any shape, also of shapes that nobody should accept, for the tests of the path check."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from eps.core.signature import Signer, TrustStore, load_signer

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
UNKNOWN_OID = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")


@dataclass(frozen=True)
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())

    @property
    def signer(self) -> Signer:
        return load_signer(self.pem, self.key_pem)


def usage(**flags: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: flags.get(name, False) for name in names.split()})


def make(
    name: str,
    issuer: Made | None = None,
    *,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    start: datetime = START,
    end: datetime = END,
    key: Any = None,
    issuer_name: str | None = None,
) -> Made:
    """A certificate with exactly these extensions, signed by ``issuer`` or by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    own_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name else [])
    signed_as = issuer.certificate.subject if issuer else own_name
    if issuer_name is not None:
        signed_as = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(own_name)
        .issuer_name(signed_as)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    signer = issuer.key if issuer else key
    return Made(builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()), key)


def authority(
    name: str,
    issuer: Made | None = None,
    *,
    ca: bool = True,
    path_length: int | None = None,
    cert_sign: bool = True,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    **others: Any,
) -> Made:
    """A certificate that issues others, unless told that it may not."""
    extensions = [
        (x509.BasicConstraints(ca, path_length), True),
        (usage(key_cert_sign=cert_sign, digital_signature=True), True),
        *extra,
    ]
    return make(name, issuer, extensions=extensions, **others)


def names(operator: str, groups: Sequence[str] = ("sd-admin",), dns: Sequence[str] | None = None) -> x509.ExtensionType:
    """The SAN of a signing certificate (PROTOCOL.md section 1)."""
    uris = [f"iris-name://{operator}", *(f"iris-group://{group}" for group in groups)]
    general: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    general += [x509.DNSName(name) for name in ([operator] if dns is None else dns)]
    return x509.SubjectAlternativeName(general)


def signing(
    operator: str,
    issuer: Made,
    groups: Sequence[str] = ("sd-admin",),
    *,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    **others: Any,
) -> Made:
    """A signing certificate as the network's are."""
    extensions = [(names(operator, groups), False), (usage(digital_signature=True), False), *extra]
    return make(operator, issuer, extensions=extensions, **others)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


ROOT = authority("root")
INTERMEDIATE = authority("intermediate", ROOT, path_length=0)
HD_1 = signing("hd-1", INTERMEDIATE)
HD_1_ALT = signing("hd-1", INTERMEDIATE)
HD_2 = signing("hd-2", INTERMEDIATE, [""])


def trust(*, roots: Sequence[Made] = (ROOT,), intermediates: Sequence[Made] = (INTERMEDIATE,)) -> TrustStore:
    return TrustStore([made.certificate for made in roots], [made.certificate for made in intermediates])
