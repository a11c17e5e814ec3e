"""Signatures, whose they are, and the paths from their certificates to a root."""

import dataclasses
import ssl
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from eps.core.certificate import subject_of
from eps.core.names import Object
from eps.core.record import ChangeRecord, Signature, parse_change_record, signed_payload
from eps.core.signature import (
    MAX_CACHED_LEAVES,
    TrustStore,
    load_signer,
    sign_object,
    verify,
    verify_object,
)
from eps.core.structure import structured_bytes
from eps.errors import BadParams, RecordError, StartError
from support import certs
from support.certs import (
    END,
    HD_1,
    HD_2,
    INTERMEDIATE,
    NOW,
    ROOT,
    START,
    Made,
    authority,
    make,
    minutes,
    signing,
    trust,
)
from support.vectors import load, pem

PAYLOAD = {"a": ["1", 2, None]}


@pytest.mark.parametrize("vector", load("certificates.json"), ids=lambda vector: vector["common_name"])
def test_vector(vector: Any) -> None:
    subject = subject_of(x509.load_pem_x509_certificate(vector["pem"].encode()))
    expected = vector["subject_info"]
    assert subject.common_name == vector["common_name"]
    assert subject.name == expected["Name"]
    assert list(subject.dns_names) == expected["DNSNames"]
    assert list(subject.groups) == expected["Groups"]
    store = TrustStore.from_pem({"root.crt": pem("root.crt")}, {"intermediate.crt": pem("intermediate.crt")})
    flaw = store.leaf(vector["pem"]).flaw
    assert bool(flaw) == ("signing_error" in vector)


# Signatures


def test_what_is_signed_verifies_and_names_its_signer() -> None:
    signature = HD_1.signer.sign(PAYLOAD)
    subject = verify(PAYLOAD, signature, NOW, trust())
    assert (subject.name, subject.groups, subject.dns_names) == ("hd-1", ("sd-admin",), ("hd-1",))
    assert str(subject) == "hd-1"
    assert len(subject.fingerprint) == 64
    assert 10 <= len(signature.r) <= 100


@pytest.mark.parametrize("changes", [{"r": "1" * 100}, {"s": "0" * 10}, {"r": "0" * 100}, {"s": "12345678901"}])
def test_wrong_numbers_do_not_verify(changes: dict[str, str]) -> None:
    signature = dataclasses.replace(HD_1.signer.sign(PAYLOAD), **changes)
    with pytest.raises(RecordError, match="not one that hd-1 made"):
        verify(PAYLOAD, signature, NOW, trust())


def test_another_digest_does_not_verify() -> None:
    with pytest.raises(RecordError, match="not one that hd-1 made"):
        verify({"a": []}, HD_1.signer.sign(PAYLOAD), NOW, trust())


@pytest.mark.parametrize("at", [START - minutes(6), END + minutes(6)])
def test_the_certificate_is_judged_at_the_given_time(at: datetime) -> None:
    signature = HD_1.signer.sign(PAYLOAD)
    assert verify(PAYLOAD, signature, START - minutes(4), trust())
    assert verify(PAYLOAD, signature, END + minutes(4), trust())
    with pytest.raises(RecordError, match=r"is not valid at .*only from 2026-01-01 00:00:00 to 2027-01-01 00:00:00"):
        verify(PAYLOAD, signature, at, trust())


def broken_san() -> Made:
    extension = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x01\x02")
    return make("hd-1", INTERMEDIATE, extensions=[(extension, False), (certs.usage(digital_signature=True), False)])


def strange_san() -> Made:
    x400 = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x02\xa3\x00")
    return make("hd-1", INTERMEDIATE, extensions=[(x400, False), (certs.usage(digital_signature=True), False)])


def twice_the_same_extension() -> Made:
    twins = [x509.ObjectIdentifier(f"1.3.6.1.4.1.99999.{number}") for number in (1, 2)]
    made = signing("hd-1", INTERMEDIATE, extra=[(x509.UnrecognizedExtension(oid, b"\x05\x00"), False) for oid in twins])
    der = made.certificate.public_bytes(Encoding.DER)
    first, second = (bytes.fromhex("2b06010401868d1f") + bytes([number]) for number in (1, 2))
    assert second in der
    return Made(x509.load_der_x509_certificate(der.replace(second, first)), made.key)


