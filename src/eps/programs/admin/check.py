"""``config check``: all that can be known about settings without starting the program.

Beyond what loading does, it reads the certificates and keys that the settings name: do they parse, does the key fit,
are they valid today, do they lead to a CA that the settings trust, and do they name the operator?
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from eps.core.signature import UNREADABLE
from eps.settings import PROGRAMS, read_program
from eps.settings.fields import Model
from eps.settings.models import EpsSettings, MutualTlsSettings, SigningSettings, TlsSettings
from eps.settings.node import locate
from eps.settings.problems import Loc, Problem, Severity, describe_problems, render_path
from eps.settings.validate import walk
from eps.settings.variables import Prompt

SOON = timedelta(days=30)
"""A certificate with less to live than this gets a warning; renewing one takes some organisations weeks."""

MAX_CHAIN = 8
"""Certificates from a leaf to its root; the network's have three."""

Finding = tuple[Loc, str, str, Severity]

_AUTHORITIES = ("ca_certificate_file", "ca_certificate_files", "ca_intermediate_certificate_files")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What ``config check`` found.

    Attributes:
        program: eps, sd or proxy.
        files: the settings files that were read.
        certificates: the certificate files that were read.
    """

    program: str
    files: tuple[str, ...]
    certificates: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether the program could start; warnings may remain."""
        return all(problem.severity is not Severity.ERROR for problem in self.problems)

    def describe(self) -> str:
        """For the terminal."""
        read = f"files read: {len(self.files)} of settings, {len(self.certificates)} of certificates"
        verdict = "the settings are fine" if not self.problems else describe_problems(self.problems)
        return f"{verdict}\n{read}"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "program": self.program,
            "ok": self.ok,
            "files": list(self.files),
            "certificates": list(self.certificates),
            "problems": [problem.to_json() for problem in self.problems],
        }


def check(
    program: str,
    environment: Mapping[str, str],
    folder: Path,
    prompt: Prompt | None = None,
    *,
    now: datetime | None = None,
) -> CheckReport:
    """Check the settings of ``program`` (eps, sd or proxy).

    Args:
        environment, folder, prompt: as for ``load_eps``.
        now: the (aware) time at which certificates must be valid; default: the present.
    """
    reading = read_program(program, PROGRAMS[program].model, environment, folder, prompt)
    problems = list(reading.problems)
    certificates: list[str] = []
    for finding in _findings(reading.settings, now or datetime.now(UTC), certificates) if reading.settings else ():
        loc, text, hint, severity = finding
        way, node, _ = locate(reading.tree, loc)
        # One file is named in many places; once is enough.
        if not any(problem.text == text for problem in problems):
            problems.append(Problem(node.origin.file, node.origin.line, render_path(way), text, hint, severity))
    return CheckReport(program, reading.files, tuple(dict.fromkeys(certificates)), tuple(problems))


def _findings(settings: Model, now: datetime, certificates: list[str]) -> Iterator[Finding]:
    _read_certificates.cache_clear()
    operator = settings.name if isinstance(settings, EpsSettings) else None
    for loc, model in walk(settings):
        for key, name in _authority_files(model):
            certificates.append(name)
            yield from _check_authority((*loc, *key), name, now)
        if isinstance(model, TlsSettings | SigningSettings) and model.certificate_file and model.key_file:
            certificates.append(model.certificate_file)
            yield from _check_pair(loc, model, model.certificate_file, model.key_file, operator, now)


def _authority_files(model: Model) -> Iterator[tuple[Loc, str]]:
    for key in _AUTHORITIES:
        value = getattr(model, key, None)
        if isinstance(value, str):
            yield (key,), value
        elif isinstance(value, tuple):
            yield from (((key, index), name) for index, name in enumerate(value))


def _check_authority(loc: Loc, name: str, now: datetime) -> Iterator[Finding]:
    certificates, reason = _read_certificates(name)
    if not certificates:
        yield loc, f"{name} {reason}", "it must hold PEM certificates", Severity.ERROR
    for certificate in certificates:
        if not _is_authority(certificate):
            text = f"{name}: {common_name(certificate)} is no certificate authority"
            yield loc, text, "only CA certificates belong here", Severity.ERROR
        yield from _check_dates(loc, name, certificate, now)


def _check_pair(
    loc: Loc,
    model: TlsSettings | SigningSettings,
    certificate_file: str,
    key_file: str,
    operator: str | None,
    now: datetime,
) -> Iterator[Finding]:
    place = (*loc, "certificate_file")
    certificates, reason = _read_certificates(certificate_file)
    if not certificates:
        yield place, f"{certificate_file} {reason}", "it must hold PEM certificates, the own one first", Severity.ERROR
        return
    leaf = certificates[0]
    yield from _check_dates(place, certificate_file, leaf, now)
    yield from _check_key((*loc, "key_file"), key_file, leaf, certificate_file, isinstance(model, SigningSettings))
    yield from _check_chain(place, model, certificate_file, certificates)
    if isinstance(model, SigningSettings | MutualTlsSettings) and operator is not None:
        names = signing_names(leaf) if isinstance(model, SigningSettings) else tls_names(leaf)
        if operator not in names:
            text = f"{certificate_file} is for {', '.join(names) or 'nobody'}, not for {operator}"
            yield place, text, "an operator's certificate carries the operator's name", Severity.ERROR


