"""Files of all kinds: a start takes them if and only if ``config check`` does, and peers take what both call fine.

Each case spoils, or only changes, the certificate, key and authority of a gRPC server and client. Then contexts are
made as a start makes them, the settings are checked, and real handshakes are held with a peer of the same authorities.
"""

import json
import re
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from eps.errors import StartError
from eps.programs.admin.check import CheckReport, check
from eps.settings.problems import Severity
from eps.transport.tls import TlsFiles, client_context, server_context
from support.certs import Made, authority, make, usage
from support.odd_certs import key_with_curve_written_out, signed_with, with_curve_written_out

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
TIMES = {"start": NOW - 100 * DAY, "end": NOW + 100 * DAY}
PAST = {"start": NOW - 100 * DAY, "end": NOW - DAY}
FUTURE = {"start": NOW + DAY, "end": NOW + 100 * DAY}

ROOT = authority("root", **TIMES)
ISSUER = authority("issuer", ROOT, path_length=0, **TIMES)
RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA_ISSUER = authority("rsa issuer", ROOT, key=RSA_KEY, **TIMES)


def leaf(issuer: Made = ISSUER, name: str = "hd-1", **others: Any) -> Made:
    """A TLS certificate as the network's are."""
    extensions = [
        (x509.SubjectAlternativeName([x509.DNSName(name)]), False),
        (usage(digital_signature=True), False),
        *others.pop("extra", ()),
    ]
    return make(name, issuer, extensions=extensions, **{**TIMES, **others})


OWN = leaf()
PEER = leaf(name="hd-2")


def text_of(made: Made) -> bytes:
    """What OpenSSL's command line writes above a certificate, more or less."""
    return f"Certificate:\n    Issuer: CN = Düsseldorf\n    X509v3: {made.certificate.serial_number}\n".encode()


@dataclass(frozen=True)
class Files:
    """What stands in the three files."""

    own: bytes = OWN.pem + ISSUER.pem
    key: bytes = OWN.key_pem
    authorities: bytes = ROOT.pem

    @classmethod
    def of(cls, made: Made, *chain: Made, trusted: Sequence[Made] = (ROOT,)) -> "Files":
        """Files of these certificates."""
        pkcs8 = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return cls(b"".join(one.pem for one in (made, *chain)), pkcs8, b"".join(one.pem for one in trusted))

    def write(self, folder: Path) -> TlsFiles:
        for name, content in (("own.crt", self.own), ("own.key", self.key), ("ca.crt", self.authorities)):
            (folder / name).write_bytes(content)
        (folder / "own.key").chmod(0o600)
        return TlsFiles((str(folder / "ca.crt"),), str(folder / "own.crt"), str(folder / "own.key"))


def run(folder: Path) -> CheckReport:
    tls = {"ca_certificate_files": ["ca.crt"], "certificate_file": "own.crt", "key_file": "own.key"}
    settings = {
        "name": "hd-1",
        "directory": {"type": "json", "settings": {"path": "."}},
        "channels": [{"type": f"grpc_{side}", "settings": {"tls": tls}} for side in ("server", "client")],
    }
    (folder / "eps.json").write_text(json.dumps(settings))
    return check("eps", {"EPS_SETTINGS": "eps.json"}, folder)


def texts(report: CheckReport, severity: Severity) -> list[str]:
    return [problem.text for problem in report.problems if problem.severity is severity]


# Files that do not load


def indented(content: bytes) -> bytes:
    return b"".join(b"  " + line for line in content.splitlines(keepends=True))


