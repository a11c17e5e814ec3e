"""One call from its beginning to its end, however often it is sent: what both clients do but for the sending."""

import random
import time
from dataclasses import replace
from secrets import token_hex
from typing import Any

from eps.client.answers import result_of
from eps.client.errors import CallError
from eps.client.failures import left_alone, too_late
from eps.client.models import adapter_of, converted, params_of
from eps.client.policy import DEFAULT_SECONDS, Policy, pause_before_next, told_of
from eps.client.requests import Call, body_of
from eps.client.telling import CallReport, OnCall, begin_trace, tell
from eps.core.told_seconds import render_timeout

LONGEST_SECONDS = 7 * 86_400.0
"""Of a call's deadline: who says infinite gets a week, which no system's clock call refuses."""


class Course:
    """Of one call.

    Args:
        policy: deadlines and repetitions.
        own: our operator, where that is known.
        timeout: seconds in all; None: the policy's.
        idempotent: twice is as good as once, so that it may be repeated after an unknown outcome.

    Attributes:
        call: as it is sent next.
        is_sent: whether what was sent last may have come to its end somewhere.
        until: its deadline, by ``time.monotonic``.
    """

    def __init__(self, method: str, policy: Policy, own: str, timeout: float | None, idempotent: bool) -> None:
        chosen = token_hex(40)
        trace_id, traceparent = begin_trace(chosen[:32], chosen[32:48])
        self.call = Call(method, {}, trace_id, traceparent, chosen[48:], own)
        self._began = time.monotonic()
        self.until = self._began + min(policy.timeout if timeout is None else timeout, LONGEST_SECONDS)
        self._tells = timeout is not None or policy.timeout != DEFAULT_SECONDS
        self._policy = policy
        self._idempotent = idempotent
        self._into: Any = None
        self._attempts = 0
        self.is_sent = False

    def next_body(self) -> bytes:
        """What the next attempt sends; raises BadCall if that can't be written, Unreachable behind the deadline."""
        self._attempts += 1
        self.is_sent = False
        if self.left() <= 0:
            raise too_late(self.call, sent=False)
        if self._attempts > 1:
            self.call = replace(self.call, id=token_hex(16))
        if self._tells:
            self.call = replace(self.call, timeout=render_timeout(told_of(self.left())))
        return body_of(self.call)

    def left(self) -> float:
        """Seconds until its deadline."""
        return self.until - time.monotonic()

    def connect_seconds(self) -> float:
        """For a new connection, from now on."""
        return max(min(self._policy.connect_timeout, self.left()), 0.001)

    def takes(self, params: object, into: Any) -> None:
        """What is called with, and the type that the result is to be of; None: JSON as it comes.

        Raises:
            BadCall: the params are none, or it is no type for that.
        """
        self.call = replace(self.call, params=params_of(params, self.call.method))
        self._into = adapter_of(into, self.call) if into is not None else None

    def value_of(self, status: int, body: bytes) -> Any:
        """What an answer brings; raises CallError."""
        result = result_of(status, body, self.call)
        return result if self._into is None else converted(result, self._into, self.call)

    def pause_after(self, error: CallError) -> float | None:
        """Seconds until the next attempt; None: the call has failed."""
        left, chance = self.left(), random.random()  # noqa: S311 - spreads callers, hides nothing
        policy, often = self._policy, self._attempts
        return pause_before_next(policy, error, often, left=left, idempotent=self._idempotent, chance=chance)

    def left_alone(self) -> CallError:
        """What is known of it where whoever called does not wait any more."""
        return left_alone(self.call, sent=self.is_sent)

    def ended(self, error: CallError | None, on_call: OnCall | None) -> None:
        """Tell of it, or of what is known where nobody waits for it any more."""
        seconds = time.monotonic() - self._began
        tell(CallReport(self.call.method, seconds, self._attempts, error, self.call.trace_id), on_call)
