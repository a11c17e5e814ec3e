"""``eps ping``: whether an operator is reached from here, which way, and how fast; through our own running server."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from eps.core.message import Error, Response
from eps.core.names import Object, Operator
from eps.core.told import error_response
from eps.core.ways import way_between
from eps.errors import EpsError, Side, Stage
from eps.programs.diagnosis.explain import LABELS, way_text
from eps.programs.diagnosis.known import Known
from eps.programs.diagnosis.paper import Paper

NOT_TOLD = "reached; version not told"

Ask = Callable[[], Awaitable[Response]]
"""One ping; raises EpsError where our own server does not answer."""


@dataclass(frozen=True, slots=True)
class Pinged:
    """What came of it.

    Attributes:
        path: the way in words.
        asked: how often it was to be asked.
        version: what answers there; "" where it doesn't say.
        seconds: of each answer, in order.
        error: why it ended early.
    """

    peer: str
    path: str
    asked: int
    version: str
    seconds: tuple[float, ...]
    error: Error | None = None

    def to_json(self) -> Object:
        """For ``--json``; times in seconds."""
        times = dict(zip(("min", "median", "max"), spread(self.seconds), strict=True)) if self.seconds else None
        error = self.error and {"code": self.error.code, "message": self.error.message, "data": self.error.data}
        return {
            "peer": self.peer,
            "path": self.path,
            "asked": self.asked,
            "answered": len(self.seconds),
            "version": self.version or None,
            "seconds": times,
            "error": error,
        }


def path_of(known: Known | None, own: str, peer: str) -> str:
    """The way to ``peer`` in words, as the directory has it."""
    if known is None:
        return "not known here: there is no verified copy of the directory; the server has its own"
    return way_text(way_between(known.directory, Operator(own), Operator(peer)), own, peer)


async def ping(peer: str, path: str, times: int, ask: Ask) -> Pinged:
    """Ask ``times`` times, one after the other; the first failure is the end."""
    version = ""
    seconds: list[float] = []
    for _ in range(times):
        began = time.monotonic()
        try:
            response = await ask()
        except EpsError as failure:
            response = error_response("", failure)
        if response.error is not None and not is_refusal(response.error):
            return Pinged(peer, path, times, version, tuple(seconds), response.error)
        seconds.append(time.monotonic() - began)
        version = version or version_in(response.result)
    return Pinged(peer, path, times, version, tuple(seconds))


def is_refusal(error: Error) -> bool:
    """Whether the peer itself says that we may not ask it this: so it is reached."""
    data = error.data if isinstance(error.data, dict) else {}
    return data.get("stage") == Stage.PERMISSION and data.get("side") == Side.PEER


def version_in(result: Any) -> str:
    """What answers; "" where the answer has none: servers in use say nothing over a stream (PROTOCOL.md section 9)."""
    version = result.get("version") if isinstance(result, dict) else None
    return version[:40] if isinstance(version, str) and version.isprintable() else ""


def spread(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Minimum, median, maximum."""
    return min(seconds), median(seconds), max(seconds)


def rendered(found: Pinged, paper: Paper) -> str:
    """The three lines."""
    if not found.seconds:
        reached, times = "not reached", "none answered"
    else:
        reached = found.version or NOT_TOLD
        least, middle, most = (f"{value * 1000:.1f}" for value in spread(found.seconds))
        times = f"{len(found.seconds)} of {found.asked} answered; min {least} ms, median {middle} ms, max {most} ms"
    style = () if len(found.seconds) == found.asked else ("red",)
    return "\n".join(
        [
            paper.row("path", found.path, LABELS),
            paper.row("version", reached, LABELS, *(() if found.seconds else style)),
            paper.row("times", times, LABELS, *style),
        ]
    )
