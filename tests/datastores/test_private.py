"""Files and folders that only their owner may read, and links that nobody follows."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from eps.datastores import RECORD, DataEntry, new_id
from eps.datastores.file import FileDatastore
from eps.datastores.private import doubt_of_folder, make_folder, narrow, open_private
from eps.datastores.sqlite import SqliteDatastore
from eps.datastores.state_file import read_state, write_state
from eps.errors import StartError

ENTRY = DataEntry(1, bytes(16), b"{}")
STORES = {"sqlite": SqliteDatastore, "file": FileDatastore}


@pytest.fixture(autouse=True)
def careless() -> Iterator[None]:
    """A umask that forbids nothing."""
    before = os.umask(0)
    yield
    os.umask(before)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("kind", STORES)
async def test_all_that_a_store_makes_is_private(tmp_path: Path, kind: str) -> None:
    store = await STORES[kind].open(tmp_path / "new" / "state" / "s")
    await store.append([ENTRY])
    folder = tmp_path / "new" / "state"
    assert (rights(tmp_path / "new"), rights(folder)) == (0o700, 0o700)
    made = {path.name: rights(path) for path in folder.iterdir()}
    assert set(made.values()) == {0o600}, made
    assert {"s", "s.lock"} <= set(made) and (kind == "file" or {"s-wal", "s-shm"} <= set(made))
    await store.replace([ENTRY])
    assert rights(folder / "s") == 0o600
    await store.close()


@pytest.mark.parametrize("kind", STORES)
async def test_what_was_readable_is_not_any_more(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    store = await STORES[kind].open(path)
    await store.append([ENTRY])
    await store.close()
    for file in tmp_path.iterdir():
        file.chmod(0o664)
    store = await STORES[kind].open(path)
    assert await store.read_all() == [ENTRY]
    assert {rights(file) for file in tmp_path.iterdir()} == {0o600}
    await store.close()


async def test_a_shared_store_keeps_its_group(tmp_path: Path) -> None:
    """Its programs may run as several users."""
    path = tmp_path / "s"
    await (await SqliteDatastore.open(path, shared=True)).close()
    path.chmod(0o666)
    store = await SqliteDatastore.open(path, shared=True)
    assert rights(path) == 0o660
    await store.close()


@pytest.mark.parametrize("name", ["s", "s.lock", "s-wal", "s-shm"])
@pytest.mark.parametrize("kind", STORES)
async def test_a_link_is_not_followed(tmp_path: Path, kind: str, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / name).symlink_to(victim)
    if kind == "file" and name in ("s-wal", "s-shm"):
        await (await FileDatastore.open(tmp_path / "state" / "s")).close()  # it has no such files
    else:
        with pytest.raises(StartError) as refused:
            await STORES[kind].open(tmp_path / "state" / "s")
        assert "s can't be opened" in refused.value.message
        assert name != "s" or "it is a link" in refused.value.message
    assert victim.read_bytes() == b"precious" and rights(victim) == 0o666


@pytest.mark.parametrize("kind", STORES)
async def test_folders_may_be_links(tmp_path: Path, kind: str) -> None:
    """An administrator's, to another disk."""
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    store = await STORES[kind].open(tmp_path / "near" / "s")
    await store.close()
    assert (tmp_path / "far" / "s").is_file()


def test_small_files_are_private_and_replace_links(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "new" / "state.json"
    victim.write_text('{"version": 1, "a": 1}')
    write_state(path, b'{"version": 1}')
    assert (rights(path.parent), rights(path)) == (0o700, 0o600)
    path.unlink()
    for link in (path, path.with_name("state.json.new")):
        link.symlink_to(victim)
    assert read_state(path, 1) == {}, "it is not read through a link"
    write_state(path, b'{"version": 1, "b": 2}')
    assert read_state(path, 1) == {"version": 1, "b": 2}
    assert victim.read_text() == '{"version": 1, "a": 1}' and not path.is_symlink()


def test_what_root_writes_belongs_to_the_folder_s_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda file, user, group: given.append((user, group)))
    write_state(tmp_path / "x", b"{}")
    assert given == [(tmp_path.stat().st_uid, tmp_path.stat().st_gid)]


def test_a_state_folder_is_made_private_where_it_is_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "state"
    assert doubt_of_folder(folder) == "", "there is none yet"
    folder.mkdir(0o755)
    assert doubt_of_folder(folder) == "" and rights(folder) == 0o700
    assert doubt_of_folder(folder) == ""
    folder.chmod(0o2775)
    assert doubt_of_folder(folder) == "" and rights(folder) == 0o2770, "programs of several users share it"
    folder.chmod(0o1777)
    assert "may look into this folder, or change it (mode 1777)" in doubt_of_folder(folder)
    assert rights(folder) == 0o1777, "like /tmp: others have theirs in it"
    folder.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    assert "mode 0755" in doubt_of_folder(folder) and rights(folder) == 0o755


def test_a_file_system_without_rights_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    for name in ("chmod", "fchmod"):
        monkeypatch.setattr(os, name, refuse)
    path = tmp_path / "x"
    path.touch(0o666)
    os.close(open_private(path, os.O_RDONLY))
    narrow(path)
    assert rights(path) == 0o666
    tmp_path.joinpath("state").mkdir(0o755)
    assert "mode 0755" in doubt_of_folder(tmp_path / "state")


def test_folders_that_are_there_stay_as_they_are(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert make_folder(tmp_path / "a" / "b") == [tmp_path / "a", tmp_path / "a" / "b"]
    assert make_folder(tmp_path / "a") == [] and rights(tmp_path) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("kind", STORES)
async def test_what_root_makes_belongs_to_the_user_of_the_folder(tmp_path: Path, kind: str) -> None:
    """Root gives a command, such as «store restore»; then the program of that user starts."""
    os.chown(tmp_path, 4711, 4712)
    store = await STORES[kind].open(tmp_path / "s")
    await store.append([DataEntry(RECORD, new_id(), b"{}")])
    found = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()}
    await store.close()
    assert {"s", "s.lock"} <= set(found) and set(found.values()) == {(4711, 4712)}, found
    assert rights(tmp_path / "s") == 0o600


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "state.json"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="pipe") as refused:
        open_private(pipe, os.O_RDONLY)
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(OSError, match="state"):  # nobody reads it
        open_private(pipe, os.O_WRONLY)
