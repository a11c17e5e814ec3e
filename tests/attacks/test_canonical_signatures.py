"""Who hands records on shows a free-form setting in another way, to running servers; and what keeps its signature."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography import x509

from support.foreign.service_directory import ForeignSd, known_parts
from support.machine import Machine

ODD = {"p": {"a": "1"}, "q": "z"}
SHOWN = {"q": {"a": "1", "z": "p"}}
"""The same bytes for a record's hash, and so for its first signature."""

DEMAND = 'require_canonical_signatures: "2020-01-01"'


def unchanged(record: Any) -> Any:
    return record


def shown_otherwise(record: Any) -> Any:
    """The same hash and signatures, with another setting."""
    (item,) = record["record"]["data"]
    return {**record, "record": {**record["record"], "data": [{**item, "settings": SHOWN}]}}


def setting(name: str) -> list[dict[str, Any]]:
    return [{"name": name, "section": "settings", "data": [{"service": "x", "settings": ODD}]}]


@pytest.fixture
async def hostile(machine: Machine) -> AsyncIterator[ForeignSd]:
    """A service directory of another make, which all ask; hd-2 demands canonical signatures, hd-1 does not."""
    sd = ForeignSd([x509.load_pem_x509_certificate((machine.dev / "certs" / "intermediate.crt").read_bytes())])
    for role, more in (("hd-1", ""), ("hd-2", DEMAND)):
        folder = machine.dev / "roles" / role
        default = folder / "001_default.yml"
        ours = f"https://localhost:{machine.ports.of[3322]}/jsonrpc"
        default.write_text(default.read_text().replace(ours, sd.endpoint))
        (folder / "003_follows.yml").write_text(f"directory: {{settings: {{cache_entries_for: 0.2, {more}}}}}\n")
    yield sd
    await asyncio.to_thread(sd.close)


async def test_a_setting_is_shown_in_another_way_to_running_servers(machine: Machine, hostile: ForeignSd) -> None:
    hostile.keeps = unchanged
    await machine.setup_directory()
    await machine.start("hd-1", "hd-2")
    hd_1, hd_2 = machine.processes["hd-1"], machine.processes["hd-2"]
    first = await hd_2.wait_for(kind="directory", records=30)
    await hd_1.wait_for(kind="directory", records=30)
    kept = await hd_2.wait_for(kind="notice", message="does not keep canonical signatures, which require_canonical_")
    assert kept["level"] == "warn"
    honest: list[Any] = []

    def forged(record: Any) -> Any:
        honest.append(record)
        return shown_otherwise(record)

    hostile.keeps = forged
    done = await machine.submit(setting("new"), "--json")
    assert done.code == 0, done
    assert "could be read in another way from the same signature" in done.err
    assert "dropped" not in done.err
    tip = json.loads(done.out)["tip"]
    for server in (hd_1, hd_2):
        await server.wait_for(kind="directory_failed", message="the canonical signature is not one that hd-1 made")
    hostile.records[-1] = known_parts(shown_otherwise(honest[0]))
    failed = await hd_2.wait_for(kind="directory_failed", message="bears no canonical signature, which require_canoni")
    assert "by hd-1" in failed["message"]
    await hd_1.wait_for(kind="directory", tip=tip)
    await hd_1.wait_for(kind="notice", message="data[0].settings of new, settings, could be read in another way")
    await hd_1.wait_for(kind="notice", message="signed by hd-1, bears no canonical signature, though earlier ones")
    assert not any(line.get("tip") not in (None, first["tip"]) for line in hd_2.lines)
    hostile.records[-1] = honest[0]
    await hd_2.wait_for(kind="directory", tip=tip)


async def test_a_service_directory_of_another_make_drops_them_without_harm(
    machine: Machine, hostile: ForeignSd
) -> None:
    done = await machine.setup_directory()
    assert "warning: the service directory has dropped the canonical signatures of these records" in done.err
    assert not any("canonical" in record["signature"] for record in hostile.records)
    await machine.start("hd-1", "hd-2")
    await machine.processes["hd-1"].wait_for(kind="directory", records=30)
    failed = await machine.processes["hd-2"].wait_for(kind="directory_failed", message="bears no canonical signature")
    assert "either a service directory on its way dropped the signature: use one that keeps it" in failed["message"]
    # Whoever demands them signs nothing that the own server would not believe.
    own = machine.dev / "roles" / "hd-1" / "004_demand.yml"
    own.write_text('directory: {settings: {require_canonical_signatures: "2099-01-01"}}\n')
    refused = await machine.submit(setting("new"))
    assert refused.code == 1
    assert "the service directory does not keep canonical signatures" in refused.err
    assert "nothing was signed" in refused.err
    assert len(hostile.records) == 30


async def test_every_store_and_copy_keeps_them(machine: Machine) -> None:
    """As long as one of ours hands them on: submitted, served, followed, exported, copied, imported, served again."""
    (machine.dev / "roles" / "hd-1" / "003_demand.yml").write_text(f"directory: {{settings: {{{DEMAND}}}}}\n")
    await machine.start("sd-1", "hd-1")
    await machine.setup_directory()
    assert (await machine.submit(setting("new"))).code == 0
    last = await machine.processes["hd-1"].wait_for(kind="directory", records=31)
    exported = await machine.run("eps", "directory", "export")
    records = json.loads(exported.out)["records"]
    assert len(records) == 31
    assert all(record["signature"]["canonical"].keys() == {"r", "s"} for record in records)
    (machine.folder / "exported.json").write_text(exported.out)
    await machine.stop("sd-1")
    for source, target in (("settings", "file:copy.entries"), ("file:copy.entries", "sqlite:copy.sqlite")):
        copied = await machine.run("sd", "store", "copy", source, target, role="sd-1")
        assert copied.code == 0, copied
    (store,) = machine.folder.rglob("records.sqlite")
    for rebuilt in (
        ("sd", "store", "import", "exported.json"),
        ("sd", "store", "copy", "sqlite:copy.sqlite", "settings"),
    ):
        for file in store.parent.glob("records.sqlite*"):
            file.unlink()
        done = await machine.run(*rebuilt, role="sd-1")
        assert done.code == 0, done
        await machine.start("sd-1")
        entries = await machine.run("eps", "sd", "get-entries", "--name", "new")
        assert entries.code == 0, entries
        (entry,) = json.loads(entries.out)
        assert entry["records"] == [records[-1]]
        await machine.stop("sd-1")
    assert records[-1]["hash"] == last["tip"]
    assert not any("canonical" in line.get("message", "") for line in machine.processes["hd-1"].lines)
