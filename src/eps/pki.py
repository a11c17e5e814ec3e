"""A certificate authority in memory: for the development network (``eps dev certs``) and for tests.

Root → intermediate → leaves, with the extensions that OpenSSL's strict mode asks for. Two kinds of leaf, of the shape
in PROTOCOL.md section 1: TLS (name and DNS names) and signing (an operator's name and groups as URIs). Nothing here
touches files except :meth:`Issued.write`; issuing is free of shared state, so leaves can be made in several threads.
Of an authority that is kept, the intermediate's key is: it signs what comes later (:meth:`Authority.of`).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from eps.core.certificate import fingerprint_of, fits
from eps.core.names import Fingerprint

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

BACKDATED = timedelta(hours=1)
"""Validity begins this much before now, so that a machine or container whose clock is a little behind accepts it."""

ROOT_DAYS = 3650
INTERMEDIATE_DAYS = 1825
LEAF_DAYS = 825
"""Each lives longer than what it signs; 825 days is the most that some TLS clients accept of a leaf."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A leaf and its key.

    Attributes:
        cert_pem: the leaf, then the intermediate (what a TLS server sends).
        key_pem: the leaf's private key, unencrypted. A secret.
        certificate: the leaf.
    """

    cert_pem: bytes
    key_pem: bytes = field(repr=False)
    certificate: x509.Certificate

    @property
    def leaf_pem(self) -> bytes:
        """The leaf alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> Fingerprint:
        """What a directory pins: SHA-256 of the leaf's DER form, 64 lower-case hex digits."""
        return fingerprint_of(self.certificate)

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write ``NAME.crt`` and ``NAME.key`` (readable by its owner only) into ``folder`` and give their paths."""
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.cert_pem)
        write_key(key, self.key_pem)
        return certificate, key


def write_key(path: Path, key_pem: bytes) -> None:
    """Write a private key that its owner only may read, from its first byte on."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(key_pem)


