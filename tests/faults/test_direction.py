"""The directory changes how an operator is reached while calls go on: directly, through a proxy, and directly again."""

import json
from typing import Any

import pytest

from support.application import Application
from support.load import load
from support.machine import SERVERS, Machine

PROXY = "public-proxy-1.ga"

FOLLOWERS = ("hd-1", "hd-2", "public-proxy-eps-1")

MORE = 20
"""Calls before a change, and behind it."""


def channels(machine: Machine, *, proxy: str = "") -> list[dict[str, Any]]:
    """hd-2's channels: reached directly, or through ``proxy``."""
    settings = {"address": f"localhost:{machine.ports.of[8889]}", **({"proxy": proxy} if proxy else {})}
    return [{"type": "grpc_client"}, {"type": "grpc_server", "settings": settings}]


def reached_directly(machine: Machine) -> None:
    """hd-2, from the beginning; before the machine starts."""
    path = machine.dev / "directory" / "001_base.json"
    directory = json.loads(path.read_text())
    for record in directory["records"]:
        if record["name"] == "hd-2" and record["section"] == "channels":
            record["data"] = channels(machine)
    path.write_text(json.dumps(directory))


def follow(machine: Machine, role: str, seconds: float) -> None:
    """That operator's server asks for a newer directory so often."""
    pace = {"directory": {"settings": {"cache_entries_for": seconds}}}
    (machine.dev / "roles" / role / "004_pace.yml").write_text(json.dumps(pace))


@pytest.mark.chaos
@pytest.mark.parametrize("late", ["hd-2", "public-proxy-eps-1"])
async def test_no_call_is_lost_while_a_server_goes_behind_a_proxy_and_back(machine: Machine, late: str) -> None:
    """All but one follow the directory at once. If B is the late one, it holds no stream yet to its new proxy, which
    does not dial it any more: there is no tunnel for seconds, and the former connection is used meanwhile."""
    async with Application(seconds=0.05) as application:
        application.serve(machine)
        reached_directly(machine)
        for role in FOLLOWERS:
            follow(machine, role, 8.0 if role == late else 0.3)
        await machine.start(*SERVERS)
        await machine.setup_directory()
        await machine.until_ping(60)
        caller = machine.processes["hd-1"]
        async with load(machine, 4) as book:
            await book.more(MORE)
            await change(machine, PROXY)
            await caller.wait_for(kind="peer", link="tunnel", peer="hd-2", up=True)
            await book.more(MORE)
            await change(machine, "")
            await caller.wait_for(kind="peer", link="tunnel", peer="hd-2", up=False)
            await book.more(MORE)
    book.balance(application)
    assert book.failed == {}


async def change(machine: Machine, proxy: str) -> None:
    """Submit that hd-2 is reached so from now on."""
    done = await machine.submit([{"name": "hd-2", "section": "channels", "data": channels(machine, proxy=proxy)}])
    assert done.code == 0, done
