"""A chain's records as JSON, each written once: what a service directory answers is put together of these."""

from collections.abc import Sequence

import orjson

from eps.core.names import RecordHash


class Pages:
    """The current chain's records as JSON, each written once, and where each hash stands."""

    def __init__(self) -> None:
        self._encoded: list[bytes] = []
        self._position: dict[RecordHash, int] = {}
        self._whole: orjson.Fragment | None = None

    def extend(self, hashes: Sequence[RecordHash], encoded: Sequence[bytes]) -> None:
        for record_hash, text in zip(hashes, encoded, strict=True):
            self._position[record_hash] = len(self._encoded)
            self._encoded.append(text)
        self._whole = None

    def after(self, record_hash: RecordHash) -> orjson.Fragment:
        """A JSON list of what follows ``record_hash``; of everything, if the chain doesn't have it."""
        position = self._position.get(record_hash)
        if position is not None:
            return _json_list(self._encoded[position + 1 :])
        if self._whole is None:
            self._whole = _json_list(self._encoded)
        return self._whole

    def has(self, record_hash: RecordHash) -> bool:
        """Whether the chain has it."""
        return record_hash in self._position

    def tip(self) -> orjson.Fragment | None:
        return orjson.Fragment(self._encoded[-1]) if self._encoded else None


def _json_list(items: Sequence[bytes]) -> orjson.Fragment:
    return orjson.Fragment(b"[" + b",".join(items) + b"]")
