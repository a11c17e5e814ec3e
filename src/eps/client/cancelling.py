"""Calls whose tasks were cancelled are cancelled at our EPS server, too: by a thread of its own, since the event loop
may be at its end just then."""

import threading
from contextlib import suppress

from eps.client.blocking import Client
from eps.client.endpoint import Endpoint
from eps.client.errors import CallError, SetupError
from eps.client.policy import Policy

METHOD = "_cancel"
"""See PROTOCOL.md section 10."""

SECONDS = 2.0
"""For one question to a server that is near, and for what is left when a client is closed."""

MAX_AT_ONCE = 1_000
"""In one question; PROTOCOL.md section 10."""

MAX_WAITING = 10_000
"""Of them that wait while the server is not reached; of further ones it learns nothing."""


class Cancelling:
    """Of one client."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._ids: list[str] = []
        self._thread: threading.Thread | None = None

    def add(self, call_id: str) -> None:
        """Have a call cancelled, soon; where that fails, it runs."""
        with self._lock:
            if len(self._ids) >= MAX_WAITING:
                return
            self._ids.append(call_id)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="eps client: cancel", daemon=True)
                with suppress(RuntimeError):  # the interpreter is at its end
                    thread.start()
                    self._thread = thread

    def wait(self) -> None:
        """Until all are told, or for a moment."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(SECONDS)

    def _run(self) -> None:
        with suppress(SetupError), Client(self._endpoint, policy=Policy(timeout=SECONDS, attempts=1)) as client:
            while ids := self._next():
                with suppress(CallError):
                    client.call(METHOD, {"id": ids})

    def _next(self) -> list[str]:
        """Those to be told next; none: this thread ends, and the next call makes another one."""
        with self._lock:
            ids, self._ids = self._ids[:MAX_AT_ONCE], self._ids[MAX_AT_ONCE:]
            if not ids:
                self._thread = None
            return ids
