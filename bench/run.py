"""make bench: what the programs do per second, each figure beside what the machine could do at best.

python bench/run.py [--quick] [--only SECTION]… [--paced] [--json FILE] [--document]

docs/performance.md explains the rows; --document puts the results there. Nothing is left running, and nothing else is
written but the file of --json.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import loopback
from audit import audit_rows
from calls import Effort, call_rows, cold_rows, operator_rows
from clients import client_rows
from network import make_tree
from passthrough import passthrough_rows
from relay import idle_rows, pair_rows, relay_rows
from table import Row, markdown, render

Section = Callable[[Path, Path, Effort, Callable[[Row], None]], Awaitable[None]]

SECTIONS: dict[str, tuple[str, Section]] = {
    "calls": ("Calls", call_rows),
    "audit": ("The audit log", audit_rows),
    "client": ("Applications' clients", client_rows),
    "cold": ("A cold call", cold_rows),
    "relay": ("The relay: throughput", relay_rows),
    "pairs": ("The relay: pair set-ups", pair_rows),
    "idle": ("The relay: idle tunnels", idle_rows),
    "passthrough": ("TLS passthrough", passthrough_rows),
    "operators": ("Operators in the directory", operator_rows),
}


def own_network() -> str:
    """Leave the machine's pacing behind where that is allowed; which congestion control it is then, in words."""
    before = loopback.congestion_control()
    if not loopback.move_into_own():
        return f"{before} (only root can choose another)"
    return f"{loopback.congestion_control()} (the machine's: {before})"


def machine(congestion_control: str) -> dict[str, Any]:
    """What it was measured on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": model,
        "memory_gib": round(memory),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "user": "root" if os.getuid() == 0 else "not root",
        "congestion_control": congestion_control,
        "random_lookup_ns": round(random_lookup() * 1e9),
    }


LOOKUPS = 200_000
"""Of a dictionary that fits into no core's own cache, and into a shared one only where others leave room."""


def random_lookup() -> float:
    """Seconds for a look-up that the processor can't foresee.

    Virtual machines of one kind differ in it by a factor of five, and one and the same does from hour to hour, with who
    else uses the caches and the memory of its host; and with it differs whatever runs in many processes by turns."""
    known = {number: str(number) for number in range(LOOKUPS)}
    order = list(known)
    Random(1).shuffle(order)
    begin = time.perf_counter()
    for number in order:
        known[number]
    return (time.perf_counter() - begin) / LOOKUPS


async def measure(chosen: list[str], effort: Effort) -> dict[str, list[Row]]:
    """Run the sections, one after the other; a section's table is printed as soon as it is complete."""
    results: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory(prefix="eps-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # for the programs that run as an unprivileged user
        (folder / "tree").mkdir()
        tree = make_tree(folder / "tree")
        for key in chosen:
            title, section = SECTIONS[key]
            rows: list[Row] = []

            def tell(row: Row, rows: list[Row] = rows) -> None:
                rows.append(row)
                print(f"  {row.name} …", file=sys.stderr)

            begin = time.monotonic()
            try:
                await section(folder, tree, effort, tell)
            except Exception as error:  # the other sections are still worth something
                traceback.print_exc()
                tell(Row(f"the rest of «{title}»", "", missing=f"it failed: {error!r}"[:200]))
            results[key] = rows
            print(render(f"{title} ({time.monotonic() - begin:.0f} s)", rows), end="\n\n", flush=True)
    return results


DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
QUIET = 0.7
"""Processes that want to run, on average over the last minute, before the benchmark begins."""

BUSY = (
    "**The machine was busy with other work.** Rates are far below what it can do, most of all those of rows with many "
    "processes; CPU times are somewhat too high."
)
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def document(about: dict[str, Any], results: dict[str, list[Row]]) -> None:
    """Replace the results in docs/performance.md."""
    head, _, rest = DOCUMENT.read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    sections = [markdown(SECTIONS[key][0], rows) for key, rows in results.items()]
    busy = [BUSY, ""] if about["load_before"] > QUIET else []
    text = "\n".join([BEGIN, "", about_line(about), "", *busy, *sections, END])
    DOCUMENT.write_text(head + text + tail)


def about_line(about: dict[str, Any]) -> str:
    """The machine in one line."""
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in about.items())


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the programs on this machine.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: to see that it works")
    parser.add_argument("--only", action="append", choices=[*SECTIONS], help="a section; can be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    parser.add_argument("--document", action="store_true", help="also put the results into docs/performance.md")
    parser.add_argument("--paced", action="store_true", help="with the machine's own TCP congestion control")
    options = parser.parse_args()
    about = machine(loopback.congestion_control() if options.paced else own_network())
    print(about_line(about), end="\n\n", flush=True)
    results = asyncio.run(measure(options.only or [*SECTIONS], Effort.of(quick=options.quick)))
    if options.json:
        rows = {key: [row.to_json() for row in rows] for key, rows in results.items()}
        options.json.write_text(json.dumps({"machine": about, "quick": options.quick, "rows": rows}, indent=1))
    if options.document:
        document(about, results)
    failed = [row for rows in results.values() for row in rows if row.missing.startswith("it failed")]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
