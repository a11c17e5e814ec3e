"""For tests of what calls the network, and of services: a client whose answers are given, a network in one process.

    from eps.testing import FakeClient, Network

    client = FakeClient({"hd-2.lookup": {"address": "1 Main Street"}})

    with Network() as network:
        network.operator("hd-2", service, callers=["health-departments"])
        network.operator("hd-1", groups=["health-departments"])
        network.client("hd-1").call("hd-2.lookup", {"name": "office"})
        network.fails("hd-2", "unreachable")

    fake        FakeClient: answers are given              async_fake   AsyncFakeClient
    network     Network: operators on free ports           fixtures     the same as a pytest fixture, eps_network
    node        one operator: the EPS server's own broker, and in-memory ways in the place of connections
    faults      what can be made to fail, by its word      directory    who is there, and who may call whom

The network has no certificates and no fixed ports, but the real rules: the broker decides and answers as in the real
one. What ``__all__`` lists is kept as CHANGELOG.md promises.
"""

from typing import TYPE_CHECKING, Any

from eps.testing.fake import FakeClient

if TYPE_CHECKING:
    from eps.testing.async_fake import AsyncFakeClient
    from eps.testing.network import CallSeen, Network

__all__ = ["AsyncFakeClient", "CallSeen", "FakeClient", "Network"]

_WHERE = {"AsyncFakeClient": "async_fake", "CallSeen": "network", "Network": "network"}


def __getattr__(name: str) -> Any:
    """What needs more than the fake client does, only where it is asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"eps.testing.{_WHERE[name]}"), name)
