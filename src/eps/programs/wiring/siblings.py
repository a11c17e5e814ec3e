"""One EPS server among several of its operator: what settings say of that, and what it is at for the others."""

import time
from collections.abc import Iterable

from eps.channels.passed_on import OneOfSeveralServers
from eps.channels.siblings import Passing, Siblings
from eps.core.event import Emit
from eps.core.names import Object, Operator
from eps.programs.wiring.parts import redis_place
from eps.settings import EpsSettings


def siblings_of(settings: EpsSettings, emit: Emit) -> Siblings | None:
    """The other servers of the operator; None where there are none."""
    given, name = settings.siblings, Operator(settings.name)
    if given is None:
        return None
    from eps.datastores.redis_leases import RedisLeases  # here: who has no siblings needs none of it

    key = f"{given.redis.key}:siblings:{name}"
    address = given.address or ""
    leases = RedisLeases(redis_place(given.redis), key, instance=given.instance, address=address, emit=emit)
    return Siblings(name, leases, emit)


def shown(siblings: Siblings | None) -> Object:
    """Which of its operator's servers this is, and whether it reaches the others."""
    return {} if siblings is None else {"instance": siblings.leases.instance, "siblings": dict(siblings.up)}


def passings(channels: Iterable[object], siblings: Siblings | None) -> list[Passing]:
    """What counts calls that we pass on between a sibling and somebody else."""
    down = [channel.passing for channel in channels if isinstance(channel, OneOfSeveralServers)]
    return down if siblings is None else [*down, siblings.passing]


async def settled(counted: Iterable[Passing], until: float) -> int:
    """Wait until none of them is under way, until then at the most (monotonic clock); how many are."""
    return sum([await one.settled(max(until - time.monotonic(), 0.0)) for one in counted])
