"""What type checkers know of a program that calls: mypy, strict, over a program that somebody wrote."""

import subprocess
import sys
from pathlib import Path

from support.machine import ROOT

PROGRAM = """
from dataclasses import dataclass
from eps.client import AsyncClient, CallReport, Client, Endpoint, Policy, ServiceError

@dataclass
class Place:
    address: str

def told(report: CallReport) -> None:
    print(report.seconds, report.error and report.error.executed)

async def both(at: Endpoint) -> list[str]:
    with Client(at, policy=Policy(attempts=2), on_call=told) as client:
        here = client.call("hd-2.lookup", {"name": "office"}, into=Place, timeout=5)
        reveal_type(here)
        reveal_type(client.call("hd-2.lookup"))
        reveal_type(client.operator("hd-2").call("list", into=list[Place]))
        reveal_type(Client.from_profile("x"))
        reveal_type(client.call("hd-2.lookup", into=Place | None))
    try:
        async with AsyncClient(at) as later:
            reveal_type(await later.call("hd-2.lookup", into=Place, idempotent=True))
            await later.operator("hd-2").lookup(name="office")
    except ServiceError as error:
        reveal_type(error.executed)
    return [here.adress]
"""

KNOWN = ["Place", "Any", "list[", "Client", "Any", "Place", "Literal['yes']"]


def test_mypy_strict(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=tmp_path, check=False)
    revealed = [line.partition("Revealed type is ")[2] for line in done.stdout.splitlines() if "Revealed" in line]
    assert len(revealed) == len(KNOWN), done.stdout
    assert all(word in text for word, text in zip(KNOWN, revealed, strict=True)), revealed
    wrong = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(wrong) == 1 and 'has no attribute "adress"' in wrong[0], done.stdout
