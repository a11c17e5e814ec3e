"""Ports on this machine's loopback addresses: which are free, and who has the others."""

import errno
import socket
from collections.abc import Iterator, Sequence

from eps.errors import StartError
from eps.programs.dev.network import Port


def check_ports_free(ports: Sequence[Port]) -> None:
    """Refuse early, and by name, if another program has one of the ports.

    Raises:
        StartError: names every port that is taken.
    """
    taken = [port for port in ports if not is_free(port.number)]
    if taken:
        listed = ", ".join(f"{port.number} (for {port.program})" for port in taken)
        raise StartError(
            f"ports on localhost are taken: {listed}",
            hint="another demo or development network may be running; stop it first, or see who has them: ss -ltnp",
        )


def is_free(port: int) -> bool:
    """Whether nobody listens on ``port`` of localhost."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def free_from(first: int, taken: set[int]) -> Iterator[int]:
    """Ports from ``first`` on that are neither among ``taken`` nor listened on."""
    return (port for port in range(first, 1 << 16) if port not in taken and is_free(port))
