"""The how-to pages as somebody reads them who types every command: what stands in them, and a shell to type it in.

a block of commands   indented, or ```sh; its first word is a program
what it prints        the block right behind it; … stands for anything
<!-- not run: why --> before a block that can't run in a test
<!-- fails: why -->    before a command that is to end with an error
<!-- sample: why -->   before what is printed on other days only, or elsewhere
<!-- file: PATH -->   before a block that the reader puts into that file
"""

import asyncio
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from support.machine import BIN, ROOT, Process, shell_environment

README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"

PAGES = sorted((ROOT / "docs").glob("howto-*.md"))

ELSEWHERE = {
    "howto-audit.md": "integration/test_howto_audit.py",
    "howto-call-web.md": "testing/test_mock.py",
    "howto-install.md": "deploy/test_debian_package.py",
    "howto-change-directory.md": "programs/directory/test_howto_change_directory.py",
    "howto-move.md": "integration/test_howto_move.py",
    "howto-recover-directory.md": "integration/test_howto_recover_directory.py",
}
"""Pages with tests of their own, which type every command of theirs."""

HERE = ("howto-operator.md", "howto-proxy.md")
"""The last ends the proxy that the other needs."""
SLOW = ("howto-call.md", "howto-service.md", "howto-diagnose.md", "howto-passthrough.md")
"""In make chaos: some thirty programs are started for them."""

NOWHERE = ("howto-containers.md",)
"""Needs Docker, in every block; what its image does is in tests/test_container_example.py."""

SETTINGS_ONLY = ("howto-scale.md",)
"""Has nothing to type; tests/test_pages.py reads its settings."""

TYPED = {
    **dict.fromkeys((*HERE, *SLOW), "integration/test_howto.py"),
    **ELSEWHERE,
    **dict.fromkeys((README.name, TUTORIAL.name), "integration/test_tutorial.py"),
    "tutorial-service.md": "testing/test_mock.py",
}
"""By page: the test that types its commands."""

PROGRAMS = frozenset(
    ["eps", "sd", "proxy", "eps-sd", "eps-proxy", "make", "python", "python3", "curl", "node", "openssl", "docker",
     "systemctl", "journalctl", "jq",
     "cat", "cp", "mv", "echo", "cd", "mkdir", "rm", "sed", "export", "source", "useradd", "install", "chown",
     "chmod", "apt-get", "deluser", "find", "tar", "deploy/container/build.sh"]
)  # fmt: skip
"""What a command begins with."""

SERVERS = re.compile(r"(?:^| )(?:eps server run|sd run|proxy run|python examples/locations\.py)\b")
"""What goes on running, in a shell of its own."""

SETTLES = re.compile(r"\b(?:eps (?:ping|call|methods|doctor|audit (?:head|reveal|verify))|curl)\b")
"""What is tried again for a while: servers ask for news of the directory every few seconds, and pages say so."""

SETTLE_SECONDS = 120.0
"""On a loaded machine."""

OUTSIDE = re.compile(r"(?<![\w/.-])/(?:etc|opt|srv|var)/")
"""Files of the machine itself, which no test touches."""


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        kind: the word behind ```; empty: none, or indented.
        marks: what comments before it say: ``not run``, ``fails``, ``sample``, ``file`` → why, or which.
        follows: it stands right behind another block.
    """

    page: str
    line: int
    kind: str
    text: str
    marks: Mapping[str, str]
    follows: bool

    @property
    def is_command(self) -> bool:
        words = [word for word in self.text.split("\n")[0].split() if not re.fullmatch(r"[A-Z_]+=\S*", word)]
        first = words[0] if words else ""
        return self.kind in ("", "sh") and (first in PROGRAMS or first.startswith("/opt/eps/bin/"))

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def shows(self, before: "Block | None") -> bool:
        """Whether this is what ``before``, a command, prints."""
        return self.follows and before is not None and before.is_command and not self.kind and not self.marks


MARK = re.compile(r"<!-- (not run|fails|sample|file): (.+) -->")


def blocks_of(page: Path, heading: str = "") -> Iterator[Block]:
    """The blocks of a page, or of one of its sections, in order."""
    text, above = page.read_text(), 0
    if heading:
        before, _, text = text.partition(f"\n## {heading}\n")
        text, above = text.partition("\n## ")[0], before.count("\n") + 2
    lines = text.split("\n")
    marks: dict[str, str] = {}
    follows, number = False, 0
    while number < len(lines):
        line = lines[number]
        fence = re.match(r"( *)```(\w*)$", line)
        end = number + 1
        if fence:
            while lines[end].strip() != "```":
                end += 1
            text = "\n".join(one[len(fence[1]) :] for one in lines[number + 1 : end])
            yield Block(page.name, above + number + 1, fence[2], text, marks, follows)
            end += 1
        elif line.startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            while end < len(lines) and lines[end].startswith("    "):
                end += 1
            text = "\n".join(one.strip() if not one.startswith("     ") else one[4:] for one in lines[number:end])
            yield Block(page.name, above + number + 1, "", text, marks, follows)
        elif mark := MARK.match(line.strip()):
            marks = {**marks, mark[1]: mark[2]}
            number = end
            continue
        else:
            if line.strip():
                marks, follows = {}, False
            number = end
            continue
        marks, follows, number = {}, True, end


