"""An endpoint-server network: operators behind firewalls call each other's services.

    programs → broker → channels → directory · proxy → jsonrpc · grpc → transport · datastores → core

Imports point from left to right only (``tests/test_layers.py`` checks it). ``core`` is what the protocol says, without
sockets, clock or files. The six steps of a brokered connection are told in ``proxy/public.py`` (P),
``channels/grpc_client.py`` (A) and ``broker/internal_methods.py`` with ``channels/grpc_server.py`` (B).
"""

__version__: str


def __getattr__(name: str) -> str:
    """``__version__``, looked up only where it is asked for: that takes a tenth of what a program needs to start."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("eps")
