"""How long tunnels through a proxy live: what is suspected, and what was learned. Pure: ages come in as numbers.

Theory of operation. Proxies in use cut every joined connection 5 s after they accepted it, also while data flows
(PROTOCOL.md section 9), and a call in flight then ends with an unknown outcome. So a tunnel is judged by its age:

    the proxy has        a tunnel is FIT     it is AGEING: the next is made    it is SPENT: new calls take the next
    shown nothing        else                at 4.0 to 4.5 s                   at 4.5 to 5.5 s
    cut two at age T     until T - 1.5 s     until T - 1 s                     from T - 1 s on
    let one live 6 s     always              never                             never

One cut teaches nothing: a peer that crashed and a proxy that was restarted end tunnels too, each at some age. Two at
nearly the same age, one after the other, are a habit; cuts at the same moment are one, since a restart ends all tunnels
at once. (``channels.lessons`` tells what is a cut: whoever was cut off finds the way open right behind it.)

A lesson may be wrong all the same, so a tunnel that was set aside is left open until it has proved something: one that
outlives the lesson wipes it out, one that lives for 6 s shows that its proxy lets tunnels live. A wrong lesson so costs
one more brokering, a right one saves a call each time.

An age counts from the moment at which the proxy was asked: it accepts the first of the two connections soon after
that, and cuts both when that one's time is up.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
"""Seconds by which a tunnel must outlive the lesson to disprove it, and by which two cuts of one habit may differ:
dialling and scheduling vary by less."""

SAME_MOMENT = 1.0
"""Seconds within which all cuts of one proxy are one event: a program's end reaches its peers within less."""

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


@dataclass(frozen=True, slots=True)
class Cut:
    """A tunnel was ended, neither by us nor with a goodbye.

    Attributes:
        age: seconds that the tunnel had lived.
        at: when, on the clock that is passed in everywhere.
    """

    age: float
    at: float


class Lifetimes:
    """What is known of each proxy: the age at which it cuts tunnels, infinite for one that does not."""

    def __init__(self) -> None:
        self._known: Recent[str, float] = Recent(MAX_PROXIES)
        self._last_cuts: Recent[str, Cut] = Recent(MAX_PROXIES)

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

    def doubtful_until(self, proxy: str) -> float:
        """The age behind which a tunnel that is SPENT, and still lives, may be used again."""
        lifetime = self._known.get(proxy)
        return SUSPECTED + SUSPECTED_MARGIN if lifetime is None else lifetime + TOLERANCE

    def cut(self, proxy: str, cut: Cut) -> bool:
        """One more tunnel was cut; whether something was learned from it."""
        if not SHORTEST <= cut.age <= LONGEST:
            return False
        before = self._last_cuts.get(proxy)
        if before is not None and abs(cut.at - before.at) < SAME_MOMENT:
            return False
        self._last_cuts.put(proxy, cut)
        if before is None or abs(before.age - cut.age) > TOLERANCE:
            return False
        known, age = self._known.get(proxy), min(before.age, cut.age)
        self._known.put(proxy, age)
        return known is None or abs(known - age) > NEWS

    def outlived(self, proxy: str, age: float) -> bool:
        """A tunnel was seen alive at ``age`` seconds; whether that was news."""
        last = self._last_cuts.get(proxy)
        if last is not None and age >= last.age + TOLERANCE:
            self._last_cuts.drop(proxy)
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
            elif isinstance(age, int | float) and not isinstance(age, bool) and SHORTEST <= age <= LONGEST:
                self._known.put(proxy, float(age))
