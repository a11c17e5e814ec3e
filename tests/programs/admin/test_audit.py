"""``eps audit …``: a key is made and signed for, a log is checked, one call is shown to the other side."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from eps.core.event import CallFinished, ignore
from eps.core.message import Error, Response
from eps.errors import StartError
from eps.programs.eps import app
from eps.programs.wiring.audit import audit_log
from eps.programs.wiring.parts import settings_from
from eps.settings import load_eps

Command = Callable[..., Result]

ENDED = CallFinished(direction="local", sender="hd-1", recipient="hd-2", method="f", outcome="ok", seconds=0.1)


@pytest.fixture
def eps(tmp_path: Path, dev_tree: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Types commands with the settings of hd-1 and, once they are written, those of its audit log."""
    settings = json.dumps({"state_path": str(tmp_path / "state")})
    (tmp_path / "state.json").write_text(settings)
    (tmp_path / "audit.json").write_text("{}")
    files = (str(dev_tree / "roles" / "hd-1"), str(tmp_path / "state.json"), str(tmp_path / "audit.json"))
    monkeypatch.setenv("EPS_SETTINGS", ":".join(files))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["audit", *words], catch_exceptions=False)


@pytest.fixture
def log(eps: Command, tmp_path: Path) -> Path:
    """Whatever is needed for a log; there is none yet."""
    assert eps("key", "--folder", "keys").exit_code == 0
    done = CliRunner().invoke(app, ["sd", "sign", "keys/audit-key.json"])
    (tmp_path / "keys" / "audit-key.signed.json").write_text(done.stdout)
    write_settings(tmp_path)
    return tmp_path / "state" / "audit.log"


def write_settings(folder: Path, **more: str) -> None:
    keys = folder / "keys"
    audit = {"file": "audit.log", "secret_file": f"{keys}/audit.secret", "key_file": f"{keys}/audit.key",
             "certified_file": f"{keys}/audit-key.signed.json"}  # fmt: skip
    (folder / "audit.json").write_text(json.dumps({"audit": audit | more}))


async def make_calls(count: int = 3) -> None:
    made = audit_log(settings_from(load_eps, ignore).settings, ignore)
    assert made is not None
    await made.start()
    for number in range(count):
        call = made.begin()
        call.asked({"patient": number})
        call.answered(Response("", error=Error(5, "no", [1])) if number == 2 else Response("", number))
        made.ended(call, ENDED, str(number))
    await made.close()


def in_files(folder: Path, **values: Any) -> list[str]:
    words = []
    for name, value in values.items():
        (folder / name).write_text(json.dumps(value))
        words += [f"--{name}", name]
    return words


def test_a_key_is_made_for_our_eyes_and_never_replaced(eps: Command, tmp_path: Path) -> None:
    done = eps("key", "--folder", "keys")
    assert "eps sd sign keys/audit-key.json" in done.stdout
    keys = tmp_path / "keys"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) & 0o177 for path in keys.iterdir()}
    assert modes["audit.secret"] == modes["audit.key"] == 0
    assert json.loads((keys / "audit-key.json").read_text())["operator"] == "hd-1"
    secret = (keys / "audit.secret").read_text()
    again = eps("key", "--folder", "keys")
    assert (again.exit_code, "is there already" in again.stderr) == (1, True)
    assert (keys / "audit.secret").read_text() == secret
    assert secret.strip() not in done.output


async def test_a_whole_log_is_called_whole(eps: Command, log: Path) -> None:
    await make_calls()
    done = eps("verify")
    assert done.exit_code == 0
    assert "hd-1's audit log, lines 1 to 5: 3 calls" in done.stdout
    assert "with the key that hd-1's administrator has signed for" in done.stdout
    assert "whole up to line 4: no line was altered" in done.stdout
    told = json.loads(eps("verify", "--json", str(log)).stdout)
    assert (told["is_whole"], told["calls"], told["first"], told["last"], told["not_covered"]) == (True, 3, 1, 5, 0)


