"""The dialling side of ``ServerCall``: announce, answer one request at a time in order, reopen (sections 3, 9)."""

import queue
import threading
from collections.abc import Callable

import grpc
from support.foreign import messages
from support.foreign.habits import Habits
from support.foreign.messages import Request, Response


class StreamHolder:
    """Keeps one ``ServerCall`` stream to ``operator`` open, in a thread of its own.

    Args:
        open_channel: a new channel to the operator.
        answer: the answer to a request of the operator; called one request at a time.

    Attributes:
        opened: how many streams were opened.
        endings: the status with which each ended.
        spun: a stream ended with status OK; those in use then spin and never come back.
        received: the requests, in order.
    """

    def __init__(
        self,
        name: str,
        operator: str,
        open_channel: Callable[[str], grpc.Channel],
        answer: Callable[[str, Request], Response],
        habits: Habits,
    ) -> None:
        self._name, self.operator, self._open_channel = name, operator, open_channel
        self._answer, self._habits = answer, habits
        self.opened = 0
        self.endings: list[grpc.StatusCode] = []
        self.received: list[Request] = []
        self.spun = False
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._call: grpc.Call | None = None
        self._thread = threading.Thread(target=self._run, name=f"stream {name} to {operator}")
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            code = self._hold()
            with self._changed:
                self.endings.append(code)
                self.spun = self.spun or code is grpc.StatusCode.OK
                self._changed.notify_all()
            if code is grpc.StatusCode.OK and self._habits.spins_after_ok:
                return
            self._closing.wait(self._habits.reopen_after)

    def _hold(self) -> grpc.StatusCode:
        """One stream, from the announcement to its end."""
        outgoing: queue.SimpleQueue[Response | None] = queue.SimpleQueue()
        outgoing.put(Response("1", {"name": self._name}))
        channel = self._open_channel(self.operator)
        try:
            path = f"/{self._habits.grpc_service}/ServerCall"
            method = channel.stream_stream(path, messages.encode_response, messages.decode_request)
            with self._changed:
                if self._closing.is_set():
                    return grpc.StatusCode.CANCELLED
                self._call = method(iter(outgoing.get, None))
                self.opened += 1
                self._changed.notify_all()
            return self._follow(self._call, outgoing)
        finally:
            outgoing.put(None)  # ends the C core's thread that reads from it
            channel.close()

    def _follow(self, call: grpc.Call, outgoing: "queue.SimpleQueue[Response | None]") -> grpc.StatusCode:
        try:
            for request in call:
                self.received.append(request)
                outgoing.put(self._answer(self.operator, request))
        except grpc.RpcError:
            pass
        code: grpc.StatusCode = call.code()
        return code

    def wait_ended(self, count: int, timeout: float = 10.0) -> bool:
        """Wait until ``count`` streams have ended."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.endings) >= count, timeout)

    def wait_opened(self, count: int, timeout: float = 10.0) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.opened >= count, timeout)

    def break_off(self) -> None:
        """Cancel the open stream, whatever it is doing; it is opened again like after any other end."""
        with self._changed:
            call = self._call
        if call is not None:
            call.cancel()

    def close(self) -> None:
        with self._changed:
            self._closing.set()
        self.break_off()
        self._thread.join()
