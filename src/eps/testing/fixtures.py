"""pytest's fixture ``eps_network``: in a ``conftest.py``,

pytest_plugins = ["eps.testing.fixtures"]
"""

from collections.abc import Iterator

import pytest

from eps.testing.network import Network


@pytest.fixture
def eps_network() -> Iterator[Network]:
    """An empty network for one test."""
    with Network() as network:
        yield network
