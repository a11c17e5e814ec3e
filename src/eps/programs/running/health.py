"""Whether a process lives, and whether calls should be sent to it: for those who start, watch and balance programs
(Kubernetes' probes, load balancers, a unit's ``ExecCondition``). Pure.

    /livez    200 while the event loop turns and the log is written; else a restart helps
    /readyz   200 while calls can be served; 503 while it starts or stops, or lacks something that all calls need

What only some calls need, a stream to one proxy say, is told and decides nothing: else a proxy that is down would take
every server of its operators out of their load balancers. Nobody is asked for this: it is what the process knows
anyway, so that asking every second costs nothing.

It has operators' names and the words of ``eps.reasons``; never addresses, or what others say.
"""

from collections.abc import Sequence
from typing import NamedTuple

from eps.core.names import Object

LIVE, READY = "/livez", "/readyz"


class Part(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: of the part.
        why: why it is not well; "" where it is.
        is_needed: whether without it the answer is no.
    """

    name: str
    why: str = ""
    is_needed: bool = True

    @property
    def sign(self) -> str:
        """As Kubernetes' own programs show it, and ``!`` for what is not well and decides nothing."""
        return "+" if not self.why else "-" if self.is_needed else "!"


def is_well(parts: Sequence[Part]) -> bool:
    """Whether nothing that is needed is missing."""
    return not any(part.why and part.is_needed for part in parts)


def rendered(parts: Sequence[Part]) -> str:
    """A line for the answer, and one for each part."""
    lines = [f"[{part.sign}] {part.name}: {part.why or 'ok'}" for part in parts]
    return "\n".join(["ok" if is_well(parts) else "not ok", *lines, ""])


def to_json(parts: Sequence[Part]) -> Object:
    """The same for programs."""
    told = [{"name": part.name, "ok": not part.why, "why": part.why, "needed": part.is_needed} for part in parts]
    return {"ok": is_well(parts), "parts": told}
