"""The connections that the blocking client keeps: the last one that became free is used first."""

import os
import threading
import time
from collections.abc import Callable

from eps.client.connection import Connection
from eps.client.failures import too_late
from eps.client.requests import Call

MAX_CONNECTIONS = 64
"""At once; further calls wait for one to become free. A thread each is far more than one process gains from."""

Dial = Callable[[], Connection]


class Pool:
    """Thread-safe. After ``fork`` the child begins with none: on one connection two processes would mix up calls."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._condition = threading.Condition()
        self._idle: list[Connection] = []
        self._open = 0
        self._closed = False

    def take(self, dial: Dial, context: object, call: Call, until: float) -> Connection:
        """One that is free and was made with ``context``, or a new one.

        Args:
            until: the deadline, by ``time.monotonic``.

        Raises:
            Unreachable: none became free, or none came about.
            RuntimeError: the client is closed.
        """
        self._look_at_process()
        found = self._free(context, call, until)
        if found is not None:
            return found
        try:
            return dial()
        except BaseException:
            self._gone()
            raise

    def give_back(self, connection: Connection) -> None:
        """For the next call, if it may be used again."""
        if self._pid != os.getpid():
            connection.close()
            return
        with self._condition:
            ended = [one for one in self._idle if one.is_stale]
            self._idle = [one for one in self._idle if one not in ended]
            if connection.keep > 0 and not self._closed:
                self._idle.append(connection)
            else:
                ended.append(connection)
            self._open -= len(ended)
            self._condition.notify()
        for one in ended:
            one.close()

    def close(self) -> None:
        """End those that are free; those in use end with their call."""
        self._look_at_process()
        with self._condition:
            self._closed = True
            idle, self._idle = self._idle, []
            self._open -= len(idle)
            self._condition.notify_all()
        for connection in idle:
            connection.close()

    def _free(self, context: object, call: Call, until: float) -> Connection | None:
        """A kept one; None: there is room for a new one, which is counted."""
        while True:
            with self._condition:
                while not self._idle and self._open >= MAX_CONNECTIONS and not self._closed:
                    if not self._condition.wait(max(until - time.monotonic(), 0.0)):
                        raise too_late(call, sent=False)
                if self._closed:
                    raise RuntimeError("this client is closed")
                if not self._idle:
                    self._open += 1
                    return None
                connection = self._idle.pop()
            if connection.context is context and connection.is_usable:
                return connection
            connection.close()
            self._gone()

    def _gone(self) -> None:
        with self._condition:
            self._open -= 1
            self._condition.notify()

    def _look_at_process(self) -> None:
        """Forget, in a child, what its parent goes on using: to close copies of its sockets says nothing to anybody."""
        if self._pid == os.getpid():
            return
        idle, was_closed = self._idle, self._closed
        self._begin()
        self._closed = was_closed
        for connection in idle:
            connection.close()
