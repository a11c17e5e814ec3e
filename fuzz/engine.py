"""The fuzzing engine: changes good inputs a little, over and over, and watches what parsers make of them.

    seeds ─┐
           ├→ mutate → target.run(input) ─┬ returns, or raises what it may: fine; a new kind of outcome joins the seeds
    pool ──┘                              └ anything else, or too slow: a failure, with the input that reproduces it

There is no instrumentation. In its place every outcome has a *signature* (what ``run`` returned, or the line that
raised), and an input with a new signature is kept and changed further. One seed number gives one sequence of inputs.
"""

import json
import math
import time
import traceback
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

MAX_SHOWN_CHARS = 2 * 64 * 1024
"""Of a failure's input."""

MAX_POOL = 2_000
"""Inputs kept for having a new signature."""

MAX_KEPT_CHARS = 8 * 1024
"""Inputs that are longer as text don't join the pool: what grows and grows is tried seldom."""

MAX_INPUT_BYTES = 64 * 1024
"""Longer inputs are cut: what is slow shows well before."""

SLOW = 0.5
"""Seconds of processor time after which one input counts as a failure. The event loop must not be held up longer."""

MAX_FAILURES = 5
"""A target that fails in as many ways has said enough."""

Rnd = Callable[[], float]
Mutate = Callable[[Rnd, list[Any]], Any]


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        run: parses the input and checks what must hold of the result; what it returns tells outcomes apart.
        seeds: makes the good inputs.
        allowed: the only exceptions that ``run`` may raise.
        values: inputs are JSON values instead of bytes.
        tokens: pieces that mean something to the parser; for values, keys and scalars.
        mutate: a way of changing inputs that knows their structure; used half of the time.
        cost: seconds that one input may take when it is long; see SLOW.
    """

    name: str
    run: Callable[[Any], Hashable]
    seeds: Callable[[], Sequence[Any]]
    allowed: tuple[type[Exception], ...] = ()
    values: bool = False
    tokens: Sequence[Any] = ()
    mutate: Mutate | None = None
    cost: float = SLOW


@dataclass
class Tally:
    """What came of one or several runs of a target."""

    runs: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    signatures: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.runs += other.runs
        self.seconds += other.seconds
        self.outcomes.update(other.outcomes)
        self.signatures = max(self.signatures, other.signatures)
        self.failures += other.failures


# Inputs as text, to report and to replay


def render_input(data: Any) -> str:
    """``data`` as one line: hex for bytes, JSON for values."""
    if isinstance(data, bytes | bytearray):
        return bytes(data).hex()
    try:
        return json.dumps(data)
    except RecursionError:
        return "too deep to show" + " " * MAX_KEPT_CHARS  # too long to be kept, too


def read_input(target: Target, text: str) -> Any:
    """The reverse of :func:`render_input`."""
    return json.loads(text) if target.values else bytes.fromhex(text)


# Changing bytes


EDGES = bytes((0, 1, 2, 3, 4, 15, 16, 22, 31, 32, 63, 64, 127, 128, 129, 253, 254, 255))


def mutate_bytes(rnd: Rnd, data: bytearray, pool: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    """Change ``data`` in one to eight places."""
    for _ in range(1 << int(rnd() * 4)):
        _BYTE_CHANGES[int(rnd() * len(_BYTE_CHANGES))](rnd, data, pool, tokens)


def _flip(rnd: Rnd, data: bytearray, pool: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    if data:
        data[int(rnd() * len(data))] ^= 1 << int(rnd() * 8)


def _edge(rnd: Rnd, data: bytearray, pool: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    if data:
        data[int(rnd() * len(data))] = EDGES[int(rnd() * len(EDGES))]


def _nudge(rnd: Rnd, data: bytearray, pool: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    """Lengths that are off by a little are the classic."""
    if data:
        at = int(rnd() * len(data))
        data[at] = (data[at] + int(rnd() * 9) - 4) & 255


def _any(rnd: Rnd, data: bytearray, pool: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    if data:
        data[int(rnd() * len(data))] = int(rnd() * 256)


def _insert(rnd: Rnd, data: bytearray, pool: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    at = int(rnd() * (len(data) + 1))
    data[at:at] = bytes((int(rnd() * 256),)) * (1 << int(rnd() * 4))


def _delete(rnd: Rnd, data: bytearray, pool: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    at = int(rnd() * (len(data) + 1))
    del data[at : at + (1 << int(rnd() * 6))]


def _repeat(rnd: Rnd, data: bytearray, pool: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    at = int(rnd() * (len(data) + 1))
    piece = data[at : at + (1 << int(rnd() * 8))]
    data[at:at] = piece * (1 << int(rnd() * rnd() * 10))


def _splice(rnd: Rnd, data: bytearray, pool: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    other = pool[int(rnd() * len(pool))]
    at, start = int(rnd() * (len(data) + 1)), int(rnd() * (len(other) + 1))
    length = 1 << int(rnd() * 8)
    data[at : at + (length if rnd() < 0.5 else 0)] = other[start : start + length]


def _token(rnd: Rnd, data: bytearray, pool: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    if tokens:
        token = tokens[int(rnd() * len(tokens))]
        at = int(rnd() * (len(data) + 1))
        data[at : at + (len(token) if rnd() < 0.5 else 0)] = token


def _truncate(rnd: Rnd, data: bytearray, pool: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    if rnd() < 0.2:
        del data[int(rnd() * (len(data) + 1)) :]


_BYTE_CHANGES = (_flip, _edge, _edge, _nudge, _nudge, _any, _insert, _delete, _repeat, _splice, _token, _truncate)


# Changing JSON values


SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 0.5, -0.0, 1e15, 2**31, 2**53, 2**53 + 1, -(2**63), 10**30, 1e308),
    *(math.inf, math.nan, "", "a", ".", "..", "a.b", "a.b(c)", ")", "localhost:1", "[::1]:1", ":", "*", "_"),
    *("\0", "\ud800", "ß", "\U0001f600", "x" * 300, [], {}, [[]], [{}], {"": None}, {"_": 1}),
)


def mutate_value(rnd: Rnd, value: Any, pool: Sequence[Any], tokens: Sequence[Any]) -> Any:
    """A copy of ``value`` that is different in one place (what is the same is shared)."""
    if isinstance(value, dict) and value and rnd() < 0.9:
        return _changed_object(rnd, value, pool, tokens)
    if isinstance(value, list) and value and rnd() < 0.9:
        return _changed_list(rnd, value, pool, tokens)
    choice = rnd()
    if isinstance(value, str) and choice < 0.5:
        return _changed_text(rnd, value)
    if choice < 0.6 and tokens:
        return tokens[int(rnd() * len(tokens))]
    if choice < 0.65:
        return [value] if rnd() < 0.5 else {"_": value}
    if choice < 0.7:
        return _nested(value, int(rnd() * 120), rnd() < 0.5)
    if choice < 0.75:
        return pool[int(rnd() * len(pool))]
    return SCALARS[int(rnd() * len(SCALARS))]


def _nested(value: Any, depth: int, lists: bool) -> Any:
    for _ in range(depth):
        value = [value] if lists else {"a": value}
    return value


def _changed_object(rnd: Rnd, value: dict[str, Any], pool: Sequence[Any], tokens: Sequence[Any]) -> dict[str, Any]:
    new = dict(value)
    key = list(value)[int(rnd() * len(value))]
    choice = rnd()
    if choice < 0.75:
        new[key] = mutate_value(rnd, value[key], pool, tokens)
    elif choice < 0.85:
        del new[key]
    else:
        names = [token for token in tokens if isinstance(token, str)] or ["_", "", "name"]
        new[names[int(rnd() * len(names))]] = value[key]
    return new


def _changed_list(rnd: Rnd, value: list[Any], pool: Sequence[Any], tokens: Sequence[Any]) -> list[Any]:
    at = int(rnd() * len(value))
    choice = rnd()
    if choice < 0.75:
        return [*value[:at], mutate_value(rnd, value[at], pool, tokens), *value[at + 1 :]]
    if choice < 0.85:
        return [*value[:at], *value[at + 1 :]]
    return [*value[:at], value[at], *value[at:]]


def _changed_text(rnd: Rnd, text: str) -> str:
    changed = list(text)
    at = int(rnd() * (len(changed) + 1))
    special = "\0\n .:/()[]@%+=-_eE0\u0130\ud800\U0001f600\u202eT9Z"
    changed[at : at + int(rnd() * 3)] = [special[int(rnd() * len(special))] for _ in range(int(rnd() * 3))]
    return "".join(changed)


# Running


class Fuzzer:
    """Runs one target from one seed number."""

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.rng = Random(f"{target.name} {seed}")
        self.pool = list(target.seeds())
        self.known: set[Hashable] = set()
        self.tally = Tally()

    def go(self, runs: int, seconds: float) -> Tally:
        """Run until ``runs`` inputs are done or ``seconds`` are over, seeds first."""
        start = time.monotonic()
        for seed in list(self.pool):
            self.one(seed)
        while self.tally.runs < runs and len(self.tally.failures) < MAX_FAILURES:
            if self.tally.runs & 63 == 0 and time.monotonic() - start > seconds:
                break
            self.one(self.next_input())
        self.tally.seconds = time.monotonic() - start
        self.tally.signatures = len(self.known)
        return self.tally

    def next_input(self) -> Any:
        """A change to something good."""
        try:
            return self.changed()
        except RecursionError:  # JSON that has grown deeper than Python's own functions go
            return self.pool[0]

    def changed(self) -> Any:
        rnd, pool, target = self.rng.random, self.pool, self.target
        if target.mutate is not None and rnd() < 0.5:
            return target.mutate(rnd, pool)
        # Half of the time something that the pool has learned lately.
        recent = 32 if rnd() < 0.5 else len(pool)
        base = pool[-1 - int(rnd() * min(recent, len(pool)))]
        if target.values:
            for _ in range(1 << int(rnd() * 3)):
                base = mutate_value(rnd, base, pool, target.tokens)
            return base
        data = bytearray(base)
        mutate_bytes(rnd, data, pool, target.tokens)
        return bytes(data[:MAX_INPUT_BYTES])

    def one(self, data: Any) -> None:
        """Run one input and take note of what happened."""
        target, tally = self.target, self.tally
        tally.runs += 1
        begun = time.perf_counter()
        try:
            signature = target.run(data)
            tally.outcomes["accepted"] += 1
        except target.allowed as error:
            signature = _place(error)
            tally.outcomes[type(error).__name__] += 1
        except Exception as error:
            self.fail(data, _place(error), "".join(traceback.format_exception(error, limit=-3, chain=False)))
            return
        if time.perf_counter() - begun > target.cost:
            self.check_slow(data)
        if signature not in self.known:
            self.known.add(signature)
            if len(self.pool) < MAX_POOL and len(render_input(data)) <= MAX_KEPT_CHARS:
                self.pool.append(data)

    def check_slow(self, data: Any) -> None:
        """It may have been the machine: the better of two more tries counts, in processor time."""
        spent = min(self.time(data), self.time(data))
        if spent > self.target.cost:
            self.fail(data, "slow", f"takes {spent:.1f} s, more than {self.target.cost} s")

    def time(self, data: Any) -> float:
        begun = time.process_time()
        try:
            self.target.run(data)
        except self.target.allowed:
            pass
        return time.process_time() - begun

    def fail(self, data: Any, place: Hashable, why: str) -> None:
        """Keep one failure of each kind: the first."""
        self.tally.outcomes["FAILED"] += 1
        if place not in self.known:
            self.known.add(place)
            self.tally.failures.append(
                f"{self.target.name}: {why.rstrip()}\n  input: {render_input(data)[:MAX_SHOWN_CHARS]}"
            )


def _place(error: BaseException) -> Hashable:
    """Where an exception was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (type(error), trace.tb_frame.f_code, trace.tb_lineno) if trace is not None else type(error)
