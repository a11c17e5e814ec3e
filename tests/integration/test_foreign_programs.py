"""Any of our programs stands in for a foreign one: every mixture of the four servers of a brokered call.

A's EPS server, P's EPS server, P's public proxy and B's EPS server are each ours (built from settings files, as
``eps server run`` and ``proxy run public`` do) or foreign; a foreign service directory tells ours of each other.
"""

from itertools import combinations
from pathlib import Path

import pytest

from eps.channels.grpc_server import GrpcServerChannel
from eps.core.names import Operator
from support.foreign.network import HD_1, HD_2, PROXY
from support.mixture import RELAY, ROLES, A, B, P, mixture
from support.ours import in_thread

MIXTURES = [ours for count in range(1, len(ROLES) + 1) for ours in combinations(ROLES, count)]
"""Every set of roles that ours play, but none."""


@pytest.mark.parametrize("ours", MIXTURES, ids="+".join)
async def test_a_ping_takes_the_six_steps_whoever_plays_which_part(tmp_path: Path, ours: tuple[str, ...]) -> None:
    async with mixture(tmp_path, ours) as mixed:
        for request_id in (1, "one", "n:1"):
            answer = await mixed.call("hd-2._ping", {"say": [1, None, "ä"]}, request_id)
            assert (answer.status, answer.error, answer.id) == (200, None, request_id)
            assert answer.result["serverInfo"]["name"] == HD_2
            assert answer.result["params"]["say"] == [1, None, "ä"]
            assert answer.result["params"]["_client"]["name"] == HD_1
            assert (answer.result["version"] == "development") == (B not in ours)
        refused = await mixed.call("hd-2.nope", {}, "2")
        assert refused.error is not None
        assert (refused.status, refused.error["code"], refused.id) == (400, 403, "2")
        unknown = await mixed.call("hd-9._ping", {}, "3")
        assert unknown.error is not None
        assert (unknown.status, unknown.error["code"]) == (400, 1)


@pytest.mark.parametrize("ours", [(A,), (P,), (RELAY,), (A, P, RELAY)], ids="+".join)
async def test_without_b_the_caller_learns_that_it_is_not_connected(tmp_path: Path, ours: tuple[str, ...]) -> None:
    async with mixture(tmp_path, ours) as mixed:
        await in_thread(mixed.network.servers[HD_2].streams[PROXY].close)
        if P in ours:
            channel = mixed.eps[P].channel(GrpcServerChannel)
            await mixed.events[P].until(lambda: channel.way_to(Operator(HD_2)) is None)
        answer = await mixed.call("hd-2._ping", {}, "1")
        assert answer.error is not None
        assert (answer.status, answer.error["code"]) == (400, 500)
