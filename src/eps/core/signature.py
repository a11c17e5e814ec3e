"""Signatures of change records and of JSON objects, and whose they are (PROTOCOL.md section 4).

A signature carries its signer's leaf certificate. The leaf counts if a path leads from it through the known
intermediates to a known root, at the time of signing. Certificates that others send along are never links of the path.

The path check (``certificate.path_spans``) is done once per leaf: what it yields is the spans of time in which a path
holds, so that a thousand records of one signer cost one check.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from eps.core.canonical import canonical_json
from eps.core.certificate import Span, Subject, fits, path_spans, signing_flaw, subject_of
from eps.core.free_form import MAX_LEVELS, levels
from eps.core.instant import Instant
from eps.core.names import Object
from eps.core.pem import UNREADABLE, certificates_in, key_in
from eps.core.reading import may_sign_a_record
from eps.core.recent import Recent
from eps.core.record import Ecdsa, Signature, parse_change_record, parse_signature
from eps.core.structure import structured_bytes, structured_hash
from eps.core.verdict import unfit
from eps.errors import BadParams, RecordError, StartError

MAX_CACHED_LEAVES = 1024
"""A network has a handful of signers. A stranger who makes up certificates can't fill the memory."""

INTERMEDIATE_SETTING = "ca_intermediate_certificate_files"
_ECDSA = ec.ECDSA(Prehashed(SHA256()))


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
    """The certificates that an administrator configured, and what follows from them for leaves seen so far.

    Attributes:
        pinned_only: of change records, believe only signers whose certificate the directory pins; until one of those
            has signed, the root's signer, too.
        canonical_from: of change records, believe those of this date and behind only with a canonical signature.
    """

    roots: Sequence[x509.Certificate]
    intermediates: Sequence[x509.Certificate]
    pinned_only: bool = False
    canonical_from: Instant | None = None
    leaves: Recent[str, Leaf] = field(
        default_factory=lambda: Recent(MAX_CACHED_LEAVES), init=False, repr=False, compare=False
    )

    @classmethod
    def from_pem(
        cls,
        roots: Mapping[str, bytes],
        intermediates: Mapping[str, bytes],
        *,
        pinned_only: bool = False,
        canonical_from: Instant | None = None,
    ) -> "TrustStore":
        """From the contents of PEM files, by name; each may hold several certificates.

        Raises:
            StartError: one can't be read, or there is no root.
        """
        known = _load_all(roots, "ca_certificate_files"), _load_all(intermediates, INTERMEDIATE_SETTING)
        store = cls(*known, pinned_only, canonical_from)
        if not store.roots:
            raise StartError("no root certificate is configured", hint="set ca_certificate_files")
        return store

    def leaf(self, pem: str) -> Leaf:
        """What is known of the signer's certificate ``pem``; found out at its first appearance."""
        leaf = self.leaves.get(pem)
        if leaf is None:
            leaf = _judge(pem, self)
            self.leaves.put(pem, leaf)
        return leaf

    def valid(self, pem: str, at: datetime) -> bool:
        """Whether a path leads from the certificate ``pem`` to a root at the time ``at`` (with a time zone)."""
        return any(span.holds(at) for span in self.leaf(pem).spans)


def _load_all(files: Mapping[str, bytes], setting: str) -> tuple[x509.Certificate, ...]:
    return tuple(one for file, content in files.items() for one in certificates_in(content, file, setting))


def _judge(pem: str, trust: TrustStore) -> Leaf:
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        flaw = signing_flaw(certificate)
        if flaw:
            return Leaf(f"the signer's certificate {flaw}")
        subject, key = subject_of(certificate), certificate.public_key()
        spans = path_spans(certificate, trust.roots, trust.intermediates)
    except UNREADABLE as error:
        return Leaf(f"the signer's certificate can't be read: {error}")
    assert isinstance(key, ec.EllipticCurvePublicKey)  # signing_flaw has seen to it
    if not spans:
        return Leaf(f"the certificate of {subject} does not lead through the known intermediates to a known root")
    return Leaf("", subject, key, spans)


def verify(payload: Object, signature: Signature, at: datetime, trust: TrustStore) -> Subject:
    """Whose signature this is, judged at the time ``at`` (with a time zone).

    Args:
        payload: what was signed: its structured hash, and, where there is a second signature, its canonical JSON.

    Raises:
        RecordError: it is nobody's to believe; the message says why.
    """
    leaf = trust.leaf(signature.c)
    if leaf.flaw:
        raise RecordError(leaf.flaw, hint="sign with the NAME-sign certificate of an administrator of this network")
    assert leaf.subject is not None
    if not trust.valid(signature.c, at):
        raise RecordError(
            f"the certificate of {leaf.subject}, or one above it, is not valid at {at:%Y-%m-%d %H:%M:%S} UTC, "
            f"only from {leaf.spans[0].start:%Y-%m-%d %H:%M:%S} to {leaf.spans[0].end:%Y-%m-%d %H:%M:%S}",
            hint="renew the certificate, or check the clock of the machine that signed",
        )
    _verify_one(structured_hash(payload), Ecdsa(signature.r, signature.s), leaf, "signature")
    if signature.canonical is not None:  # only now: nobody but who signed the rest makes us write JSON
        _verify_one(sha256(canonical_json(payload)).digest(), signature.canonical, leaf, "canonical signature")
    return leaf.subject


