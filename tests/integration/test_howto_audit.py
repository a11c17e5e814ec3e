"""docs/howto-audit.md, command by command, and what the other side of the call has to show of it."""

import json

import pytest

from support.howto import Reader, blocks_of
from support.machine import ROOT, Machine

pytestmark = [pytest.mark.timeout(600), pytest.mark.chaos]

PAGE = ROOT / "docs" / "howto-audit.md"


async def audited(machine: Machine, role: str) -> None:
    """Give a role an audit log, as the page says."""
    folder = machine.folder / role
    done = await machine.run("eps", "audit", "key", "--folder", str(folder), role=role)
    assert done.code == 0, done
    signed = await machine.run("eps", "sd", "sign", str(folder / "audit-key.json"), role=role)
    assert signed.code == 0, signed
    (folder / "audit-key.signed.json").write_text(signed.out)
    files = {"secret_file": "audit.secret", "key_file": "audit.key", "certified_file": "audit-key.signed.json"}
    settings = {"audit": {"file": "audit.log"} | {key: str(folder / name) for key, name in files.items()}}
    (machine.dev / "roles" / role / "009_audit.yml").write_text(json.dumps(settings))


async def test_every_command_and_the_other_side_shows_the_same(machine: Machine) -> None:
    folder = machine.folder
    (folder / "etc" / "audit").mkdir(parents=True)
    (folder / "lib").mkdir()
    more = folder / "state.json"
    more.write_text(json.dumps({"state_path": str(folder / "lib" / "state")}))
    here = {
        "/etc/eps/eps.yml": f"{machine.dev / 'roles' / 'hd-1'}:{more}",
        "/etc/eps": str(folder / "etc"),
        "/var/lib/eps": str(folder / "lib"),
    }
    sign = {"signing": {"certificate_file": f"{machine.dev}/certs/hd-2-sign.crt",
                        "key_file": f"{machine.dev}/certs/hd-2-sign.key",
                        "ca_certificate_file": f"{machine.dev}/certs/root.crt",
                        "ca_intermediate_certificate_files": [f"{machine.dev}/certs/intermediate.crt"]}}  # fmt: skip
    (machine.dev / "roles" / "hd-2" / "008_signing.yml").write_text(json.dumps(sign))
    await audited(machine, "hd-2")
    await machine.start("sd-1", "public-proxy-1", "public-proxy-eps-1", "hd-2")
    await machine.setup_directory()
    reader = Reader(folder, here)
    try:
        assert await reader.read(blocks_of(PAGE))
    finally:
        await reader.close()
    log = folder / ".eps" / "hd-2" / "audit.log"
    entries = [json.loads(line)["entry"] for line in log.read_text().splitlines()]
    line = next(entry["line"] for entry in entries if entry.get("call", {}).get("method") == "_ping")
    evidence = folder / "theirs.json"
    done = await machine.run("eps", "audit", "reveal", str(line), role="hd-2")
    assert done.code == 0, done
    evidence.write_text(done.out)
    files = ("--params", str(folder / "params.json"), "--result", str(folder / "result.json"))
    done = await machine.run("eps", "audit", "check", str(evidence), *files)
    assert (done.code, "hd-2's audit log" in done.out, done.out.count(": as given")) == (0, True, 2), done
    (folder / "params.json").write_text('{"patient": 18}')
    done = await machine.run("eps", "audit", "check", str(evidence), *files)
    assert (done.code, "params: NOT as given" in done.out) == (1, True), done
    trace = {entry["call"]["trace"] for entry in entries if "call" in entry}
    theirs = (folder / "lib" / "audit.log.1").read_text()
    assert any(one and one in theirs for one in trace)
