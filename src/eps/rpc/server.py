"""JSON-RPC over HTTP(S): the server (PROTOCOL.md section 5)."""

from dataclasses import dataclass

from eps.core.names import Object


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it arrived.

    Attributes:
        method: 1 to 100 bytes, as the caller wrote it (``hd-2._ping``).
        params: the caller's object.
        id: in the network's form (``n:7`` for the integer 7), never empty; ``Response.id`` repeats it.
        client_names: names of the client's verified certificate, CN first; empty without one.
    """

    method: str
    params: Object
    id: str
    client_names: tuple[str, ...] = ()
