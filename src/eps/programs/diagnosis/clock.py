"""Our clock, beside those of others. Named before any date is: a wrong clock makes good certificates expire. Pure."""

from collections.abc import Sequence

from eps.core.age import spoken
from eps.programs.diagnosis.finding import Finding, Mark, unknown, well
from eps.programs.diagnosis.probes import Reached
from eps.reasons import Reason

CLOCK = "clock"

MAX_OFF_SECONDS = 120.0
"""Between two clocks: half of what change records may be dated ahead; certificates that were just made are valid from
then on."""


def judge_clock(reached: Sequence[Reached]) -> list[Finding]:
    """Whether ours agrees with those that told their time."""
    told = [(one.target.who, one.ahead) for one in reached if one.ahead is not None]
    if not told:
        return [unknown(CLOCK, "not compared: nobody told the time", fix="compare it with another clock: date -u")]
    off = [(who, ahead) for who, ahead in told if abs(ahead) > MAX_OFF_SECONDS]
    if not off:
        return [well(CLOCK, f"agrees with {' and '.join(dict.fromkeys(who for who, _ in told))}")]
    return [_off(who, ahead, others=len(told) - len(off)) for who, ahead in off]


def _off(who: str, ahead: float, others: int) -> Finding:
    how = f"{spoken(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'}"
    why = "certificates seem expired, or not valid yet, and records seem of the future, when they are not"
    if others:
        why += "; but other clocks agree with ours, so it may be theirs"
    fix = "set the clock (timedatectl, chronyc tracking), then run this again: until then, believe no date below"
    return Finding(CLOCK, Mark.WRONG, f"our clock is {how} that of {who}", why, "ours", fix, Reason.OWN_CLOCK)
