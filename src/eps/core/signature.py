"""Signatures of change records and of JSON objects, and whose they are (PROTOCOL.md section 4).

A signature carries its signer's leaf certificate. The leaf counts if a path leads from it through the known
intermediates to a known root, at the time of signing. Certificates that others send along are never links of the path.

The path check is our own: these leaves have neither an extended key usage nor, some of them, basic constraints, and
their names are URIs, which the policies of ``cryptography.x509.verification`` refuse. It is done once per leaf: what it
yields is the spans of time in which a path holds, so that a thousand records of one signer cost one check.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from eps.core.free_form import MAX_LEVELS, levels
from eps.core.names import Fingerprint, Object, Operator
from eps.core.recent import Recent
from eps.core.record import Signature, parse_signature, structured_hash
from eps.errors import BadParams, RecordError, StartError

CLOCK_TOLERANCE = timedelta(minutes=5)
"""By how much the clocks of those who sign, those who issue certificates and those who verify may differ."""

MAX_PATH_CERTIFICATES = 8
"""Longer than any PKI in use; bounds the search among intermediates that name each other."""

MAX_CACHED_LEAVES = 1024
"""A network has a handful of signers. A stranger who makes up certificates can't fill the memory."""

Extension = TypeVar("Extension", bound=x509.ExtensionType)

