"""Many records are verified by processes of their own, and whatever becomes of those costs time only."""

import asyncio
import sys
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

import eps.directory.inspection as module
from eps.core import record_text
from eps.core.record import SignedRecord
from eps.directory import inspector
from eps.directory.inspection import WORTH_IT, sound_among
from eps.directory.slices import SMALL_VALUES
from support.record_tools import AUTHORITY, chain_of, group_record, sign_chain, trust

MANY = 700
"""Some batches."""


def with_a_forged_one(count: int = MANY) -> list[SignedRecord]:
    records = chain_of(count)
    records[300] = replace(records[300], signature=records[299].signature)
    return records


async def test_few_are_nobody_elses_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    assert len(await sound_among(chain_of(3), trust())) == 0
    assert WORTH_IT > 100


async def test_all_but_the_forged_one_are_sound() -> None:
    records = with_a_forged_one()
    sound = await sound_among(records, trust(), worth=1)
    assert [signed in sound for signed in records] == [index != 300 for index in range(MANY)]


@pytest.mark.parametrize("executable", ["", "/nowhere/python", "/bin/false", "/bin/cat"])
async def test_without_inspectors_nobody_has_looked(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``cat`` answers with what it is told, which is no byte of 1."""
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(module, "_COMMAND", ())
    monkeypatch.setattr(module, "BATCH_SECONDS", 5.0)
    assert len(await sound_among(chain_of(3), trust(), worth=1)) == 0


async def test_one_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/sleep")
    monkeypatch.setattr(module, "_COMMAND", ("1000",))
    monkeypatch.setattr(module, "BATCH_SECONDS", 0.2)
    assert len(await sound_among(chain_of(3), trust(), worth=1)) == 0
    assert not children()


async def test_none_outlives_who_asked() -> None:
    asking = asyncio.create_task(sound_among(chain_of(MANY), trust(), worth=1))
    while not children():
        await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait([asking])
    assert not children()


def children() -> list[str]:
    """The processes that this one's threads have started and that are still there."""
    found: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has ended meanwhile
            found += (task / "children").read_text().split()
    return found


async def test_what_lies_in_the_working_directory_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a server runs, others may be able to put files."""
    (tmp_path / "eps").mkdir()
    (tmp_path / "eps" / "__init__.py").write_text("open('was run', 'w')")
    monkeypatch.chdir(tmp_path)
    assert len(await sound_among(chain_of(3), trust(), worth=1)) == 3
    assert not (tmp_path / "was run").exists()


async def test_long_records_go_a_few_at_a_time_and_large_ones_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 4_000)
    large = sign_chain([group_record("large", *(f"g-{n}" for n in range(SMALL_VALUES)))])
    long = sign_chain([group_record("long", "g" * 200, *(f"g-{n}" * 20 for n in range(100)))])
    records = [*chain_of(5), *large, *long, *chain_of(1)]
    batches = list(module._batches(records))
    assert [signed for batch, _ in batches for signed in batch] == [one for one in records if one is not large[0]]
    assert [len(batch) for batch, _ in batches] == [2, 2, 1, 1, 1]
    assert all(text.count(b"\n") == len(batch) - 1 for batch, text in batches)
    sound = await sound_among(records, trust(), worth=1)
    assert [one in sound for one in records] == [one is not large[0] for one in records]


async def test_where_the_first_are_forged_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_inspect", None)  # which nobody may call
    records = chain_of(MANY)
    records[1] = replace(records[1], signature=records[0].signature)
    assert len(await sound_among(records, trust(), worth=1)) == 0


@pytest.mark.parametrize("death", [OSError, EOFError, RuntimeError("the handler is closed"), TimeoutError])
async def test_whatever_an_inspector_dies_of_is_no_failure(
    death: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop raises another error than asyncio where the pipe is known to be closed."""
    sent: list[bytes] = []

    def send(_pipe: asyncio.StreamWriter, message: bytes) -> None:
        sent.append(message)
        raise death

    monkeypatch.setattr(module, "_send", send)
    assert len(await sound_among(chain_of(3), trust(), worth=1)) == 0
    assert sent and not children()


def asked(*messages: bytes) -> bytes:
    """What an inspector answers."""
    answers = BytesIO()
    inspector.serve(BytesIO(b"".join(inspector.LENGTH.pack(len(one)) + one for one in messages)), answers)
    return answers.getvalue()


def test_an_inspector_answers_for_each_line() -> None:
    authorities = AUTHORITY.root_pem + b"\0" + AUTHORITY.intermediate_pem
    lines = [record_text.dumps(signed.to_json()) for signed in with_a_forged_one(302)[299:]]
    assert asked(authorities, b"\n".join([*lines, b"{}", b"not JSON", b""]), lines[0]) == bytes([1, 0, 1, 0, 0, 0, 1])
    assert asked(AUTHORITY.root_pem + b"\0", lines[0]) == bytes([0]), "no path leads to the root"


def test_an_inspector_ends_with_what_it_is_told() -> None:
    assert asked() == b""
    answers = BytesIO()
    for cut in (b"\0\0", inspector.LENGTH.pack(9) + b"short", inspector.LENGTH.pack(inspector.MAX_BATCH_BYTES + 1)):
        inspector.serve(BytesIO(cut), answers)
    assert answers.getvalue() == b""
