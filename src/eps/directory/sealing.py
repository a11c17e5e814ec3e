"""The seal beside a directory cache: what was verified before is not verified again (``core.cache_seal``).

    load  ─ texts ─▶ known: which of them are sealed ─▶ verified ─▶ write
    keep  ─ texts ─▶ add ─▶ write

Its functions are for a thread: a hundred thousand texts take half a second.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import orjson

from eps.core.cache_seal import MAX_ODD, Contents, Seal, authorities_of
from eps.core.chain import Chain
from eps.core.signature import TrustStore
from eps.datastores.state_file import read_state, write_state

VERSION = 1


class Sealing:
    """The seal of one cache.

    Args:
        path: its file; None keeps none.
        key: as ``core.cache_seal.seal_key`` gives it; empty seals nothing.
    """

    def __init__(self, path: Path | None, key: bytes) -> None:
        self._path = path if key else None
        self._key = key
        self._contents = Contents()

    def known(self, texts: Sequence[bytes], trust: TrustStore) -> frozenset[int]:
        """The indices of the texts, all that the cache holds, that are sealed as sound, and were so by the authorities
        that ``trust`` believes."""
        self._contents = Contents()
        seal = Seal.from_json(read_state(self._path, VERSION)) if self._path is not None else None
        sealed = min(seal.count, len(texts)) if seal is not None else 0
        self._contents.add(texts[:sealed])
        fits = seal is not None and seal.fits(self._contents, _authorities(trust), self._key)
        self._contents.add(texts[sealed:])
        return frozenset(range(sealed)).difference(seal.odd) if seal is not None and fits else frozenset()

    def add(self, texts: Iterable[bytes], *, anew: bool) -> None:
        """The cache now holds ``texts`` behind what was there, or in its place (``anew``)."""
        if anew:
            self._contents = Contents()
        self._contents.add(texts)

    def write(self, chain: Chain) -> None:
        """What the cache holds is ``chain``, verified.

        A seal that can't be written is none: the next start verifies.
        """
        if self._path is None or len(chain.odd) > MAX_ODD or self._contents.count != len(chain.records):
            return
        seal = Seal.of(self._contents, chain.odd, _authorities(chain.trust), self._key)
        with suppress(OSError):
            write_state(self._path, orjson.dumps({"version": VERSION, **seal.to_json()}))


def _authorities(trust: TrustStore) -> str:
    return authorities_of(trust.roots, trust.intermediates)
