"""The fuzz targets work: a few inputs for each, always the same ones, and an engine that finds planted mistakes."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parent.parent / "fuzz"
sys.path.append(str(FUZZ))

import run as fuzz  # noqa: E402 - the path comes first
from engine import Fuzzer, Target, read_input, render_input  # noqa: E402


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_targets_hold_for_a_start(name: str) -> None:
    target = fuzz.TARGETS[name]
    tally = Fuzzer(target, seed=7).go(runs=max(300, 2 * len(target.seeds())), seconds=20.0)
    assert tally.failures == []
    assert tally.signatures > 1
    assert sum(tally.outcomes.values()) == tally.runs


@pytest.mark.parametrize("name", ["clienthello", "change_record", "jsonrpc_request"])
def test_one_seed_gives_one_sequence(name: str) -> None:
    first, second = (Fuzzer(fuzz.TARGETS[name], seed=3).go(500, 60.0) for _ in range(2))
    assert (first.outcomes, first.signatures) == (second.outcomes, second.signatures)


def careless(data: bytes) -> int:
    """Trusts a length."""
    length = data[0] if data else 0
    return data[length] if data[:1] else 0


def slow(data: bytes) -> bool:
    return sum(range(30_000_000)) == 0 if data.startswith(b"ab") else False


def test_the_engine_finds_mistakes_and_shows_how_to_repeat_them() -> None:
    target = Target("careless", careless, lambda: [b"\2abc"])
    tally = Fuzzer(target, seed=1).go(runs=5_000, seconds=60.0)
    assert len(tally.failures) == 1 and "IndexError" in tally.failures[0]
    data = read_input(target, tally.failures[0].rpartition("input: ")[2])
    with pytest.raises(IndexError):
        careless(data)


def test_the_engine_finds_what_is_slow() -> None:
    tally = Fuzzer(Target("slow", slow, lambda: [b"abc"], cost=0.05), seed=1).go(runs=1, seconds=60.0)
    assert len(tally.failures) == 1 and "more than 0.05 s" in tally.failures[0]


def test_inputs_as_text_come_back() -> None:
    for target, data in (
        (Target("bytes", careless, list), b"\0\xff"),
        (Target("values", careless, list, values=True), {"a": [1, None, "\ud800", 1e308]}),
    ):
        assert read_input(target, render_input(data)) == data


def test_the_command() -> None:
    command = [sys.executable, str(FUZZ / "run.py")]
    listed = subprocess.run([*command, "--list"], capture_output=True, text=True, timeout=60, check=True)
    assert {line.split()[0] for line in listed.stdout.splitlines()} == set(fuzz.TARGETS)
    replayed = subprocess.run(
        [*command, "--replay", "address", b"a.b".hex()], capture_output=True, text=True, timeout=60, check=True
    )
    assert "raised AddressError, as it may" in replayed.stdout