def _check_dates(loc: Loc, name: str, certificate: x509.Certificate, now: datetime) -> Iterator[Finding]:
    who = f"{name}: the certificate of {common_name(certificate)}"
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        yield loc, f"{who} expired on {ends:%Y-%m-%d %H:%M} UTC", "get a new one", Severity.ERROR
    elif now < begins:
        text = f"{who} is not valid before {begins:%Y-%m-%d %H:%M} UTC"
        yield loc, text, "is this machine's clock right?", Severity.ERROR
    elif ends - now < SOON:
        text = f"{who} expires in {(ends - now).days} days, on {ends:%Y-%m-%d}"
        yield loc, text, "get a new one, and pin it in the directory before you use it", Severity.WARNING


def _check_key(loc: Loc, name: str, leaf: x509.Certificate, certificate_file: str, signing: bool) -> Iterator[Finding]:
    try:
        data = Path(name).read_bytes()
        key = load_pem_private_key(data, None, unsafe_skip_rsa_key_validation=True)  # it is compared, not used
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        hint = "it must be PEM, without a password"
        yield loc, f"{name} holds no private key that can be read: {type(error).__name__}", hint, Severity.ERROR
        return
    if key.public_key() != leaf.public_key():
        text = f"the key {name} does not fit the certificate {certificate_file}"
        yield loc, text, "each certificate has a key of its own; name that one", Severity.ERROR
    elif signing and not (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)):
        yield loc, f"{name} is not an ECDSA P-256 key", "records are signed with ECDSA P-256", Severity.ERROR
    elif signing and b"-----BEGIN EC PRIVATE KEY-----" not in data:
        hint = f"openssl ec -in {name} converts it"
        yield loc, f"{name} is not of the form EC PRIVATE KEY, the only one in use", hint, Severity.ERROR


def _check_chain(
    loc: Loc, model: TlsSettings | SigningSettings, name: str, chain: tuple[x509.Certificate, ...]
) -> Iterator[Finding]:
    """Does the certificate lead to a root that the same settings trust?

    Between EPS servers and for signatures both sides have the same authorities, so anything else is an error. A
    JSON-RPC server may well trust other authorities than its own certificate's.
    """
    files = [_read_certificates(file)[0] for _, file in _authority_files(model)]
    authorities = [certificate for certificates in files for certificate in certificates]
    # Without a list of CAs there is nothing to compare with; a file that can't be read has been reported.
    if not files or not all(files) or _leads_to_root(chain[0], [*chain[1:], *authorities], authorities):
        return
    network = isinstance(model, SigningSettings | MutualTlsSettings)
    hint = "peers will refuse it; is it from another CA, or is the intermediate certificate missing from the file?"
    text = f"{name} does not lead to any of the CAs named beside it"
    yield loc, text, hint, Severity.ERROR if network else Severity.WARNING


def _leads_to_root(leaf: x509.Certificate, known: list[x509.Certificate], trusted: list[x509.Certificate]) -> bool:
    certificate = leaf
    for _ in range(MAX_CHAIN):
        if certificate.issuer == certificate.subject:
            return certificate in trusted
        issuer = next((item for item in known if _is_issued_by(certificate, item)), None)
        if issuer is None:
            return False
        certificate = issuer
    return False


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


@lru_cache(maxsize=256)
def _read_certificates(name: str) -> tuple[tuple[x509.Certificate, ...], str]:
    """A file's certificates, or none and what is wrong with it. Cached: one check reads the same files many times."""
    try:
        return tuple(x509.load_pem_x509_certificates(Path(name).read_bytes())), ""
    except OSError as error:
        return (), f"can't be read: {error.strerror}"
    except UNREADABLE:
        return (), "holds no certificate that can be read"


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def common_name(certificate: x509.Certificate) -> str:
    """The certificate's CN; empty if it has none."""
    attributes = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attributes[0].value) if attributes else ""


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def tls_names(certificate: x509.Certificate) -> list[str]:
    """The names that a TLS certificate may stand for: CN, then DNS names (PROTOCOL.md section 3)."""
    names = _alternative_names(certificate)
    dns = names.get_values_for_type(x509.DNSName) if names is not None else []
    return list(dict.fromkeys(name for name in (common_name(certificate), *dns) if name))


def signing_names(certificate: x509.Certificate) -> list[str]:
    """The operators that a signing certificate names: its ``iris-name`` URIs (PROTOCOL.md section 1)."""
    names = _alternative_names(certificate)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []
    return [uri.removeprefix("iris-name://") for uri in uris if uri.startswith("iris-name://")]
