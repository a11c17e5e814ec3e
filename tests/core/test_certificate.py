"""What certificates say, paths from them to a root, and what is doubtful about them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from eps.core.certificate import (
    AUTHORITIES,
    CLOCK_TOLERANCE,
    MAX_PATH_CERTIFICATES,
    Doubt,
    Span,
    about_authorities,
    about_authority,
    about_own,
    fingerprint_of,
    fits,
    path_spans,
    subject_of,
    tls_key_flaw,
    weakness,
)
from eps.core.names import shown
from support import certs
from support.certs import END, HD_1, HD_2, INTERMEDIATE, NOW, ROOT, START, Made, authority, make, minutes, signing
from support.odd_certs import of_version_1, signed_with, with_curve_written_out


def spans(leaf: Made, *, roots: Any = (ROOT,), intermediates: Any = (INTERMEDIATE,)) -> tuple[Span, ...]:
    return path_spans(leaf.certificate, *([made.certificate for made in mades] for mades in (roots, intermediates)))


# Names


def test_names_for_tls_are_the_common_name_then_the_dns_names() -> None:
    assert subject_of(signing("a", ROOT).certificate).tls_names == ("a",)
    both = make("a", ROOT, extensions=[(certs.names("a", dns=["a", "b", "b"]), False)])
    assert subject_of(both.certificate).tls_names == ("a", "b")
    bare = subject_of(make("").certificate)
    assert (bare.common_name, bare.tls_names, bare.name) == ("", (), "")


def test_in_a_message_a_name_is_one_line_whatever_an_authority_has_signed() -> None:
    made = make("inte\nmediate\x1b[2J" + "x" * 40)
    assert str(subject_of(made.certificate)) == "inte\\nmediate\\x1b[2J" + "x" * 40
    assert shown(subject_of(made.certificate).tls_names) == str(subject_of(made.certificate))
    assert [doubt for doubt in own(made, HD_1) if "\n" in doubt or "\x1b" in doubt] == []
    assert any("inte\\nmediate" in doubt for doubt in own(made, HD_1))


# Paths


def test_a_path_holds_while_all_of_it_is_valid() -> None:
    root = authority("root", end=END + timedelta(days=9))
    issuer = authority("issuer", root, start=START + timedelta(days=5), end=END + timedelta(days=5))
    leaf = signing("hd-1", issuer, start=START + timedelta(days=7), end=END)
    (span,) = spans(leaf, roots=[root], intermediates=[issuer])
    assert span == Span(START + timedelta(days=7), END)
    assert span.holds(span.start - CLOCK_TOLERANCE)
    assert span.holds(span.end + CLOCK_TOLERANCE)
    assert not span.holds(span.start - CLOCK_TOLERANCE - timedelta(seconds=1))
    assert not span.holds(span.end + CLOCK_TOLERANCE + timedelta(seconds=1))


def test_a_leaf_may_hang_on_a_root_itself() -> None:
    assert spans(signing("hd-1", ROOT), intermediates=[])


def test_each_path_has_its_own_span() -> None:
    renewed = authority("intermediate", ROOT, key=INTERMEDIATE.key, start=START + timedelta(days=100))
    assert {span.start for span in spans(HD_1, intermediates=[INTERMEDIATE, renewed])} == {
        START,
        START + timedelta(days=100),
    }


def leaf_under(issuer: Made) -> Made:
    return signing("hd-1", issuer)


NO_CA = make("issuer", ROOT)
HOSTILE = {
    "unknown root": ([authority("root")], [INTERMEDIATE], HD_1),
    "intermediate not known": ([ROOT], [], HD_1),
    "intermediate without root": ([ROOT], [authority("intermediate", key=INTERMEDIATE.key)], HD_1),
    "another intermediate of that name": ([ROOT], [authority("intermediate", ROOT)], HD_1),
    "issuer's name is not the intermediate's": ([ROOT], [INTERMEDIATE], signing("x", INTERMEDIATE, issuer_name="y")),
    "intermediate is a leaf": ([ROOT], [HD_2], leaf_under(HD_2)),
    "intermediate is no CA": ([ROOT], [made := authority("i", ROOT, ca=False)], leaf_under(made)),
    "intermediate says nothing of CA": ([ROOT], [NO_CA], leaf_under(NO_CA)),
    "intermediate may not sign": ([ROOT], [made := authority("i", ROOT, cert_sign=False)], leaf_under(made)),
    "root is no CA": ([made := make("root")], [], leaf_under(made)),
    "root may not sign": ([made := authority("root", cert_sign=False)], [], leaf_under(made)),
    "root's path length": (
        [made := authority("root", path_length=0)],
        [second := authority("i", made)],
        leaf_under(second),
    ),
    "intermediate's path length": ([ROOT], [INTERMEDIATE, made := authority("i", INTERMEDIATE)], leaf_under(made)),
    "unknown critical extension in the leaf": (
        [ROOT],
        [INTERMEDIATE],
        signing("hd-1", INTERMEDIATE, extra=[(x509.UnrecognizedExtension(certs.UNKNOWN_OID, b"\x05\x00"), True)]),
    ),
    "name constraints, which we do not read": (
        [ROOT],
        [made := authority("i", ROOT, extra=[(x509.NameConstraints([x509.DNSName("example.org")], None), True)])],
        leaf_under(made),
    ),
    "unknown critical extension in the root": (
        [made := authority("r", extra=[(x509.UnrecognizedExtension(certs.UNKNOWN_OID, b"\x05\x00"), True)])],
        [],
        leaf_under(made),
    ),
    "signed by itself": ([ROOT], [INTERMEDIATE], make("hd-1")),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_no_path(case: str) -> None:
    roots, intermediates, leaf = HOSTILE[case]
    assert spans(leaf, roots=roots, intermediates=intermediates) == ()


def test_extensions_that_are_not_critical_do_not_matter() -> None:
    extra = [(x509.UnrecognizedExtension(certs.UNKNOWN_OID, b"\x05\x00"), False)]
    assert spans(signing("hd-1", INTERMEDIATE, extra=extra))


def test_a_root_without_key_usage_is_fine_as_in_the_vectors() -> None:
    root = make("root", extensions=[(x509.BasicConstraints(True, None), True)])
    assert spans(leaf_under(root), roots=[root])


def test_certificates_issued_to_oneself_do_not_count_for_the_path_length() -> None:
    root = authority("root", path_length=1)
    issuer = authority("issuer", root)
    rolled_over = authority("issuer", issuer)
    assert spans(leaf_under(rolled_over), roots=[root], intermediates=[issuer, rolled_over])


def test_issuers_of_each_other_end_the_search() -> None:
    first = authority("first", authority("second"))
    second = authority("second", first)
    first_again = authority("first", second, key=first.key)
    leaf = leaf_under(second)
    assert spans(leaf, intermediates=[first_again, second, first]) == ()
    crossed = authority("first", ROOT, key=first.key)
    assert spans(leaf, intermediates=[first_again, second, first, crossed])


def test_paths_have_a_greatest_length() -> None:
    def line(length: int) -> list[Made]:
        made = [ROOT]
        for number in range(length):
            made.append(authority(f"issuer {number}", made[-1]))
        return made[1:]

    longest = line(MAX_PATH_CERTIFICATES - 1)
    assert spans(leaf_under(longest[-1]), intermediates=longest)
    too_long = line(MAX_PATH_CERTIFICATES)
    assert spans(leaf_under(too_long[-1]), intermediates=too_long) == ()


# Keys


UNREADABLE_NAMES = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x01\x02")
UNREADABLE_CONSTRAINTS = x509.UnrecognizedExtension(x509.BasicConstraints.oid, b"\x01\x02")


@pytest.mark.parametrize(
    ("key", "flaw"),
    [
        (rsa.generate_private_key(65537, 2048), ""),
        (rsa.generate_private_key(65537, 1024), "its RSA key has 1024 bits, and TLS peers take 2048 or more"),
        (ec.generate_private_key(ec.SECP256R1()), ""),
        (ec.generate_private_key(ec.SECP384R1()), ""),
        (ec.generate_private_key(ec.SECP521R1()), ""),
        (ec.generate_private_key(ec.SECP256K1()), "its key is on the curve secp256k1, which no TLS 1.3 peer shares"),
        (ec.generate_private_key(ec.SECP224R1()), "its key is on the curve secp224r1, which no TLS 1.3 peer shares"),
        (
            ec.generate_private_key(ec.BrainpoolP256R1()),
            "its key is on the curve brainpoolP256r1, which no TLS 1.3 peer shares",
        ),
        (dsa.generate_private_key(2048), "its key is of a kind that TLS peers don't know"),
        (ed25519.Ed25519PrivateKey.generate(), ""),
        (ed448.Ed448PrivateKey.generate(), ""),
    ],
)
def test_keys_for_tls(key: Any, flaw: str) -> None:
    made = make("x", ROOT, key=key)
    assert tls_key_flaw(made.certificate) == flaw
    assert fits(key, made.certificate)
    assert not fits(HD_1.key, made.certificate)
    weak = weakness([HD_1.certificate, made.certificate])
    assert weak == (f"the certificate of x: {flaw}" if flaw else "")


def test_a_curve_that_is_written_out() -> None:
    made = with_curve_written_out(HD_1, INTERMEDIATE.key)
    made.certificate.verify_directly_issued_by(INTERMEDIATE.certificate)
    assert (
        tls_key_flaw(made.certificate) == "its key writes its curve out as explicit parameters, which TLS peers refuse"
    )


def test_a_key_of_an_unknown_kind() -> None:
    der = HD_1.certificate.public_bytes(Encoding.DER)
    p256, unknown = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030177")
    strange = x509.load_der_x509_certificate(der.replace(p256, unknown))
    assert tls_key_flaw(strange) == "its key is of a kind that TLS peers don't know"


RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA_ROOT = authority("rsa root", key=RSA_KEY)


@pytest.mark.parametrize("digest", ["md5", "sha1"])
def test_signatures_that_can_be_forged(digest: str) -> None:
    leaf = signed_with(digest, signing("hd-1", RSA_ROOT), RSA_KEY)
    assert (
        weakness([leaf.certificate]) == f"the certificate of hd-1 is signed with {digest.upper()}, which can be forged"
    )
    root = signed_with(digest, RSA_ROOT, RSA_KEY)
    assert weakness([HD_1.certificate, root.certificate]) == ""  # nobody looks at a root's signature


def test_signatures_of_other_kinds_are_no_weakness() -> None:
    odd = signing("hd-1", authority("root", key=RSA_KEY)).certificate.public_bytes(Encoding.DER)
    unknown = odd.replace(bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010177"))
    assert weakness([x509.load_der_x509_certificate(unknown)]) == ""
    key = ed25519.Ed25519PrivateKey.generate()
    assert weakness([signing("x", authority("root", key=key)).certificate]) == ""


# Doubts


def texts(doubts: Iterable[Doubt]) -> list[str]:
    return [("fatal " if doubt.fatal else "") + doubt.text for doubt in doubts]


def own(*chain: Made, now: datetime = NOW) -> list[str]:
    return texts(about_own([made.certificate for made in chain], "own.crt", now))


EXPIRED = authority("intermediate", ROOT, key=INTERMEDIATE.key, end=NOW - minutes(1))
LATE = authority("intermediate", ROOT, key=INTERMEDIATE.key, start=NOW + minutes(1))


def test_a_chain_without_doubts() -> None:
    assert own(HD_1) == own(HD_1, INTERMEDIATE) == own(HD_1, INTERMEDIATE, ROOT) == []


def test_only_the_leafs_dates_are_fatal() -> None:
    assert own(HD_1, EXPIRED, INTERMEDIATE) == [
        "own.crt: the certificate of intermediate has expired on 2026-05-31 23:59 UTC"
    ]
    assert own(HD_1, LATE) == ["own.crt: the certificate of intermediate is not valid before 2026-06-01 00:01 UTC"]
    assert own(HD_1, now=END + minutes(1)) == [
        "fatal own.crt: the certificate of hd-1 has expired on 2027-01-01 00:00 UTC"
    ]
    assert own(HD_1, now=START - minutes(1)) == [
        "fatal own.crt: the certificate of hd-1 is not valid before 2026-01-01 00:00 UTC"
    ]
    assert own(HD_1, now=END - timedelta(days=29)) == [
        "own.crt: the certificate of hd-1 expires in 29 days, on 2027-01-01"
    ]


def test_what_does_not_belong_into_a_chain() -> None:
    start = "own.crt: not needed on the way from hd-1 to its authority: the certificate of "
    assert own(HD_1, INTERMEDIATE, authority("other")) == [start + "other"]
    assert own(HD_1, INTERMEDIATE, INTERMEDIATE) == [start + "intermediate"]
    assert own(HD_1, HD_1, INTERMEDIATE) == [start + "hd-1"]
    old = authority("old root", end=NOW - minutes(1))
    assert own(HD_1, old, INTERMEDIATE) == [start + "old root (expired)"]
    many = [authority(f"a{number}") for number in range(7)]
    assert own(HD_1, *many) == [start + "a0, a1, a2, a3, a4 and 2 more"]


def test_cross_signed_roots_belong_into_a_chain() -> None:
    new_root = authority("new root")
    crossed = authority("root", new_root, key=ROOT.key)
    back = authority("new root", ROOT, key=new_root.key)
    assert own(HD_1, INTERMEDIATE, crossed, new_root, back) == []


def test_a_leaf_that_no_peer_takes() -> None:
    weak = signing("hd-1", INTERMEDIATE, key=ec.generate_private_key(ec.SECP256K1()))
    assert own(weak) == [
        "fatal own.crt: the certificate of hd-1: its key is on the curve secp256k1, which no TLS 1.3 peer shares"
    ]


def test_a_certificate_whose_names_can_not_be_read_is_called_by_its_fingerprint() -> None:
    strange = make("x", ROOT, extensions=[(UNREADABLE_NAMES, False)], end=NOW - minutes(1))
    start = f"own.crt: the certificate of certificate {fingerprint_of(strange.certificate)[:12]} has expired"
    assert [text.removeprefix("fatal ").startswith(start) for text in own(strange)] == [True]


def test_a_subject_that_can_not_be_read_is_no_obstacle() -> None:
    """Its common name is a bit string."""
    der = HD_1.certificate.public_bytes(Encoding.DER)
    name, bits = b"\x55\x04\x03\x0c\x04hd-1", b"\x55\x04\x03\x03\x04\x00d-1"
    assert der.count(name) == 1
    strange = x509.load_der_x509_certificate(der.replace(name, bits))
    assert texts(about_own([strange], "own.crt", NOW)) == []
    issued = signing("hd-1", RSA_ROOT)
    old = signed_with("sha1", issued, RSA_KEY).certificate.public_bytes(Encoding.DER)
    assert "is signed with SHA1" in weakness([x509.load_der_x509_certificate(old.replace(name, bits))])
    assert texts(about_authorities({"ca": [strange]}, NOW))[0].startswith("ca: certificate ")


def test_authorities() -> None:
    def doubts(**files: list[Made]) -> list[str]:
        return texts(
            about_authorities({name: [one.certificate for one in listed] for name, listed in files.items()}, NOW)
        )

    assert doubts(a=[ROOT], b=[INTERMEDIATE]) == []
    expired = "the certificate of intermediate has expired on 2026-05-31 23:59 UTC"
    assert doubts(a=[ROOT, EXPIRED]) == doubts(b=[ROOT], a=[EXPIRED]) == [f"a: {expired}"]
    assert (
        doubts(a=[EXPIRED], b=[EXPIRED])[0]
        == "fatal every certificate authority has expired: a on 2026-05-31, b on 2026-05-31"
    )
    weak = authority("weak", key=rsa.generate_private_key(65537, 1024))
    assert doubts(a=[weak]) == [
        "a: the certificate of weak: its RSA key has 1024 bits, and TLS peers take 2048 or more"
    ]


@pytest.mark.parametrize(
    ("made", "is_one"),
    [
        (ROOT, True),
        (HD_1, False),
        (make("x"), False),
        (authority("x", ca=False), False),
        (make("x", extensions=[(UNREADABLE_CONSTRAINTS, False)]), False),
    ],
)
def test_what_is_no_authority(made: Made, is_one: bool) -> None:
    (doubt,) = [*about_authority(made.certificate, "ca.crt", NOW)] or [None]
    assert (doubt is None) == is_one
    assert doubt is None or (doubt.setting, doubt.fatal) == (AUTHORITIES, False)
    assert doubt is None or doubt.text.endswith("is no certificate authority")


def test_a_root_from_before_extensions_is_an_authority() -> None:
    root = make("old")
    old = of_version_1(root, root.key).certificate
    assert old.version is x509.Version.v1
    assert texts(about_authority(old, "ca.crt", NOW)) == []
