"""The store of chunks, on real files: as servers in use leave them, torn, damaged, held and changed by others."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import eps.datastores.file as module
from eps.core.chunks import cut
from eps.core.event import Event, Level
from eps.core.wording import counted
from eps.datastores import DataEntry, Datastore, encode_entry
from eps.datastores.file import FileDatastore, read_content
from eps.errors import InternalError, StartError


def entry(number: int, size: int = 10) -> DataEntry:
    return DataEntry(1, number.to_bytes(16, "little"), b'{"n":"' + b"%d" % (number % 10) * size + b'"}')


def chunks_of(each: DataEntry) -> list[bytes]:
    return [chunk.encode() for chunk in cut(encode_entry(each), each.id)]


async def test_what_was_appended_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "entries"
    store: Datastore = await FileDatastore.open(path)
    assert await store.read_all() == [] and await store.last_id() is None
    batch = [entry(1, 5000), entry(2), DataEntry(255, b"", b"\x00\xff"), DataEntry(0, b"i" * 300, b"")]
    await store.append(batch)
    await store.append([])
    await store.append([entry(3)])
    await store.close()
    await store.close()
    again = await FileDatastore.open(str(path))
    assert await again.read_all() == [*batch, entry(3)]
    assert again.location == str(path) and await again.last_id() == entry(3).id
    await again.close()
    with pytest.raises(InternalError, match="is closed"):
        await again.read_all()


async def test_a_file_as_servers_in_use_leave_it(tmp_path: Path) -> None:
    """One entry behind the other, and two that were written at once."""
    path = tmp_path / "entries"
    a, b = chunks_of(entry(2, 300)), chunks_of(entry(3, 400))
    path.write_bytes(b"".join([*chunks_of(entry(1)), a[0], b[0], b[1], a[1]]))
    before = path.read_bytes()
    store = await FileDatastore.open(path)
    assert await store.read_all() == [entry(1), entry(3, 400), entry(2, 300)]
    await store.append([entry(4)])
    assert path.read_bytes() == before + chunks_of(entry(4))[0]
    await store.close()


async def test_an_unfinished_entry_is_said_and_not_served(tmp_path: Path) -> None:
    path, told = tmp_path / "entries", list[Event]()
    path.write_bytes(b"".join([*chunks_of(entry(1)), *chunks_of(entry(2, 900))[:-1], *chunks_of(entry(3))]))
    size = path.stat().st_size
    store = await FileDatastore.open(path, emit=told.append)
    assert await store.read_all() == [entry(1), entry(3)] and path.stat().st_size == size
    assert [event.level for event in told] == [Level.WARN]
    assert "holds one entry that was begun and never finished" in told[0].message()
    await store.append([entry(4)])
    await store.close()
    assert [each.id for each in read_content(path).entries] == [entry(n).id for n in (1, 3, 4)]


@pytest.mark.parametrize("torn", [chunks_of(entry(2))[0][:-1], b"\x01", bytes(5000)])
async def test_a_torn_end_is_named_and_set_aside(tmp_path: Path, torn: bytes) -> None:
    path, told = tmp_path / "entries", list[Event]()
    whole = chunks_of(entry(1))[0]
    path.write_bytes(whole + torn)
    store = await FileDatastore.open(path, emit=told.append)
    aside = tmp_path / f"entries.torn-{len(whole)}"
    assert aside.read_bytes() == torn
    assert f"{counted(len(torn), 'byte')} behind byte {len(whole)}" in told[0].message()
    assert str(aside) in told[0].message()
    await store.append([entry(3)])
    assert await store.read_all() == [entry(1), entry(3)]
    await store.close()


async def test_a_second_torn_end_does_not_replace_the_first(tmp_path: Path) -> None:
    path = tmp_path / "entries"
    for torn in (b"\x01\x01", b"\x01"):
        path.write_bytes(torn)
        await (await FileDatastore.open(path)).close()
    assert (tmp_path / "entries.torn-0").read_bytes() == b"\x01\x01"
    assert (tmp_path / "entries.torn-0-1").read_bytes() == b"\x01"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"this is a text", "from byte 0 on: a chunk begins with byte 01, here is 74"),
        (chunks_of(entry(1))[0] + b"\x02" + chunks_of(entry(2))[0], "from byte 63 on"),
        (bytes(100) + chunks_of(entry(1))[0], "from byte 0 on"),
        (cut(b"\x02\x01\x00\x00", b"i")[0].encode(), "entry 1 can't be read: entry format 2 is unknown"),
    ],
)
async def test_a_damaged_file_is_refused_and_untouched(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "entries"
    path.write_bytes(content)
    with pytest.raises(StartError, match="is damaged or none") as caught:
        await FileDatastore.open(path)
    assert why in caught.value.message
    assert path.read_bytes() == content
    path.write_bytes(b"")
    await (await FileDatastore.open(path)).close()  # and its lock was given back


async def test_endless_zeros_are_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ZERO_BYTES", 10)
    (tmp_path / "entries").write_bytes(bytes(11))
    with pytest.raises(StartError, match="from byte 0 on"):
        await FileDatastore.open(tmp_path / "entries")


async def test_replace_is_whole_and_keeps_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "entries"
    store = await FileDatastore.open(path)
    path.chmod(0o640)
    await store.append([entry(n) for n in range(5)])
    await store.replace([entry(9), entry(8)])
    await store.append([entry(7)])
    assert await store.read_all() == [entry(9), entry(8), entry(7)]
    assert path.stat().st_mode & 0o777 == 0o640 and not (tmp_path / "entries.new").exists()
    await store.replace([])
    assert await store.read_all() == [] and await store.last_id() is None
    await store.close()


async def test_what_has_changed_meanwhile_is_not_changed(tmp_path: Path) -> None:
    store: Datastore = await FileDatastore.open(tmp_path / "entries")
    assert await store.append_if(None, [entry(1)]) and not await store.append_if(None, [entry(2)])
    assert not await store.replace_if(None, []) and await store.replace_if(entry(1).id, [entry(3)])
    assert await store.read_all() == [entry(3)]
    await store.close()


async def test_it_is_held_by_one_program(tmp_path: Path) -> None:
    path = tmp_path / "entries"
    program = (
        "import asyncio, sys\n"
        "from eps.datastores import DataEntry\n"
        "from eps.datastores.file import FileDatastore\n"
        "async def main():\n"
        "    store = await FileDatastore.open(sys.argv[1])\n"
        "    await store.append([DataEntry(1, bytes(16), b'{}'), DataEntry(2, bytes(16), b'[]')])\n"
        "    print('stored', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"stored\n"
        with pytest.raises(StartError, match=rf"in use by another program \(process {process.pid}\)") as caught:
            await FileDatastore.open(path)
        assert "type sqlite or redis" in caught.value.hint
        assert len(read_content(path).entries) == 2  # reading is allowed
        os.kill(process.pid, signal.SIGKILL)
    store = await FileDatastore.open(path)
    assert await store.read_all() == [DataEntry(1, bytes(16), b"{}"), DataEntry(2, bytes(16), b"[]")]
    await store.close()


async def test_a_file_that_others_change_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "entries"
    store = await FileDatastore.open(path)
    await store.append([entry(1)])
    with path.open("ab") as other:
        other.write(chunks_of(entry(2))[0])
    with pytest.raises(InternalError, match="has 126 bytes, where this program left 63"):
        await store.append([entry(3)])
    with pytest.raises(InternalError, match="where this program left 63"):
        await store.replace([])
    os.rename(path, tmp_path / "away")
    path.write_bytes(b"")
    with pytest.raises(InternalError, match="was replaced by another file"):
        await store.append([entry(3)])
    path.unlink()
    with pytest.raises(InternalError, match="No such file"):
        await store.append([entry(3)])
    assert await store.read_all() == [entry(1)]
    await store.close()


async def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / "entries", os.write
    store = await FileDatastore.open(path)
    await store.append([entry(1)])
    size = path.stat().st_size

    def half(file: int, data: memoryview) -> int:
        if len(data) > 40:
            return real(file, data[:40])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "write", half)
    with pytest.raises(InternalError, match="No space left on device"):
        await store.append([entry(2, 900), entry(3)])
    with pytest.raises(InternalError, match="No space left on device"):
        await store.replace([entry(2, 900)])
    monkeypatch.undo()
    assert path.stat().st_size == size and not (tmp_path / "entries.new").exists()
    await store.append([entry(4)])
    assert await store.read_all() == [entry(1), entry(4)]
    await store.close()


async def test_an_acknowledged_entry_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await FileDatastore.open(tmp_path / "entries")
    synced: list[int] = []
    monkeypatch.setattr(module.os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    await store.append([entry(1)])
    assert synced == [(tmp_path / "entries").stat().st_size]
    monkeypatch.undo()
    await store.close()


async def test_an_entry_too_long_for_chunks_is_refused(tmp_path: Path) -> None:
    store = await FileDatastore.open(tmp_path / "entries")
    with pytest.raises(InternalError, match="is too long: chunks can hold"):
        await store.append([DataEntry(1, bytes(16), bytes(16_000_000))])
    assert await store.read_all() == []
    await store.close()


async def test_what_the_file_system_refuses_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StartError, match="can't be opened: Is a directory"):
        await FileDatastore.open(tmp_path / "folder")
    with pytest.raises(StartError, match="can't be read: No such file"):
        read_content(tmp_path / "missing")


async def test_readers_see_an_entry_when_it_is_whole(tmp_path: Path) -> None:
    """While it is written by a program that holds it."""
    path = tmp_path / "entries"
    store = await FileDatastore.open(path)

    async def write() -> None:
        for number in range(40):
            await store.append([entry(number, 600)])

    writing = asyncio.create_task(write())
    lengths = []
    while not writing.done():
        entries = (await asyncio.to_thread(read_content, path)).entries
        assert entries == [entry(number, 600) for number in range(len(entries))]
        lengths.append(len(entries))
    await writing
    assert lengths == sorted(lengths)
    await store.close()


async def test_chunks_of_ours_have_ids_of_16_bytes_that_tell_a_batch_apart(tmp_path: Path) -> None:
    batch = [DataEntry(1, b"short", b"{}"), DataEntry(1, bytes(16), b"{}"), DataEntry(2, bytes(16), b"[]")]
    store = await FileDatastore.open(tmp_path / "entries")
    await store.append(batch)
    assert await store.read_all() == batch
    await store.close()
    ids = [id for _, id in module.encode_all(batch)]
    assert {len(id) for id in ids} == {16} and len(set(ids)) == 3
