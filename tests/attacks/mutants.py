"""Take each guard away and see whether its test notices: ``make mutants``.

    python tests/attacks/mutants.py              all guards of tests/support/attacks
    python tests/attacks/mutants.py token TLS    those whose description or test has one of these words
    MUTANT_WORKERS=2                             processes at a time

First the named tests must pass with all guards there. Then each guard is removed in a copy of src/, and its test is
run against that copy. Exit code 1 if a test passes without its guard, or a guard is no longer where it was.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from support.attacks.guards import GUARDS  # noqa: E402 - the path comes first
from support.attacks.kinds import Guard  # noqa: E402

SECONDS = 120
"""For one guard's test, which takes one or two; without its guard it may wait until pytest ends it."""

FAILED = 1
"""pytest's exit code where tests ran and did not pass. Others mean that they could not be run."""


def pytest(source: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    """Run ``tests`` against the package in ``source``."""
    command = [sys.executable, "-m", "pytest", "-x", "-n0", "--no-cov", "-p", "no:cacheprovider", "--timeout=60"]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    files = [f"tests/{test}" for test in tests]
    return subprocess.run(
        [*command, *files],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS * max(1, len(tests)),
        check=False,
    )


def without(guard: Guard, source: Path) -> str:
    """What becomes of ``guard``'s test when it is gone from ``source``, which is as before afterwards; "" if it fails,
    as it must."""
    file = source / "eps" / guard.file
    original = ROOT / "src" / "eps" / guard.file
    try:
        file.write_text(guard.removed(original.read_text()))
        run = pytest(source, [guard.test])
    except ValueError as error:
        return f"the guard is no longer there: {error}"
    except subprocess.TimeoutExpired:
        return f"the test has not ended after {SECONDS} s"
    finally:
        shutil.copy2(original, file)
    if run.returncode == FAILED:
        return ""
    return "THE TEST PASSES WITHOUT IT" if run.returncode == 0 else f"the test can't be run:\n{run.stdout[-2000:]}"


def chosen(words: list[str]) -> list[Guard]:
    pattern = re.compile("|".join(map(re.escape, words)), re.IGNORECASE)
    return [guard for guard in GUARDS if pattern.search(f"{guard.what} {guard.test}")]


def remove_all(guards: list[Guard], copies: list[Path]) -> Iterator[tuple[Guard, str]]:
    """Each guard and what became of its test."""
    free: SimpleQueue[Path] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def one(guard: Guard) -> str:
        copy = free.get()
        try:
            return without(guard, copy)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        yield from zip(guards, pool.map(one, guards), strict=True)


def main() -> int:
    guards = chosen(sys.argv[1:])
    whole = pytest(ROOT / "src", sorted({guard.test for guard in guards}))
    if whole.returncode:
        print(f"with all guards there, the tests must pass:\n{whole.stdout[-4000:]}")
        return 1
    workers = int(os.environ.get("MUTANT_WORKERS", str(os.cpu_count() or 1)))
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / str(number) for number in range(workers)]
        for copy in copies:
            shutil.copytree(ROOT / "src", copy)
        for guard, why in remove_all(guards, copies):
            missed += bool(why)
            print(f"{'MISSED' if why else 'fails '}  {guard.what}\n        {guard.test} {why}", flush=True)
    print(f"\n{len(guards)} guards, {len(guards) - missed} whose removal a test notices, {missed} without")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
