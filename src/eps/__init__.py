"""An endpoint-server network: operators behind firewalls call each other's services.

The rooms, from the ground up; none imports what is above it (``tests/test_layers.py``, ARCHITECTURE.md). Each folder's
``__init__.py`` is its map.

client       FOR APPLICATIONS: calls the network             service      FOR APPLICATIONS: offers methods to it
testing      FOR APPLICATIONS: tests both, in one process

reasons      why something failed, in words            errors       one tree of them
core         what the protocol says, without sockets, clock or files
settings     from files to models                        pki          issues certificates
transport    sockets: TLS, listen, dial, the relay       datastores   what outlives the programs
http1        HTTP/1.1 as a client                        grpc         one wire protocol
jsonrpc      the other: JSON-RPC over HTTP(S)            directory    the service directory, and who follows it
proxy        the public one, the private one             channels     the five ways in and out of an EPS server
broker       the EPS server's middle                     programs     the command lines

The six steps of a brokered connection are told in ``channels/grpc_client.py`` (A), ``proxy/public.py`` (P), and
``broker/internal_methods.py`` with ``channels/grpc_server.py`` (B).
"""

__version__: str


def __getattr__(name: str) -> str:
    """``__version__``, looked up only where it is asked for: that takes a tenth of what a program needs to start."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("eps")
