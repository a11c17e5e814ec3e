"""The audit log of a server: every call has its line, nobody waits for the disk, and the chain goes on over files."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from eps.core.audit import Head, LineKeys, asked, mac
from eps.core.audit_key import is_signed, sign_head
from eps.core.audit_reading import Reading
from eps.core.canonical import canonical_json
from eps.core.event import AuditLinesLost, CallFinished, Event, Notice
from eps.core.message import Error, Response
from eps.errors import NotAudited, StartError
from eps.programs.running import audit_log
from eps.programs.running.audit_log import AuditFile, AuditLog
from support.full_disk import Disk

KEY = ec.generate_private_key(ec.SECP256R1())
KEYS = LineKeys(b"s" * 32)
ENDED = CallFinished(direction="local", sender="hd-1", recipient="hd-2", method="f", outcome="ok", seconds=0.1)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(audit_log, "HEAD_SECONDS", 0.02)
    return Disk(monkeypatch)


@asynccontextmanager
async def log_in(path: Path, *, refuse: bool = False) -> AsyncIterator[tuple[AuditLog, list[Event]]]:
    events: list[Event] = []
    log = AuditLog(AuditFile(str(path), "hd-1", KEYS, lambda head: sign_head(KEY, head), refuse), events.append)
    await log.start()
    try:
        yield log, events
    finally:
        await log.close()


def signed(head: Head, signature: str) -> bool:
    return is_signed(KEY.public_key(), head, signature)


def read(*paths: Path) -> Reading:
    reading = Reading(signed)
    for path in paths:
        for number, text in enumerate(path.read_bytes().splitlines(keepends=True), 1):
            reading.take(text.rstrip(b"\n"), f"{path.name}:{number}", is_whole=text.endswith(b"\n"))
    reading.end()
    return reading


def calls_in(path: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line)["entry"] for line in path.read_text().splitlines()]
    return [entry["call"] for entry in entries if "call" in entry]


async def call(log: AuditLog, number: int = 0) -> None:
    audited = log.begin()
    assert audited.asked({"n": number}) is None
    assert audited.answered(Response("", {"m": number})) is None
    log.ended(audited, ENDED, str(number))


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_each_call_has_its_line_and_the_end_is_signed(tmp_path: Path) -> None:
    path = tmp_path / "made" / "audit.log"
    async with log_in(path) as (log, _):
        assert log.path == str(path)
        for number in range(250):
            await call(log, number)
    reading = read(path)
    assert (reading.findings, reading.calls, reading.uncovered) == ([], 250, 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = calls_in(path)[7]
    assert told["params"] == mac(KEYS.of(bytes.fromhex(told["salt"])), canonical_json(asked({"n": 7})))
    assert (told["caller"], told["callee"], told["method"], told["outcome"]) == ("hd-1", "hd-2", "f", "ok")
    assert len({one["salt"] for one in calls_in(path)}) == 250


async def test_the_chain_goes_on_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for number in range(3):
        async with log_in(path) as (log, _):
            await call(log, number)
    reading = read(path)
    assert (reading.findings, reading.calls) == ([], 3)
    assert path.read_text().count('"begin"') == 1


@pytest.mark.parametrize("kept", [0.3, 0.99])
async def test_a_torn_line_is_told_at_the_next_start(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "audit.log"
    async with log_in(path) as (log, _):
        await call(log)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][: int(len(lines[-1]) * kept)])
    assert read(path).torn == ["audit.log:3: the last line is torn, and says nothing"]
    async with log_in(path) as (log, _):
        await call(log)
    reading = read(path)
    assert (reading.findings, reading.calls) == ([], 2)
    assert reading.torn == ["audit.log:3: the line is torn, and the next one says so"]


async def test_a_first_line_that_was_torn_begins_a_log(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(b'{"previous":"000')
    async with log_in(path) as (log, _):
        await call(log)
    reading = read(path)
    assert (reading.findings, reading.calls, len(reading.torn)) == ([], 1, 1)


@pytest.mark.parametrize("text", ["no audit log\n", "x", '{"previous":"00"}\n'])
async def test_another_file_is_not_written_to(tmp_path: Path, text: str) -> None:
    path = tmp_path / "audit.log"
    path.write_text(text)
    with pytest.raises(StartError, match="is no audit log"):
        async with log_in(path):
            pass
    assert path.read_text() == text


async def test_a_file_that_cant_be_opened_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "audit.log").mkdir()
    with pytest.raises(StartError, match="can't be opened"):
        async with log_in(tmp_path / "audit.log"):
            pass
    with pytest.raises(StartError, match="is no audit log"):
        async with log_in(Path("/dev/full")):
            pass
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="can't be opened"):
        async with log_in(tmp_path / "link"):
            pass


async def test_a_file_that_is_moved_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path, old = tmp_path / "audit.log", tmp_path / "audit.log.1"
    async with log_in(path) as (log, _):
        await call(log, 1)
        await until(lambda: len(calls_in(path)) == 1)
        path.rename(old)
        await until(path.exists)
        await until(lambda: '"head"' in path.read_text())  # the first line, so a restart finds the chain
        await call(log, 2)
    reading = read(old, path)
    assert (reading.findings, reading.calls) == ([], 2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    later = read(path)
    assert later.findings == []
    assert later.first > 1


async def test_the_head_is_signed_soon_after_a_call(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "audit.log"
    async with log_in(path) as (log, _):
        await call(log)
        await until(lambda: read(path).head is not None)
        assert read(path).uncovered == 0
        lines = path.read_text().count("\n")
        for _ in range(5):
            await asyncio.sleep(0.02)
        assert path.read_text().count("\n") == lines  # nothing new, no new head


async def test_calls_go_on_while_the_disk_is_full_and_are_counted(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "MAX_WAITING_CHARS", 20_000)
    path = tmp_path / "audit.log"
    async with log_in(path) as (log, events):
        await call(log)
        await until(lambda: calls_in(path))
        disk.full = True
        await call(log)
        await until(lambda: log.failing)
        for number in range(99):
            await call(log, number)
        assert log.lost > 0
        await until(lambda: any(isinstance(event, AuditLinesLost) for event in events))
        assert log.failing
        disk.full = False
        await until(lambda: not log.failing)
        await call(log)
        await until(lambda: any(isinstance(one, Notice) and "written again" in one.text for one in events))
        lost = log.lost
    reading = read(path)
    assert (reading.findings, reading.lost, reading.calls) == ([], lost, 102 - lost)
    told = [event for event in events if isinstance(event, Notice) and "can't be written" in event.text]
    assert len(told) == 1
    assert "No space left on device" in told[0].text
    assert "calls go on" in told[0].hint
    assert sum(event.lines for event in events if isinstance(event, AuditLinesLost)) == lost


async def test_calls_are_refused_while_the_disk_is_full_where_settings_say_so(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "audit.log"
    async with log_in(path, refuse=True) as (log, events):
        under_way, first = log.begin(), log.begin()
        disk.full = True
        log.ended(first, ENDED, "0")
        await until(lambda: log.failing)
        with pytest.raises(NotAudited, match="can't write its audit log") as caught:
            log.begin()
        assert str(path) not in str(caught.value)
        log.ended(under_way, ENDED, "1")  # it was begun, so it has its line
        await until(lambda: events)
        assert isinstance(events[0], Notice) and "calls are refused" in events[0].hint
        disk.full = False
        await until(lambda: not log.failing)
        await call(log)
    reading = read(path)
    assert (reading.findings, reading.lost, reading.calls) == ([], 0, 3)


async def test_no_call_begins_without_room_for_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "MAX_WAITING_CHARS", 5 * audit_log.MAX_LINE_CHARS)
    async with log_in(tmp_path / "audit.log", refuse=True) as (log, _):
        await until(lambda: (tmp_path / "audit.log").stat().st_size)
        begun = [log.begin() for _ in range(4)]
        with pytest.raises(NotAudited):
            log.begin()
        for one in begun:
            log.ended(one, ENDED, "1")
        assert log.lost == 0


async def test_another_process_goes_on_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    beside = tmp_path / f"audit.log.{os.getpid()}"
    async with log_in(path) as (log, _):
        await call(log, 1)
        under_way = log.begin()
        await log.let_go()
        async with log_in(path) as (successor, _):
            await call(successor, 2)
            log.ended(under_way, ENDED, "3")
        await log.take_back()
        await call(log, 4)
    assert [one["id"] for one in calls_in(path)] == ["1", "2", "4"]
    assert [one["id"] for one in calls_in(beside)] == ["3"]
    assert read(path).findings == read(beside).findings == []


async def test_a_second_process_does_not_write_to_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    async with log_in(path) as (log, _):
        await call(log)
        with pytest.raises(StartError, match="another process writes the audit log"):
            async with log_in(path):
                pass
        await call(log)
    assert (read(path).findings, read(path).calls) == ([], 2)


async def test_who_starts_and_stops_adds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    async with log_in(path) as (log, _):
        await call(log)
    text = path.read_text()
    async with log_in(path):
        pass
    assert path.read_text() == text


async def test_what_the_disk_did_not_take_until_the_end_is_told(tmp_path: Path, disk: Disk) -> None:
    async with log_in(tmp_path / "audit.log") as (log, events):
        await until(lambda: (tmp_path / "audit.log").stat().st_size)
        disk.full = True
        await call(log)
    told = [event for event in events if isinstance(event, Notice)]
    assert "the last lines of the audit log" in told[-1].text
    assert "No space left on device" in told[-1].text


async def test_lost_calls_are_in_the_log_though_no_further_one_comes(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "MAX_WAITING_CHARS", 20_000)
    path = tmp_path / "audit.log"
    async with log_in(path) as (log, _):
        disk.full = True
        for number in range(100):
            await call(log, number)
        disk.full = False
        await until(lambda: not log.failing)
        lost = log.lost
    assert lost > 0
    assert (read(path).findings, read(path).lost, read(path).calls) == ([], lost, 100 - lost)


async def test_a_file_that_no_new_one_can_replace_is_told(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "logs"
    path = folder / "audit.log"
    async with log_in(path, refuse=True) as (log, events):
        await call(log)
        await until(lambda: calls_in(path))
        path.rename(folder / "audit.log.1")
        path.mkdir()  # as where the folder may not be written to
        await until(lambda: log.failing)
        with pytest.raises(NotAudited):
            log.begin()
        await until(lambda: events)
        assert isinstance(events[0], Notice) and "it was moved away, and a new one can't be made" in events[0].text
        path.rmdir()
        await until(lambda: not log.failing)
        await call(log)
    assert (read(folder / "audit.log.1", path).findings, read(folder / "audit.log.1", path).calls) == ([], 2)


async def test_a_file_beside_that_cant_be_made_keeps_nobody_from_taking_over(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    (tmp_path / f"audit.log.{os.getpid()}").mkdir()
    async with log_in(path) as (log, events):
        await call(log, 1)
        await log.let_go()
        assert isinstance(events[0], Notice) and "can't be opened" in events[0].text
        async with log_in(path) as (successor, _):
            await call(successor, 2)
            await call(log, 3)
        await log.take_back()
        await log.take_back()  # it has it already
        await call(log, 4)
    assert [one["id"] for one in calls_in(path)] == ["1", "2", "4"]
    assert (read(path).findings, read(path).lost) == ([], 1)


async def test_large_values_are_covered_beside_the_loop(tmp_path: Path) -> None:
    some, much = {"n": list(range(10_000))}, {"n": [[1.0, number] for number in range(60_000)]}
    async with log_in(tmp_path / "audit.log") as (log, _):
        for params in (some, much):
            audited = log.begin()
            work = audited.asked(params)
            assert work is not None
            await work
            log.ended(audited, ENDED, "1")
    for told, params in zip(calls_in(tmp_path / "audit.log"), (some, much), strict=True):
        assert told["params"] == mac(KEYS.of(bytes.fromhex(told["salt"])), canonical_json(asked(params)))


async def test_an_error_that_was_answered_is_covered(tmp_path: Path) -> None:
    async with log_in(tmp_path / "audit.log") as (log, _):
        audited = log.begin()
        audited.answered(Response("", error=Error(5, "no", [1])))
        log.ended(audited, ENDED, "1")
    assert "error" in calls_in(tmp_path / "audit.log")[0]


@pytest.mark.parametrize("much", [False, True], ids=["few values", "many values"])
async def test_what_is_no_json_has_a_line_without_a_hash(tmp_path: Path, much: bool) -> None:
    async with log_in(tmp_path / "audit.log") as (log, _):
        audited = log.begin()
        work = audited.asked({"a": ["\ud800"] * (10_000 if much else 1)})
        assert work is not None
        await work
        log.ended(audited, ENDED, "\ud800")
    assert "params" not in calls_in(tmp_path / "audit.log")[0]


async def test_whatever_callers_choose_a_line_has_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    long = CallFinished(
        direction="local", sender="a" * 253, recipient='"\\' * 4000, method="\\" * 8000, outcome="ok", seconds=0.1
    )
    async with log_in(path) as (log, _):
        audited = log.begin()
        audited.asked({})
        audited.answered(Response("", {}))
        log.ended(audited, long, '"' * 8000)
        refused = log.begin()
        log.ended(refused, long, '"' * 8000)
    assert max(len(line) for line in path.read_text().splitlines()) < audit_log.MAX_LINE_CHARS
    assert len(calls_in(path)[1]["method"]) == audit_log.REFUSED_CHARS
    assert read(path).findings == []
