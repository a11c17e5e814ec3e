"""How long tunnels through a proxy live, learned from those that were cut. Pure: ages come in as numbers.

Theory of operation. Proxies in use cut every joined connection a constant time after they accepted it, also while data
flows (PROTOCOL.md section 9), and a call in flight then ends with an unknown outcome. A cut teaches its age, and from
then on a tunnel takes no new calls during the last second of it. The lesson may be wrong (a proxy that was restarted
cuts its tunnels too), so a tunnel that was set aside is left open until it would have been cut: if it outlives the
lesson, the lesson is wiped out. A wrong lesson so costs one more brokering, a right one saves a call each time.
"""

TOLERANCE = 0.6
"""Seconds by which a tunnel must outlive the lesson to disprove it: dialling and scheduling vary by less."""

MARGIN = 1.0
"""Seconds before the expected cut in which no new call is begun."""

SHORTEST = 1.5
"""Seconds. Connections that die younger are failures, not habits; and MARGIN must leave some use of a tunnel."""

LONGEST = 3600.0
"""Seconds. What lives longer than an hour needs no lesson."""


class Lifetimes:
    """The lessons, one for each proxy."""

    def __init__(self) -> None:
        self._learned: dict[str, float] = {}

    def is_near_end(self, proxy: str, age: float) -> bool:
        """Whether a tunnel of ``age`` seconds may be cut while a call that begins now runs on it."""
        lifetime = self._learned.get(proxy)
        return lifetime is not None and age >= lifetime - MARGIN

    def proof_age(self, proxy: str) -> float | None:
        """The age at which a tunnel that still lives disproves the lesson; None if there is none."""
        lifetime = self._learned.get(proxy)
        return None if lifetime is None else lifetime + TOLERANCE

    def cut(self, proxy: str, age: float) -> None:
        """A tunnel was ended at ``age`` seconds, not by us."""
        if SHORTEST <= age <= LONGEST:
            self._learned[proxy] = age

    def outlived(self, proxy: str, age: float) -> None:
        """A tunnel was seen alive at ``age`` seconds."""
        proof = self.proof_age(proxy)
        if proof is not None and age >= proof:
            del self._learned[proxy]