def of_version_8() -> str:
    """The PEM of a certificate whose version no library knows."""
    der = HD_1.certificate.public_bytes(Encoding.DER)
    assert der.count(b"\xa0\x03\x02\x01\x02") == 1
    return ssl.DER_cert_to_PEM_cert(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"))


def named_by_bits() -> str:
    """The PEM of a certificate whose common name is a bit string, which the library refuses when it is asked for it."""
    der = HD_1.certificate.public_bytes(Encoding.DER)
    name = b"\x55\x04\x03\x0c\x04hd-1"
    assert name in der
    return ssl.DER_cert_to_PEM_cert(der.replace(name, b"\x55\x04\x03\x03\x04\x00d-1"))


UNFIT = {
    "holds no ECDSA P-256 key": [
        signing("hd-1", INTERMEDIATE, key=rsa.generate_private_key(65537, 2048)),
        signing("hd-1", INTERMEDIATE, key=ec.generate_private_key(ec.SECP384R1())),
    ],
    "lacks the key usage digitalSignature": [
        make("hd-1", INTERMEDIATE, extensions=[(certs.names("hd-1"), False)]),
        make("hd-1", INTERMEDIATE, extensions=[(certs.usage(key_agreement=True), False)]),
    ],
    "does not lead through the known intermediates": [
        signing("hd-1", authority("elsewhere")),
        make("", authority("elsewhere"), extensions=[(certs.usage(digital_signature=True), False)]),
    ],
    "can't be read": [broken_san(), strange_san(), twice_the_same_extension()],
}


@pytest.mark.parametrize(("reason", "made"), [(reason, made) for reason, mades in UNFIT.items() for made in mades])
def test_unfit_certificates_are_refused_with_the_reason(reason: str, made: Made) -> None:
    signature = dataclasses.replace(HD_1.signer.sign(PAYLOAD), c=made.pem.decode())
    with pytest.raises(RecordError, match=reason) as caught:
        verify(PAYLOAD, signature, NOW, trust())
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no PEM",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "ä",
        of_version_8(),
        named_by_bits(),
    ],
    ids=range(6),
)
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match="can't be read"):
        verify(PAYLOAD, dataclasses.replace(HD_1.signer.sign(PAYLOAD), c=text), NOW, trust())


def test_a_leaf_is_judged_once_and_strangers_cannot_fill_the_memory() -> None:
    store = trust()
    pem_text = HD_1.pem.decode()
    assert store.leaf(pem_text) is store.leaf(pem_text)
    for number in range(MAX_CACHED_LEAVES + 5):
        store.leaf(f"made up {number}")
    assert len(store.leaves) == MAX_CACHED_LEAVES
    assert not store.leaf(pem_text).flaw


def test_a_signer_in_use_stays_known_while_strangers_come_and_go() -> None:
    store = trust()
    known = store.leaf(HD_1.pem.decode())
    for number in range(2 * MAX_CACHED_LEAVES):
        store.leaf(f"made up {number}")
        assert store.leaf(HD_1.pem.decode()) is known


def test_names_without_alternatives() -> None:
    subject = subject_of(make("plain").certificate)
    assert (subject.name, subject.groups, subject.dns_names, str(subject)) == ("", (), (), "plain")
    assert str(subject_of(make("").certificate)).startswith("certificate ")


# Trust stores


def test_trust_from_files_with_several_certificates() -> None:
    store = TrustStore.from_pem(
        {"roots": ROOT.pem + pem("root.crt")}, {"a": INTERMEDIATE.pem, "b": pem("intermediate.crt")}
    )
    assert (len(store.roots), len(store.intermediates)) == (2, 2)
    assert verify(PAYLOAD, HD_1.signer.sign(PAYLOAD), NOW, store)


def test_trust_needs_readable_files_and_a_root() -> None:
    with pytest.raises(StartError, match="no root certificate"):
        TrustStore.from_pem({}, {"i.crt": INTERMEDIATE.pem})
    with pytest.raises(StartError, match=r"^r\.crt: holds no certificate in PEM form"):
        TrustStore.from_pem({"r.crt": b"nothing"}, {})
    with pytest.raises(StartError, match=r"^i\.crt: holds no certificate in PEM form") as caught:
        TrustStore.from_pem({"r.crt": ROOT.pem}, {"i.crt": b"nothing"})
    assert "ca_intermediate_certificate_files" in caught.value.hint


# Signers


def test_loads_the_first_certificate_and_a_key_behind_its_parameters() -> None:
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    signer = load_signer(HD_1.pem + INTERMEDIATE.pem, parameters + HD_1.key_pem)
    assert signer.certificate_pem.encode() == HD_1.pem
    assert signer.subject.name == "hd-1"
    assert "key" not in repr(signer).replace("key_", "")


def pkcs8(made: Made) -> bytes:
    return bytes(made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        (b"nothing", HD_1.key_pem, "the signing certificate: holds no certificate in PEM form"),
        (broken_san().pem, HD_1.key_pem, "the signing certificate: the certificate can't be read"),
        (INTERMEDIATE.pem, pkcs8(HD_1), "the signing key: holds no EC PRIVATE KEY in PEM form"),
        (UNFIT["holds no ECDSA P-256 key"][0].pem, HD_1.key_pem, "holds no ECDSA P-256 key"),
        (HD_1.pem, b"", "the signing key: holds no EC PRIVATE KEY in PEM form: the file is empty"),
        (HD_1.pem, pkcs8(HD_1), "holds no EC PRIVATE KEY in PEM form"),
        (
            HD_1.pem,
            HD_1.key_pem[:120] + b"\n-----END EC PRIVATE KEY-----\n",
            "the signing key: the private key in line 1 can't be read",
        ),
        (HD_1.pem, HD_2.key_pem, "does not belong to the certificate of hd-1"),
        (HD_1.pem, make("x", key=ec.generate_private_key(ec.SECP384R1())).key_pem, "does not belong"),
    ],
    ids=range(9),
)
def test_refuses_files_to_sign_with(certificate: bytes, key: bytes, reason: str) -> None:
    with pytest.raises(StartError, match=reason) as caught:
        load_signer(certificate, key)
    assert caught.value.hint


