"""What each program shows of itself."""

import asyncio
from datetime import UTC, datetime

from eps.core.announcement import Announcement
from eps.core.chain import Chain
from eps.core.entries import Directory
from eps.core.event import Step
from eps.core.names import Object, Operator
from eps.core.record import parse_change_record
from eps.programs.status.pictures import (
    MAX_CHANGES,
    MAX_SHOWN,
    announcements_of,
    changes_of,
    operators_of,
    peers_of,
    tunnels_of,
    with_streams,
)
from support.network import HD_1, HD_2, PROXY, Network
from support.record_tools import NOW, group_record, sign_chain, trust


async def test_peers_and_tunnels() -> None:
    async with Network() as network:
        hd_1, _ = await network.node(HD_1), await network.node(HD_2)
        relay = await network.proxy()
        await network.ready()
        whole = peers_of(hd_1.source.current, hd_1.name)
        peers = {peer["name"]: peer for peer in with_streams(whole, hd_1.client.streams)}
        assert peers == {
            HD_2: {"name": HD_2, "way": "proxy", "via": PROXY, "groups": ["health-departments"]},
            PROXY: {"name": PROXY, "way": "direct", "via": "", "groups": ["proxy-providers"], "stream": "up"},
        }
        down = with_streams(whole, {Operator(PROXY): "refused at http://internal"})
        assert [peer["stream"] for peer in down if "stream" in peer] == ["down"]
        assert tunnels_of(relay, 0.0) == []
        assert (await hd_1.call(f"{HD_2}._ping")).error is None
        await network.relay_events.wait_for(Step, lambda event: event.step == 6)
        (tunnel,) = tunnels_of(relay, asyncio.get_running_loop().time())
        assert (tunnel["caller"], tunnel["callee"]) == (HD_1, HD_2)
        assert tunnel["age"] >= 0 and min(tunnel["bytes"]) > 0


def chain_of(records: list[Object]) -> Chain:
    *_, chain = Chain.empty(trust()).extending(tuple(sign_chain(records)), NOW)
    return chain


def test_operators_of_a_directory() -> None:
    def record(name: str, section: str, data: object) -> object:
        return {"name": name, "section": section, "data": data, "created_at": "2026-11-22T10:00:00Z"}

    def server(**settings: object) -> list[object]:
        return [{"type": "grpc_server", "settings": {"address": "localhost:1", **settings}}]

    records = [
        record("a", "groups", ["g"]),
        record("a", "channels", server(proxy="p")),
        record("b", "channels", server()),
        record("c", "groups", ["g"]),
    ]
    directory = Directory.from_records([parse_change_record(one) for one in records])
    assert [(one["name"], one["reached"]) for one in operators_of(directory)] == [
        ("a", "through p"),
        ("b", "directly"),
        ("c", "nobody may dial it"),
    ]
    many = Directory.from_records(
        [parse_change_record(record(f"n-{number}", "groups", ["g"])) for number in range(MAX_SHOWN + 9)]
    )
    assert len(operators_of(many)) == len(peers_of(many, Operator("x"))) == MAX_SHOWN


def test_changes_say_what_and_by_whom() -> None:
    chain = chain_of([group_record("x", "a"), group_record("y", "b"), group_record("x", "a", "c")])
    newest, second, root = changes_of(chain)
    assert (newest["operator"], newest["section"], newest["signed_by"]) == ("x", "groups", "admin")
    assert newest["lines"] == ["+ c"] and second["lines"] == ["+ b"] and root["lines"] == ["+ a"]
    assert [one["root"] for one in (newest, second, root)] == [False, False, True]
    assert datetime.fromtimestamp(newest["at"], UTC).year > 2020


def test_only_the_newest_changes() -> None:
    chain = chain_of([group_record("x", f"g-{number}") for number in range(MAX_CHANGES + 5)])
    found = changes_of(chain)
    assert len(found) == MAX_CHANGES
    assert found[0]["lines"] == [f"- g-{MAX_CHANGES + 3}", f"+ g-{MAX_CHANGES + 4}"]


def test_announcements() -> None:
    found = announcements_of(Announcement(Operator("hd-1"), f"{number}.example") for number in range(MAX_SHOWN + 3))
    assert found[0] == {"domain": "0.example", "operator": "hd-1"}
    assert len(found) == MAX_SHOWN
