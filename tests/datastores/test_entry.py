"""An entry's bytes (PROTOCOL.md section 6)."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.datastores import DataEntry, decode_entry, encode_entry, new_id

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "data_entry.json").read_text())


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors(vector: dict[str, object]) -> None:
    entry = DataEntry(
        int(str(vector["type"])), bytes.fromhex(str(vector["id_hex"])), base64.b64decode(str(vector["data_base64"]))
    )
    encoded = base64.b64decode(str(vector["encoded_base64"]))
    assert encode_entry(entry) == encoded
    assert decode_entry(encoded) == entry


@given(st.integers(0, 255), st.binary(max_size=40), st.binary(max_size=200))
def test_decode_after_encode_is_the_identity(kind: int, id_: bytes, data: bytes) -> None:
    entry = DataEntry(kind, id_, data)
    assert decode_entry(encode_entry(entry)) == entry


@given(st.binary(max_size=40))
def test_decode_refuses_with_value_error_only(encoded: bytes) -> None:
    try:
        entry = decode_entry(encoded)
    except ValueError:
        return
    assert encode_entry(entry) == encoded


@pytest.mark.parametrize(
    ("encoded", "complaint"),
    [
        (b"\x01\x01\x10", "at least 4 bytes"),
        (b"\x02\x01\x00\x00", "format 2 is unknown"),
        (b"\x01\x01\x10\x00abc", "only 3 are there"),
    ],
)
def test_what_is_wrong_is_said(encoded: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode_entry(encoded)


@pytest.mark.parametrize("entry", [DataEntry(256, b"", b""), DataEntry(-1, b"", b""), DataEntry(1, bytes(65_536), b"")])
def test_what_does_not_fit_is_refused(entry: DataEntry) -> None:
    with pytest.raises(ValueError, match="entry of type"):
        encode_entry(entry)


def test_ids_are_16_bytes_and_differ() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(i) for i in ids} == {16}
