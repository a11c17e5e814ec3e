"""What a JSON-RPC server takes as a call, and how it is read."""

from dataclasses import dataclass, field

from eps.core.jsonrpc_text import Load
from eps.jsonrpc.cors import Cors
from eps.jsonrpc.large_bodies import LargeBodies


@dataclass(frozen=True, slots=True)
class Requests:
    """Of one server.

    Attributes:
        path: where calls are posted to; everything else is HTTP 404.
        cors: which pages of elsewhere may call; by default none.
        load: reads the JSON; None: only what can travel inside the network.
        large: how bodies above ``large_bodies.LARGE`` bytes are read; None: like all others.
    """

    path: str = "/jsonrpc"
    cors: Cors = field(default_factory=Cors)
    load: Load | None = None
    large: LargeBodies | None = None
