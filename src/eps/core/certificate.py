"""What a certificate says, and what it is good for: the one place that judges certificates, for all who ask.

    names       Subject, fingerprint           whose it is (PROTOCOL.md sections 1 and 3)
    paths       path_spans                     when it leads to a root, for signatures
    doubts      about_own, about_authorities   what is wrong with those that settings name, for TLS

Who checks chains: of signers' certificates this module, since their names are URIs, which library policies refuse; of
TLS peers OpenSSL, in the handshake. ``transport.credentials`` loads files for it and asks here what to say of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from eps.core.names import Fingerprint, Operator, shown_name
from eps.core.pem import UNREADABLE
from eps.core.wording import counted
from eps.reasons import Reason

CLOCK_TOLERANCE = timedelta(minutes=5)
"""By how much the clocks of those who sign, those who issue certificates and those who verify may differ."""

MAX_PATH_CERTIFICATES = 8
"""Longer than any PKI in use; bounds the search among intermediates that name each other."""

SOON = timedelta(days=30)
"""A certificate with less to live than this gets a warning; renewing one takes some organisations weeks."""

MIN_RSA_BITS = 2048
"""What OpenSSL asks for at security level 2, which our TLS contexts and those of common systems have."""

Extension = TypeVar("Extension", bound=x509.ExtensionType)

_NAME_URI = "iris-name://"
_GROUP_URI = "iris-group://"
_TLS_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
"""RFC 8446 section 4.2.3: the curves that signatures in TLS 1.3 are defined for, and that every peer has."""

_EXPLICIT_CURVE = bytes.fromhex("06072a8648ce3d020130")
"""In DER: the type of EC keys (RFC 5480), with a sequence for its parameters where the name of a curve belongs."""

_KNOWN_CRITICAL = {
    x509.BasicConstraints.oid,
    x509.KeyUsage.oid,
    x509.SubjectAlternativeName.oid,
    x509.ExtendedKeyUsage.oid,
}
"""Extensions that may be critical: those that the path check or its users read, and the usage, which says nothing of
signing records. RFC 5280 section 4.2: a certificate with any other critical one is to be refused."""


# Names


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
        return shown_name(self.name or self.common_name) or f"certificate {self.fingerprint[:12]}"

    @property
    def tls_names(self) -> tuple[str, ...]:
        """Whom a TLS certificate may stand for: its CN, then its DNS names, without repetitions (section 3)."""
        return tuple(dict.fromkeys(name for name in (self.common_name, *self.dns_names) if name))


def fingerprint(der: bytes) -> Fingerprint:
    """SHA-256 of a certificate in DER form, lower-case hex, as the directory pins it."""
    return Fingerprint(sha256(der).hexdigest())


def fingerprint_of(certificate: x509.Certificate) -> Fingerprint:
    """That of a certificate that was read."""
    return fingerprint(certificate.public_bytes(Encoding.DER))


def subject_of(certificate: x509.Certificate) -> Subject:
    """Read a certificate's names.

    Raises:
        One of UNREADABLE: its names or extensions can't be read.
    """
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    alternatives = _extension(certificate, x509.SubjectAlternativeName)
    uris = alternatives.get_values_for_type(x509.UniformResourceIdentifier) if alternatives else []
    operators = [uri.removeprefix(_NAME_URI) for uri in uris if uri.startswith(_NAME_URI)]
    groups = [uri.removeprefix(_GROUP_URI) for uri in uris if uri.startswith(_GROUP_URI)]
    return Subject(
        Operator(operators[0] if operators else ""),
        tuple(alternatives.get_values_for_type(x509.DNSName)) if alternatives else (),
        tuple(group for group in groups if group),
        str(names[0].value) if names else "",
        fingerprint_of(certificate),
    )


def _who(certificate: x509.Certificate) -> str:
    """Its holder, for a message."""
    try:
        subject = subject_of(certificate)
        return shown_name(subject.name or subject.common_name or certificate.subject.rfc4514_string()) or str(subject)
    except UNREADABLE:
        return f"certificate {fingerprint_of(certificate)[:12]}"


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
    return _has_signed(issuer, path[-1])


def _has_signed(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
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


# Keys


def signing_flaw(certificate: x509.Certificate) -> str:
    """Why ``certificate`` is not one to sign records with; empty if it is."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return "holds no ECDSA P-256 key"
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        return "lacks the key usage digitalSignature"
    return ""


