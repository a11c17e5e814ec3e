"""Settings in, the parts of an audit log out: its secret, its key, and what an administrator has signed for that."""

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from eps.core.audit import KEY_BYTES, Head, LineKeys
from eps.core.audit_key import parts_of, sign_head
from eps.core.event import Emit
from eps.core.pem import key_in
from eps.directory.json_files import read_json
from eps.errors import BadParams, StartError
from eps.programs.running.audit_log import AuditFile, AuditLog
from eps.reasons import Reason
from eps.settings import EpsSettings, models
from eps.transport.credentials import read_file


def audit_log(settings: EpsSettings, emit: Emit) -> AuditLog | None:
    """The audit log that settings name; None if they name none.

    Raises:
        StartError: its secret or its key can't be used, or others may read them.
    """
    given = settings.audit
    if given is None:
        return None
    key = head_key(given)
    if given.certified_file:
        _check_certified(given.certified_file, key, settings.name)

    def sign(head: Head) -> str:
        return sign_head(key, head)

    return AuditLog(
        AuditFile(given.file, settings.name, line_keys(given), sign, given.when_failing == "refuse"),
        emit,
    )


def _check_certified(file: str, key: ec.EllipticCurvePrivateKey, name: str) -> None:
    """That it is said of this key, and of this operator: else the log's evidence would not be believed one day."""
    try:
        operator, public, _ = parts_of(read_json(file))
    except BadParams as error:
        raise StartError(f"{file}: {error.message}", hint=error.hint) from None
    if operator != name or public.public_numbers() != key.public_key().public_numbers():
        text = f"{file}: is not about the key in audit.key_file, or not about {name}"
        raise StartError(text, hint="have audit-key.json signed anew: eps sd sign")


def line_keys(given: models.AuditSettings) -> LineKeys:
    """What makes the lines' keys; raises StartError if it is no secret, or none any more."""
    file = given.secret_file
    _check_private(file)
    try:
        secret = bytes.fromhex(Path(file).read_text("ascii").strip())
    except (OSError, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise StartError(f"{file}: holds no {KEY_BYTES} bytes in hex", hint="eps audit key makes such a file")
    return LineKeys(secret)


def head_key(given: models.AuditSettings) -> ec.EllipticCurvePrivateKey:
    """What signs the heads; raises StartError if it is no such key, or if others may read it."""
    file = given.key_file
    _check_private(file)
    key = key_in(read_file(file, "audit.key_file"), file, "audit.key_file", label="EC PRIVATE KEY")
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise StartError(f"{file}: must be a key for ECDSA P-256", hint="eps audit key makes one")
    return key


def _check_private(file: str) -> None:
    """Whoever reads these can read what calls were, or write another log."""
    rights = stat.S_IMODE(os.stat(file).st_mode)
    if rights & 0o077:
        raise StartError(
            f"{file}: other users of this machine may read it (mode {rights:04o}), and with it the audit log",
            hint="chmod 600 it, and make a new one if others have an account here",
            reason=Reason.KEY_READABLE,
        )
