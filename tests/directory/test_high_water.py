"""A service directory whose store was set back says so, and takes nothing that no server would believe."""

import shutil
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from eps.core.event import Level, Notice
from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.core.record import SignedRecord
from eps.datastores.sqlite import SqliteDatastore
from eps.directory.service import ServiceDirectory
from support.record_tools import NOW, Clock, as_json, chain_of, trust
from support.testing import Events

LATER = NOW + timedelta(seconds=1)
RECORDS = chain_of(4)


class Machine:
    """The machine of a service directory: a folder with its state, and another for the store."""

    def __init__(self, folder: Path) -> None:
        self.store_path = folder / "store" / "records.sqlite"
        self.mark = folder / "state" / "high-water.json"
        self.events = Events()
        self._running: tuple[ServiceDirectory, SqliteDatastore] | None = None

    async def start(self) -> list[Notice]:
        """Start; gives what it complains of."""
        await self.stop()
        self.events = Events()
        store = await SqliteDatastore.open(self.store_path)
        service = ServiceDirectory(store, trust(), Clock(LATER), self.events, mark=self.mark)
        self._running = service, store
        await service.load()
        return self.events.of(Notice)

    async def stop(self) -> None:
        if self._running is not None:
            service, store = self._running
            await service.close()
            await store.close()
        self._running = None

    async def submit(self, records: Sequence[SignedRecord]) -> Response:
        assert self._running is not None
        return await self._running[0].handle(Call("submitRecords", {"records": as_json(records)}, "1"))

    async def refusal(self, records: Sequence[SignedRecord]) -> str:
        error = (await self.submit(records)).error
        assert error is not None
        return f"{error.message} | {error.data['hint']}"

    async def set_back(self, to: Path) -> None:
        """Put an older copy in the store's place."""
        await self.stop()
        shutil.rmtree(self.store_path.parent)
        shutil.copytree(to, self.store_path.parent)


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """A service directory with three records, and a copy of its store from when there were two."""
    machine = Machine(tmp_path)
    assert await machine.start() == []
    assert (await machine.submit(RECORDS[:2])).result == "ok"
    await machine.stop()
    shutil.copytree(machine.store_path.parent, tmp_path / "copy")
    await machine.start()
    assert (await machine.submit(RECORDS[2:3])).result == "ok"
    yield machine
    await machine.stop()


@pytest.fixture
def copy(machine: Machine, tmp_path: Path) -> Path:
    return tmp_path / "copy"


async def test_all_is_well_as_long_as_nothing_is_lost(machine: Machine) -> None:
    assert await machine.start() == []
    assert (await machine.submit(RECORDS[3:])).result == "ok"
    assert await machine.start() == []


async def test_an_older_copy_is_noticed_and_takes_no_submissions(machine: Machine, copy: Path) -> None:
    await machine.set_back(copy)
    for _ in range(2):  # at every start
        (notice,) = await machine.start()
        assert notice.level is Level.ERROR
        assert f"{machine.store_path} is not what it was: it is shorter than it was: it has 2 records" in notice.text
        assert f"and it had 3 records up to {RECORDS[2].hash[:12]}" in notice.text
        assert "docs/howto-recover-directory.md" in notice.hint and f"delete {machine.mark}" in notice.hint
        fork = chain_of(1, parent=RECORDS[1].hash, name="fork", at=LATER)
        refusal = await machine.refusal(fork)
        assert "no server would believe the batch: with it, it has another history than it had" in refusal
        assert "docs/howto-recover-directory.md" in refusal


async def test_the_lost_records_heal_it(machine: Machine, copy: Path) -> None:
    await machine.set_back(copy)
    assert len(await machine.start()) == 1
    assert (await machine.submit(RECORDS[2:])).result == "ok"
    assert await machine.start() == []


async def test_an_empty_store_is_noticed_and_can_be_begun_anew(machine: Machine) -> None:
    await machine.stop()
    shutil.rmtree(machine.store_path.parent)
    (notice,) = await machine.start()
    assert "it is empty, and it had 3 records" in notice.text
    assert (await machine.submit(chain_of(1, name="new", at=LATER))).result == "ok"
    assert await machine.start() == []


async def test_another_directory_is_noticed(machine: Machine, copy: Path) -> None:
    shutil.copy(machine.mark, machine.mark.with_suffix(".kept"))
    await machine.stop()
    shutil.rmtree(machine.store_path.parent)
    machine.mark.unlink()
    await machine.start()
    await machine.submit(chain_of(3, name="other"))
    await machine.stop()
    shutil.move(machine.mark.with_suffix(".kept"), machine.mark)
    (notice,) = await machine.start()
    assert "it holds another directory, begun with" in notice.text


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"version":2}', b'{"version":1,"root":3}'])
async def test_without_a_mark_there_is_nothing_to_compare(machine: Machine, copy: Path, content: bytes | None) -> None:
    await machine.set_back(copy)
    machine.mark.unlink()
    if content is not None:
        machine.mark.write_bytes(content)
    assert await machine.start() == []
    await machine.set_back(copy)
    assert await machine.start() == [], "it is what the mark says"


async def test_a_mark_that_cant_be_written_is_told_once_and_nothing_else_fails(machine: Machine) -> None:
    await machine.stop()
    shutil.rmtree(machine.mark.parent)
    machine.mark.parent.write_text("a file where the folder should be")
    (notice,) = await machine.start()
    assert f"{machine.mark} can't be written" in notice.text
    assert (await machine.submit(RECORDS[3:])).result == "ok"
    assert machine.events.of(Notice) == [notice]
