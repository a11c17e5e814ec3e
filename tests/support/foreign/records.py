"""Change records, written anew from PROTOCOL.md section 4: hash, sign, verify, and entries from a chain."""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from support.foreign.messages import Object

SECTIONS = ("channels", "certificates", "services", "preferences", "settings", "groups")
_SHA256 = ec.ECDSA(Prehashed(hashes.SHA256()))


def structured_hash(value: Any) -> bytes:
    stream = bytearray()
    _write(value, stream)
    return hashlib.sha256(stream).digest()


def _tag(text: str) -> bytes:
    return b"string" + text.encode()


def _empty(value: Any) -> bool:
    return (
        value is None or value is False or value == "" or value == [] or (_number(value) and _bits(value) == bytes(8))
    )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)


def _write(value: Any, stream: bytearray) -> None:
    if _empty(value):
        return
    if isinstance(value, str):
        stream += _tag(value)
    elif value is True:
        stream += _tag("bool") + b"\x02" + bytes(9)
    elif _number(value):
        stream += _tag("float") + _bits(value) + bytes(2)
    elif isinstance(value, list):
        stream += _tag("list")
        for index, item in enumerate(value):
            stream += _tag(str(index))
            _write(item, stream)
    else:
        stream += _tag("map")
        for key in sorted(value, key=str.encode):
            if not _empty(value[key]):
                _write(value[key], stream)
                stream += _tag(key) if key else b""


@dataclass(frozen=True, slots=True)
class Signer:
    """The leaf (PEM, what goes into ``signature.c``) and its P-256 key."""

    leaf_pem: str
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def from_pem(cls, leaf_pem: bytes, key_pem: bytes) -> "Signer":
        key = serialization.load_pem_private_key(key_pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(leaf_pem.decode(), key)


def rfc3339(moment: datetime) -> str:
    """In the form that is hashed: UTC, no trailing zeros in the fraction."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text.rstrip("0").rstrip(".") + "Z"


def sign_record(signer: Signer, parent_hash: str, name: str, section: str, data: Any, created_at: str = "") -> Object:
    """A signed record. ``data`` and ``created_at`` are taken as they are: give them in their normal form."""
    record = {"name": name, "section": section, "data": data, "created_at": created_at or rfc3339(datetime.now(UTC))}
    signed: Object = {"hash": structured_hash(record).hex(), "parent_hash": parent_hash, "record": record}
    r, s = decode_dss_signature(signer.key.sign(structured_hash(signed), _SHA256))
    return {**signed, "signature": {"r": str(r), "s": str(s), "c": signer.leaf_pem}}


def sign_chain(signer: Signer, changes: Iterable[tuple[str, str, Any]], parent_hash: str = "") -> list[Object]:
    """A chain of (name, section, data), the first on top of ``parent_hash`` (empty: a root)."""
    chain: list[Object] = []
    for name, section, data in changes:
        chain.append(sign_record(signer, parent_hash, name, section, data))
        parent_hash = chain[-1]["hash"]
    return chain


def is_genuine(signed: Object, issuers: Sequence[x509.Certificate]) -> bool:
    """Whether hash and signature are right and one of ``issuers`` issued the signer's leaf."""
    core = {key: signed[key] for key in ("hash", "parent_hash", "record")}
    signature = signed["signature"]
    if structured_hash(signed["record"]).hex() != signed["hash"]:
        return False
    leaf = x509.load_pem_x509_certificate(signature["c"].encode())
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not any(_issued(leaf, issuer) for issuer in issuers):
        return False
    try:
        key.verify(encode_dss_signature(int(signature["r"]), int(signature["s"])), structured_hash(core), _SHA256)
    except InvalidSignature:
        return False
    return True


def _issued(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def newest_chain(records: Sequence[Object]) -> list[Object]:
    """The root with the latest ``created_at`` and what follows it in the list (those in use check no links)."""
    roots = [index for index, record in enumerate(records) if not record.get("parent_hash")]
    if not roots:
        return []
    start = max(roots, key=lambda index: datetime.fromisoformat(records[index]["record"]["created_at"]))
    tail = takewhile(lambda record: record.get("parent_hash"), records[start + 1 :])
    return [records[start], *tail]


def entries_of(records: Sequence[Object]) -> list[Object]:
    """Directory entries, each section as its last record left it; absent ones are null, as in use."""
    entries: dict[str, Object] = {}
    for signed in newest_chain(records):
        record = signed["record"]
        empty = dict.fromkeys(SECTIONS)
        entry = entries.setdefault(
            record["name"],
            {"name": record["name"], **empty, "channels": [], "records": [], "properties": {"displayName": ""}},
        )
        entry[record["section"]] = record["data"]
        entry["records"].append(signed)
    return list(entries.values())
