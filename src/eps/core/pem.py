"""Certificates and keys in PEM files (RFC 7468), and in plain words why there is none.

Whether a TLS file of ours loads is OpenSSL's decision, which it explains with «PEM lib». So this module finds blocks in
its way: their first and last lines stand alone and begin at the left, there are no empty lines in them, and everything
around them is text that nobody reads.
"""

import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from eps.core.wording import BYTE_ORDER_MARK, UTF_16
from eps.errors import StartError

UNREADABLE = (
    ValueError,
    TypeError,  # a name that is a bit string
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for certificates that it can't make sense of, while it reads them or later, when asked."""
_CERTIFICATE_LABELS = {"CERTIFICATE", "X509 CERTIFICATE"}
_BEGIN = b"-----BEGIN "
_END = b"-----END "
_DASH = rb"(?:-|\xe2\x80[\x90-\x95]|\xe2\x88\x92|[\x96\x97])"
_LIKE_BEGIN = re.compile(rb"\s*%b{2,}\s*BEGIN [A-Z0-9 ]+" % _DASH)
_LIKE_END = re.compile(rb"\s*%b{2,}\s*END [A-Z0-9 ]+" % _DASH)
"""As text programs write them, which make longer dashes of hyphens."""

_FIRST_LINE = re.compile(rb"-----BEGIN ([^-]+)-----")
_CONVERT = (
    "openssl x509 -inform DER -in FILE -out NEW_FILE makes it PEM (of a key: openssl pkey; of a .p12: openssl pkcs12)"
)


# Certificates and keys


def certificates_in(content: bytes, file: str, setting: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file, at least one.

    Args:
        file, setting: its name, and where the settings name it, for the error.

    Raises:
        StartError: there is none, or one can't be read; the message says which and why.
    """
    reading = read_blocks(content)
    reason, found = reading.broken, []
    for block in reading.blocks:
        if block.label in _CERTIFICATE_LABELS:
            try:
                found.append(x509.load_pem_x509_certificate(block.text))
            except UNREADABLE:
                reason = f"line {block.line}: the certificate that begins here is damaged"
                break
    if found and not reason:
        return tuple(found)
    if not reason and not reading.passed_over and reading.blocks:
        reason = f"all it holds is {', '.join(sorted({block.label for block in reading.blocks}))}"
    swapped = bool(reading.blocks) and all("PRIVATE KEY" in block.label for block in reading.blocks)
    hint = f"check {setting}" + ("; was it swapped with the key's file?" if swapped and not found else "")
    parts = ["holds no certificate in PEM form"] * (not found) + [reason or reading.passed_over]
    raise StartError(": ".join(part for part in (file, *parts) if part), hint=hint)


def damaged_list(content: bytes) -> str:
    """Which block of a file, whose certificates can be read, is no revocation list though it says so; or else empty."""
    for block in read_blocks(content).blocks:
        if block.label == "X509 CRL":
            try:
                x509.load_pem_x509_crl(block.text)
            except UNREADABLE:
                return f"line {block.line}: the revocation list that begins here is damaged"
    return ""


def key_in(content: bytes, file: str, setting: str, *, label: str = "") -> PrivateKeyTypes:
    """The private key of a PEM file, its first. The error never quotes it.

    Args:
        file, setting: as for :func:`certificates_in`.
        label: the only form to be taken, as in ``EC PRIVATE KEY``; empty: any.

    Raises:
        StartError: there is none, or it can't be read, or it is encrypted.
    """
    reading = read_blocks(content)
    block = next((block for block in reading.blocks if block.label.endswith(label or "PRIVATE KEY")), None)
    if block is None:
        reason = reading.broken or reading.passed_over
        raise StartError(
            f"{file}: holds no {label or 'private key'} in PEM form" + f": {reason}" * bool(reason),
            hint=f"check {setting}",
        )
    try:
        # It is only compared, or signs for us: proving an RSA key's primes would take 0.1 s each time.
        return load_pem_private_key(block.text, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise StartError(f"{file}: the key is encrypted", hint="give the file without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):  # the library's message may quote the key's bytes
        raise StartError(
            f"{file}: the private key in line {block.line} can't be read", hint=f"check {setting}"
        ) from None


# Blocks


@dataclass(frozen=True, slots=True)
class Block:
    """One block.

    Attributes:
        label: what stands behind BEGIN, as in ``CERTIFICATE``.
        line: that of its BEGIN, from 1.
        text: from its BEGIN to its END, with line feeds alone. May be a secret.
    """

    label: str
    line: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found in a file.

    Attributes:
        blocks: the whole ones, up to the first that is broken.
        broken: why a block can't be read, nor anything behind it; empty if all can.
        passed_over: what looks like a block, but isn't taken for one, and why; empty if there is no such thing.
    """

    blocks: tuple[Block, ...]
    broken: str = ""
    passed_over: str = ""


def read_blocks(content: bytes) -> Reading:
    """The blocks of a file."""
    if not content.strip():
        return Reading((), "the file is empty")
    if content.startswith(UTF_16):
        return Reading((), "it is text in UTF-16; save it as plain text (ASCII or UTF-8)")
    if content[0] == 0x30 and len(content) > 1 and content[1] >= 0x80:  # a long ASN.1 sequence
        return Reading((), f"it is binary (DER or PKCS #12); {_CONVERT}")
    finder = _Finder()
    for number, line in enumerate(content.split(b"\n"), 1):
        finder.take(number, line.rstrip())
        if finder.broken:
            break
    else:
        finder.end()
    return Reading(tuple(finder.blocks), finder.broken, finder.passed_over)


class _Finder:
    """Takes line after line; what it has found lies in its attributes."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.broken = ""
        self.passed_over = ""
        self._begun = 0
        self._label = b""
        self._lines: list[bytes] = []
        self._in_headers = False
        self._mentioned = 0
        self._may_be_marked = True

    def take(self, number: int, line: bytes) -> None:
        if self._lines:
            self._inside(number, line)
            return
        if self._may_be_marked:  # files with a mark each may have been put together
            line = line.removeprefix(BYTE_ORDER_MARK)
        self._may_be_marked = False
        if first := _FIRST_LINE.fullmatch(line):
            self._begun, self._label, self._lines, self._in_headers = number, first[1], [line], True
        else:
            self._around(number, line)

    def end(self) -> None:
        """The file's."""
        if self._lines:
            self.broken = f"line {self._begun}: the block that begins here has no end"

    def _around(self, number: int, line: bytes) -> None:
        """A text may well mention blocks; only one that also ends was meant as one."""
        if _BEGIN in line or _LIKE_BEGIN.match(line):
            self._mentioned = number
        if self.passed_over or not (_END in line or _LIKE_END.match(line)):
            return
        if b"\r" in line:
            self.passed_over = f"line {number}: has CR alone as line ends, which hide a block; make them LF or CR LF"
        elif line.strip().startswith((_BEGIN, _END)) or _LIKE_END.match(line):
            where = self._mentioned or number
            how = "must stand alone, at the beginning of its line, with five plain hyphens on both sides"
            self.passed_over = f"line {where}: -----BEGIN … ----- {how}"

    def _inside(self, number: int, line: bytes) -> None:
        if line == _END + self._label + b"-----":
            text = b"\n".join([*self._lines, line, b""])
            self.blocks.append(Block(self._label.decode(errors="replace"), self._begun, text))
            self._lines, self._may_be_marked = [], True
        elif _BEGIN in line or _END in line:
            self.broken = _why_no_end(number, line, self._begun)
        elif line:
            self._lines.append(line)
        elif self._in_headers and (len(self._lines) == 1 or b":" in self._lines[1]):
            self._lines.append(line)  # an empty line ends the headers, if there are any
            self._in_headers = False
        else:
            self.broken = f"line {number}: is empty, inside the block that begins in line {self._begun}"


def _why_no_end(number: int, line: bytes, begun: int) -> str:
    if line.startswith(_END) and _BEGIN in line:
        return f"line {number}: one block ends and the next begins in the same line; put a line end between them"
    if line.startswith(_BEGIN):
        return f"line {begun}: the block that begins here has no end before the next one, in line {number}"
    return f"line {number}: is not the END line of the block that begins in line {begun}, alone and not indented"