def encrypted(made: Made, form: PrivateFormat) -> bytes:
    return bytes(made.key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret")))


def old(digest: str) -> Files:
    return Files.of(signed_with(digest, leaf(RSA_ISSUER), RSA_KEY), RSA_ISSUER)


def old_link() -> Files:
    root = authority("rsa root", key=RSA_KEY, **TIMES)
    link = signed_with("sha1", authority("link", root, **TIMES), RSA_KEY)
    return Files.of(leaf(link), link, trusted=[root])


WRITTEN_OUT = with_curve_written_out(OWN, ISSUER.key)
CHAIN = OWN.pem + ISSUER.pem
NO_CERTIFICATE = "holds no certificate in PEM form"
NO_PEER = "the certificate of hd-1: its key"

REFUSED: dict[str, tuple[Files, str]] = {
    "empty certificate": (Files(own=b""), f"own.crt: {NO_CERTIFICATE}: the file is empty"),
    "empty key": (Files(key=b"\n"), "own.key: holds no private key in PEM form: the file is empty"),
    "empty authority": (Files(authorities=b""), f"ca.crt: {NO_CERTIFICATE}: the file is empty"),
    "joined": (Files(own=OWN.pem.rstrip() + ISSUER.pem), "own.crt: .*one block ends and the next begins"),
    "joined authorities": (Files(authorities=ROOT.pem.rstrip() + ISSUER.pem), "ca.crt: .*one block ends and the next"),
    "indented": (Files(own=indented(CHAIN)), "own.crt: .*line 1: -----BEGIN"),
    "indented key": (Files(key=indented(OWN.key_pem)), "own.key: .*line 1: -----BEGIN"),
    "indented authority": (Files(authorities=indented(ROOT.pem)), "ca.crt: .*line 1: -----BEGIN"),
    "CR alone": (Files(own=CHAIN.replace(b"\n", b"\r")), "own.crt: .*line 1: has CR alone"),
    "CR alone in the key": (Files(key=OWN.key_pem.replace(b"\n", b"\r")), "own.key: .*line 1: has CR alone"),
    "CR alone in the authority": (Files(authorities=ROOT.pem.replace(b"\n", b"\r")), "ca.crt: .*line 1: has CR alone"),
    "DER": (Files(own=OWN.certificate.public_bytes(Encoding.DER)), "own.crt: .*it is binary"),
    "DER authority": (Files(authorities=ROOT.certificate.public_bytes(Encoding.DER)), "ca.crt: .*it is binary"),
    "DER key": (
        Files(key=OWN.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())),
        "own.key: .*it is binary",
    ),
    "UTF-16": (Files(own=CHAIN.decode().encode("utf-16")), "own.crt: .*UTF-16"),
    "cut off": (Files(own=CHAIN[:-40]), "own.crt: line .*: the block that begins here has no end"),
    "an empty line inside": (Files(own=CHAIN.replace(b"\n", b"\n\n")), "own.crt: .*line 4: is empty, inside"),
    "damaged": (Files(own=CHAIN.replace(b"MII", b"MIX")), "own.crt: .*the certificate that begins here is damaged"),
    "damaged authority": (Files(authorities=ROOT.pem.replace(b"MII", b"MIX")), "ca.crt: .*is damaged"),
    "damaged behind the own": (Files(own=OWN.pem + ISSUER.pem.replace(b"MII", b"MIX")), "own.crt: line .*is damaged"),
    "damaged key": (Files(key=OWN.key_pem.replace(b"\nM", b"\nN")), "own.key: the private key in line 1 can't be read"),
    "a broken list beside the authority": (
        Files(authorities=ROOT.pem + b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"),
        "ca.crt: line [0-9]+: the revocation list that begins here is damaged",
    ),
    "a header that PEM files don't have": (
        Files(own=OWN.pem.replace(b"-----\nM", b"-----\nfoo: bar\n\nM")),
        "own.crt: OpenSSL can't use it",
    ),
    "the key as certificate": (Files(own=OWN.key_pem), f"own.crt: {NO_CERTIFICATE}: all it holds is EC PRIVATE KEY"),
    "the certificate as key": (Files(key=OWN.pem), "own.key: holds no private key in PEM form"),
    "another's key": (Files(key=PEER.key_pem), "own.key: the key does not fit the certificate in .*own.crt"),
    "the issuer first": (Files(own=ISSUER.pem + OWN.pem), "own.key: the key does not fit"),
    "an encrypted key": (Files(key=encrypted(OWN, PrivateFormat.PKCS8)), "own.key: the key is encrypted"),
    "an older encrypted key": (
        Files(key=encrypted(OWN, PrivateFormat.TraditionalOpenSSL)),
        "own.key: the key is encrypted",
    ),
    "expired": (Files.of(leaf(**PAST), ISSUER), "own.crt: the certificate of hd-1 has expired on"),
    "not valid yet": (Files.of(leaf(**FUTURE), ISSUER), "own.crt: the certificate of hd-1 is not valid before"),
    "expired authority": (
        Files(authorities=authority("root", key=ROOT.key, **PAST).pem),
        "every certificate authority has expired: .*ca.crt on",
    ),
    "RSA 1024": (
        Files.of(leaf(key=rsa.generate_private_key(65537, 1024)), ISSUER),
        "own.crt: the certificate of hd-1: its RSA key has 1024 bits",
    ),
    "RSA 1024 above": (
        Files.of(leaf(weak := authority("weak", ROOT, key=rsa.generate_private_key(65537, 1024), **TIMES)), weak),
        "own.crt: the certificate of weak: its RSA key has 1024 bits",
    ),
    "DSA": (Files.of(leaf(key=dsa.generate_private_key(2048)), ISSUER), f"own.crt: {NO_PEER} is of a kind"),
    "secp256k1": (
        Files.of(leaf(key=ec.generate_private_key(ec.SECP256K1())), ISSUER),
        f"own.crt: {NO_PEER} is on the curve secp256k1",
    ),
    "secp224r1": (
        Files.of(leaf(key=ec.generate_private_key(ec.SECP224R1())), ISSUER),
        f"own.crt: {NO_PEER} is on the curve secp224r1",
    ),
    "brainpool": (
        Files.of(leaf(key=ec.generate_private_key(ec.BrainpoolP256R1())), ISSUER),
        f"own.crt: {NO_PEER} is on the curve brainpoolP256r1",
    ),
    "a curve written out": (
        Files(WRITTEN_OUT.pem + ISSUER.pem, key_with_curve_written_out(OWN.key)),
        f"own.crt: {NO_PEER} writes its curve out",
    ),
    "MD5": (old("md5"), "own.crt: the certificate of hd-1 is signed with MD5"),
    "SHA-1": (old("sha1"), "own.crt: the certificate of hd-1 is signed with SHA1"),
    "SHA-1 above": (old_link(), "own.crt: the certificate of link is signed with SHA1"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_what_a_start_refuses_the_check_finds(case: str, tmp_path: Path) -> None:
    files, reason = REFUSED[case]
    given = files.write(tmp_path)
    for make_context in (server_context, client_context):
        with pytest.raises(StartError, match=reason) as caught:
            make_context(given)
        assert caught.value.hint
        assert "\n" not in caught.value.message
    assert caught.value.message in texts(run(tmp_path), Severity.ERROR)


# Files that load


NEW_ROOT = authority("new root", **TIMES)
OLD_ROOT = authority("old root", **PAST)
CROSSED = authority("root", OLD_ROOT, key=ROOT.key, **PAST)
CROSSED_TODAY = authority("root", NEW_ROOT, key=ROOT.key, **TIMES)
RENEWED = authority("issuer", ROOT, key=ISSUER.key, path_length=0, **TIMES)
EXPIRED_ISSUER = authority("issuer", ROOT, key=ISSUER.key, path_length=0, **PAST)
SELF = make("hd-1", extensions=[(x509.SubjectAlternativeName([x509.DNSName("hd-1")]), False)], **TIMES)
UNBORN = authority("unborn", **FUTURE)
BOTH_WAYS = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH])

FINE: dict[str, tuple[Files, str]] = {
    "as it is made": (Files(), ""),
    "byte order marks": (Files(*(b"\xef\xbb\xbf" + part for part in (CHAIN, OWN.key_pem, ROOT.pem))), ""),
    "CR LF": (Files(*(part.replace(b"\n", b"\r\n") for part in (CHAIN, OWN.key_pem, ROOT.pem))), ""),
    "empty lines around": (
        Files(*(b"\n\n" + part + b"\n \n" for part in (OWN.pem + b"\n\n" + ISSUER.pem, OWN.key_pem, ROOT.pem))),
        "",
    ),
    "text around": (
        Files(
            text_of(OWN) + OWN.pem + text_of(ISSUER) + ISSUER.pem + b"end",
            b"Key\n" + OWN.key_pem + b"end",
            text_of(ROOT) + ROOT.pem,
        ),
        "",
    ),
    "no line end at the end": (Files(*(part.rstrip() for part in (CHAIN, OWN.key_pem, ROOT.pem))), ""),
    "all in one file": (Files(OWN.key_pem + CHAIN, CHAIN + OWN.key_pem), ""),
    "PKCS #8": (Files.of(OWN, ISSUER), ""),
    "RSA": (Files.of(leaf(key=RSA_KEY), ISSUER), ""),
    "P-384": (Files.of(leaf(key=ec.generate_private_key(ec.SECP384R1())), ISSUER), ""),
    "P-521": (Files.of(leaf(key=ec.generate_private_key(ec.SECP521R1())), ISSUER), ""),
    "Ed25519": (Files.of(leaf(key=ed25519.Ed25519PrivateKey.generate()), ISSUER), ""),
    "for both ways": (Files.of(leaf(extra=[(BOTH_WAYS, False)]), ISSUER), ""),
    "with its root": (Files.of(OWN, ISSUER, ROOT), ""),
    "in another order": (Files.of(OWN, ROOT, ISSUER), ""),
    "straight from the root": (Files.of(leaf(ROOT)), ""),
    "an intermediate is the only authority": (Files.of(OWN, ISSUER, trusted=[ISSUER]), ""),
    "nor is it sent": (Files.of(OWN, trusted=[ISSUER]), ""),
    "the intermediate is in the list": (Files.of(OWN, trusted=[ROOT, ISSUER]), ""),
    "the authority is listed twice": (Files.of(OWN, ISSUER, trusted=[ROOT, ROOT]), ""),
    "cross-signed by a new root": (Files.of(OWN, ISSUER, CROSSED_TODAY, trusted=[NEW_ROOT]), ""),
    "cross-signed, and both are known": (Files.of(OWN, ISSUER, CROSSED_TODAY, trusted=[NEW_ROOT, ROOT]), ""),
    "the cross-signed one is an authority": (Files.of(OWN, ISSUER, trusted=[CROSSED_TODAY]), ""),
    "cross-signed by an expired root": (
        Files.of(OWN, ISSUER, CROSSED),
        "own.crt: the certificate of root has expired on",
    ),
    "with that root": (Files.of(OWN, ISSUER, CROSSED, OLD_ROOT), "own.crt: the certificate of (old )?root has expired"),
    "an expired root of others": (
        Files.of(OWN, ISSUER, OLD_ROOT),
        r"own.crt: not needed on the way from hd-1 .*: the certificate of old root \(expired\)",
    ),
    "a superfluous one": (Files.of(OWN, ISSUER, NEW_ROOT), "own.crt: not needed .*: the certificate of new root$"),
    "a link twice": (Files.of(OWN, ISSUER, ISSUER), "own.crt: not needed .*: the certificate of issuer$"),
    "a renewed link beside the expired one": (
        Files.of(OWN, EXPIRED_ISSUER, RENEWED),
        "own.crt: the certificate of issuer has expired",
    ),
    "an expired authority beside the one that counts": (
        Files.of(OWN, ISSUER, trusted=[OLD_ROOT, ROOT]),
        "ca.crt: the certificate of old root has expired",
    ),
    "an authority of tomorrow": (
        Files.of(OWN, ISSUER, trusted=[ROOT, UNBORN]),
        "ca.crt: the certificate of unborn is not valid before",
    ),
    "a weak authority beside the one that counts": (
        Files.of(OWN, ISSUER, trusted=[ROOT, authority("weak", key=rsa.generate_private_key(65537, 1024), **TIMES)]),
        "ca.crt: the certificate of weak: its RSA key has 1024 bits",
    ),
    "its own authority": (Files.of(SELF, trusted=[SELF, ROOT]), "ca.crt: hd-1 is no certificate authority"),
    "a block that is passed over": (
        Files(own=CHAIN + indented(ROOT.pem)),
        "own.crt: a block in it is not read: line",
    ),
    "soon to expire": (Files.of(leaf(end=NOW + 5 * DAY), ISSUER), "own.crt: the certificate of hd-1 expires in"),
}


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bool:
    """Whether both sides take each other, over real sockets."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)
    accepted: list[bytes] = []

    def serve() -> None:
        with suppress(OSError), server.wrap_socket(theirs, server_side=True) as secured:
            accepted.append(secured.recv(2))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours, client.wrap_socket(ours, server_hostname=name) as secured:
            secured.sendall(b"hi")
    except OSError:
        ours.close()
    thread.join(20)
    theirs.close()
    return accepted == [b"hi"]


def taken(given: TlsFiles, folder: Path) -> tuple[bool, bool]:
    """Whether a peer with the same authorities takes our certificate: as a server's, as a client's."""
    (folder / "peer").mkdir()
    peer = Files.of(PEER, ISSUER).write(folder / "peer")
    peer = TlsFiles(given.ca_certificate_files, peer.certificate_file, peer.key_file)
    ours = TlsFiles((str(folder / "peer" / "ca.crt"),), given.certificate_file, given.key_file)
    return (
        handshake(server_context(ours), client_context(peer), "hd-1"),
        handshake(server_context(peer), client_context(ours), "hd-2"),
    )


@pytest.mark.parametrize("case", FINE)
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_what_works_the_check_lets_pass(case: str, tmp_path: Path) -> None:
    files, doubt = FINE[case]
    given = files.write(tmp_path)
    assert taken(given, tmp_path) == (True, True)
    report = run(tmp_path)
    assert report.ok, report.describe()
    warnings = texts(report, Severity.WARNING)
    assert len(warnings) == len(set(warnings))
    assert bool(warnings) == bool(doubt), warnings
    assert not doubt or all(re.search(doubt, warning) for warning in warnings), warnings


# Files that load, and peers refuse


SERVERS_ONLY = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])
CLIENTS_ONLY = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
WEAK_ROOT = authority("weak root", key=rsa.generate_private_key(65537, 1024), **TIMES)
LEADS_NOWHERE = "own.crt does not lead to any of the CAs named beside it"

USELESS: dict[str, tuple[Files, str, tuple[bool, bool]]] = {
    "of a stranger": (Files.of(leaf(NEW_ROOT), trusted=[ROOT]), LEADS_NOWHERE, (False, False)),
    "the intermediate is missing": (Files.of(OWN), LEADS_NOWHERE, (False, False)),
    "its own, and no authority": (Files.of(SELF), LEADS_NOWHERE, (False, False)),
    "a namesake of the issuer": (
        Files.of(OWN, authority("issuer", ROOT, **TIMES)),
        "own.crt (does not lead|would be refused)",
        (False, False),
    ),
    "below what may not issue": (
        Files.of(leaf(second := authority("second", ISSUER, **TIMES)), second, ISSUER),
        "own.crt would be refused by peers .*: path length constraint exceeded",
        (False, False),
    ),
    "below what is no authority": (
        Files.of(leaf(PEER), PEER, ISSUER),
        "own.crt would be refused by peers .*: invalid CA certificate",
        (False, False),
    ),
    "for servers only": (
        Files.of(leaf(extra=[(SERVERS_ONLY, False)]), ISSUER),
        "own.crt would be refused by peers .*purpose",
        (True, False),
    ),
    "for clients only": (
        Files.of(leaf(extra=[(CLIENTS_ONLY, False)]), ISSUER),
        "own.crt would be refused by peers .*purpose",
        (False, True),
    ),
    "from a weak root": (
        Files.of(leaf(WEAK_ROOT), trusted=[ROOT, WEAK_ROOT]),
        "own.crt would be refused by peers .*: (ca key too small|CA certificate key too weak)",
        (False, False),
    ),
}


@pytest.mark.parametrize("case", USELESS)
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_what_peers_refuse_the_check_finds(case: str, tmp_path: Path) -> None:
    files, reason, expected = USELESS[case]
    given = files.write(tmp_path)
    assert taken(given, tmp_path) == expected
    errors = [problem for problem in run(tmp_path).problems if problem.severity is Severity.ERROR]
    assert [problem.path for problem in errors][:1] == [
        f"channels[{expected.index(False)}].settings.tls.certificate_file"
    ]
    assert all(re.search(reason, problem.text) for problem in errors)


def test_an_expired_link_that_is_needed_is_told_and_does_not_keep_a_server_from_starting(tmp_path: Path) -> None:
    given = Files.of(OWN, EXPIRED_ISSUER).write(tmp_path)
    assert taken(given, tmp_path) == (False, False)
    report = run(tmp_path)
    assert report.ok
    (warning,) = texts(report, Severity.WARNING)
    assert "own.crt: the certificate of issuer has expired" in warning
