"""Random bytes for every parser of untrusted input: ``make fuzz``.

    FUZZ_SECONDS=120     for all targets together
    FUZZ_TARGET=a,b      only these
    FUZZ_RUNS=10000000   this many inputs for each target, however long it takes, instead of FUZZ_SECONDS
    FUZZ_SEED=1          another number gives other inputs; the same one gives the same again
    FUZZ_WORKERS=2       processes

    python fuzz/run.py --list
    python fuzz/run.py --replay TARGET INPUT     one input, as a failure shows it

Exit code 1 if any target failed. Each failure shows the input that reproduces it.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "tests")]

import audit_targets  # noqa: E402 - the path comes first
import core_targets  # noqa: E402
import hello_targets  # noqa: E402
import http_targets  # noqa: E402
import proxy_targets  # noqa: E402
import reading_targets  # noqa: E402
import store_targets  # noqa: E402
import trace_targets  # noqa: E402
import trust_targets  # noqa: E402
import wire_targets  # noqa: E402
from engine import Fuzzer, Tally, Target, read_input  # noqa: E402

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (
        audit_targets,
        hello_targets,
        http_targets,
        core_targets,
        proxy_targets,
        reading_targets,
        store_targets,
        trace_targets,
        trust_targets,
        wire_targets,
    )
    for target in module.TARGETS
}

MEMORY = 4 * 1024**3
"""Bytes of address space for a worker: a parser that takes more fails with MemoryError."""

SLICES = 4
"""A target's runs are cut into this many jobs per worker, so that all workers are done at about the same time."""


def job(name: str, seed: int, runs: int, seconds: float) -> tuple[str, Tally]:
    """One worker's share of a target."""
    return name, Fuzzer(TARGETS[name], seed).go(runs, seconds)


def prepare() -> None:
    """Workers give way to everything else, and can't eat the machine's memory."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def jobs(names: list[str], seed: int, workers: int) -> Iterator[tuple[str, int, int, float]]:
    """(target, seed, runs, seconds) for each job."""
    runs, seconds = int(os.environ.get("FUZZ_RUNS", "0")), float(os.environ.get("FUZZ_SECONDS", "120"))
    count = workers * SLICES if runs else workers
    for part in range(count):
        share = runs // count + (part < runs % count) if runs else sys.maxsize
        for name in names:
            yield name, seed * 1000 + part, share, sys.maxsize if runs else seconds / len(names)


def run_all(names: list[str], seed: int, workers: int) -> dict[str, Tally]:
    """Fuzz the targets; show each one's figures when its last job is done."""
    tallies = {name: Tally() for name in names}
    with ProcessPoolExecutor(workers, initializer=prepare) as pool:
        futures = [pool.submit(job, *arguments) for arguments in jobs(names, seed, workers)]
        left = {name: len(futures) // len(names) for name in names}
        for future in as_completed(futures):
            name, tally = future.result()
            tallies[name].add(tally)
            left[name] -= 1
            if not left[name]:
                print(describe(name, tallies[name]), flush=True)
    return tallies


def describe(name: str, tally: Tally) -> str:
    outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in tally.outcomes.most_common())
    speed = tally.runs / tally.seconds if tally.seconds else 0
    return f"{name:24} {tally.runs:>11,} inputs  {speed:>8,.0f}/s  {tally.signatures:>4} kinds of outcome: {outcomes}"


def replay(target: Target, text: str) -> None:
    data = read_input(target, text)
    begun = time.perf_counter()
    try:
        print("returned", target.run(data))
    except target.allowed as error:
        print(f"raised {type(error).__name__}, as it may: {error}")
    print(f"after {time.perf_counter() - begun:.3f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="the targets' names and the exceptions they may raise")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "INPUT"))
    arguments = parser.parse_args()
    if arguments.list:
        for target in TARGETS.values():
            print(f"{target.name:24} {', '.join(error.__name__ for error in target.allowed) or 'none'}")
        return 0
    if arguments.replay:
        replay(TARGETS[arguments.replay[0]], arguments.replay[1])
        return 0
    names = [name for name in os.environ.get("FUZZ_TARGET", "").split(",") if name] or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        sys.exit(f"there is no target {', '.join(unknown)}; python fuzz/run.py --list shows them")
    seed = int(os.environ.get("FUZZ_SEED", "1"))
    workers = int(os.environ.get("FUZZ_WORKERS", str(os.cpu_count() or 1)))
    print(f"seed {seed} (FUZZ_SEED), {workers} processes, {len(names)} targets", flush=True)
    tallies = run_all(names, seed, workers)
    failures = [failure for tally in tallies.values() for failure in tally.failures]
    print("\n".join(["", *failures]) if failures else "", end="")
    print(f"\n{sum(tally.runs for tally in tallies.values()):,} inputs, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
