"""Small files of JSON that are put in place whole."""

from pathlib import Path

import pytest

import eps.datastores.state_file as module
from eps.datastores.state_file import read_state, write_state


def test_what_was_written_is_read_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "state.json"
    assert read_state(path, 1) == {}
    for value in (b'{"version":1,"x":1}', b'{"version":1}'):
        write_state(path, value)
        assert path.read_bytes() == value
    assert read_state(path, 1) == {"version": 1}
    assert [file.name for file in path.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"version":2}', b'{"version":1}' + b" " * 100])
def test_what_cant_be_understood_is_nothing(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    monkeypatch.setattr(module, "MAX_BYTES", 12)
    assert read_state(path, 1) == {}


def test_a_write_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_state(path, b"old")
    path.with_name("state.json.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_state(path, b"new")
    assert path.read_bytes() == b"old"