# Signed objects


def test_a_signed_object_verifies_for_its_dns_name_only() -> None:
    signed = sign_object({"b": [1, None], "a": "ä"}, HD_1.signer)
    assert list(signed) == ["signature", "data"]
    verify_object(signed, "hd-1", NOW, trust())
    with pytest.raises(RecordError, match=r"no DNS name 'hd-2' \(its DNS names: hd-1\)"):
        verify_object(signed, "hd-2", NOW, trust())
    with pytest.raises(RecordError, match="not one that hd-1 made"):
        verify_object(signed | {"data": {"a": "b"}}, "hd-1", NOW, trust())
    nameless = [(certs.names("hd-1", dns=[]), False), (certs.usage(digital_signature=True), False)]
    with pytest.raises(RecordError, match="its DNS names: none"):
        verify_object(sign_object({}, make("hd-1", INTERMEDIATE, extensions=nameless).signer), "hd-1", NOW, trust())


def test_any_signer_of_the_network_may_sign_objects() -> None:
    verify_object(sign_object({"a": 1}, HD_2.signer), "hd-2", NOW, trust())


def admins_groups() -> tuple[ChangeRecord, Object]:
    """A change record that gives an operator the administrators' group, and what its signature covers."""
    value = {"name": "op-2", "section": "groups", "data": ["sd-admin"], "created_at": "2026-06-01T00:00:00Z"}
    record = parse_change_record(value)
    return record, {"hash": record.hash(), "parent_hash": "a" * 64, "record": record.to_json()}


def as_one_text(covered: Object) -> Object:
    """Harmless looking data with the bytes of ``covered``: all that stands between is a text."""
    inside = structured_bytes(covered).removeprefix(b"stringmapstring").removesuffix(b"stringrecord").decode()
    return {"record": inside}


@pytest.mark.parametrize("disguise", [as_one_text, lambda covered: covered], ids=["a text", "itself"])
@pytest.mark.parametrize("parent", ["a" * 64, ""])
def test_signing_is_no_way_to_a_change_record(disguise: Any, parent: str) -> None:
    _, covered = admins_groups()
    covered["parent_hash"] = parent
    data = disguise(covered)
    assert structured_bytes(data) == structured_bytes(covered)
    with pytest.raises(BadParams, match=r"^data: a signature over it could be shown as one under a change record"):
        sign_object(data, HD_1.signer)


def test_a_change_record_is_no_signed_object_of_another_kind() -> None:
    record, covered = admins_groups()
    signature = HD_1.signer.sign(signed_payload(record.hash(), covered["parent_hash"], record)).to_json()
    verify_object({"signature": signature, "data": covered}, "hd-1", NOW, trust())  # it is what it says
    for data in (as_one_text(covered), covered | {"record": "x"}, covered | {"more": 1, "zero": 0}):
        with pytest.raises(RecordError):
            verify_object({"signature": signature, "data": data}, "hd-1", NOW, trust())
    with pytest.raises(RecordError, match="may be a change record"):
        verify_object({"signature": signature, "data": as_one_text(covered)}, "hd-1", NOW, trust())
    with pytest.raises(RecordError, match="may be a change record"):
        verify_object({"signature": signature, "data": covered | {"empty": []}}, "hd-1", NOW, trust())


@pytest.mark.parametrize(
    "data", [{"hash": "a" * 64}, {"record": {}}, {"hash": "a", "record": "b"}, {"a": 1, "record": {}}]
)
def test_other_data_may_use_the_same_words(data: Any) -> None:
    verify_object(sign_object(data, HD_1.signer), "hd-1", NOW, trust())


def deep() -> Any:
    value: Any = {}
    for _ in range(5000):
        value = {"a": value}
    return value


@pytest.mark.parametrize("data", [{"a": float("nan")}, {"a": "\ud800"}, deep()], ids=["nan", "surrogate", "deep"])
def test_what_cannot_be_hashed_is_refused(data: Any) -> None:
    with pytest.raises(BadParams, match=r"^data: "):
        sign_object(data, HD_1.signer)


@pytest.mark.parametrize("signed", [None, [], {}, {"data": []}, {"data": {}}, {"data": {}, "signature": {"r": 1}}])
def test_signed_objects_have_a_form(signed: Any) -> None:
    with pytest.raises(BadParams):
        verify_object(signed, "hd-1", NOW, trust())


def test_signatures_as_json() -> None:
    assert Signature("1", "2", "c").to_json() == {"r": "1", "s": "2", "c": "c"}
