"""A seal fits what it was put on, and nothing else."""

from types import ModuleType
from typing import Any

import cryptography
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import eps
from eps.core.cache_seal import MAX_ODD, Contents, Seal, authorities_of, seal_key
from support.record_tools import trust

KEY = b"k" * 32
TEXTS = [b"one", b"two", b"three"]


def seal(odd: tuple[int, ...] = (1,)) -> Seal:
    return Seal.of(Contents(TEXTS), odd, "they", KEY)


def test_it_fits_what_it_was_put_on_also_after_a_journey() -> None:
    read = Seal.from_json(seal().to_json())
    assert read == seal()
    assert read is not None and read.fits(Contents(TEXTS), "they", KEY)


@pytest.mark.parametrize(
    ("texts", "authorities", "key"),
    [
        ([b"one", b"two", b"thr33"], "they", KEY),
        ([b"two", b"one", b"three"], "they", KEY),
        ([b"onetwo", b"", b"three"], "they", KEY),
        (TEXTS[:2], "they", KEY),
        ([*TEXTS, b"four"], "they", KEY),
        (TEXTS, "others", KEY),
        (TEXTS, "they", b"x" * 32),
        (TEXTS, "they", b""),
    ],
    ids=["altered", "another order", "other bounds", "fewer", "more", "other authorities", "another key", "no key"],
)
def test_it_fits_nothing_else(texts: list[bytes], authorities: str, key: bytes) -> None:
    assert not seal().fits(Contents(texts), authorities, key)


def test_without_a_key_nothing_is_sealed_that_anybody_could_seal() -> None:
    assert not Seal.of(Contents(TEXTS), (), "they", b"").fits(Contents(TEXTS), "they", b"")


def test_who_is_odd_is_sealed_too() -> None:
    value = seal().to_json() | {"odd": []}
    read = Seal.from_json(value)
    assert read is not None and not read.fits(Contents(TEXTS), "they", KEY)


@pytest.mark.parametrize("program", [eps, cryptography], ids=["eps", "a library"])
def test_another_version_looks_itself(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    before = seal()
    monkeypatch.setattr(program, "__version__", "99", raising=False)
    assert not before.fits(Contents(TEXTS), "they", KEY)


@pytest.mark.parametrize(
    "value",
    [
        {}, {"count": 1}, {"count": True, "odd": [], "mac": ""}, {"count": 0, "odd": [], "mac": ""},
        {"count": 1, "odd": None, "mac": ""}, {"count": 1, "odd": ["1"], "mac": ""}, {"count": 1, "odd": [], "mac": 1},
        {"count": 1, "odd": [0] * (MAX_ODD + 1), "mac": ""},
    ],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_seal(value: dict[str, Any]) -> None:
    assert Seal.from_json(value) is None


def test_a_seal_with_words_that_are_not_ascii_fits_nothing() -> None:
    read = Seal.from_json(seal().to_json() | {"mac": "ä"})
    assert read is not None and not read.fits(Contents(TEXTS), "they", KEY)


def test_contents_grow() -> None:
    grown = Contents(TEXTS[:1])
    grown.add(TEXTS[1:])
    assert (grown.digest, grown.count) == (Contents(TEXTS).digest, 3)


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)], ids=["ec", "rsa"]
)
def test_keys_for_seals_come_from_private_keys(key: Any) -> None:
    forms = [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL]
    first, second = (seal_key(key.private_bytes(Encoding.PEM, form, NoEncryption())) for form in forms)
    assert first == second and len(first) == 32
    assert first != seal_key(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


def test_there_is_none_from_what_is_no_key() -> None:
    assert seal_key(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n") == b""
    assert seal_key(b"") == b""


def test_authorities_are_a_set() -> None:
    roots, intermediates = trust().roots, trust().intermediates
    assert authorities_of([*roots, *intermediates], ()) == authorities_of([*intermediates, *roots], ())
    assert authorities_of(roots, intermediates) != authorities_of([*roots, *intermediates], ())
    assert authorities_of(roots, ()) != authorities_of((), roots)
