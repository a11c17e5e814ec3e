"""An operator's own certificates, as files: requests for new ones, fingerprints, and what is in a file.

``eps cert request | fingerprint | inspect``; ``eps cert renew`` is in ``renewal``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from eps.core.certificate import Subject, fingerprint_of, fits, signing_flaw, subject_of, tls_key_flaw
from eps.core.exact import is_operator
from eps.core.pem import UNREADABLE, certificates_in, key_in
from eps.core.wording import counted, plain
from eps.errors import BadParams, EpsError, StartError
from eps.pki import key_pem_of, new_key, request_signing, request_tls, write_key
from eps.transport.credentials import about_key_file, read_file

_ARGUMENT = "the file"
"""What names a file that was typed, where settings would."""

MAX_COMMON_NAME = 64
"""Characters of a CN (RFC 5280, ub-common-name)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a certificate is wanted for.

    Attributes:
        name: the operator's.
        signing: to sign records with; else for connections.
        names: of a certificate for connections, DNS names besides ``name``; of one to sign with, groups.
        quick: the key of one for connections is P-256 instead of RSA 2048.
    """

    name: str
    signing: bool = False
    names: tuple[str, ...] = ()
    quick: bool = False


# Requests


def make_request(wanted: Request, folder: Path, stem: str = "") -> tuple[Path, Path]:
    """Write a new key (for its owner only) and a request for a certificate; the two paths.

    Args:
        stem: of the files' names; default: ``NAME``, or ``NAME-sign``.

    Raises:
        BadParams: nobody can be called that.
        StartError: one of the files exists, or can't be written.
    """
    if not is_operator(wanted.name) or len(wanted.name) > MAX_COMMON_NAME:
        raise BadParams(
            f"{wanted.name!r} can't be an operator's name",
            hint=f"letters, digits, hyphens and dots, {MAX_COMMON_NAME} at most, as the directory has it",
        )
    stem = stem or (f"{wanted.name}-sign" if wanted.signing else wanted.name)
    key_file, request_file = folder / f"{stem}.key", folder / f"{stem}.csr"
    for file in (key_file, request_file):
        if file.exists():
            hint = "nothing was written; take it away first, if nobody needs it: a lost key can't be made again"
            raise StartError(f"{file} exists", hint=hint)
    key = new_key(wanted.signing or wanted.quick)
    ask = request_signing if wanted.signing else request_tls
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_key(key_file, key_pem_of(key))
        request_file.write_bytes(ask(wanted.name, key, wanted.names))
    except (OSError, ValueError) as error:
        raise _not_written(error, folder) from None
    return key_file, request_file


def _not_written(error: OSError | ValueError, folder: Path) -> EpsError:
    if isinstance(error, OSError):
        return StartError(f"can't write {error.filename or folder}: {error.strerror}", hint="check the folder's owner")
    return BadParams(f"a name can't stand in a certificate: {error}", hint="DNS names and groups are ASCII")


# Files


def read_chain(file: Path) -> tuple[x509.Certificate, ...]:
    """The certificates of a file, at least one, the leaf first; raises StartError if there is none."""
    return certificates_in(read_file(str(file), _ARGUMENT), str(file), _ARGUMENT)


def read_key(file: Path, what: str = _ARGUMENT) -> PrivateKeyTypes:
    """The private key of a file; raises StartError if there is none.

    Args:
        what: names the file in that error.
    """
    return key_in(read_file(str(file), what), str(file), what)


def fingerprints(files: Sequence[Path]) -> Iterator[str]:
    """``eps cert fingerprint``: of one file its leaf's fingerprint, of several each with its name behind it."""
    for file in files:
        found = fingerprint_of(read_chain(file)[0])
        yield found if len(files) == 1 else f"{found}  {file}"


