"""Modules that set ``BOTH_LOOPS = True`` run their async tests on asyncio's own event loop and on uvloop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from support.sockets import open_files

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    module = item.getparent(pytest.Module)
    if module is not None and getattr(module.obj, "BOTH_LOOPS", False):
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture
async def no_leaks() -> AsyncIterator[None]:
    """Every socket that the test opened is closed at its end."""
    before = open_files()  # inside the event loop, when it has opened its own
    yield
    assert open_files() <= before, "a socket was left open"