def fits(key: PrivateKeyTypes, certificate: x509.Certificate) -> bool:
    """Whether ``key`` is the certificate's.

    Raises:
        One of UNREADABLE: the certificate's key can't be read.
    """
    return _encoded(key.public_key()) == _encoded(certificate.public_key())


def _encoded(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def tls_key_flaw(certificate: x509.Certificate) -> str:
    """Why no TLS peer takes the certificate for its key; empty if they do."""
    if _EXPLICIT_CURVE in certificate.tbs_certificate_bytes:
        return "its key writes its curve out as explicit parameters, which TLS peers refuse"
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return "its key is of a kind that TLS peers don't know"
    match key:
        case rsa.RSAPublicKey():
            short = f"its RSA key has {key.key_size} bits, and TLS peers take {MIN_RSA_BITS} or more"
            return short * (key.key_size < MIN_RSA_BITS)
        case ec.EllipticCurvePublicKey():
            odd = f"its key is on the curve {key.curve.name}, which no TLS 1.3 peer shares"
            return odd * (not isinstance(key.curve, _TLS_CURVES))
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return ""
        case _:
            return "its key is of a kind that TLS peers don't know"


# What is wrong, or doubtful, with those that TLS settings name


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something to tell an administrator about a file that settings name.

    Attributes:
        setting: which one: ``certificate_file``, ``key_file`` or ``ca_certificate_files``.
        file: its name; empty if it is about none, or about several.
        text: names the file, too.
        fatal: nothing works with it, so the program doesn't start; else it is a warning.
        reason: the word for it, if it has one of its own.
    """

    setting: str
    file: str
    text: str
    hint: str
    fatal: bool = False
    reason: Reason | None = None


OWN = "certificate_file"
AUTHORITIES = "ca_certificate_files"
KEY_HINT = "use RSA with 2,048 bits or more, P-256, P-384, P-521 or Ed25519, the curve by its name"
_RENEW = "renew it (in a development network: make certs)"
_REPLACE = "replace it, or take it out of the file if it isn't needed"


def about_own(chain: Sequence[x509.Certificate], file: str, now: datetime) -> Iterator[Doubt]:
    """What is wrong with our own TLS certificate, or doubtful in what stands behind it in its file.

    Only the leaf's dates are fatal: peers look for any path that holds, and expired links of others lie in many files.
    """
    leaf = chain[0]
    yield from about_dates(leaf, file, now, OWN, _RENEW, fatal=True)
    flaw = tls_key_flaw(leaf)
    if flaw:
        yield Doubt(OWN, file, f"{file}: the certificate of {_who(leaf)}: {flaw}", KEY_HINT, fatal=True)
    superfluous = _superfluous(chain)
    for certificate in chain[1:]:
        if certificate not in superfluous:
            yield from about_dates(certificate, file, now, OWN, _REPLACE)
    if superfluous:
        names = ", ".join(_in_short(certificate, now) for certificate in superfluous[:5])
        more = f" and {len(superfluous) - 5} more" * (len(superfluous) > 5)
        text = f"{file}: not needed on the way from {_who(leaf)} to its authority: the certificate of {names}{more}"
        yield Doubt(
            OWN, file, text, "take it out of the file; if it was meant as a link of the chain, it is the wrong one"
        )


def _in_short(certificate: x509.Certificate, now: datetime) -> str:
    return _who(certificate) + " (expired)" * (certificate.not_valid_after_utc < now)


def _superfluous(chain: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Those behind the leaf that neither signed it nor, over others, what signed it; and repetitions."""
    needed = [chain[0]]
    for certificate in needed:  # grows meanwhile
        needed += [issuer for issuer in chain[1:] if issuer not in needed and _has_signed(issuer, certificate)]
    return [one for place, one in enumerate(chain) if one not in needed or chain.index(one) < place]


def weakness(chain: Sequence[x509.Certificate]) -> str:
    """What makes OpenSSL call one of ``chain``, leaf first, too weak; empty if nothing is seen."""
    for certificate in chain:
        who = f"the certificate of {_who(certificate)}"
        if flaw := tls_key_flaw(certificate):
            return f"{who}: {flaw}"
        digest = _digest_of(certificate)
        if digest in ("md5", "sha1") and not _is_self_issued(certificate):
            return f"{who} is signed with {digest.upper()}, which can be forged"
    return ""


def _is_self_issued(certificate: x509.Certificate) -> bool:
    try:
        return certificate.subject == certificate.issuer
    except UNREADABLE:
        return False


def _digest_of(certificate: x509.Certificate) -> str:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ""
    return algorithm.name if algorithm else ""


def about_authorities(authorities: Mapping[str, Sequence[x509.Certificate]], now: datetime) -> Iterator[Doubt]:
    """What is wrong with the authorities that TLS peers' certificates must lead to, by file.

    One of several may be an old root that is being phased out; if nothing else is left, nobody can be verified.
    """
    listed = [(file, certificate) for file, certificates in authorities.items() for certificate in certificates]
    expired = [f"{file} on {one.not_valid_after_utc:%Y-%m-%d}" for file, one in listed if one.not_valid_after_utc < now]
    if len(expired) == len(listed):
        text = f"every certificate authority has expired: {', '.join(expired[:5])}"
        yield Doubt(AUTHORITIES, "", text, "set a current one", fatal=True)
    for file, certificate in listed:
        yield from about_authority(certificate, file, now)
        if flaw := tls_key_flaw(certificate):
            text = f"{file}: the certificate of {_who(certificate)}: {flaw}"
            yield Doubt(AUTHORITIES, file, text, "what it has signed is refused; set an authority of today's strength")


def about_authority(certificate: x509.Certificate, file: str, now: datetime, hint: str = _REPLACE) -> Iterator[Doubt]:
    """What is doubtful about one that a list of authorities names, for TLS or signatures."""
    yield from about_dates(certificate, file, now, AUTHORITIES, hint)
    if not _is_authority(certificate):
        text = f"{file}: {_who(certificate)} is no certificate authority"
        yield Doubt(AUTHORITIES, file, text, "it counts for itself alone: nothing can lead to it")


def _is_authority(certificate: x509.Certificate) -> bool:
    """Whether others may lead to it: it says that it is a CA, or is a root from before there were ways to say so."""
    try:
        constraints = _extension(certificate, x509.BasicConstraints)
    except UNREADABLE:
        return False
    if constraints is None:
        return certificate.version is x509.Version.v1 and _is_self_issued(certificate)
    return constraints.ca


def about_dates(
    certificate: x509.Certificate, file: str, now: datetime, setting: str, hint: str = _RENEW, *, fatal: bool = False
) -> Iterator[Doubt]:
    """Whether ``certificate`` is valid ``now``, and will be for a while.

    Args:
        hint: what to do about one that has expired.
        fatal: nothing works if it isn't.
    """
    who = f"{file}: the certificate of {_who(certificate)}"
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if ends < now:
        text = f"{who} has expired on {ends:%Y-%m-%d %H:%M} UTC"
        yield Doubt(setting, file, text, hint + _by_our_clock(now), fatal, Reason.OWN_EXPIRED)
    elif now < begins:
        text = f"{who} is not valid before {begins:%Y-%m-%d %H:%M} UTC"
        hint = "check this machine's clock" + _by_our_clock(now)
        yield Doubt(setting, file, text, hint, fatal, Reason.OWN_CLOCK)
    elif ends - now < SOON:
        text = f"{who} expires in {counted((ends - now).days, 'day')}, on {ends:%Y-%m-%d}"
        yield Doubt(setting, file, text, "get a new one, and pin it in the directory before you use it")


def _by_our_clock(now: datetime) -> str:
    """What a date is judged by: where that is wrong, so is the judgement."""
    return f"; our clock says {now:%Y-%m-%d %H:%M} UTC: if it is wrong, set it first"
