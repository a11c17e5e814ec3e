"""A seal on what was verified once, so that it need not be verified again at each start.

Whoever can write the state folder could write a cache that says anything, and records that nobody signed. So the seal
is keyed from a private key of ours, which they can't read: the one that our certificate goes with, whose thief is us
anyway. It covers what was verified, by whose authorities, and by which version of this program and of the libraries
that it verifies with: another one may look at more. A seal that doesn't fit costs time, and nothing else. Pure.
"""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

import cryptography
import jiter
import orjson
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

import eps
from eps.core.names import Object
from eps.core.pem import UNREADABLE

PURPOSE = "eps: records of the directory cache that were verified, 1"
"""What the key is for, and what the seal says."""

MAX_ODD = 10_000
"""Records that are remembered one by one since they do not simply replace a section; with more there is no seal."""


def seal_key(private_key: bytes) -> bytes:
    """The key of our seals, from the PEM of a private key; empty if that can't be used: then nothing is sealed."""
    try:
        key = load_pem_private_key(private_key, None)
        content = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    except UNREADABLE:
        return b""
    return HKDF(SHA256(), 32, salt=None, info=PURPOSE.encode()).derive(content)


class Contents:
    """A digest of texts in their order, which grows with them."""

    def __init__(self, texts: Iterable[bytes] = ()) -> None:
        self._digest = sha256()
        self.count = 0
        self.add(texts)

    def add(self, texts: Iterable[bytes]) -> None:
        for text in texts:
            self._digest.update(b"%d:" % len(text))  # so that no two lists have the same bytes
            self._digest.update(text)
            self.count += 1

    @property
    def digest(self) -> str:
        """Of those so far, in hex."""
        return self._digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Seal:
    """Says of the first ``count`` records of a cache that they were verified.

    Attributes:
        odd: the indices of those that do not simply replace their section.
        mac: HMAC-SHA-256 in hex.
    """

    count: int
    odd: tuple[int, ...]
    mac: str

    @classmethod
    def of(cls, contents: Contents, odd: Sequence[int], authorities: str, key: bytes) -> Self:
        """The seal on what was verified with ``authorities`` (:func:`authorities_of`)."""
        return cls(contents.count, tuple(odd), _mac(contents, odd, authorities, key))

    @classmethod
    def from_json(cls, value: Object) -> Self | None:
        """What :meth:`to_json` gave; None for anything else."""
        count, odd, mac = (value.get(name) for name in ("count", "odd", "mac"))
        if type(count) is not int or count < 1 or not isinstance(mac, str):
            return None
        if not isinstance(odd, list) or len(odd) > MAX_ODD or not all(type(index) is int for index in odd):
            return None
        return cls(count, tuple(odd), mac)

    def to_json(self) -> Object:
        return {"count": self.count, "odd": list(self.odd), "mac": self.mac}

    def fits(self, contents: Contents, authorities: str, key: bytes) -> bool:
        """Whether ``contents`` are what it is on."""
        expected = _mac(contents, self.odd, authorities, key)
        return bool(key) and contents.count == self.count and hmac.compare_digest(expected.encode(), self.mac.encode())


def authorities_of(roots: Iterable[x509.Certificate], intermediates: Iterable[x509.Certificate]) -> str:
    """What stands for the authorities that were believed, each as what it was."""
    kinds = [sorted(one.fingerprint(SHA256()).hex() for one in certificates) for certificates in (roots, intermediates)]
    return sha256(orjson.dumps(kinds)).hexdigest()


def _mac(contents: Contents, odd: Sequence[int], authorities: str, key: bytes) -> str:
    verified_by = [
        eps.__version__,
        cryptography.__version__,
        str(getattr(jiter, "__version__", "")),
        orjson.__version__,
    ]
    said = [PURPOSE, verified_by, authorities, contents.count, contents.digest, list(odd)]
    return hmac.digest(key, orjson.dumps(said), "sha256").hex()
