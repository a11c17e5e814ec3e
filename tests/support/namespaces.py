"""A network whose links can be cut: each group of programs has a network namespace of its own, a hub routes between
them, and the test itself is at the hub, from where it reaches everybody whatever is cut.

    with Hub("a", "b", "p") as hub:            # 10.77.1.2, 10.77.2.2, 10.77.3.2; the test is 10.77.1.1 and so on
        hub.cut("b")                           # packets from and to b are lost without a word
        hub.mend("b")

The calling thread is moved into the hub's namespace, and back: sockets that were open before stay where they are.
"""

import ctypes
import itertools
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

import pytest

from eps.programs.dev.network import PORTS
from support.machine import Machine, Process

T = TypeVar("T")

CLONE_NEWNET = 0x40000000

PLACES = {"hd-1": "a", "hd-2": "b", "sd-1": "p", "public-proxy-1": "p", "public-proxy-eps-1": "p"}
"""Where each role of the development network runs."""

STAYS = r"(?<!status:\n  bind_address: )"
"""Pages of status are on loopback only."""

BURST = 3_000
"""Bytes, that a narrow link carries at once: two packets."""

_numbers = itertools.count(1)


def ip(*arguments: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def enter(path: str) -> None:
    """Have the calling thread in that network namespace from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path) as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def inside(namespace: str, do: Callable[[], T]) -> T:
    """What ``do`` returns in that network namespace: sockets and devices stay where they were made."""

    def work() -> T:
        enter(f"/run/netns/{namespace}")
        return do()

    with ThreadPoolExecutor(1) as thread:  # one of its own: it stays there
        return thread.submit(work).result()


class Hub:
    """Namespaces, and the links between them."""

    def __init__(self, *places: str) -> None:
        self.places = places
        self._prefix = f"eps-{os.getpid()}-{next(_numbers)}"
        self._home = -1

    def name(self, place: str) -> str:
        return f"{self._prefix}-{place}"

    def address(self, place: str) -> str:
        return f"10.77.{self.places.index(place) + 1}.2"

    def near(self, place: str) -> str:
        """The hub's own address on the link to ``place``."""
        return f"10.77.{self.places.index(place) + 1}.1"

    def __enter__(self) -> Self:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            ip("netns", "add", self.name("hub"))
        except (OSError, subprocess.CalledProcessError):
            os.close(self._home)
            pytest.skip("network namespaces are not permitted here")
        try:
            for place in self.places:
                self._link(place)
            enter(f"/run/netns/{self.name('hub')}")
            ip("link", "set", "lo", "up")
            subprocess.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        enter(f"/proc/self/fd/{self._home}")
        os.close(self._home)
        for place in ("hub", *self.places):
            with suppress(subprocess.CalledProcessError):
                ip("netns", "del", self.name(place))

    def _link(self, place: str) -> None:
        name, hub, device = self.name(place), self.name("hub"), f"to-{place}"
        ip("netns", "add", name)
        ip("link", "add", device, "netns", hub, "type", "veth", "peer", "name", "to-hub", "netns", name)
        ip("-n", hub, "addr", "add", f"{self.near(place)}/24", "dev", device)
        ip("-n", hub, "link", "set", device, "up")
        ip(
            "netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno"
        )  # by losses, as nearly everywhere
        ip("-n", name, "addr", "add", f"{self.address(place)}/24", "dev", "to-hub")
        ip("-n", name, "link", "set", "to-hub", "up")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "route", "add", "default", "via", self.near(place))

    def _rules(self, do: str, place: str) -> None:
        for other in self.places:
            if other != place:
                for one, two in ((place, other), (other, place)):
                    way = ("iif", f"to-{one}", "to", f"{self.address(two)}/32")
                    ip("-n", self.name("hub"), "rule", do, *way, "blackhole")

    def cut(self, place: str) -> None:
        """Lose all packets between ``place`` and the other places; nobody is told."""
        self._rules("add", place)

    def mend(self, place: str) -> None:
        self._rules("del", place)

    def narrow(self, place: str, rate: int, queue: int) -> None:
        """From now on the link to ``place`` carries ``rate`` bytes per second each way, and drops what is beyond
        ``queue`` bytes on their way."""
        limits = ("rate", f"{rate * 8}bit", "burst", f"{BURST}", "limit", f"{queue}")
        for namespace, device in ((self.name("hub"), f"to-{place}"), (self.name(place), "to-hub")):
            subprocess.run(
                ["tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", "tbf", *limits],
                check=True,
                capture_output=True,
            )


class Apart(Machine):
    """The development network with its programs in namespaces: hd-1 at a, hd-2 at b, the rest at p."""

    def __init__(self, folder: Path, made: Path, hub: Hub) -> None:
        super().__init__(folder, made)
        self.hub = hub
        homes = {self.ports.of[port.number]: PLACES[port.program] for port in PORTS if port.program in PLACES}

        def moved(found: re.Match[str]) -> str:
            place = homes.get(int(found["port"]))
            return found[0] if place is None else f"{hub.address(place)}:{found['port']}"

        for file in [*self.dev.rglob("*.yml"), self.dev / "directory" / "001_base.json"]:
            file.write_text(re.sub(rf"{STAYS}localhost:(?P<port>\d+)", moved, file.read_text()))

    async def spawn(self, role: str, program: str, *arguments: str, **environment: str) -> Process:
        inside = ["exec", "ip", "netns", "exec", self.hub.name(PLACES[role]), program, *arguments]
        return await self.spawn_shell(role, shlex.join(inside), **{**self.environment(role), **environment})

    def host_of(self, operator: str) -> str:
        return self.hub.address(PLACES.get(operator, "p"))
