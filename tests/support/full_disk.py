"""A disk that is full when told so: of what threads that write log lines write."""

import os
from typing import Any

import pytest

from eps.programs.running import log_queue


class Disk:
    """Takes the place of ``os`` in ``log_queue``, whose next tries come soon.

    Attributes:
        full: there is no room.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        monkeypatch.setattr(log_queue, "os", self)
        monkeypatch.setattr(log_queue, "RETRY_SECONDS", 0.02)

    def write(self, descriptor: int, piece: bytes) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return os.write(descriptor, piece)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)
