"""Ports for servers that keep stores."""

from collections.abc import Iterator

import pytest

from support.ports import PortBlock


@pytest.fixture
def ports() -> Iterator[PortBlock]:
    block = PortBlock()
    yield block
    block.close()
