"""What the doctors say, as their administrators run them: in the tests' own process, which spares a start each, or in
one of its own, where that has another clock.
"""

import asyncio
import contextlib
import io
import json
import os
from dataclasses import dataclass
from unittest.mock import patch

from eps.programs.diagnosis import commands
from eps.programs.diagnosis.finding import Finding, Mark
from eps.programs.diagnosis.paper import Paper
from eps.programs.diagnosis.report import report
from support.machine import Done, Machine

Doctor = tuple[str, ...]
"""Whose (a role), and the command: ``("hd-1", "eps", "hd-2")`` for ``eps doctor hd-2``."""

NARROW = 110
"""Columns of what docs show."""


def typed(doctor: Doctor) -> tuple[str, ...]:
    """The command."""
    _, program, *peer = doctor
    return program, "doctor", *peer


@dataclass(frozen=True)
class Says:
    """What one says.

    Attributes:
        error: in place of findings: what it ends with.
    """

    doctor: Doctor
    code: int
    findings: tuple[Finding, ...]
    error: str

    @classmethod
    def of(cls, doctor: Doctor, done: Done) -> "Says":
        """What ``command --json`` has printed."""
        told = json.loads(done.out)["findings"] if done.out else []
        findings = tuple(Finding(**{**one, "mark": Mark(one["mark"])}) for one in told)
        return cls(doctor, done.code, findings, done.err)


def in_report(finding: Finding) -> str:
    """It as it stands in the report."""
    lines = report("", [finding], Paper(width=NARROW)).splitlines()
    return "\n".join(line for line in lines if line.startswith(" "))  # but for title and verdict


async def doctor_says(machine: Machine, doctor: Doctor, **environment: str) -> Says:
    """Run it; where it needs an environment, in a process of its own."""
    if not environment:
        return await asyncio.to_thread(_examined, machine, doctor)
    role, program, *peer = doctor
    done = await machine.run(program, "doctor", *peer, "--json", role=role, timeout=240, **environment)
    return Says.of(doctor, done)


def _examined(machine: Machine, doctor: Doctor) -> Says:
    """Blocks, and changes this process's folder meanwhile."""
    role, program, *peer = doctor
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(machine.folder),
        patch.dict(os.environ, machine.environment(role)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        match program:
            case "eps":
                code = commands.doctor("".join(peer), as_json=True)
            case "proxy":
                code = commands.proxy_doctor(as_json=True)
            case _:
                code = commands.sd_doctor(as_json=True)
    return Says.of(doctor, Done(code, out.getvalue(), err.getvalue()))
