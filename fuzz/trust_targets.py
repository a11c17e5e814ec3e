"""Fuzz targets: certificates and signatures that strangers send."""

import base64
import ssl
import warnings
from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from core_targets import RECORDS, WORDS
from engine import Rnd, Target, mutate_bytes

from eps.core.certificate import about_authorities, about_own, fingerprint, weakness
from eps.core.names import Fingerprint
from eps.core.pem import certificates_in
from eps.core.record import Signature, parse_signed_record, signed_payload
from eps.core.signature import TrustStore, verify, verify_object
from eps.errors import BadParams, RecordError, StartError, TlsFailed
from eps.transport.tls import certificate_names, identify
from support.vectors import pem

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
OIDS = (b"\x55\x1d\x11", b"\x55\x1d\x0f", b"\x55\x1d\x13", b"\x55\x04\x03", b"\x2a\x86\x48\xce\x3d\x03\x01\x07")
DER_TOKENS = (
    *OIDS,
    *(b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x82\x00", b"\x86\x00", b"\x01\x01\xff", b"\x05\x00", b"\x0c\x00"),
    *(
        b"iris-name://",
        b"iris-group://",
        b"\x17\x0d991231235959Z",
        b"\x18\x0f99991231235959Z",
        b"\xff",
        b"*.local",
        b"\0",
    ),
)


@cache
def trust() -> TrustStore:
    return TrustStore.from_pem({"root.crt": pem("root.crt")}, {"intermediate.crt": pem("intermediate.crt")})


def certificates() -> list[bytes]:
    texts = {record["signature"]["c"] for record in RECORDS} | {
        pem("root.crt").decode(),
        pem("intermediate.crt").decode(),
    }
    return [ssl.PEM_cert_to_DER_cert(text) for text in sorted(texts)]


def quiet(run: Callable[[Any], Hashable]) -> Callable[[Any], Hashable]:
    """``run`` without the library's opinions about certificates that are odd, but can be read."""

    def quietly(data: Any) -> Hashable:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run(data)

    return quietly


@quiet
def run_names(der: bytes) -> Hashable:
    """The names are text that can be shown, and pinning by them finds the certificate again."""
    names = certificate_names(der)
    for name in names:
        repr(name).encode()
    pins = frozenset({Fingerprint(fingerprint(der))})
    if names:
        assert list(identify(der, lambda _: pins).names) == names
    return len(names), [name.isascii() for name in names][:1] == [True]


@quiet
def run_signer(der: bytes) -> Hashable:
    """As run_names, for a record's signer: nobody but the seeds' signers may pass."""
    text = ssl.DER_cert_to_PEM_cert(der)
    record = parse_signed_record({**RECORDS[0], "signature": {**RECORDS[0]["signature"], "c": text}})
    subject = verify(signed_payload(record.hash, record.parent_hash, record.record), record.signature, AT, fresh())
    return subject.name


def fresh() -> TrustStore:
    """A store that remembers no leaf."""
    return TrustStore(trust().roots, trust().intermediates)


@quiet
def run_pem(data: bytes) -> Hashable:
    """PEM text is more than base64."""
    text = data.decode("utf-8", "replace")
    signature = Signature("1" * 20, "1" * 20, text)
    verify({}, signature, AT, fresh())
    raise AssertionError("a signature of ones is nobody's")


@quiet
def run_file(data: bytes) -> Hashable:
    """A PEM file is read, or refused in one line; what is said of its certificates is text."""
    found = certificates_in(data, "own.crt", "tls.certificate_file")
    doubts = [*about_own(found, "own.crt", AT), *about_authorities({"own.crt": found}, AT)]
    assert all("\n" not in doubt.text for doubt in doubts)
    weakness(found)
    return len(found), frozenset(doubt.fatal for doubt in doubts)


def run_signed_object(value: Any) -> Hashable:
    verify_object(value, "hd-1", AT, trust())
    return "verified"


def signed_objects() -> list[Any]:
    return [{"signature": RECORDS[0]["signature"], "data": {"a": [1, 2.5, None]}}]


def mutate_pem(rnd: Rnd, pool: Sequence[bytes]) -> bytes:
    """A change to the certificate inside the armour."""
    ders = certificates()
    der = bytearray(ders[int(rnd() * len(ders))])
    mutate_bytes(rnd, der, ders, DER_TOKENS)
    armoured = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + armoured + b"-----END CERTIFICATE-----\n"


PEM_TOKENS = (
    b"-----BEGIN CERTIFICATE-----",
    b"-----END CERTIFICATE-----",
    b"\n",
    b"\r",
    b"\xef\xbb\xbf",
    b"=",
    b"\0",
    b" ",
)


def mutate_file(rnd: Rnd, pool: Sequence[bytes]) -> bytes:
    """A change to a certificate, or to the file around it."""
    if rnd() < 0.5:
        return mutate_pem(rnd, pool)
    data = bytearray(pool[int(rnd() * len(pool))])
    mutate_bytes(rnd, data, pool, PEM_TOKENS)
    return bytes(data)


TARGETS = [
    Target("certificate_names", run_names, certificates, (TlsFailed,), tokens=DER_TOKENS),
    Target("signer_certificate", run_signer, certificates, (BadParams, RecordError), tokens=DER_TOKENS),
    Target(
        "certificate_file",
        run_file,
        lambda: [b"".join(ssl.DER_cert_to_PEM_cert(der).encode() for der in certificates()[:2])],
        (StartError,),
        tokens=PEM_TOKENS,
        mutate=mutate_file,
    ),
    Target(
        "signer_pem",
        run_pem,
        lambda: [ssl.DER_cert_to_PEM_cert(der).encode() for der in certificates()],
        (RecordError,),
        tokens=PEM_TOKENS,
        mutate=mutate_pem,
    ),
    Target(
        "signed_object",
        run_signed_object,
        signed_objects,
        (BadParams, RecordError),
        values=True,
        tokens=WORDS,
    ),
]
