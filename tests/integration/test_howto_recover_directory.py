"""docs/howto-recover-directory.md, command by command, after what it is for: a store that was set back or lost."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from support.machine import ROOT, Done, Machine

PAGE = (ROOT / "docs" / "howto-recover-directory.md").read_text()


class Administrator:
    """Somebody who follows the page on a machine of her own: the service directory's and hd-1's at once."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.state = machine.folder / ".eps" / "sd-1"
        self.here = {
            "/etc/eps/sd": "settings/dev/roles/sd-1",
            "/etc/eps/hd-1": "settings/dev/roles/hd-1",
            "/etc/eps/directory": "settings/dev/directory",
            "/var/lib/sd": str(self.state),
        }
        self.environment: dict[str, str] = {}
        self.said: list[tuple[str, Done]] = []

    async def follow(self, *headings: str) -> None:
        """Type what stands in indented lines below these headings."""
        for heading in headings:
            section = PAGE.partition(f"\n## {heading}")[2].partition("\n## ")[0]
            lines = re.findall(r"^    (\S[^\n]*)$", section, re.MULTILINE)
            assert lines, heading
            for line in lines:
                await self.type(line)

    async def type(self, line: str, *, code: int = 0) -> Done:
        for theirs, ours in self.here.items():
            line = line.replace(theirs, ours)
        words = shlex.split(line)
        if words[0] == "export":
            self.environment.update([words[1].split("=", 1)])
            return Done(0, "", "")
        if words[0] == "systemctl":
            await (self.machine.start("sd-1") if words[1] == "start" else self.machine.stop("sd-1"))
            return Done(0, "", "")
        done = await self.machine.run("sh", "-c", line, **self.environment)
        self.said.append((line, done))
        assert done.code == code, (line, done)
        return done

    async def tip(self) -> str:
        """The tip that hd-1 has verified."""
        done = await self.machine.run("eps", "directory", "export")
        assert done.code == 0, done
        return str(json.loads(done.out)["records"][-1]["hash"])

    async def change(self, group: str) -> Done:
        return await self.machine.submit([{"name": "hd-2", "section": "groups", "data": ["hd", group]}])

    async def until_verified(self, tip: str) -> None:
        await self.machine.processes["hd-1"].wait_for(kind="directory", tip=tip)

    @property
    def sd_log(self) -> str:
        return self.machine.processes["sd-1"].log()


def tip_of(done: Done) -> str:
    assert done.code == 0, done
    return done.out.split()[-1]


@pytest.fixture
async def administrator(machine: Machine) -> Administrator:
    """A network whose administrator has submitted a change, and copied the store before that."""
    administrator = Administrator(machine)
    await machine.start("sd-1", "hd-1")
    await machine.setup_directory()
    await machine.stop("sd-1")
    shutil.copytree(administrator.state, machine.folder / "older")
    await machine.start("sd-1")
    await administrator.until_verified(tip_of(await administrator.change("revoked")))
    return administrator


async def set_back(administrator: Administrator, *, with_the_mark: bool = False) -> None:
    machine, state = administrator.machine, administrator.state
    await machine.stop("sd-1")
    for file in state.glob("*" if with_the_mark else "records.sqlite*"):
        file.unlink()
    for file in (machine.folder / "older").glob("*" if with_the_mark else "records.sqlite*"):
        shutil.copy(file, state)
    await machine.start("sd-1")


async def test_an_older_copy_is_noticed_and_made_whole(administrator: Administrator) -> None:
    tip = await administrator.tip()
    await set_back(administrator)
    assert "is not what it was: it is shorter than it was" in administrator.sd_log
    refused = await administrator.change("again")
    assert refused.code == 1
    assert "the service directory was set back" in refused.err and "docs/howto-recover-directory.md" in refused.err
    await administrator.follow("1. Export", "2. Import", "3. Start")
    assert "is not what it was" not in administrator.sd_log
    assert any("now holds" in done.out and tip in done.out for _, done in administrator.said)
    await administrator.until_verified(tip_of(await administrator.change("again")))


async def test_a_store_that_is_gone_is_rebuilt(administrator: Administrator) -> None:
    tip = await administrator.tip()
    await administrator.machine.stop("sd-1")
    for file in administrator.state.glob("records.sqlite*"):
        file.unlink()
    await administrator.machine.start("sd-1")
    assert "is not what it was: it is empty" in administrator.sd_log
    refused = await administrator.change("again")
    assert refused.code == 1
    assert "the service directory is empty, but this operator has verified" in refused.err
    await administrator.follow("1. Export", "2. Import", "3. Start")
    assert await administrator.tip() == tip
    await administrator.until_verified(tip_of(await administrator.change("again")))


async def test_a_fork_is_not_signed_onto_and_is_dropped_only_when_told(administrator: Administrator) -> None:
    """The whole machine is set back, and somebody without a copy submits: only those with a copy notice."""
    machine = administrator.machine
    await set_back(administrator, with_the_mark=True)
    assert "is not what it was" not in administrator.sd_log
    cache = machine.folder / ".eps" / "hd-1" / "directory-cache.sqlite"
    other = machine.folder / "nowhere"
    other.mkdir()
    forked = await machine.run(
        "sh",
        "-c",
        f"mv {cache} {other} && eps sd submit-records change.json; code=$?; mv {other}/* {cache}; exit $code",
    )
    assert forked.code == 0, forked
    assert "it can't be told whether the service directory was set back" in forked.err
    refused = await administrator.change("again")
    assert refused.code == 1
    assert "the service directory is not believed: " in refused.err and "another history" in refused.err
    await administrator.type("eps directory export > directory.json")
    await machine.stop("sd-1")
    environment = {"SD_SETTINGS": "settings/dev/roles/sd-1"}
    kept = await machine.run("sd", "store", "import", "directory.json", **environment)
    assert kept.code != 0
    assert "1 record (hd-2: groups); nothing was changed" in kept.err
    dropped = await machine.run("sd", "store", "import", "--replace", "directory.json", **environment)
    assert dropped.code == 0, dropped
    assert "dropped 1 record (hd-2: groups): submit these changes again" in dropped.err
    await machine.start("sd-1")
    await administrator.until_verified(tip_of(await administrator.change("again")))


async def test_without_a_copy_it_is_begun_anew(administrator: Administrator) -> None:
    await set_back(administrator)
    await administrator.follow("If nobody has a copy")
    await administrator.until_verified(tip_of(await administrator.change("again")))


async def test_files_and_stores_that_cant_be_used(administrator: Administrator, tmp_path: Path) -> None:
    machine = administrator.machine
    environment = {"SD_SETTINGS": "settings/dev/roles/sd-1"}
    await administrator.type("eps directory export > directory.json")
    busy = await machine.run("sd", "store", "import", "directory.json", **environment)
    assert busy.code != 0 and "in use by another program" in busy.err
    await machine.stop("sd-1")
    store = administrator.state / "records.sqlite"
    before = store.read_bytes()
    whole = json.loads((machine.folder / "directory.json").read_text())
    whole["records"][1]["record"]["name"] = "mallory"
    for content, complaint in [("[]", "holds no signed records"), (json.dumps(whole), "nothing was changed")]:
        (machine.folder / "bad.json").write_text(content)
        done = await machine.run("sd", "store", "import", "bad.json", **environment)
        assert done.code == 1 and complaint in done.err, done
    assert store.read_bytes() == before
    elsewhere = await machine.run("eps", "directory", "export", STATE_DIRECTORY=str(tmp_path / "none"), role="hd-2")
    assert elsewhere.code != 0 and "there is no verified copy of the directory at" in elsewhere.err
