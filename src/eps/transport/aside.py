"""Long computations beside the event loop: large messages are decoded and encoded in one thread of the process.

Theory of operation. Four megabytes may hold a million values, for which Python takes a second. Python's lock changes
hands every few ms (in our programs every one: ``programs/running/runtime.py``), so the loop goes on in turns with the
thread. There is one thread, not several: the loop would get its turn behind each of them. What works there must not
keep that lock for long itself: a C function that parses 4 MB in one go would hold up the loop as if it ran there.

What is short stays on the loop: handing it over costs some 50 to 100 µs.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, Protocol, TypeVar

from eps.core.json_pieces import PIECE_VALUES, has_few
from eps.transport.memory import large_values_come

P = ParamSpec("P")
T = TypeVar("T")

LARGE_BYTES = 64 * 1024
"""Encoded values of which more bytes are read beside the loop. Reading takes at most some 0.12 µs for each byte, 8 ms
for so many; mostly a tenth of that."""

_thread = ThreadPoolExecutor(1, thread_name_prefix="eps-aside")


async def aside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``function`` returns or raises; it runs in the thread, behind those that came before.

    Who is cancelled waits no longer; a function that has begun runs to its end.
    """
    large_values_come()
    try:
        return await asyncio.get_running_loop().run_in_executor(_thread, lambda: function(*args, **kwargs))
    finally:
        large_values_come()


def behind(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Have ``function`` called in the thread, behind what came before; nobody waits for it. It must not fail."""
    _thread.submit(function, *args, **kwargs)


class Render(Protocol):
    """Writes a message, if so told in pieces, between which other threads go on."""

    def __call__(self, *, in_pieces: bool) -> bytes: ...


async def written(render: Render, value: Any) -> bytes:
    """What ``render`` writes; beside the event loop and in pieces, where the ``value`` in it holds much."""
    if has_few(value, PIECE_VALUES):
        return render(in_pieces=False)
    return await aside(render, in_pieces=True)