async def test_another_log_is_not(eps: Command, log: Path) -> None:
    await make_calls()
    head = eps("head")
    Path("head.json").write_text(head.stdout)
    assert eps("verify", "--head", "head.json").exit_code == 0
    text = log.read_text()
    log.write_text(text.replace('"method":"f"', '"method":"g"', 1))
    done = eps("verify")
    assert (done.exit_code, "line 2 or 3 was altered" in done.stdout, "not whole" in done.stdout) == (1, True, True)
    log.write_text("".join(text.splitlines(keepends=True)[:3]))
    assert eps("verify").exit_code == 0
    done = eps("verify", "--head", "head.json")
    assert (done.exit_code, "its end is gone" in done.stdout) == (1, True)
    log.write_text(text[:-20])
    done = eps("verify")
    assert (done.exit_code, "the last line is torn" in done.stdout) == (0, True)
    assert "4 lines at the end, which no signed head covers" in done.stdout
    log.write_text(text.split("\n", 2)[2])
    assert "the lines before 3 are not in these files" in eps("verify").stdout
    log.write_text("x\n" * 30)
    done = eps("verify")
    assert (done.exit_code, "there is no line of an audit log" in done.stdout) == (1, True)
    log.write_text("x\n" * 30 + text)
    assert "and 9 more of this kind" in eps("verify").stdout
    done = eps("verify", "missing.log")
    assert (done.exit_code, "can't be read" in done.stderr) == (1, True)
    log.write_text("")
    assert "no head yet" in eps("head").stderr


async def test_lost_calls_are_told(eps: Command, log: Path, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from eps.core.audit import Chain

    chain, at = Chain(log="0"), datetime(2026, 11, 28, tzinfo=UTC)
    log.parent.mkdir(exist_ok=True)
    log.write_text(chain.line(at, "begin", {}) + chain.line(at, "lost", 5))
    assert "5 calls have no line" in eps("verify").stdout


async def test_a_head_of_another_key_is_refused(eps: Command, log: Path) -> None:
    await make_calls()
    head = json.loads(eps("head").stdout)
    Path("head.json").write_text(json.dumps(head | {"count": 2}))
    done = eps("verify", "--head", "head.json")
    assert (done.exit_code, "not signed with hd-1's key" in done.stderr) == (1, True)
    Path("head.json").write_text("{}")
    assert "no signed head" in eps("verify", "--head", "head.json").stderr


async def test_who_signed_for_nothing_is_told_so(eps: Command, log: Path, tmp_path: Path) -> None:
    await make_calls()
    write_settings(tmp_path, certified_file=None)  # type: ignore[arg-type]
    done = eps("verify")
    assert (done.exit_code, "no administrator has signed for it" in done.stdout) == (0, True)
    done = eps("reveal", "2")
    assert (done.exit_code, "does not say whose key" in done.stderr) == (1, True)


async def test_one_call_is_shown_to_the_other_side(eps: Command, log: Path, tmp_path: Path) -> None:
    await make_calls()
    done = eps("reveal", "3")
    Path("evidence.json").write_text(done.stdout)
    said = eps("check", "evidence.json", *in_files(tmp_path, params={"patient": 1.0, "_client": 5}, result=1))
    assert said.exit_code == 0
    assert "hd-1's audit log, line 3" in said.stdout
    assert "hd-1 → hd-2.f: ok" in said.stdout
    assert (said.stdout.count(": as given"), "covered: params, result" in said.stdout) == (2, True)
    said = eps("check", "evidence.json", *in_files(tmp_path, params={"patient": 2}))
    assert (said.exit_code, "params: NOT as given" in said.stdout) == (1, True)
    said = eps("check", "evidence.json", *in_files(tmp_path, params=[]))
    assert said.exit_code == 1
    assert "nothing was compared" in eps("check", "evidence.json").stderr
    Path("evidence.json").write_text(eps("reveal", "4").stdout)
    said = eps("check", "evidence.json", *in_files(tmp_path, error={"code": 5, "message": "no", "data": [1]}))
    assert (said.exit_code, "error: as given" in said.stdout) == (0, True)


async def test_other_evidence_is_not_believed(eps: Command, log: Path, tmp_path: Path) -> None:
    await make_calls()
    told = json.loads(eps("reveal", "2").stdout)

    def check(value: Any) -> str:
        Path("evidence.json").write_text(json.dumps(value))
        done = eps("check", "evidence.json")
        assert done.exit_code == 1, done.output
        return done.stderr

    assert "no evidence" in check({})
    assert "does not lead" in check(told | {"then": []}) or "not one of those" in check(told | {"then": []})
    assert "head is not signed" in check(told | {"head": told["head"] | {"at": "2020-01-01T00:00:00.000000Z"}})
    said = eps("reveal", "99")
    assert (said.exit_code, "there is no call in line 99" in said.stderr) == (1, True)
    assert "there is no call in line 1" in eps("reveal", "1").stderr
    text = log.read_text()
    log.write_text("".join(text.splitlines(keepends=True)[:-1]))
    assert "no signed head covers line 2 yet" in eps("reveal", "2").stderr
    log.write_text(text.replace('"salt":"', '"salt":"00', 1))
    assert "has no salt" in eps("reveal", "2").stderr


async def test_who_had_no_part_in_a_call_shows_nothing_of_it(
    eps: Command, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.ENDED", CallFinished(
        direction="local", sender="x", recipient="y", method="f", outcome="error", seconds=0.1, reason="busy"
    ))  # fmt: skip
    await make_calls()
    done = eps("reveal", "2")
    assert (done.exit_code, "hd-1 had no part in that call" in done.stderr) == (1, True)


