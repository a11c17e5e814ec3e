"""Ports that are nobody else's: for servers that others must know before they run, or that nobody must answer on."""

import asyncio
import os
import re
import socket
from collections.abc import Mapping, Sequence

from eps.programs.dev.network import PORTS

DEV_PORTS = (
    *(3322, 8888, 5555, 2112, 8889, 3334, 2113, 5556, 5544, 4433, 9999, 6655, 7776, 7766, 8877, 7777),
    *(2114, 2115, 2116, 2117, 2118),
    *(2132, 2133, 2134, 2135, 2136, 2137, 2138),
)

BLOCK = 32
FIRST_PORT, LAST_PORT = 20_000, 32_000
"""Below the range from which the kernel takes ports of outgoing connections, so that none of them gets in the way."""


class PortBlock:
    """A port for each of ``DEV_PORTS`` that nobody else on this machine uses, also not another test run.

    A port that the kernel has chosen (bind to 0) is for the socket that got it. Once that is closed, the next one of
    any program may get the same: whoever must know a port before its server runs takes it from here.

    Attributes:
        of: the port that stands for one of ``DEV_PORTS``.
        numbers: all of them, for servers of other kinds, or for none: then they refuse connections.
    """

    numbers: Sequence[int]
    of: Mapping[int, int]

    def __init__(self) -> None:
        firsts = range(FIRST_PORT, LAST_PORT, BLOCK)
        start = os.getpid() * 7 % len(firsts)  # test runs at the same time begin far from each other
        for first in (*firsts[start:], *firsts[:start]):
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                lock.bind(f"\0eps-tests-{first}")
            except OSError:
                lock.close()
                continue
            numbers = range(first, first + len(DEV_PORTS))
            if all(is_free(number) for number in numbers):
                self._lock = lock
                self.numbers = numbers
                self.of = dict(zip(DEV_PORTS, numbers, strict=True))
                return
            lock.close()
        raise AssertionError("no free block of ports")

    @classmethod
    async def dev(cls) -> "PortBlock":
        """The very ports of the development network, once no other test has them."""
        block = cls.__new__(cls)
        block._lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        block.of = {port.number: port.number for port in PORTS}
        block.numbers = list(block.of)
        async with asyncio.timeout(100):
            while True:
                try:
                    block._lock.bind("\0eps-tests-dev")
                    return block
                except OSError:
                    await asyncio.sleep(0.1)

    def close(self) -> None:
        self._lock.close()

    def rewrite(self, text: str) -> str:
        return re.sub(r"\b\d{4}\b", lambda found: str(self.of.get(int(found[0]), found[0])), text)


def is_free(port: int) -> bool:
    """Whether a server could listen on the port of both loopback addresses."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)  # binding alone succeeds beside a connection that lingers
            except OSError:
                return False
    return True