@dataclass(frozen=True, slots=True)
class Authority:
    """A root and an intermediate that signs leaves.

    Attributes:
        root, intermediate: the certificates.
        fast: P-256 keys everywhere instead of RSA 2048, for tests (an RSA key takes 30 to 40 ms).
    """

    root: x509.Certificate
    intermediate: x509.Certificate
    fast: bool
    _key: Key = field(repr=False)
    _now: datetime = field(repr=False)

    @classmethod
    def create(cls, *, fast: bool = False, now: datetime | None = None) -> "Authority":
        """A new authority; the root's key is forgotten at once.

        Args:
            fast: use P-256 instead of RSA 2048.
            now: the (aware) time at which validity begins, less an hour; default: the present.
        """
        now = now or datetime.now(UTC)
        root_key, key = new_key(fast), new_key(fast)
        root_name = _name("Testing-Development")
        root = (
            _builder(root_name, root_name, root_key.public_key(), now, ROOT_DAYS)
            .add_extension(_authority_id(root_key), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .sign(root_key, hashes.SHA256())
        )
        intermediate = (
            _builder(_name("intermediate"), root_name, key.public_key(), now, INTERMEDIATE_DAYS)
            .add_extension(_authority_id(root_key), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .sign(root_key, hashes.SHA256())
        )
        return cls(root, intermediate, fast, key, now)

    @classmethod
    def of(cls, root_pem: bytes, intermediate_pem: bytes, key_pem: bytes) -> "Authority":
        """An authority that was made before, from its certificates and :attr:`key_pem`.

        Raises:
            ValueError: the key is none, or not the intermediate's.
        """
        root, intermediate = (x509.load_pem_x509_certificate(pem) for pem in (root_pem, intermediate_pem))
        key = serialization.load_pem_private_key(key_pem, None)
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) or not fits(key, intermediate):
            raise ValueError("the key is not the intermediate's")
        return cls(root, intermediate, isinstance(key, ec.EllipticCurvePrivateKey), key, datetime.now(UTC))

    @property
    def key_pem(self) -> bytes:
        """The intermediate's private key, unencrypted. A secret."""
        return key_pem_of(self._key)

    @property
    def root_pem(self) -> bytes:
        return self.root.public_bytes(serialization.Encoding.PEM)

    @property
    def intermediate_pem(self) -> bytes:
        return self.intermediate.public_bytes(serialization.Encoding.PEM)

    def issue_tls(
        self,
        name: str,
        *,
        dns: Sequence[str] | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Issued:
        """A TLS certificate for clients and servers: CN ``name``, SAN ``DNS:name, DNS:*.name.local``.

        Args:
            name: the common name, at most 64 characters.
            dns: DNS names instead of the usual two; an empty list leaves the extension out.
            not_before, not_after: validity other than the usual one, e.g. in the past.
        """
        key = new_key(self.fast)
        builder = self._leaf(_name(name), key.public_key(), not_before, not_after)
        names = (name, f"*.{name}.local") if dns is None else dns
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
        # An RSA key may also transport a TLS 1.2 secret; an EC key can't.
        usage = _usage(encipherment=not self.fast)
        return self._issued(builder.add_extension(usage, critical=False), key, serialization.PrivateFormat.PKCS8)

    def issue_signing(
        self,
        name: str,
        groups: Sequence[str] = (),
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Issued:
        """A certificate to sign change records with: ECDSA P-256, digitalSignature, key as ``EC PRIVATE KEY``.

        Its SAN is ``URI:iris-name://NAME``, ``URI:iris-group://GROUP`` for each group (one with nothing behind ``//``
        where there is none) and ``DNS:NAME`` (PROTOCOL.md section 1).
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._leaf(_name(name), key.public_key(), not_before, not_after)
        builder = builder.add_extension(x509.SubjectAlternativeName(_signers_names(name, groups)), critical=False)
        builder = builder.add_extension(_usage(), critical=False)
        return self._issued(builder, key, serialization.PrivateFormat.TraditionalOpenSSL)

    def sign_request(self, request: x509.CertificateSigningRequest) -> bytes:
        """What comes of a request: the certificate with the names and usages that it asks for, then the intermediate.

        Raises:
            ValueError: its signature does not fit its key, or its names can't be read.
        """
        key = request.public_key()
        if not request.is_signature_valid or not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise ValueError("the request is not signed with the key that it names, or that is neither RSA nor ECDSA")
        builder = self._leaf(request.subject, key)
        for extension in request.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName | x509.KeyUsage | x509.ExtendedKeyUsage):
                builder = builder.add_extension(extension.value, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM) + self.intermediate_pem

    def _leaf(
        self,
        subject: x509.Name,
        key: PublicKey,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> x509.CertificateBuilder:
        builder = _builder(subject, self.intermediate.subject, key, self._now, LEAF_DAYS, not_before, not_after)
        return builder.add_extension(_authority_id(self._key), critical=False)

    def _issued(self, builder: x509.CertificateBuilder, key: Key, key_format: serialization.PrivateFormat) -> Issued:
        certificate = builder.sign(self._key, hashes.SHA256())
        leaf_pem = certificate.public_bytes(serialization.Encoding.PEM)
        key_pem = key.private_bytes(serialization.Encoding.PEM, key_format, serialization.NoEncryption())
        return Issued(leaf_pem + self.intermediate_pem, key_pem, certificate)


def request_tls(name: str, key: Key, dns: Sequence[str] = ()) -> bytes:
    """A request, PEM, for a certificate of ``name`` on connections: CN, and DNS names (``name`` and ``dns``)."""
    names = [x509.DNSName(each) for each in dict.fromkeys((name, *dns))]
    return _request(name, names, _usage(encipherment=isinstance(key, rsa.RSAPrivateKey)), key)


def request_signing(name: str, key: Key, groups: Sequence[str] = ()) -> bytes:
    """A request, PEM, for a certificate to sign records with: names as :meth:`Authority.issue_signing` has them."""
    return _request(name, _signers_names(name, groups), _usage(), key)


def _request(name: str, names: Sequence[x509.GeneralName], usage: x509.KeyUsage, key: Key) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(usage, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _signers_names(name: str, groups: Sequence[str]) -> list[x509.GeneralName]:
    """``URI:iris-name://NAME``, a URI for each group (one with an empty one if there is none), ``DNS:NAME``."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"iris-name://{name}")]
    names += [x509.UniformResourceIdentifier(f"iris-group://{group}") for group in groups or ("",)]
    return [*names, x509.DNSName(name)]


def key_pem_of(key: Key) -> bytes:
    """A private key, unencrypted, in the form that servers in use read: ``EC PRIVATE KEY``, ``PRIVATE KEY`` for RSA."""
    forms = serialization.PrivateFormat
    form = forms.TraditionalOpenSSL if isinstance(key, ec.EllipticCurvePrivateKey) else forms.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def new_key(fast: bool) -> Key:
    """A new key: P-256, or RSA 2048, which takes 30 to 40 ms."""
    if fast:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "Berlin"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Berlin"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "IRIS"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "IT"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: PublicKey,
    now: datetime,
    days: int,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> x509.CertificateBuilder:
    """What root, intermediate and leaves have in common."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before or now - BACKDATED)
        .not_valid_after(not_after or now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority_id(issuer_key: Key) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())


def _usage(*, ca: bool = False, encipherment: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
