"""A Redis server for the programs of a test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.ports import PortBlock
from support.redis_server import DURABLE, RedisServer


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    ports = PortBlock()
    async with RedisServer(tmp_path / "redis", ports.numbers[0], *DURABLE) as server:
        yield server
    ports.close()
