"""How long tunnels through a proxy live: what is suspected, and what was learned. Pure: ages come in as numbers.

Theory of operation. Proxies in use cut every joined connection 5 s after they accepted it, also while data flows
(PROTOCOL.md section 9), and a call in flight then ends with an unknown outcome. So a tunnel is judged by its age:

    the proxy has      a tunnel is FIT     it is AGEING: the next is made    it is SPENT: new calls take the next
    shown nothing      else                at 4.0 to 4.5 s                   at 4.5 to 5.5 s
    cut one at age T   until T - 1.5 s     until T - 1 s                     from T - 1 s on
    let one live 6 s   always              never                             never

A cut teaches its age. The lesson may be wrong (a proxy that was restarted cuts its tunnels too), so a tunnel that was
set aside is left open until it has proved something: one that outlives the lesson wipes it out, one that lives for 6 s
shows that its proxy lets tunnels live. A wrong lesson so costs one more brokering, a right one saves a call each time.

An age counts from the moment at which the proxy was asked: it accepts the first of the two connections soon after
that, and cuts both when that one's time is up.
"""

import math
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from eps.core.names import Object
from eps.core.recent import Recent

SUSPECTED = 5.0
"""Seconds after which proxies in use cut a joined connection (PROTOCOL.md section 9)."""

SUSPECTED_MARGIN = 0.5
"""Seconds before and behind that age in which a proxy that has shown nothing is not trusted with new calls."""

ENDURED = 6.0
"""Seconds after which a tunnel that still lives shows that its proxy has not that habit."""

TOLERANCE = 0.6
"""Seconds by which a tunnel must outlive the lesson to disprove it: dialling and scheduling vary by less."""

MARGIN = 1.0
"""Seconds before the expected cut in which no new call is begun."""

LEAD = 0.5
"""Seconds before a tunnel is spent in which the next one is made: brokering takes some 10 ms, on slow ways some 100."""

SHORTEST = 1.5
"""Seconds. Connections that die younger are failures, not habits; and MARGIN must leave some use of a tunnel."""

LONGEST = 3600.0
"""Seconds. What lives longer than an hour needs no lesson."""

NEWS = 0.25
"""Seconds by which a cut must differ from the last one to be worth writing down: less is chance."""

MAX_PROXIES = 1_000
"""Of which something is remembered: far more than an operator's peers have."""


class Fitness(Enum):
    """What a tunnel is good for."""

    FIT = auto()
    AGEING = auto()
    SPENT = auto()


class Lifetimes:
    """What is known of each proxy: the age at which it cuts tunnels, infinite for one that does not."""

    def __init__(self) -> None:
        self._known: Recent[str, float] = Recent(MAX_PROXIES)

    def judge(self, proxy: str, age: float) -> Fitness:
        """What a tunnel of ``age`` seconds is good for."""
        lifetime = self._known.get(proxy)
        if lifetime is None:
            spent, fit_again = SUSPECTED - SUSPECTED_MARGIN, SUSPECTED + SUSPECTED_MARGIN
        else:
            spent, fit_again = lifetime - MARGIN, math.inf
        if age < spent - min(LEAD, spent / 2) or age >= fit_again:
            return Fitness.FIT
        return Fitness.AGEING if age < spent else Fitness.SPENT

    def proof_age(self, proxy: str) -> float | None:
        """The age at which a tunnel that still lives proves something; None where nothing is open."""
        lifetime = self._known.get(proxy)
        if lifetime is None:
            return ENDURED
        return lifetime + TOLERANCE if math.isfinite(lifetime) else None

    def cut(self, proxy: str, age: float) -> bool:
        """A tunnel was ended at ``age`` seconds, not by us; whether that was news."""
        if not SHORTEST <= age <= LONGEST:
            return False
        before = self._known.get(proxy)
        self._known.put(proxy, age)
        return before is None or abs(before - age) > NEWS

    def outlived(self, proxy: str, age: float) -> bool:
        """A tunnel was seen alive at ``age`` seconds; whether that was news."""
        proof = self.proof_age(proxy)
        if proof is None or age < proof:
            return False
        self._known.drop(proxy)
        if age >= ENDURED:
            self._known.put(proxy, math.inf)
        return True

    def to_json(self) -> Object:
        """For :meth:`remember`: by proxy, the age at which it cuts, null for one that lets tunnels live."""
        return {proxy: age if math.isfinite(age) else None for proxy, age in self._known.items()}

    def remember(self, lessons: Mapping[str, Any]) -> None:
        """Take over what :meth:`to_json` gave in an earlier life; anything else in it is left out."""
        for proxy, age in lessons.items():
            if age is None:
                self._known.put(proxy, math.inf)
            elif isinstance(age, int | float) and not isinstance(age, bool):
                self.cut(proxy, float(age))
