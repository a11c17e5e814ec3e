"""Where the console scripts begin: from here on Ctrl-C is quiet, also while a program is still being loaded.

    script → entry → eps · sd · proxy → what the command needs → cli.guarded → interruptible: the work itself
                     └──── loaded, in some tenths of a second ────┘

Python's own way, an exception wherever the program happens to be, suits work, which has something to clear away. Amid
imports it would end in a traceback, or get lost in a callback that may not raise. So Ctrl-C ends the process at once,
but for where :func:`interruptible` says otherwise. Nothing is imported here that takes time.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

EXIT_INTERRUPTED = 130
"""Ended by Ctrl-C, as shells say it: 128 and the number of SIGINT."""


def eps() -> None:
    """The console script ``eps``."""
    _run("eps")


def sd() -> None:
    """The console script ``sd``."""
    _run("sd")


def proxy() -> None:
    """The console script ``proxy``."""
    _run("proxy")


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, Ctrl-C is a KeyboardInterrupt, or what the event loop makes of it."""
    if signal.getsignal(signal.SIGINT) is not leave:  # started otherwise: whoever did so has decided
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, leave)


def _run(program: str) -> None:
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where the starter had it ignored
            signal.signal(signal.SIGINT, leave)
        import_module(f"eps.programs.{program}").main()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def leave(number: int, frame: FrameType | None) -> None:
    """Handle Ctrl-C by ending at once, whatever was being loaded or destroyed."""
    os._exit(EXIT_INTERRUPTED)
