"""What servers saw of a call, as a timeline."""

import json
from pathlib import Path
from typing import Any

import pytest

from eps.errors import BadParams, SettingsError, StartError
from eps.programs.diagnosis.paper import Paper
from eps.programs.diagnosis.trace import (
    Export,
    Seen,
    asked,
    check_trace,
    export_of,
    is_file,
    listed,
    read_export,
    timeline,
)
from eps.programs.running.control import Control, Handler, Session
from eps.programs.running.remembered import TRACE
from support.testing import Events

ONE, OTHER = "4bf92f3577b34da6a3ce929d0e0e4736", "2" * 32
AT = 1_800_000_000.0

A = Export(
    "hd-1",
    ONE,
    (
        Seen(AT + 0.0001, "hd-1", "step 1 of 6: hd-2 is reached through the proxy public-proxy-1.ga", None, ONE),
        Seen(AT + 0.0405, "hd-1", "step 6 of 6: speaking TLS with hd-2, end to end", 0.0102, ONE),
        Seen(AT + 0.045, "hd-1", "local call hd-1 → hd-2._ping: ok", 0.045, ONE, ONE, 0.0021, "hd-2"),
        Seen(AT + 0.06, "hd-1", "local call hd-1 → hd-2._ping: ok", 0.002, OTHER, ONE, None, "hd-2"),
    ),
)
B = Export("hd-2", ONE, (Seen(AT + 0.02, "hd-2", "step 4 of 6: connected", 0.0003, ONE),), more=3)


def test_one_server() -> None:
    assert timeline([A], Paper(120)).splitlines() == [
        f"trace {ONE}",
        "from 2027-01-15 08:00:00.000 UTC, as hd-1 saw it",
        "      0.1 ms  hd-1  step 1 of 6: hd-2 is reached through the proxy public-proxy-1.ga",
        "     40.5 ms  hd-1  step 6 of 6: speaking TLS with hd-2, end to end (10.2 ms)",
        "     45.0 ms  hd-1  local call hd-1 → hd-2._ping: ok (45.0 ms); of these at hd-2: 2.1 ms",
        "     60.0 ms  hd-1  local call hd-1 → hd-2._ping: ok (2.0 ms); of these at hd-2: not told; trace",
        f"                    {OTHER}, over the connection that was opened for this one",
    ]


def test_several_servers() -> None:
    lines = timeline([A, B], Paper(80)).splitlines()
    assert lines[1].endswith("as hd-1 and hd-2 saw it")
    assert lines[3] == "                    public-proxy-1.ga"
    assert lines[4] == "     20.0 ms  hd-2  step 4 of 6: connected (0.3 ms)"
    assert lines[-2:] == ["each time is by that server's own clock: theirs may differ", "hd-2: 3 more events"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_it_fits(width: int) -> None:
    lines = timeline([A, B], Paper(width)).splitlines()
    assert max(len(line) for line in lines if ONE not in line and OTHER not in line and "UTC" not in line) <= width


def test_nothing_is_remembered() -> None:
    assert (
        timeline([Export("hd-1", ONE, ())], Paper()) == f"trace {ONE}: nothing is remembered of it by hd-1 (any more)"
    )
    assert listed(Export("hd-1", "", ()), Paper()) == "hd-1 remembers no call yet"


def test_the_last_calls() -> None:
    assert listed(Export("hd-1", "", A.events[-1:]), Paper(80)).splitlines() == [
        f"{OTHER}  08:00:00",
        "    local call hd-1 → hd-2._ping: ok (2.0 ms); of these at hd-2: not told; over",
        f"    the connection that trace {ONE} opened",
    ]


def test_an_export_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(A.to_json()))
    assert read_export(file) == A
    assert is_file(str(file)) and is_file("not-there.json") and not is_file(ONE)
    assert not is_file("x" * 5000) and not is_file("a\0b")
    for content in ("", "[]", "{}", '{"events": 1}', '{"events"', "[" * 200_000):
        file.write_text(content)
        with pytest.raises(SettingsError, match="is no export of a trace"):
            read_export(file)
    with pytest.raises(SettingsError, match="can't be read"):
        read_export(tmp_path / "b.json")


def test_what_another_operator_puts_into_a_file() -> None:
    odd: list[Any] = [
        1,
        {"at": "now"},
        {"at": -1},
        {"at": AT, "text": "a\x1b[31m\nb" + "x" * 1000, "seconds": -4, "trace": "me", "there": "x", "peer": 7},
    ]
    export = export_of({"server": "\x07", "trace": 3, "events": odd * 100, "more": "lots"})
    assert (export.server, export.trace, export.more) == ("\\x07", "", 0)
    assert len(export.events) == 25
    seen = export.events[0]
    assert seen.text.startswith("a\\x1b[31m\\nbxxx")
    assert (seen.seconds, seen.trace, seen.there, seen.peer) == (None, "", None, "")


def test_what_is_no_trace() -> None:
    assert check_trace(ONE.upper()) == ONE
    with pytest.raises(BadParams, match="is no trace: 32 hex digits"):
        check_trace("hd-2._ping")


async def answering(tmp_path: Path, handler: Handler | None) -> Export | None:
    control = Control(tmp_path, "eps.control", {TRACE: handler} if handler is not None else {}, Events())
    control.start()
    try:
        return await asked(tmp_path, "eps.control", ONE)
    finally:
        await control.close()


async def test_a_running_server_is_asked(tmp_path: Path) -> None:
    assert await asked(tmp_path, "eps.control", ONE) is None

    async def tell(session: Session, message: dict[str, Any]) -> None:
        assert message["id"] == ONE
        session.send({"events": [{"at": AT, "text": "a"}]})
        session.send({"end": True, "server": "hd-1", "more": 2})

    export = await answering(tmp_path, tell)
    assert export is not None
    assert (export.server, export.trace, export.more, len(export.events)) == ("hd-1", ONE, 2, 1)

    async def tell_without_end(session: Session, message: dict[str, Any]) -> None:
        for _ in range(20):
            session.send({"events": [{"at": AT, "text": "a"}] * 20})

    async def break_off(session: Session, message: dict[str, Any]) -> None:
        raise OSError

    with pytest.raises(StartError, match="without end"):
        await answering(tmp_path, tell_without_end)
    with pytest.raises(StartError, match="does not tell what it saw"):
        await answering(tmp_path, break_off)
    with pytest.raises(StartError, match="without this command"):
        await answering(tmp_path, None)
