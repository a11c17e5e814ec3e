"""The file of roots that were accepted by hand."""

import os
from pathlib import Path

import pytest

from eps.core.names import Fingerprint, RecordHash
from eps.core.new_root import TrustedRoot
from eps.directory.trusted_roots import MAX_FILE_BYTES, MAX_ROOTS, TrustedRootsFile, add, read
from support.testing import Events


def root(number: int) -> TrustedRoot:
    return TrustedRoot(RecordHash(f"{number:064x}"), Fingerprint(f"{number + 1:064x}"))


def test_what_was_added_is_read_and_the_latest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "state" / "trusted-roots.json"
    assert read(path) == []
    for number in range(MAX_ROOTS + 2):
        add(path, root(number))
    add(path, root(50))
    assert read(path) == [*(root(number) for number in range(2, MAX_ROOTS + 2) if number != 50), root(50)]
    assert path.stat().st_size < MAX_FILE_BYTES
    assert os.listdir(path.parent) == [path.name]


def test_a_link_that_somebody_left_is_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "trusted-roots.json"
    victim.write_text("precious")
    path.with_name(path.name + ".new").symlink_to(victim)
    add(path, root(1))
    assert victim.read_text() == "precious"
    assert read(path) == [root(1)]


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"version": 2, "roots": []}',
        b'{"version": 1, "roots": {}}',
        b'{"version": 1, "roots": [1]}',
        b'{"version": 1, "roots": [{"hash": "x", "signer": null}]}',
        b" " * (MAX_FILE_BYTES + 1),
    ],
)
async def test_a_file_of_another_form_accepts_nothing_and_is_told_once(tmp_path: Path, content: bytes) -> None:
    path, events = tmp_path / "trusted-roots.json", Events()
    path.write_bytes(content)
    file = TrustedRootsFile(path, events)
    assert await file.read() == frozenset()
    assert await file.read() == frozenset()
    assert len(events.all) == 1
    with pytest.raises(ValueError):  # whatever it says
        add(path, root(1))
    path.unlink()
    add(path, root(1))
    assert await file.read() == {root(1)}


async def test_without_a_file_nothing_is_accepted() -> None:
    assert await TrustedRootsFile(None, Events()).read() == frozenset()