def _verify_one(digest: bytes, numbers: Ecdsa, leaf: Leaf, which: str) -> None:
    assert leaf.key is not None
    try:
        leaf.key.verify(encode_dss_signature(int(numbers.r), int(numbers.s)), digest, _ECDSA)
    except InvalidSignature:
        raise RecordError(
            f"the {which} is not one that {leaf.subject} made over this content",
            hint="the content was changed after signing, or signed with another key",
        ) from None


# Signing


@dataclass(frozen=True, slots=True)
class Signer:
    """A leaf certificate and its private key. The key is a secret and never shown."""

    certificate_pem: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    subject: Subject

    def sign(self, payload: Object) -> Signature:
        """Both signatures over ``payload``, which can be hashed: over its structured hash, which is signed as it is,
        and over its canonical JSON."""
        first, second = self._sign(structured_hash(payload)), self._sign(sha256(canonical_json(payload)).digest())
        return Signature(first.r, first.s, self.certificate_pem, second)

    def _sign(self, digest: bytes) -> Ecdsa:
        r, s = decode_dss_signature(self.key.sign(digest, _ECDSA))
        return Ecdsa(str(r), str(s))


def load_signer(
    certificate_pem: bytes,
    key_pem: bytes,
    *,
    certificate_file: str = "the signing certificate",
    key_file: str = "the signing key",
) -> Signer:
    """The signer of a ``NAME-sign.crt`` (its first certificate counts) and ``NAME-sign.key``.

    Args:
        certificate_file, key_file: what the error calls them.

    Raises:
        StartError: not a signing certificate, not an ``EC PRIVATE KEY``, or a key that doesn't belong to it.
    """
    certificate, subject = signing_certificate(certificate_pem, certificate_file)
    key = signing_key(key_pem, key_file)
    if not fits(key, certificate):
        raise StartError(
            f"{key_file}: the key does not belong to the certificate of {subject} in {certificate_file}",
            hint="signing.certificate_file and signing.key_file must be of one pair",
        )
    return Signer(certificate.public_bytes(Encoding.PEM).decode(), key, subject)


def signing_certificate(content: bytes, file: str) -> tuple[x509.Certificate, Subject]:
    """The first certificate of ``content``, and whose it is; raises StartError if nobody can sign with it."""
    certificate = certificates_in(content, file, "signing.certificate_file")[0]
    try:
        flaw = signing_flaw(certificate)
        subject = subject_of(certificate)
    except UNREADABLE as error:
        raise StartError(f"{file}: the certificate can't be read: {error}", hint="get a new one") from None
    if flaw:
        raise StartError(f"{file}: the certificate {flaw}", hint="set signing.certificate_file to a NAME-sign.crt")
    return certificate, subject


def signing_key(content: bytes, file: str) -> ec.EllipticCurvePrivateKey:
    """The key in ``content``, which is a secret; raises StartError if it is in another form than EC PRIVATE KEY."""
    try:
        key = key_in(content, file, "signing.key_file", label="EC PRIVATE KEY")
    except StartError as error:
        raise StartError(error.message, hint=f"convert it: openssl ec -in {file} -out NEW_FILE") from None
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # no other kind has this PEM label
    return key


def sign_object(data: Object, signer: Signer) -> Object:
    """``{"signature", "data"}``, as ``eps sd sign`` prints it.

    An administrator's key signs change records, too, and the hash tells texts from structure by nothing but where they
    stand. So nothing is signed here whose signature could be shown as one under a change record.

    Raises:
        BadParams: ``data`` holds a value that can't be hashed: a number that is no double, half a surrogate pair; or
            it could be shown as a change record.
    """
    if may_sign_a_record(_covered(data)):
        raise BadParams(
            "data: a signature over it could be shown as one under a change record",
            hint="change records are signed by submit-records; call the keys hash and record by other names",
        )
    return {"signature": signer.sign(data).to_json(), "data": data}


def verify_object(signed: object, name: str, at: datetime, trust: TrustStore) -> None:
    """Check what :func:`sign_object` made: chain, DNS name equal to ``name``, and signature.

    Raises:
        BadParams: not of that form.
        RecordError: not signed by ``name``; the message says why. Also if what was signed is a change record, and
            ``data`` only has its bytes.
    """
    if not isinstance(signed, dict) or not isinstance(signed.get("data"), dict):
        raise BadParams("a signed object must have the form {signature, data}, data being an object")
    covered = _covered(signed["data"])
    if may_sign_a_record(covered) and not _is_signed_record(signed["data"]):
        raise RecordError(
            "what was signed may be a change record, and these data only look like it to the signature",
            hint="don't believe it, whoever signed",
        )
    subject = verify(signed["data"], parse_signature(signed.get("signature")), at, trust)
    if name not in subject.dns_names:
        raise RecordError(
            f"signed by {subject}, whose certificate has no DNS name {name!r}",
            hint=f"its DNS names: {', '.join(subject.dns_names) or 'none'}",
        )


def _is_signed_record(data: Object) -> bool:
    """Whether ``data`` are what a change record's signature covers, and say the same as their bytes."""
    if data.keys() - {"hash", "parent_hash", "record"}:
        return False
    try:
        record = parse_change_record(data.get("record"))
    except BadParams:
        return False
    covered = structured_bytes(record.to_json())
    return data.get("hash") == sha256(covered).hexdigest() and not unfit(record, covered)


def _covered(data: Object) -> bytes:
    """The bytes whose hash is signed."""
    if levels(data) > MAX_LEVELS:
        raise BadParams(f"data: is nested more than {MAX_LEVELS} deep")
    try:
        return structured_bytes(data)
    except ValueError as error:
        raise BadParams(f"data: {error}") from None
