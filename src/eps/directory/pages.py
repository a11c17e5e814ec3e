"""A chain's records as JSON, each written once: what a service directory answers is put together of these.

getRecords  all behind a hash, in one answer, as servers in use ask for them
getPage     so many of them, and whether there are more (PROTOCOL.md section 10): a hundred thousand records are
            more than one answer may be, and whoever asks verifies one page before it asks for the next
"""

from collections.abc import Sequence

import orjson

from eps.core.names import Object, RecordHash
from eps.errors import BadParams

RECORDS, MORE = "records", "more"
"""The members of a page."""

PAGE_RECORDS = 20_000
"""Of a page: verifying them takes several times as long as asking for them."""

PAGE_BYTES = 32 * 1024 * 1024
"""Of a page, but for a record that is larger: a quarter of what a client takes."""


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

    def page(self, record_hash: RecordHash) -> Object:
        """The first of what follows ``record_hash``, or of everything; and whether more does."""
        position = self._position.get(record_hash)
        first = end = 0 if position is None else position + 1
        size = 0
        while end < min(len(self._encoded), first + PAGE_RECORDS):
            size += len(self._encoded[end])
            if size > PAGE_BYTES and end > first:
                break
            end += 1
        return {RECORDS: _json_list(self._encoded[first:end]), MORE: end < len(self._encoded)}

    def has(self, record_hash: RecordHash) -> bool:
        """Whether the chain has it."""
        return record_hash in self._position

    def tip(self) -> orjson.Fragment | None:
        return orjson.Fragment(self._encoded[-1]) if self._encoded else None


def asked_after(params: Object) -> RecordHash:
    """The hash behind which records are asked for; empty: all of them.

    Raises:
        BadParams: it is no text.
    """
    after = params.get("after")
    if after is not None and not isinstance(after, str):
        raise BadParams("params.after: must be a record's hash or an empty string")
    return RecordHash(after or "")


def page_in(answer: object) -> tuple[list[object] | None, bool]:
    """The records, as JSON, in an answer to ``getPage``, None if it is none; and whether there are more."""
    if not isinstance(answer, dict) or not isinstance(answer.get(RECORDS), list):
        return None, False
    return answer[RECORDS], answer.get(MORE) is True


def _json_list(items: Sequence[bytes]) -> orjson.Fragment:
    return orjson.Fragment(b"[" + b",".join(items) + b"]")
