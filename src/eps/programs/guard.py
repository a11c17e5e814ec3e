"""How the work of any command ends: an exit code, and for an expected failure one clear message, never a traceback."""

import errno
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress

from eps.datastores.local import NO_ROOM
from eps.errors import EpsError
from eps.programs.entry import EXIT_INTERRUPTED, interruptible
from eps.programs.running.runtime import EXIT_FAILED, fail

NO_ROOM_FOR_OUTPUT = NO_ROOM | {errno.EFBIG, errno.EIO}
"""Where much is printed, a full disk is met amid the work. What a command does with other files tells its failures as
an EpsError, with the file's name."""


def exit_code_of(work: Callable[[], int | None]) -> int:
    """Do a command's work; the exit code with which to leave."""
    if not sys.warnoptions:  # what libraries advise programmers, about certificates of others say, is not for users
        warnings.filterwarnings("ignore", category=UserWarning, module=r"eps\.")
    try:
        with interruptible():
            return work() or _flushed()
    except EpsError as error:
        return fail(error)
    except BrokenPipeError:
        # Whoever read our output has enough (head, less). Python would complain once more at exit.
        sys.stderr.close()
        return EXIT_FAILED
    except OSError as error:
        if error.errno not in NO_ROOM_FOR_OUTPUT:
            raise
        return _not_written(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _flushed() -> int:
    """0 if what was printed has reached its file or pipe: a script must not take half a result for a whole one."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        return _not_written(error)
    return 0


def _not_written(error: OSError) -> int:
    print(f"error: the output can't be written: {error.strerror}", file=sys.stderr)
    with suppress(OSError):  # what is left of it, or Python would try once more at exit, and complain
        sys.stdout.close()
    return EXIT_FAILED
