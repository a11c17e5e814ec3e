"""The program ``eps`` with one internal method more: ``_kib`` answers 1 KiB, inside the server.

The programs' own internal methods answer more than that (a directory entry with its signed records). Everything around
the method is the real server: gRPC, permission, ``_client``, the broker, and the way back.
"""

import sys
from typing import Any

from application import KIB

from eps.broker.internal_methods import InternalMethods
from eps.programs.eps import main
from eps.programs.wiring import eps as wiring


class WithKib(InternalMethods):
    """Internal methods of a server under measurement."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._methods["_kib"] = self._kib

    async def _kib(self, *_: Any) -> dict[str, Any]:
        return KIB


if __name__ == "__main__":
    wiring.InternalMethods = WithKib  # type: ignore[misc]  # the one place where the server is put together
    sys.exit(main())
