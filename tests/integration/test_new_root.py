"""A directory that is started anew: who may do that, and what the administrators do whose key is lost."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from contextlib import suppress

import pytest

from support.machine import DIRECTORY, Machine, shell_environment


def take_other_key(machine: Machine) -> str:
    """From now on hd-1 signs with another certificate of the same names; its fingerprint."""
    certs = machine.dev / "certs"
    for end in ("crt", "key"):
        shutil.copy(certs / f"hd-1-sign-alt.{end}", certs / f"hd-1-sign.{end}")
    return str(machine.fingerprint("hd-1-sign"))


def pin_it(machine: Machine, fingerprint: str) -> None:
    """Write it into the records that are submitted."""
    file = machine.dev / "directory" / "002_certificates.json"
    records = json.loads(file.read_text())
    own = next(record for record in records["records"] if record["name"] == "hd-1")
    own["data"][0]["fingerprint"] = fingerprint
    file.write_text(json.dumps(records))


async def test_a_lost_key_is_recovered_from_as_the_how_to_says(machine: Machine) -> None:
    await machine.start("sd-1", "hd-2")
    await machine.setup_directory()
    hd_2 = machine.processes["hd-2"]
    first = await hd_2.wait_for(kind="directory", records=30)
    new = take_other_key(machine)
    pin_it(machine, new)
    refused = await machine.run("eps", "sd", "submit-records", "--reset", DIRECTORY)
    assert refused.code == 1
    assert "the present directory pins" in refused.err
    # The service directory's administrator lets the old chain go …
    await machine.stop("sd-1")
    (store,) = machine.folder.rglob("records.sqlite")
    store.rename(store.with_name("records.old"))
    await machine.start("sd-1")
    done = await machine.run("eps", "sd", "submit-records", "--json", "--reset", DIRECTORY)
    assert done.code == 0, done
    # … but no server does, until its own administrator says so.
    failed = await hd_2.wait_for(kind="directory_failed", message="a new root by hd-1")
    (command,) = re.findall(r"eps (sd trust-root [0-9a-f]{64})", failed["message"])
    assert new in failed["message"]
    assert not any(line.get("tip") not in (None, first["tip"]) for line in hd_2.lines)
    nothing = await machine.run("eps", "sd", "trust-root", "0" * 64, role="hd-2")
    assert (nothing.code, nothing.out) == (1, "")
    assert "no service directory shows a usable chain with root 000000000000" in nothing.err
    done_2 = await machine.run("eps", *command.split(), role="hd-2")
    assert done_2.code == 0, done_2
    assert new in done_2.out
    await hd_2.wait_for(kind="directory", tip=json.loads(done.out)["tip"], timeout=20)


async def test_an_administrator_may_go_on_from_a_root_that_was_accepted_by_hand(machine: Machine) -> None:
    """Though the own server, which would follow it, does not run."""
    await machine.start("sd-1", "hd-1")
    await machine.setup_directory()
    await machine.processes["hd-1"].wait_for(kind="directory", records=30)
    await machine.stop("hd-1")
    await machine.stop("sd-1")
    pin_it(machine, take_other_key(machine))
    (store,) = machine.folder.rglob("records.sqlite")
    store.rename(store.with_name("records.old"))
    await machine.start("sd-1")
    assert (await machine.run("eps", "sd", "submit-records", "--reset", DIRECTORY)).code == 0
    more = [{"name": "new", "section": "groups", "data": ["g"]}]
    refused = await machine.submit(more)
    assert refused.code == 1
    (command,) = re.findall(r"eps (sd trust-root [0-9a-f]{64})", refused.err)
    assert (await machine.run("eps", *command.split())).code == 0
    done = await machine.submit(more)
    assert done.code == 0, done


async def test_what_trust_root_takes(machine: Machine) -> None:
    for arguments in (["x"], ["A" * 64], ["0" * 64, "--signer", "x"]):
        refused = await machine.run("eps", "sd", "trust-root", *arguments)
        assert (refused.code, refused.out) == (1, "")
        assert "must be 64 lower-case hex digits" in refused.err
    # With the certificate, nobody needs to be asked: the service directory is down here.
    done = await machine.run("eps", "sd", "trust-root", "1" * 64, "--signer", "2" * 64)
    assert done.code == 0, done
    (file,) = machine.folder.rglob("trusted-roots.json")
    assert json.loads(file.read_text())["roots"] == [{"hash": "1" * 64, "signer": "2" * 64}]
    down = await machine.run("eps", "sd", "trust-root", "1" * 64)
    assert down.code == 1
    file.write_text("{")
    spoilt = await machine.run("eps", "sd", "trust-root", "1" * 64, "--signer", "2" * 64)
    assert spoilt.code == 1
    assert "trusted-roots.json can't be read" in spoilt.err
    file.unlink()
    file.with_name(file.name + ".new").mkdir()
    stuck = await machine.run("eps", "sd", "trust-root", "1" * 64, "--signer", "2" * 64)
    assert stuck.code == 1
    assert "trusted-roots.json can't be written" in stuck.err


async def test_only_pinned_signers_count_where_that_is_demanded(machine: Machine) -> None:
    demand = "require_pinned_signers: true"
    (machine.dev / "roles" / "hd-2" / "003_pinned.yml").write_text(f"directory: {{settings: {{{demand}}}}}\n")
    base = "settings/dev/directory/001_base.json"
    await machine.start("sd-1", "hd-1", "hd-2")
    assert (await machine.run("eps", "sd", "submit-records", "--reset", base)).code == 0
    first = await machine.processes["hd-2"].wait_for(kind="directory", records=20)
    take_other_key(machine)
    done = await machine.submit([{"name": "new", "section": "groups", "data": ["g"]}], "--json")
    assert done.code == 0, done
    await machine.processes["hd-1"].wait_for(kind="directory", tip=json.loads(done.out)["tip"])
    failed = await machine.processes["hd-2"].wait_for(kind="directory_failed", message="require_pinned_signers is set")
    assert "(new, groups, " in failed["message"]
    assert not any(line.get("tip") not in (None, first["tip"]) for line in machine.processes["hd-2"].lines)
    assert "new" in (await machine.run("eps", "sd", "get-entries", "--name", "new")).out
    unverified = await machine.run("eps", "sd", "get-entries", role="hd-2")
    assert (unverified.code, unverified.out) == (1, "")
    assert "require_pinned_signers is set" in unverified.err
    await machine.stop("sd-1")
    (machine.dev / "roles" / "sd-1" / "003_pinned.yml").write_text(f"directory: {{{demand}}}\n")
    broken = await machine.run("sd", "run", role="sd-1")
    assert broken.code == 2
    assert "require_pinned_signers is set" in broken.err


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("", 1), ("y", 0)])
async def test_a_reset_at_a_terminal_is_asked_about(machine: Machine, answer: str, code: int) -> None:
    await machine.start("sd-1")
    line = ["eps", "sd", "submit-records", "--reset", DIRECTORY]
    first, said = await asyncio.to_thread(at_terminal, machine, line, "")
    assert first == 0, "an empty directory is replaced by anybody"
    assert "Replace it?" not in said
    second, said = await asyncio.to_thread(at_terminal, machine, line, answer)
    assert "This replaces the whole directory: 30 records of 10 operators, from 20" in said
    assert second == code
    assert ("nothing was submitted" in said) == (code == 1)
    assert (await machine.run(*line)).code == 0, "scripts go on as they did"


def at_terminal(machine: Machine, line: list[str], answer: str) -> tuple[int, str]:
    """Run a command at a terminal of its own, and type ``answer`` when it asks; exit code and what was shown."""
    primary, terminal = os.openpty()
    environment = shell_environment(**machine.environment("hd-1"))
    with subprocess.Popen(
        line, stdin=terminal, stdout=terminal, stderr=terminal, cwd=machine.folder, env=environment
    ) as process:
        os.close(terminal)
        shown = b""
        with suppress(OSError), open(primary, "r+b", buffering=0) as screen:  # EIO: the other end is closed
            while piece := screen.read(4096):
                shown += piece
                if shown.endswith(b"[y/N] "):
                    screen.write(answer.encode() + b"\n")
        return process.wait(30), shown.decode()
