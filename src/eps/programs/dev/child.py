"""A program that ends with its starter, however that ends: ``python -m eps.programs.dev.child MODULE ARGUMENT…``.

    standard input: a pipe that the starter holds open and never writes to
    → its end, by close or by kill -9 → SIGTERM to ourselves → what is left after ``LAST_SECONDS`` is killed

The programs themselves know nothing of it: run by hand, they don't care what their standard input is. A thread waits
for the pipe's end, from before the program's first import on. (Linux' PR_SET_PDEATHSIG would have to be set between
fork and exec, where a process with threads may do next to nothing, and means the end of the thread that forked.)
"""

import os
import runpy
import signal
import sys
import threading
import time

LAST_SECONDS = 3.0
"""From SIGTERM to SIGKILL: servers that nobody calls end in a fraction of it."""


def main() -> None:
    """Run the module that the command line names, as ``python -m`` would, with an empty standard input."""
    pipe = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    # The thread inherits that it takes no signals: one that the program has blocked must not reach it by way of us.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    threading.Thread(target=_end_with, args=(pipe,), name="end with the starter", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with(pipe: int) -> None:
    """Wait for the end of ``pipe``, then end this process."""
    try:
        while os.read(pipe, 1024):
            pass
    except OSError:  # the other end is gone all the same
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