@dataclass(frozen=True, slots=True)
class Inspected:
    """What is in a certificate's file, in the order in which it is shown; all are words for people.

    Attributes:
        file: its name.
        fingerprint: of the leaf; empty for a request.
        lines: (what, how it is).
        well: nothing stands in the way of its use.
    """

    file: str
    fingerprint: str
    lines: tuple[tuple[str, str], ...]
    well: bool

    def describe(self) -> str:
        width = max(len(what) for what, _ in self.lines)
        return "\n".join([self.file, *(f"  {what:<{width}}  {how}" for what, how in self.lines)])

    def to_json(self) -> dict[str, Any]:
        return {"file": self.file, "well": self.well, **dict(self.lines)}


def inspect(file: Path, now: datetime) -> Inspected:
    """``eps cert inspect``: whose a certificate or a request is, what for, until when, and whether its key is there.

    Raises:
        StartError: the file can't be read, or holds neither.
    """
    content = read_file(str(file), _ARGUMENT)
    if b"CERTIFICATE REQUEST" in content:
        return _inspect_request(file, content)
    leaf, *behind = read_chain(file)
    key_line, key_well = _key_beside(file, leaf)
    valid, in_time = _validity(leaf, now)
    flaw = _flaw(leaf)
    lines = [
        ("of", _names(leaf)),
        ("for", _purpose(leaf)),
        ("key", _kind(leaf.public_key())),
        ("valid", valid),
        ("issued by", _common_name(leaf.issuer)),
        ("behind it", ", ".join(_common_name(one.subject) for one in behind) or "no intermediate certificate"),
        ("fingerprint", fingerprint_of(leaf)),
        ("key file", key_line),
        *([("but", flaw)] if flaw else []),
    ]
    return Inspected(str(file), fingerprint_of(leaf), _told(lines), in_time and key_well and not flaw)


def _inspect_request(file: Path, content: bytes) -> Inspected:
    try:
        request = x509.load_pem_x509_csr(content)
        key = _kind(request.public_key())
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        asked = ", ".join(str(name.value) for name in names)
    except x509.ExtensionNotFound:
        asked = "none"
    except UNREADABLE as error:
        raise StartError(f"{file}: the request can't be read: {error}") from None
    who = _common_name(request.subject)
    what = "a request; have the network's authority sign it"
    return Inspected(str(file), "", _told([("is", what), ("of", who), ("names", asked), ("key", key)]), True)


def _told(lines: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Each in one line: whoever made the certificate or request chose its words."""
    return tuple((what, plain(text)) for what, text in lines)


def _names(leaf: x509.Certificate) -> str:
    subject = subject_of(leaf)
    others = [name for name in subject.tls_names if name != (subject.name or subject.common_name)]
    return str(subject) + (f" (also {', '.join(others)})" if others else "")


def _purpose(leaf: x509.Certificate) -> str:
    subject: Subject = subject_of(leaf)
    if not subject.name:
        return "connections"
    groups = f", of {', '.join(subject.groups)}" if subject.groups else ""
    return f"signing records as {subject.name}{groups}"


def _flaw(leaf: x509.Certificate) -> str:
    return signing_flaw(leaf) if subject_of(leaf).name else tls_key_flaw(leaf)


def _kind(key: object) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA, {key.key_size} bits"
    return f"ECDSA, {key.curve.name}" if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__


def _validity(leaf: x509.Certificate, now: datetime) -> tuple[str, bool]:
    begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    text = f"from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"
    if now < begins:
        return f"{text}: not yet", False
    return (f"{text}: expired", False) if ends < now else (f"{text}: {counted((ends - now).days, 'day')} more", True)


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string() or "nobody"


def _key_beside(file: Path, leaf: x509.Certificate) -> tuple[str, bool]:
    """What is said of the key with the certificate's name, and whether it is fit (or isn't there: it need not be)."""
    key_file = file.with_suffix(".key")
    if not key_file.exists():
        return f"none beside it ({key_file.name})", True
    try:
        key = read_key(key_file)
    except StartError as error:
        return error.message, False
    if not fits(key, leaf):
        return f"{key_file.name} is the key of another certificate", False
    for doubt in about_key_file(str(key_file)):
        return doubt.text, False
    return f"{key_file.name} fits", True


def same_kind_of_key(leaf: x509.Certificate) -> bool:
    """Whether a certificate's key is one that is quickly made (``Request.quick``)."""
    return isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