@dataclass
class Reader:
    """Somebody who types what pages say.

    Attributes:
        folder: where she begins.
        here: what pages name → what it is on this machine.
        root: the folder of the test, if that is above ``folder``.
        renamed: files that a command writes → what is replaced in them then, for ports that are others here.
    """

    folder: Path
    here: Mapping[str, str]
    root: Path | None = None
    renamed: Mapping[Path, Mapping[str, str]] = field(default_factory=dict)
    running: list[Process] = field(default_factory=list)
    said: str = ""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._state = self.folder / ".shell"
        self._state.write_text(f"cd {shlex.quote(str(self.folder))}\n")

    def at_home(self, text: str) -> str:
        """``text`` with the names that this machine has."""
        for theirs in sorted(self.here, key=len, reverse=True):
            text = text.replace(theirs, self.here[theirs])
        assert not OUTSIDE.search(text), f"{text}: which of the test's files is that?"
        return text

    @property
    def machine(self) -> Path:
        """Nothing outside this folder is ever written."""
        return self.folder if self.root is None else self.root

    async def read(self, blocks: Iterable[Block]) -> list[Block]:
        """Do what blocks say, from the first to the last; those that ran."""
        ran: list[Block] = []
        all_of_them = list(blocks)
        for block, behind in zip(all_of_them, [*all_of_them[1:], None], strict=True):
            if "not run" in block.marks:
                continue
            if "file" in block.marks:
                self._write(self.folder / self.at_home(block.marks["file"]), self.at_home(block.text))
            elif block.is_command:
                await self._type(block, behind if behind is not None and behind.shows(block) else None)
                ran.append(block)
        return ran

    def come_from(self, programs: Path) -> None:
        """Type with the programs of that folder first on PATH."""
        self._state.write_text(self._state.read_text() + f"export PATH={shlex.quote(str(programs))}:$PATH\n")

    async def stop(self, words: str) -> Process:
        """Ctrl-C in the shell of the server whose command line has these words; it has ended well."""
        (process,) = [one for one in self.running if words in one.role]
        self.running.remove(process)
        assert await process.end(2) == 0, process.log()
        return process

    async def close(self) -> None:
        """End what still runs."""
        for process in self.running:
            process.send(15)
        for process in self.running:
            await process.end()

    async def _type(self, block: Block, shown: Block | None) -> None:
        lines = block.text.replace("\\\n", " ").split("\n")
        for are_servers, group in groupby(lines, lambda line: SERVERS.search(line) is not None):
            if are_servers:
                for line in group:
                    await self._start(line, block)
            elif others := "\n".join(group).strip():
                await self._run(others, block, shown)
        for file, changes in self.renamed.items():
            if file.exists():
                text = file.read_text()
                for theirs, ours in changes.items():
                    text = text.replace(theirs, ours)
                file.write_text(text)

    async def _start(self, line: str, block: Block) -> None:
        script = f"source {self._state}; exec env {self.at_home(line)}"
        made = await asyncio.create_subprocess_exec(
            "bash", "-c", script, env=self._environment(), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        process = Process(f"{block} {line}", made)
        self.running.append(process)
        if "python" not in line:
            await process.wait_for(message="is running")

    async def _run(self, lines: str, block: Block, shown: Block | None) -> None:
        """Type them; again for a while, where news of the directory may have to come first."""
        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        script = f"source {self._state}; set -eo pipefail\n{self.at_home(lines)}\n"
        script += f"{{ export -p; echo cd $PWD; }} > {self._state}"
        while True:
            made = await asyncio.create_subprocess_exec(
                "bash", "-c", script, env=self._environment(), stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            async with asyncio.timeout(SETTLE_SECONDS):
                out, _ = await made.communicate()
            self.said = out.decode()
            wrong = self._wrong(block, made.returncode, shown)
            if not wrong:
                return
            late = asyncio.get_running_loop().time() > deadline
            assert SETTLES.search(lines) and not late, f"{block}: {wrong}\n{lines}\n{self.said}"
            await asyncio.sleep(0.2)

    def _environment(self) -> dict[str, str]:
        environment = shell_environment()
        return environment | {"PATH": f"{self.folder / 'bin'}:{environment['PATH']}", "HOME": str(self.folder)}

    def _wrong(self, block: Block, code: int | None, shown: Block | None) -> str:
        """Where a command did another thing than the page says, line by line; "" if it did not."""
        if (code != 0) is not ("fails" in block.marks):
            return f"exit code {code}"
        said = " ".join(self.said.split())
        for line in self.at_home(shown.text).split("\n") if shown is not None else ():
            pattern = ".*".join(re.escape(part) for part in " ".join(line.split()).split("…"))
            if not re.search(pattern, said):
                return f"{shown} shows {line!r}"
        return ""

    def _write(self, file: Path, text: str) -> None:
        assert file.is_relative_to(self.machine), f"{file} is not a file of the test"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")


def make_here(folder: Path) -> None:
    """A ``make`` in ``folder``/bin that does there what the Makefile does in a clone, but for installing."""
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    script = folder / "bin" / "make"
    dry = f"env -u MAKEFLAGS -u MAKEOVERRIDES {shutil.which('make')} -n -C {ROOT} --no-print-directory -o .venv/.run"
    script.write_text(
        f'#!/bin/sh\nlines=$({dry} "$@") || exit\nexec sh -ec "$(printf %s "$lines" | sed "s#[.]venv/bin/##g")"\n'
    )
    script.chmod(0o755)


def impatient_renewal(folder: Path) -> None:
    """A console script ``eps`` in ``folder``/bin that doesn't wait a minute for others to have the directory."""
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    script = folder / "bin" / "eps"
    renew = (
        "import sys; from eps.programs.admin import renewal; renewal.SPREADS_SECONDS = 0; "
        "from eps.programs.entry import eps; sys.argv[0] = 'eps'; eps()"
    )
    script.write_text(
        f'#!/bin/sh\ncase "$1 $2" in\n"cert renew") exec {sys.executable} -c "{renew}" "$@" ;;\nesac\n'
        f'exec {BIN / "eps"} "$@"\n'
    )
    script.chmod(0o755)
