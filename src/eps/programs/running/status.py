"""What a running server tells of itself at its control socket."""

import os
import time
from collections.abc import Callable

from eps import __version__
from eps.core.names import Object
from eps.programs.running.control import Session

STATUS = "status"
"""The command."""

STATUS_SECONDS = 3.0
"""For the answer: a server that takes longer hangs."""

MAX_STREAMS = 100
"""That are told: they have to fit into a packet, and an operator mostly holds one or two."""

MAX_TEXT = 150
"""Bytes of why there is none, and of what to do: a hundred of them fit into a packet."""


class Status:
    """A ``control.Handler``.

    Args:
        of_server: its name, what it listens at, its streams.
    """

    def __init__(self, of_server: Callable[[], Object]) -> None:
        self._of_server = of_server
        self._began = time.monotonic()

    async def __call__(self, session: Session, _: Object) -> None:
        session.send(
            {
                "version": __version__,
                "pid": os.getpid(),
                "seconds": round(time.monotonic() - self._began, 1),
                **self._of_server(),
            }
        )