async def test_two_heads_of_one_log_that_differ_show_two_logs(eps: Command, log: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        await make_calls(1)
        Path(f"{name}.json").write_text(eps("head").stdout)
        if name == "one":
            kept = log.read_bytes()
            log.write_bytes(b"".join(kept.splitlines(keepends=True)[:1]))
    done = eps("verify", "--head", "one.json", "--head", "other.json")
    assert (done.exit_code, "two signed heads of 2 lines differ: hd-1 keeps two logs as one" in done.stdout) == (
        1,
        True,
    )


async def test_a_secret_that_is_not_the_lines_reveals_nothing(eps: Command, log: Path, tmp_path: Path) -> None:
    await make_calls()
    (tmp_path / "keys" / "audit.secret").write_text("00" * 32)
    done = eps("reveal", "2")
    assert (done.exit_code, "this is not the line's key" in done.stderr) == (1, True)


async def test_what_was_signed_for_another_key_ends_a_start(eps: Command, log: Path, tmp_path: Path) -> None:
    eps("key", "--folder", "other")
    (tmp_path / "other" / "audit.key").rename(tmp_path / "keys" / "audit.key")
    with pytest.raises(StartError, match=r"is not about the key in audit\.key_file"):
        await make_calls()
    (tmp_path / "keys" / "audit-key.signed.json").write_text("{}")
    with pytest.raises(StartError, match="does not say whose key"):
        await make_calls()


def test_config_check_looks_at_it(eps: Command, log: Path, tmp_path: Path) -> None:
    def check() -> str:
        return CliRunner().invoke(app, ["config", "check"]).output

    assert "audit" not in check()
    write_settings(tmp_path, certified_file=None)  # type: ignore[arg-type]
    assert "no administrator has signed for the audit log's key" in check()
    write_settings(tmp_path)
    (tmp_path / "keys" / "audit.key").chmod(0o640)
    assert "other users of this machine may read it" in check()


def test_compressed_files_are_unpacked_first(eps: Command, log: Path, tmp_path: Path) -> None:
    (tmp_path / "audit.log.1.gz").write_bytes(b"\x1f\x8b")
    done = eps("verify", "audit.log.1.gz")
    assert (done.exit_code, "is compressed" in done.stderr) == (1, True)


def test_without_a_log_there_is_nothing_to_check(eps: Command) -> None:
    for words in (("verify",), ("head",), ("reveal", "1")):
        done = eps(*words)
        assert (done.exit_code, "no section «audit»" in done.stderr) == (1, True)


@pytest.mark.parametrize("file", ["audit.secret", "audit.key"])
async def test_files_that_others_can_read_end_a_start(eps: Command, log: Path, tmp_path: Path, file: str) -> None:
    (tmp_path / "keys" / file).chmod(0o640)
    with pytest.raises(StartError, match="other users of this machine may read it"):
        await make_calls()


@pytest.mark.parametrize("text", ["", "zz", "00" * 31])
async def test_what_is_no_secret_ends_a_start(eps: Command, log: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "keys" / "audit.secret").write_text(text)
    with pytest.raises(StartError, match="holds no 32 bytes in hex"):
        await make_calls()


async def test_another_key_ends_a_start(eps: Command, log: Path, tmp_path: Path) -> None:
    os.system(f"openssl ecparam -name secp384r1 -genkey -noout -out {tmp_path}/keys/audit.key 2>&1")
    with pytest.raises(StartError, match="must be a key for ECDSA P-256"):
        await make_calls()
