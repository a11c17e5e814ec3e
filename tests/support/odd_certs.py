"""Certificates that no library of ours would make: old signatures, curves written out. DER is put together by hand."""

import base64
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.certs import Made

_SHA256_RSA = bytes.fromhex("2a864886f70d01010b")
_SHA256_ECDSA = bytes.fromhex("2a8648ce3d040302")
_OLD_RSA: dict[str, tuple[bytes, hashes.HashAlgorithm]] = {
    "sha1": (bytes.fromhex("2a864886f70d010105"), hashes.SHA1()),
    "md5": (bytes.fromhex("2a864886f70d010104"), hashes.MD5()),
}
_EC_KEY = bytes.fromhex("06072a8648ce3d0201")
_PRIME_FIELD = bytes.fromhex("06072a8648ce3d0101")
# P-256 (SEC 2, 2.4.2)
_P = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"
_A = "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc"
_B = "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"
_N = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
_G = (
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)


def der(tag: int, *parts: bytes) -> bytes:
    """One value."""
    content = b"".join(parts)
    size = len(content)
    long = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag]) + (bytes([size]) if size < 128 else bytes([0x80 + len(long)]) + long) + content


def _edited(made: Made, edit: Callable[[bytes], bytes], sign: Callable[[bytes], bytes], oid: bytes) -> Made:
    """``made``, whose signed part is changed and signed again."""
    tbs = made.certificate.tbs_certificate_bytes
    assert tbs[1] > 128  # a long length
    tbs = der(0x30, edit(tbs[2 + tbs[1] - 128 :]))
    null = b"\x05\x00" * (oid[:7] == _SHA256_RSA[:7])
    whole = der(0x30, tbs, der(0x30, der(6, oid), null), der(3, b"\x00", sign(tbs)))
    return Made(x509.load_der_x509_certificate(whole), made.key)


def signed_with(digest: str, made: Made, issuer_key: Any) -> Made:
    """``made``, signed by an RSA key with ``md5`` or ``sha1``."""
    oid, algorithm = _OLD_RSA[digest]
    return _edited(
        made,
        lambda content: content.replace(_SHA256_RSA, oid),
        lambda tbs: issuer_key.sign(tbs, padding.PKCS1v15(), algorithm),
        oid,
    )


def of_version_1(made: Made, issuer_key: ec.EllipticCurvePrivateKey) -> Made:
    """``made``, which has no extensions, as they were before there were any."""
    return _edited(
        made,
        lambda content: content.removeprefix(bytes.fromhex("a003020102")),
        lambda tbs: issuer_key.sign(tbs, ec.ECDSA(hashes.SHA256())),
        _SHA256_ECDSA,
    )


def curve_written_out() -> bytes:
    """The parameters of P-256 in full (RFC 3279, 2.3.5), where its name belongs."""
    field = der(0x30, _PRIME_FIELD, der(2, b"\x00" + bytes.fromhex(_P)))
    curve = der(0x30, der(4, bytes.fromhex(_A)), der(4, bytes.fromhex(_B)))
    order = der(2, b"\x00" + bytes.fromhex(_N))
    return der(0x30, b"\x02\x01\x01", field, curve, der(4, bytes.fromhex(_G)), order, b"\x02\x01\x01")


def with_curve_written_out(made: Made, issuer_key: ec.EllipticCurvePrivateKey) -> Made:
    """``made``, of a P-256 key, signed by another, with its curve as explicit parameters."""
    named = made.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = made.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    explicit = der(0x30, der(0x30, _EC_KEY, curve_written_out()), der(3, b"\x00", point))
    return _edited(
        made,
        lambda content: content.replace(named, explicit),
        lambda tbs: issuer_key.sign(tbs, ec.ECDSA(hashes.SHA256())),
        _SHA256_ECDSA,
    )


def key_with_curve_written_out(key: ec.EllipticCurvePrivateKey) -> bytes:
    """An EC PRIVATE KEY (RFC 5915) in PEM form."""
    secret = key.private_numbers().private_value.to_bytes(32)
    text = base64.encodebytes(der(0x30, b"\x02\x01\x01", der(4, secret), der(0xA0, curve_written_out())))
    return b"-----BEGIN EC PRIVATE KEY-----\n" + text + b"-----END EC PRIVATE KEY-----\n"
