"""Log lines on their way out: nobody who writes one waits, and nothing is lost unheard."""

import errno
import io
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eps.programs.running import log_queue
from eps.programs.running.log_queue import LineQueue


def lost_line(lines: int) -> str:
    return f"{lines} lost\n"


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.005)


def read_all(descriptor: int) -> str:
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read().decode()


def test_lines_reach_a_file_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old\n")
    with LineQueue(str(path), lost_line) as lines:
        for number in range(1000):
            lines.write(f"line {number} · ½\n")
    assert path.read_text() == "old\n" + "".join(f"line {number} · ½\n" for number in range(1000))


def test_a_stream_without_a_descriptor_is_written_to_as_such() -> None:
    stream = io.StringIO()
    with LineQueue(stream, lost_line) as lines:
        lines.write("one\n")
        lines.flush()
        assert not lines.isatty()
    assert stream.getvalue() == "one\n"


def test_a_closed_stream_is_no_reason_to_fail() -> None:
    stream = io.StringIO()
    stream.close()
    with LineQueue(stream, lost_line) as lines:
        lines.write("one\n")


def test_halves_of_surrogates_do_not_end_the_log(tmp_path: Path) -> None:
    with LineQueue(str(tmp_path / "log"), lost_line) as lines:
        lines.write("\ud800\n")
        lines.write("next\n")
    assert (tmp_path / "log").read_text() == "\\ud800\nnext\n"


def test_many_lines_go_out_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, pieces = os.write, list[bytes]()
    gathers, goes_on = threading.Event(), threading.Event()

    def counted(descriptor: int, piece: bytes) -> int:
        pieces.append(piece)
        return write(descriptor, piece)

    def gather(seconds: float) -> None:
        assert seconds == log_queue.GATHER_SECONDS
        gathers.set()
        goes_on.wait(20)

    monkeypatch.setattr(os, "write", counted)
    monkeypatch.setattr(time, "sleep", gather)
    with LineQueue(str(tmp_path / "log"), lost_line) as lines:
        lines.write("first\n")
        assert gathers.wait(20)
        for number in range(100):
            lines.write(f"{number}\n")
        goes_on.set()
    assert pieces == [b"first\n", "".join(f"{number}\n" for number in range(100)).encode()]
    assert (tmp_path / "log").read_bytes() == b"".join(pieces)


def test_a_reader_that_stops_costs_lines_but_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_queue, "MAX_WAITING_CHARS", 200_000)
    reading, writing = os.pipe()
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(read_all(reading)))
    written = [f"{number:09}\n" for number in range(100_000)]
    with os.fdopen(writing, "w") as stream, LineQueue(stream, lost_line) as lines:
        for line in written:  # 1 MB, more than the pipe and the queue hold: writing it at once would hang
            lines.write(line)
        reader.start()
    reader.join(20)
    at, gaps = 0, 0
    for line in got[0].splitlines(keepends=True):
        if line.endswith(" lost\n"):
            at += int(line.split()[0])
            gaps += 1
        else:
            assert line == written[at]
            at += 1
    assert at == len(written) and gaps > 0


def test_what_is_lost_is_told_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_queue, "MAX_WAITING_CHARS", 25)
    stream = io.StringIO()
    lines = LineQueue(stream, lost_line)
    for number in range(5):  # before its thread runs: two find room
        lines.write(f"line {number:5}\n")
    monkeypatch.setattr(log_queue, "MAX_WAITING_CHARS", 1000)
    assert (lines.waiting, lines.lost) == (22, 3)
    lines.write("line 5\n")
    with lines:
        pass
    assert stream.getvalue() == "line     0\nline     1\n3 lost\nline 5\n"
    assert (lines.waiting, lines.lost) == (0, 3)


def test_a_program_does_not_wait_long_for_a_reader_that_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_queue, "LAST_SECONDS", 0.05)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        with LineQueue(stream, lost_line) as lines:
            lines.write("x" * 200_000 + "\n")
        assert os.read(reading, 10) == b"x" * 10
        os.close(reading)  # lets the thread go


def test_a_reader_that_is_gone_changes_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream, LineQueue(stream, lost_line) as lines:
        for _ in range(1000):
            lines.write("x" * 1000)
            time.sleep(0)


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(read_all(reading)))
    with os.fdopen(writing, "w") as stream, LineQueue(stream, lost_line) as lines:
        lines.write("x" * 300_000)
        reader.start()
    reader.join(20)
    assert got == ["x" * 300_000]


@pytest.mark.parametrize("ends", [False, True])
def test_a_full_disk_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    monkeypatch.setattr(log_queue, "RETRY_SECONDS", 0.01)
    tries: list[int] = []
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        tries.append(len(data))
        if ends or len(tries) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(log_queue.os, "write", full)
    path = tmp_path / "log"
    with LineQueue(str(path), lost_line) as lines:
        lines.write("kept\n")
        until(lambda: len(tries) >= 3)
    assert path.read_text() == ("" if ends else "kept\n")


def test_the_file_is_opened_anew_for_log_rotation(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    with LineQueue(str(path), lost_line) as lines:
        lines.write("before\n")
        until(lambda: path.read_text() == "before\n")
        path.rename(old)
        lines.reopen()
        until(path.exists)
        lines.write("after\n")
    assert (old.read_text(), path.read_text()) == ("before\n", "after\n")


def test_rotation_that_fails_goes_on_with_the_old_file(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    with LineQueue(str(folder / "log"), lost_line) as lines:
        (folder / "log").rename(tmp_path / "old")
        folder.rmdir()
        lines.reopen()
        lines.write("x\n")
    assert (tmp_path / "old").read_text() == "x\n"


def test_a_stream_has_nothing_to_open_anew() -> None:
    stream = io.StringIO()
    with LineQueue(stream, lost_line) as lines:
        lines.reopen()
        lines.write("x\n")
    assert stream.getvalue() == "x\n"


def test_a_file_that_cannot_be_opened_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        LineQueue(str(tmp_path / "nowhere" / "log"), lost_line)
