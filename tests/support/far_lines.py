"""A line that is far, and narrow: packets between the hub and a place are late, come at a rate, and some are lost. (The
kernel's own, tc's netem, is not in each kernel.)

    with Hub("a", "b") as hub, FarLine(hub, "b", Far(delay=0.1, rate=3_000_000)):
        ...
"""

import fcntl
import os
import random
import select
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from support.namespaces import Hub, inside, ip

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
"""linux/if_tun.h"""

MOST_BYTES = 2_048
"""Of a packet: more than a device's 1,500."""

DEVICE = "far"


@dataclass(frozen=True, slots=True)
class Far:
    """How a line is, each way.

    Attributes:
        delay: seconds that a packet takes.
        rate: bytes per second.
        queue: bytes that wait for their turn; what comes beyond is lost.
        loss: the share of packets that are lost besides.
    """

    delay: float = 0.0
    rate: float = 1e9
    queue: int = 1 << 20
    loss: float = 0.0


@dataclass(slots=True)
class _Way:
    """One direction.

    Attributes:
        source, sink: devices.
        free_at: when the last packet that waits is on its way.
        under_way: packets, and when they arrive.
    """

    source: int
    sink: int
    free_at: float = 0.0
    under_way: deque[tuple[float, bytes]] = field(default_factory=deque)

    def take(self, packet: bytes, now: float, far: Far) -> None:
        begins = max(now, self.free_at)
        if (begins - now) * far.rate <= far.queue:
            self.free_at = begins + len(packet) / far.rate
            self.under_way.append((self.free_at + far.delay, packet))

    def deliver(self, now: float) -> float:
        """Give what has arrived; seconds until the next one does."""
        while self.under_way and self.under_way[0][0] <= now:
            try:
                os.write(self.sink, self.under_way.popleft()[1])
            except OSError:
                continue  # its device takes no more: lost, as routers lose packets
        return self.under_way[0][0] - now if self.under_way else 1.0


class FarLine:
    """The line to ``place``, instead of the one that the hub has made.

    Args:
        far: how it is.
        seed: which packets are lost.
    """

    def __init__(self, hub: Hub, place: str, far: Far, seed: int = 1) -> None:
        self._far = far
        self._hub, self._place = hub, place
        self._random = random.Random(seed)
        self._ways: tuple[_Way, ...] = ()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ends = False

    def __enter__(self) -> Self:
        if not Path("/dev/net/tun").exists():
            pytest.skip("there are no devices for lines of our own here")
        hub, place, near = self._hub.name("hub"), self._hub.name(self._place), f"{DEVICE}-{self._place}"
        ip("-n", hub, "link", "del", f"to-{self._place}")
        ends = inside(hub, lambda: _device(near)), inside(place, lambda: _device(DEVICE))
        for namespace, name, address in (
            (hub, near, self._hub.near(self._place)),
            (place, DEVICE, self._hub.address(self._place)),
        ):
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", name)
            ip("-n", namespace, "link", "set", name, "up")
        ip("-n", place, "route", "add", "default", "dev", DEVICE)
        self._ways = _Way(*ends), _Way(*ends[::-1])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends = True
        self._thread.join()
        for way in self._ways:
            os.close(way.source)

    def _run(self) -> None:
        poll = select.poll()
        for way in self._ways:
            poll.register(way.source, select.POLLIN)
        while not self._ends:
            pause = min(way.deliver(time.monotonic()) for way in self._ways)
            poll.poll(min(max(pause, 0.0), 0.2) * 1000)
            for way in self._ways:
                self._read(way)

    def _read(self, way: _Way) -> None:
        far = self._far
        for _ in range(64):
            try:
                packet = os.read(way.source, MOST_BYTES)
            except BlockingIOError:
                return
            if self._random.random() >= far.loss:
                way.take(packet, time.monotonic(), far)


def _device(name: str) -> int:
    """A network device of ours: what it is to send is read here, what is written it has received."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return device
