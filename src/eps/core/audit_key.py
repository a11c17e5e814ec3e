"""The key that signs an audit log's heads, and what an administrator signs, once, to say that it is the operator's.

    {"audit_key": "<SubjectPublicKeyInfo, hex>", "operator": "hd-1", "since": "2026-11-28T21:15:16Z"}

``eps sd sign`` signs it. Whose signature that is is judged as of ``since``: a log outlives its administrator's
certificate.
"""

from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from eps.core.audit import Head
from eps.core.instant import parse_instant
from eps.core.names import Object
from eps.core.signature import TrustStore, verify_object
from eps.errors import BadParams

_ECDSA = ec.ECDSA(SHA256())

HINT = "eps audit key prints what is to be signed, and eps sd sign signs it"


def sign_head(key: ec.EllipticCurvePrivateKey, head: Head) -> str:
    """The signature, DER in hex."""
    return key.sign(head.signed_bytes(), _ECDSA).hex()


def is_signed(key: ec.EllipticCurvePublicKey, head: Head, signature: str) -> bool:
    """Whether that is the key's signature over the head."""
    try:
        key.verify(bytes.fromhex(signature), head.signed_bytes(), _ECDSA)
    except (ValueError, InvalidSignature):
        return False
    return True


def claim(key: ec.EllipticCurvePublicKey, operator: str, since: str) -> Object:
    """What an administrator signs."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {"audit_key": spki.hex(), "operator": operator, "since": since}


def certified_key(signed: Any, trust: TrustStore) -> tuple[str, ec.EllipticCurvePublicKey]:
    """Whose key it is, and the key, by what an administrator of that operator has signed.

    Raises:
        BadParams: it is no such object.
        RecordError: it is not signed by the operator that it names.
    """
    operator, key, since = parts_of(signed)
    verify_object(signed, operator, since, trust)
    return operator, key


def parts_of(signed: Any) -> tuple[str, ec.EllipticCurvePublicKey, datetime]:
    """Operator, key and day, as a signed object says; whose signature it is is not looked at.

    Raises:
        BadParams: it is no such object.
    """
    data = signed.get("data") if isinstance(signed, dict) else None
    told = [data.get(name) for name in ("operator", "audit_key", "since")] if isinstance(data, dict) else []
    if not told or not all(isinstance(word, str) for word in told):
        raise BadParams("this does not say whose key signs the heads of an audit log", hint=HINT)
    operator, text, since = (str(word) for word in told)
    try:
        key = load_der_public_key(bytes.fromhex(text))
    except (ValueError, UnsupportedAlgorithm):
        raise BadParams("audit_key is no public key", hint=HINT) from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadParams("audit_key is no key for ECDSA", hint=HINT)
    try:
        return operator, key, parse_instant(since).time
    except ValueError as error:
        raise BadParams(f"since: {error}", hint=HINT) from None
