"""The program ``proxy``, otherwise than this machine and user would run it. Environment variables:

COPY_BYTES   as on a system without splice: every byte passes through this process, in copies of so many bytes; 0 stands
             for the size of the program's own fallback
RUN_AS       the number of the user who runs it, e.g. that of nobody: pipes are limited for all but root
"""

import codecs
import importlib
import os
import pkgutil
import sys

import eps
from eps.programs.proxy import main
from eps.transport import pipes


def become(user: int) -> None:
    """Give up all privileges. The user may have no right to read the interpreter's files: so load all before."""
    for module in pkgutil.walk_packages(eps.__path__, "eps."):
        if not module.name.endswith("__main__"):  # which would run
            importlib.import_module(module.name)
    for name in ("idna", "utf-8-sig", "latin-1", "ascii"):
        codecs.lookup(name)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


if __name__ == "__main__":
    if "COPY_BYTES" in os.environ:
        pipes.splice_works = lambda: False  # type: ignore[assignment]  # what best_carrier asks
        pipes.COPY_BYTES = int(os.environ["COPY_BYTES"]) or pipes.COPY_BYTES
    if "RUN_AS" in os.environ:
        become(int(os.environ["RUN_AS"]))
    sys.exit(main())