UNREADABLE = (
    ValueError,
    TypeError,  # a name that is a bit string
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for certificates that it can't make sense of, while it reads them or later, when asked."""

_NAME_URI = "iris-name://"
_GROUP_URI = "iris-group://"
_ECDSA = ec.ECDSA(Prehashed(SHA256()))
_KNOWN_CRITICAL = {
    x509.BasicConstraints.oid,
    x509.KeyUsage.oid,
    x509.SubjectAlternativeName.oid,
    x509.ExtendedKeyUsage.oid,
}
"""Extensions that may be critical: those that the path check or its users read, and the usage, which says nothing of
signing records. RFC 5280 section 4.2: a certificate with any other critical one is to be refused."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a certificate says of its holder.

    Attributes:
        name: of the first ``iris-name://`` URI; empty if there is none.
        groups: of the ``iris-group://`` URIs.
    """

    name: Operator
    dns_names: tuple[str, ...]
    groups: tuple[str, ...]
    common_name: str
    fingerprint: Fingerprint

    def __str__(self) -> str:
        return self.name or self.common_name or f"certificate {self.fingerprint[:12]}"


def fingerprint_of(certificate: x509.Certificate) -> Fingerprint:
    """SHA-256 of the DER form, as the directory pins it."""
    return Fingerprint(certificate.fingerprint(SHA256()).hex())


def subject_of(certificate: x509.Certificate) -> Subject:
    """Read a certificate's names.

    Raises:
        ValueError: its extensions can't be read.
    """
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        uris, dns_names = [], []
    else:
        uris = alternatives.get_values_for_type(x509.UniformResourceIdentifier)
        dns_names = alternatives.get_values_for_type(x509.DNSName)
    operators = [uri.removeprefix(_NAME_URI) for uri in uris if uri.startswith(_NAME_URI)]
    groups = [uri.removeprefix(_GROUP_URI) for uri in uris if uri.startswith(_GROUP_URI)]
    return Subject(
        Operator(operators[0] if operators else ""),
        tuple(dns_names),
        tuple(group for group in groups if group),
        str(names[0].value) if names else "",
        fingerprint_of(certificate),
    )


# Paths from a leaf to a root


@dataclass(frozen=True, slots=True)
class Span:
    """A time, both ends included, in which every certificate of one path is valid."""

    start: datetime
    end: datetime

    def holds(self, at: datetime) -> bool:
        return self.start - CLOCK_TOLERANCE <= at <= self.end + CLOCK_TOLERANCE


def path_spans(
    leaf: x509.Certificate, roots: Sequence[x509.Certificate], intermediates: Sequence[x509.Certificate]
) -> tuple[Span, ...]:
    """When, if ever, paths lead from ``leaf`` through ``intermediates`` to one of ``roots`` (RFC 5280 section 6).

    Raises:
        ValueError: a certificate can't be read.
    """
    paths = _paths([leaf], roots, intermediates)
    return tuple(
        Span(max(c.not_valid_before_utc for c in path), min(c.not_valid_after_utc for c in path)) for path in paths
    )


def _paths(
    path: list[x509.Certificate], roots: Sequence[x509.Certificate], intermediates: Sequence[x509.Certificate]
) -> Iterator[list[x509.Certificate]]:
    """All valid continuations of ``path`` (leaf first) that end in a root."""
    last = path[-1]
    if _unknown_critical(last):
        return
    for root in roots:
        if _may_issue(root, path) and not _unknown_critical(root):
            yield [*path, root]
    if len(path) >= MAX_PATH_CERTIFICATES:
        return
    for issuer in intermediates:
        if issuer not in path and _may_issue(issuer, path):
            yield from _paths([*path, issuer], roots, intermediates)


def _may_issue(issuer: x509.Certificate, path: Sequence[x509.Certificate]) -> bool:
    """Whether ``issuer`` is a CA that signed the path's last certificate and may stand above so many others."""
    constraints = _extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return False
    if constraints.path_length is not None and constraints.path_length < _intermediates_in(path):
        return False
    usage = _extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return False
    try:
        path[-1].verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _intermediates_in(path: Sequence[x509.Certificate]) -> int:
    """Those that a path length counts: behind the leaf, and not issued by themselves (RFC 5280 section 4.2.1.9)."""
    return sum(certificate.subject != certificate.issuer for certificate in path[1:])


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _unknown_critical(certificate: x509.Certificate) -> bool:
    return any(extension.critical and extension.oid not in _KNOWN_CRITICAL for extension in certificate.extensions)


# Whom to believe


@dataclass(frozen=True, slots=True)
class Leaf:
    """What was found out about a signer's certificate, once.

    Attributes:
        flaw: why it can't be a signer's at any time; empty if it can.
        spans: when paths lead from it to a root.
    """

    flaw: str
    subject: Subject | None = None
    key: ec.EllipticCurvePublicKey | None = None
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The certificates that an administrator configured, and what follows from them for leaves seen so far."""

    roots: Sequence[x509.Certificate]
    intermediates: Sequence[x509.Certificate]
    _leaves: Recent[str, Leaf] = field(
        default_factory=lambda: Recent(MAX_CACHED_LEAVES), init=False, repr=False, compare=False
    )

    @classmethod
    def from_pem(cls, roots: Sequence[bytes], intermediates: Sequence[bytes]) -> "TrustStore":
        """From the contents of PEM files, each of which may hold several certificates.

        Raises:
            StartError: one can't be read, or there is no root.
        """
        store = cls(_load_all(roots, "root"), _load_all(intermediates, "intermediate"))
        if not store.roots:
            raise StartError("no root certificate is configured", hint="set ca_certificate_files")
        return store

    def leaf(self, pem: str) -> Leaf:
        """What is known of the signer's certificate ``pem``; found out at its first appearance."""
        leaf = self._leaves.get(pem)
        if leaf is None:
            leaf = _judge(pem, self)
            self._leaves.put(pem, leaf)
        return leaf


def _load_all(files: Sequence[bytes], what: str) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(certificate for pem in files for certificate in x509.load_pem_x509_certificates(pem))
    except UNREADABLE as error:
        raise StartError(
            f"one of the {what} certificates can't be read: {error}",
            hint="the files must be PEM, with CERTIFICATE blocks",
        ) from None


def _judge(pem: str, trust: TrustStore) -> Leaf:
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        flaw = _flaw(certificate)
        if flaw:
            return Leaf(flaw)
        subject, key = subject_of(certificate), certificate.public_key()
        spans = path_spans(certificate, trust.roots, trust.intermediates)
    except UNREADABLE as error:
        return Leaf(f"the signer's certificate can't be read: {error}")
    assert isinstance(key, ec.EllipticCurvePublicKey)  # _flaw has seen to it
    if not spans:
        return Leaf(f"the certificate of {subject} does not lead through the known intermediates to a known root")
    return Leaf("", subject, key, spans)


def _flaw(certificate: x509.Certificate) -> str:
    """Why ``certificate`` is not one to sign with; empty if it is."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return "the signer's certificate holds no ECDSA P-256 key"
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        return "the signer's certificate lacks the key usage digitalSignature"
    return ""


def verify(digest: bytes, signature: Signature, at: datetime, trust: TrustStore) -> Subject:
    """Whose signature over ``digest`` (32 bytes) this is, judged at the time ``at`` (with a time zone).

    Raises:
        RecordError: it is nobody's to believe; the message says why.
    """
    leaf = trust.leaf(signature.c)
    if leaf.flaw:
        raise RecordError(leaf.flaw, hint="sign with the NAME-sign certificate of an administrator of this network")
    assert leaf.subject is not None
    assert leaf.key is not None
    if not any(span.holds(at) for span in leaf.spans):
        raise RecordError(
            f"the certificate of {leaf.subject}, or one above it, is not valid at {at:%Y-%m-%d %H:%M:%S} UTC, "
            f"only from {leaf.spans[0].start:%Y-%m-%d %H:%M:%S} to {leaf.spans[0].end:%Y-%m-%d %H:%M:%S}",
            hint="renew the certificate, or check the clock of the machine that signed",
        )
    try:
        leaf.key.verify(encode_dss_signature(int(signature.r), int(signature.s)), digest, _ECDSA)
    except InvalidSignature:
        raise RecordError(
            f"the signature is not one that {leaf.subject} made over this content",
            hint="the content was changed after signing, or signed with another key",
        ) from None
    return leaf.subject


# Signing


@dataclass(frozen=True, slots=True)
class Signer:
    """A leaf certificate and its private key. The key is a secret and never shown."""

    certificate_pem: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    subject: Subject

    def sign(self, digest: bytes) -> Signature:
        """Sign the 32 bytes ``digest`` as they are."""
        r, s = decode_dss_signature(self.key.sign(digest, _ECDSA))
        return Signature(str(r), str(s), self.certificate_pem)


def load_signer(certificate_pem: bytes, key_pem: bytes) -> Signer:
    """The signer of a ``NAME-sign.crt`` (its first certificate counts) and ``NAME-sign.key``.

    Raises:
        StartError: not a signing certificate, not an ``EC PRIVATE KEY``, or a key that doesn't belong to it.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        flaw = _flaw(certificate)
        subject = subject_of(certificate)
    except UNREADABLE as error:
        raise StartError(f"the signing certificate can't be read: {error}", hint="it must be PEM") from None
    if flaw:
        raise StartError(flaw, hint="set signing.certificate_file to a NAME-sign.crt")
    key = _load_key(key_pem)
    if _public(key.public_key()) != _public(certificate.public_key()):
        raise StartError(
            f"the signing key does not belong to the certificate of {subject}",
            hint="signing.certificate_file and signing.key_file must be of one pair",
        )
    return Signer(certificate.public_bytes(Encoding.PEM).decode(), key, subject)


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    hint = "convert it: openssl ec -in KEY -out NEW_KEY"
    if b"-----BEGIN EC PRIVATE KEY-----" not in pem:
        raise StartError("the signing key is not a PEM file with an EC PRIVATE KEY", hint=hint)
    try:
        key = load_pem_private_key(pem[pem.index(b"-----BEGIN EC PRIVATE KEY-----") :], password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's message may quote the key's bytes.
        raise StartError("the signing key can't be read, or it has a password", hint=hint) from None
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # no other kind has this PEM label
    return key


def _public(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign_object(data: Object, signer: Signer) -> Object:
    """``{"signature", "data"}``, as ``eps sd sign`` prints it.

    Raises:
        BadParams: ``data`` holds a value that can't be hashed: a number that is no double, half a surrogate pair.
    """
    return {"signature": signer.sign(_digest(data)).to_json(), "data": data}


def verify_object(signed: object, name: str, at: datetime, trust: TrustStore) -> None:
    """Check what :func:`sign_object` made: chain, DNS name equal to ``name``, and signature.

    Raises:
        BadParams: not of that form.
        RecordError: not signed by ``name``; the message says why.
    """
    if not isinstance(signed, dict) or not isinstance(signed.get("data"), dict):
        raise BadParams("a signed object must have the form {signature, data}, data being an object")
    subject = verify(_digest(signed["data"]), parse_signature(signed.get("signature")), at, trust)
    if name not in subject.dns_names:
        raise RecordError(
            f"signed by {subject}, whose certificate has no DNS name {name!r}",
            hint=f"its DNS names: {', '.join(subject.dns_names) or 'none'}",
        )


def _digest(data: Object) -> bytes:
    if levels(data) > MAX_LEVELS:
        raise BadParams(f"data: is nested more than {MAX_LEVELS} deep")
    try:
        return structured_hash(data)
    except ValueError as error:
        raise BadParams(f"data: {error}") from None
