"""Where the console scripts begin: from here on Ctrl-C and SIGTERM end a program, also while it is still being loaded.

    script → entry → direct, serving · eps, sd, proxy → what the command needs → guard → interruptible: the work itself
                     └──────── loaded, in some tenths of a second ───────┘

Python's own way, an exception wherever the program happens to be, suits work, which has something to clear away. Amid
imports it would end in a traceback, or get lost in a callback that may not raise. So Ctrl-C ends the process at once,
but for where :func:`interruptible` says otherwise. SIGTERM does so until a server heeds it (``running.runtime``), as by
default; but the default is not there for process 1, a container's: the kernel spares it all signals that it has no
handler for. Nothing is imported here that takes time.
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

_UNTOUCHED = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""What Python has in place, unless the starter wants a signal ignored."""


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
        for number, handler in _UNTOUCHED.items():
            if signal.getsignal(number) == handler:
                signal.signal(number, leave)
        from eps.programs.direct import read_command  # here: from now on signals are heeded

        command = read_command(program, sys.argv[1:])
        if command is not None:
            kind, options, take_over = command
            sys.exit(import_module("eps.programs.serving").serve(kind, options, take_over=take_over))
        import_module(f"eps.programs.{program}").main()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def leave(number: int, frame: FrameType | None) -> None:
    """Handle a signal by ending at once, whatever was being loaded or destroyed."""
    if number == signal.SIGTERM:
        # Died of it, as without us: systemd calls that a clean end, which no exit code but 0 is, and shells say 143.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(128 + number)  # SIGTERM gets here in process 1 only, which is spared it again
