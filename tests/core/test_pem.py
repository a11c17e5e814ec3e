"""Blocks in PEM files, found as OpenSSL finds them, and why there is none."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from eps.core.pem import certificates_in, damaged_list, key_in, read_blocks
from eps.errors import StartError
from support.certs import HD_1, INTERMEDIATE

ONE, TWO = HD_1.pem, INTERMEDIATE.pem
LINES = ONE.split(b"\n")
KEY = HD_1.key_pem


def body(*lines: bytes) -> bytes:
    return b"\n".join([LINES[0], *lines, *LINES[-2:]])


def indented(content: bytes) -> bytes:
    return content.replace(b"\n", b"\n  ").join([b"  ", b""])


LOADS = {
    "as it is made": (ONE + TWO, 2),
    "no line end at the end": (ONE.rstrip(), 1),
    "CR LF": ((ONE + TWO).replace(b"\n", b"\r\n"), 2),
    "byte order mark": (b"\xef\xbb\xbf" + ONE, 1),
    "two files with marks": (b"\xef\xbb\xbf" + ONE + b"\xef\xbb\xbf" + TWO, 2),
    "empty lines around": (b"\n\r\n" + ONE + b"\n \n\n" + TWO + b"\n\n", 2),
    "spaces at the ends of lines": (ONE.replace(b"\n", b" \t\n"), 1),
    "text around": (
        b"subject=CN = hd-1\n# -----BEGIN CERTIFICATE-----\n# -----END CERTIFICATE-----\n"
        + ONE
        + b"\xe4: issuer\n"
        + TWO
        + b"end",
        2,
    ),
    "a key before": (KEY + ONE, 1),
    "an empty line behind BEGIN": (body(b"", *LINES[1:-2]), 1),
    "one long line": (body(b"".join(LINES[1:-2])), 1),
    "short lines": (body(*(b"".join(LINES[1:-2])[at : at + 20] for at in range(0, len(ONE) - 70, 20))), 1),
    "indented inside": (body(*(b"  " + line for line in LINES[1:-2])), 1),
    "the older label": (ONE.replace(b"CERTIFICATE", b"X509 CERTIFICATE"), 1),
    "a second one that is indented": (ONE + indented(TWO), 1),
}

NO = "holds no certificate in PEM form: "
FAILS = {
    "empty": (b" \n", NO + "the file is empty"),
    "text": (b"text\n", "holds no certificate in PEM form"),
    "a key only": (KEY, NO + "all it holds is EC PRIVATE KEY"),
    "DER": (ssl.PEM_cert_to_DER_cert(ONE.decode()), NO + r"it is binary \(DER or PKCS #12\); openssl x509 -inform DER"),
    "UTF-16": (ONE.decode().encode("utf-16"), NO + "it is text in UTF-16; save it"),
    "joined": (ONE.rstrip() + TWO, NO + f"line {len(LINES) - 1}: one block ends and the next begins in the same line"),
    "joined later": (ONE + ONE.rstrip() + TWO, "line .*: one block ends and the next begins in the same line"),
    "indented": (indented(ONE), NO + "line 1: -----BEGIN … ----- must stand alone, at the beginning of its line"),
    "behind text": (b"cert: " + ONE, NO + "line 1: -----BEGIN … ----- must stand alone"),
    "only the end": (b"\n".join(LINES[1:]), NO + f"line {len(LINES) - 2}: -----BEGIN … ----- must stand alone"),
    "all in one line": (ONE.replace(b"\n", b""), NO + "line 1: -----BEGIN … ----- must stand alone"),
    "longer dashes": (ONE.replace(b"--", "—".encode()), NO + "line 1: -----BEGIN … ----- must .* five plain hyphens"),
    "longer dashes at the begin": (ONE.replace(b"-----BEGIN", "—---BEGIN".encode()), NO + "line 1: -----BEGIN … -----"),
    "longer dashes of Windows": (ONE.replace(b"--", b"\x96"), NO + "line 1: -----BEGIN … -----"),
    "longer dashes behind text": (b"a\nb\n" + ONE.replace(b"-----", "––-".encode()), NO + "line 3: -----BEGIN … -----"),
    "CR alone": (ONE.replace(b"\n", b"\r"), NO + "line 1: has CR alone as line ends"),
    "CR alone, behind text": (b"subject\r" + ONE.replace(b"\n", b"\r"), NO + "line 1: has CR alone as line ends"),
    "cut off": (ONE[:300], NO + "line 1: the block that begins here has no end"),
    "a second one that is cut off": (ONE + TWO[:300], f"line {len(LINES)}: the block that begins here has no end"),
    "cut off before another": (
        ONE[:300] + b"\n" + TWO,
        NO + "line 1: the block that begins here has no end before the next",
    ),
    "an empty line inside": (body(*LINES[1:4], b"", *LINES[4:-2]), NO + "line 5: is empty, inside the block .* line 1"),
    "an empty line before END": (body(*LINES[1:-2], b""), NO + "line .*: is empty, inside the block"),
    "empty lines between all": (ONE.replace(b"\n", b"\n\n"), NO + "line 4: is empty, inside the block"),
    "another END": (ONE.replace(b"END ", b"END X509 "), NO + "line .*: is not the END line of the block .* line 1"),
    "END is indented": (ONE.replace(b"-----END", b" -----END"), NO + "line .*: is not the END line of the block"),
    "no base64": (body(b"!!!!", *LINES[2:-2]), NO + "line 1: the certificate that begins here is damaged"),
    "lines lost": (body(*LINES[2:-2]), NO + "line 1: the certificate that begins here is damaged"),
    "a second one that is damaged": (ONE + body(b"AAAA"), f"line {len(LINES)}: the certificate that begins here is"),
}


def openssl_finds(content: bytes, folder: Path) -> int:
    """How many certificates OpenSSL itself loads as authorities; 0 if it refuses the file."""
    (folder / "file.pem").write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(folder / "file.pem")
    except ssl.SSLError:
        return 0
    return context.cert_store_stats()["x509"]


@pytest.mark.parametrize("case", LOADS)
def test_what_loads(case: str, tmp_path: Path) -> None:
    content, count = LOADS[case]
    assert len(certificates_in(content, "own.crt", "tls.certificate_file")) == count
    assert openssl_finds(content, tmp_path) == count


@pytest.mark.parametrize("case", FAILS)
def test_what_does_not_load_is_named_with_the_reason(case: str, tmp_path: Path) -> None:
    content, reason = FAILS[case]
    with pytest.raises(StartError, match=f"^own.crt: {reason}") as caught:
        certificates_in(content, "own.crt", "tls.certificate_file")
    swapped = "; was it swapped with the key's file?" if case == "a key only" else ""
    assert caught.value.hint == f"check tls.certificate_file{swapped}"
    assert "\n" not in caught.value.message
    assert openssl_finds(content, tmp_path) == 0


def test_a_block_that_is_passed_over_is_told() -> None:
    reading = read_blocks(ONE + indented(TWO) + indented(TWO))
    assert (len(reading.blocks), reading.broken) == (1, "")
    assert reading.passed_over.startswith(f"line {len(LINES)}: -----BEGIN … ----- must stand alone")
    assert read_blocks(b"-----END\n" + ONE).passed_over == ""


# Keys


def rsa_pem(encryption: bytes = b"", form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    how = BestAvailableEncryption(encryption) if encryption else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, how)


PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


@pytest.mark.parametrize(
    "content", [KEY, PARAMETERS + KEY, ONE + KEY, b"\xef\xbb\xbf" + KEY.replace(b"\n", b"\r\n")], ids=range(4)
)
def test_keys_that_load(content: bytes) -> None:
    key = key_in(content, "own.key", "tls.key_file")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == HD_1.key.public_key()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no private key in PEM form: the file is empty"),
        (ONE, "holds no private key in PEM form"),
        (indented(KEY), "holds no private key in PEM form: line 1: -----BEGIN … ----- must stand alone"),
        (KEY[:100], "holds no private key in PEM form: line 1: the block that begins here has no end"),
        (rsa_pem(b"secret"), "the key is encrypted"),
        (rsa_pem(b"secret", PrivateFormat.TraditionalOpenSSL), "the key is encrypted"),
        (KEY.replace(b"\nM", b"\nN"), "the private key in line 1 can't be read"),
    ],
    ids=["empty", "certificate", "indented", "cut", "encrypted", "encrypted, old form", "damaged"],
)
def test_keys_that_do_not_load(content: bytes, reason: str) -> None:
    with pytest.raises(StartError, match=f"^own.key: {reason}") as caught:
        key_in(content, "own.key", "tls.key_file")
    assert caught.value.hint
    assert all(line.decode() not in str(caught.value) for line in content.split(b"\n")[1:-2] if line)


def test_a_key_of_another_form() -> None:
    with pytest.raises(StartError, match=r"^own.key: holds no EC PRIVATE KEY in PEM form") as caught:
        key_in(rsa_pem(), "own.key", "signing.key_file", label="EC PRIVATE KEY")
    assert caught.value.hint == "check signing.key_file"


def test_a_file_without_revocation_lists_has_no_damaged_one() -> None:
    assert damaged_list(b"") == ""
    damaged = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
    assert damaged_list(b"text\n" + damaged) == "line 2: the revocation list that begins here is damaged"
